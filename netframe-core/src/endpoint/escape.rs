//! Percent-encoding of paths and names, RFC 3986, section 2.1.

use std::fmt;

/// Bytes behind `text`; `None` when two hex digits do not follow a `%`.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            _ => byte,
        });
    }
    Some(bytes)
}

/// Shows bytes so that [`decode`] gives them back and a shell, a log and a URL keep them whole.
///
/// UTF-8 stays readable. Encoded are `%`, what would end the address (`?`, `#`), what a shell would
/// break at (space, `&`), control characters, and what is no UTF-8.
#[derive(Debug)]
pub(super) struct Encoded<'a>(pub(super) &'a [u8]);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for ch in chunk.valid().chars() {
                if matches!(ch, '%' | '?' | '#' | '&') || ch.is_whitespace() || ch.is_control() {
                    encode(f, ch.encode_utf8(&mut [0; 4]).as_bytes())?;
                } else {
                    fmt::Write::write_char(f, ch)?;
                }
            }
            encode(f, chunk.invalid())?;
        }
        Ok(())
    }
}

fn encode(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "%{byte:02X}"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| value.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_would_be_misread_and_decodes_it_again() {
        for (bytes, want) in [
            (&b"/run/a.sock"[..], "/run/a.sock"),
            (b"a?b&c%d#e f", "a%3Fb%26c%25d%23e%20f"),
            ("grün".as_bytes(), "grün"),
            ("a\u{a0}b".as_bytes(), "a%C2%A0b"),
            (b"\n\xff", "%0A%FF"),
            (b"", ""),
        ] {
            let text = Encoded(bytes).to_string();
            assert_eq!(text, want);
            assert_eq!(decode(&text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn half_an_escape_is_refused() {
        assert_eq!(decode("%2f%2F"), Some(b"//".to_vec()));
        for text in ["%", "a%2", "%zz", "%%20", "% 20", "%ä"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
