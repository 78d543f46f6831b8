//! Services that say one thing to whoever comes: `daytime` (RFC 867), `time` (RFC 868) and `qotd`, the
//! quote of the day (RFC 865).

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::{ConnectionInfo, Factory, Needs, Protocol, Result, Transport};
use serde::{Deserialize, Serialize};

/// A factory of the service `daytime`: the date and time in UTC as text, as in
/// `Sun, 06 Nov 1994 08:49:37 GMT`, then the end.
///
/// Over UDP each datagram is answered. A first one of less than eleven bytes gets the answer only when
/// another one follows: until then a peer is sent at most three times what it sent.
///
/// ```no_run
/// # async fn run() -> netframe_core::Result {
/// use netframe_core::Server;
///
/// let server = Server::bind("tcp://127.0.0.1:7013", netframe_protocols::daytime()).await?;
/// # Ok(())
/// # }
/// ```
pub fn daytime() -> impl Factory {
    |_: &ConnectionInfo| Answering(Daytime)
}

/// A factory of the service `time`: the seconds since 1900 in UTC, as four bytes in the order of
/// networks, then the end. They begin anew in 2036.
///
/// Over UDP each datagram is answered. A first one of less than two bytes, such as the empty one that
/// the RFC asks for, gets the answer only when another one follows, as with [`daytime`].
pub fn time() -> impl Factory {
    |_: &ConnectionInfo| Answering(Time)
}

/// A factory of the service `qotd`: the quote of the day, then the end.
///
/// Only over streams: over UDP it would answer whoever is named as the sender with more than it was
/// sent, as which it is used in attacks. [`qotd_datagrams`] is for who means it.
///
/// ```
/// use netframe_protocols::{QotdOptions, qotd};
///
/// let mut options = QotdOptions::default();
/// options.quotes = vec!["Be liberal in what you read, and strict in what you parse.".into()];
/// let factory = qotd(options)?;
/// # Ok::<(), netframe_protocols::QotdError>(())
/// ```
///
/// # Errors
///
/// There is no quote, or one that is too long.
pub fn qotd(options: QotdOptions) -> Result<impl Factory, QotdError> {
    let quotes = Quotes::new(&options)?;
    Ok(move |_: &ConnectionInfo| Answering(quotes.clone()))
}

/// As [`qotd`], over datagrams too: each is answered with the quote.
///
/// It multiplies what somebody sends in the name of another, as
/// [`chargen_datagrams`](crate::chargen_datagrams) does: serve it only where nobody can. A first datagram
/// of less than a third of the quote gets it only when another one follows.
///
/// # Errors
///
/// As [`qotd`].
pub fn qotd_datagrams(options: QotdOptions) -> Result<impl Factory, QotdError> {
    let quotes = Quotes::new(&options)?;
    Ok(move |_: &ConnectionInfo| Answering(Amplified(quotes.clone())))
}

/// What [`qotd`] says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QotdOptions {
    /// One is for each day in UTC, in turn. Each has at most 510 bytes; CR and LF are put behind it.
    pub quotes: Vec<String>,
}

impl Default for QotdOptions {
    /// The first of RFC 1925.
    fn default() -> Self {
        Self { quotes: vec!["It has to work. (RFC 1925)".into()] }
    }
}

/// Quotes that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QotdError {
    /// There is nothing to say.
    #[error("`quotes` is empty; set at least one")]
    NoQuote,
    /// RFC 865 allows for 512 bytes, the end of the line included.
    #[error("quote {number} has {len} bytes; shorten it to {MAX_QUOTE}")]
    TooLong {
        /// Which one, from 1 on.
        number: usize,
        /// Bytes that it has.
        len: usize,
    },
}

const MAX_QUOTE: usize = 510;
const DAY: u64 = 24 * 60 * 60;

/// What a service says.
trait Answer: Send + 'static {
    const NEEDS: Needs;

    fn answer(&self, now: SystemTime) -> Bytes;
}

/// Says it: over a stream at once, and to each datagram.
struct Answering<A>(A);

impl<A: Answer> Answering<A> {
    fn answer(&self, t: &mut dyn Transport) {
        t.write_bytes(self.0.answer(SystemTime::now()));
    }
}

impl<A: Answer> Protocol for Answering<A> {
    const NEEDS: Needs = A::NEEDS;

    fn connection_made(&mut self, t: &mut dyn Transport) -> impl Future<Output = Result> + Send {
        if !t.info().is_datagram() {
            self.answer(t);
            t.close();
        }
        ready(Ok(()))
    }

    fn data_received(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        data.clear();
        self.answer(t);
        ready(Ok(()))
    }
}

struct Daytime;

impl Answer for Daytime {
    const NEEDS: Needs = Needs::Any;

    fn answer(&self, now: SystemTime) -> Bytes {
        // A clock can be set to before 1970, and after 9999; the text cannot say so.
        let latest = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        format!("{}\r\n", httpdate::fmt_http_date(now.clamp(UNIX_EPOCH, latest))).into()
    }
}

struct Time;

impl Answer for Time {
    const NEEDS: Needs = Needs::Any;

