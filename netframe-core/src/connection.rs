//! The connection core: one connection's life as a state machine that does no I/O. Protocols and
//! handles ask it to write and close; a driver asks it what to do next, does that, and says how it
//! went. It follows the contract in `docs/contract.md`, whose rules are cited by number.

mod datagrams;
mod deadlines;
mod ending;
mod flags;
mod input;
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod model;
mod next;
mod output;
mod shaped;
#[cfg(all(test, unix))]
mod tests;
mod waiters;
mod write_queue;

use std::sync::Arc;
use std::task::Waker;

use bytes::BytesMut;
use tokio::task::JoinSet;

use crate::close_reason::{Cause, CloseKind, CloseReason, Side};
use crate::factory::DynFactory;
use crate::io::Layer;
use crate::limits::Limits;
use crate::protocol::Result;
use crate::transport::Residue;
use crate::wheel;

use self::datagrams::Datagrams;
pub(crate) use self::datagrams::{Arrival, Idle, MAX_BATCH, Outgoing, Peer, Setup};
pub(crate) use self::deadlines::{Deadlines, Patience, ticks};
use self::flags::Flags;
pub(crate) use self::next::{Blocked, Next};
use self::shaped::Shaped;
pub(crate) use self::waiters::Awaited;
use self::waiters::Waiters;
pub(crate) use self::write_queue::{BY_REFERENCE, WriteQueue};

/// The state machine of one connection. It is kept small, as every idle connection has one: what
/// only some need, or only for a moment, is behind `rare` and `queue`.
///
/// Invariant: `queued` counts the bytes in `queue` and those a driver has taken out for a send.
#[derive(Debug, Default)]
pub(crate) struct Core {
    flags: Flags,
    queued: usize,
    queue: Option<Box<WriteQueue>>,
    rare: Option<Box<Rare>>,
    /// The driver's task.
    waker: Option<Waker>,
    bytes_in: u64,
    bytes_out: u64,
    pub(crate) deadlines: Deadlines,
    /// Where the timer wheel keeps this connection.
    pub(crate) wheel_key: wheel::Key,
}

/// What most connections do not need most of the time.
#[derive(Debug, Default)]
struct Rare {
    cause: Option<Cause>,
    reason: Option<CloseReason>,
    unsent: u64,
    lingered: u64,
    waiters: Waiters,
    drain_waker: Option<Waker>,
    pull_waker: Option<Waker>,
    /// Bytes read before the protocol could take them: for a pulling stream, or in search of EOF.
    inbound: BytesMut,
    switch: Option<Box<Switch>>,
    datagrams: Option<Box<Datagrams>>,
    shaped: Option<Box<Shaped>>,
    tasks: Option<JoinSet<()>>,
    /// Bytes of the queue that the process's budget counts.
    charged: usize,
}

/// A requested change of protocol.
pub(crate) struct Switch {
    pub(crate) to: Arc<dyn DynFactory>,
    pub(crate) residue: Residue,
    pub(crate) layer: Option<Box<dyn Layer>>,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch").field("residue", &self.residue).finish_non_exhaustive()
    }
}

/// A callback to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Made,
    Data,
    Eof,
    Notified,
    TimedOut,
    Draining,
}

impl Event {
    /// The name of the callback.
    pub(crate) fn callback(self) -> &'static str {
        match self {
            Self::Made => "connection_made",
            Self::Data => "data_received",
            Self::Eof => "eof_received",
            Self::Notified => "notified",
            Self::TimedOut => "timed_out",
            Self::Draining => "draining",
        }
    }
}

/// Wakers to wake once the lock is released.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Wakes(Vec<(u64, Waker)>, [Option<Waker>; 2]);

