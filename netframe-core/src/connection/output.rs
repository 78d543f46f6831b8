//! What leaves: the out queue with its watermarks and its cap (rule 6), and our FIN.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Core, Flags, Wakes, WriteQueue};
use crate::below::Sent;
use crate::close_reason::{Cause, CloseKind, Side};
use crate::datagram::SendError;
use crate::limits::Limits;
use crate::protocol::Result;

impl Core {
    /// Room for a write of `len` bytes (rule 6). If there is none the bytes count as unsent.
    fn admit(&mut self, len: usize, limits: &Limits) -> bool {
        let closed = Flags::CLOSING | Flags::ABORTED | Flags::FIN_WANTED | Flags::OVERFLOW;
        let admitted = if len == 0 {
            true
        } else if self.flags.any(closed) || !self.has_receiver() {
            false
        } else if self.queued <= limits.high_watermark
            || self.queued.saturating_add(len) <= limits.hard_cap
        {
            true
        } else {
            self.flags.set(Flags::OVERFLOW);
            self.set_cause(Cause::new(Side::Local, CloseKind::Overflow));
            false
        };
        if !admitted {
            self.rare().unsent += len as u64;
        }
        admitted
    }

    pub(super) fn enqueued(&mut self, len: usize, limits: &Limits) {
        self.queued += len;
        if self.queued > limits.high_watermark {
            self.flags.set(Flags::HELD);
        }
    }

    /// Queues a copy of all `parts`, or none.
    pub(crate) fn write(&mut self, parts: &[&[u8]], limits: &Limits) {
        let len = parts.iter().map(|part| part.len()).sum();
        if len == 0 {
            self.write_empty();
        }
        if self.admit(len, limits) && len > 0 {
            self.queue().push_all(parts, len);
            self.enqueued(len, limits);
        }
    }

