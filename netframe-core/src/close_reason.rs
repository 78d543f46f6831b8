//! [`CloseReason`]: why a connection ended, who ended it, and how many bytes it moved.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::protocol::BoxError;

/// Why one connection ended. The first cause wins: what follows from it is not a cause.
#[derive(Clone, Debug)]
pub struct CloseReason {
    pub(crate) cause: Cause,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_unsent: u64,
    pub(crate) close_timed_out: bool,
}

impl CloseReason {
    /// What ended the connection.
    pub fn kind(&self) -> CloseKind {
        self.cause.kind
    }

    /// Who ended it.
    pub fn by(&self) -> Side {
        self.cause.by
    }

    /// The error behind it, where there was one.
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.cause.source.as_deref()
    }

    /// Whether the close that followed ran into the close timeout, and the connection was reset: the
    /// queue did not move, or the peer sent no FIN. It is no cause, and [`kind`](Self::kind) stays.
    pub fn close_timed_out(&self) -> bool {
        self.close_timed_out
    }

    /// Bytes received from the peer, those thrown away after a close included.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes handed to the transport below (for a socket: taken by the kernel).
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Bytes written by the protocol that never left: queued when the connection was aborted,
    /// written after `close`, or refused by the hard cap.
    pub fn bytes_unsent(&self) -> u64 {
        self.bytes_unsent
    }

    /// A reason for tests of a protocol's `connection_lost`, with no bytes counted.
    pub fn new(by: Side, kind: CloseKind) -> Self {
        Cause::new(by, kind).into()
    }
}

impl From<Cause> for CloseReason {
    fn from(cause: Cause) -> Self {
        Self { cause, bytes_in: 0, bytes_out: 0, bytes_unsent: 0, close_timed_out: false }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.cause.kind, self.cause.by)?;
        if self.close_timed_out {
            f.write_str(" (the close timed out)")?;
        }
        let mut source = self.cause.source.as_deref().map(|e| e as &dyn Error);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// This program: its protocol, or a handle.
    Local,
    /// The other end.
    Peer,
    /// netframe's limits and timeouts, or the operating system.
    System,
}

impl Side {
    /// Every side, in the order of their declaration.
    pub(crate) const ALL: [Self; 3] = [Self::Local, Self::Peer, Self::System];
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::System => "system",
        })
    }
}

/// What ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseKind {
    /// The peer ended its sending side and nothing was left to do.
    Eof,
    /// The protocol or a handle called `close`.
    Closed,
    /// The protocol or a handle called `abort`, or the connection's task was dropped.
    Aborted,
    /// The peer reset the connection, or the transport below failed.
    Reset,
    /// A timeout passed.
    Timeout(TimeoutKind),
    /// More was written than the hard cap of the queue allows.
    Overflow,
    /// The peer exceeded a limit, such as `max_pending`.
    Limit,
    /// The peer broke the protocol: a callback returned a [`ProtocolError`].
    ProtocolError,
    /// A callback returned any other error.
    Error,
    /// A callback panicked.
    Panic,
    /// Another protocol took the connection over; only the old one sees this.
    Switched,
    /// The drain of its server ended it.
    Shutdown,
}

impl CloseKind {
    /// Number of kinds, each timeout counted by itself.
    pub(crate) const COUNT: usize = 14;

    /// Every kind, in the order of `index`.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Eof,
        Self::Closed,
        Self::Aborted,
        Self::Reset,
        Self::Timeout(TimeoutKind::Idle),
        Self::Timeout(TimeoutKind::WriteStall),
        Self::Timeout(TimeoutKind::Message),
        Self::Overflow,
        Self::Limit,
        Self::ProtocolError,
        Self::Error,
        Self::Panic,
        Self::Switched,
        Self::Shutdown,
    ];

    /// Position in [`ALL`](Self::ALL).
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Eof => 0,
            Self::Closed => 1,
            Self::Aborted => 2,
            Self::Reset => 3,
            Self::Timeout(TimeoutKind::Idle) => 4,
            Self::Timeout(TimeoutKind::WriteStall) => 5,
            Self::Timeout(TimeoutKind::Message) => 6,
            Self::Overflow => 7,
            Self::Limit => 8,
            Self::ProtocolError => 9,
            Self::Error => 10,
            Self::Panic => 11,
            Self::Switched => 12,
            Self::Shutdown => 13,
        }
    }
}

