//! [`MemStream`]: one end of a connection inside the process. It ends the way a socket does:
//! half-close, end of stream, reset.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use crate::io::{BoxFuture, Io};

/// Two connected streams; each direction holds at most `capacity` bytes (at least one), and none
/// while nothing is on the way.
///
/// # Examples
///
/// ```
/// use netframe_core::transport::mem::{DEFAULT_CAPACITY, pair};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (mut a, mut b) = pair(DEFAULT_CAPACITY);
/// a.write_all(b"hello").await?;
/// drop(a);
///
/// let mut text = String::new();
/// b.read_to_string(&mut text).await?;
/// assert_eq!(text, "hello");
/// # Ok(())
/// # }
/// ```
pub fn pair(capacity: usize) -> (MemStream, MemStream) {
    let shared = Arc::new(Shared { capacity: capacity.max(1), ends: Mutex::default() });
    let end = |index| MemStream { shared: Arc::clone(&shared), index, abort: false };
    (end(0), end(1))
}

/// Bytes that a direction holds at most unless said otherwise, as a socket does: 64 KiB.
pub const DEFAULT_CAPACITY: usize = 64 * 1024;

/// One end of a connection inside the process, from [`pair`] or a [`MemNetwork`].
///
/// Dropped, it ends the connection in order: the peer reads what is on the way, then end of
/// stream, and its writes fail with `BrokenPipe`. Dropped with input unread, or after
/// [`set_abort`](Io::set_abort), it resets the connection: what the peer has not read is gone, and
/// its reads and writes fail with `ConnectionReset`.
///
/// Of several futures from [`reset`](Io::reset), the one polled last is woken.
///
/// [`MemNetwork`]: super::MemNetwork
pub struct MemStream {
    shared: Arc<Shared>,
    /// Which of the two ends this is.
    index: usize,
    /// Whether to reset the connection on drop even if no input is unread.
    pub(super) abort: bool,
}

struct Shared {
    capacity: usize,
    ends: Mutex<[End; 2]>,
}

/// What one end has received, and which of its tasks wait. Wakers run code of others: they are
/// woken and dropped only after the lock is released.
#[derive(Default)]
struct End {
    input: VecDeque<u8>,
    /// The peer sends nothing more.
    eof: bool,
    /// The peer has reset the connection. Implies `eof`, and that `input` is empty and the peer
    /// dropped.
    reset: bool,
    /// This end is dropped.
    dropped: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    reset_watcher: Option<Waker>,
}

impl MemStream {
    fn lock(&self) -> MutexGuard<'_, [End; 2]> {
        // Nothing panics under the lock, so that its state is whole.
        self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This end and the peer's.
    fn sides<'a>(&self, ends: &'a mut [End; 2]) -> (&'a mut End, &'a mut End) {
        let [first, second] = ends;
        if self.index == 0 { (first, second) } else { (second, first) }
    }
}

impl Io for MemStream {
    fn reset(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(poll_fn(|cx| {
            let _replaced; // declared before the guard, hence dropped after it
            let mut ends = self.lock();
            let (own, _) = self.sides(&mut ends);
            if own.reset {
                return Poll::Ready(());
            }
            _replaced = park(&mut own.reset_watcher, cx);
            Poll::Pending
        }))
    }

    fn set_abort(&mut self) {
        self.abort = true;
    }
}

impl AsyncRead for MemStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let budget = ready!(coop::poll_proceed(cx));
        let _replaced;
        let mut ends = self.lock();
        let (own, peer) = self.sides(&mut ends);
        if own.input.is_empty() && !own.eof && buf.remaining() > 0 {
            _replaced = park(&mut own.reader, cx);
            return Poll::Pending;
        }
        budget.made_progress();
        if own.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        take(&mut own.input, buf);
        let writer = peer.writer.take();
        drop(ends);
        wake(writer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MemStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let budget = ready!(coop::poll_proceed(cx));
        let _replaced;
        let mut ends = self.lock();
        let (own, peer) = self.sides(&mut ends);
        let closed = peer.dropped || peer.eof;
        let room = self.shared.capacity - peer.input.len();
        if room == 0 && !closed && data.iter().any(|slice| !slice.is_empty()) {
            _replaced = park(&mut own.writer, cx);
            return Poll::Pending;
        }
        budget.made_progress();
        if own.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut left = room;
        for slice in data {
            let taken = &slice[..slice.len().min(left)];
            peer.input.extend(taken);
            left -= taken.len();
        }
        let reader = peer.reader.take();
        drop(ends);
        wake(reader);
        Poll::Ready(Ok(room - left))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut ends = self.lock();
        let (_, peer) = self.sides(&mut ends);
        peer.eof = true;
        let reader = peer.reader.take();
        drop(ends);
        wake(reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemStream {
    fn drop(&mut self) {
        let mut ends = self.lock();
        let (own, peer) = self.sides(&mut ends);
        let unread = mem::take(&mut own.input);
        own.dropped = true;
        peer.eof = true;
        if self.abort || !unread.is_empty() {
            peer.reset = true;
            peer.input = VecDeque::new();
        }
        // A waker of ours may hold the task that held this stream: with it here, neither is freed.
        let _own = [own.reader.take(), own.writer.take(), own.reset_watcher.take()];
        let reset_watcher = peer.reset_watcher.take_if(|_| peer.reset);
        let wakers = [peer.reader.take(), peer.writer.take(), reset_watcher];
        drop(ends);
        wakers.into_iter().for_each(wake);
    }
}

impl fmt::Debug for MemStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemStream").field("abort", &self.abort).finish_non_exhaustive()
    }
}

