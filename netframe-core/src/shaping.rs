//! [`Shaping`]: how fast the bytes of a service and of its connections may move, as token buckets. A
//! [`Lane`] is one direction of one connection: it asks its own bucket, then that of the service.

#[cfg(test)]
mod tests;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{Limits, MAX_DELIVERY, Quota};
use crate::sync::{AtomicU64, AtomicUsize};

/// The longest wait before a connection asks again: its turn comes sooner when others have gone.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// Bytes that a connection waits for where many share a bucket, if the rate has as many in an eighth of
/// a second: each would be woken for next to nothing.
const MIN_TURN: u64 = 512;

/// A direction in which bytes move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// The rates of a service.
#[derive(Debug)]
pub(crate) struct Shaping {
    lanes: [Rates; 2],
}

/// The rates of one direction.
#[derive(Debug)]
struct Rates {
    own: Option<u64>,
    shared: Option<Arc<SharedBucket>>,
}

impl Shaping {
    /// `None` if every rate is unlimited.
    pub(crate) fn new(limits: &Limits) -> Option<Self> {
        limits.shaped_by()?;
        let now = Instant::now();
        let rates = |own: Quota, shared: Quota| Rates {
            own: own.at_most().map(|rate| rate as u64),
            shared: shared.at_most().map(|rate| Arc::new(SharedBucket::new(rate as u64, now))),
        };
        let lanes = [
            rates(limits.read_rate, limits.service_read_rate),
            rates(limits.write_rate, limits.service_write_rate),
        ];
        Some(Self { lanes })
    }

    /// The two directions of a new connection.
    pub(crate) fn lanes(&self, now: Instant) -> [Lane; 2] {
        self.lanes.each_ref().map(|rates| Lane {
            own: rates.own.map(|rate| Bucket::new(rate, now)),
            shared: rates.shared.clone().map(|shared| (shared, Place::default())),
            granted: 0,
        })
    }
}

/// A token bucket for bytes: so many in a second, and as many at once after a second's silence. It is
/// full at first.
///
/// Tokens are no number that is filled up from time to time, which would round: what was given out is
/// a place on the line of all bytes that the rate has allowed since the beginning. The place is never
/// more than a second's worth ahead of the time, and never behind it.
struct Bucket {
    rate: u64,
    since: Instant,
    given: AtomicU64,
}

impl Bucket {
    fn new(rate: u64, since: Instant) -> Self {
        Self { rate, since, given: AtomicU64::new(0) }
    }

    /// Bytes that the rate allows in this time.
    fn worth(&self, time: Duration) -> u64 {
        let bytes = time.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The time in which the rate allows so many bytes.
    fn time_of(&self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.rate));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn allowed(&self, now: Instant) -> u64 {
        self.worth(now.saturating_duration_since(self.since))
    }

    #[cfg(test)]
    fn available(&self, now: Instant) -> u64 {
        let allowed = self.allowed(now);
        let given = self.given.load(Ordering::Relaxed).max(allowed);
        (allowed + self.rate).saturating_sub(given)
    }

    /// Takes up to so many bytes; returns how many.
    fn take(&self, wanted: u64, now: Instant) -> u64 {
        let allowed = self.allowed(now);
        let mut taken = 0;
        let update = |given: u64| {
            let given = given.max(allowed);
            taken = (allowed + self.rate).saturating_sub(given).min(wanted);
            (taken > 0).then_some(given + taken)
        };
        match self.given.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update) {
            Ok(_) => taken,
            Err(_) => 0,
        }
    }

    /// Takes so many bytes, or none; says whether it did.
    fn take_all(&self, wanted: u64, now: Instant) -> bool {
        let taken = self.take(wanted, now);
        if taken < wanted {
            self.give_back(taken);
        }
        taken == wanted
    }

    /// Takes bytes before there are any; returns the time until there would have been so many.
    fn take_ahead(&self, bytes: u64, now: Instant) -> Duration {
        let allowed = self.allowed(now);
        let update = |given: u64| Some(given.max(allowed) + bytes);
        let given = self.given.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        let given = given.unwrap_or_else(|given| given).max(allowed) + bytes;
        self.until(given, now)
    }

    /// Gives bytes back that were taken and did not move.
    fn give_back(&self, bytes: u64) {
        self.given.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The time until there is a byte.
    fn wait(&self, now: Instant) -> Duration {
        self.until(self.given.load(Ordering::Relaxed) + 1, now)
    }

    /// The time until so many bytes may have been given out since the beginning.
    fn until(&self, given: u64, now: Instant) -> Duration {
        let time = self.time_of(given.saturating_sub(self.rate));
        time.saturating_sub(now.saturating_duration_since(self.since))
    }
}

/// The bucket that the connections of a service have in common, over all workers.
///
/// Who finds it empty queues for a turn: it takes its bytes ahead of the time, which puts its turn
/// behind those of all who did so before, and they are its own. So turns come round, of about the same
/// size for all, and nobody starves, however often and in which order each of them asks.
struct SharedBucket {
    bucket: Bucket,
    /// Connections that wait for their turn.
    waiting: AtomicUsize,
}

