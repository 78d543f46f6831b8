//! What the driver does next: the decisions of the state machine, in order of precedence, and the
//! readiness of a polled socket.

use super::{Core, Event, Flags};
use crate::bugs::{Bug, planted};
use crate::close_reason::{Cause, CloseKind, Side};

impl Core {
    /// What to do next while no handler runs; `leftover` is what the protocol left unconsumed.
    /// Events are handed out once.
    pub(crate) fn next(&mut self, blocked: Blocked, leftover: usize) -> Next {
        self.start_looking();
        let next = self.next_idle(self.look_at_readiness(blocked), leftover);
        self.use_up(next)
    }

    fn next_idle(&mut self, blocked: Blocked, leftover: usize) -> Next {
        if self.flags.any(Flags::ABORTED) {
            return Next::End;
        }
        if self.flags.any(Flags::CLOSING) {
            return self.next_closing(blocked);
        }
        if self.can_flush() && !blocked.write && !self.gathers() {
            return Next::Flush;
        }
        if self.flags.any(Flags::UNFLUSHED) && !blocked.write {
            return Next::FlushBelow;
        }
        if self.flags.any(Flags::SWITCHING) {
            if self.queued > 0 || self.flags.any(Flags::UNFLUSHED) {
                return Next::Wait { watch_reset: false };
            }
            if self.is_residue_accepted(leftover) {
                return Next::Switch;
            }
            let text = "bytes arrived ahead of a change of protocol";
            self.close_because(Cause::with_source(Side::Peer, CloseKind::ProtocolError, text));
            return self.next_closing(blocked);
        }
        if self.wants_fin() && !blocked.write {
            return Next::Fin;
        }
        if self.flags.all(Flags::FIN_SENT | Flags::EOF_DONE) {
            self.set_cause(Cause::new(Side::Peer, CloseKind::Eof));
            self.flags.set(Flags::CLOSING);
            return Next::End;
        }
        self.flags.unset(Flags::REFUSED);
        for (flag, event) in
            [(Flags::DRAINING, Event::Draining), (Flags::TIMED_OUT, Event::TimedOut)]
        {
            if self.flags.take(flag) {
                return Next::Call(event);
            }
        }
        // Notifications and input take turns, so that neither starves the other.
        let notified = self.flags.any(Flags::NOTIFIED);
        if notified && !self.flags.take(Flags::NOTED) {
            return self.call_notified();
        }
        if self.wants_data() {
            let redeliver = self.flags.take(Flags::REDELIVER) && leftover > 0;
            if redeliver || self.has_inbound() || self.has_arrived() {
                return Next::Call(Event::Data);
            }
            if self.flags.any(Flags::EOF_SEEN) {
                if !self.flags.any(Flags::EOF_DONE) {
                    self.flags.set(Flags::EOF_DONE);
                    return Next::Call(Event::Eof);
                }
            } else if !blocked.read {
                return Next::Read;
            }
        } else if self.wants_read_ahead() && !blocked.read {
            return Next::ReadAhead;
        }
        if notified {
            return self.call_notified();
        }
        if self.flags.any(Flags::IDLE_CLOSE)
            && self.queued == 0
            && leftover == 0
            && !self.has_inbound()
            && !self.has_arrived()
            && !blocked.spent
        {
            let shutdown = self.flags.any(Flags::DRAINED) && !self.flags.any(Flags::EOF_SEEN);
            if shutdown {
                self.close_because(Cause::new(Side::System, CloseKind::Shutdown));
            } else {
                self.close();
            }
            return self.next_closing(blocked);
        }
        // A blocked read or write shows a reset by itself.
        let reading = self.wants_data() && !self.flags.any(Flags::EOF_SEEN);
        self.wait(!reading && self.queued == 0)
    }

    /// Rule 3: flush, FIN, then read and drop until the peer's FIN. While the flush waits, input is
    /// dropped too, as a peer that sends before it reads would otherwise never take the queue.
    fn next_closing(&mut self, blocked: Blocked) -> Next {
        if self.can_flush() && !blocked.write {
            return Next::Flush;
        }
        if self.flags.any(Flags::DATAGRAM) {
            // There is no FIN to send or to wait for.
            return if self.queued > 0 { Next::Wait { watch_reset: false } } else { Next::End };
        }
        let dropped = planted(Bug::LastChunk) && blocked.write && self.flags.any(Flags::EOF_SEEN);
        if (self.queued == 0 && !blocked.write || dropped) && !self.flags.any(Flags::FIN_SENT) {
            return Next::Fin;
        }
        let eof = self.flags.any(Flags::EOF_SEEN | Flags::LINGERED);
        if eof && self.flags.any(Flags::FIN_SENT) {
            return Next::End;
        }
        if !eof && !blocked.read {
            return if planted(Bug::AfterClose) { Next::Read } else { Next::Discard };
        }
        Next::Wait { watch_reset: false }
    }

    /// What to do while a handler is pending: `End` means to drop the handler.
    pub(crate) fn next_pending(&mut self, blocked: Blocked) -> Next {
        self.start_looking();
        let next = self.next_while_pending(self.look_at_readiness(blocked));
        self.use_up(next)
    }

