//! What the fuzz targets call: one function per decoder, which panics if any input breaks a promise.
//! Not part of the public API.

use std::ops::RangeInclusive;

use netframe_core::testing::{Harness, Recorder};
use netframe_core::{Factory, Transport};

use crate::chat::{ChatOptions, chat as chat_factory};
use crate::frame::{Endian, Fixed, FrameError, Framer, Prefixed};
use crate::line::{Delimiter, LineError, LineFramer, LineOptions};

#[cfg(feature = "http")]
pub use crate::http::fuzz::{http, http_chunked, http_head};
#[cfg(feature = "memcached")]
pub use crate::memcached::fuzz::memcached_commands as memcached;

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

/// Frames bytes in chunks, and compares with all frames that are possible. The first three bytes pick
/// the framer, the limit and the length of the chunks.
pub fn frame(input: &[u8]) {
    let &[kind, max_length, chunk_len, ref wire @ ..] = input else { return };
    // Around where netstrings and varints get another byte.
    let max_length = 1 + [0, 8, 9, 15, 99, 127, 128, 254][usize::from(max_length) % 8];
    let chunk_len = 1 + usize::from(chunk_len) % 8;
    let fits = "every prefix takes so much, and it is more than nothing";
    let endian = if kind & 0x80 == 0 { Endian::Big } else { Endian::Little };
    match kind & 0x7f {
        0 => {
            let framer = Prefixed::netstring().with_max_length(max_length).expect(fits);
            check_frames(framer, 0..=max_length, 1, 0, wire, chunk_len);
        }
        1 => {
            let framer = Prefixed::varint().with_max_length(max_length).expect(fits);
            check_frames(framer, 0..=max_length, 0, 2, wire, chunk_len);
        }
        2 => {
            let framer = Fixed::new(max_length).expect(fits);
            check_frames(framer, max_length..=max_length, 0, 0, wire, chunk_len);
        }
        other => {
            let (width, framer) = match other % 3 {
                0 => (1, Prefixed::int8()),
                1 => (2, Prefixed::int16(endian)),
                _ => (4, Prefixed::int32(endian)),
            };
            let framer = framer.with_max_length(max_length).expect(fits);
            check_frames(framer, 0..=max_length, 0, width, wire, chunk_len);
        }
    }
}

/// What a framer finds is what it would have sent, what it waits for can still be a frame, and what it
/// refuses cannot: of no length that is allowed, whatever follows. Some may wait for `prefix_len` bytes
/// before they refuse.
fn check_frames<F: Framer>(
    mut framer: F,
    lengths: RangeInclusive<usize>,
    suffix_len: usize,
    prefix_len: usize,
    wire: &[u8],
    chunk_len: usize,
) {
    let (mut start, mut end) = (0, 0);
    loop {
        let rest = &wire[start..end];
        match framer.next_frame(rest) {
            Ok(Some(frame)) => {
                let payload = &rest[frame.payload];
                assert!(lengths.contains(&payload.len()));
                assert_eq!(encode(&framer, payload), rest[..frame.wire_length]);
                start += frame.wire_length;
            }
            found => {
                let possible = lengths.clone().any(|length| {
                    let sent = encode(&framer, &vec![0; length]);
                    let payload = sent.len() - length - suffix_len..sent.len() - suffix_len;
                    let is_same =
                        |(at, (a, b)): (usize, (&u8, &u8))| a == b || payload.contains(&at);
                    rest.iter().zip(&sent).enumerate().all(is_same) && rest.len() < sent.len()
                });
                let is_open = found.is_ok() && rest.len() < prefix_len;
                assert!(possible == found.is_ok() || is_open, "{found:?}");
                match found {
                    Ok(_) if end < wire.len() => end = wire.len().min(end + chunk_len),
                    Ok(_) => return,
                    Err(error) => return assert_eq!(framer.next_frame(rest), Err(error)),
                }
            }
        }
    }
}