    fn answer(&self, now: SystemTime) -> Bytes {
        const FROM_1900_TO_1970: u64 = 2_208_988_800;
        let seconds = unix_seconds(now).wrapping_add(FROM_1900_TO_1970);
        Bytes::copy_from_slice(&seconds.to_be_bytes()[4..])
    }
}

#[derive(Clone)]
struct Quotes(Arc<[Bytes]>);

impl Quotes {
    fn new(options: &QotdOptions) -> Result<Self, QotdError> {
        if options.quotes.is_empty() {
            return Err(QotdError::NoQuote);
        }
        let lengths = options.quotes.iter().map(String::len).enumerate();
        if let Some((at, len)) = lengths.into_iter().find(|(_, len)| *len > MAX_QUOTE) {
            return Err(QotdError::TooLong { number: at + 1, len });
        }
        Ok(Self(options.quotes.iter().map(|quote| format!("{quote}\r\n").into()).collect()))
    }
}

impl Answer for Quotes {
    const NEEDS: Needs = Needs::Stream;

    fn answer(&self, now: SystemTime) -> Bytes {
        let day = unix_seconds(now) / DAY;
        self.0[(day % self.0.len() as u64) as usize].clone()
    }
}

/// Quotes for datagrams too.
struct Amplified(Quotes);

impl Answer for Amplified {
    const NEEDS: Needs = Needs::Any;

    fn answer(&self, now: SystemTime) -> Bytes {
        self.0.answer(now)
    }
}

fn unix_seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use netframe_core::testing::{Harness, replay};
    use netframe_core::{CloseKind, Side};

    use super::*;

    #[test]
    fn the_time_of_day_is_text() {
        let text = |seconds| Daytime.answer(at(seconds));
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT\r\n");
        assert_eq!(text(253_402_300_800), "Fri, 31 Dec 9999 23:59:59 GMT\r\n");
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Daytime.answer(before), text(0));
    }

    #[test]
    fn seconds_are_counted_from_1900_and_begin_anew() {
        // The examples of RFC 868.
        for (unix, seconds) in [(0, 2_208_988_800), (2_398_291_200 - 2_208_988_800, 2_398_291_200)]
        {
            assert_eq!(Time.answer(at(unix)), u32::to_be_bytes(seconds)[..]);
        }
        assert_eq!(Time.answer(at((1 << 32) - 2_208_988_800 - 1)), [255; 4][..]);
        assert_eq!(Time.answer(at((1 << 32) - 2_208_988_800)), [0; 4][..]);
    }

    #[test]
    fn each_day_has_its_quote() {
        let quotes = quotes(&["one", "two", "three"]).unwrap();
        let day = |day| quotes.answer(at(day * DAY + 5));
        assert_eq!(day(0), "one\r\n");
        assert_eq!(quotes.answer(at(DAY - 1)), "one\r\n");
        assert_eq!([day(1), day(2), day(3)], ["two\r\n", "three\r\n", "one\r\n"]);
    }

    #[test]
    fn impossible_quotes_are_refused() {
        assert_eq!(quotes(&[]).err(), Some(QotdError::NoQuote));
        let (fits, long) = ("x".repeat(510), "x".repeat(511));
        assert!(quotes(&[&fits]).is_ok());
        let error = quotes(&[&fits, &long]).err();
        assert_eq!(error, Some(QotdError::TooLong { number: 2, len: 511 }));
        assert_eq!(error.unwrap().to_string(), "quote 2 has 511 bytes; shorten it to 510");
    }

    #[test]
    fn a_stream_is_answered_once_and_closed() {
        for wire in [&b""[..], b"whatever is sent"] {
            let seen = replay(wire, || Answering(quotes(&["one"]).unwrap()));
            assert_eq!(seen.written, b"one\r\n");
            assert_eq!(seen.ended, Some((Side::Local, CloseKind::Closed)));
        }
    }

    #[test]
    fn quotes_answer_datagrams_only_if_that_is_meant() {
        assert_eq!(Answering::<Quotes>::NEEDS, Needs::Stream);
        let quotes = || Amplified(quotes(&["one"]).unwrap());
        let mut peer = Harness::datagrams(Answering(quotes()));
        peer.receive(b"");
        assert_eq!(peer.take_sent().len(), 0, "three times nothing");
        peer.receive(b"whatever");
        let sent: Vec<_> = peer.take_sent().into_iter().map(|sent| sent.data).collect();
        assert_eq!(sent, ["one\r\n", "one\r\n"]);
        assert_eq!(replay(b"", || Answering(quotes())).written, b"one\r\n");
    }

    #[test]
    fn each_datagram_is_answered() {
        let mut peer = Harness::datagrams(Answering(Time));
        assert_eq!(peer.take_sent().len(), 0);
        peer.receive(b"now?");
        peer.receive(b"");
        let sent: Vec<_> = peer.take_sent().into_iter().map(|sent| sent.data.len()).collect();
        assert_eq!(sent, [4, 4]);
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn quotes(quotes: &[&str]) -> Result<Quotes, QotdError> {
        let quotes = quotes.iter().map(|quote| (*quote).to_owned()).collect();
        Quotes::new(&QotdOptions { quotes })
    }
}
