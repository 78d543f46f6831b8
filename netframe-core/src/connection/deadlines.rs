//! The timers of one connection, in coarse ticks. No clock is read when bytes move: that they did
//! is one flag, and the timer wheel looks at it some times per timeout, which makes a timer a little
//! late and never early.

use super::{Core, Datagrams, Flags, Idle};
use crate::close_reason::{Cause, CloseKind, Side, TimeoutKind};
use crate::limits::{Limits, Timeout};
use crate::wheel::{TICK_MS, Tick};

/// Looks per timeout at what is only flagged. Together with the rounding to ticks this keeps a timer
/// of 800 ms within the 100 ms that are promised, and a longer one within its eighth.
const LOOKS: u32 = 24;

/// Linger for a peer's FIN while the service drains, on a connection that has not moved a byte
/// since the drain began: no answer is under way that a reset could destroy.
const DRAIN_LINGER: Tick = 2;

/// Time that a message gets before its rate counts: a slow start is no attack.
const RATE_GRACE: Tick = 5_000 / TICK_MS as Tick + 2; // as `ticks` rounds

/// When what is due. A tick of `None` means that nothing is.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// The last look that found a byte moved.
    idle_since: Tick,
    /// The protocol's own timer.
    timeout: Option<At>,
    /// End of the patience with a queue that does not move, or with a close.
    patience: Option<At>,
    /// When the wheel looks next.
    armed: Option<At>,
    /// When the message under way was first seen, and how many bytes had been received by then;
    /// those wrap around.
    message: (Tick, u32),
}

/// A tick that is not zero, so that an optional one needs no more room.
pub(super) type At = std::num::NonZero<Tick>;

pub(super) fn at(tick: Tick) -> At {
    At::new(tick).unwrap_or(At::MIN) // once in four years: one tick late
}

/// How many ticks cover `duration`, so that a timer is never early.
pub(crate) fn ticks(duration: std::time::Duration) -> Tick {
    let ticks = duration.as_millis().div_ceil(u128::from(TICK_MS)) + 1;
    Tick::try_from(ticks).unwrap_or(Tick::MAX).min(Tick::MAX / 4)
}

/// The timeouts of a service in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    idle: Option<Tick>,
    close: Option<Tick>,
    write_stall: Option<Tick>,
    message: Option<Tick>,
    /// Bytes in a second that a message must bring at least.
    rate: Option<u64>,
}

impl From<&Limits> for Patience {
    fn from(limits: &Limits) -> Self {
        let of = |timeout: Timeout| timeout.duration().map(ticks);
        Self {
            idle: of(limits.idle_timeout),
            close: of(limits.close_timeout),
            write_stall: of(limits.write_stall_timeout),
            message: of(limits.message_timeout),
            rate: limits.min_message_rate.at_least().map(|rate| rate as u64),
        }
    }
}

impl Deadlines {
    /// The protocol's own timer ends with the protocol.
    pub(super) fn forget_timeout(&mut self) {
        self.timeout = None;
    }

    /// A time in which nothing was read or sent, or neither, by our own doing.
    pub(super) fn put_off(&mut self, time: Tick, read: bool, write: bool) {
        self.idle_since = self.idle_since.wrapping_add(time);
        if read {
            self.message.0 = self.message.0.wrapping_add(time);
        }
        if write {
            self.patience = self.patience.map(|deadline| at(deadline.get().wrapping_add(time)));
        }
    }

    /// Notes that the wheel looks at `tick`, if that is earlier than planned.
    pub(super) fn bring_forward(&mut self, tick: Tick, now: Tick) -> bool {
        let earlier = self.armed.is_none_or(|armed| until(tick, now) < until(armed.get(), now));
        if earlier {
            self.armed = Some(at(tick));
        }
        earlier
    }
}

/// Ticks from `now` to `tick`, zero if it has passed. Ticks wrap around.
pub(super) fn until(tick: Tick, now: Tick) -> Tick {
    let distance = tick.wrapping_sub(now);
    if distance > Tick::MAX / 2 { 0 } else { distance }
}

impl Core {
    /// Starts the idle clock; returns when to look first.
    pub(crate) fn start_clock(&mut self, now: Tick, patience: &Patience) -> Option<Tick> {
        self.deadlines.idle_since = now;
        let first = self.idle(patience).map(|idle| now.wrapping_add((idle / LOOKS).max(1)));
        self.deadlines.armed = first.map(at);
        first
    }