/// Moves what fits from `input` to `buf`.
fn take(input: &mut VecDeque<u8>, buf: &mut ReadBuf<'_>) {
    let mut taken_len = 0;
    let (front, back) = input.as_slices();
    for slice in [front, back] {
        let len = slice.len().min(buf.remaining());
        buf.put_slice(&slice[..len]);
        taken_len += len;
    }
    input.drain(..taken_len);
    if input.is_empty() && input.capacity() > KEPT_LEN {
        *input = VecDeque::new();
    }
}

/// An empty buffer up to this size is kept, so that small requests and answers allocate nothing in
/// the long run; a larger one is freed, so that a burst does not stay with an idle connection.
const KEPT_LEN: usize = 4 * 1024;

/// Stores the waker of `cx`; the one that it replaces is to be dropped outside the lock.
fn park(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => slot.replace(cx.waker().clone()),
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    use std::io::IoSlice;

    use bytes::Buf;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways() {
        let (mut a, mut b) = pair(64);
        a.write_all(b"ping").await.unwrap();
        b.write_all(b"pong").await.unwrap();
        assert_eq!(read(&mut b).await.unwrap(), b"ping");
        assert_eq!(read(&mut a).await.unwrap(), b"pong");
        assert!(a.is_write_vectored());
        let parts = [b"one ".as_slice(), b"", b"two"].map(IoSlice::new);
        assert_eq!(a.write_vectored(&parts).await.unwrap(), 7);
        assert_eq!(read(&mut b).await.unwrap(), b"one two");
    }

    #[tokio::test]
    async fn a_full_direction_waits_for_the_reader() {
        for capacity in [1, 2, 100] {
            let (mut a, mut b) = pair(capacity);
            let data = vec![7; capacity + 1];
            assert_eq!(a.write(&data).await.unwrap(), capacity);
            assert_eq!(a.write(b"").await.unwrap(), 0);
            let (written, byte) = tokio::join!(biased; a.write(&data), b.read_u8());
            assert_eq!((written.unwrap(), byte.unwrap()), (1, 7));
            b.write_all(b"x").await.expect("the other direction is not full");
        }
    }

    #[tokio::test]
    async fn memory_is_held_only_for_bytes_on_the_way() {
        let (mut a, mut b) = pair(DEFAULT_CAPACITY);
        assert_eq!(held(&a), [0, 0]);
        for (sent_len, freed) in [(KEPT_LEN, false), (DEFAULT_CAPACITY, true)] {
            a.write_all(&vec![0; sent_len]).await.unwrap();
            assert!(held(&a)[1] >= sent_len);
            b.read_exact(&mut vec![0; sent_len]).await.unwrap();
            assert_eq!(held(&a)[1] == 0, freed, "{sent_len}");
        }
    }

    #[tokio::test]
    async fn after_shutdown_the_other_direction_lives() {
        let (mut a, mut b) = pair(64);
        a.write_all(b"question").await.unwrap();
        a.shutdown().await.unwrap();
        assert_eq!(a.write(b"x").await.unwrap_err().kind(), BrokenPipe);
        assert_eq!(read(&mut b).await.unwrap(), b"question");
        assert_eq!(read(&mut b).await.unwrap(), b"", "end of stream");
        b.write_all(b"answer").await.unwrap();
        drop(b);
        assert_eq!(read(&mut a).await.unwrap(), b"answer");
        assert_eq!(read(&mut a).await.unwrap(), b"", "end of stream");
    }

    #[tokio::test]
    async fn shutdown_of_both_ends_is_the_orderly_end() {
        let (mut a, mut b) = pair(64);
        let (end, shutdown) = tokio::join!(biased; read(&mut a), b.shutdown());
        assert_eq!((end.unwrap(), shutdown.unwrap()), (vec![], ()));
        a.write_all(b"bye").await.unwrap();
        a.shutdown().await.unwrap();
        drop(a);
        assert_eq!(read(&mut b).await.unwrap(), b"bye");
        assert_eq!(read(&mut b).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn drop_wakes_a_waiting_writer_with_broken_pipe() {
        let (mut a, mut b) = pair(4);
        a.write_all(b"full").await.unwrap();
        let (written, ()) = tokio::join!(biased; a.write(b"x"), async {
            b.read_exact(&mut [0; 4]).await.unwrap();
            drop(b);
        });
        assert_eq!(written.unwrap_err().kind(), BrokenPipe);
        assert_eq!(read(&mut a).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn abort_resets_a_waiting_peer_and_destroys_what_it_has_not_read() {
        let (mut a, mut b) = pair(64);
        b.write_all(b"lost").await.unwrap();
        b.set_abort();
        drop(b);
        assert_eq!(held(&a), [0, 0]);
        is_reset(&mut a).await;

        let (mut a, mut b) = pair(64);
        b.set_abort();
        let (input, ()) = tokio::join!(biased; read(&mut a), async { drop(b) });
        assert_eq!(input.unwrap_err().kind(), ConnectionReset);
        is_reset(&mut a).await;
    }

    #[tokio::test]
    async fn drop_with_unread_input_resets() {
        let (mut a, mut b) = pair(4);
        a.write_all(b"full").await.unwrap();
        b.write_all(b"lost").await.unwrap();
        let (written, ()) = tokio::join!(biased; a.write(b"x"), async { drop(b) });
        assert_eq!(written.unwrap_err().kind(), ConnectionReset);
        is_reset(&mut a).await;
    }

    #[tokio::test]
    async fn reset_is_told_without_a_read_and_only_of_a_reset() {
        let (mut a, mut b) = pair(64);
        b.write_all(b"unread").await.unwrap();
        b.shutdown().await.unwrap();
        b.set_abort();
        tokio::join!(biased; a.reset(), async { drop(b) });
        is_reset(&mut a).await;

        let (mut a, b) = pair(64);
        let reset = a.reset();
        drop(b);
        tokio::select! {
            biased;
            () = reset => panic!("an orderly end is no reset"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn a_busy_pair_lets_other_tasks_run() {
        let (mut a, mut b) = pair(64);
        let other = tokio::spawn(async {});
        while !other.is_finished() {
            a.write_all(b"x").await.unwrap();
            b.read_u8().await.unwrap();
        }
    }

    proptest! {
        #[test]
        fn every_chunking_delivers_the_same_bytes(
            chunks in vec(vec(any::<u8>(), 0..40), 0..60),
            reads in vec(1..50usize, 1..10),
            capacity in 0..50usize,
            split in 0..=100usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (mut a, mut b) = pair(capacity);
            let sent = chunks.concat();
            let writer = async move {
                for chunk in chunks {
                    let (head, tail) = chunk.split_at(chunk.len() * split / 100);
                    a.write_all_buf(&mut Buf::chain(head, tail)).await.unwrap(); // vectored
                }
            };
            let reader = async move {
                let mut got = Vec::new();
                for len in reads.into_iter().cycle() {
                    let mut buf = vec![0; len];
                    match b.read(&mut buf).await.unwrap() {
                        0 => break,
                        len => got.extend_from_slice(&buf[..len]),
                    }
                }
                got
            };
            let ((), got) = runtime.block_on(async { tokio::join!(writer, reader) });
            assert_eq!(got, sent);
        }
    }

    fn held(stream: &MemStream) -> [usize; 2] {
        stream.lock().each_ref().map(|end| end.input.capacity())
    }

    async fn read(stream: &mut MemStream) -> io::Result<Vec<u8>> {
        let mut buf = [0; 64];
        let len = stream.read(&mut buf).await?;
        Ok(buf[..len].to_vec())
    }

    async fn is_reset(stream: &mut MemStream) {
        stream.reset().await;
        for _ in 0..2 {
            assert_eq!(read(stream).await.unwrap_err().kind(), ConnectionReset);
            assert_eq!(stream.write(b"x").await.unwrap_err().kind(), ConnectionReset);
        }
    }
}
