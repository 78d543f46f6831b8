//! From text to [`Endpoint`]: cuts it into its parts, and leaves each part to its own module.

#[cfg(unix)]
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use super::Endpoint;
use super::address::{Address, Host};
use super::error::{EndpointError, EndpointPart};
use super::escape::decode;
use super::kind::{EndpointKind, parse_scheme};
use super::values::number;

/// Bytes of text. The longest canonical endpoint has fewer than 900; the bound keeps errors short.
const ENDPOINT_MAX_LEN: usize = 1024;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        if text.len() > ENDPOINT_MAX_LEN {
            let (part, len) = (EndpointPart::Endpoint, text.len());
            return Err(EndpointError::TooLong { part, len, max: ENDPOINT_MAX_LEN });
        }
        if let Some((at, found)) = text.char_indices().find(|(_, ch)| ch.is_control()) {
            return Err(EndpointError::Control { found, at });
        }
        let (head, query) = text.split_once('?').map_or((text, None), |(h, q)| (h, Some(q)));
        let (scheme, rest) = match head.split_once(':') {
            Some((scheme, rest)) if !scheme.contains(['/', '@', '[']) => (scheme, rest),
            _ => return Err(missing_kind(text)),
        };
        let address = rest.strip_prefix("//");
        let (layers, kind) = match parse_scheme(scheme) {
            Err(EndpointError::UnknownKind { .. }) if address.is_none() => {
                return Err(missing_kind(text));
            }
            parsed => parsed?,
        };
        let address = match address {
            Some(address) => address,
            None if kind == EndpointKind::Stdio => rest,
            None => return Err(missing_slashes(text)),
        };
        let mut endpoint = Self::new(kind, parse_address(kind, address)?)?;
        endpoint.layers = layers;
        if let Some(query) = query {
            endpoint.parse_options(query)?;
        }
        Ok(endpoint)
    }
}

impl Endpoint {
    fn parse_options(&mut self, query: &str) -> Result<(), EndpointError> {
        let mut seen = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                EndpointError::invalid(EndpointPart::Option, pair, "`name=value`")
            })?;
            self.options.set(self.kind, name, value)?;
            if seen.contains(&name) {
                return Err(EndpointError::RepeatedOption { option: name.to_owned() });
            }
            seen.push(name);
        }
        self.check_options()
    }
}

fn parse_address(kind: EndpointKind, text: &str) -> Result<Address, EndpointError> {
    let invalid = || EndpointError::invalid(EndpointPart::Address, text, kind.address_form());
    match kind {
        EndpointKind::Stdio if text.is_empty() => Ok(Address::None),
        EndpointKind::Stdio => Err(invalid()),
        _ if text.is_empty() => Err(invalid()),
        EndpointKind::Tcp | EndpointKind::Udp | EndpointKind::Quic => parse_inet(text),
        EndpointKind::Unix | EndpointKind::UnixDatagram => match text.strip_prefix('@') {
            Some(name) => decode_name(name).map(Address::Abstract),
            None => decode_path(text).map(Address::Path),
        },
        EndpointKind::Fd => {
            let fd = number(text, 0..=i32::MAX as u64).and_then(|fd| fd.try_into().ok());
            fd.map(Address::Fd).ok_or_else(invalid)
        }
        _ => decode_name(text).map(Address::Name),
    }
}

fn parse_inet(text: &str) -> Result<Address, EndpointError> {
    // Colons up to the bracket belong to IPv6; without the bracket the host is at fault.
    let end = match text.rfind(']') {
        None if text.starts_with('[') => text.len(),
        bracket => bracket.unwrap_or(0),
    };
    let Some(colon) = text[end..].rfind(':').map(|at| end + at) else {
        text.parse::<Host>()?;
        return Err(EndpointError::MissingPort { found: text.to_owned() });
    };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    if host.contains(':') && !host.starts_with('[') {
        let expected = "brackets around an IPv6 address, as in `[::1]:7007`";
        return Err(EndpointError::invalid(EndpointPart::Address, text, expected));
    }
    let host = host.parse()?;
    if port.is_empty() {
        return Err(EndpointError::MissingPort { found: text.to_owned() });
    }
    let number = number(port, 0..=u16::MAX.into()).and_then(|number| number.try_into().ok());
    let invalid = || EndpointError::invalid(EndpointPart::Port, port, "a number from 0 to 65535");
    Ok(Address::Inet { host, port: number.ok_or_else(invalid)? })
}

fn decode_name(text: &str) -> Result<String, EndpointError> {
    String::from_utf8(decode_part(EndpointPart::Name, text)?)
        .map_err(|_| EndpointError::invalid(EndpointPart::Name, text, "UTF-8"))
}

#[cfg(unix)]
fn decode_path(text: &str) -> Result<PathBuf, EndpointError> {
    use std::os::unix::ffi::OsStringExt;

    decode_part(EndpointPart::Path, text).map(|bytes| OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn decode_path(text: &str) -> Result<PathBuf, EndpointError> {
    String::from_utf8(decode_part(EndpointPart::Path, text)?)
        .map(PathBuf::from)
        .map_err(|_| EndpointError::invalid(EndpointPart::Path, text, "UTF-8"))
}

fn decode_part(part: EndpointPart, text: &str) -> Result<Vec<u8>, EndpointError> {
    let expected = "two hex digits after each `%`, where `%25` is a `%` itself";
    decode(text).ok_or_else(|| EndpointError::invalid(part, text, expected))
}

fn missing_kind(text: &str) -> EndpointError {
    let candidates = match text {
        "stdio" => vec!["stdio:".to_owned()],
        _ => vec![format!("tcp://{text}"), format!("unix://{text}")],
    };
    EndpointError::MissingKind { found: text.to_owned(), suggestion: first_valid(candidates) }
}

fn missing_slashes(text: &str) -> EndpointError {
    let with_slashes = |(scheme, rest)| format!("{scheme}://{rest}");
    let trimmed =
        |(scheme, rest): (_, &str)| format!("{scheme}://{}", rest.trim_start_matches('/'));
    let parts = text.split_once(':');
    let candidates = parts.map(with_slashes).into_iter().chain(parts.map(trimmed)).collect();
    EndpointError::MissingSlashes { found: text.to_owned(), suggestion: first_valid(candidates) }
}

/// A suggestion must work. The candidates have a kind and slashes, so this does not come back here.
fn first_valid(candidates: Vec<String>) -> Option<String> {
    candidates.into_iter().find(|text| text.parse::<Endpoint>().is_ok())
}
