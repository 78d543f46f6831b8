//! The head of a request: where it ends, and what is in it, as offsets into one buffer. Nothing is
//! copied, and nothing but what decides about the framing is looked at.

use std::mem::MaybeUninit;
use std::ops::Range;

use http::{StatusCode, Version};
use memchr::memchr_iter;

use super::HttpOptions;
use super::error::RequestError;
use super::fields::{self, Field, Framing};
use super::response::Exchange;
use super::target;

/// Fields that a head may have at most, whatever the options say.
pub(super) const MAX_FIELDS: usize = 128;

/// Bytes that a head may have at most, whatever the options say: offsets have 16 bits.
pub(super) const MAX_HEAD: usize = u16::MAX as usize;

/// Looks for the end of a head in bytes that come in pieces; each byte is looked at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scanner {
    scanned: u16,
    /// The request line is complete.
    has_line: bool,
    /// An empty line came before it.
    has_skipped: bool,
}

impl Scanner {
    /// Whether an empty line in front of the request may be skipped: only one may.
    pub(super) fn skip_empty_line(&mut self) -> bool {
        !std::mem::replace(&mut self.has_skipped, true)
    }

    /// The length of the head that `data` begins with, or `None` if its end has not come.
    ///
    /// # Errors
    ///
    /// It is too long, or a line in it ends otherwise than with CRLF.
    pub(super) fn scan(
        &mut self,
        data: &[u8],
        options: &HttpOptions,
    ) -> Result<Option<usize>, RequestError> {
        let end = data.len().min(options.max_head);
        let from = usize::from(self.scanned);
        let max_line = options.max_target + LINE_BESIDE_TARGET;
        for lf in memchr_iter(b'\n', &data[from..end]).map(|at| from + at) {
            if !self.has_line && lf >= max_line {
                return Err(TARGET_TOO_LONG);
            }
            match data[..lf] {
                // RFC 9112, section 2.2: a lone LF may end a line; where it does for one and does
                // not for the next, one of them sees another request.
                [] | [.., 0..=12 | 14..] => return Err(BARE_LF),
                [.., b'\n', b'\r'] => {
                    *self = Self::default();
                    return Ok(Some(lf + 1));
                }
                _ => {}
            }
            if !self.has_line {
                check_line(&data[..lf - 1], options)?;
                self.has_line = true;
            }
        }
        if !self.has_line && end > max_line {
            return Err(TARGET_TOO_LONG);
        }
        if end == options.max_head {
            return Err(HEAD_TOO_LONG);
        }
        self.scanned = end as u16; // at most `MAX_HEAD`
        Ok(None)
    }

    /// Whether a head has begun.
    pub(super) fn has_begun(self) -> bool {
        self.scanned > 0
    }
}

/// Bytes of a method: no registered one has more than 17.
const MAX_METHOD: usize = 32;

/// What the request line has at most besides the target: a method, a version, spaces.
const LINE_BESIDE_TARGET: usize = MAX_METHOD + 1 + 1 + "HTTP/1.1\r\n".len();

const BARE_LF: RequestError = RequestError::bad("a line ends with LF alone");
const TARGET_TOO_LONG: RequestError =
    RequestError::new(StatusCode::URI_TOO_LONG, "the request target is too long");
const HEAD_TOO_LONG: RequestError = RequestError::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "the head of the request is too long",
);

/// The request line by itself, so that what is no HTTP is told at once.
fn check_line(line: &[u8], options: &HttpOptions) -> Result<(), RequestError> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, parts.next())
    else {
        return Err(RequestError::bad(
            "the request line is not a method, a target and a version with a space between each",
        ));
    };
    if !fields::is_token(method) {
        return Err(RequestError::bad("the method is not a token"));
    }
    check_lengths(method, target, options)?;
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(RequestError::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "the version is neither HTTP/1.0 nor HTTP/1.1",
        )),
        _ => Err(RequestError::bad("the version is malformed")),
    }
}

fn check_lengths(method: &[u8], target: &[u8], options: &HttpOptions) -> Result<(), RequestError> {
    if method.len() > MAX_METHOD {
        return Err(RequestError::new(StatusCode::NOT_IMPLEMENTED, "the method is too long"));
    }
    if target.len() > options.max_target { Err(TARGET_TOO_LONG) } else { Ok(()) }
}

