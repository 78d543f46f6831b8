//! HTTP/1.1 (RFC 9110, RFC 9112): [`Http`] makes a [`Protocol`] of a [`Handler`].
//!
//! What a client sends is read strictly: what two readers could take for different requests is
//! refused, and never repaired. `docs/http.md` has the rules, each with its section of the RFC.
//!
//! There are three ways in:
//!
//! - [`Handler`], for what is to be fast and small: a view of the request, an answer at once or piece
//!   by piece, no allocation.
//! - `service` (feature `tower`), for an axum application or any other tower service.
//! - `hyper` (feature `hyper`), for HTTP/2 and WebSockets: the same services, run by hyper.

mod body;
mod chunked;
mod date;
mod error;
mod fields;
#[doc(hidden)]
pub(crate) mod fuzz;
mod handler;
mod head;
#[cfg(feature = "hyper")]
mod hyper;
mod options;
mod request;
mod response;
mod scratch;
mod target;
#[cfg(feature = "tower")]
mod tower;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use http::StatusCode;
use netframe_core::{BoxError, Needs, Protocol, Result, Transport};
use pin_project_lite::pin_project;

pub use self::body::Body;
use self::body::{BodyEnd, Decoder, Expectation, Lent, Reader};
use self::chunked::{ChunkedDecoder, Decoded};
pub use self::error::{BodyError, RequestError, ResponseError};
use self::fields::Framing;
pub use self::handler::Handler;
use self::head::{Head, Scanner};
#[cfg(feature = "hyper")]
pub use self::hyper::hyper;
pub use self::options::{HttpOptions, HttpOptionsError, refusal};
pub use self::request::Request;
pub use self::response::{BodyWriter, Responder, Response};
use self::response::{Exchange, Progress};
use self::scratch::Scratch;
#[cfg(feature = "tower")]
pub use self::tower::{Mounted, service};

/// A [`Handler`] as a [`Protocol`]: the server's side of HTTP/1.1.
///
/// Requests come one at a time and are answered in order, those that a client sends ahead too: what
/// has arrived together is answered in one send.
#[derive(Debug)]
pub struct Http<H> {
    handler: H,
    options: Arc<HttpOptions>,
    scanner: Scanner,
    /// What is left of a body that nobody has read.
    unread: Option<Box<Unread>>,
    /// The deadline of a head is set.
    hurries: bool,
}

/// A body that is thrown away.
#[derive(Debug)]
struct Unread {
    decoder: Decoder,
    /// Bytes that may still come.
    budget: usize,
}

impl<H: Handler> Http<H> {
    /// With the default options.
    pub fn new(handler: H) -> Self {
        static DEFAULT: LazyLock<Arc<HttpOptions>> = LazyLock::new(Arc::default);
        Self::with_options(handler, Arc::clone(&DEFAULT))
    }

    /// With options that a factory has [validated](HttpOptions::validate) once, and shares.
    pub fn with_options(handler: H, options: Arc<HttpOptions>) -> Self {
        Self { handler, options, scanner: Scanner::default(), unread: None, hurries: false }
    }

