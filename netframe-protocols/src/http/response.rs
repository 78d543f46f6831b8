//! [`Responder`], [`Response`], [`BodyWriter`]: what is answered.

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use netframe_core::{ConnectionInfo, DynFactory, Handle, Residue, Result, Transport};

use super::body::Expectation;
use super::error::ResponseError;
use super::{date, fields};

/// Bytes that are queued before it is waited for room. With the framing of a chunk it is 32 KiB, which
/// buffers have when they grow.
const PIECE: usize = 32 * 1024 - "7ff8\r\n\r\n".len();

/// A request as its response sees it.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) is_head: bool,
    pub(super) is_v1_0: bool,
    pub(super) is_connect: bool,
    pub(super) wants_upgrade: bool,
    /// The connection ends with this response.
    pub(super) closes: bool,
    pub(super) expects: Option<Expectation>,
    pub(super) progress: Progress,
    /// The head as it will be sent.
    head: Vec<u8>,
}

impl Exchange {
    /// Another request, and no response yet.
    pub(super) fn reset(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        head.clear();
        *self = Self { head, ..Self::default() };
    }

    /// Bytes of memory that it keeps.
    pub(super) fn capacity(&self) -> usize {
        self.head.capacity()
    }
}

/// How far its response is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was sent.
    #[default]
    None,
    /// The head was sent, and something behind it is missing.
    Begun,
    /// As `Begun`, and only a reset will show it.
    BegunUntilClose,
    Done,
    Switched,
}

/// Answers a request, once. If it is dropped without, the answer is 500.
pub struct Responder<'a> {
    t: &'a mut (dyn Transport + 'a),
    exchange: &'a mut Exchange,
}

impl<'a> Responder<'a> {
    pub(super) fn new(t: &'a mut (dyn Transport + 'a), exchange: &'a mut Exchange) -> Self {
        exchange.head.clear();
        Self { t, exchange }
    }

    /// Answers with a short body. To set other fields too, begin with [`status`](Self::status).
    ///
    /// # Errors
    ///
    /// As [`Response::header`] and [`Response::send`].
    pub fn send(
        self,
        status: u16,
        content_type: &str,
        body: impl AsRef<[u8]>,
    ) -> Result<(), ResponseError> {
        self.status(status).header("Content-Type", content_type)?.send(body)
    }

    /// Begins an answer.
    pub fn status(self, status: impl TryInto<StatusCode>) -> Response<'a> {
        let status = status.try_into().ok().filter(|status| status.as_u16() >= 200);
        if let Some(status) = status {
            put_status(&mut self.exchange.head, status);
        }
        Response { responder: self, status, has_date: false }
    }

    /// Sends an interim response, such as 103 with the links that a client may follow already. One of
    /// HTTP/1.0 knows none, and is sent none.
    ///
    /// # Errors
    ///
    /// The status is none of an interim response, or a field is malformed.
    pub fn interim(&mut self, status: u16, headers: &[(&str, &str)]) -> Result<(), ResponseError> {
        let interim = StatusCode::from_u16(status).ok().filter(StatusCode::is_informational);
        let interim = interim.filter(|status| *status != StatusCode::SWITCHING_PROTOCOLS);
        put_status(&mut self.exchange.head, interim.ok_or(ResponseError::Interim)?);
        for (name, value) in headers {
            put_field(&mut self.exchange.head, name, value.as_bytes())
                .inspect_err(|_| self.exchange.head.clear())?;
        }
        self.exchange.head.extend_from_slice(b"\r\n");
        if !self.exchange.is_v1_0 {
            self.t.write(&self.exchange.head);
        }
        self.exchange.head.clear();
        Ok(())
    }

    /// Hands the connection to the protocol that `to` builds, with an answer 101: to the one that
    /// the client has [asked for](super::Request::asks_for_upgrade) under this name.
    ///
    /// # Errors
    ///
    /// The request asks for no upgrade, or has a body; or the name is malformed.
    pub fn upgrade(self, protocol: &str, to: Arc<dyn DynFactory>) -> Result<(), ResponseError> {
        if !self.exchange.wants_upgrade {
            return Err(ResponseError::Upgrade);
        }
        put_status(&mut self.exchange.head, StatusCode::SWITCHING_PROTOCOLS);
        self.exchange.head.extend_from_slice(b"Connection: upgrade\r\n");
        put_field(&mut self.exchange.head, "Upgrade", protocol.as_bytes())
            .inspect_err(|_| self.exchange.head.clear())?;
        self.switch(to);
        Ok(())
    }

    /// Hands the connection to the protocol that `to` builds, with an answer 200 to a CONNECT. After any
    /// other answer to one the connection closes, as what is behind it may be meant for the tunnel.
    ///
    /// # Errors
    ///
    /// The request is none.
    pub fn tunnel(self, to: Arc<dyn DynFactory>) -> Result<(), ResponseError> {
        if !self.exchange.is_connect {
            return Err(ResponseError::Upgrade);
        }
        put_status(&mut self.exchange.head, StatusCode::OK);
        self.switch(to);
        Ok(())
    }

    fn switch(self, to: Arc<dyn DynFactory>) {
        self.exchange.head.extend_from_slice(b"\r\n");
        self.t.write(&self.exchange.head);
        self.t.switch(to, Residue::Feed);
        self.exchange.progress = Progress::Switched;
    }

    /// Whether it is HEAD that is answered.
    #[cfg(feature = "tower")]
    pub(super) fn is_head(&self) -> bool {
        self.exchange.is_head
    }

    /// Says, in an answer with the status, what is wrong.
    pub(super) fn send_error(self, status: StatusCode, text: &str) {
        let reason = status.canonical_reason().unwrap_or_default();
        let text = format!("{} {reason}: {text}\n", status.as_str());
        // Nothing in it can be refused; a CONNECT has no error of a success.
        let _ = self.send(status.as_u16(), "text/plain", text);
    }

    /// Has the connection close behind this answer, which says so.
    pub fn close(&mut self) {
        self.exchange.closes = true;
    }

    /// Who asks, and how it is connected.
    pub fn info(&self) -> &ConnectionInfo {
        self.t.info()
    }

    /// A handle to the connection for other tasks and threads.
    pub fn handle(&mut self) -> Handle {
        self.t.handle()
    }

    /// Sends the head, and `body` with it.
    fn begin(&mut self, framing: Sent, has_date: bool, body: &[u8]) {
        let asks = self.exchange.expects.as_ref().is_some_and(Expectation::answer);
        // A body that was not asked for may come or not.
        // Whether it drains was looked at when the request came.
        let closes = self.exchange.closes || asks || date::has_waited() && self.t.is_draining();
        self.exchange.closes = closes || framing == Sent::UntilClose;
        match framing {
            Sent::Nothing | Sent::UntilClose => {}
            Sent::Length(len) => {
                self.exchange.head.extend_from_slice(b"Content-Length: ");
                self.exchange.head.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
                self.exchange.head.extend_from_slice(b"\r\n");
            }
            Sent::Chunked => {
                self.exchange.head.extend_from_slice(b"Transfer-Encoding: chunked\r\n")
            }
        }
        if self.exchange.closes {
            self.exchange.head.extend_from_slice(b"Connection: close\r\n");
        } else if self.exchange.is_v1_0 {
            self.exchange.head.extend_from_slice(b"Connection: keep-alive\r\n");
        }
        if !has_date {
            date::put_line(&mut self.exchange.head);
        }
        self.exchange.head.extend_from_slice(b"\r\n");
        self.t.write_vectored(&[&self.exchange.head, body]);
        self.exchange.head.clear();
    }
}