/// What a connection has of a shared bucket.
#[derive(Debug, Default)]
struct Place {
    turn: Option<Turn>,
    /// It has had its turn, and queues for another one while others wait.
    served: bool,
}

/// So many bytes, from a time on.
#[derive(Debug)]
struct Turn {
    bytes: u64,
    at: Instant,
}

impl SharedBucket {
    fn new(rate: u64, now: Instant) -> Self {
        Self { bucket: Bucket::new(rate, now), waiting: AtomicUsize::new(0) }
    }

    /// Takes up to so many bytes.
    ///
    /// # Errors
    ///
    /// None: the time until its turn.
    fn take(&self, wanted: u64, place: &mut Place, now: Instant) -> Result<u64, Duration> {
        if let Some(turn) = &mut place.turn {
            if turn.at > now {
                // Others may have gone, and left what they had taken.
                if !self.bucket.take_all(turn.bytes, now) {
                    return Err(turn.at - now);
                }
                self.bucket.give_back(turn.bytes);
                turn.at = now;
            }
            let taken = turn.bytes.min(wanted);
            turn.bytes -= taken;
            if turn.bytes == 0 {
                self.leave(place);
            }
            place.served = true;
            return Ok(taken);
        }
        let sharers = self.waiting.load(Ordering::Relaxed) as u64 + 1;
        let turn = self.turn(sharers);
        let most = match sharers {
            1 => wanted,
            _ if place.served => 0,
            _ => wanted.min(turn),
        };
        let taken = self.bucket.take(most, now);
        if taken > 0 {
            place.served = true;
            return Ok(taken);
        }
        // As much as can be read at once may be less than there is.
        let bytes = if wanted < MAX_DELIVERY as u64 { turn.min(wanted) } else { turn };
        let wait = self.bucket.take_ahead(bytes, now);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        place.turn = Some(Turn { bytes, at: now + wait });
        Err(wait)
    }

    /// Bytes of one turn, while so many share: all turns together are an eighth of a second, or more
    /// where single ones would be next to nothing.
    fn turn(&self, sharers: u64) -> u64 {
        let round = self.bucket.rate / 8;
        let turn = match sharers {
            1 => self.bucket.rate / 32,
            _ => (round / sharers).max(round.min(MIN_TURN)),
        };
        turn.max(1)
    }

    /// A connection has nothing more to move for now.
    fn rest(&self, place: &mut Place) {
        if let Some(turn) = &place.turn {
            self.bucket.give_back(turn.bytes);
        }
        self.leave(place);
        place.served = false;
    }

    fn leave(&self, place: &mut Place) {
        if place.turn.take().is_some() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One direction of one connection.
pub(crate) struct Lane {
    own: Option<Bucket>,
    shared: Option<(Arc<SharedBucket>, Place)>,
    /// Bytes that were taken from the buckets, while they are being moved.
    granted: u64,
}

impl Lane {
    /// How many of so many bytes, of which there is one at least, may move now.
    ///
    /// # Errors
    ///
    /// None: the time after which to ask again.
    pub(crate) fn take(&mut self, wanted: usize, now: Instant) -> Result<usize, Duration> {
        debug_assert!(wanted > 0, "it is asked for when there is something to move");
        self.granted = self.ask(wanted as u64, now).map_err(|wait| wait.min(MAX_WAIT))?;
        Ok(self.granted as usize) // no more than was wanted
    }

    fn ask(&mut self, wanted: u64, now: Instant) -> Result<u64, Duration> {
        let mut granted = wanted;
        if let Some(own) = &self.own {
            granted = own.take(wanted, now);
            if granted == 0 {
                let wait = own.wait(now);
                self.rest();
                return Err(wait);
            }
        }
        if let Some((shared, place)) = &mut self.shared {
            let taken = shared.take(granted, place, now);
            if let Some(own) = &self.own {
                own.give_back(granted - taken.unwrap_or(0));
            }
            granted = taken?;
        }
        Ok(granted)
    }

    /// So many bytes of what was granted have moved. `more` says whether more would have.
    pub(crate) fn moved(&mut self, bytes: usize, more: bool) {
        let unused = mem::take(&mut self.granted).saturating_sub(bytes as u64);
        if let Some(own) = &self.own {
            own.give_back(unused);
        }
        if let Some((shared, _)) = &self.shared {
            shared.bucket.give_back(unused);
        }
        if !more {
            self.rest();
        }
    }

    /// It has nothing more to move for now.
    pub(crate) fn rest(&mut self) {
        if let Some((shared, place)) = &mut self.shared {
            shared.rest(place);
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.moved(0, false);
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({} B/s)", self.rate)
    }
}

impl fmt::Debug for SharedBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting.load(Ordering::Relaxed);
        write!(f, "SharedBucket({} B/s, {waiting} waiting)", self.bucket.rate)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("own", &self.own).field("shared", &self.shared).finish()
    }
}