    /// The head of the next request, if all of it is in `data`: its length, which is still to be
    /// consumed, and what it says.
    fn next_head(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
        head: &mut Head,
    ) -> Result<Option<usize>, RequestError> {
        if !self.scanner.has_begun() {
            // RFC 9112, section 2.2: some clients send an empty line behind a body.
            if data.starts_with(b"\r\n") && self.scanner.skip_empty_line() {
                data.advance(2);
            } else if data[..] == b"\r"[..] {
                return Ok(None);
            }
        }
        let max = data.len().min(self.options.max_head);
        let mut failed = None;
        if !self.scanner.has_begun() {
            match head.parse(&data[..max], &self.options) {
                Ok(Some(len)) => {
                    self.scanner = Scanner::default();
                    return Ok(Some(len));
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        // What is wrong with the request line goes first; what is with fields is told once all of the
        // head has come, so that the answer is the same however that has been cut.
        let end = self.scanner.scan(data, &self.options)?;
        if let Some(error) = failed.filter(|_| end.is_some()) {
            return Err(error);
        }
        let Some(len) = end else {
            if !self.hurries && self.scanner.has_begun() {
                self.hurries = true;
                t.set_timeout(Some(self.options.head_timeout()));
            }
            return Ok(None);
        };
        if self.hurries {
            self.hurries = false;
            t.set_timeout(Some(self.options.keep_alive()));
        }
        match head.parse(&data[..len], &self.options)? {
            Some(parsed) if parsed == len => Ok(Some(len)),
            _ => Err(RequestError::bad("the head is malformed")),
        }
    }

    /// Throws away what nobody has read of a body; false if more has to come.
    fn skip(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result<bool> {
        let Some(unread) = &mut self.unread else { return Ok(true) };
        loop {
            let before = data.len();
            let (framing, decoded) = unread.decoder.decode(data).map_err(RequestError::blame)?;
            data.advance(framing);
            if let Decoded::Data(len) = decoded {
                data.advance(len);
            }
            let taken = before - data.len();
            if taken > unread.budget {
                t.close();
                return Ok(false);
            }
            unread.budget -= taken;
            match decoded {
                Decoded::Data(_) => {}
                Decoded::More => return Ok(false),
                Decoded::End => {
                    self.unread = None;
                    t.set_timeout(Some(self.options.keep_alive()));
                    return Ok(true);
                }
            }
        }
    }

    /// A body came back from who has read it: what is left of it is thrown away, what is behind it is
    /// the next request's.
    fn put_back(&mut self, t: &mut dyn Transport, data: &mut BytesMut, reader: Reader) {
        let (decoder, rest) = reader.into_rest();
        // Nothing can have come into `data` meanwhile.
        data.extend_from_slice(&rest);
        let budget = self.options.max_unread;
        match decoder.len() {
            Some(0) => {}
            Some(left) if left > budget as u64 => t.close(),
            _ => {
                self.unread = Some(Box::new(Unread { decoder, budget }));
                t.set_timeout(Some(self.options.head_timeout()));
            }
        }
    }
}

/// Takes the body of the request whose head is the first `len` bytes of `data`; if there is one, those
/// go to `bytes`.
fn take_body(
    t: &mut dyn Transport,
    data: &mut BytesMut,
    len: usize,
    head: &Head,
    bytes: &mut BytesMut,
    exchange: &mut Exchange,
) -> Body {
    let decoder = match head.framing {
        Framing::None => return Body::default(),
        Framing::Length(length) => Decoder::Length(length),
        Framing::Chunked => Decoder::Chunked(ChunkedDecoder::default()),
    };
    *bytes = data.split_to(len);
    if let Some(length) = decoder.len()
        && let Ok(length) = usize::try_from(length)
        && length <= data.len()
    {
        return Body::whole(data.split_to(length).freeze());
    }
    let mut reader = Reader::new(t.input(), decoder, data.split().freeze());
    if head.expects_continue {
        let expectation = Expectation::default();
        exchange.expects = Some(expectation.clone());
        reader.expect(expectation);
    }
    Body::streaming(reader)
}

/// Answers a request that cannot be read, and ends the connection: where the next one begins nobody
/// can tell.
fn refuse(
    t: &mut dyn Transport,
    scratch: &mut Scratch,
    is_head: bool,
    error: RequestError,
) -> BoxError {
    scratch.exchange.reset();
    scratch.exchange.is_head = is_head;
    scratch.exchange.closes = true;
    let responder = Responder::new(t, &mut scratch.exchange);
    responder.send_error(error.status(), &error.to_string());
    error.blame()
}

/// Ends a request, as its handler has returned.
fn conclude(t: &mut dyn Transport, exchange: &mut Exchange, result: Result) -> Result {
    match exchange.progress {
        Progress::Done | Progress::Switched if result.is_ok() => {
            if exchange.closes && exchange.progress == Progress::Done {
                t.close();
            }
            return Ok(());
        }
        Progress::None => {
            let error = result.err();
            let of_body = error.as_ref().and_then(|error| error.downcast_ref::<BodyError>());
            let (status, text) = match of_body {
                Some(error) => (error.status(), error.to_string()),
                None => (StatusCode::INTERNAL_SERVER_ERROR, "it could not be answered".to_owned()),
            };
            exchange.closes = true;
            let responder = Responder::new(t, exchange);
            responder.send_error(status, &text);
            return Err(error.map_or_else(|| "the handler has not answered".into(), blame));
        }
        Progress::BegunUntilClose => t.abort(),
        Progress::Begun | Progress::Done | Progress::Switched => {}
    }
    result.map_err(blame)?;
    Err("the handler has not finished its answer".into())
}

/// What is wrong with a body is the client's fault, and not of the handler that returns the error.
fn blame(error: BoxError) -> BoxError {
    error.downcast().map_or_else(|other| other, |error| BodyError::blame(*error))
}

/// Calls the handler. The future is part of every idle connection, and so no `async fn`.
fn call<'a, H: Handler>(
    handler: &'a mut H,
    request: Request<'a>,
    response: Responder<'a>,
) -> impl Future<Output = Result> + Send + 'a {
    date::enter(false);
    match caught(|| handler.handle(request, response)) {
        Ok(future) => Handling::Running { future, again: false },
        Err(error) => Handling::Failed { error: Some(error) },
    }
}

pin_project! {
    /// A handler at work. A panic in it becomes an error; the date of what it answers after it has
    /// waited is looked up then.
    #[project = Projected]
    enum Handling<F> {
        Running { #[pin] future: F, again: bool },
        Failed { error: Option<BoxError> },
    }
}

impl<F: Future<Output = Result>> Future for Handling<F> {
    type Output = Result;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result> {
        match self.project() {
            Projected::Running { future, again } => {
                date::enter(std::mem::replace(again, true));
                match caught(|| future.poll(cx)) {
                    Ok(polled) => polled,
                    Err(error) => Poll::Ready(Err(error)),
                }
            }
            Projected::Failed { error } => Poll::Ready(error.take().map_or(Ok(()), Err)),
        }
    }
}

/// Runs user code; a panic in it becomes an error.
fn caught<T>(code: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(code)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        format!("the handler panicked: {}", text.unwrap_or("without a text")).into()
    })
}

impl<H: Handler> Protocol for Http<H> {
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        t.set_timeout(Some(self.options.keep_alive()));
        Ok(())
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        date::refresh();
        let drains = t.is_draining();
        let mut scratch = Scratch::take();
        while !data.is_empty() && t.wants_data() {
            if !self.skip(t, data)? {
                break;
            }
            let len = match self.next_head(t, data, &mut scratch.head) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(error) => {
                    let is_head = data.starts_with(b"HEAD ");
                    return Err(refuse(t, &mut scratch, is_head, error));
                }
            };
            if scratch.head.expects_continue && t.queued() > 0 {
                t.drain().await?; // room for `100 Continue`
                date::refresh();
            }
            let Scratch { head, bytes, body, exchange } = &mut *scratch;
            head.describe(exchange, &data[..len]);
            exchange.closes |= drains;
            *body = Lent::new(take_body(t, data, len, head, bytes, exchange));
            let head_bytes = if bytes.is_empty() { &data[..len] } else { &bytes[..] };
            let request = Request::new(head, head_bytes, body);
            let result = call(&mut self.handler, request, Responder::new(t, exchange)).await;
            conclude(t, &mut scratch.exchange, result)?;
            if scratch.bytes.is_empty() {
                data.advance(len);
            } else {
                scratch.bytes = BytesMut::new();
            }
            match std::mem::take(&mut scratch.body).end() {
                BodyEnd::Whole => {}
                BodyEnd::Back(reader) => self.put_back(t, data, *reader),
                BodyEnd::Lost => t.close(), // nobody can tell where the next request begins
                BodyEnd::Elsewhere(back) => match back.await {
                    Ok(reader) => {
                        date::refresh();
                        self.put_back(t, data, reader);
                    }
                    Err(_) => t.close(), // likewise
                },
            }
        }
        scratch.give_back();
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.close();
        if self.unread.is_some() || data.is_empty() {
            return Ok(());
        }
        Err(RequestError::bad("input ended inside of a request").blame())
    }

    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        let keep_alive = self.options.keep_alive();
        if self.unread.is_some() {
            t.close();
        } else if self.hurries {
            date::refresh();
            let status = StatusCode::REQUEST_TIMEOUT;
            let error = RequestError::new(status, "the head of the request came too slowly");
            return Err(refuse(t, &mut Scratch::take(), false, error));
        } else if let Some(left) = keep_alive.checked_sub(t.idle())
            && !left.is_zero()
        {
            t.set_timeout(Some(left));
        } else {
            t.close();
        }
        Ok(())
    }
}
