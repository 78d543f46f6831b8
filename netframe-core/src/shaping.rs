//! [`Shaping`]: how fast the bytes of a service and of its connections may move, as token buckets. A
//! [`Lane`] is one direction of one connection: it asks its own bucket, then that of the service.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{Limits, Quota};
use crate::sync::{AtomicU64, AtomicUsize};

/// The longest wait before a connection asks again: what it waits for may come sooner than it seemed,
/// as others end, and a reset is seen by then.
const MAX_WAIT: Duration = Duration::from_secs(1);

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
        let rates = |own: Quota, shared: Quota| Rates {
            own: own.at_most().map(|rate| rate as u64),
            shared: shared.at_most().map(|rate| Arc::new(SharedBucket::new(rate as u64))),
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
            shared: rates.shared.clone(),
            granted: 0,
            waits_since: None,
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

    fn allowed(&self, now: Instant) -> u64 {
        self.worth(now.saturating_duration_since(self.since))
    }

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
        let nanos = (u128::from(place) * 1_000_000_000).div_ceil(u128::from(self.rate));
        let at = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        at.saturating_sub(now.saturating_duration_since(self.since))
    }
}

/// The bucket that the connections of a service have in common, over all workers.
///
/// While some wait, nobody takes more than its share: of what the rate has brought since it took the
/// last time, or of what there is, whichever is more, the part of one among those that wait. So no
/// connection starves, however the others are timed, and nothing is left unused when some stop.
struct SharedBucket {
    bucket: Bucket,
    /// Connections that wait, or have been given less than they could move.
    waiting: AtomicUsize,
}

impl SharedBucket {
    fn new(rate: u64) -> Self {
        Self { bucket: Bucket::new(rate, Instant::now()), waiting: AtomicUsize::new(0) }
    }

    /// Takes up to so many bytes for a connection that may have been waiting.
    fn take(&self, wanted: u64, waits_since: &mut Option<Instant>, now: Instant) -> u64 {
        let waiting = self.waiting.load(Ordering::Relaxed) as u64;
        let available = self.bucket.available(now);
        let share = match *waits_since {
            Some(since) => {
                let waiting = waiting.max(1);
                let earned = self.bucket.worth(now.saturating_duration_since(since));
                earned.max(available) / waiting
            }
            None => available / (waiting + 1),
        };
        let taken = self.bucket.take(wanted.min(share), now);
        match waits_since {
            Some(since) if taken > 0 => *since = now,
            Some(_) => {}
            None if taken == 0 => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                *waits_since = Some(now);
            }
            None => {}
        }
        taken
    }

    /// The time until it is worth to ask again.
    fn wait(&self) -> Duration {
        let rate = self.bucket.rate;
        let share = (rate / SHARES_PER_SECOND).clamp(1, MAX_SHARE);
        let waiting = self.waiting.load(Ordering::Relaxed).max(1) as u64;
        Duration::from_secs_f64((waiting * share) as f64 / rate as f64)
    }

    /// A connection waits no more.
    fn leave(&self, waits_since: &mut Option<Instant>) {
        if waits_since.take().is_some() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// One direction of one connection.
pub(crate) struct Lane {
    own: Option<Bucket>,
    shared: Option<Arc<SharedBucket>>,
    /// Bytes that were taken from the buckets and have not moved yet.
    granted: u64,
    /// When it began to wait for the shared bucket, or was last given something from it.
    waits_since: Option<Instant>,
}

impl Lane {
    /// How many of so many bytes, of which there is one at least, may move now.
    ///
    /// # Errors
    ///
    /// None: the time after which to ask again.
    pub(crate) fn take(&mut self, wanted: usize, now: Instant) -> Result<usize, Duration> {
        let wanted = wanted as u64;
        if self.granted == 0 {
            self.granted = self.ask(wanted, now).map_err(|wait| wait.min(MAX_WAIT))?;
        }
        Ok(self.granted.min(wanted) as usize) // no more than was wanted
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
        if let Some(shared) = &self.shared {
            let taken = shared.take(granted, &mut self.waits_since, now);
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
        if let Some(shared) = &self.shared {
            shared.bucket.give_back(unused);
        }
        if !more {
            self.rest();
        }
    }

    /// It waits for the shared bucket no more.
    pub(crate) fn rest(&mut self) {
        if let Some(shared) = &self.shared {
            shared.leave(&mut self.waits_since);
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
