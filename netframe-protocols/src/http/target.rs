//! The target of a request, in its four forms (RFC 9112, section 3.2).

use super::error::RequestError;

/// The authority in the target, if it has one, and its path with the query.
pub(super) fn split<'a>(
    method: &str,
    target: &'a str,
) -> Result<(Option<&'a str>, &'a str), RequestError> {
    if !all(target.as_bytes(), &TARGET) {
        return Err(RequestError::bad("the target has a byte that must be percent-encoded"));
    }
    if method == "CONNECT" {
        let has_port = target.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty());
        if !has_port || !is_authority(target.as_bytes()) {
            return Err(RequestError::bad("the target of CONNECT is not a host and a port"));
        }
        return Ok((Some(target), &target[target.len()..]));
    }
    if target.starts_with('/') || target == "*" && method == "OPTIONS" {
        return Ok((None, target));
    }
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let Some(scheme) = scheme else {
        return Err(RequestError::bad("the target has none of the forms that it may have"));
    };
    let rest = &target[scheme.len()..];
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_authority(authority.as_bytes()) {
        return Err(RequestError::bad("the authority in the target is malformed"));
    }
    Ok((Some(authority), path))
}

/// Whether this is a host, and perhaps a port, without a user (RFC 3986, section 3.2).
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    if let Some(rest) = bytes.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
        let address = str::from_utf8(&rest[..end]).ok();
        let is_address = address.is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok());
        return is_address && is_port(&rest[end + 1..]);
    }
    let end = bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len());
    let (host, port) = bytes.split_at(end);
    !host.is_empty() && all(host, &NAME) && is_encoded(host) && is_port(port)
}

/// Whether each `%` has its two digits behind it (RFC 3986, section 2.1).
fn is_encoded(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'%', bytes)
        .all(|at| matches!(bytes[at + 1..], [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

/// Whether this is a colon and a port; neither must be there (RFC 3986, section 3.2.3).
fn is_port(bytes: &[u8]) -> bool {
    let Some(digits) = bytes.strip_prefix(b":") else { return bytes.is_empty() };
    let value = digits.iter().try_fold(0_u16, |port, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        port.checked_mul(10)?.checked_add(digit as u16)
    });
    value.is_some()
}

/// A set of bytes.
pub(super) type Set = [bool; 256];

/// Whether all bytes are in the set: each is looked at, as hardly ever one is not.
pub(super) fn all(bytes: &[u8], set: &Set) -> bool {
    bytes.iter().fold(true, |all, byte| all & set[usize::from(*byte)])
}

/// The letters and digits, and these.
pub(super) const fn letters_and(others: &[u8]) -> Set {
    let mut set = [false; 256];
    let mut byte = 0;
    while byte < set.len() {
        set[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        set[others[at] as usize] = true;
        at += 1;
    }
    set
}

/// The name of a host (RFC 3986, section 3.2.2).
static NAME: Set = letters_and(b"-._~%!$&'()*+,;=");

/// What a target may be made of. Browsers leave more as it is than RFC 3986 has; what could end a URL
/// in what others make of it is missing.
static TARGET: Set = letters_and(b"!$%&'()*+,-./:;=?@[\\]^_`{|}~");
