//! The conformance kit catches codecs that are broken, each by the promise that it breaks.

use netframe_core::Result;
use netframe_core::bytes::{Buf, BufMut, BytesMut};
use netframe_core::testing::conformance::{Conformance, FnCodec, Property};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn a_sound_codec_passes() {
    describe(None).check();
}

#[test]
fn each_bug_breaks_its_promise() {
    for (bug, property) in [
        (Bug::DropsTrailingZero, Property::RoundTrip),
        (Bug::LeavesChecksum, Property::RoundTrip),
        (Bug::TakesWholeBuffer, Property::Batch),
        (Bug::TakesPartOfFrame, Property::Splits),
        (Bug::ForgetsPart, Property::Splits),
        (Bug::IgnoresEof, Property::Truncation),
        (Bug::TakesPartAtEof, Property::Truncation),
        (Bug::TakesBadMarker, Property::Rejection),
        (Bug::NoLimit, Property::Oversize),
        (Bug::ReservesFirst, Property::Oversize),
        (Bug::GoesOnInside, Property::AfterError),
        (Bug::RepeatsLast, Property::AfterError),
        (Bug::Panics, Property::Panic),
        (Bug::NeverStops, Property::Progress),
        (Bug::ScansAgain, Property::Cost),
        (Bug::MovesRest, Property::Cost),
        (Bug::EncodesHalf, Property::EncodeError),
        (Bug::ClearsBuffer, Property::EncodeError),
    ] {
        let found = describe(Some(bug)).verify().expect_err(&format!("{bug:?} passes"));
        assert_eq!(found.property(), property, "{bug:?}: {found}");
    }
}

#[test]
fn a_search_that_begins_anew_with_each_byte_is_no_linear_cost() {
    let decode = |(): &mut (), data: &mut BytesMut| -> Result<Option<BytesMut>> {
        let Some(len) = data.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = data.split_to(len);
        data.advance(1);
        Ok(Some(line))
    };
    let decode_eof = |(): &mut (), rest: &mut BytesMut| -> Result<Option<BytesMut>> {
        if rest.is_empty() { Ok(None) } else { Err("half a line".into()) }
    };
    let encode = |(): &mut (), line: String, out: &mut BytesMut| -> Result {
        out.put_slice(line.as_bytes());
        out.put_u8(b'\n');
        Ok(())
    };
    let lines = move || FnCodec::new((), decode, decode_eof, encode);
    let found = Conformance::new(lines, "[a-z]{0,90}").verify().unwrap_err();
    assert_eq!(found.property(), Property::Cost, "{found}");
}

#[test]
fn a_violation_shows_the_smallest_input_and_how_it_was_cut() {
    let found = describe(Some(Bug::TakesPartOfFrame)).verify().unwrap_err();
    assert_eq!(found.wire(), b"#\0\x01\0;");
    assert_eq!(found.split(), [1]);
    let text = found.to_string();
    assert!(
        text.starts_with("the codec breaks `splits`: an error behind the last frame: "),
        "{text}"
    );
    assert!(text.ends_with("\n  wire: 5 bytes, b\"#\\x00\\x01\\x00;\"\n  split: [1]"), "{text}");
}

#[test]
fn any_bytes_from_a_fuzzer_are_decoded_or_refused() {
    let sound = describe(None);
    for case in [&b""[..], b"\0\0", b"\x01\x03#\0\x01a;rest", b"\0\0#\xff\xff", b"\x04\x04;;;"] {
        sound.fuzz(case);
    }
    let broken = describe(Some(Bug::Panics));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| broken.fuzz(b"\0\0#\0\x01a!")))
        .expect_err("what panics is found by the fuzz entry too");
}

/// What is wrong with a [`Frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    DropsTrailingZero,
    LeavesChecksum,
    TakesWholeBuffer,
    TakesPartOfFrame,
    ForgetsPart,
    IgnoresEof,
    TakesPartAtEof,
    TakesBadMarker,
    NoLimit,
    ReservesFirst,
    GoesOnInside,
    RepeatsLast,
    Panics,
    NeverStops,
    ScansAgain,
    MovesRest,
    EncodesHalf,
    ClearsBuffer,
}

/// Bytes a frame may have.
const MAX: usize = 1000;

