//! [`LineFramer`]: finds lines in bytes, without any I/O.

use std::sync::Arc;

use memchr::memchr;
use memchr::memmem::{self, Finder};

use super::{DEFAULT_MAX_LENGTH, LineError, LineOptions, LineOptionsError};

/// Finds lines in bytes that arrive in pieces; each byte is looked at once, whatever the pieces.
///
/// It keeps no bytes: the caller holds them, and offers them again with more behind.
///
/// ```
/// use netframe_protocols::line::LineFramer;
///
/// let mut framer = LineFramer::default();
/// assert_eq!(framer.find_line(b"hel")?, None);
/// assert_eq!(framer.find_line(b"hello\nwor")?, Some(5)); // consume 5 and the delimiter
/// assert_eq!(framer.find_line(b"wor")?, None);
/// # Ok::<(), netframe_protocols::line::LineError>(())
/// ```
///
/// Clones share what makes searching fast; a clone of a new framer is a new framer.
#[derive(Clone, Debug)]
pub struct LineFramer {
    needle: Needle,
    max_length: usize,
    /// Invariant: no delimiter begins in the first `scanned` bytes of the unconsumed data.
    scanned: usize,
}

impl Default for LineFramer {
    /// LF, and lines of up to 16 KiB.
    fn default() -> Self {
        Self { needle: Needle::Byte(*b"\n"), max_length: DEFAULT_MAX_LENGTH, scanned: 0 }
    }
}

impl LineFramer {
    /// A framer with other options.
    ///
    /// # Errors
    ///
    /// As [`LineOptions::validate`].
    pub fn new(options: LineOptions) -> Result<Self, LineOptionsError> {
        options.validate()?;
        let needle = match options.delimiter.as_bytes() {
            &[byte] => Needle::Byte([byte]),
            bytes => Needle::Long(Arc::new(Finder::new(bytes).into_owned())),
        };
        Ok(Self { needle, max_length: options.max_length, scanned: 0 })
    }

    /// The length of the line that `data` begins with, or `None` if its end has not arrived.
    ///
    /// `data` is all that is not consumed. After `Some(len)` the caller consumes `len` bytes and
    /// the [`delimiter`](Self::delimiter); after `None` it calls again with more bytes behind the
    /// same ones.
    ///
    /// # Errors
    ///
    /// [`LineError::TooLong`], as soon as the line cannot end within the limit any more. A protocol
    /// wraps it in a [`ProtocolError`](netframe_core::ProtocolError), so that the peer is blamed.
    pub fn find_line(&mut self, data: &[u8]) -> Result<Option<usize>, LineError> {
        let longest = self.max_length.saturating_add(self.delimiter().len());
        let unscanned = &data[self.scanned.min(data.len())..data.len().min(longest)];
        if let Some(at) = self.needle.find(unscanned) {
            let len = self.scanned + at;
            self.scanned = 0;
            return Ok(Some(len));
        }
        if data.len() > self.max_length && !self.may_end_in_time(data) {
            return Err(self.too_long());
        }
        // The last bytes may be the beginning of a delimiter.
        self.scanned = data.len().saturating_sub(self.delimiter().len() - 1);
        Ok(None)
    }

    /// Checks what is left at the end of input, which may be a line that lacks its delimiter.
    ///
    /// # Errors
    ///
    /// [`LineError::TooLong`]: it has more than the limit, as when only a part of the delimiter
    /// came behind a line of full length.
    pub fn check_unterminated(&self, rest: &[u8]) -> Result<(), LineError> {
        if rest.len() > self.max_length { Err(self.too_long()) } else { Ok(()) }
    }

    /// Starts anew: the data was consumed otherwise than by lines.
    pub fn reset(&mut self) {
        self.scanned = 0;
    }

    /// The delimiter.
    pub fn delimiter(&self) -> &[u8] {
        self.needle.as_bytes()
    }

    /// Bytes a line may have, the delimiter not counted.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Whether a delimiter that begins within the limit is not complete yet, in `data` above it.
    fn may_end_in_time(&self, data: &[u8]) -> bool {
        let first = (data.len() + 1).saturating_sub(self.delimiter().len());
        (first..=self.max_length).any(|at| self.delimiter().starts_with(&data[at..]))
    }

    fn too_long(&self) -> LineError {
        LineError::TooLong { max_length: self.max_length }
    }
}

/// Whether `line` followed by `delimiter` ends before that delimiter: it contains one, or its last
/// bytes and the first ones of the delimiter make one (`-` before `--`).
pub(crate) fn ends_early(line: &[u8], delimiter: &[u8]) -> bool {
    let contains = match delimiter {
        &[byte] => memchr(byte, line).is_some(),
        bytes => memmem::find(line, bytes).is_some(),
    };
    contains
        || (1..delimiter.len()).any(|len| {
            let (head, tail) = delimiter.split_at(len);
            line.ends_with(head) && delimiter.starts_with(tail)
        })
}

/// A delimiter, ready to be searched for.
#[derive(Clone, Debug)]
enum Needle {
    Byte([u8; 1]),
    Long(Arc<Finder<'static>>),
}

impl Needle {
    fn find(&self, haystack: &[u8]) -> Option<usize> {
        match self {
            Self::Byte([byte]) => memchr(*byte, haystack),
            Self::Long(finder) => finder.find(haystack),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Byte(byte) => byte,
            Self::Long(finder) => finder.needle(),
        }
    }
}

#[cfg(test)]
mod tests {
    use netframe_core::bytes::Bytes;

    use super::super::Delimiter;
    use super::*;