    /// Whether a driver that has nothing else to do may park: `next_pending` says to wait. It uses
    /// up no readiness.
    pub(crate) fn may_park(&mut self, blocked: Blocked) -> bool {
        let next = self.next_while_pending(self.look_at_readiness(blocked));
        matches!(next, Next::Wait { .. })
    }

    fn next_while_pending(&mut self, blocked: Blocked) -> Next {
        if self.flags.any(Flags::OVERFLOW) {
            self.abort(Cause::new(Side::Local, CloseKind::Overflow));
        }
        if self.flags.any(Flags::ABORTED | Flags::INTERRUPT) {
            return Next::End;
        }
        if self.can_flush() && !blocked.write {
            return Next::Flush;
        }
        if self.flags.any(Flags::UNFLUSHED) && !blocked.write {
            return Next::FlushBelow;
        }
        if self.wants_fin() && !blocked.write {
            return Next::Fin;
        }
        let pull = self.flags.any(Flags::PULL) && !self.flags.any(Flags::EOF_SEEN);
        if (pull || self.wants_read_ahead()) && !blocked.read {
            return Next::ReadAhead;
        }
        if self.is_drain_eof_due() && !blocked.spent {
            return Next::EndInput;
        }
        self.wait(!pull && self.queued == 0)
    }

    fn call_notified(&mut self) -> Next {
        self.flags.unset(Flags::NOTIFIED);
        self.flags.set(Flags::NOTED);
        Next::Call(Event::Notified)
    }

    /// Nothing to do; a reset that no read or write would show has to be watched for.
    fn wait(&mut self, unseen_reset: bool) -> Next {
        if unseen_reset && self.flags.any(Flags::BROKEN) {
            return Next::Broken;
        }
        let tells = Flags::POLLED | Flags::DATAGRAM; // or has no reset to tell
        Next::Wait { watch_reset: unseen_reset && !self.flags.any(tells) }
    }

    pub(super) fn wants_fin(&self) -> bool {
        self.queued == 0
            && !self.flags.any(Flags::FIN_SENT)
            && self.flags.any(Flags::FIN_WANTED | Flags::CLOSING)
    }

    /// The home polls the socket from now on. At first it takes output; input is told.
    #[cfg(unix)]
    pub(crate) fn start_polling(&mut self) {
        self.flags.set(Flags::POLLED | Flags::WRITABLE);
    }

    /// The home polls it no more.
    #[cfg(unix)]
    pub(crate) fn stop_polling(&mut self) {
        self.flags.unset(Flags::POLLED);
    }

    /// What the home has heard of the socket.
    #[cfg(unix)]
    pub(crate) fn ready(&mut self, readiness: crate::poller::Readiness) {
        self.flags.put_if(Flags::READABLE, readiness.readable);
        self.flags.put_if(Flags::WRITABLE, readiness.writable);
        self.flags.put_if(Flags::READ_CLOSED, readiness.read_closed);
        self.flags.put_if(Flags::BROKEN, readiness.error);
    }

    /// The last read filled its buffer, so there may be more.
    pub(crate) fn may_read_more(&mut self) {
        self.flags.set(Flags::READABLE);
    }

    /// What is blocked: of a polled socket, the directions in which it is not ready.
    fn look_at_readiness(&self, blocked: Blocked) -> Blocked {
        if self.is_read_held_back() {
            return Blocked { read: true, spent: true, ..self.readiness(blocked) };
        }
        self.readiness(blocked)
    }

    fn readiness(&self, blocked: Blocked) -> Blocked {
        if !self.flags.any(Flags::POLLED) {
            return Blocked { read: blocked.read || self.flags.any(Flags::FED), ..blocked };
        }
        // An event may have come since the read or write that was blocked: the flags know of it.
        // Only the end of input, which stays set, is not tried twice in a turn.
        let closed = self.flags.any(Flags::READ_CLOSED) && !blocked.read;
        Blocked {
            read: !self.flags.any(Flags::READABLE) && !closed,
            write: !self.flags.any(Flags::WRITABLE),
            spent: false,
        }
    }

    /// Notes, before the system call, that the readiness is used up: an event that comes meanwhile
    /// sets it again and is not lost.
    fn use_up(&mut self, next: Next) -> Next {
        match next {
            Next::Read if self.flags.any(Flags::DATAGRAM) => {} // see `take_read_now`
            Next::Read | Next::ReadAhead | Next::Discard => self.flags.unset(Flags::READABLE),
            Next::Flush => self.flags.unset(Flags::WRITABLE),
            _ => {}
        }
        next
    }
}

/// What the driver does next while no handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run a callback.
    Call(Event),
    /// Send from the queue.
    Flush,
    /// Flush the layer below, which may hold back bytes that it took.
    FlushBelow,
    /// End the sending side.
    Fin,
    /// Read, and deliver.
    Read,
    /// Read into `inbound`.
    ReadAhead,
    /// Read, and throw away.
    Discard,
    /// Have a stream read EOF, as the service drains.
    EndInput,
    /// Hand the connection to another protocol.
    Switch,
    /// Ask the socket what is wrong with it.
    Broken,
    /// The connection is over.
    End,
    /// Nothing until woken; `watch_reset` if no read or write would show a reset.
    Wait { watch_reset: bool },
}

/// Which directions the transport below has said to wait for, in this turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Blocked {
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// The read was blocked by the task's cooperative budget, or by shaping: there may be input
    /// nevertheless.
    pub(crate) spent: bool,
}
