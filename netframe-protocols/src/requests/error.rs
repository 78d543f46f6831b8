//! [`CallError`]: why a call has no answer.

use std::time::Duration;

use netframe_core::{BoxError, CloseReason};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The answer did not come in time, or there was no room or no connection to ask for it.
    #[error("no answer within {after:?}")]
    Late {
        /// The time that there was.
        after: Duration,
        /// The request was written to a connection: it may be carried out nevertheless.
        is_sent: bool,
    },
    /// The connection ended before the answer came.
    #[error("the connection ended before the answer: {reason}")]
    Lost {
        /// Why it ended.
        reason: CloseReason,
    },
    /// There is no connection, and will be none: it was not made, or has ended. The request was not
    /// sent.
    #[error("there is no connection to ask over, nor will there be one")]
    NotConnected,
    /// The request could not be encoded. Nothing was sent, and the connection goes on.
    #[error("the request cannot be sent")]
    Encode(#[source] BoxError),
}

impl CallError {
    /// Whether the request was written to a connection. If not, nobody has carried it out, and it may
    /// be repeated whatever it asks for.
    pub fn is_sent(&self) -> bool {
        match self {
            Self::Late { is_sent, .. } => *is_sent,
            Self::Lost { .. } => true,
            Self::NotConnected | Self::Encode(_) => false,
        }
    }
}