impl Wakes {
    pub(crate) fn wake(self) {
        for (_, waker) in self.0 {
            waker.wake();
        }
        for waker in self.1.into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Core {
    #[must_use = "to be dropped without the lock"]
    pub(crate) fn switch(&mut self, switch: Switch) -> Option<Box<Switch>> {
        self.flags.set(Flags::SWITCHING);
        self.rare().switch.replace(Box::new(switch))
    }

    pub(crate) fn notify(&mut self) {
        self.flags.set(Flags::NOTIFIED);
    }

    /// The service drains (rule 9).
    pub(crate) fn drain(&mut self) {
        if !self.flags.any(Flags::DRAINED) {
            // A close that is under way has another patience now.
            self.flags.set(Flags::DRAINED | Flags::DRAINING | Flags::ARM);
            self.flags.unset(Flags::MOVED);
            self.read_before_drain_eof();
        }
    }

    /// Whether the service drains.
    pub(crate) fn is_drained(&self) -> bool {
        self.flags.any(Flags::DRAINED)
    }

    /// The futures that run beside the connection, for its driver to add to without the lock.
    pub(crate) fn take_tasks(&mut self) -> JoinSet<()> {
        self.rare().tasks.take().unwrap_or_default()
    }

    /// Puts them back.
    pub(crate) fn put_tasks(&mut self, tasks: JoinSet<()>) {
        self.rare().tasks = Some(tasks);
    }

    /// Registers a future that waits for something to happen on this connection.
    pub(crate) fn register(&mut self, id: &mut Option<u64>, waker: &Waker, awaited: Awaited) {
        self.rare().waiters.register(id, waker, awaited);
    }

    pub(crate) fn unregister(&mut self, id: u64) {
        if let Some(rare) = &mut self.rare {
            rare.waiters.remove(id);
        }
    }

    /// As if the protocol's own timer had passed.
    pub(crate) fn time_out(&mut self) {
        self.flags.set(Flags::TIMED_OUT);
    }

    pub(crate) fn is_switching(&self) -> bool {
        self.flags.any(Flags::SWITCHING)
    }

    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }

    /// Remembers the driver's task, to be woken at the next change from outside.
    pub(crate) fn park(&mut self, waker: &Waker) {
        self.flags.set(Flags::PARKED);
        self.compact();
        self.rest();
        match &mut self.waker {
            Some(old) if old.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
    }

    /// The driver runs, whatever woke it, and looks again before it parks: a change by its own handler
    /// is not to wake it, which would go on for ever.
    pub(crate) fn start_looking(&mut self) {
        self.flags.unset(Flags::PARKED);
    }

    /// The driver's waker, if it is parked.
    pub(crate) fn unpark(&mut self) -> Option<Waker> {
        if self.flags.take(Flags::PARKED) { self.waker.clone() } else { None }
    }

    /// A handler returned. `delivered` says whether it was given the bytes of which `leftover` are
    /// left (rule 5).
    pub(crate) fn handler_returned(
        &mut self,
        result: Result<(), Cause>,
        delivered: bool,
        leftover: Leftover,
        limits: &Limits,
    ) {
        self.seal(limits);
        if self.flags.any(Flags::OVERFLOW) {
            self.abort(Cause::new(Side::Local, CloseKind::Overflow));
        }
        if let Err(cause) = result {
            self.close_because(cause);
            return;
        }
        let Leftover { offered, left, fresh } = leftover;
        let wants = self.wants_data();
        if !delivered {
            self.message(left > 0 && self.flags.any(Flags::MESSAGE), false);
            self.flags.put_if(Flags::REDELIVER, left > 0 && !wants);
            return;
        }
        let progress = fresh || left < offered;
        let refused = self.flags.any(Flags::REFUSED) && progress;
        self.flags.put(Flags::REDELIVER, left > 0 && (!wants || refused));
        self.message(left > 0 && wants && !refused, left < offered);
        if wants && !refused && left > limits.max_pending {
            let text = format!(
                "{left} bytes of an unfinished message exceed `max_pending` ({})",
                limits.max_pending
            );
            self.close_because(Cause::with_source(Side::Peer, CloseKind::Limit, text));
        }
    }

    fn is_residue_accepted(&self, leftover: usize) -> bool {
        let switch = self.rare.as_ref().and_then(|rare| rare.switch.as_ref());
        let reject = switch.is_some_and(|switch| switch.residue == Residue::Reject);
        !(reject && (leftover > 0 || self.has_inbound()))
    }

    /// The switch to carry out, unless the connection was closed meanwhile; `data` becomes what the
    /// new protocol gets first. The core is then as new, but for its counts and what is true of
    /// the stream and of its handles.
    pub(crate) fn take_switch(&mut self, data: &mut BytesMut) -> Option<Box<Switch>> {
        if self.flags.any(Flags::CLOSING | Flags::ABORTED) {
            return None;
        }
        let switch = self.rare().switch.take()?;
        self.take_inbound(data);
        if switch.residue == Residue::Discard {
            data.clear();
        }
        self.flags.keep(
            Flags::EOF_SEEN
                | Flags::FIN_WANTED
                | Flags::FIN_SENT
                | Flags::POLLED
                | Flags::READABLE
                | Flags::WRITABLE
                | Flags::READ_CLOSED
                | Flags::BROKEN
                | Flags::WATCH_EOF
                | Flags::ACTIVE
                | Flags::MOVED
                | Flags::DRAINED
                | Flags::DATAGRAM
                | Flags::FED
                | Flags::READ_HELD_BACK,
        );
        self.flags.set(Flags::REDELIVER);
        self.flags.put(Flags::DRAINING, self.flags.any(Flags::DRAINED));
        self.deadlines.forget_timeout();
        Some(switch)
    }

    pub(crate) fn wake_all(&mut self) -> Wakes {
        match &mut self.rare {
            Some(rare) => {
                Wakes(rare.waiters.take_all(), [rare.drain_waker.take(), rare.pull_waker.take()])
            }
            None => Wakes::default(),
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// What there is to deliver, before and after a handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leftover {
    pub(crate) offered: usize,
    pub(crate) left: usize,
    pub(crate) fresh: bool,
}