fn encode(framer: &impl Framer, frame: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let encoded: Result<(), FrameError> = framer.encode(frame, &mut |parts| wire = parts.concat());
    encoded.expect("it is no longer than what is received");
    wire
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
    fn known_frames() {
        replay(FRAME, super::frame);
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

    #[cfg(feature = "memcached")]
    #[test]
    fn known_memcached_connections() {
        replay(MEMCACHED, super::memcached);
    }

    #[cfg(feature = "memcached")]
    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_memcached() {
        explore(MEMCACHED, super::memcached);
    }

    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_line() {
        explore(LINE, super::line);
    }

    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_frame() {
        explore(FRAME, super::frame);
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

        #[cfg(feature = "memcached")]
        #[test]
        fn any_bytes_to_a_cache(input in vec(any::<u8>(), 0..200)) {
            super::memcached(&input);
        }

        #[cfg(feature = "memcached")]
        #[test]
        fn any_commands_to_a_cache(
            head in any::<u8>(),
            words in vec(prop::sample::select(MEMCACHED_WORDS), 0..60),
        ) {
            super::memcached(&[&[head], words.join("").as_bytes()].concat());
        }

        #[test]
        fn any_lines(head in any::<[u8; 3]>(), wire in vec(prop::sample::select(&b"abx\r\n"[..]), 0..80)) {
            super::line(&[&head[..], &wire].concat());
        }

        #[test]
        fn any_netstrings(
            head in any::<[u8; 2]>(),
            wire in vec(prop::sample::select(&b"0123:,,,"[..]), 0..80),
        ) {
            super::frame(&[&[0], &head[..], &wire].concat());
        }

        #[test]
        fn any_prefixes(
            kind in any::<u8>(),
            head in any::<[u8; 2]>(),
            wire in vec(prop::sample::select(&[0, 0, 0, 1, 1, 2, 3, 100, 0x80, 0x81, 255][..]), 0..80),
        ) {
            super::frame(&[&[kind], &head[..], &wire].concat());
        }

        #[test]
        fn any_bytes_to_framers(kind in 0..9_u8, input in vec(any::<u8>(), 0..200)) {
            super::frame(&[&[kind], &input[..]].concat());
        }

        #[test]
        fn any_bytes(input in vec(any::<u8>(), 0..200)) {
            super::line(&input);
        }
    }

    const LINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/line");
    const FRAME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/frame");
    const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/chat");
    #[cfg(feature = "http")]
    const HTTP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http");
    #[cfg(feature = "http")]
    const HTTP_HEAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http-head");
    #[cfg(feature = "http")]
    const HTTP_CHUNKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http-chunked");

    #[cfg(feature = "memcached")]
    const MEMCACHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/memcached");

    #[cfg(feature = "memcached")]
    const MEMCACHED_WORDS: &[&str] = &[
        "set a 5 0 1\r\nx\r\n",
        "set b 0 100 2 noreply\r\n10\r\n",
        "set c 0 0 101\r\n",
        "set ",
        "add ",
        "cas ",
        "append b 0 0 3\r\n",
        "prepend ",
        "replace ",
        "get a b\r\n",
        "gets ",
        "gat 0 ",
        "gats ",
        "incr b ",
        "decr ",
        "delete ",
        "touch ",
        "flush_all ",
        "stats\r\n",
        "stats settings\r\n",
        "version\r\n",
        "verbosity 1\r\n",
        "quit\r\n",
        "noreply\r\n",
        "noreply",
        "a",
        "b ",
        "1 ",
        "0 ",
        "-1 ",
        "3 ",
        " ",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\t",
        "18446744073709551615\r\n",
        "4294967296 ",
        "2147483645\r\n",
        "\0",
        "\u{80}",
    ];

    const CHAT_WORDS: &[&str] = &[
        "\n", "\n", "\r\n", "/nick ", "/join ", "/who", "/quit", "bob", "carol", "tea", "lobby",
        ": ", "\r", "\x1b[2J", "\u{9b}", "\u{202e}", "\t", "Zoë",
    ];
}
