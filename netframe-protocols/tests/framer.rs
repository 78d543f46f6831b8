//! Framers by themselves: what they send and what they cannot, how far a prefix goes, and which framers
//! cannot be.

use netframe_core::testing::Harness;
use netframe_core::{CloseKind, Result, Side};
use netframe_protocols::frame::{
    DEFAULT_MAX_LENGTH, Delimited, Endian, Fixed, FrameError, FrameProtocol, FrameTransport,
    Framer, FramerError, Frames, Prefixed,
};

#[test]
fn varints_have_five_bytes_for_32_bits_and_ten_for_64() {
    let read = |max_length: usize, prefix: &[u8]| {
        let mut framer = Prefixed::varint().with_max_length(max_length).unwrap();
        framer.next_frame(prefix)
    };
    let too_long = |max_length| FrameError::TooLong { max_length };
    let max_32 = u32::MAX as usize;
    assert_eq!(read(max_32, b"\xff\xff\xff\xff\x0f"), Ok(None));
    assert_eq!(read(max_32, b"\xff\xff\xff\xff\x10"), Err(too_long(max_32)));
    assert_eq!(read(max_32, b"\x80\x80\x80\x80\x80"), Err(too_long(max_32)));
    let most = [&[0xff; 9][..], &[1]].concat();
    assert_eq!(read(usize::MAX, &most), Ok(None), "and it never comes");
    let bad = |byte| Err(FrameError::BadLength { at: 9, byte });
    for byte in [0, 2, 0x7f, 0x80, 0xff] {
        assert_eq!(read(usize::MAX, &[&[0xff; 9][..], &[byte]].concat()), bad(byte));
    }
}

#[test]
fn what_cannot_be_sent_is_an_error_of_the_call() {
    fn error(framer: impl Framer, frame: &[u8]) -> FrameError {
        struct Sender(Vec<u8>, Option<FrameError>);
        impl FrameProtocol for Sender {
            async fn frame_received(&mut self, _: &mut FrameTransport<'_>, _: &[u8]) -> Result {
                Ok(())
            }
            async fn notified(&mut self, t: &mut FrameTransport<'_>) -> Result {
                self.1 = t.send_frame(&self.0).err();
                assert_eq!(t.queued(), 0);
                t.send_frame(&self.0)?;
                Ok(())
            }
        }
        let mut peer = Harness::new(Frames::new(Sender(frame.to_vec(), None), framer));
        peer.notify();
        peer.receive_eof();
        let reason = peer.reason().unwrap();
        assert_eq!((reason.by(), reason.kind()), (Side::Local, CloseKind::Error), "{reason}");
        peer.protocol().get_ref().1.clone().expect("it was refused")
    }
    let too_long = |length, most| FrameError::TooLongForPrefix { length, most };
    assert_eq!(error(Prefixed::int8(), &[0; 256]), too_long(256, 255));
    assert_eq!(error(Prefixed::int16(Endian::Big), &[0; 65_536]), too_long(65_536, 65_535));
    let zero = || Delimited::new("\0", 9).unwrap();
    assert_eq!(error(zero(), b"a\0b"), FrameError::ContainsDelimiter);
    assert_eq!(error(Delimited::new("--", 9).unwrap(), b"a-"), FrameError::ContainsDelimiter);
    let wrong = FrameError::WrongLength { length: 2, expected: 3 };
    assert_eq!(error(Fixed::new(3).unwrap(), b"ab"), wrong);
    assert_eq!(
        too_long(256, 255).to_string(),
        "the frame to send has 256 bytes, and its prefix takes at most 255"
    );
}

#[test]
fn frames_are_sent_as_they_are_received() {
    let long = [7; 300];
    assert_eq!(encoded(&Prefixed::netstring(), b""), b"0:,");
    assert_eq!(encoded(&Prefixed::netstring(), &[b'x'; 10]), b"10:xxxxxxxxxx,");
    assert_eq!(encoded(&Prefixed::int8(), b"foo"), b"\x03foo");
    assert_eq!(encoded(&Prefixed::int16(Endian::Big), &long)[..3], [1, 44, 7]);
    assert_eq!(encoded(&Prefixed::int16(Endian::Little), &long)[..3], [44, 1, 7]);
    assert_eq!(encoded(&Prefixed::int32(Endian::Big), &long)[..5], [0, 0, 1, 44, 7]);
    assert_eq!(encoded(&Prefixed::int32(Endian::Little), &long)[..5], [44, 1, 0, 0, 7]);
    assert_eq!(encoded(&Prefixed::varint(), &long)[..3], [0xac, 2, 7]);
    assert_eq!(encoded(&Prefixed::varint(), b""), b"\0");
    assert_eq!(encoded(&Delimited::new("\r\n", 9).unwrap(), b"foo"), b"foo\r\n");
    assert_eq!(encoded(&Fixed::new(3).unwrap(), b"foo"), b"foo");
}

#[test]
fn impossible_framers_are_refused() {
    let zero = |most| Some(FramerError::ZeroMaxLength { most });
    assert_eq!(Prefixed::netstring().with_max_length(0).err(), zero(100_000));
    assert_eq!(Prefixed::int8().with_max_length(0).err(), zero(255));
    assert_eq!(Delimited::new("\0", 0).err(), zero(100_000));
    assert_eq!(Delimited::new("", 9).err(), Some(FramerError::EmptyDelimiter));
    assert_eq!(Fixed::new(0).err(), Some(FramerError::ZeroLength));
    for (framer, most) in [
        (Prefixed::int8(), 255),
        (Prefixed::int16(Endian::Big), 65_535),
        (Prefixed::int32(Endian::Little), u32::MAX as usize),
    ] {
        assert!(framer.clone().with_max_length(most).is_ok());
        let error = framer.with_max_length(most + 1).err();
        let (max_length, most) = (most + 1, most as u64);
        assert_eq!(error, Some(FramerError::MaxLengthAbovePrefix { max_length, most }));
    }
}

#[test]
fn the_longest_frame_is_as_long_as_is_said() {
    fn check(framer: impl Framer, max_length: usize) {
        let longest = encoded(&framer, &vec![b'x'; max_length]);
        assert_eq!(framer.max_wire_length(), longest.len());
    }
    for max_length in [1, 9, 10, 127, 128, 255] {
        check(Prefixed::netstring().with_max_length(max_length).unwrap(), max_length);
        check(Prefixed::int8().with_max_length(max_length).unwrap(), max_length);
        check(Prefixed::int32(Endian::Big).with_max_length(max_length).unwrap(), max_length);
        check(Prefixed::varint().with_max_length(max_length).unwrap(), max_length);
        check(Delimited::new("\r\n", max_length).unwrap(), max_length);
        check(Fixed::new(max_length).unwrap(), max_length);
    }
    check(Prefixed::int16(Endian::Big), 65_535);
    check(Prefixed::netstring(), DEFAULT_MAX_LENGTH);
}

/// What a framer makes of one frame.
fn encoded(framer: &impl Framer, frame: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let sent = framer.encode(frame, &mut |parts| wire = parts.concat());
    sent.expect("the frame can be sent");
    wire
}
