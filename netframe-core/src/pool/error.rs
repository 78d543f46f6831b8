//! [`PoolError`]: why there is no connection.

use std::fmt;
use std::time::Duration;

use crate::endpoint::{Endpoint, EndpointError};
use crate::error::with_sources;
use crate::protocol::BoxError;

/// Why a [`Pool`](crate::Pool) gives no connection.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The endpoint string is not one.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The connect function failed.
    #[error("cannot open a connection to {endpoint} for the pool")]
    Connect {
        /// The endpoint asked for.
        endpoint: Endpoint,
        /// Its error.
        source: BoxError,
    },
    /// The connect function panicked.
    #[error("the attempt to open a connection to {endpoint} panicked: {text}")]
    Panic {
        /// The endpoint asked for.
        endpoint: Endpoint,
        /// What the panic said.
        text: String,
    },
    /// All places were taken for all of the time.
    #[error(
        "no connection to {endpoint} became free within {after:?}; give connections back sooner, \
         or raise `max_per_endpoint` or `max_connections`"
    )]
    WaitTimeout {
        /// The endpoint asked for.
        endpoint: Endpoint,
        /// The time that it was given.
        after: Duration,
    },
    /// There was a place, and no connection was open in the rest of the time.
    #[error(
        "no connection to {endpoint} was open within {after:?}, waiting for a place included; \
         raise `get_timeout` if it is that slow"
    )]
    DialTimeout {
        /// The endpoint asked for.
        endpoint: Endpoint,
        /// The time that it was given, for both.
        after: Duration,
    },
    /// As many wait as may.
    #[error("{max_waiting} wait for a connection already; raise `max_waiting`, or ask for less")]
    TooManyWaiting {
        /// The limit.
        max_waiting: usize,
    },
    /// The pool was closed, or its runtime was.
    #[error("the pool was closed")]
    Closed,
}

/// As it is shown, with its sources.
impl fmt::Debug for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_sources(self, f)
    }
}

impl From<std::convert::Infallible> for PoolError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