impl fmt::Display for CloseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eof => "eof",
            Self::Closed => "closed",
            Self::Aborted => "aborted",
            Self::Reset => "reset",
            Self::Timeout(TimeoutKind::Idle) => "idle timeout",
            Self::Timeout(TimeoutKind::WriteStall) => "write-stall timeout",
            Self::Timeout(TimeoutKind::Message) => "message timeout",
            Self::Overflow => "overflow",
            Self::Limit => "limit",
            Self::ProtocolError => "protocol error",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Switched => "switched",
            Self::Shutdown => "shutdown",
        })
    }
}

/// Which timeout ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutKind {
    /// No byte in or out for the idle timeout.
    Idle,
    /// The peer took no byte of a waiting queue for the write-stall timeout.
    WriteStall,
    /// The peer did not finish a message that it had begun within the message timeout, or sent it
    /// too slowly.
    Message,
}

/// An error that blames the peer: it broke the rules of the protocol.
///
/// A handler that returns one (as itself or anywhere in a chain of sources) ends the connection
/// with [`CloseKind::ProtocolError`] by [`Side::Peer`]; every other error is
/// [`CloseKind::Error`] by [`Side::Local`].
///
/// ```
/// use netframe_core::{ProtocolError, Result};
///
/// fn check(version: u8) -> Result {
///     if version != 1 {
///         return Err(ProtocolError::new(format!("version {version}, expected 1")).into());
///     }
///     Ok(())
/// }
/// assert_eq!(check(7).unwrap_err().to_string(), "version 7, expected 1");
/// ```
#[derive(Debug)]
pub struct ProtocolError(BoxError);

impl ProtocolError {
    /// Blames the peer for `error`: a message or another error.
    pub fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }

    /// The error the peer is blamed for.
    pub fn get_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for ProtocolError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The part of a reason that is fixed when the first cause is seen; byte counts follow at the end.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) by: Side,
    pub(crate) kind: CloseKind,
    pub(crate) source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Cause {
    pub(crate) fn new(by: Side, kind: CloseKind) -> Self {
        Self { by, kind, source: None }
    }

    pub(crate) fn with_source(by: Side, kind: CloseKind, source: impl Into<BoxError>) -> Self {
        Self { by, kind, source: Some(Arc::from(source.into())) }
    }

    /// The cause behind an error that a callback returned.
    pub(crate) fn from_handler(error: BoxError) -> Self {
        let mut link: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(e) = link {
            if e.is::<ProtocolError>() {
                return Self::with_source(Side::Peer, CloseKind::ProtocolError, error);
            }
            link = e.source();
        }
        Self::with_source(Side::Local, CloseKind::Error, error)
    }

    /// The cause behind an error of the transport below. All of them mean that the connection
    /// cannot carry bytes any more; only a reset or a broken pipe is the peer's doing.
    pub(crate) fn from_io(error: std::io::Error) -> Self {
        use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        let by = match error.kind() {
            ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected => Side::Peer,
            _ => Side::System,
        };
        Self::with_source(by, CloseKind::Reset, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_index() {
        for (i, kind) in CloseKind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), i, "{kind}");
        }
        for (i, side) in Side::ALL.iter().enumerate() {
            assert_eq!(*side as usize, i, "{side}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("frame 3")]
    struct Outer(#[source] ProtocolError);

    #[test]
    fn a_protocol_error_anywhere_in_the_chain_blames_the_peer() {
        let cause = Cause::from_handler(Box::new(Outer(ProtocolError::new("bad length"))));
        assert_eq!((cause.by, cause.kind), (Side::Peer, CloseKind::ProtocolError));
        assert_eq!(
            CloseReason::from(cause).to_string(),
            "protocol error by peer: frame 3: bad length"
        );

        let cause = Cause::from_handler("no disk".into());
        assert_eq!((cause.by, cause.kind), (Side::Local, CloseKind::Error));
    }
}
