//! [`AddrErrors`]: what went wrong at each of several addresses.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// What went wrong at each address of a name: the error inside of the `io::Error` of an attempt to
/// connect or listen that had several addresses to try. Of a single address it is the plain error.
///
/// # Examples
///
/// ```
/// use netframe_core::AddrErrors;
///
/// /// Which addresses of a server refuse, for a log.
/// fn refusing(error: &std::io::Error) -> Vec<std::net::SocketAddr> {
///     let errors = error.get_ref().and_then(|inner| inner.downcast_ref::<AddrErrors>());
///     errors.into_iter().flat_map(AddrErrors::iter).map(|(addr, _)| addr).collect()
/// }
/// # assert!(refusing(&std::io::ErrorKind::NotFound.into()).is_empty());
/// ```
#[derive(Debug)]
pub struct AddrErrors {
    /// Invariant: not empty, and in the order in which the addresses were tried.
    errors: Vec<(SocketAddr, io::Error)>,
}

impl AddrErrors {
    /// One error for all of `addr_count` addresses. Its kind is that of the first that tells more
    /// than that this machine has no way to such an address.
    ///
    /// `errors` is in the order in which they were tried; it may be short, where one error was
    /// reason enough to give up.
    pub(crate) fn into_io(
        mut errors: Vec<(SocketAddr, io::Error)>,
        addr_count: usize,
    ) -> io::Error {
        let telling = errors.iter().position(|(_, error)| !has_no_way(error)).unwrap_or(0);
        match errors.get(telling).map(|(_, error)| error.kind()) {
            None => io::Error::new(io::ErrorKind::NotFound, "there is no address to try"),
            Some(_) if addr_count == 1 => errors.swap_remove(telling).1,
            Some(kind) => io::Error::new(kind, Self { errors }),
        }
    }

    /// The addresses with their errors, in the order in which they were tried.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &io::Error)> {
        self.errors.iter().map(|(addr, error)| (*addr, error))
    }
}

impl fmt::Display for AddrErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (addr, error)) in self.iter().enumerate() {
            write!(f, "{}{addr}: {error}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// The errors are in the text, as there are several and a source is one.
impl std::error::Error for AddrErrors {}

/// Whether this machine does not have the address, or nothing of its family.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

#[cfg(not(windows))]
const EAFNOSUPPORT: i32 = libc::EAFNOSUPPORT;
/// WSAEAFNOSUPPORT: sockets have numbers of their own there.
#[cfg(windows)]
const EAFNOSUPPORT: i32 = 10_047;

fn has_no_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NetworkUnreachable || is_absent(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_errors_are_one_with_a_list() {
        let error = joined(&[libc::ECONNREFUSED, libc::ETIMEDOUT], 2);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let timed_out = io::Error::from_raw_os_error(libc::ETIMEDOUT);
        assert_eq!(error.to_string(), format!("127.0.0.1:7: {refused}; 127.0.0.2:7: {timed_out}"));
    }

    #[test]
    fn the_most_telling_error_decides_the_kind() {
        use io::ErrorKind as Kind;
        for (errnos, kind) in [
            (&[libc::ENETUNREACH, libc::ECONNREFUSED, libc::ETIMEDOUT], Kind::ConnectionRefused),
            (&[libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL, libc::EADDRINUSE], Kind::AddrInUse),
            (
                &[libc::ENETUNREACH, libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT],
                Kind::NetworkUnreachable,
            ),
        ] {
            assert_eq!(joined(errnos, 3).kind(), kind, "{errnos:?}");
        }
    }

    #[test]
    fn a_single_address_needs_no_list() {
        assert_eq!(joined(&[libc::ECONNREFUSED], 1).raw_os_error(), Some(libc::ECONNREFUSED));
        assert!(joined(&[libc::EADDRINUSE], 2).to_string().starts_with("127.0.0.1:7: "));
    }

    #[test]
    fn no_address_is_an_error_too() {
        let error = joined(&[], 0);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "there is no address to try");
    }

    /// The errors of 127.0.0.1:7, 127.0.0.2:7, …
    fn joined(errnos: &[i32], addr_count: usize) -> io::Error {
        let errors = (1..).zip(errnos).map(|(host, errno)| {
            (([127, 0, 0, host], 7).into(), io::Error::from_raw_os_error(*errno))
        });
        AddrErrors::into_io(errors.collect(), addr_count)
    }
}
