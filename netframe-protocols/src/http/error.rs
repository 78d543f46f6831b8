//! What is wrong with a request, and with a response.

use http::StatusCode;
use netframe_core::{BoxError, ProtocolError};

/// What is wrong with a request: the peer's fault, with the status that it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RequestError {
    status: StatusCode,
    text: &'static str,
}

impl RequestError {
    pub(super) const fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text }
    }

    /// What is ambiguous or malformed.
    pub(super) const fn bad(text: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// The status with which it is answered.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The error of a callback, with the peer to blame.
    pub(super) fn blame(self) -> BoxError {
        ProtocolError::new(self).into()
    }
}

/// Why a request's body could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Its framing is malformed.
    #[error("{0}")]
    Malformed(#[from] RequestError),
    /// It is longer than what was to be collected.
    #[error("the body exceeds {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// It came too slowly.
    #[error("the body came too slowly")]
    Timeout,
    /// The peer ended its sending side inside of it.
    #[error("input ended inside of the body")]
    UnexpectedEof,
    /// The connection has ended.
    #[error("the connection ended inside of the body: {0}")]
    Connection(std::io::Error),
}

impl BodyError {
    /// The status with which it is answered, if no other answer has begun.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(error) => error.status(),
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnexpectedEof | Self::Connection(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The error of a callback, with the peer to blame.
    pub(super) fn blame(self) -> BoxError {
        ProtocolError::new(self).into()
    }
}

impl From<std::io::Error> for BodyError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::TimedOut {
            Self::Timeout
        } else {
            Self::Connection(error)
        }
    }
}

/// A response that cannot be sent as it is: a bug at the call site. Nothing of it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The status is not from 200 to 999.
    #[error("a response has a status from 200 to 999; interim ones are sent with `interim`")]
    Status,
    /// An interim response has a status from 100 to 199, and not 101.
    #[error("an interim response has a status from 100 to 199; for 101 there is `upgrade`")]
    Interim,
    /// The name of a field is not a token.
    #[error("the name of a field may have letters, digits and !#$%&'*+-.^_`|~ only")]
    Name,
    /// The value of a field would be read as more than that, or as something else.
    #[error("the value of a field may have no CR, LF, NUL or other control characters")]
    Value,
    /// A field by which messages are told apart.
    #[error("`{0}` is set by the connection itself")]
    Reserved(&'static str),
    /// Such a response has no body.
    #[error("a response with this status has no body")]
    NoBody,
    /// More or less was written than was promised.
    #[error("the body has another length than was promised")]
    Length,
    /// The request asks for no such upgrade.
    #[error("the request asks for no such upgrade")]
    Upgrade,
}