    /// The idle timeout of this connection.
    fn idle(&self, patience: &Patience) -> Option<Tick> {
        match self.as_datagrams().map_or(Idle::Service, Datagrams::idle) {
            Idle::Service => patience.idle,
            Idle::Never => None,
            Idle::After(ticks) => Some(ticks),
        }
    }

    /// Ticks without a byte, unless it is closing or a byte has moved since the last look.
    pub(crate) fn idle_time(&self, now: Tick) -> Option<Tick> {
        let busy = Flags::CLOSING | Flags::ABORTED | Flags::ACTIVE;
        (!self.flags.any(busy)).then(|| now.wrapping_sub(self.deadlines.idle_since))
    }

    /// Whether `arm` has something to do.
    pub(crate) fn needs_arm(&self) -> bool {
        self.flags.any(Flags::ARM)
    }

    /// A handler returned with an unfinished message, or without one. `another` says that it has
    /// consumed the one before, or a part of it. The time is not asked for here: the wheel has looked,
    /// or will.
    pub(super) fn message(&mut self, unfinished: bool, another: bool) {
        if !unfinished {
            self.flags.unset(Flags::MESSAGE);
        } else if !self.flags.any(Flags::MESSAGE) {
            self.flags.set(Flags::MESSAGE | Flags::MESSAGE_NEW | Flags::ARM);
        } else if another {
            self.flags.set(Flags::MESSAGE_NEW);
        }
    }

    /// Whether the message under way takes too long.
    fn is_message_late(&mut self, now: Tick, patience: &Patience) -> bool {
        if !self.flags.any(Flags::MESSAGE) {
            return false;
        }
        let reads = self.flags.any(Flags::PENDING);
        // While nothing is read, or a handler has it, its peer is not to blame.
        let waits = if reads { self.flags.any(Flags::PULL) } else { self.wants_data() };
        if self.flags.take(Flags::MESSAGE_NEW) || !waits {
            self.deadlines.message = (now, self.bytes_in as u32);
            return false;
        }
        let (since, bytes_then) = self.deadlines.message;
        let (time, bytes) =
            (now.wrapping_sub(since), (self.bytes_in as u32).wrapping_sub(bytes_then));
        let is_due =
            patience.message.is_some_and(|after| until(since.wrapping_add(after), now) == 0);
        let is_rated = patience.rate.is_some() && (time >= RATE_GRACE || reads && is_due);
        let enough = |rate| u64::from(bytes) * 1000 >= rate * u64::from(time) * TICK_MS;
        let is_slow = is_rated && patience.rate.is_some_and(|rate| !enough(rate));
        // A handler that reads by itself may do so for hours, if something comes all the time.
        let moves = if patience.rate.is_some() { is_rated && !is_slow } else { bytes > 0 };
        if reads && moves {
            self.deadlines.message = (now, self.bytes_in as u32);
            return false;
        }
        is_due || is_slow
    }

    /// When to look at the message under way, in ticks from now.
    fn message_look(&self, now: Tick, patience: &Patience) -> Option<Tick> {
        if !self.flags.any(Flags::MESSAGE) {
            return None;
        }
        let since = self.deadlines.message.0;
        let timeout =
            patience.message.map(|after| until(since.wrapping_add(after), now).min(after / LOOKS));
        let rate = patience.rate.map(|_| RATE_GRACE / LOOKS);
        timeout.into_iter().chain(rate).min()
    }

    /// Starts the clock of a close, of a stalled queue or of a message; returns when the wheel is to
    /// look.
    pub(crate) fn arm(&mut self, now: Tick, patience: &Patience) -> Option<Tick> {
        self.flags.unset(Flags::ARM | Flags::PROGRESS);
        self.forgive(now);
        if self.flags.all(Flags::MESSAGE | Flags::MESSAGE_NEW) {
            self.flags.unset(Flags::MESSAGE_NEW);
            self.deadlines.message = (now, self.bytes_in as u32);
        }
        let after = self.patience(patience);
        self.deadlines.patience = after.map(|after| at(now.wrapping_add(after)));
        let look = self.next_look(now, patience)?;
        self.deadlines.bring_forward(look, now).then_some(look)
    }

