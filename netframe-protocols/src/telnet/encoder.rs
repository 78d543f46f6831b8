//! What text and sub-negotiations look like on the wire.

use memchr::{memchr, memchr3};
use netframe_core::bytes::BytesMut;

use super::codes::{CR, IAC, LF, NUL, SB, SE};
use super::{TelnetOption, Verb};

/// Whether `text` is not on the wire what it is here.
pub(super) fn needs_encoding(text: &[u8], binary: bool) -> bool {
    next_special(text, binary).is_some()
}

/// Appends `parts` as one text: IAC is doubled, and unless it is `binary`, LF and CR LF become CR LF,
/// and any other CR becomes CR NUL (RFC 854).
pub(super) fn encode(parts: &[&[u8]], binary: bool, out: &mut BytesMut) {
    let mut after_cr = false;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        encode_part(part, binary, &mut after_cr, out);
    }
    if after_cr {
        out.extend_from_slice(&[NUL]);
    }
}

fn encode_part(mut part: &[u8], binary: bool, after_cr: &mut bool, out: &mut BytesMut) {
    while let Some(&first) = part.first() {
        match (std::mem::take(after_cr), first) {
            (true, LF) => {
                out.extend_from_slice(&[LF]);
                part = &part[1..];
                continue;
            }
            (true, _) => out.extend_from_slice(&[NUL]),
            (false, _) => {}
        }
        let len = next_special(part, binary).unwrap_or(part.len());
        out.extend_from_slice(&part[..len]);
        match part.get(len) {
            Some(&IAC) => out.extend_from_slice(&[IAC, IAC]),
            Some(&LF) => out.extend_from_slice(&[CR, LF]),
            Some(_) => {
                out.extend_from_slice(&[CR]);
                *after_cr = true;
            }
            None => {}
        }
        part = part.get(len + 1..).unwrap_or_default();
    }
}

fn next_special(text: &[u8], binary: bool) -> Option<usize> {
    if binary { memchr(IAC, text) } else { memchr3(IAC, CR, LF, text) }
}

/// A word about an option.
pub(super) fn negotiation(verb: Verb, option: TelnetOption) -> [u8; 3] {
    [IAC, verb as u8, option.0]
}

/// Appends what `option` has to say.
pub(super) fn subnegotiation(option: TelnetOption, payload: &[&[u8]], out: &mut BytesMut) {
    out.extend_from_slice(&[IAC, SB]);
    encode(&[&[option.0]], true, out);
    encode(payload, true, out);
    out.extend_from_slice(&[IAC, SE]);
}
