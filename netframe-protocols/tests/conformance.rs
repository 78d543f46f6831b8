//! Every framer keeps the promises of a codec, and so do codecs that others wrote.

use std::ops::Range;

use netframe_core::Result;
use netframe_core::bytes::{Buf, Bytes, BytesMut};
use netframe_core::fuzz::{explore, replay};
use netframe_core::testing::conformance::{Conformance, FnCodec, Property};
use netframe_protocols::codec::{FrameCodec, Json, Raw};
use netframe_protocols::frame::{Delimited, Endian, Fixed, Framer, LengthPrefix, Prefixed};
use netframe_protocols::line::{Delimiter, LineError, LineFramer, LineOptions};
use netframe_protocols::telnet::{Role, TelnetDecoder, TelnetEvent, TelnetOption};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_util::codec::{BytesCodec, LengthDelimitedCodec, LinesCodec};

const MAX_LENGTH: usize = 300;

#[test]
fn lines_that_end_with_lf() {
    lines(Delimiter::Lf).check();
}

#[test]
fn lines_that_end_with_crlf() {
    lines(Delimiter::Crlf).check();
}

#[test]
fn lines_that_end_with_more() {
    lines(Delimiter::Bytes(Bytes::from_static(b"\r\n.\r\n"))).check();
}

#[test]
fn known_bytes_to_line_framers() {
    replay(LF, |input| lines(Delimiter::Lf).fuzz(input));
    replay(CRLF, |input| lines(Delimiter::Crlf).fuzz(input));
}

#[test]
#[ignore = "as long as `FUZZ_SECONDS` says"]
fn fuzz_long_line_framers() {
    let (lf, crlf) = (lines(Delimiter::Lf), lines(Delimiter::Crlf));
    explore(LF, |input| lf.fuzz(input));
    explore(CRLF, |input| crlf.fuzz(input));
}

const LF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/codec-lf");
const CRLF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/codec-crlf");

#[test]
fn netstrings() {
    netstring().check();
}

#[test]
fn int_prefixes() {
    int8().check();
    int16(Endian::Big).check();
    int16(Endian::Little).check();
    int32(Endian::Big).check();
    int32(Endian::Little).check();
}

#[test]
fn varints() {
    varint().check();
}

#[test]
fn delimiters() {
    let framer = Delimited::new(DELIMITER, MAX_LENGTH).expect("both are more than nothing");
    frames(framer, 0..100)
        .long(vec![b'x'; MAX_LENGTH])
        .oversize("", b'x', MAX_LENGTH + 16)
        .rejects([&[b'x'; MAX_LENGTH + 1][..], DELIMITER].concat())
        .refuses([b"one", DELIMITER, b"two"].concat())
        .check();
}

#[test]
fn a_framer_and_a_format_as_a_codec() {
    let framer = || Prefixed::varint().with_max_length(MAX_LENGTH).expect("it takes so much");
    let messages = vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    Conformance::new(move || FrameCodec::new(framer(), Raw), messages)
        .long(Bytes::from(vec![b'x'; MAX_LENGTH]))
        .oversize([0xff, 0xff, 0x03], b'x', MAX_LENGTH + 16)
        .rejects([0x80, 0x00])
        .check();
    let messages = vec(any::<i32>(), 0..50);
    let codec = || FrameCodec::new(Prefixed::netstring(), Json::<Vec<i32>>::default());
    Conformance::new(codec, messages).rejects("2:[1,").rejects("5:[1,2,,").check();
}

#[test]
fn fixed_lengths() {
    let framer = Fixed::new(64).expect("it is more than nothing");
    frames(framer, 64..65).refuses(vec![0; 63]).refuses(vec![0; 65]).check();
}

#[test]
fn subnegotiations_of_telnet() {
    let long: &[u8] = &[b'x'; MAX_LENGTH];
    Conformance::new(
        || {
            FnCodec::new(
                TelnetDecoder::new(Role::Server, MAX_LENGTH),
                tell,
                tell_at_eof,
                encode_told,
            )
        },
        (any::<u8>(), vec(prop::sample::select(&b"ab\xff\xf0\r\n\0"[..]), 0..100))
            .prop_map(Told::new),
    )
    .long(Told::new((24, long.to_vec())))
    .oversize(b"\xff\xfa\x18", b'x', MAX_LENGTH + 16)
    .rejects(b"\xff\xfa\x18\xff\xf1")
    .rejects(b"\xff\xfa\xff\xf0")
    .check();
}

/// What an option of Telnet says.
#[derive(Clone, Debug, PartialEq)]
struct Told(TelnetEvent);

