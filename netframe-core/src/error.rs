//! [`Error`]: what keeps a server or a client from starting.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::addr_errors::AddrErrors;
use crate::endpoint::{Address, Endpoint, EndpointError};
use crate::limits::LimitError;
use crate::reconnect::BackoffError;

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
    /// The backoff contradicts itself.
    #[error(transparent)]
    Backoff(#[from] BackoffError),
    /// netframe does not have this kind of endpoint, or not in this role.
    #[error("`{endpoint}`: {what}")]
    Unsupported {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
        /// What is missing, and the next step where there is one.
        what: String,
    },
    /// The protocol needs a stream, and the endpoint gives datagrams.
    #[error("`{endpoint}` carries datagrams, but the protocol needs a stream; use tcp://")]
    NeedsStream {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
    },
    /// The protocol needs the datagrams of a whole socket, and the endpoint gives a stream.
    #[error("`{endpoint}` is a stream, but the protocol needs datagrams; use udp://")]
    NeedsDatagrams {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
    },
    /// A rate shapes streams, and the endpoint gives datagrams.
    #[error(
        "`{endpoint}` carries datagrams, and `{limit}` shapes streams only, as a datagram that waits \
         would be dropped in the end; leave the limit out, or use tcp://"
    )]
    ShapesStreams {
        /// The endpoint asked for.
        endpoint: Box<Endpoint>,
        /// The limit's name.
        limit: &'static str,
    },
    /// A client is to connect again where there is only one connection.
    #[error("`{endpoint}` is one connection in the life of a process; use `Client`")]
    ConnectsOnce {
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
    #[error("cannot listen on {endpoint}{}", hint(.endpoint, .source))]
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

impl Error {
    /// The endpoint that it is about, if it is about one that could be read.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::Unsupported { endpoint, .. }
            | Self::NeedsStream { endpoint }
            | Self::NeedsDatagrams { endpoint }
            | Self::ShapesStreams { endpoint, .. }
            | Self::Resolve { endpoint, .. }
            | Self::Listen { endpoint, .. }
            | Self::Connect { endpoint, .. }
            | Self::ConnectTimeout { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    }
}

/// The next step, where the operating system's words do not suggest one.
fn hint(endpoint: &Endpoint, source: &io::Error) -> &'static str {
    let several = source.get_ref().is_some_and(|inner| inner.is::<AddrErrors>());
    if source.raw_os_error().is_none() && !several {
        return ""; // a transport's own words
    }
    match (source.kind(), endpoint.address()) {
        (io::ErrorKind::AddrInUse, Address::Inet { .. }) => {
            ": it is in use already; end what listens there, or choose another port (0 picks a free one)"
        }
        (io::ErrorKind::AddrInUse, Address::Path(_)) => {
            ": it is in use already; end what listens there, or choose another path"
        }
        (io::ErrorKind::AddrInUse, _) => {
            ": it is in use already; end what listens there, or choose another name"
        }
        (io::ErrorKind::PermissionDenied, Address::Inet { port: 1..1024, .. }) => {
            ": no permission; ports below 1024 need a privilege, choose a higher one"
        }
        (io::ErrorKind::PermissionDenied, Address::Path(_)) => {
            ": no permission; choose a folder in which this user may make and remove files"
        }
        (io::ErrorKind::NotFound, Address::Path(_)) => ": its folder does not exist; make it first",
        (io::ErrorKind::AddrNotAvailable, _) => ": this machine has no such address",
        _ => "",
    }
}

/// As it is shown, with its sources: it is what `fn main() -> Result` prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_sources(self, f)
    }
}

/// An error as it is shown, with its sources.
pub(crate) fn with_sources(
    error: &dyn std::error::Error,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(f, "{error}")?;
    let mut source = error.source();
    while let Some(error) = source {
        write!(f, ": {error}")?;
        source = error.source();
    }
    Ok(())
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_fit_the_kind_of_endpoint() {
        let in_use = ": it is in use already; end what listens there, or choose another";
        check("tcp://[::1]:7007", libc::EADDRINUSE, &format!("{in_use} port (0 picks a free one)"));
        check("unix:///run/x", libc::EADDRINUSE, &format!("{in_use} path"));
        check("unixgram://@x", libc::EADDRINUSE, &format!("{in_use} name"));
        check("mem://x", libc::EADDRINUSE, &format!("{in_use} name"));

        let denied = ": no permission;";
        let port = "ports below 1024 need a privilege, choose a higher one";
        check("udp://0.0.0.0:53", libc::EACCES, &format!("{denied} {port}"));
        check("udp://0.0.0.0:1024", libc::EACCES, "");
        let folder = "choose a folder in which this user may make and remove files";
        check("unix:///run/x", libc::EACCES, &format!("{denied} {folder}"));
        check("unix:///run/x", libc::EPERM, &format!("{denied} {folder}"));

        check("unixgram:///x/y", libc::ENOENT, ": its folder does not exist; make it first");
        check("tcp://192.0.2.1:1", libc::EADDRNOTAVAIL, ": this machine has no such address");
        check("unix:///x", libc::ENOMEM, "");
    }

    #[test]
    fn a_transports_own_words_need_no_hint() {
        let source = io::Error::new(io::ErrorKind::AddrInUse, "ask me");
        assert_eq!(hint(&"mem://x".parse().unwrap(), &source), "");
    }

    #[track_caller]
    fn check(endpoint: &str, errno: i32, want: &str) {
        let source = io::Error::from_raw_os_error(errno);
        assert_eq!(hint(&endpoint.parse().unwrap(), &source), want, "{endpoint} {source}");
    }
}
