//! [`Expect`]: a dialogue with a device or a program that was made for people. Sends lines, and waits for
//! what shows that it is time for the next one; over any endpoint, with Telnet or without.
//!
//! ```
//! # use netframe_core::{ConnectionInfo, Result, Server};
//! # use netframe_core::bytes::BytesMut;
//! # use netframe_protocols::line::{LineProtocol, LineTransport, Lines};
//! # use netframe_protocols::telnet::{Plain, Telnet};
//! use netframe_protocols::expect::{Expect, Pattern};
//! use netframe_protocols::telnet::TelnetSettings;
//! # struct Device;
//! # impl LineProtocol for Device {
//! #     async fn connection_made(&mut self, t: &mut LineTransport<'_>) -> Result {
//! #         t.write(b"router login: ");
//! #         Ok(())
//! #     }
//! #     async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
//! #         t.write(match line {
//! #             b"show version" => b"release 7.2\r\nrouter> ",
//! #             _ => b"welcome\r\nrouter> ",
//! #         });
//! #         Ok(())
//! #     }
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result {
//! # let device = |_: &ConnectionInfo| Telnet::server(Plain(Lines::new(Device)));
//! # let server = Server::bind("mem://router", device).await?;
//! // Or tcp://, unix://, and without `telnet` for what does not speak it.
//! let mut router = Expect::connect("mem://router").await?.telnet(TelnetSettings::client());
//! router.expect("login: ").await?;
//! router.send_line("ada").await?;
//! router.expect("router> ").await?;
//! router.send_line("show version").await?;
//! let version = router.expect(Pattern::regex(r"release (\S+)\r\n")?).await?;
//! assert_eq!(version.group(1), Some(&b"7.2"[..]));
//! # drop(router);
//! # server.shutdown(std::time::Duration::from_secs(9)).await;
//! # Ok(())
//! # }
//! ```

mod error;
mod found;
mod pattern;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use netframe_core::bytes::{Buf, Bytes, BytesMut};
use netframe_core::{Endpoint, Error, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

pub use self::error::ExpectError;
use self::error::tail;
pub use self::found::Match;
pub use self::pattern::Pattern;
use crate::telnet::{Notice, Session, TelnetError, TelnetSettings};

/// Time for each call unless said otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that are kept unless said otherwise: 1 MiB, more than most devices say between two prompts.
const DEFAULT_MAX_BUFFER: usize = 1024 * 1024;

/// Bytes of one read.
const READ: usize = 8 * 1024;

/// Reads after which others have their turn.
const READS: u32 = 16;

/// Bytes of answers that may wait to be sent: a peer that negotiates and does not read is then not read
/// from.
const MAX_REPLIES: usize = 64 * 1024;

/// A dialogue over a [`Stream`], or any other stream of tokio.
///
/// What arrives is kept until a call takes it: [`expect`](Self::expect) takes what it matched and all
/// before, and leaves what is behind. Nothing else is dropped; more than
/// [`max_buffer`](Self::max_buffer) is an error.
pub struct Expect<S = Stream> {
    io: S,
    telnet: Option<Box<Session>>,
    /// Telnet that is no text yet: a part of a command.
    wire: BytesMut,
    buffer: BytesMut,
    /// What is to be sent, and the length at which no more is read that may have to be answered.
    out: BytesMut,
    max_out: usize,
    /// Something was written since the last flush.
    is_unflushed: bool,
    is_ended: bool,
    /// Since others had their turn.
    reads: u32,
    /// What the peer sent behind all that is kept, and is no Telnet.
    broken: Option<TelnetError>,
    timeout: Duration,
    max_buffer: usize,
    line_end: Bytes,
}

impl Expect {
    /// Connects to `endpoint`, with default limits; for others see [`over`](Self::over).
    ///
    /// The limits of every connection hold, such as the idle timeout of 5 min.
    ///
    /// # Errors
    ///
    /// As [`Stream::connect`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn connect<E>(endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        Stream::connect(endpoint).await.map(Self::over)
    }
}

impl<S> Expect<S> {
    /// A dialogue over a stream: one of [`Stream::builder`] with limits of its own, the terminal of a
    /// program, a serial line.
    pub fn over(io: S) -> Self {
        Self {
            io,
            telnet: None,
            wire: BytesMut::new(),
            buffer: BytesMut::new(),
            out: BytesMut::new(),
            max_out: MAX_REPLIES,
            is_unflushed: false,
            is_ended: false,
            reads: 0,
            broken: None,
            timeout: DEFAULT_TIMEOUT,
            max_buffer: DEFAULT_MAX_BUFFER,
            line_end: Bytes::from_static(b"\n"),
        }
    }

    /// Speaks Telnet below: what arrives is its text, what is sent is made text of, and options are
    /// answered as the settings say, as long as a call waits.
    ///
    /// [`TelnetSettings::client`] takes SUPPRESS-GO-AHEAD and ECHO, which cost nothing here, and refuses
    /// all others. Lines then end with CR LF in what arrives, and what `\n` is sent as.
    pub fn telnet(mut self, settings: impl Into<Arc<TelnetSettings>>) -> Self {
        self.telnet = Some(Box::new(Session::new(settings.into())));
        self
    }

    /// Time for each call to find what it waits for, or to send. Default 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.set_timeout(timeout);
        self
    }

    /// As [`timeout`](Self::timeout), for the calls from now on.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Bytes that are kept while nothing matches. Default 1 MiB. No more than this is read, and it is
    /// all that a dialogue costs besides some KiB.
    pub fn max_buffer(mut self, max_buffer: usize) -> Self {
        self.max_buffer = max_buffer;
        self
    }

    /// What [`send_line`](Self::send_line) adds. Default LF, which Telnet sends as CR LF; without it,
    /// some devices want `"\r\n"`, and serial lines `"\r"`.
    pub fn line_end(mut self, line_end: impl AsRef<[u8]>) -> Self {
        self.line_end = Bytes::copy_from_slice(line_end.as_ref());
        self
    }

    /// What has arrived, and no call has taken.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer
    }

    /// Takes what has arrived, whatever it is.
    pub fn take(&mut self) -> Bytes {
        self.buffer.split().freeze()
    }

    /// The stream below. What was read from it is [`buffered`](Self::buffered) here, or of Telnet a part
    /// of a command.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// The stream, and what had arrived.
    pub fn into_inner(self) -> (S, Bytes) {
        (self.io, self.buffer.freeze())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Expect<S> {
    /// Sends `data`, and reads meanwhile, so that a device that echoes does not wait.
    ///
    /// # Errors
    ///
    /// The peer does not take it in time, or the connection fails.
    ///
    /// # Cancel safety
    ///
    /// Once the future has been polled all of it is sent once, whether or not it is dropped then: what
    /// has not left goes out with the next call. One that was never polled sends nothing.
    pub async fn send(&mut self, data: impl AsRef<[u8]>) -> Result<(), ExpectError> {
        self.queue(&[data.as_ref()]);
        self.send_queued().await
    }

    /// Sends `line` and its [end](Self::line_end).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub async fn send_line(&mut self, line: impl AsRef<[u8]>) -> Result<(), ExpectError> {
        let line_end = self.line_end.clone();
        self.queue(&[line.as_ref(), &line_end]);
        self.send_queued().await
    }

    /// Waits until `pattern` matches what has arrived; takes the match and all before it.
    ///
    /// # Errors
    ///
    /// It does not come in time, the input ends first, or there are more bytes than are kept: in any
    /// case these are kept. Or the connection fails.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing: the next call looks at the same bytes.
    pub async fn expect(&mut self, pattern: impl Into<Pattern>) -> Result<Match, ExpectError> {
        self.expect_any([pattern]).await
    }

    /// Waits until one of the patterns matches; the one whose match begins earliest is taken, and of
    /// several there the first in the list.
    ///
    /// It is decided by what has come: a pattern that could still match earlier is not waited for.
    /// A literal looks at each byte once; a regular expression looks at all that is kept with each
    /// read, so that one is best over no more than some 100 KiB.
    ///
    /// # Errors
    ///
    /// As [`expect`](Self::expect).
    ///
    /// # Cancel safety
    ///
    /// As [`expect`](Self::expect).
    pub async fn expect_any<P: Into<Pattern>>(
        &mut self,
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Match, ExpectError> {
        let patterns: Vec<Pattern> = patterns.into_iter().map(Into::into).collect();
        let found = timeout(self.timeout, self.search(&patterns)).await;
        let waited_for = || list(&patterns);
        match found {
            Ok(Ok((index, range))) => Ok(self.take_match(&patterns[index], index, range)),
            Ok(Err(stop)) => Err(self.error(stop, waited_for())),
            Err(_) => Err(self.error(Stop::Timeout, waited_for())),
        }
    }

    /// Waits until the peer ends its sending side, and takes all that came before.
    ///
    /// # Errors
    ///
    /// As [`expect`](Self::expect).
    ///
    /// # Cancel safety
    ///
    /// As [`expect`](Self::expect).
    pub async fn expect_eof(&mut self) -> Result<Bytes, ExpectError> {
        match timeout(self.timeout, self.search(&[])).await {
            Ok(Ok(_) | Err(Stop::Eof)) => Ok(self.take()),
            Ok(Err(stop)) => Err(self.error(stop, "the end of input".into())),
            Err(_) => Err(self.error(Stop::Timeout, "the end of input".into())),
        }
    }

    /// Sends what is left and ends the sending side.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// It may have ended or not; another call ends it.
    pub async fn shutdown(&mut self) -> Result<(), ExpectError> {
        self.send_queued().await?;
        let ended = poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx));
        match timeout(self.timeout, ended).await {
            Ok(ended) => Ok(ended?),
            Err(_) => Err(ExpectError::Unsent { len: 0, timeout: self.timeout }),
        }
    }

    /// Which of the patterns matches first, and where.
    async fn search(&mut self, patterns: &[Pattern]) -> Result<(usize, Range<usize>), Stop> {
        let mut scanned = vec![0; patterns.len()];
        loop {
            let found = patterns.iter().zip(&mut scanned).enumerate().filter_map(
                |(index, (pattern, scanned))| Some((index, pattern.find(&self.buffer, scanned)?)),
            );
            // Of several the first is the least.
            if let Some(found) = found.min_by_key(|(_, range)| range.start) {
                self.send_answers().await;
                return Ok(found);
            }
            if let Some(error) = self.broken {
                return Err(Stop::Failed(error.into()));
            }
            if self.is_ended {
                return Err(Stop::Eof);
            }
            if self.room() == 0 {
                return Err(Stop::TooLong);
            }
            poll_fn(|cx| {
                // Whether or not it leaves, there may be something to read.
                if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                    return Poll::Ready(Err(error));
                }
                if self.reads >= READS {
                    return self.rest(cx);
                }
                self.poll_receive(cx)
            })
            .await
            .map_err(|error| Stop::Failed(error.into()))?;
        }
    }

    /// Has answers leave as far as the peer takes them; an error is told by the next call.
    async fn send_answers(&mut self) {
        let _ = poll_fn(|cx| Poll::Ready(self.poll_send(cx))).await;
    }

    /// Lets others have their turn, and the deadline: a stream may always have something to read.
    fn rest<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.reads = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn take_match(&mut self, pattern: &Pattern, index: usize, range: Range<usize>) -> Match {
        let groups = pattern.groups(&self.buffer, range.clone());
        let bytes = self.buffer.split_to(range.end).freeze();
        Match::new(index, range.start, groups, bytes)
    }

    fn queue(&mut self, parts: &[&[u8]]) {
        match &self.telnet {
            Some(session) => session.encode(parts, &mut self.out),
            None => parts.iter().for_each(|part| self.out.extend_from_slice(part)),
        }
        self.max_out = self.out.len() + MAX_REPLIES;
    }

    async fn send_queued(&mut self) -> Result<(), ExpectError> {
        let limit = self.timeout;
        let sent = poll_fn(|cx| {
            loop {
                if let Poll::Ready(sent) = self.poll_send(cx) {
                    return Poll::Ready(sent.map_err(ExpectError::Io));
                }
                if self.is_ended || self.broken.is_some() || self.room() == 0 {
                    return Poll::Pending;
                }
                if self.reads >= READS {
                    return self.rest(cx);
                }
                ready!(self.poll_receive(cx))?;
            }
        });
        match timeout(limit, sent).await {
            Ok(sent) => sent,
            Err(_) => Err(ExpectError::Unsent { len: self.out.len(), timeout: limit }),
        }
    }

    /// Sends what is to be sent. After an error that is nothing.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = Pin::new(&mut self.io);
        while !self.out.is_empty() {
            let written = match ready!(io.as_mut().poll_write(cx, &self.out)) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                written => written,
            };
            match written {
                Ok(len) => self.out.advance(len),
                Err(error) => {
                    self.out.clear();
                    return Poll::Ready(Err(error));
                }
            }
            self.is_unflushed = true;
        }
        self.max_out = MAX_REPLIES;
        if self.is_unflushed {
            ready!(io.poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, no more than there is room for.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.len() > self.max_out {
            return Poll::Pending; // `poll_send` wakes
        }
        let mut bytes = [0; READ];
        let mut read = ReadBuf::new(&mut bytes[..READ.min(self.room())]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        self.reads += 1;
        self.is_ended = read.filled().is_empty();
        if self.telnet.is_some() {
            self.wire.extend_from_slice(read.filled());
            self.broken = self.decode().err();
        } else {
            self.buffer.extend_from_slice(read.filled());
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the text out of what arrived, and answers the rest.
    fn decode(&mut self) -> Result<(), TelnetError> {
        let Some(session) = &mut self.telnet else { return Ok(()) };
        let mut out = |bytes: &[u8]| self.out.extend_from_slice(bytes);
        while let Some(event) = session.next_event(&mut self.wire)? {
            if let Some(Notice::Text(text)) = session.receive(event, &mut out)? {
                self.buffer.extend_from_slice(&text);
            }
        }
        Ok(())
    }

    fn room(&self) -> usize {
        self.max_buffer.saturating_sub(self.buffer.len())
    }

    fn error(&self, stop: Stop, waited_for: String) -> ExpectError {
        let tail = tail(&self.buffer);
        match stop {
            Stop::Timeout => ExpectError::Timeout { waited_for, timeout: self.timeout, tail },
            Stop::Eof => ExpectError::Eof { waited_for, tail },
            Stop::TooLong => ExpectError::TooLong { waited_for, max_buffer: self.max_buffer, tail },
            Stop::Failed(error) => error,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Expect<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expect").field("io", &self.io).finish_non_exhaustive()
    }
}

/// Why a search ends without a match.
enum Stop {
    Timeout,
    Eof,
    TooLong,
    Failed(ExpectError),
}

/// Patterns as an error tells them.
fn list(patterns: &[Pattern]) -> String {
    let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    patterns.join(" or ")
}
