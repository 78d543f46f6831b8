//! What the fuzz targets call: one function per decoder, which panics if any input breaks a promise.
//! Not part of the public API.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::testing::{Harness, Recorder};
use netframe_core::{Factory, Protocol, Result, Transport};

use crate::chat::{ChatOptions, chat as chat_factory};
use crate::codec::{FrameCodec, Raw};
use crate::frame::{Endian, Fixed, FrameError, Framer, Prefixed};
use crate::line::{Delimiter, LineError, LineFramer, LineOptions};
use crate::requests::{RequestServer, WithId};
use crate::telnet::{
    Command, Role, TelnetDecoder, TelnetError, TelnetEvent, TelnetOption, Verb, telnet_echo,
};

#[cfg(feature = "http")]
pub use crate::http::fuzz::{http, http_chunked, http_head};
pub use crate::socks5::fuzz::handshake as socks5;

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

/// Answers requests in chunks, and compares with what is answered to all of it at once. The first two
/// bytes pick the order, how many may be in flight, and the length of the chunks.
pub fn requests(input: &[u8]) {
    let &[head, chunk_len, ref wire @ ..] = input else { return };
    let chunk_len = 1 + usize::from(chunk_len) % 16;
    let max = NonZeroUsize::MIN.saturating_add(usize::from(head >> 1) % 4);
    let framer = || Prefixed::int8().with_max_length(100).expect("the prefix takes so much");
    if head & 1 == 0 {
        check_answers(wire, chunk_len, || {
            RequestServer::in_order(FrameCodec::new(framer(), Raw), reverse).max_in_flight(max)
        });
    } else {
        check_answers(wire, chunk_len, || {
            let codec = FrameCodec::new(framer(), WithId(Raw));
            RequestServer::by_id(codec, reverse).max_in_flight(max)
        });
    }
}

/// The bytes in reverse order; no answer to a request that begins with 0xff.
async fn reverse(request: Bytes) -> Result<Bytes> {
    if request.first() == Some(&0xff) {
        return Err("asked to fail".into());
    }
    Ok(request.iter().rev().copied().collect())
}

fn check_answers<P: Protocol>(wire: &[u8], chunk_len: usize, server: impl Fn() -> P) {
    let answers = |chunk_len| {
        let mut peer = Harness::new(server());
        wire.chunks(chunk_len).for_each(|chunk| peer.receive(chunk));
        peer.receive_eof();
        (peer.take_written(), peer.reason().map(|reason| (reason.by(), reason.kind())))
    };
    assert_eq!(answers(chunk_len), answers(usize::MAX));
}

/// Takes bytes of Telnet in chunks, and compares with a reader of one byte after the other; then sends
/// them to a server, which answers the same whatever the chunks. The first two bytes pick the role,
/// the mode, the limit and the length of the chunks.
pub fn telnet(input: &[u8]) {
    let &[kind, chunk_len, ref wire @ ..] = input else { return };
    let role = if kind & 1 == 0 { Role::Server } else { Role::Client };
    let (binary, max_length) = (kind & 2 != 0, usize::from(kind) / 4 % 8);
    let chunk_len = 1 + usize::from(chunk_len) % 8;
    let mut decoder = TelnetDecoder::new(role, max_length);
    decoder.set_binary(binary);
    let (mut data, mut found, mut ended) = (BytesMut::new(), Vec::new(), Ok(()));
    'chunks: for chunk in wire.chunks(chunk_len) {
        data.extend_from_slice(chunk);
        loop {
            match decoder.next_event(&mut data) {
                Ok(Some(event)) => join(&mut found, event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_event(&mut data), Err(error), "it goes on");
                    ended = Err(error);
                    break 'chunks;
                }
            }
        }
    }
    assert_eq!((found, ended), read_telnet(role, binary, max_length, wire));

    let answer = |chunk_len: usize| {
        let factory = telnet_echo(Default::default()).expect("the defaults are possible");
        let protocol = factory.build_protocol(Recorder::new().info());
        let mut peer = Harness::new(protocol.expect("nobody is refused"));
        wire.chunks(chunk_len).for_each(|chunk| peer.receive(chunk));
        peer.receive_eof();
        assert!(peer.reason().is_some());
        peer.take_written()
    };
    assert_eq!(answer(chunk_len), answer(wire.len().max(1)));
}

/// Adds an event; text that nothing stands between is one.
fn join(events: &mut Vec<TelnetEvent>, event: TelnetEvent) {
    match (events.last_mut(), event) {
        (Some(TelnetEvent::Text(text)), TelnetEvent::Text(more)) => text.unsplit(more),
        (_, event) => events.push(event),
    }
}

/// What is in bytes of Telnet, up to the first that is wrong.
fn read_telnet(
    role: Role,
    binary: bool,
    max_length: usize,
    mut wire: &[u8],
) -> (Vec<TelnetEvent>, Result<(), TelnetError>) {
    let (mut events, mut after_cr) = (Vec::new(), false);
    loop {
        let byte = |byte| TelnetEvent::Text([byte][..].into());
        let (event, len) = match *wire {
            [255, 255, ..] => (Some(byte(255)), 2),
            [255, 250, ref body @ ..] => match read_subnegotiation(max_length, body) {
                Ok(Some((event, len))) => (Some(event), 2 + len),
                Ok(None) => return (events, Ok(())),
                Err(error) => return (events, Err(error)),
            },
            [255, 251..=254] | [255] | [] => return (events, Ok(())),
            [255, verb @ 251..=254, option, ..] => {
                let verb = [Verb::Will, Verb::Wont, Verb::Do, Verb::Dont][usize::from(verb - 251)];
                (Some(TelnetEvent::Negotiation(verb, TelnetOption(option))), 3)
            }
            [255, command, ..] => (Some(TelnetEvent::Command(Command(command))), 2),
            [b'\r', ..] if !binary && role == Role::Server => (Some(byte(b'\n')), 1),
            [0, ..] if after_cr => (None, 1),
            [b'\n', ..] if after_cr && role == Role::Server => (None, 1),
            [other, ..] => (Some(byte(other)), 1),
        };
        // Commands may stand between a CR and what belongs to it.
        if wire[0] != 255 || wire[1] == 255 {
            after_cr = wire[0] == b'\r' && !binary;
        }
        if let Some(event) = event {
            join(&mut events, event);
        }
        wire = &wire[len..];
    }
}