/// Frames of `#`, a length in two bytes, so many bytes below 128, and `;`.
struct Frames {
    bug: Option<Bug>,
    last: Option<BytesMut>,
    failed: bool,
}

impl Frames {
    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn decode(&mut self, data: &mut BytesMut) -> Result<Option<BytesMut>> {
        let decoded = self.find(data);
        if decoded.is_err() && self.has(Bug::GoesOnInside) {
            data.advance(1);
        }
        if self.has(Bug::RepeatsLast) {
            match &decoded {
                Ok(Some(frame)) => self.last = Some(frame.clone()),
                Ok(None) => {}
                Err(_) if self.failed => return Ok(self.last.take()),
                Err(_) => self.failed = true,
            }
        }
        decoded
    }

    fn find(&mut self, data: &mut BytesMut) -> Result<Option<BytesMut>> {
        let Some(first) = data.first() else { return Ok(None) };
        if *first != b'#' {
            return Err("no frame begins here".into());
        }
        if data.len() < 3 {
            return Ok(None);
        }
        let len = usize::from(u16::from_be_bytes([data[1], data[2]]));
        if self.has(Bug::ReservesFirst) {
            data.reserve(len);
        }
        if len > MAX && !self.has(Bug::NoLimit) {
            return Err("the frame is too long".into());
        }
        if self.has(Bug::ScansAgain) && !data[3..data.len().min(len + 3)].is_ascii() {
            return Err("a byte above 127".into());
        }
        if data.len() < len + 4 {
            if self.has(Bug::ForgetsPart) {
                data.clear();
            }
            if self.has(Bug::TakesPartOfFrame) && data.len() > 3 {
                data.advance(3);
                return Ok(Some(data.split()));
            }
            return Ok(None);
        }
        if data[len + 3] != b';' && !self.has(Bug::TakesBadMarker) {
            assert!(!self.has(Bug::Panics), "the frame has no end");
            return Err("the frame has no end".into());
        }
        if self.has(Bug::NeverStops) {
            return Ok(Some(data.clone()));
        }
        data.advance(3);
        let mut frame = data.split_to(len);
        data.advance(1);
        if !frame.is_ascii() {
            return Err("a byte above 127".into());
        }
        if self.has(Bug::TakesWholeBuffer) {
            data.clear();
        }
        if self.has(Bug::MovesRest) {
            *data = BytesMut::from(&data[..]);
        }
        if self.has(Bug::DropsTrailingZero) && frame.ends_with(&[0]) {
            frame.truncate(len - 1);
        }
        Ok(Some(frame))
    }

    fn decode_eof(&mut self, rest: &mut BytesMut) -> Result<Option<BytesMut>> {
        match self.decode(rest)? {
            Some(frame) => Ok(Some(frame)),
            None if rest.is_empty() || self.has(Bug::IgnoresEof) => Ok(None),
            None if self.has(Bug::TakesPartAtEof) => Ok(Some(rest.split())),
            None => Err("the input ends inside a frame".into()),
        }
    }

    fn encode(&mut self, item: &[u8], out: &mut BytesMut) -> Result {
        if item.len() > MAX {
            if self.has(Bug::EncodesHalf) {
                out.put_u8(b'#');
            }
            if self.has(Bug::ClearsBuffer) {
                out.clear();
            }
            return Err("the frame is too long".into());
        }
        out.put_u8(b'#');
        out.put_u16(item.len() as u16);
        out.put_slice(item);
        out.put_u8(b';');
        if self.has(Bug::LeavesChecksum) {
            out.put_u8(0);
        }
        Ok(())
    }
}

fn describe(bug: Option<Bug>) -> Conformance<impl Strategy<Value = Vec<u8>>, BytesMut> {
    let make = move || {
        FnCodec::new(
            Frames { bug, last: None, failed: false },
            Frames::decode,
            Frames::decode_eof,
            |frames: &mut Frames, item: Vec<u8>, out: &mut BytesMut| frames.encode(&item, out),
        )
    };
    // Zeros are frequent, so that what depends on one is met in every run.
    Conformance::new(make, vec(prop_oneof![Just(0), 0..128_u8], 0..60))
        .long(vec![1; 900])
        .oversize(b"#\xff\xff", 0, 4 * MAX)
        .rejects(b"!#\0\x01a;")
        .rejects(b"#\0\x01ab")
        .refuses(vec![1; MAX + 1])
}
