//! What the fuzz targets call: one function per decoder, which panics if any input breaks a promise.
//! Not part of the public API.

use netframe_core::testing::{Harness, Recorder};
use netframe_core::{Factory, Transport};

use crate::chat::{ChatOptions, chat as chat_factory};
use crate::line::{Delimiter, LineError, LineFramer, LineOptions};

#[cfg(feature = "http")]
pub use crate::http::fuzz::{http, http_chunked, http_head};

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

/// One member of a chat sends anything, in chunks whose length is the first byte; another one sees
/// whole lines that no terminal obeys, none of them as if somebody else had said it.
pub fn chat(input: &[u8]) {
    let &[chunk_len, ref wire @ ..] = input else { return };
    let mut options = ChatOptions::default();
    (options.max_length, options.history) = (40, 4);
    let service = chat_factory(options).expect("the options are possible");
    let enter = |name: &[u8]| {
        let protocol = service.build_protocol(Recorder::new().info());
        let mut member = Harness::new(protocol.expect("nobody is refused"));
        member.receive(name);
        member
    };
    let (mut other, mut member) = (enter(b"bob\n"), enter(b"alice\n"));
    for chunk in wire.chunks(1 + usize::from(chunk_len) % 16) {
        member.receive(chunk);
    }
    member.receive_eof();
    assert!(member.reason().is_some());
    for seen in [other.take_written(), enter(b"carol\n").take_written()] {
        let seen = str::from_utf8(&seen).expect("only text is shown");
        let lines = seen.strip_suffix('\n').expect("lines are whole");
        assert!(!lines.contains(|c: char| c.is_control() && c != '\n'), "{lines:?}");
        assert!(!lines.contains("\nbob: "), "bob has said nothing");
    }
}

#[cfg(test)]
mod tests {
    use netframe_core::fuzz::{explore, replay};
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn known_lines() {
        replay(LINE, super::line);
    }

    #[test]
    fn known_chats() {
        replay(CHAT, super::chat);
    }

    #[cfg(feature = "http")]
    #[test]
    fn known_http_connections() {
        replay(HTTP, super::http);
    }

    #[cfg(feature = "http")]
    #[test]
    fn known_http_heads() {
        replay(HTTP_HEAD, super::http_head);
    }

    #[cfg(feature = "http")]
    #[test]
    fn known_http_chunks() {
        replay(HTTP_CHUNKED, super::http_chunked);
    }

    #[cfg(feature = "http")]
    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_http() {
        explore(HTTP, super::http);
    }

    #[cfg(feature = "http")]
    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_http_head() {
        explore(HTTP_HEAD, super::http_head);
    }

    #[cfg(feature = "http")]
    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_http_chunked() {
        explore(HTTP_CHUNKED, super::http_chunked);
    }

    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_line() {
        explore(LINE, super::line);
    }

    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_chat() {
        explore(CHAT, super::chat);
    }

    proptest! {
        #[test]
        fn any_bytes_to_a_chat(input in vec(any::<u8>(), 0..200)) {
            super::chat(&input);
        }

        #[test]
        fn any_commands_to_a_chat(
            head in any::<u8>(),
            words in vec(prop::sample::select(CHAT_WORDS), 0..40),
        ) {
            super::chat(&[&[head], words.join("").as_bytes()].concat());
        }

        #[test]
        fn any_lines(head in any::<[u8; 3]>(), wire in vec(prop::sample::select(&b"abx\r\n"[..]), 0..80)) {
            super::line(&[&head[..], &wire].concat());
        }

        #[test]
        fn any_bytes(input in vec(any::<u8>(), 0..200)) {
            super::line(&input);
        }
    }

    const LINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/line");
    const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/chat");
    #[cfg(feature = "http")]
    const HTTP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http");
    #[cfg(feature = "http")]
    const HTTP_HEAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http-head");
    #[cfg(feature = "http")]
    const HTTP_CHUNKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http-chunked");

    const CHAT_WORDS: &[&str] = &[
        "\n", "\n", "\r\n", "/nick ", "/join ", "/who", "/quit", "bob", "carol", "tea", "lobby",
        ": ", "\r", "\x1b[2J", "\u{9b}", "\u{202e}", "\t", "Zoë",
    ];
}