impl fmt::Debug for Responder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// An answer whose fields are being set. `Date`, `Content-Length`, `Transfer-Encoding` and
/// `Connection` are set by the connection itself.
#[derive(Debug)]
pub struct Response<'a> {
    responder: Responder<'a>,
    status: Option<StatusCode>,
    has_date: bool,
}

impl<'a> Response<'a> {
    /// Adds a field; several may have one name.
    ///
    /// # Errors
    ///
    /// The name is no token, the value has a control character, which would end the field and let
    /// another begin, or the field is set by the connection itself.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, ResponseError> {
        for reserved in ["Content-Length", "Transfer-Encoding", "Connection", "Upgrade"] {
            if name.eq_ignore_ascii_case(reserved) {
                return Err(ResponseError::Reserved(reserved));
            }
        }
        put_field(&mut self.responder.exchange.head, name, value.as_ref())?;
        self.has_date |= name.eq_ignore_ascii_case("date");
        Ok(self)
    }

    /// Has the connection close behind this answer, which says so.
    pub fn close(mut self) -> Self {
        self.responder.close();
        self
    }

    /// Sends the answer with a body that is at hand; of HEAD without it.
    ///
    /// All of it is queued; what is longer than some 100 KiB should be [streamed](Self::stream).
    ///
    /// # Errors
    ///
    /// The status is none of a response, or is of one without a body and there is one.
    pub fn send(mut self, body: impl AsRef<[u8]>) -> Result<(), ResponseError> {
        let body = body.as_ref();
        let framing = self.framing(Some(body.len() as u64))?;
        let body = if self.responder.exchange.is_head { b"" } else { body };
        self.responder.begin(framing, self.has_date, body);
        self.responder.exchange.progress = Progress::Done;
        Ok(())
    }

    /// Sends the head, and lets the body be written piece by piece: so many bytes, if that is known.
    /// If it is not, it is sent chunked, or to HTTP/1.0 up to the end of the connection.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn stream(mut self, len: Option<u64>) -> Result<BodyWriter<'a>, ResponseError> {
        let framing = self.framing(len)?;
        self.responder.begin(framing, self.has_date, b"");
        self.responder.exchange.progress = match framing {
            Sent::UntilClose => Progress::BegunUntilClose,
            _ => Progress::Begun,
        };
        let framing = if self.responder.exchange.is_head { Sent::Nothing } else { framing };
        Ok(BodyWriter { responder: self.responder, framing })
    }

    /// How the body is framed (RFC 9112, section 6.3).
    fn framing(&self, len: Option<u64>) -> Result<Sent, ResponseError> {
        let status = self.status.ok_or(ResponseError::Status)?;
        let empty = match status {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Some(Sent::Nothing),
            StatusCode::RESET_CONTENT => Some(Sent::Length(0)),
            _ => None,
        };
        match (empty, len) {
            (Some(empty), Some(0)) => Ok(empty),
            (Some(_), _) => Err(ResponseError::NoBody),
            // It would be taken for the begin of a tunnel.
            (None, _) if self.responder.exchange.is_connect && status.is_success() => {
                Err(ResponseError::NoBody)
            }
            (None, Some(len)) => Ok(Sent::Length(len)),
            (None, None) if self.responder.exchange.is_v1_0 => Ok(Sent::UntilClose),
            (None, None) => Ok(Sent::Chunked),
        }
    }
}

