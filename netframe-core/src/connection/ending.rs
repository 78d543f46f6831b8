//! How a connection ends (rules 2, 3 and 8): the first cause wins.

use std::io;

use bytes::BytesMut;
use tokio::task::JoinSet;

use super::{Core, Datagrams, Flags, Shaped, Switch, Wakes, WriteQueue};
use crate::close_reason::{Cause, CloseKind, CloseReason, Side};

impl Core {
    pub(crate) fn close(&mut self) {
        let cause = if self.flags.any(Flags::EOF_SEEN) {
            Cause::new(Side::Peer, CloseKind::Eof)
        } else if self.flags.any(Flags::DRAIN_EOF) {
            Cause::new(Side::System, CloseKind::Shutdown)
        } else {
            Cause::new(Side::Local, CloseKind::Closed)
        };
        self.close_because(cause);
    }

    pub(super) fn close_because(&mut self, cause: Cause) {
        if !self.flags.any(Flags::CLOSING | Flags::ABORTED) {
            self.set_cause(cause);
            self.flags.set(Flags::CLOSING | Flags::ARM);
        }
    }

    pub(crate) fn close_when_idle(&mut self) {
        // Whatever is known of the socket, it is read once more before the close.
        self.flags.set(Flags::IDLE_CLOSE | Flags::READABLE);
    }

    /// Ends the connection: nothing is sent or delivered any more. The cause counts if it is the
    /// first.
    pub(crate) fn abort(&mut self, cause: Cause) {
        if !self.flags.any(Flags::ABORTED) {
            self.set_cause(cause);
            self.flags.set(Flags::ABORTED);
        }
    }

    /// The transport below failed: nothing moves any more.
    pub(crate) fn io_failed(&mut self, error: io::Error) -> Wakes {
        self.flags.set(Flags::IO_FAILED);
        self.abort(Cause::from_io(error));
        self.wake_all()
    }

    /// Another connection needs the place of this one, which has been idle.
    pub(crate) fn make_way(&mut self) {
        let text = "the service is full, and this connection had been idle for the longest time";
        self.abort(Cause::with_source(Side::System, CloseKind::Limit, text));
    }

    /// The service ends the connection: its drain took too long, or there was none.
    pub(crate) fn shut_down(&mut self) {
        self.abort(Cause::new(Side::System, CloseKind::Shutdown));
    }

    /// A timer or the service ends the connection without waiting for a handler.
    pub(crate) fn interrupt(&mut self, cause: Cause) {
        self.close_because(cause);
        self.flags.set(Flags::INTERRUPT);
    }

    pub(crate) fn handler_panicked(&mut self, text: String) {
        self.abort(Cause::with_source(Side::Local, CloseKind::Panic, text));
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.flags.any(Flags::CLOSING)
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.flags.any(Flags::ABORTED)
    }

    /// Whether the connection ends, or one of its sides has: nothing further can be asked and answered.
    pub(crate) fn is_spent(&self) -> bool {
        let over = Flags::CLOSING | Flags::ABORTED | Flags::OVERFLOW;
        self.flags.any(over | Flags::EOF_SEEN | Flags::FIN_WANTED)
    }

    /// Whether nothing waits for a handler any more.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.flags.any(Flags::ABORTED | Flags::INTERRUPT)
    }

    pub(crate) fn is_abort_local(&self) -> bool {
        self.flags.any(Flags::ABORTED) && !self.flags.any(Flags::IO_FAILED)
    }

    /// Ends the connection. What it held is to be dropped without the lock, as that may run user
    /// code.
    pub(crate) fn end(&mut self) -> (CloseReason, Remains) {
        self.abort(Cause::new(Side::Local, CloseKind::Aborted));
        let mut queued = std::mem::take(&mut self.queued);
        let queue = self.queue.take();
        let rare = self.rare();
        let datagrams = rare.datagrams.take();
        if let Some(datagrams) = &datagrams {
            queued -= datagrams.overhead();
        }
        rare.unsent += queued as u64;
        let remains = Remains {
            _queue: queue,
            _inbound: std::mem::take(&mut rare.inbound),
            _switch: rare.switch.take(),
            _shaped: rare.shaped.take(),
            _datagrams: datagrams,
            _tasks: rare.tasks.take(),
        };
        let cause = rare.cause.clone().expect("abort has set one if there was none");
        (self.reason_so_far(cause), remains)
    }

    /// Makes the reason known to those who wait for the end.
    pub(crate) fn publish(&mut self, reason: CloseReason) -> Wakes {
        self.rare().reason = Some(reason);
        self.waker = None;
        self.wake_all()
    }

    /// Why the connection ended, once it has.
    pub(crate) fn reason(&self) -> Option<&CloseReason> {
        self.rare.as_ref()?.reason.as_ref()
    }

    /// A reason with the counts so far.
    pub(crate) fn reason_so_far(&self, cause: Cause) -> CloseReason {
        let unsent = self.rare.as_ref().map_or(0, |rare| rare.unsent);
        CloseReason {
            cause,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            bytes_unsent: unsent,
            close_timed_out: self.flags.any(Flags::CLOSE_TIMED_OUT),
        }
    }

    pub(super) fn set_cause(&mut self, cause: Cause) {
        self.rare().cause.get_or_insert(cause);
    }
}

/// What a connection still held at its end.
pub(crate) struct Remains {
    _queue: Option<Box<WriteQueue>>,
    _inbound: BytesMut,
    _switch: Option<Box<Switch>>,
    _shaped: Option<Box<Shaped>>,
    _datagrams: Option<Box<Datagrams>>,
    _tasks: Option<JoinSet<()>>,
}
