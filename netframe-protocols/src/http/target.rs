//! The target of a request, in its four forms (RFC 9112, section 3.2).

use super::error::RequestError;

/// The authority in the target, if it has one, and its path with the query.
pub(super) fn split<'a>(
    method: &str,
    target: &'a str,
) -> Result<(Option<&'a str>, &'a str), RequestError> {
    if !target.bytes().all(is_target_byte) {
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

/// What a target may be made of. Browsers leave more as it is than RFC 3986 has; what could end a
/// URL in what others make of it is refused.
fn is_target_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b'#' | b'<' | b'>')
}

/// Whether this is a host, and perhaps a port, without a user (RFC 3986, section 3.2).
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (address, port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let is_port = match port.strip_prefix(':') {
        Some("") => true, // RFC 3986, section 3.2.3
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
        None => port.is_empty(),
    };
    let is_name = |byte| {
        matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')
            || b"-._~%!$&'()*+,;=".contains(&byte)
    };
    !host.is_empty() && is_port && (text.starts_with('[') || host.bytes().all(is_name))
}