/// How the end of a response's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// There is none.
    Nothing,
    /// So many bytes are left.
    Length(u64),
    Chunked,
    UntilClose,
}

/// Writes the body of a response, piece by piece. If it is dropped before
/// [`finish`](Self::finish), the connection is cut, so that the client does not take what it has for
/// all of it.
#[derive(Debug)]
pub struct BodyWriter<'a> {
    responder: Responder<'a>,
    framing: Sent,
}

impl BodyWriter<'_> {
    /// Queues more of the body, waiting while the client does not take what is queued.
    ///
    /// # Errors
    ///
    /// The connection ended, or that is more than was promised.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has queued a part; the body cannot be finished in order then.
    pub async fn write(&mut self, data: impl AsRef<[u8]> + Send) -> Result {
        let mut data = data.as_ref();
        if let Sent::Length(left) = &mut self.framing {
            *left = left.checked_sub(data.len() as u64).ok_or(ResponseError::Length)?;
        }
        if self.framing == Sent::Nothing {
            return Ok(());
        }
        while !data.is_empty() {
            if self.responder.t.queued() >= PIECE {
                self.responder.t.drain().await?;
            }
            let (piece, rest) = data.split_at(data.len().min(PIECE));
            self.put(piece);
            data = rest;
        }
        Ok(())
    }

    /// Whether what is written is thrown away, as HEAD is answered without a body.
    pub fn is_discarded(&self) -> bool {
        self.framing == Sent::Nothing
    }

    /// Whether nothing more is taken: there is no body, or all of it was written.
    #[cfg(feature = "tower")]
    pub(super) fn is_full(&self) -> bool {
        matches!(self.framing, Sent::Nothing | Sent::Length(0))
    }

    fn put(&mut self, piece: &[u8]) {
        if self.framing != Sent::Chunked {
            return self.responder.t.write(piece);
        }
        let mut size = [0; 18];
        let mut rest = &mut size[..];
        // Sixteen digits and CRLF fit.
        let _ = write!(rest, "{:x}\r\n", piece.len());
        let len = 18 - rest.len();
        self.responder.t.write_vectored(&[&size[..len], piece, b"\r\n"]);
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// Less was written than was promised: the connection is cut.
    pub fn finish(self) -> Result<(), ResponseError> {
        self.finish_with(&HeaderMap::new())
    }

    /// Ends the body with trailers; only a chunked one has them, others go without.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish).
    pub fn finish_with(self, trailers: &HeaderMap) -> Result<(), ResponseError> {
        match self.framing {
            Sent::Length(1..) => return Err(ResponseError::Length),
            Sent::Chunked => {
                let head = &mut self.responder.exchange.head;
                head.extend_from_slice(b"0\r\n");
                for (name, value) in trailers {
                    put_field(head, name.as_str(), value.as_bytes())?;
                }
                head.extend_from_slice(b"\r\n");
                self.responder.t.write(head);
                head.clear();
            }
            Sent::Nothing | Sent::Length(0) | Sent::UntilClose => {}
        }
        self.responder.exchange.progress = Progress::Done;
        Ok(())
    }
}

fn put_status(head: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
}

fn put_field(head: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), ResponseError> {
    if !fields::is_token(name.as_bytes()) {
        return Err(ResponseError::Name);
    }
    if !fields::is_value(value) {
        return Err(ResponseError::Value);
    }
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
    Ok(())
}