    #[test]
    fn lines() {
        check(b"\n", b"", &[]);
        check(b"\n", b"\n", &[b""]);
        check(b"\n", b"a\n\nbc\n", &[b"a", b"", b"bc"]);
        check(b"\n", b"a\r\n\0\xff\nb", &[b"a\r", b"\0\xff"]); // a CR is data, the tail waits
        check(b"\r\n", b"a\r\n\r\nb\r\n", &[b"a", b"", b"b"]);
        check(b"\r\n", b"a\nb\rc\r\r\n\n\r\n", &[b"a\nb\rc\r", b"\n"]); // CR or LF alone is data
        check(b"aab", b"aaab", &[b"a"]);
        check(b"--", b"a---b--", &[b"a", b"-b"]); // the first delimiter wins
        check(b"\0", b"a\nb\0", &[b"a\nb"]);
    }

    #[test]
    fn rejects_lines_above_the_limit() {
        for delimiter in [&b"\n"[..], b"\r\n", b"ab-ab"] {
            for len in [7, 8] {
                let line = vec![b'x'; len];
                let wire = [b"first", delimiter, &line, delimiter].concat();
                assert_eq!(frame(delimiter, 8, &wire), (vec![&b"first"[..], &line], None), "{len}");
            }
            let wire = [b"first", delimiter, b"xxxxxxxxx", delimiter].concat();
            let too_long = Some(LineError::TooLong { max_length: 8 });
            assert_eq!(frame(delimiter, 8, &wire), (vec![&b"first"[..]], too_long));
        }
        assert_eq!(
            LineError::TooLong { max_length: 8 }.to_string(),
            "a line exceeds 8 bytes; raise `max_length` if such lines are meant"
        );
    }

    #[test]
    fn an_unfinished_line_fails_once_it_cannot_end_in_time() {
        let mut framer = framer(b"abc", 2);
        assert_eq!(framer.find_line(b"xab"), Ok(None), "a line of one byte may still end here");
        assert_eq!(framer.find_line(b"xxab"), Ok(None));
        assert_eq!(framer.find_line(b"xxabx"), Err(framer.too_long()));
        framer.reset();
        assert_eq!(framer.find_line(b"xxx"), Err(framer.too_long()));
    }

    #[test]
    fn part_of_a_delimiter_at_the_end_of_input_counts_as_line() {
        let framer = framer(b"\r\n", 3);
        assert_eq!(framer.check_unterminated(b"ab\r"), Ok(()));
        assert_eq!(framer.check_unterminated(b"abc\r"), Err(framer.too_long()));
    }

    #[test]
    fn no_byte_is_searched_twice() {
        for delimiter in [&b"\n"[..], b"\r\n", b"12345"] {
            let mut framer = framer(delimiter, 1000);
            let wire = [&[b'x'; 1000][..], delimiter].concat();
            for len in 1..wire.len() {
                assert_eq!(framer.find_line(&wire[..len]), Ok(None));
                assert_eq!(framer.scanned, (len + 1).saturating_sub(delimiter.len()));
            }
            assert_eq!(framer.find_line(&wire), Ok(Some(1000)));
            assert_eq!(framer.scanned, 0);
        }
    }

    #[test]
    fn a_line_to_send_must_not_end_early() {
        for (line, delimiter) in
            [(&b"a\nb"[..], &b"\n"[..]), (b"\n", b"\n"), (b"a\r\n", b"\r\n"), (b"a-", b"--")]
        {
            assert!(ends_early(line, delimiter), "{}", line.escape_ascii());
        }
        for (line, delimiter) in
            [(&b""[..], &b"\n"[..]), (b"\r", b"\n"), (b"\n\r", b"\r\n"), (b"-a", b"--")]
        {
            assert!(!ends_early(line, delimiter), "{}", line.escape_ascii());
        }
    }

    #[track_caller]
    fn check(delimiter: &[u8], wire: &[u8], want: &[&[u8]]) {
        assert_eq!(frame(delimiter, 100, wire), (want.to_vec(), None));
    }

    /// What `wire` holds, which must be the same in chunks of every size from one byte up.
    #[track_caller]
    fn frame<'a>(
        delimiter: &[u8],
        max_length: usize,
        wire: &'a [u8],
    ) -> (Vec<&'a [u8]>, Option<LineError>) {
        let at_once = frame_chunks(framer(delimiter, max_length), wire, wire.len().max(1));
        for chunk_len in 1..wire.len() {
            let framer = framer(delimiter, max_length);
            let chunked = frame_chunks(framer, wire, chunk_len);
            assert_eq!(chunked, at_once, "chunk_len={chunk_len}");
        }
        at_once
    }

    fn frame_chunks(
        mut framer: LineFramer,
        wire: &[u8],
        chunk_len: usize,
    ) -> (Vec<&[u8]>, Option<LineError>) {
        let (mut lines, mut start) = (Vec::new(), 0);
        for end in (0..wire.len()).step_by(chunk_len).map(|at| (at + chunk_len).min(wire.len())) {
            loop {
                match framer.find_line(&wire[start..end]) {
                    Ok(Some(len)) => {
                        lines.push(&wire[start..start + len]);
                        start += len + framer.delimiter().len();
                    }
                    Ok(None) => break,
                    Err(error) => return (lines, Some(error)),
                }
            }
        }
        (lines, None)
    }

    fn framer(delimiter: &[u8], max_length: usize) -> LineFramer {
        let delimiter = Delimiter::Bytes(Bytes::copy_from_slice(delimiter));
        LineFramer::new(LineOptions { delimiter, max_length }).unwrap()
    }
}
