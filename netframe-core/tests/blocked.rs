//! A callback that blocks its worker is told of, while it still does and when it has ended.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::fmt::{self, Write as _};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::{
    ConnectionInfo, Error, Protocol, Reactor, Result, Timeout, Transport, Workers,
};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Blocks until the test lets it go.
struct Blocks(Arc<Mutex<Receiver<()>>>);

impl Protocol for Blocks {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.0.lock().unwrap().recv()?;
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

#[test]
fn a_callback_that_blocks_its_worker_is_told_of() {
    let (warned, warnings) = channel();
    tracing::subscriber::set_global_default(Warnings(Mutex::new(warned))).unwrap();
    let (go_on, blocked) = channel();
    let blocked = Arc::new(Mutex::new(blocked));
    let reactor = Reactor::builder()
        .workers(Workers::Count(NonZeroUsize::MIN))
        .blocked_after(Timeout::After(Duration::from_millis(20)))
        .build()
        .unwrap()
        .listen("tcp://127.0.0.1:0", move |_: &ConnectionInfo| Blocks(Arc::clone(&blocked)))
        .unwrap();
    let addr = reactor.endpoints().next().unwrap().address().socket_addr().unwrap();
    let done = Arc::new(Notify::new());
    let end = Arc::clone(&done);
    let client = std::thread::spawn(move || {
        let patience = Duration::from_secs(30);
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"hello").unwrap();
        let during = warnings.recv_timeout(patience).unwrap();
        assert!(during.contains("`data_received` blocks the worker netframe-0 for "), "{during}");
        go_on.send(()).unwrap();
        client.read_exact(&mut [0; 5]).unwrap();
        let after = warnings.recv_timeout(patience).unwrap();
        assert!(after.contains("`data_received` blocked its worker for about "), "{after}");
        end.notify_one();
    });
    reactor.run_until(done.notified()).unwrap();
    client.join().unwrap();
}

#[test]
fn no_time_at_all_is_refused() {
    let error = Reactor::builder().blocked_after(Timeout::After(Duration::ZERO)).build();
    assert!(matches!(error.unwrap_err(), Error::Limits(_)));
}

/// Passes on the texts of warnings.
struct Warnings(Mutex<Sender<String>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        // The test may be over.
        let _ = self.0.lock().unwrap().send(text.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}
