//! Lines.

use crate::line::{Delimiter, LineError, LineFramer, LineOptions};

/// Frames lines in chunks, and compares with the plainest way to do it. The first three bytes pick
/// the delimiter, the limit and the length of the chunks.
pub fn line(input: &[u8]) {
    let &[delimiter, max_length, chunk_len, ref wire @ ..] = input else { return };
    let delimiter = [&b"\n"[..], b"\r\n", b"aa", b"aab"][usize::from(delimiter) % 4];
    let max_length = 1 + usize::from(max_length) % 16;
    let options = LineOptions { delimiter: Delimiter::Bytes(delimiter.into()), max_length };
    let mut framer = LineFramer::new(options).expect("both options are more than nothing");

    let (lines, ended) = split(wire, delimiter, max_length);
    let mut lines = lines.into_iter();
    let (mut start, mut end) = (0, 0);
    let found = loop {
        match framer.find_line(&wire[start..end]) {
            Ok(Some(len)) => {
                assert_eq!(lines.next(), Some(&wire[start..start + len]));
                start += len + delimiter.len();
            }
            Ok(None) if end < wire.len() => {
                end = wire.len().min(end + 1 + usize::from(chunk_len) % 8);
            }
            Ok(None) => break framer.check_unterminated(&wire[start..]),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(lines.next(), None);
    assert_eq!(found, ended);
}

/// The lines of `wire` before its end, or before one that is too long.
fn split<'a>(
    wire: &'a [u8],
    delimiter: &[u8],
    max_length: usize,
) -> (Vec<&'a [u8]>, Result<(), LineError>) {
    let (mut lines, mut start, mut at) = (Vec::new(), 0, 0);
    loop {
        if at - start > max_length {
            return (lines, Err(LineError::TooLong { max_length }));
        } else if at == wire.len() {
            return (lines, Ok(()));
        } else if wire[at..].starts_with(delimiter) {
            lines.push(&wire[start..at]);
            at += delimiter.len();
            start = at;
        } else {
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_lines(head in any::<[u8; 3]>(), wire in vec(prop::sample::select(&b"abx\r\n"[..]), 0..80)) {
            super::line(&[&head[..], &wire].concat());
        }

        #[test]
        fn any_bytes(input in vec(any::<u8>(), 0..200)) {
            super::line(&input);
        }
    }
}
