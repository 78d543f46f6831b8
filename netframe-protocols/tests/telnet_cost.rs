//! What Telnet costs, counted: no allocation for text or a command, and a bounded part of the worker's
//! time.

use std::future::poll_fn;
use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Recorder, serve};
use netframe_core::{ConnectionInfo, Limits, Protocol, Result};
use netframe_protocols::telnet::{Command, Telnet, TelnetProtocol, TelnetTransport};
use tokio::io::AsyncWriteExt;

/// Counts its bytes and commands.
#[derive(Clone, Default)]
struct Count {
    bytes: Arc<AtomicUsize>,
    commands: Arc<AtomicUsize>,
}

impl TelnetProtocol for Count {
    async fn data_received(&mut self, _: &mut TelnetTransport<'_>, data: &mut BytesMut) -> Result {
        self.bytes.fetch_add(data.len(), Ordering::Relaxed);
        data.clear();
        Ok(())
    }

    async fn command_received(&mut self, _: &mut TelnetTransport<'_>, _: Command) -> Result {
        self.commands.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn neither_text_nor_a_command_costs_an_allocation() {
    let count = Count::default();
    let mut telnet = Telnet::server(count.clone());
    let mut t = Recorder::new();
    // As a driver gives it: a piece of a buffer.
    let mut wire = BytesMut::from(&b"a line\r\n\xff\xff\xff\xf1"[..].repeat(500)[..]).split();
    let allocations = measure(|| {
        let received = std::pin::pin!(telnet.data_received(&mut t, &mut wire));
        let polled = received.poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Ok(()))));
    });
    assert_eq!(count.bytes.load(Ordering::Relaxed), 8 * 500, "seven with the LF, and a byte 255");
    assert_eq!(count.commands.load(Ordering::Relaxed), 500);
    assert_eq!(allocations.count_total, 0);
}

#[tokio::test]
async fn a_peer_with_many_commands_leaves_time_to_others() -> Result {
    const COMMANDS: usize = 32 * 1024;
    let count = Count::default();
    let factory = {
        let count = count.clone();
        move |_: &ConnectionInfo| Telnet::server(count.clone())
    };
    let (mut peer, _connection) = serve(factory, Limits::default());
    peer.write_all(&[255, 241].repeat(COMMANDS)).await?;
    // Another task of the same thread: how many commands are handled between two of its turns.
    let others = tokio::spawn(async move {
        let handled = || count.commands.load(Ordering::Relaxed);
        let (mut most, mut before) = (0, handled());
        for _ in 0..100 {
            wait_in_line().await;
            most = most.max(handled() - before);
            before = handled();
        }
        (before, most)
    });
    assert_eq!(others.await?, (COMMANDS, 16 * 1024), "sixteen deliveries of 1024 are one turn");
    Ok(())
}

/// Goes to the end of the runtime's queue; `yield_now` would wait until the queue is empty.
async fn wait_in_line() {
    let mut waited = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
