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

use crate::limits::{Limits, Quota};
use crate::sync::{AtomicU64, AtomicUsize};

/// The longest wait before a connection asks again: what it waits for may come sooner than it seemed,
/// as others end, and a reset is seen by then. Within it no shared bucket runs over, whose connections
/// all wait.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// Bytes that a connection waits for where several share a bucket: below, each would be woken for next
/// to nothing.
const MAX_SHARE: u64 = 1024;

/// Times in a second that a lone connection waits for a share of a bucket, at least.
const SHARES_PER_SECOND: u64 = 32;

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
            shared: rates
                .shared
                .clone()
                .map(|shared| (shared, Part { shared_until: a_second_before(now), waits: false })),
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

    /// Gives bytes back that were taken and did not move.
    fn give_back(&self, bytes: u64) {
        self.given.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The time until there is a byte.
    fn wait(&self, now: Instant) -> Duration {
        let place = self.given.load(Ordering::Relaxed).saturating_sub(self.rate) + 1;
        self.time_of(place).saturating_sub(now.saturating_duration_since(self.since))
    }
}

/// The bucket that the connections of a service have in common, over all workers.
///
/// Who could move more than it was given waits. While others do, a connection is given its share: its
/// part, as one of those that want any, of what the rate has brought since it had its last one. What it
/// does not take at once is kept, so that none starves, and all get the same, however often each of
/// them asks. Who comes new, or back, has a share of the last second.
struct SharedBucket {
    bucket: Bucket,
    /// Connections that wait.
    waiting: AtomicUsize,
}

/// What a connection has of a shared bucket.
#[derive(Debug)]
struct Part {
    /// The time up to which it has had its share.
    shared_until: Instant,
    waits: bool,
}

impl SharedBucket {
    fn new(rate: u64, now: Instant) -> Self {
        Self { bucket: Bucket::new(rate, now), waiting: AtomicUsize::new(0) }
    }

    /// Takes up to so many bytes.
    fn take(&self, wanted: u64, part: &mut Part, now: Instant) -> u64 {
        let sharers = self.sharers(part);
        if !part.waits {
            part.shared_until = part.shared_until.max(a_second_before(now));
        }
        let time = now.saturating_duration_since(part.shared_until);
        let share = if sharers > 1 { self.bucket.worth(time) / sharers } else { wanted };
        let taken = self.bucket.take(wanted.min(share), now);
        part.shared_until = (part.shared_until + self.bucket.time_of(taken * sharers)).min(now);
        if taken < wanted && !part.waits {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            part.waits = true;
        }
        taken
    }

    /// Gives bytes back that did not move, and the share that they were.
    fn give_back(&self, bytes: u64, part: &mut Part) {
        self.bucket.give_back(bytes);
        let share = self.bucket.time_of(bytes * self.sharers(part));
        part.shared_until = part.shared_until.checked_sub(share).unwrap_or(part.shared_until);
    }

    /// How many want any, this one included.
    fn sharers(&self, part: &Part) -> u64 {
        let others = self.waiting.load(Ordering::Relaxed) as u64;
        if part.waits { others.max(1) } else { others + 1 }
    }

    /// The time until it is worth to ask again.
    fn wait(&self) -> Duration {
        let rate = self.bucket.rate;
        let share = (rate / SHARES_PER_SECOND).clamp(1, MAX_SHARE);
        let waiting = self.waiting.load(Ordering::Relaxed).max(1) as u64;
        self.bucket.time_of(waiting * share)
    }

    /// A connection waits no more.
    fn leave(&self, part: &mut Part) {
        if mem::take(&mut part.waits) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn a_second_before(now: Instant) -> Instant {
    now.checked_sub(Duration::from_secs(1)).unwrap_or(now)
}

/// One direction of one connection.
pub(crate) struct Lane {
    own: Option<Bucket>,
    shared: Option<(Arc<SharedBucket>, Part)>,
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
        if let Some((shared, part)) = &mut self.shared {
            let taken = shared.take(granted, part, now);
            if let Some(own) = &self.own {
                own.give_back(granted - taken);
            }
            if taken == 0 {
                return Err(shared.wait());
            }
            granted = taken;
        }
        Ok(granted)
    }

    /// So many bytes of what was granted have moved. `more` says whether more would have.
    pub(crate) fn moved(&mut self, bytes: usize, more: bool) {
        let unused = mem::take(&mut self.granted).saturating_sub(bytes as u64);
        if let Some(own) = &self.own {
            own.give_back(unused);
        }
        if let Some((shared, part)) = &mut self.shared {
            shared.give_back(unused, part);
        }
        if !more {
            self.rest();
        }
    }

    /// It waits for the shared bucket no more.
    pub(crate) fn rest(&mut self) {
        if let Some((shared, part)) = &mut self.shared {
            shared.leave(part);
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
