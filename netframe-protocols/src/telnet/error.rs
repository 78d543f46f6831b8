//! [`TelnetError`]: what can be wrong with what a peer sends.

use netframe_core::{BoxError, ProtocolError};

/// What is wrong with what a peer sent. [`Telnet`](super::Telnet) blames the peer for it, by a
/// [`ProtocolError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TelnetError {
    /// The sub-negotiation has more bytes than it may have, or no end.
    #[error(
        "a sub-negotiation exceeds {max_length} bytes; raise `max_subnegotiation` if such ones are meant"
    )]
    TooLong {
        /// The limit, in bytes as they are on the wire, its option not counted.
        max_length: usize,
    },
    /// Inside a sub-negotiation IAC may be followed by IAC or SE only (RFC 855).
    #[error("a sub-negotiation has {byte} behind IAC, where only IAC (255) or SE (240) may be")]
    Unescaped {
        /// What followed IAC.
        byte: u8,
    },
    /// IAC SB IAC SE: there is no option that it could be about.
    #[error("a sub-negotiation names no option")]
    NoOption,
    /// A window size has four bytes (RFC 1073).
    #[error("a window size has {len} bytes and not 4")]
    WindowSize {
        /// How many came.
        len: usize,
    },
    /// The peer ended its sending side inside a command, or inside what the protocol waited for.
    #[error("input ended after {len} bytes of an unfinished message")]
    UnexpectedEof {
        /// Bytes of it that came; more than none.
        len: usize,
    },
}

impl TelnetError {
    /// The error of a callback, with the peer to blame.
    pub(super) fn blame(self) -> BoxError {
        ProtocolError::new(self).into()
    }
}