    /// Queues `data`. What is not kept comes back, to be dropped without the lock: it may be backed
    /// by a type of the user's own.
    #[must_use = "to be dropped without the lock"]
    pub(crate) fn write_bytes(&mut self, data: Bytes, limits: &Limits) -> Option<Bytes> {
        if data.is_empty() {
            self.write_empty();
        }
        if !self.admit(data.len(), limits) || data.is_empty() {
            return Some(data);
        }
        let len = data.len();
        // A datagram leaves with the turn: what is all of it needs no copy.
        let whole = self.flags.any(Flags::DATAGRAM) && self.queue.is_none();
        let unused = self.queue().push_bytes(data, whole);
        self.enqueued(len, limits);
        unused
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes of the queue that the process's budget counts.
    pub(crate) fn charged(&self) -> usize {
        self.rare.as_ref().map_or(0, |rare| rare.charged)
    }

    /// Counts so many from now on, and returns what was counted so far.
    pub(crate) fn set_charged(&mut self, bytes: usize) -> usize {
        std::mem::replace(&mut self.rare().charged, bytes)
    }

    /// Ends the connection, as the process has no room for what it has queued.
    pub(crate) fn overcharged(&mut self) {
        let text = "the queues of the process are full, and this one was the longest";
        self.abort(Cause::with_source(Side::Local, CloseKind::Overflow, text));
    }

    /// Whether writes are still taken.
    pub(crate) fn is_writable(&self) -> bool {
        !self.flags.any(Flags::CLOSING | Flags::ABORTED | Flags::FIN_WANTED | Flags::OVERFLOW)
    }

    /// Queues what somebody else than the protocol writes: a datagram of its own, where there are
    /// datagrams. What is not kept comes back, to be dropped without the lock.
    ///
    /// # Errors
    ///
    /// It is not taken; the bytes come back.
    pub(crate) fn write_from_handle(
        &mut self,
        data: Bytes,
        limits: &Limits,
    ) -> Result<Option<Bytes>, (Bytes, SendError)> {
        if !self.is_writable() {
            Err((data, SendError::Closed))
        } else if self.is_held() {
            Err((data, SendError::Full))
        } else if self.flags.any(Flags::DATAGRAM) {
            self.write_apart(data, limits).map(|()| None)
        } else {
            Ok(self.write_bytes(data, limits))
        }
    }

    /// Whether the queue went above the high watermark and is not yet at the low one.
    pub(crate) fn is_held(&self) -> bool {
        self.flags.any(Flags::HELD)
    }

    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>, limits: &Limits) -> Poll<Result> {
        if self.flags.any(Flags::ABORTED | Flags::OVERFLOW) {
            let error = io::Error::new(io::ErrorKind::BrokenPipe, "the connection ended");
            return Poll::Ready(Err(error.into()));
        }
        self.seal(limits);
        if self.queued <= limits.low_watermark {
            return Poll::Ready(Ok(()));
        }
        self.rare().drain_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes a write of a stream, once the queue is below its watermarks.
    pub(crate) fn poll_push(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        limits: &Limits,
    ) -> Poll<io::Result<usize>> {
        if !self.is_writable() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.is_held() {
            self.rare().drain_waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.write(&[data], limits);
        self.flags.unset(Flags::HEARD);
        self.read_before_drain_eof();
        Poll::Ready(Ok(data.len()))
    }

    pub(crate) fn close_write(&mut self) {
        self.flags.set(Flags::FIN_WANTED);
    }

    pub(crate) fn is_fin_wanted(&self) -> bool {
        self.flags.any(Flags::FIN_WANTED)
    }

    /// Asks for our FIN, and is ready when it has left.
    pub(crate) fn poll_close_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close_write();
        if self.flags.any(Flags::FIN_SENT) {
            return Poll::Ready(Ok(()));
        }
        if self.flags.any(Flags::ABORTED) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.rare().drain_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes the queue out for a send, so that no system call happens under the lock.
    pub(crate) fn start_flush(&mut self) -> Box<WriteQueue> {
        self.queue.take().unwrap_or_else(WriteQueue::take)
    }

    /// Puts the rest of the queue back before what was written meanwhile.
    pub(crate) fn finish_flush(
        &mut self,
        queue: Box<WriteQueue>,
        sent: &Sent,
        buffers_below: bool,
        limits: &Limits,
    ) -> Wakes {
        let Sent { taken: sent, all } = *sent;
        if all {
            self.flags.set(Flags::WRITABLE);
        }
        self.bytes_out += sent as u64;
        self.queued -= sent;
        if sent > 0 {
            self.flags.set(Flags::ACTIVE | Flags::MOVED | Flags::PROGRESS);
            self.flags.put(Flags::UNFLUSHED, buffers_below);
        }
        self.restore(queue);
        if self.queued == 0 {
            self.flags.unset(Flags::STALLED);
        } else if !self.flags.any(Flags::STALLED) {
            self.flags.set(Flags::STALLED | Flags::ARM);
        }
        if sent == 0 {
            return Wakes::default(); // who waits for the queue would wait, and look again, for ever
        }
        self.drained(limits)
    }

    /// After bytes left: opens the gate at the low watermark (rule 6).
    pub(super) fn drained(&mut self, limits: &Limits) -> Wakes {
        if self.queued > limits.low_watermark {
            return Wakes::default();
        }
        self.flags.unset(Flags::HELD);
        match &mut self.rare {
            Some(rare) => Wakes(rare.waiters.take_room(), [rare.drain_waker.take(), None]),
            None => Wakes::default(),
        }
    }

    pub(crate) fn flushed_below(&mut self) {
        self.flags.unset(Flags::UNFLUSHED);
    }

    /// Our FIN has left. A close is over with it if the stream below needs no linger.
    pub(crate) fn fin_sent(&mut self, linger: bool) -> Wakes {
        self.flags.set(Flags::FIN_SENT | Flags::ARM);
        self.flags.put_if(Flags::LINGERED, !linger);
        self.wake_all()
    }

    /// Whether our FIN has left, or nothing can leave any more.
    pub(crate) fn is_send_side_done(&self) -> bool {
        self.flags.any(Flags::FIN_SENT | Flags::ABORTED)
    }

    pub(super) fn queue(&mut self) -> &mut WriteQueue {
        self.queue.get_or_insert_with(WriteQueue::take)
    }

    /// Puts a queue back, or into the pool if it is empty.
    pub(super) fn restore(&mut self, mut queue: Box<WriteQueue>) {
        if let Some(mut later) = self.queue.take() {
            queue.append(&mut later);
            later.recycle();
        }
        if queue.is_empty() {
            queue.recycle();
        } else {
            self.queue = Some(queue);
        }
    }
}
