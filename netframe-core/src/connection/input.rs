//! What arrives: who may have it when (rules 4 to 6), and what is read before anybody may.

use std::io;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::{Core, Flags, Wakes};
use crate::close_reason::{Cause, CloseKind, Side};
use crate::limits::{MAX_DELIVERY, MAX_LINGER};

impl Core {
    pub(crate) fn wants_data(&self) -> bool {
        let stop =
            Flags::CLOSING | Flags::ABORTED | Flags::SWITCHING | Flags::OVERFLOW | Flags::PAUSED;
        !self.flags.any(stop) && (!self.flags.any(Flags::HELD) || self.flags.any(Flags::UNCOUPLED))
    }

    /// `wants_data` as a framer asks it: a refusal is remembered, as what it then leaves over must
    /// be delivered again (rule 5).
    pub(crate) fn ask_wants_data(&mut self) -> bool {
        let wants = self.wants_data();
        if !wants {
            self.flags.set(Flags::REFUSED);
        }
        wants
    }

    pub(crate) fn pause_reading(&mut self) {
        self.flags.set(Flags::PAUSED);
    }

    pub(crate) fn resume_reading(&mut self) {
        if self.flags.take(Flags::PAUSED) {
            self.flags.set(Flags::REDELIVER);
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.flags.any(Flags::PAUSED)
    }

    pub(crate) fn set_coupled(&mut self, coupled: bool) {
        self.flags.put(Flags::UNCOUPLED, !coupled);
    }

    /// Bytes for a stream that reads by itself; none at the end of input.
    pub(crate) fn poll_pull(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<io::Result<Bytes>> {
        if let Some(rare) = &mut self.rare
            && !rare.inbound.is_empty()
        {
            let len = rare.inbound.len().min(max);
            let bytes = rare.inbound.split_to(len).freeze();
            if rare.inbound.is_empty() {
                rare.inbound = BytesMut::new();
            }
            self.flags.set(Flags::HEARD);
            return Poll::Ready(Ok(bytes));
        }
        let eof = self.flags.any(Flags::EOF_SEEN | Flags::DRAIN_EOF);
        if eof && !self.flags.any(Flags::CLOSING) {
            return Poll::Ready(Ok(Bytes::new()));
        }
        if self.flags.any(Flags::IO_FAILED) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.flags.any(Flags::ABORTED | Flags::CLOSING) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.flags.set(Flags::PULL);
        self.read_before_drain_eof();
        self.rare().pull_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// As [`poll_pull`](Self::poll_pull), for a handler that reads a message by itself: the peer must
    /// send it in time.
    pub(crate) fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<io::Result<Bytes>> {
        if self.flags.take(Flags::LATE) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let polled = self.poll_pull(cx, max);
        if polled.is_pending() {
            self.message(true, false);
        }
        polled
    }

    /// The handler that reads by itself is to be told that its peer is too slow.
    pub(super) fn input_is_late(&mut self) {
        self.flags.set(Flags::LATE);
        self.flags.unset(Flags::MESSAGE);
    }

    /// The task that reads, once it is to be told so.
    pub(crate) fn take_late_reader(&mut self) -> Option<Waker> {
        if !self.flags.any(Flags::LATE) {
            return None;
        }
        self.flags.unset(Flags::PULL);
        self.rare().pull_waker.take()
    }

    /// Whether a drain ends the input of a stream which waits for bytes that are not there: it has
    /// answered what it read, as far as anybody can tell.
    pub(super) fn is_drain_eof_due(&self) -> bool {
        self.flags.all(Flags::DRAINED | Flags::PULL)
            && !self.flags.any(Flags::HEARD | Flags::STAYS | Flags::EOF_SEEN)
    }

    /// Whatever is known of the socket, it is read once more before the input ends.
    pub(super) fn read_before_drain_eof(&mut self) {
        if self.is_drain_eof_due() {
            self.flags.set(Flags::READABLE);
        }
    }

    /// The input of a stream ends, as by the peer's FIN.
    pub(crate) fn end_input(&mut self) -> Wakes {
        self.flags.set(Flags::DRAIN_EOF);
        self.flags.unset(Flags::PULL);
        Wakes(Vec::new(), [self.rare().pull_waker.take(), None])
    }

    /// Whether its protocol has read by itself, or may do so.
    #[cfg(feature = "sim")]
    pub(crate) fn reads_by_itself(&self) -> bool {
        self.flags.any(Flags::STAYS)
    }

    /// A drain leaves the input of a stream alone.
    pub(crate) fn ignore_drain(&mut self) {
        self.flags.set(Flags::STAYS);
    }

    /// From now on the peer's FIN is looked for even while the protocol takes no data, by reading
    /// up to 64 KiB ahead.
    pub(crate) fn watch_eof(&mut self) {
        self.flags.set(Flags::WATCH_EOF);
    }

    /// Whether nothing more can come from the peer.
    pub(crate) fn is_input_over(&self) -> bool {
        self.flags.any(Flags::EOF_SEEN | Flags::ABORTED)
    }

    /// Bytes came in and go to the protocol.
    pub(crate) fn received(&mut self, len: usize) {
        self.bytes_in += len as u64;
        self.flags.set(Flags::ACTIVE | Flags::MOVED);
    }

    /// Bytes came in before the protocol can take them.
    pub(crate) fn received_ahead(&mut self, bytes: BytesMut) -> Wakes {
        self.received(bytes.len());
        self.flags.unset(Flags::PULL);
        let rare = self.rare();
        if rare.inbound.is_empty() {
            rare.inbound = bytes;
        } else {
            rare.inbound.extend_from_slice(&bytes);
        }
        Wakes(Vec::new(), [rare.pull_waker.take(), None])
    }

    /// Bytes came in after the close and were dropped.
    pub(crate) fn discarded(&mut self, len: usize) {
        self.bytes_in += len as u64;
        if self.flags.any(Flags::FIN_SENT) {
            self.rare().lingered += len as u64;
            if self.rare().lingered > MAX_LINGER {
                self.abort(Cause::new(Side::Local, CloseKind::Aborted));
            }
        }
    }

    pub(crate) fn received_eof(&mut self) -> Wakes {
        self.flags.set(Flags::EOF_SEEN);
        self.flags.unset(Flags::PULL);
        self.wake_all()
    }

    /// Whether something was read that nobody has taken.
    pub(crate) fn has_inbound(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.inbound.is_empty())
    }

    /// Takes what there is to deliver besides the leftover; says whether there was anything.
    pub(crate) fn take_delivery(&mut self, data: &mut BytesMut) -> bool {
        if self.flags.any(Flags::DATAGRAM) {
            self.take_arrived(data)
        } else {
            self.take_inbound(data)
        }
    }

    /// Moves what was read ahead behind the leftover; says whether there was anything.
    pub(super) fn take_inbound(&mut self, data: &mut BytesMut) -> bool {
        if !self.has_inbound() {
            return false;
        }
        let inbound = std::mem::take(&mut self.rare().inbound);
        if data.is_empty() {
            *data = inbound;
        } else {
            data.extend_from_slice(&inbound);
        }
        true
    }

    pub(super) fn wants_read_ahead(&self) -> bool {
        self.flags.any(Flags::WATCH_EOF)
            && !self.flags.any(Flags::EOF_SEEN | Flags::CLOSING | Flags::DATAGRAM)
            && self.room_ahead() > 0
    }

    /// How many bytes may be read ahead: what is then delivered together is one delivery.
    pub(crate) fn room_ahead(&self) -> usize {
        MAX_DELIVERY - self.rare.as_ref().map_or(0, |rare| rare.inbound.len())
    }
}
