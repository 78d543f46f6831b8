//! [`Error`]: what keeps a server or a client from starting.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::endpoint::{Endpoint, EndpointError};
use crate::limits::LimitError;

/// What keeps a server or a client from starting.
///
/// What happens to a connection later is told by its [`CloseReason`](crate::CloseReason).
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint string is not one.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The limits contradict themselves.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// netframe does not have this kind of endpoint, or not in this role.
    #[error("`{endpoint}`: {what} is not built yet; tcp:// and mem:// are")]
    Unsupported {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
        /// What is missing.
        what: String,
    },
    /// The protocol needs a stream, and the endpoint gives datagrams.
    #[error("`{endpoint}` carries datagrams, but the protocol needs a stream; use tcp://")]
    NeedsStream {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
    },
    /// A name has no address, or nobody could be asked.
    #[error("cannot find an address for `{endpoint}`")]
    Resolve {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
        /// A [`ResolveError`](crate::ResolveError), with what the resolver said as its source.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {endpoint}{}", hint(.source))]
    Listen {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
        /// What the operating system said; [`AddrErrors`](crate::AddrErrors) if there were several
        /// addresses.
        source: io::Error,
    },
    /// The peer cannot be reached.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
        /// What the operating system said; [`AddrErrors`](crate::AddrErrors) if there were several
        /// addresses.
        source: io::Error,
    },
    /// The peer did not answer in time.
    #[error(
        "{endpoint} did not answer within {after:?}; raise `connect_timeout` if it is that slow"
    )]
    ConnectTimeout {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
        /// The time it was given.
        after: Duration,
    },
    /// A worker's runtime could not be started.
    #[error("cannot start a worker")]
    Worker {
        /// What the operating system said.
        source: io::Error,
    },
}

/// The next step, where the operating system's words do not suggest one.
fn hint(source: &io::Error) -> &'static str {
    if source.raw_os_error().is_none() {
        return ""; // a transport's own words
    }
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            ": it is in use already; end what listens there, or choose another port (0 picks a free one)"
        }
        io::ErrorKind::PermissionDenied => {
            ": no permission; ports below 1024 need a privilege, choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    }
}

/// As it is shown, with its sources: it is what `fn main() -> Result` prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
