//! Held back by shaping: a direction whose bucket is empty waits for the wheel, and that time counts
//! to no timeout.

use std::time::Duration;

use tokio::time::Instant;

use super::deadlines::{At, at, until};
use super::{Core, Flags};
use crate::shaping::{Direction, Lane, Shaping};
use crate::wheel::Tick;

/// The state of a connection that is shaped.
#[derive(Debug)]
pub(super) struct Shaped {
    lanes: [Lane; 2],
    /// When the wheel lets a direction go on that is held back.
    until: [Option<At>; 2],
    /// The time up to which what was held back has been taken out of the timeouts.
    seen: Tick,
}

const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];
const HELD_BACK: [Flags; 2] = [Flags::READ_HELD_BACK, Flags::WRITE_HELD_BACK];

impl Core {
    /// The connection is shaped from now on.
    pub(crate) fn start_shaping(&mut self, shaping: &Shaping, now: Instant) {
        let shaped = Shaped { lanes: shaping.lanes(now), until: [None; 2], seen: 0 };
        self.rare().shaped = Some(Box::new(shaped));
    }

    /// How many bytes may move now: of `max` that are to be read, or of the queue.
    ///
    /// # Errors
    ///
    /// None: the time for which the direction is to be held back.
    pub(crate) fn allow(
        &mut self,
        direction: Direction,
        max: usize,
        now: Instant,
    ) -> Result<usize, Duration> {
        // What is thrown away after our FIN is bounded, and must not be left unread (rule 3).
        let lingers = direction == Direction::Read && self.lingers();
        let wanted = if direction == Direction::Write { self.queued } else { max };
        match &mut self.rare {
            Some(rare) if !lingers => match &mut rare.shaped {
                Some(shaped) => shaped.lanes[direction as usize].take(wanted, now),
                None => Ok(max),
            },
            _ => Ok(max),
        }
    }

    /// So many of the bytes that were allowed have moved. `more` says whether more would have.
    pub(crate) fn moved(&mut self, direction: Direction, bytes: usize, more: bool) {
        if let Some(shaped) = self.shaped() {
            shaped.lanes[direction as usize].moved(bytes, more);
        }
    }

    /// Holds a direction back until a tick. Returns whether the wheel has to look earlier than planned.
    pub(crate) fn hold_back(&mut self, direction: Direction, tick: Tick, now: Tick) -> bool {
        self.forgive(now);
        // The readiness was used up by the attempt, and there may be no other event.
        self.flags.set(match direction {
            Direction::Read => Flags::READ_HELD_BACK | Flags::READABLE,
            Direction::Write => Flags::WRITE_HELD_BACK | Flags::WRITABLE,
        });
        if let Some(shaped) = self.shaped() {
            shaped.until[direction as usize] = Some(at(tick));
            shaped.seen = now;
        }
        self.deadlines.bring_forward(tick, now)
    }

    /// Whether bytes that may be there are not read for now.
    pub(super) fn is_read_held_back(&self) -> bool {
        self.flags.any(Flags::READ_HELD_BACK) && !self.lingers()
    }

    fn lingers(&self) -> bool {
        self.flags.all(Flags::CLOSING | Flags::FIN_SENT)
    }

    fn shaped(&mut self) -> Option<&mut Shaped> {
        self.rare.as_mut()?.shaped.as_deref_mut()
    }

    /// The driver waits: who is not held back has nothing to move.
    pub(super) fn rest(&mut self) {
        let flags = self.flags;
        if let Some(shaped) = self.shaped() {
            for (lane, held_back) in shaped.lanes.iter_mut().zip(HELD_BACK) {
                if !flags.any(held_back) {
                    lane.rest();
                }
            }
        }
    }

    /// Lets go on what has been held back for long enough; says whether there was anything.
    pub(super) fn let_go(&mut self, now: Tick) -> bool {
        self.forgive(now);
        let before = self.flags;
        if !before.any(Flags::READ_HELD_BACK | Flags::WRITE_HELD_BACK) {
            return false;
        }
        for direction in DIRECTIONS {
            let Some(shaped) = self.shaped() else { return false };
            let until_then = &mut shaped.until[direction as usize];
            if until_then.is_some_and(|tick| until(tick.get(), now) == 0) {
                *until_then = None;
                self.flags.unset(HELD_BACK[direction as usize]);
            }
        }
        self.flags != before
    }

    /// When the wheel has to let something go on, in ticks from now.
    pub(super) fn held_back_for(&self, now: Tick) -> Option<Tick> {
        let shaped = self.rare.as_ref()?.shaped.as_ref()?;
        shaped.until.iter().flatten().map(|tick| until(tick.get(), now)).min()
    }

    /// Takes the time for which a direction has been held back out of the timeouts, as it is the fault of
    /// nobody.
    pub(super) fn forgive(&mut self, now: Tick) {
        let read = self.flags.any(Flags::READ_HELD_BACK);
        let write = self.flags.any(Flags::WRITE_HELD_BACK);
        if !(read || write) {
            return;
        }
        let Some(shaped) = self.shaped() else { return };
        let time = until(now, shaped.seen); // none if another thread has been here with a later time
        shaped.seen = shaped.seen.wrapping_add(time);
        self.deadlines.put_off(time, read, write);
    }
}
