//! [`Body`]: the body of a request, read as it comes.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use netframe_core::{ConnectionId, Input};
use tokio::sync::oneshot;

use super::chunked::{ChunkedDecoder, Decoded};
use super::error::{BodyError, RequestError};

/// The body of a request, read as it comes: nothing is read before it is asked for.
///
/// It may go to another task; the connection serves its next request once it is dropped. Take it by
/// [`Request::into_body`](super::Request::into_body): when another one is put in its place, the
/// connection closes behind the answer.
#[derive(Debug, Default)]
pub struct Body(Kind);

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Empty,
    /// All of it has come.
    Whole(Bytes),
    Streaming(Streaming),
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }

    /// A body that is read as it comes.
    pub(super) fn streaming(reader: Reader) -> Self {
        let reader = Some(Box::new(reader));
        Self(Kind::Streaming(Streaming { reader, back: None, told_trailers: false }))
    }

    /// The connection from which it is read, if something of it is.
    fn connection(&self) -> Option<ConnectionId> {
        match &self.0 {
            Kind::Streaming(streaming) => Some(streaming.reader.as_ref()?.input.handle().id()),
            Kind::Empty | Kind::Whole(_) => None,
        }
    }

    /// The next piece, never empty; `None` at the end. After an error the same error kind comes again.
    ///
    /// It is a piece of a larger buffer: what is to be kept for long should be copied.
    ///
    /// # Errors
    ///
    /// The body is malformed, too slow, or cut off. A handler that returns the error has it answered
    /// with its [`status`](BodyError::status), unless an answer has begun.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// As [`chunk`](Self::chunk); the task of the last call is woken.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk).
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(Ok(None)),
            Kind::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Ok(Some(bytes)))
            }
            Kind::Streaming(streaming) => match &mut streaming.reader {
                Some(reader) => reader.poll_chunk(cx),
                None => Poll::Ready(Ok(None)),
            },
        }
    }

    /// All that is left of it.
    ///
    /// # Errors
    ///
    /// There are more than `max` bytes: nothing more is read then; or as [`chunk`](Self::chunk).
    ///
    /// # Cancel safety
    ///
    /// What a dropped future had read is lost.
    pub fn collect(&mut self, max: usize) -> impl Future<Output = Result<Bytes, BodyError>> + Send {
        let mut all = Collected::default();
        // Not an `async fn`: those who await it are part of every idle connection.
        poll_fn(move |cx| {
            if self.len().is_some_and(|len| len > (max - all.len()) as u64) {
                return Poll::Ready(Err(BodyError::TooLarge { max }));
            }
            while let Some(chunk) = ready!(self.poll_chunk(cx))? {
                if chunk.len() > max - all.len() {
                    return Poll::Ready(Err(BodyError::TooLarge { max }));
                }
                all.push(chunk);
            }
            Poll::Ready(Ok(std::mem::take(&mut all).into_bytes()))
        })
    }

    /// How many bytes are left, or `None` where only its end will tell.
    pub fn len(&self) -> Option<u64> {
        match &self.0 {
            Kind::Empty => Some(0),
            Kind::Whole(bytes) => Some(bytes.len() as u64),
            Kind::Streaming(streaming) => streaming.reader.as_ref()?.decoder.len(),
        }
    }

    /// Whether nothing is left, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The trailers, if there are any, once.
    #[cfg(feature = "tower")]
    pub(super) fn take_trailers(&mut self) -> Option<HeaderMap> {
        let Kind::Streaming(streaming) = &mut self.0 else { return None };
        if std::mem::replace(&mut streaming.told_trailers, true) {
            return None;
        }
        Some(self.trailers()).filter(|trailers| !trailers.is_empty())
    }

    /// The fields behind a chunked body, once it has been read to its end; none otherwise.
    pub fn trailers(&self) -> HeaderMap {
        match &self.0 {
            Kind::Streaming(Streaming { reader: Some(reader), .. }) => reader.decoder.trailers(),
            _ => HeaderMap::new(),
        }
    }
}

/// A body that is given back when it is dropped.
#[derive(Debug)]
struct Streaming {
    reader: Option<Box<Reader>>,
    back: Option<oneshot::Sender<Reader>>,
    #[cfg_attr(not(feature = "tower"), expect(dead_code, reason = "frames are of tower"))]
    told_trailers: bool,
}

impl Drop for Streaming {
    fn drop(&mut self) {
        if let (Some(reader), Some(back)) = (self.reader.take(), self.back.take()) {
            // The connection may be gone.
            let _ = back.send(*reader);
        }
    }
}

/// Pieces of a body; the first one is not copied, as it is mostly the only one.
#[derive(Debug)]
enum Collected {
    One(Bytes),
    Many(BytesMut),
}