    /// The wheel looks. Returns when it is to look again, and whether the driver has to be woken.
    pub(crate) fn look(&mut self, now: Tick, patience: &Patience) -> (Option<Tick>, bool) {
        if self.flags.any(Flags::ABORTED) {
            return (None, true);
        }
        let mut wake = self.let_go(now);
        let due = |tick: Tick| until(tick, now) == 0;

        if self.flags.take(Flags::ACTIVE) {
            self.deadlines.idle_since = now;
        } else if let Some(idle) = self.idle(patience)
            && !self.flags.any(Flags::CLOSING)
            && due(self.deadlines.idle_since.wrapping_add(idle))
        {
            self.interrupt(Cause::new(Side::System, CloseKind::Timeout(TimeoutKind::Idle)));
            wake = true;
        }

        if !self.flags.any(Flags::CLOSING) && self.is_message_late(now, patience) {
            if self.flags.any(Flags::PENDING) {
                self.input_is_late();
            } else {
                let kind = CloseKind::Timeout(TimeoutKind::Message);
                self.interrupt(Cause::new(Side::Peer, kind));
            }
            wake = true;
        }

        if self.patience(patience).is_none() {
            self.deadlines.patience = None;
        }
        if let Some(deadline) = self.deadlines.patience {
            let closing = self.flags.any(Flags::CLOSING);
            let lingering = closing && self.flags.any(Flags::FIN_SENT);
            if self.flags.take(Flags::PROGRESS) && !lingering {
                let after = self.patience(patience);
                self.deadlines.patience = after.map(|after| at(now.wrapping_add(after)));
            } else if due(deadline.get()) {
                if lingering && self.is_idle_drain() {
                    self.flags.set(Flags::LINGERED);
                    return (None, true);
                }
                // A close has its cause already.
                self.flags.put_if(Flags::CLOSE_TIMED_OUT, closing);
                let stall = CloseKind::Timeout(TimeoutKind::WriteStall);
                self.abort(Cause::new(Side::System, stall));
                return (None, true);
            }
        }

        if self.deadlines.timeout.is_some_and(|timeout| due(timeout.get())) {
            self.deadlines.timeout = None;
            self.flags.set(Flags::TIMED_OUT);
            wake = true;
        }

        let next = self.next_look(now, patience);
        self.deadlines.armed = next.map(at);
        (next, wake)
    }

    /// The patience that applies in this phase.
    fn patience(&self, patience: &Patience) -> Option<Tick> {
        if self.flags.any(Flags::CLOSING) {
            let linger = self.flags.any(Flags::FIN_SENT) && self.is_idle_drain();
            if linger { Some(DRAIN_LINGER) } else { patience.close }
        } else if self.flags.any(Flags::STALLED) {
            patience.write_stall
        } else {
            None
        }
    }

    fn is_idle_drain(&self) -> bool {
        self.flags.any(Flags::DRAINED) && !self.flags.any(Flags::MOVED)
    }

    fn next_look(&self, now: Tick, limits: &Patience) -> Option<Tick> {
        let idle = self
            .idle(limits)
            .filter(|_| !self.flags.any(Flags::CLOSING))
            .map(|idle| until(self.deadlines.idle_since.wrapping_add(idle), now).min(idle / LOOKS));
        let patience = self.deadlines.patience.map(|deadline| {
            let look = self.patience(limits).map_or(Tick::MAX, |after| after / LOOKS);
            until(deadline.get(), now).min(look)
        });
        let timeout = self.deadlines.timeout.map(|timeout| until(timeout.get(), now));
        let message = self.message_look(now, limits);
        let held_back = self.held_back_for(now);
        let soonest = [idle, patience, timeout, message, held_back].into_iter().flatten().min()?;
        Some(now.wrapping_add(soonest.max(1)))
    }

    /// Sets or unsets the protocol's own timer; one that has passed unseen is forgotten. Returns
    /// whether the wheel has to look earlier than planned.
    pub(crate) fn set_timeout(&mut self, tick: Option<Tick>, now: Tick) -> bool {
        self.flags.unset(Flags::TIMED_OUT);
        self.deadlines.timeout = tick.map(at);
        tick.is_some_and(|tick| self.deadlines.bring_forward(tick, now))
    }
}
