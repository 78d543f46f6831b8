//! What frames cost, counted: no allocation for any of them, each byte of a prefix looked at once, and
//! a bounded part of the worker's time.

use std::future::poll_fn;
use std::mem::replace;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Recorder, serve};
use netframe_core::{ConnectionInfo, Limits, Protocol, Result};
use netframe_protocols::frame::{
    Delimited, Endian, Fixed, FrameError, FrameProtocol, FrameTransport, Framer, Frames,
    LengthPrefix, MAX_PREFIX, Prefixed, Varint,
};
use tokio::io::AsyncWriteExt;

/// Counts its frames.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl FrameProtocol for Count {
    async fn frame_received(&mut self, _: &mut FrameTransport<'_>, _: &[u8]) -> Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn no_frame_costs_an_allocation() {
    fn check(framer: impl Framer) {
        let (count, mut wire) = (Count::default(), BytesMut::new());
        for _ in 0..1000 {
            let mut write = |parts: &[&[u8]]| wire.extend(parts.concat());
            framer.encode(b"12345678", &mut write).expect("every framer here takes 8 bytes");
        }
        let mut frames = Frames::new(count.clone(), framer);
        let mut t = Recorder::new();
        let allocations = measure(|| {
            let received = std::pin::pin!(frames.data_received(&mut t, &mut wire));
            let polled = received.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Ok(()))));
        });
        assert_eq!((count.get(), allocations.count_total), (1000, 0));
    }
    check(Prefixed::netstring());
    check(Prefixed::int8());
    check(Prefixed::int16(Endian::Big));
    check(Prefixed::int32(Endian::Little));
    check(Prefixed::varint());
    check(Delimited::new("\0", 100).expect("both are more than nothing"));
    check(Fixed::new(8).expect("it is more than nothing"));
}

#[test]
fn each_byte_of_a_prefix_is_looked_at_once() {
    /// A varint that counts the bytes it is shown.
    #[derive(Clone, Debug, Default)]
    struct Counting(Arc<AtomicUsize>);

    impl LengthPrefix for Counting {
        fn most(&self) -> u64 {
            Varint.most()
        }
        fn read(&self, at: usize, len: u64, byte: u8) -> Result<ControlFlow<u64, u64>, FrameError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Varint.read(at, len, byte)
        }
        fn write(&self, length: u64, out: &mut [u8; MAX_PREFIX]) -> usize {
            Varint.write(length, out)
        }
    }

    let prefix = Counting::default();
    let mut framer = Prefixed::new(prefix.clone(), 100_000).expect("a varint takes so much");
    let mut wire = Vec::new();
    framer.encode(&[7; 70_000], &mut |parts| wire = parts.concat()).expect("it does");
    for len in 0..wire.len() {
        assert_eq!(framer.next_frame(&wire[..len]), Ok(None));
    }
    let frame = framer.next_frame(&wire).expect("it is right").expect("it is whole");
    assert_eq!((frame.payload, frame.wire_length), (3..70_003, 70_003));
    assert_eq!(prefix.0.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_peer_with_empty_frames_leaves_time_to_others() -> Result {
    const FRAMES: usize = 64 * 1024;
    let count = Count::default();
    let factory = {
        let count = count.clone();
        move |_: &ConnectionInfo| Frames::new(count.clone(), Prefixed::int8())
    };
    let (mut peer, _connection) = serve(factory, Limits::default());
    peer.write_all(&[0; FRAMES]).await?;
    // Another task of the same thread: how many frames are handled between two of its turns.
    let others = tokio::spawn(async move {
        let (mut most, mut before) = (0, count.get());
        for _ in 0..100 {
            wait_in_line().await;
            most = most.max(count.get() - before);
            before = count.get();
        }
        (before, most)
    });
    assert_eq!(others.await?, (FRAMES, 16 * 1024), "sixteen deliveries of 1024 are one turn");
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
