//! Fields: what decides about the framing of a message is read here (RFC 9112, section 6), and
//! what may be sent is checked.

use http::StatusCode;

use super::error::RequestError;
use super::head::{Head, Span};
use super::target::{self, Set, all, letters_and};

/// A field of a head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
}

/// How long the body of a request is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// As its chunks say.
    Chunked,
}

/// What has been met of the fields that may come once only.
#[derive(Default)]
struct Met {
    host: bool,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    connection_upgrade: bool,
}

impl Head {
    /// Takes in all fields, and decides what the framing is.
    pub(super) fn read_fields(
        &mut self,
        method: &str,
        fields: &[httparse::Header<'_>],
        bytes: &[u8],
    ) -> Result<(), RequestError> {
        self.fields.clear();
        (self.wants_close, self.wants_keep_alive) = (false, false);
        (self.authority, self.expects_continue) = (None, false);
        let mut met = Met::default();
        for field in fields {
            let value = Span::of(field.value, bytes);
            self.fields.push(Field { name: Span::of(field.name.as_bytes(), bytes), value });
            self.read_field(field.name, field.value, value, &mut met)?;
        }
        if !met.host && !self.is_v1_0 {
            return Err(RequestError::bad("there is no `Host`"));
        }
        self.framing = match (met.chunked, met.length) {
            (true, Some(_)) => {
                let text = "there are both `Content-Length` and `Transfer-Encoding`";
                return Err(RequestError::bad(text));
            }
            (true, None) if self.is_v1_0 => {
                return Err(RequestError::bad("`Transfer-Encoding` is not in HTTP/1.0"));
            }
            // RFC 9110, section 9.3.6: it would be read as the first that comes through the tunnel.
            (true, None) | (false, Some(1..)) if method == "CONNECT" => {
                return Err(RequestError::bad("a CONNECT has no body"));
            }
            (true, None) => Framing::Chunked,
            // Here no length may mean a body up to the end of the connection.
            (false, None) if self.is_v1_0 && matches!(method, "POST" | "PUT" | "PATCH") => {
                let text = "there is no `Content-Length`";
                return Err(RequestError::new(StatusCode::LENGTH_REQUIRED, text));
            }
            (false, None | Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        // A body would be taken for what the other protocol says.
        self.wants_upgrade =
            met.upgrade && met.connection_upgrade && !self.is_v1_0 && self.framing == Framing::None;
        Ok(())
    }

    /// One field; nearly all of them are told to be of no interest by the length of their names.
    fn read_field(
        &mut self,
        name: &str,
        value: &[u8],
        span: Span,
        met: &mut Met,
    ) -> Result<(), RequestError> {
        let first = name.as_bytes()[0] | 0x20;
        let is = |other: &str| first == other.as_bytes()[0] && name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("host") => {
                if std::mem::replace(&mut met.host, true) {
                    return Err(RequestError::bad("there are several `Host`"));
                }
                if !target::is_authority(value) {
                    return Err(RequestError::bad("`Host` is malformed"));
                }
                self.authority = Some(span);
            }
            6 if is("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    let text = "`Expect` asks for more than `100-continue`";
                    return Err(RequestError::new(StatusCode::EXPECTATION_FAILED, text));
                }
                self.expects_continue = !self.is_v1_0;
            }
            7 if is("upgrade") => met.upgrade = true,
            10 if is("connection") => {
                if value == b"keep-alive" {
                    self.wants_keep_alive = true; // as most say
                    return Ok(());
                }
                for option in list(value) {
                    self.wants_close |= option.eq_ignore_ascii_case(b"close");
                    self.wants_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    met.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if is("content-length") => {
                if met.length.is_some() {
                    return Err(RequestError::bad("there are several `Content-Length`"));
                }
                met.length = Some(length(value)?);
            }
            17 if is("transfer-encoding") => {
                if std::mem::replace(&mut met.chunked, true) {
                    return Err(RequestError::bad("there are several `Transfer-Encoding`"));
                }
                check_coding(value)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A `Content-Length`: digits, and nothing else. What no counter holds is too large.
fn length(value: &[u8]) -> Result<u64, RequestError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(RequestError::bad("`Content-Length` is malformed"));
    }
    let too_large = RequestError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    value.iter().try_fold(0_u64, |length, digit| {
        let length = length.checked_mul(10).and_then(|l| l.checked_add(u64::from(digit - b'0')));
        length.ok_or(too_large)
    })
}

/// Of the codings of a transfer there is `chunked` alone (RFC 9112, section 7).
fn check_coding(value: &[u8]) -> Result<(), RequestError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let last = list(value).last().unwrap_or_default();
    let mut all = list(value);
    if !last.eq_ignore_ascii_case(b"chunked")
        || all.any(|coding| coding.is_empty())
        || list(value).filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count() > 1
    {
        return Err(RequestError::bad("`Transfer-Encoding` does not end with one `chunked`"));
    }
    let text = "`Transfer-Encoding` names another coding than `chunked`";
    Err(RequestError::new(StatusCode::NOT_IMPLEMENTED, text))
}

/// The members of a list, without what is around them.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether this may be the name of a field, or a method (RFC 9110, section 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, &TOKEN)
}

/// Whether this may be the value of a field (RFC 9110, section 5.5).
pub(super) fn is_value(bytes: &[u8]) -> bool {
    all(bytes, &VALUE)
}

static TOKEN: Set = letters_and(b"!#$%&'*+-.^_`|~");

static VALUE: Set = {
    let mut set = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        set[byte] = byte == b'\t' as usize;
        byte += 1;
    }
    set[0x7f] = false;
    set
};
