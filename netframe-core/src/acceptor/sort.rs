//! Sorts the errors of accept(2): some concern one connection, some the whole process, and only
//! few the listener.

use std::io;

/// Whom an accept error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// One connection that failed before it was accepted: go on at once.
    OneConnection,
    /// No file descriptor is left: an immediate retry would spin until a connection closes.
    NoDescriptors,
    /// No memory, or anything unknown that may pass.
    NoResources,
    /// The listener is broken for good.
    Fatal,
}

/// Sorts an error of the system by its number, any other by its kind.
pub(crate) fn sort(error: &io::Error) -> AcceptError {
    match error.raw_os_error() {
        Some(errno) => by_errno(errno),
        // Not from the operating system: a listener of one's own says by the kind what it means.
        None => match error.kind() {
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut => AcceptError::OneConnection,
            io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::BrokenPipe => AcceptError::Fatal,
            _ => AcceptError::NoResources,
        },
    }
}

/// See accept(2), whose "error handling" lists the network errors that are to be treated like
/// `EAGAIN`. `EOPNOTSUPP` is one of them, and also what a socket says that cannot listen at all; that one
/// pauses soon, as all that fails again and again does.
#[cfg(not(windows))]
fn by_errno(errno: i32) -> AcceptError {
    match errno {
        libc::ECONNABORTED
        | libc::EINTR
        | libc::EAGAIN
        | libc::EPROTO
        | libc::EPERM
        | libc::ETIMEDOUT
        | libc::ENETDOWN
        | libc::ENETUNREACH
        | libc::EHOSTDOWN
        | libc::EHOSTUNREACH
        | libc::ENOPROTOOPT
        | libc::EOPNOTSUPP
        | libc::ESOCKTNOSUPPORT
        | libc::EPROTONOSUPPORT
        | libc::ECONNRESET => AcceptError::OneConnection,
        #[cfg(target_os = "linux")]
        libc::ENONET | libc::ENOSR => AcceptError::OneConnection,
        libc::EMFILE | libc::ENFILE => AcceptError::NoDescriptors,
        libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EFAULT => AcceptError::Fatal,
        _ => AcceptError::NoResources,
    }
}

/// The numbers that accept() of Windows Sockets 2 may give.
#[cfg(windows)]
fn by_errno(errno: i32) -> AcceptError {
    match errno {
        // WSAEINTR, WSAEWOULDBLOCK, WSAECONNABORTED, WSAECONNRESET, WSAETIMEDOUT
        10_004 | 10_035 | 10_053 | 10_054 | 10_060 => AcceptError::OneConnection,
        10_024 => AcceptError::NoDescriptors, // WSAEMFILE
        // WSAEBADF, WSAEFAULT, WSAEINVAL, WSAENOTSOCK, WSAEOPNOTSUPP
        10_009 | 10_014 | 10_022 | 10_038 | 10_045 => AcceptError::Fatal,
        _ => AcceptError::NoResources,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_errno() {
        let sorted = |errno| sort(&io::Error::from_raw_os_error(errno));
        for errno in [libc::ECONNABORTED, libc::EINTR, libc::EPERM, libc::EPROTO, libc::ENETDOWN] {
            assert_eq!(sorted(errno), AcceptError::OneConnection, "{errno}");
        }
        for errno in [libc::EMFILE, libc::ENFILE] {
            assert_eq!(sorted(errno), AcceptError::NoDescriptors, "{errno}");
        }
        for errno in [libc::ENOBUFS, libc::ENOMEM, libc::EXDEV] {
            assert_eq!(sorted(errno), AcceptError::NoResources, "unknown errors may pass: {errno}");
        }
        for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
            assert_eq!(sorted(errno), AcceptError::Fatal, "{errno}");
        }
        assert_eq!(sort(&io::ErrorKind::ConnectionAborted.into()), AcceptError::OneConnection);
    }
}