impl Told {
    fn new((option, payload): (u8, Vec<u8>)) -> Self {
        Self(TelnetEvent::Subnegotiation(TelnetOption(option), payload[..].into()))
    }
}

fn tell(decoder: &mut TelnetDecoder, data: &mut BytesMut) -> Result<Option<Told>> {
    match decoder.next_event(data)? {
        Some(TelnetEvent::Text(_)) => Err("text has no borders".into()),
        event => Ok(event.map(Told)),
    }
}

fn tell_at_eof(decoder: &mut TelnetDecoder, rest: &mut BytesMut) -> Result<Option<Told>> {
    let told = tell(decoder, rest)?;
    if told.is_none() && !rest.is_empty() { Err("half a command".into()) } else { Ok(told) }
}

fn encode_told(_: &mut TelnetDecoder, told: Told, out: &mut BytesMut) -> Result {
    let TelnetEvent::Subnegotiation(option, payload) = told.0 else { return Err("another".into()) };
    out.extend_from_slice(b"\xff\xfa");
    for byte in [&[option.0], &payload[..]].concat() {
        out.extend_from_slice(if byte == 255 { &[255, 255] } else { std::slice::from_ref(&byte) });
    }
    out.extend_from_slice(b"\xff\xf0");
    Ok(())
}

#[test]
fn known_bytes_to_framers() {
    for (corpus, fuzz) in framers() {
        replay(corpus, fuzz);
    }
}

#[test]
#[ignore = "as long as `FUZZ_SECONDS` says"]
fn fuzz_long_framers() {
    for (corpus, fuzz) in framers() {
        explore(corpus, fuzz);
    }
}

/// A corpus, and what is fuzzed with it.
type Target = (&'static str, Box<dyn Fn(&[u8])>);

/// Each framer with a corpus of its own.
fn framers() -> [Target; 5] {
    let (netstring, int8, varint) = (netstring(), int8(), varint());
    let (int16, int32) = (int16(Endian::Big), int32(Endian::Little));
    [
        (NETSTRING, Box::new(move |input| netstring.fuzz(input))),
        (INT8, Box::new(move |input| int8.fuzz(input))),
        (INT16, Box::new(move |input| int16.fuzz(input))),
        (INT32, Box::new(move |input| int32.fuzz(input))),
        (VARINT, Box::new(move |input| varint.fuzz(input))),
    ]
}

const NETSTRING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/codec-netstring");
const INT8: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/codec-int8");
const INT16: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/codec-int16");
const INT32: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/codec-int32");
const VARINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/codec-varint");

#[test]
fn lines_of_tokio_util() {
    let lines = || LinesCodec::new_with_max_length(MAX_LENGTH);
    Conformance::new(lines, "[a-zé ]{0,100}")
        .long("x".repeat(MAX_LENGTH))
        .oversize("", b'x', MAX_LENGTH + 16)
        .rejects(b"\xff\n")
        .ends_at_eof()
        .check();
}

#[test]
fn length_prefixes_of_tokio_util() {
    let codec = || LengthDelimitedCodec::builder().max_frame_length(MAX_LENGTH).new_codec();
    let frames = || vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    let conformance = || {
        Conformance::new(codec, frames())
            .long(vec![7; MAX_LENGTH].into())
            .oversize((MAX_LENGTH as u32 + 1).to_be_bytes(), 0, 2 * MAX_LENGTH)
            .refuses(vec![7; MAX_LENGTH + 1].into())
    };
    // Once the length is consumed, it does not remember at the end of input that a frame is due.
    let violation = conformance().verify().unwrap_err();
    assert_eq!((violation.property(), violation.wire()), (Property::Truncation, &[0, 0, 0, 1][..]));
    conformance().except(Property::Truncation).check();
}

#[test]
fn chunks_are_no_frames() {
    let chunks = vec(any::<u8>(), 1..100).prop_map(Bytes::from);
    let violation = Conformance::new(BytesCodec::new, chunks).verify().unwrap_err();
    assert_eq!(violation.property(), Property::Batch);
    assert_eq!(
        violation.to_string(),
        "the codec breaks `batch`: decoded [b\"\\0\\0\"], expected [b\"\\0\", b\"\\0\"]\n  \
         items: ([b\"\\0\", b\"\\0\"], [1])\n  wire: 2 bytes, b\"\\x00\\x00\"\n  \
         split: none, all at once"
    );
}

const DELIMITER: &[u8] = b"\x00\xff";

fn netstring() -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    let conformance = prefixed(Prefixed::netstring(), MAX_LENGTH, "301:");
    conformance.rejects("03:abc,").rejects("2:abc,").rejects(":").rejects("-1:,")
}

