//! [`PoolLimits`]: how many connections a pool has, how many may wait for one, and how long.

use std::time::Duration;

use crate::limits::{LimitError, Timeout};

/// The bounds of a [`Pool`](crate::Pool). All of them always hold, exactly.
///
/// ```
/// use netframe_core::PoolLimits;
///
/// let mut limits = PoolLimits::default();
/// limits.max_per_endpoint = 4;
/// assert!(limits.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Connections to all endpoints together, from before one is dialled until it has really ended.
    /// Default 128: an eighth of the descriptors that a process commonly has.
    pub max_connections: usize,
    /// Connections to one endpoint, counted likewise; where it is above `max_connections`, that one
    /// is met first. Default 16: more of them rarely make a server faster.
    pub max_per_endpoint: usize,
    /// Who may wait for a connection, over all endpoints; further ones are refused at once. Default
    /// 1024: what 16 connections serve in a few seconds, if a question takes 50 ms.
    pub max_waiting: usize,
    /// Time for getting a connection: waiting for a place, and dialling. Default 30 s, so that the
    /// 10 s of a connect timeout pass first.
    pub get_timeout: Timeout,
    /// How long a connection may lie idle before it is closed. Default 60 s: less than the idle
    /// timeouts of servers mostly are, so that it is this side that ends it.
    pub idle_timeout: Timeout,
    /// How old a connection may be when it is used again; one that is older is closed as soon as it
    /// is idle. Default 30 min. A name is looked up when a connection is dialled, so that this is
    /// how long a pool goes on with an address that the name does not have any more.
    pub max_lifetime: Timeout,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_connections: 128,
            max_per_endpoint: 16,
            max_waiting: 1024,
            get_timeout: Timeout::from_secs(30),
            idle_timeout: Timeout::from_secs(60),
            max_lifetime: Timeout::from_secs(30 * 60),
        }
    }
}

impl PoolLimits {
    /// Checks that the limits can be; a pool does so when it is built.
    ///
    /// # Errors
    ///
    /// The first limit that is zero.
    pub fn validate(&self) -> Result<(), LimitError> {
        for (name, count) in [
            ("max_connections", self.max_connections),
            ("max_per_endpoint", self.max_per_endpoint),
            ("max_waiting", self.max_waiting),
        ] {
            if count == 0 {
                return Err(LimitError::Zero { name });
            }
        }
        for (name, timeout) in [
            ("get_timeout", self.get_timeout),
            ("idle_timeout", self.idle_timeout),
            ("max_lifetime", self.max_lifetime),
        ] {
            if timeout == Timeout::After(Duration::ZERO) {
                return Err(LimitError::ZeroTimeout { name });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        PoolLimits::default().validate().unwrap();
        let error = |change: fn(&mut PoolLimits)| {
            let mut limits = PoolLimits::default();
            change(&mut limits);
            limits.validate().unwrap_err().to_string()
        };
        assert!(error(|l| l.max_connections = 0).starts_with("`max_connections` is 0,"));
        assert!(error(|l| l.max_per_endpoint = 0).starts_with("`max_per_endpoint` is 0,"));
        assert!(error(|l| l.max_waiting = 0).starts_with("`max_waiting` is 0,"));
        for (name, change) in [
            ("get_timeout", (|l| l.get_timeout = Duration::ZERO.into()) as fn(&mut PoolLimits)),
            ("idle_timeout", |l| l.idle_timeout = Duration::ZERO.into()),
            ("max_lifetime", |l| l.max_lifetime = Duration::ZERO.into()),
        ] {
            let want = format!("`{name}` is 0s; set it above zero, or to never");
            assert_eq!(error(change), want);
        }
        let never = PoolLimits {
            get_timeout: Timeout::Never,
            idle_timeout: Timeout::Never,
            max_lifetime: Timeout::Never,
            ..PoolLimits::default()
        };
        never.validate().unwrap();
    }
}
