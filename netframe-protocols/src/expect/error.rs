//! [`ExpectError`]: why what was waited for did not come.

use std::io;
use std::time::Duration;

use crate::telnet::TelnetError;

/// Bytes of what came last that an error shows.
const TAIL: usize = 200;

/// Why what was waited for did not come. What did come is kept, and `tail` shows its end, escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectError {
    /// It did not come in time, or what was to be sent was not taken.
    #[error("{waited_for} did not come within {timeout:?}; what came ends with {tail}")]
    Timeout {
        /// The patterns.
        waited_for: String,
        /// The time that was given.
        timeout: Duration,
        /// The end of what came.
        tail: String,
    },
    /// The peer ended its sending side first.
    #[error("input ended before {waited_for}; it ends with {tail}")]
    Eof {
        /// The patterns.
        waited_for: String,
        /// The end of what came.
        tail: String,
    },
    /// More came than is kept.
    #[error(
        "{max_buffer} bytes came without {waited_for}; raise `max_buffer` if so many are meant, or take some by `take`; they end with {tail}"
    )]
    TooLong {
        /// The patterns.
        waited_for: String,
        /// The bytes that are kept.
        max_buffer: usize,
        /// The end of what came.
        tail: String,
    },
    /// The peer did not take what was to be sent in time. What is left goes out with the next call.
    #[error("the peer did not take {len} bytes within {timeout:?}")]
    Unsent {
        /// How many are left.
        len: usize,
        /// The time that was given.
        timeout: Duration,
    },
    /// What the peer sent is no Telnet.
    #[error("what the peer sent is no telnet")]
    Telnet(#[from] TelnetError),
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

/// The end of what came, in quotes.
pub(super) fn tail(data: &[u8]) -> String {
    let begin = data.len().saturating_sub(TAIL);
    let more = if begin > 0 { "…" } else { "" };
    format!("{more}\"{}\"", data[begin..].escape_ascii())
}