/// A sub-negotiation behind IAC SB, and its length there.
fn read_subnegotiation(
    max_length: usize,
    body: &[u8],
) -> Result<Option<(TelnetEvent, usize)>, TelnetError> {
    let (mut plain, mut at) = (Vec::new(), 0);
    loop {
        let option_len = if body.first() == Some(&255) { 2 } else { 1 };
        if at > option_len + max_length {
            return Err(TelnetError::TooLong { max_length });
        }
        match body[at..] {
            [255, 255, ..] => (plain, at) = ([&plain[..], &[255]].concat(), at + 2),
            [255, 240, ..] => {
                let Some((option, payload)) = plain.split_first() else {
                    return Err(TelnetError::NoOption);
                };
                let event = TelnetEvent::Subnegotiation(TelnetOption(*option), payload.into());
                return Ok(Some((event, at + 2)));
            }
            [255, byte, ..] => return Err(TelnetError::Unescaped { byte }),
            [255] | [] => return Ok(None),
            [byte, ..] => (plain, at) = ([&plain[..], &[byte]].concat(), at + 1),
        }
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

    #[test]
    fn known_telnet() {
        replay(TELNET, super::telnet);
    }

    #[test]
    fn known_socks5_handshakes() {
        replay(SOCKS5, super::socks5);
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
    fn fuzz_long_frame() {
        explore(FRAME, super::frame);
    }

    #[test]
    fn known_requests() {
        replay(REQUESTS, super::requests);
    }

    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_requests() {
        explore(REQUESTS, super::requests);
    }

    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_chat() {
        explore(CHAT, super::chat);
    }

    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_telnet() {
        explore(TELNET, super::telnet);
    }

    #[test]
    #[ignore = "as long as `FUZZ_SECONDS` says"]
    fn fuzz_long_socks5() {
        explore(SOCKS5, super::socks5);
    }

    proptest! {
        #[test]
        fn any_telnet(
            head in any::<[u8; 2]>(),
            wire in vec(prop::sample::select(TELNET_PIECES), 0..40),
        ) {
            super::telnet(&[&head[..], &wire.concat()].concat());
        }

        #[test]
        fn any_bytes_to_socks5(input in vec(any::<u8>(), 0..100)) {
            super::socks5(&input);
        }

        #[test]
        fn any_messages_to_socks5(
            head in any::<[u8; 2]>(),
            parts in vec(prop::sample::select(SOCKS5_PARTS), 0..8),
        ) {
            super::socks5(&[&head[..], &parts.concat()].concat());
        }

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
        fn any_requests(
            head in any::<[u8; 2]>(),
            wire in vec(prop::sample::select(&[0, 0, 0, 1, 2, 8, 9, 10, 20, 101, 255][..]), 0..80),
        ) {
            super::requests(&[&head[..], &wire].concat());
        }

        #[test]
        fn any_bytes(input in vec(any::<u8>(), 0..200)) {
            super::line(&input);
        }
    }

    const LINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/line");
    const FRAME: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/frame");
    const REQUESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/requests");
    const TELNET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/telnet");
    const SOCKS5: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/socks5");
    const CHAT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/chat");
    #[cfg(feature = "http")]
    const HTTP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http");
    #[cfg(feature = "http")]
    const HTTP_HEAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http-head");
    #[cfg(feature = "http")]
    const HTTP_CHUNKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http-chunked");

    const TELNET_PIECES: &[&[u8]] = &[
        b"a",
        b"\r",
        b"\n",
        b"\0",
        b"\xff",
        b"\xff",
        b"\xff\xff",
        b"\xff\xfa",
        b"\xff\xf0",
        b"\xff\xfb",
        b"\xff\xfd",
        b"\x18",
        b"\x1f",
        b"\0\x50\0\x18",
        b"\xff\xf6",
        b"/status\r\n",
        b"\xff\xfb\x1f",
        b"\xff\xfa\x1f",
        b"\xff\xfa\x18\0",
        b"\xff\xfb\x18",
        b"\xff\xfd\x03",
    ];

    const SOCKS5_PARTS: &[&[u8]] = &[
        b"\x05",
        b"\x01",
        b"\x00",
        b"\x02",
        b"\x05\x01\x00",
        b"\x05\x01\x02",
        b"\x01\x03ada\x06secret",
        b"\x05\x01\x00\x03",
        b"\x05\x01\x00\x01\x01\x01\x01\x01\x00\x50",
        b"\x03a.b",
        b"\x00\x50",
        b"\x05\x02\x00\x01",
        b"\x05\x01\x00\x04",
    ];

    const CHAT_WORDS: &[&str] = &[
        "\n", "\n", "\r\n", "/nick ", "/join ", "/who", "/quit", "bob", "carol", "tea", "lobby",
        ": ", "\r", "\x1b[2J", "\u{9b}", "\u{202e}", "\t", "Zoë",
    ];
}
