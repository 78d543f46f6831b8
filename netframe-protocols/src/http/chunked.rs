//! Chunked bodies (RFC 9112, section 7.1), decoded without any I/O from bytes that come in pieces.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::error::RequestError;

/// Digits of a chunk's size: as many as 64 bits have.
const MAX_DIGITS: u8 = 16;

/// Bytes that the extensions of all chunks of a body may have together: they are of no use here.
const MAX_EXTENSIONS: usize = 4 * 1024;

/// Bytes that the trailers of a body may have.
const MAX_TRAILERS: usize = 8 * 1024;

/// Trailers that a body may have.
const MAX_TRAILER_FIELDS: usize = 32;

/// Decodes a chunked body. It keeps nothing but the trailers: the data stays where it is.
#[derive(Debug, Default)]
pub(super) struct ChunkedDecoder {
    state: State,
    /// What is left of the chunk.
    left: u64,
    digits: u8,
    extensions: usize,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the first digit of a size.
    #[default]
    Start,
    Size,
    Extension,
    /// In the quotes of an extension.
    Quoted,
    /// Behind a backslash in them.
    Escaped,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the begin of a line of the trailers, or in it.
    Trailers,
    End,
    /// It was malformed, and stays so: what is behind that is no part of anything.
    Failed(RequestError),
}

/// What comes next in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// So many bytes of data.
    Data(usize),
    /// Nothing, until there are more bytes.
    More,
    /// The end of the body.
    End,
}

impl ChunkedDecoder {
    /// How many bytes of framing `input` begins with, and what is behind them. The caller consumes
    /// both.
    ///
    /// # Errors
    ///
    /// It is malformed: each later call says so too.
    pub(super) fn decode(&mut self, input: &[u8]) -> Result<(usize, Decoded), RequestError> {
        self.advance(input).inspect_err(|error| self.state = State::Failed(*error))
    }

    fn advance(&mut self, input: &[u8]) -> Result<(usize, Decoded), RequestError> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        let mut at = 0;
        while at < input.len() {
            match self.state {
                State::Data => {
                    let len = usize::try_from(self.left).unwrap_or(usize::MAX);
                    let len = len.min(input.len() - at);
                    self.left -= len as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok((at, Decoded::Data(len)));
                }
                State::Trailers => {
                    at += self.take_trailers(&input[at..])?;
                }
                State::End => break,
                _ => {
                    self.step(input[at])?;
                    at += 1;
                }
            }
        }
        let end = self.state == State::End;
        Ok((at, if end { Decoded::End } else { Decoded::More }))
    }

    /// Whether the end of the body has been seen.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::End
    }

    /// One byte of what is around the data.
    fn step(&mut self, byte: u8) -> Result<(), RequestError> {
        self.state = match (self.state, byte) {
            (State::Start | State::Size, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.digits += 1;
                if self.digits > MAX_DIGITS {
                    return Err(RequestError::bad("the size of a chunk has too many digits"));
                }
                self.left = self.left * 16 + u64::from(digit);
                State::Size
            }
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            (State::Size, b';') => State::Extension,
            (State::Start | State::Size, _) => {
                return Err(RequestError::bad("the size of a chunk is malformed"));
            }
            (State::SizeLf, b'\n') if self.left == 0 => State::Trailers,
            (State::SizeLf, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.digits = 0;
                State::Start
            }
            (State::DataCr | State::DataLf | State::SizeLf, _) => {
                return Err(RequestError::bad("a chunk does not end with CRLF"));
            }
            (state, byte) => return self.step_extension(state, byte),
        };
        Ok(())
    }

    /// One byte of an extension.
    fn step_extension(&mut self, state: State, byte: u8) -> Result<(), RequestError> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            return Err(RequestError::bad("the extensions of chunks are too long"));
        }
        if !matches!(byte, b'\t' | 0x20..=0x7e | 0x80..) {
            return Err(RequestError::bad("an extension of a chunk has a control character"));
        }
        self.state = match (state, byte) {
            (State::Extension, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::Extension,
            (State::Quoted, b'\\') => State::Escaped,
            (State::Escaped, _) => State::Quoted,
            (state, _) => state,
        };
        Ok(())
    }

    /// Takes in bytes of the trailers; returns how many.
    fn take_trailers(&mut self, input: &[u8]) -> Result<usize, RequestError> {
        let lf = memchr::memchr(b'\n', input);
        let len = lf.map_or(input.len(), |lf| lf + 1);
        if self.trailers.len() + len > MAX_TRAILERS {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(RequestError::new(status, "the trailers are too long"));
        }
        self.trailers.extend_from_slice(&input[..len]);
        if lf.is_some() {
            if !self.trailers.ends_with(b"\r\n") {
                return Err(RequestError::bad("a line of the trailers ends with LF alone"));
            }
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                self.state = State::End;
                parse_trailers(&self.trailers)?;
            }
        }
        Ok(len)
    }

    /// The trailers, once the end has come.
    pub(super) fn trailers(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        if self.is_done()
            && self.trailers.len() > 2
            && let Ok(fields) = parse_trailers(&self.trailers)
        {
            map = fields;
        }
        map
    }
}

/// Reads trailers. A field that is about framing, or about who is asked, has no place there.
fn parse_trailers(bytes: &[u8]) -> Result<HeaderMap, RequestError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_TRAILER_FIELDS];
    let parsed = match httparse::parse_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete((_, parsed))) => parsed,
        Err(httparse::Error::TooManyHeaders) => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(RequestError::new(status, "there are too many trailers"));
        }
        _ => return Err(RequestError::bad("the trailers are malformed")),
    };
    let mut map = HeaderMap::new();
    for field in parsed {
        let malformed = |_| RequestError::bad("the trailers are malformed");
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| malformed(()))?;
        if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST].contains(&name) {
            return Err(RequestError::bad("the trailers have a field that belongs in the head"));
        }
        let value = HeaderValue::from_bytes(field.value).map_err(|_| malformed(()))?;
        map.append(name, value);
    }
    Ok(map)
}
