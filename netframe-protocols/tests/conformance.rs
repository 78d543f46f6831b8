//! Every framer keeps the promises of a codec, and so do codecs that others wrote.

use netframe_core::Result;
use netframe_core::bytes::{Buf, Bytes, BytesMut};
use netframe_core::fuzz::{explore, replay};
use netframe_core::testing::conformance::{Conformance, FnCodec, Property};
use netframe_protocols::line::{Delimiter, LineError, LineFramer, LineOptions};
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
