//! [`Backoff`]: how long a client waits before it connects again. Exponential with full jitter.

use std::time::Duration;

use fastrand::Rng;

/// How long a client waits before it connects again.
///
/// The first delay after a failure is random between zero and `initial`. The upper end is
/// multiplied by `factor` with each further failure in a row, up to `max`. The lower end stays zero
/// (full jitter), so that clients which lost the same server come back spread over the whole time,
/// not in waves.
///
/// ```
/// use std::time::Duration;
/// use netframe_core::Backoff;
///
/// let mut backoff = Backoff::default();
/// backoff.max = Duration::from_secs(5);
/// assert!(backoff.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest that the first delay can be. Default 100 ms, as a server that restarts is back
    /// soon.
    pub initial: Duration,
    /// The longest that any delay can be. Default 30 s: about what people wait before they look for
    /// themselves.
    pub max: Duration,
    /// What each failure in a row multiplies the longest delay by; 1 keeps it as it is. Default 2.
    pub factor: u32,
    /// How long a connection must have been healthy for the delays to start again from `initial`; a
    /// shorter one counts as another failure. Default 10 s: a server that accepts connections and
    /// drops them at once is as much in need of a rest as one that refuses them.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor: 2,
            reset_after: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// Checks that the values make sense together; a client does so before it starts.
    ///
    /// # Errors
    ///
    /// The first value that is zero, or `max` if it is below `initial`.
    pub fn validate(&self) -> Result<(), BackoffError> {
        for (name, value) in
            [("initial", self.initial), ("max", self.max), ("reset_after", self.reset_after)]
        {
            if value.is_zero() {
                return Err(BackoffError::Zero { name });
            }
        }
        if self.factor == 0 {
            return Err(BackoffError::Factor);
        }
        if self.max < self.initial {
            return Err(BackoffError::Order { initial: self.initial, max: self.max });
        }
        Ok(())
    }
}

/// A backoff that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackoffError {
    /// A duration is zero.
    #[error("`{name}` of the backoff is 0s, which would hammer the server; set it above zero")]
    Zero {
        /// The field's name.
        name: &'static str,
    },
    /// The factor is zero.
    #[error("`factor` of the backoff is 0, which would end every pause; set it to 1 or more")]
    Factor,
    /// The longest delay is shorter than the first one may be.
    #[error(
        "`max` of the backoff ({max:?}) is below `initial` ({initial:?}); raise the one or lower the other"
    )]
    Order {
        /// The longest that the first delay can be.
        initial: Duration,
        /// The longest that any delay can be.
        max: Duration,
    },
}

/// The delays of one client.
pub(super) struct Delays {
    pub(super) backoff: Backoff,
    /// In a row.
    failures: u32,
    rng: Rng,
}

impl Delays {
    pub(super) fn new(backoff: Backoff, rng: Rng) -> Self {
        Self { backoff, failures: 0, rng }
    }

    /// The delay after another failure.
    pub(super) fn after_failure(&mut self) -> Duration {
        let longest = self.longest();
        self.failures = self.failures.saturating_add(1);
        Duration::from_nanos_u128(self.rng.u128(0..=longest.as_nanos()))
    }

    /// A connection lasted.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn longest(&self) -> Duration {
        let Backoff { initial, max, factor, .. } = self.backoff;
        initial.saturating_mul(factor.saturating_pow(self.failures)).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_delay_grows_up_to_the_cap() {
        let mut delays = delays(Backoff::default());
        let mut longest = Vec::new();
        for _ in 0..11 {
            longest.push(delays.longest().as_millis());
            assert!(delays.after_failure().as_millis() <= *longest.last().unwrap());
        }
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        delays.reset();
        assert_eq!(delays.longest().as_millis(), 100);
    }

    #[test]
    fn delays_fill_the_whole_range() {
        let mut delays = delays(Backoff { factor: 1, ..Backoff::default() });
        let millis: Vec<_> = (0..1000).map(|_| delays.after_failure().as_millis()).collect();
        for tenth in 0..10 {
            let count = millis.iter().filter(|ms| **ms / 10 == tenth).count();
            assert!((60..150).contains(&count), "{count} of 1000 between {tenth}0 and {tenth}9 ms");
        }
    }

    #[test]
    fn a_seed_tells_every_delay() {
        let series = |seed| {
            let mut delays = Delays::new(Backoff::default(), Rng::with_seed(seed));
            [(); 20].map(|()| delays.after_failure())
        };
        assert_eq!(series(7), series(7));
        assert_ne!(series(7), series(8));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let backoff = Backoff { factor: u32::MAX, max: Duration::MAX, ..Backoff::default() };
        let mut delays = delays(backoff);
        delays.failures = u32::MAX - 1;
        for _ in 0..3 {
            delays.after_failure();
        }
        assert_eq!(delays.failures, u32::MAX);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let error = |change: fn(&mut Backoff)| {
            let mut backoff = Backoff::default();
            change(&mut backoff);
            backoff.validate().unwrap_err().to_string()
        };
        assert!(
            error(|b| b.initial = Duration::ZERO).starts_with("`initial` of the backoff is 0s")
        );
        assert!(error(|b| b.max = Duration::ZERO).starts_with("`max` of"));
        assert!(error(|b| b.reset_after = Duration::ZERO).starts_with("`reset_after` of"));
        assert!(error(|b| b.factor = 0).ends_with("set it to 1 or more"));
        assert!(error(|b| b.max = Duration::from_millis(99)).contains("(99ms) is below `initial`"));
        let mut backoff = Backoff::default();
        (backoff.max, backoff.factor) = (backoff.initial, 1);
        backoff.validate().unwrap();
    }

    fn delays(backoff: Backoff) -> Delays {
        Delays::new(backoff, Rng::with_seed(1))
    }
}
