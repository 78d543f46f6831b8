//! [`HttpOptions`]: what a client may send, and how long it may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::head::{MAX_FIELDS, MAX_HEAD};

/// What a client may send, and how long it may take.
///
/// What is not set has its default. Beside these, the [`Limits`](netframe_core::Limits) of every
/// connection hold: a body must come at `min_message_rate`, and something of it within
/// `message_timeout`; nothing may stand still for `idle_timeout`, a handler that takes its time
/// included.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Bytes of the request target; more is answered 414. Default 8192.
    pub max_target: usize,
    /// Bytes of a request's head, at most 65 535; more is answered 431. Default 16 384.
    pub max_head: usize,
    /// Fields of a request's head, at most 128; more is answered 431. Default 100.
    pub max_fields: usize,
    /// Bytes of a request's body that are read, and thrown away, when nobody has read them, so that the
    /// connection can serve another request; with more, it closes. Default 65 536.
    pub max_unread: usize,
    /// Seconds from the first byte of a head in which its last one must come; else 408. Default 10.
    pub head_timeout: u32,
    /// Seconds for which a connection may wait for a request, about: it may be as much more as a 24th of
    /// the idle timeout, or twice as long where that is never. Default 60.
    pub keep_alive: u32,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            max_target: 8 * 1024,
            max_head: 16 * 1024,
            max_fields: 100,
            max_unread: 64 * 1024,
            head_timeout: 10,
            keep_alive: 60,
        }
    }
}

impl HttpOptions {
    /// Checks that the values make sense.
    ///
    /// # Errors
    ///
    /// The first one that is zero or too large.
    pub fn validate(&self) -> Result<(), HttpOptionsError> {
        for (name, value, max) in [
            ("max_head", self.max_head, MAX_HEAD),
            ("max_target", self.max_target, self.max_head),
            ("max_fields", self.max_fields, MAX_FIELDS),
            ("head_timeout", self.head_timeout as usize, MAX_SECONDS),
            ("keep_alive", self.keep_alive as usize, MAX_SECONDS),
        ] {
            if value == 0 || value > max {
                return Err(HttpOptionsError { name, value, max });
            }
        }
        Ok(())
    }

    pub(super) fn head_timeout(&self) -> Duration {
        Duration::from_secs(self.head_timeout.into())
    }

    pub(super) fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.keep_alive.into())
    }
}

/// A day.
const MAX_SECONDS: usize = 86_400;

/// An option that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is {value}; set it from 1 to {max}")]
pub struct HttpOptionsError {
    name: &'static str,
    value: usize,
    max: usize,
}

/// What a client is sent that may not connect because of a limit: an answer 503, for
/// [`ServerBuilder::refusal`](netframe_core::ServerBuilder::refusal).
///
/// Of use where a newcomer is refused, by [`AtLimit::Refuse`](netframe_core::AtLimit::Refuse) or because
/// its peer has too many connections; else newcomers wait.
///
/// ```
/// use netframe_core::{AtLimit, ConnectionInfo, Limits, Server};
/// use netframe_protocols::http::{self, Http, Request, Responder};
///
/// let mut limits = Limits::default();
/// limits.at_limit = AtLimit::Refuse;
/// let hello = |_: Request<'_>, response: Responder<'_>| Ok(response.send(200, "text/plain", "hi")?);
/// let server = Server::builder(move |_: &ConnectionInfo| Http::new(hello))
///     .limits(limits)
///     .refusal(http::refusal());
/// ```
pub fn refusal() -> &'static [u8] {
    b"HTTP/1.1 503 Service Unavailable\r\n\
      Content-Type: text/plain\r\n\
      Content-Length: 56\r\n\
      Connection: close\r\n\
      Retry-After: 1\r\n\
      \r\n\
      503 Service Unavailable: there are too many connections\n"
}