/// A piece of the head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u16,
    len: u16,
}

impl Span {
    /// Where `part` is in `whole`, of which it is a piece.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        debug_assert!(start <= whole.len() && part.len() <= whole.len() - start);
        Self { start: start as u16, len: part.len() as u16 } // a head has at most `MAX_HEAD`
    }

    pub(super) fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.start) + usize::from(self.len)
    }
}

/// A parsed head, without its bytes.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) is_v1_0: bool,
    pub(super) fields: Vec<Field>,
    pub(super) framing: Framing,
    /// Of the authority that is asked: in the target, or else in `Host`.
    pub(super) authority: Option<Span>,
    /// Of the path and query in the target.
    pub(super) path: Span,
    pub(super) wants_close: bool,
    pub(super) wants_keep_alive: bool,
    pub(super) wants_upgrade: bool,
    pub(super) expects_continue: bool,
}

impl Head {
    /// Reads the head that `data` begins with, in place of an earlier one; returns its length, or `None`
    /// if its end has not come.
    pub(super) fn parse(
        &mut self,
        data: &[u8],
        options: &HttpOptions,
    ) -> Result<Option<usize>, RequestError> {
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let fields = &mut fields[..options.max_fields.min(MAX_FIELDS)];
        let mut request = httparse::Request::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_request_with_uninit_headers(&mut request, data, fields)
            .map_err(reject)?;
        let httparse::Status::Complete(len) = parsed else { return Ok(None) };
        let bytes = &data[..len];
        // It takes an LF alone for the end of a line, and empty lines before the first. RFC 9112,
        // section 2.2, lets it; but where others do not, they see another request.
        let ends = |field: &httparse::Header<'_>| {
            let name = Span::of(field.name.as_bytes(), bytes).range().start;
            bytes[..name].ends_with(b"\r\n")
        };
        let is_empty = bytes[0] == b'\r' || bytes[0] == b'\n';
        if is_empty || !bytes.ends_with(b"\r\n\r\n") || !request.headers.iter().all(ends) {
            return Err(BARE_LF);
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(RequestError::bad("the request line is malformed"));
        };
        check_lengths(method.as_bytes(), target.as_bytes(), options)?;
        self.is_v1_0 = minor == 0;
        self.method = Span::of(method.as_bytes(), bytes);
        self.target = Span::of(target.as_bytes(), bytes);
        self.read_fields(method, request.headers, bytes)?;
        let (authority, path) = target::split(method, target)?;
        self.path = Span::of(path.as_bytes(), bytes);
        // RFC 9112, section 3.2.2: what the target says goes before `Host`.
        if let Some(authority) = authority {
            self.authority = Some(Span::of(authority.as_bytes(), bytes));
        }
        Ok(Some(len))
    }

    pub(super) fn version(&self) -> Version {
        if self.is_v1_0 { Version::HTTP_10 } else { Version::HTTP_11 }
    }

    /// Tells the response what decides about it; `bytes` are those of the head.
    pub(super) fn describe(&self, exchange: &mut Exchange, bytes: &[u8]) {
        let method = &bytes[self.method.range()];
        exchange.reset();
        exchange.is_head = method == b"HEAD";
        exchange.is_v1_0 = self.is_v1_0;
        exchange.is_connect = method == b"CONNECT";
        exchange.wants_upgrade = self.wants_upgrade;
        // RFC 9931: what is behind a CONNECT that is refused may be meant for the tunnel.
        exchange.closes = exchange.is_connect || !self.is_persistent();
    }

    /// Whether the connection may serve another request after this one (RFC 9112, section 9.3).
    pub(super) fn is_persistent(&self) -> bool {
        !self.wants_close && (!self.is_v1_0 || self.wants_keep_alive)
    }
}

fn reject(error: httparse::Error) -> RequestError {
    use httparse::Error;
    match error {
        Error::HeaderName => RequestError::bad("the name of a field is malformed"),
        Error::HeaderValue => RequestError::bad("the value of a field is malformed"),
        Error::NewLine => RequestError::bad("a line ends otherwise than with CRLF"),
        Error::Status | Error::Token => RequestError::bad("the request line is malformed"),
        Error::Version => RequestError::bad("the version is malformed"),
        Error::TooManyHeaders => RequestError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "the request has too many fields",
        ),
    }
}