fn varint() -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    prefixed(Prefixed::varint(), MAX_LENGTH, [0xad, 2]).rejects(b"\x80\0").rejects([0xff; 10])
}

fn int8() -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    prefixed(Prefixed::int8(), 200, [201]).refuses(vec![0; 256])
}

fn int16(endian: Endian) -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    let start = match endian {
        Endian::Big => 301_u16.to_be_bytes(),
        Endian::Little => 301_u16.to_le_bytes(),
    };
    prefixed(Prefixed::int16(endian), MAX_LENGTH, start).refuses(vec![0; 65_536])
}

fn int32(endian: Endian) -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    let start = match endian {
        Endian::Big => 301_u32.to_be_bytes(),
        Endian::Little => 301_u32.to_le_bytes(),
    };
    prefixed(Prefixed::int32(endian), MAX_LENGTH, start).rejects([255; 4])
}

/// A framer with a limit, and the prefix of a frame that is one byte longer.
fn prefixed<L: LengthPrefix + Clone>(
    framer: Prefixed<L>,
    max_length: usize,
    start: impl AsRef<[u8]>,
) -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    let framer = framer.with_max_length(max_length).expect("the prefix takes so much");
    frames(framer, 0..100)
        .long(vec![b'x'; max_length])
        .oversize(&start, b'x', max_length + 16)
        .rejects(&start)
}

/// A [`Framer`] as a codec, with a strategy for frames of these lengths.
fn frames(
    framer: impl Framer + Clone,
    lengths: Range<usize>,
) -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    let frame = vec(any::<u8>(), lengths).prop_map(|mut frame| {
        // Nothing else ends with it, either.
        frame.iter_mut().filter(|byte| **byte == DELIMITER[0]).for_each(|byte| *byte = 1);
        frame
    });
    Conformance::new(
        move || FnCodec::new(framer.clone(), next_frame, frame_at_eof, encode_frame),
        frame,
    )
}

fn next_frame<F: Framer>(framer: &mut F, data: &mut BytesMut) -> Result<Option<BytesMut>> {
    Ok(framer.next_frame(data)?.map(|frame| {
        let mut wire = data.split_to(frame.wire_length);
        wire.truncate(frame.payload.end);
        wire.split_off(frame.payload.start)
    }))
}

fn frame_at_eof<F: Framer>(framer: &mut F, rest: &mut BytesMut) -> Result<Option<BytesMut>> {
    let frame = next_frame(framer, rest)?;
    if frame.is_none() && !rest.is_empty() { Err("half a frame".into()) } else { Ok(frame) }
}

fn encode_frame<F: Framer>(framer: &mut F, frame: Vec<u8>, out: &mut BytesMut) -> Result {
    let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(framer.encode(&frame, &mut write)?)
}

/// A [`LineFramer`] as a codec, with a strategy for its lines.
fn lines(delimiter: Delimiter) -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    let bytes = Bytes::copy_from_slice(delimiter.as_bytes());
    let mut options = LineOptions::default();
    (options.delimiter, options.max_length) = (delimiter, MAX_LENGTH);
    let framer = LineFramer::new(options).expect("the options are possible");
    let line = {
        let end = bytes.clone();
        vec(any::<u8>(), 0..100).prop_map(move |mut line| {
            line.retain(|byte| !end.contains(byte));
            line
        })
    };
    Conformance::new(move || FnCodec::new(framer.clone(), decode, decode_eof, encode), line)
        .long(vec![b'x'; MAX_LENGTH])
        .oversize("", b'x', MAX_LENGTH + 16)
        .rejects([&[b'x'; MAX_LENGTH + 1][..], &bytes].concat())
        .refuses([b"one", &bytes[..], b"two"].concat())
}

fn decode(framer: &mut LineFramer, data: &mut BytesMut) -> Result<Option<BytesMut>> {
    Ok(framer.find_line(data)?.map(|len| {
        let line = data.split_to(len);
        data.advance(framer.delimiter().len());
        line
    }))
}

fn decode_eof(framer: &mut LineFramer, rest: &mut BytesMut) -> Result<Option<BytesMut>> {
    framer.check_unterminated(rest)?;
    if rest.is_empty() { Ok(None) } else { Err("half a line".into()) }
}

fn encode(framer: &mut LineFramer, line: Vec<u8>, out: &mut BytesMut) -> Result {
    let delimiter = framer.delimiter();
    if line.windows(delimiter.len()).any(|window| window == delimiter) {
        return Err(LineError::ContainsDelimiter.into());
    }
    out.extend_from_slice(&line);
    out.extend_from_slice(delimiter);
    Ok(())
}
