//! [`LineError`]: what can be wrong with a line.

use netframe_core::{BoxError, ProtocolError};

/// What is wrong with a line. [`Lines`](super::Lines) blames the peer for the first two, by a
/// [`ProtocolError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The peer sent more than a line may have.
    #[error("a line exceeds {max_length} bytes; raise `max_length` if such lines are meant")]
    TooLong {
        /// The limit, in bytes, the delimiter not counted.
        max_length: usize,
    },
    /// The peer ended its sending side inside a line, or inside what raw mode was to read.
    #[error("input ended after {len} bytes of an unfinished message")]
    UnexpectedEof {
        /// Bytes of it that came; more than none.
        len: usize,
    },
    /// A bug at the call site: the peer would take the line for more than one.
    #[error("the line to send contains the delimiter")]
    ContainsDelimiter,
}

impl LineError {
    /// The error of a callback, with the peer to blame.
    pub(super) fn blame(self) -> BoxError {
        ProtocolError::new(self).into()
    }
}
