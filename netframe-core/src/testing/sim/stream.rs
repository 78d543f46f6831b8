//! [`SimStream`]: one end of a simulated connection, as a TCP socket would be.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop;

use super::conditions::hits;
use super::world::{World, park};
use crate::io::{BoxFuture, Io};

/// One end of a simulated connection, from [`SimNetwork::connect`](super::SimNetwork::connect).
///
/// Dropped, it ends the connection in order; with input unread, or after
/// [`set_abort`](Io::set_abort), it resets it.
pub struct SimStream {
    world: Arc<World>,
    number: u64,
    /// Which of the two ends this is.
    index: usize,
    abort: bool,
}

impl SimStream {
    pub(super) fn new(world: &Arc<World>, number: u64, index: usize) -> Self {
        Self { world: Arc::clone(world), number, index, abort: false }
    }

    /// Whether a drop now is one of a connection that was never in use, and resets it.
    pub(super) fn give_up(&mut self, abort: bool) {
        self.abort = abort;
    }
}

impl Io for SimStream {
    fn reset(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(poll_fn(|cx| {
            let _replaced; // declared before the guard, hence dropped after it
            let mut state = self.world.lock();
            let (own, _) = state.sides(self.number, self.index);
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

impl AsyncRead for SimStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let budget = ready!(coop::poll_proceed(cx));
        let _replaced;
        let mut state = self.world.lock();
        if !state.step() {
            return Poll::Pending;
        }
        let (own, peer) = state.sides(self.number, self.index);
        if own.input.is_empty() && !own.eof && !own.reset && buf.remaining() > 0 {
            _replaced = park(&mut own.reader, cx);
            return Poll::Pending;
        }
        let (host, to) = (Arc::clone(&own.host), Arc::clone(&peer.host));
        let conditions = state.between(&host, &to);
        let (stalls, short_reads) = (conditions.stalls, conditions.short_reads);
        if hits(stalls, &mut state.rng) {
            drop(state);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        budget.made_progress();
        let short = hits(short_reads, &mut state.rng);
        let (own, _) = state.sides(self.number, self.index);
        if own.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut len = own.input.len().min(buf.remaining());
        if len > 1 && short {
            len = state.rng.usize(1..=len);
        }
        let number = self.number;
        match len {
            0 => state.note(format_args!("#{number} {host} reads EOF")),
            len => state.note(format_args!("#{number} {host} reads {len} B")),
        }
        let (own, peer) = state.sides(self.number, self.index);
        let (front, back) = own.input.as_slices();
        let before = buf.filled().len();
        let front_len = front.len().min(len);
        buf.put_slice(&front[..front_len]);
        buf.put_slice(&back[..len - front_len]);
        own.input.drain(..len);
        let writer = peer.writer.take();
        state.ledger((self.number, self.index)).take(&buf.filled()[before..]);
        drop(state);
        wake(writer);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
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
        let mut state = self.world.lock();
        if !state.step() {
            return Poll::Pending;
        }
        let (own, peer) = state.sides(self.number, self.index);
        if own.reset {
            budget.made_progress();
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if own.fin_sent {
            budget.made_progress();
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let used = own.flying + peer.input.len();
        let (host, to) = (Arc::clone(&own.host), Arc::clone(&peer.host));
        let conditions = state.between(&host, &to);
        let (stalls, short_writes) = (conditions.stalls, conditions.short_writes);
        // At least one byte: a capacity may shrink while more is under way.
        let room = conditions.capacity.max(1).saturating_sub(used);
        let offered: usize = data.iter().map(|slice| slice.len()).sum();
        if room == 0 && offered > 0 {
            let (own, _) = state.sides(self.number, self.index);
            _replaced = park(&mut own.writer, cx);
            return Poll::Pending;
        }
        if hits(stalls, &mut state.rng) {
            drop(state);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        budget.made_progress();
        let mut len = offered.min(room);
        if len > 1 && hits(short_writes, &mut state.rng) {
            len = state.rng.usize(1..=len);
        }
        if len > 0 {
            let mut sent = Vec::with_capacity(len);
            for slice in data {
                sent.extend_from_slice(&slice[..slice.len().min(len - sent.len())]);
            }
            state.send(self.number, self.index, sent);
        }
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.world.lock();
        let handle = state.ledger((self.number, self.index)).handle.clone();
        drop(state); // the connection above has a lock of its own
        let queued = handle.map_or(0, |handle| handle.queued());
        let mut state = self.world.lock();
        if queued > 0 {
            state.violation(format!("#{}: FIN ahead of {queued} B that are queued", self.number));
        }
        state.send_fin(self.number, self.index);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        let (own, _) = state.sides(self.number, self.index);
        own.dropped = true;
        let unread = std::mem::take(&mut own.input);
        // A waker of ours may hold the task that held this stream: with it here, neither is freed.
        let _own = [own.reader.take(), own.writer.take(), own.reset_watcher.take()];
        if own.reset {
        } else if self.abort || !unread.is_empty() {
            state.send_reset(self.number, self.index);
        } else {
            state.send_fin(self.number, self.index);
        }
        state.forget(self.number);
        drop(state);
    }
}

impl fmt::Debug for SimStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStream").field("number", &self.number).finish_non_exhaustive()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