impl Default for Collected {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Collected {
    fn len(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, chunk: Bytes) {
        match self {
            Self::One(first) if first.is_empty() => *first = chunk,
            Self::One(first) => {
                let mut all = BytesMut::from(&first[..]);
                all.extend_from_slice(&chunk);
                *self = Self::Many(all);
            }
            Self::Many(all) => all.extend_from_slice(&chunk),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

/// A body that is lent to a handler, which may take it away.
#[derive(Debug, Default)]
pub(super) struct Lent {
    body: Body,
    /// The connection from which something of it is still to be read.
    streams: Option<ConnectionId>,
    back: Option<oneshot::Receiver<Reader>>,
}

impl Lent {
    pub(super) fn new(body: Body) -> Self {
        let streams = body.connection();
        Self { body, streams, back: None }
    }

    pub(super) fn get_mut(&mut self) -> &mut Body {
        &mut self.body
    }

    /// The body, to be kept; what reads it will come back.
    pub(super) fn take(&mut self) -> Body {
        if let Kind::Streaming(streaming) = &mut self.body.0 {
            let (back, receiver) = oneshot::channel();
            streaming.back = Some(back);
            self.back = Some(receiver);
        }
        std::mem::take(&mut self.body)
    }

    /// What has become of it, once the handler has returned.
    pub(super) fn end(self) -> BodyEnd {
        let Self { mut body, streams, back } = self;
        if let Some(back) = back {
            return BodyEnd::Elsewhere(back);
        }
        if streams.is_none() {
            return BodyEnd::Whole;
        }
        let is_own = body.connection() == streams;
        match &mut body.0 {
            Kind::Streaming(Streaming { reader, back: None, .. }) if is_own => {
                reader.take().map_or(BodyEnd::Lost, BodyEnd::Back)
            }
            _ => BodyEnd::Lost,
        }
    }
}

/// What has become of a body that was lent.
pub(super) enum BodyEnd {
    /// Nothing of it was left on the connection.
    Whole,
    /// This reads the rest.
    Back(Box<Reader>),
    /// What reads the rest will come back.
    Elsewhere(oneshot::Receiver<Reader>),
    /// Another body was put in its place: what it has left on the connection nobody can tell.
    Lost,
}

/// Reads and decodes a body.
pub(super) struct Reader {
    input: Input,
    decoder: Decoder,
    /// What has come and is not decoded; what is left at the end belongs to the next request.
    buffer: Bytes,
    expects: Option<Expectation>,
}

impl Reader {
    pub(super) fn new(input: Input, decoder: Decoder, buffer: Bytes) -> Self {
        Self { input, decoder, buffer, expects: None }
    }

    /// The client waits for `100 Continue` before it sends the body.
    pub(super) fn expect(&mut self, expectation: Expectation) {
        self.expects = Some(expectation);
    }

    pub(super) fn into_rest(self) -> (Decoder, Bytes) {
        (self.decoder, self.buffer)
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            let (framing, decoded) = self.decoder.decode(&self.buffer)?;
            self.buffer.advance(framing);
            match decoded {
                Decoded::Data(len) => return Poll::Ready(Ok(Some(self.buffer.split_to(len)))),
                Decoded::End => return Poll::Ready(Ok(None)),
                Decoded::More => {}
            }
            if let Some(expectation) = self.expects.take() {
                let line = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");
                // Room was made before the handler was called.
                expectation.go_on(|| drop(self.input.handle().try_write(line)));
            }
            self.buffer = ready!(self.input.poll_read(cx))?;
            if self.buffer.is_empty() {
                return Poll::Ready(Err(BodyError::UnexpectedEof));
            }
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("decoder", &self.decoder).finish_non_exhaustive()
    }
}

/// Tells the body from what is around it.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes are left.
    Length(u64),
    Chunked(ChunkedDecoder),
}

impl Decoder {
    /// As [`ChunkedDecoder::decode`].
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<(usize, Decoded), RequestError> {
        match self {
            Self::Length(0) => Ok((0, Decoded::End)),
            Self::Length(_) if input.is_empty() => Ok((0, Decoded::More)),
            Self::Length(left) => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= len as u64;
                Ok((0, Decoded::Data(len)))
            }
            Self::Chunked(decoder) => decoder.decode(input),
        }
    }

    /// How many bytes are left, where that is known.
    pub(super) fn len(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(decoder) => decoder.is_done().then_some(0),
        }
    }

    fn trailers(&self) -> HeaderMap {
        match self {
            Self::Length(_) => HeaderMap::new(),
            Self::Chunked(decoder) => decoder.trailers(),
        }
    }
}

/// That a client waits for `100 Continue` (RFC 9110, section 10.1.1), for both who may end it: who
/// reads the body and who answers, perhaps in two tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Expectation(Arc<Mutex<Ended>>);

/// Who has ended it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ended {
    #[default]
    Not,
    ByReading,
    ByAnswer,
}

impl Expectation {
    /// The body is wanted: `tell` says so, unless an answer has begun. None begins meanwhile, as what
    /// is told behind one would be taken for the next.
    fn go_on(&self, tell: impl FnOnce()) {
        let mut ended = self.lock();
        if *ended == Ended::Not {
            *ended = Ended::ByReading;
            tell();
        }
    }

    /// The response begins; true if the body was not asked for, so that it may come or not.
    pub(super) fn answer(&self) -> bool {
        let mut ended = self.lock();
        if *ended == Ended::Not {
            *ended = Ended::ByAnswer;
        }
        *ended == Ended::ByAnswer
    }

    fn lock(&self) -> MutexGuard<'_, Ended> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_begins_while_the_client_is_told_to_go_on() {
        let expectation = Expectation::default();
        let mut told = 0;
        expectation.go_on(|| {
            told += 1;
            assert!(expectation.0.try_lock().is_err(), "an answer would go first");
        });
        expectation.go_on(|| told += 1);
        assert!(!expectation.answer() && told == 1);
        let expectation = Expectation::default();
        assert!(expectation.answer() && expectation.answer());
        expectation.go_on(|| panic!("it has been answered"));
    }
}
