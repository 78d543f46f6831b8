//! Time as items know it: milliseconds since the cache began.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Milliseconds since the cache began.
pub(super) type Millis = u64;

/// When an item without a time expires.
pub(super) const NEVER: Millis = Millis::MAX;

/// Seconds up to which a time counts from now; a larger one is of the Unix clock.
const MAX_RELATIVE: i64 = 30 * 24 * 60 * 60;

/// Tells the time. The system's clock is read once: should it be set later, times that are of the Unix
/// clock keep to what it would have been.
#[derive(Debug)]
pub(super) struct Clock {
    began: Instant,
    /// Unix time, in milliseconds.
    began_unix: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::at(unix.as_millis() as u64)
    }

    fn at(began_unix: u64) -> Self {
        Self { began: Instant::now(), began_unix }
    }

    pub(super) fn now(&self) -> Millis {
        self.began.elapsed().as_millis() as u64
    }

    /// Unix time, in seconds.
    pub(super) fn unix(&self, now: Millis) -> u64 {
        (self.began_unix + now) / 1000
    }

    /// When what is given `exptime` expires: 0 is never, less is at once, up to 30 days are seconds from
    /// now, and more is a Unix time.
    pub(super) fn deadline(&self, exptime: i64, now: Millis) -> Millis {
        let millis = exptime.unsigned_abs().saturating_mul(1000);
        match exptime {
            0 => NEVER,
            ..0 => 0, // over for all, also for who has looked at the clock before
            1..=MAX_RELATIVE => now + millis,
            _ => millis.saturating_sub(self.began_unix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_from_now_up_to_thirty_days_and_of_the_unix_clock_above() {
        let clock = Clock::at(1_700_000_000_500);
        let now = 10_000;
        for (exptime, deadline) in [
            (0, NEVER),
            (-1, 0),
            (i64::MIN, 0),
            (1, now + 1000),
            (2_592_000, now + 2_592_000_000),
            (2_592_001, 0),
            (1_700_000_000, 0),
            (1_700_000_020, 19_500),
            (i64::MAX, NEVER - 1_700_000_000_500),
        ] {
            assert_eq!(clock.deadline(exptime, now), deadline, "{exptime}");
        }
        assert_eq!(clock.unix(0), 1_700_000_000);
        assert_eq!(clock.unix(500), 1_700_000_001);
    }
}
