//! Frames without a network: what each framer takes, limits, pauses, the end of input, a slow peer.

use netframe_core::testing::{Harness, Transcript, replay_with};
use netframe_core::{CloseKind, CloseReason, ProtocolError, Residue, Result, Side, Transport};
use netframe_protocols::Discard;
use netframe_protocols::frame::{
    DEFAULT_MAX_LENGTH, Delimited, Endian, Fixed, FrameEcho, FrameError, FrameProtocol,
    FrameTransport, Framer, Frames, Prefixed,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn netstrings() {
    let framer = || Prefixed::netstring().with_max_length(600).unwrap();
    check(framer(), b"", &[], EOF);
    check(framer(), b"0:,", &[b""], EOF);
    check(framer(), b"1:a,2:ab,", &[b"a", b"ab"], EOF);
    check(framer(), b"4:1:a,,0:,", &[b"1:a,", b""], EOF); // one in another
    check(framer(), b"10:0123456789,3:\0\xff\n,", &[b"0123456789", b"\0\xff\n"], EOF);
    let long = [b"515:", &[b'a'; 515][..], b",7:, today,"].concat();
    check(framer(), &long, &[&[b'a'; 515], b", today"], EOF);
}

#[test]
fn what_is_no_netstring() {
    let bad = |at, byte| FrameError::BadLength { at, byte };
    let comma = |length| FrameError::BadSuffix { length, suffix: b",".as_slice().into() };
    let framer = || Prefixed::netstring().with_max_length(50).unwrap();
    for (wire, error) in [
        (&b"9999999999999999999999"[..], FrameError::TooLong { max_length: 50 }),
        (b"51:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab,", too_long(50)),
        (b"51", too_long(50)), // told before the colon
        (b"1000:", too_long(50)),
        (b"abc", bad(0, b'a')),
        (b"aaa,", bad(0, b'a')),
        (b":aaa,", bad(0, b':')),
        (b"3aaa,", bad(1, b'a')),
        (b"00:,", bad(1, b'0')),
        (b"05:hello,", bad(1, b'5')),
        (b"-1:,", bad(0, b'-')),
        (b"+1:a,", bad(0, b'+')),
        (b" 1:a,", bad(0, b' ')),
        (b"1 :a,", bad(1, b' ')),
        (b"4:abcde", comma(4)),
        (b"2:aaa,", comma(2)),
        (b"0:a,", comma(0)),
        (b"3:abc;", comma(3)),
    ] {
        let reason = check(framer(), wire, &[], PROTOCOL_ERROR);
        assert_eq!(frame_error(&reason), error, "{}", wire.escape_ascii());
        let behind = [b"1:x,0:,", wire].concat();
        let reason = check(framer(), &behind, &[b"x", b""], PROTOCOL_ERROR);
        assert_eq!(frame_error(&reason), error, "{}", wire.escape_ascii());
    }
    let reason = check(framer(), b"2:abc", &[], PROTOCOL_ERROR);
    assert_eq!(
        reason.to_string(),
        "protocol error by peer: a frame of 2 bytes is not followed by `,`"
    );
    let reason = check(framer(), b"0x1", &[], PROTOCOL_ERROR);
    assert_eq!(
        reason.to_string(),
        "protocol error by peer: byte 1 of a frame is 0x78, which cannot be in its length"
    );
}

#[test]
fn int_prefixes() {
    use Endian::{Big, Little};
    check(Prefixed::int8(), b"\0\x01a\x05hello", &[b"", b"a", b"hello"], EOF);
    check(Prefixed::int8(), &[&[255][..], &[7; 255]].concat(), &[&[7; 255]], EOF);
    check(Prefixed::int16(Big), b"\0\0\0\x01a\0\x03foo", &[b"", b"a", b"foo"], EOF);
    check(Prefixed::int16(Little), b"\0\0\x01\0a\x03\0foo", &[b"", b"a", b"foo"], EOF);
    check(Prefixed::int16(Big), &[&[1, 2][..], &[7; 258]].concat(), &[&[7; 258]], EOF);
    check(Prefixed::int16(Little), &[&[2, 1][..], &[7; 258]].concat(), &[&[7; 258]], EOF);
    check(Prefixed::int32(Big), b"\0\0\0\0\0\0\0\x03foo", &[b"", b"foo"], EOF);
    check(Prefixed::int32(Little), b"\0\0\0\0\x03\0\0\0foo", &[b"", b"foo"], EOF);
    check(Prefixed::int32(Little), &[&[2, 1, 0, 0][..], &[7; 258]].concat(), &[&[7; 258]], EOF);
}

#[test]
fn varints() {
    let framer = Prefixed::varint;
    check(framer(), b"\0\x01a\x03foo", &[b"", b"a", b"foo"], EOF);
    check(framer(), &[&[0x7f][..], &[7; 127]].concat(), &[&[7; 127]], EOF);
    check(framer(), &[&[0x80, 1][..], &[7; 128], b"\0"].concat(), &[&[7; 128], b""], EOF);
    check(framer(), &[&[0xac, 2][..], &[7; 300]].concat(), &[&[7; 300]], EOF);
    for (wire, at) in [(&b"\x80\0"[..], 1), (b"\x81\0", 1), (b"\xff\x80\0", 2)] {
        let reason = check(framer(), wire, &[], PROTOCOL_ERROR);
        assert_eq!(frame_error(&reason), FrameError::BadLength { at, byte: 0 });
    }
    // No length of 100 000 takes a fourth byte.
    for wire in [b"\xff\xff\xff\xff", b"\x80\x80\x80\x80", b"\xa1\x8d\x06\x01"] {
        let reason = check(framer(), wire, &[], PROTOCOL_ERROR);
        assert_eq!(frame_error(&reason), too_long(DEFAULT_MAX_LENGTH));
    }
}

#[test]
fn delimiters() {
    let framer = |delimiter: &str| Delimited::new(delimiter, 5).unwrap();
    check(framer("\0"), b"\0a\nb\0", &[b"", b"a\nb"], EOF);
    check(framer("--"), b"a---b--", &[b"a", b"-b"], EOF);
    check(framer("<end>"), b"12345<end><en<end>", &[b"12345", b"<en"], EOF);
    let reason = check(framer("\0"), b"a\x00123456\0", &[b"a"], PROTOCOL_ERROR);
    assert_eq!(frame_error(&reason), too_long(5));
}

#[test]
fn fixed_lengths() {
    check(Fixed::new(3).unwrap(), b"foobar", &[b"foo", b"bar"], EOF);
    check(Fixed::new(1).unwrap(), b"ab", &[b"a", b"b"], EOF);
    let reason = check(Fixed::new(3).unwrap(), b"fooba", &[b"foo"], PROTOCOL_ERROR);
    assert_eq!(frame_error(&reason), FrameError::UnexpectedEof { len: 2 });
}

#[test]
fn a_frame_may_have_the_limit_and_no_more() {
    fn at(length: usize, framer: impl Framer + Clone) {
        let frame = vec![b'x'; length];
        let wire = [encoded(&framer, b"a"), encoded(&framer, &frame)].concat();
        if length <= 10 {
            check(framer, &wire, &[b"a", &frame], EOF);
        } else {
            let reason = check(framer, &wire, &[b"a"], PROTOCOL_ERROR);
            assert_eq!(frame_error(&reason), too_long(10));
        }
    }
    for length in [9, 10, 11, 12, 99, 255] {
        at(length, Prefixed::netstring().with_max_length(10).unwrap());
        at(length, Prefixed::int8().with_max_length(10).unwrap());
        at(length, Prefixed::int16(Endian::Big).with_max_length(10).unwrap());
        at(length, Prefixed::int16(Endian::Little).with_max_length(10).unwrap());
        at(length, Prefixed::int32(Endian::Big).with_max_length(10).unwrap());
        at(length, Prefixed::int32(Endian::Little).with_max_length(10).unwrap());
        at(length, Prefixed::varint().with_max_length(10).unwrap());
        at(length, Delimited::new(b"\r\n", 10).unwrap());
    }
}

#[test]
fn the_reason_names_the_limit() {
    for (prefix, framer) in [
        (&b"\0\x01\x86\xa1"[..], Prefixed::int32(Endian::Big)),
        (b"\xa1\x86\x01\0", Prefixed::int32(Endian::Little)),
    ] {
        let mut peer = Harness::new(Frames::new(FrameEcho, framer.clone()));
        peer.receive(prefix); // 100 001: nothing of the frame itself is waited for
        peer.receive_eof();
        assert_eq!(
            peer.reason().unwrap().to_string(),
            "protocol error by peer: a frame exceeds 100000 bytes; raise `max_length` if such \
             frames are meant"
        );
    }
}

#[test]
fn the_end_of_input_inside_a_frame_is_an_error() {
    let cut = |framer: Prefixed<_>, wire: &[u8], len| {
        let reason = check(framer, wire, &[b"a"], PROTOCOL_ERROR);
        assert_eq!(frame_error(&reason), FrameError::UnexpectedEof { len });
    };
    for (wire, len) in [(&b"1:a,3"[..], 1), (b"1:a,3:", 2), (b"1:a,3:ab", 4), (b"1:a,3:abc", 5)] {
        cut(Prefixed::netstring(), wire, len);
    }
    let reason = check(Prefixed::int16(Endian::Big), b"\0\x01a\0", &[b"a"], PROTOCOL_ERROR);
    assert_eq!(
        reason.to_string(),
        "protocol error by peer: input ended after 1 bytes of an unfinished frame"
    );
    check(Prefixed::int8(), b"\x01a\x03ab", &[b"a"], PROTOCOL_ERROR);
    check(Prefixed::varint(), b"\x01a\x80", &[b"a"], PROTOCOL_ERROR);
    check(Delimited::new("\0", 9).unwrap(), b"a\0b", &[b"a"], PROTOCOL_ERROR);
}

#[test]
fn a_protocol_may_take_half_a_frame() {
    check(Prefixed::int8(), b"\x07lenient\x05abc", &[b"lenient", b"rest:\x05abc"], EOF);
    check(Prefixed::int8(), b"\x07lenient", &[b"lenient", b"rest:"], EOF);
}

#[test]
fn nothing_is_delivered_during_a_pause() {
    let mut peer = Harness::new(Frames::new(Log::default(), Prefixed::netstring()));
    peer.receive(b"1:a,5:pause,1:b,5:pause,1:c,2:d");
    assert_eq!(seen(&peer), ["a", "pause"]);
    assert_eq!(peer.leftover(), b"1:b,5:pause,1:c,2:d");
    peer.receive(b"d,"); // is not read
    peer.receive_eof();
    assert_eq!(seen(&peer), ["a", "pause"]);
    peer.notify();
    assert_eq!(seen(&peer), ["a", "pause", "b", "pause"]);
    peer.notify();
    assert_eq!(seen(&peer), ["a", "pause", "b", "pause", "c", "dd"]);
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
}

#[test]
fn a_pause_that_ends_in_the_same_callback_is_none() {
    let wire = b"\x05blink\x01a\x05blink\x05blink\x01b";
    check(Prefixed::int8(), wire, &[b"blink", b"a", b"blink", b"blink", b"b"], EOF);
    // Nor does it call back from within: frames do not use up the stack.
    let mut peer = Harness::new(Frames::new(Log::default(), Prefixed::int8()));
    peer.receive(&b"\x05blink".repeat(100_000));
    assert_eq!(peer.protocol().get_ref().seen.len(), 100_000);
}

#[test]
fn nothing_is_delivered_after_a_close() {
    for (word, kind) in
        [("close", CloseKind::Closed), ("abort", CloseKind::Aborted), ("fail", CloseKind::Error)]
    {
        let wire = format!("1:a,5:{word:5},1:b,1").into_bytes();
        let word = format!("{word:5}");
        check(Prefixed::netstring(), &wire, &[b"a", word.as_bytes()], Some((Side::Local, kind)));
    }
}

#[test]
fn a_switch_leaves_exactly_what_is_behind_its_frame() {
    let wire = b"1:a,6:switch,1:b,0:,no frame";
    let behind = b"1:a,6:switch,".len();
    for chunk_len in 1..=wire.len() {
        let mut peer = Harness::new(Frames::new(Log::default(), Prefixed::netstring()));
        let mut received = 0;
        for chunk in wire.chunks(chunk_len) {
            peer.receive(chunk);
            received += chunk.len();
            if peer.is_switched() {
                break;
            }
        }
        assert_eq!(seen(&peer), ["a", "switch"], "chunk_len={chunk_len}");
        assert_eq!(peer.leftover(), &wire[behind..received], "chunk_len={chunk_len}");
    }
}

#[test]
fn frames_before_one_that_is_too_long_are_delivered_once() {
    let mut peer = Harness::new(Frames::new(Log::default(), Prefixed::int8()));
    peer.protocol_mut().get_mut().pauses = true;
    let mut wire = b"\x01a\x01b".to_vec();
    wire.extend_from_slice(&[0; 3]);
    peer.receive(&wire);
    for _ in 0..10 {
        peer.notify();
    }
    assert_eq!(seen(&peer), ["a", "b", "", "", ""]);

    let framer = Prefixed::int8().with_max_length(1).unwrap();
    let mut peer = Harness::new(Frames::new(Log::default(), framer));
    peer.receive(b"\x01a\x01b\x02cc\x01d");
    peer.receive(b"\x01e");
    peer.receive_eof();
    assert_eq!(seen(&peer), ["a", "b"]);
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::ProtocolError);
}

#[test]
fn a_delivery_of_empty_frames_is_many() {
    const FRAMES: usize = 64 * 1024;
    /// Counts its frames, and how many of them came between two notifications.
    #[derive(Default)]
    struct Count {
        frames: usize,
        notified_at: Option<usize>,
    }
    impl FrameProtocol for Count {
        async fn frame_received(&mut self, t: &mut FrameTransport<'_>, frame: &[u8]) -> Result {
            assert!(frame.is_empty());
            if self.frames == 0 {
                t.handle().notify();
            }
            self.frames += 1;
            Ok(())
        }
        async fn notified(&mut self, _: &mut FrameTransport<'_>) -> Result {
            self.notified_at = Some(self.frames);
            Ok(())
        }
    }
    let mut peer = Harness::new(Frames::new(Count::default(), Prefixed::int8()));
    peer.receive(&[0; FRAMES]);
    let count = peer.protocol().get_ref();
    assert_eq!((count.frames, count.notified_at), (FRAMES, Some(1024)));
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
}

#[test]
fn a_peer_that_does_not_read_holds_the_frames_back() {
    let frame = encoded(&Prefixed::netstring(), &[b'x'; 9_993]);
    assert_eq!(frame.len(), 9_999);
    let mut peer = Harness::new(Frames::new(FrameEcho, Prefixed::netstring()));
    peer.set_reading_peer(false);
    for _ in 0..6 {
        peer.receive(&frame.repeat(5));
    }
    assert_eq!(peer.transport().queued(), 69_993, "nothing behind the frame that exceeds 64 KiB");
    peer.set_reading_peer(true);
    assert_eq!(peer.take_written(), frame.repeat(30));
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
}

#[test]
fn other_events_pass_through() {
    let mut peer = Harness::new(Frames::new(Log::default(), Prefixed::int8()));
    assert_eq!(peer.take_written(), b"\x05HELLO"[..], "a client may speak first");
    peer.time_out();
    peer.drain();
    peer.receive_reset();
    assert_eq!(seen(&peer), ["timed_out", "draining"]);
    assert_eq!(peer.protocol().get_ref().lost, [CloseKind::Reset]);
}

#[test]
fn defaults_close_in_order() {
    let mut peer = Harness::new(Frames::new(FrameEcho, Prefixed::int8()));
    peer.receive(b"\x01a");
    peer.drain();
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Shutdown);

    let mut peer = Harness::new(Frames::new(FrameEcho, Prefixed::int8()));
    peer.time_out();
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Closed);
}

proptest! {
    /// Whatever the chunks, and wherever callbacks pause, the frames are those that were sent.
    #[test]
    fn any_chunks_give_the_same_frames(
        frames in vec(prop::sample::select(&["", "a", "pause", "blink", "abcde"][..]), 0..20),
        cuts in vec(1..12_usize, 1..40),
    ) {
        delivered(Prefixed::netstring(), &frames, &cuts);
        delivered(Prefixed::int8().with_max_length(5).unwrap(), &frames, &cuts);
        delivered(Prefixed::int16(Endian::Big), &frames, &cuts);
        delivered(Prefixed::int32(Endian::Little), &frames, &cuts);
        delivered(Prefixed::varint(), &frames, &cuts);
        delivered(Delimited::new("--", 5).unwrap(), &frames, &cuts);
        let long: Vec<_> = frames.into_iter().filter(|frame| frame.len() == 5).collect();
        delivered(Fixed::new(5).unwrap(), &long, &cuts);
    }
}

#[track_caller]
fn delivered(framer: impl Framer + Clone, frames: &[&str], cuts: &[usize]) {
    let wire: Vec<u8> =
        frames.iter().flat_map(|frame| encoded(&framer, frame.as_bytes())).collect();
    let mut peer = Harness::new(Frames::new(Log::default(), framer));
    let (mut rest, mut cuts) = (&wire[..], cuts.iter().cycle());
    while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
        let (chunk, behind) = rest.split_at(*cut.min(&rest.len()));
        peer.receive(chunk);
        rest = behind;
        if cut % 3 == 0 {
            peer.notify();
        }
    }
    peer.receive_eof();
    for _ in 0..=frames.len() {
        peer.notify();
    }
    assert_eq!(seen(&peer), frames);
    assert_eq!(peer.reason().map(CloseReason::kind), Some(CloseKind::Eof));
}

const EOF: Option<(Side, CloseKind)> = Some((Side::Peer, CloseKind::Eof));
const PROTOCOL_ERROR: Option<(Side, CloseKind)> = Some((Side::Peer, CloseKind::ProtocolError));

/// Notes what it sees, and does what the frames say.
#[derive(Debug, Default)]
struct Log {
    seen: Vec<Vec<u8>>,
    lost: Vec<CloseKind>,
    reason: Option<CloseReason>,
    lenient: bool,
    /// Each frame pauses.
    pauses: bool,
}

impl FrameProtocol for Log {
    async fn connection_made(&mut self, t: &mut FrameTransport<'_>) -> Result {
        // Not what every framer can send.
        let _ = t.send_frame("HELLO");
        Ok(())
    }

    async fn frame_received(&mut self, t: &mut FrameTransport<'_>, frame: &[u8]) -> Result {
        self.seen.push(frame.to_vec());
        match frame.trim_ascii_end() {
            b"pause" => t.pause_reading(),
            b"blink" => {
                t.pause_reading();
                t.resume_reading();
            }
            b"close" => t.close(),
            b"abort" => t.abort(),
            b"switch" => t.switch_to(Discard, Residue::Feed),
            b"lenient" => self.lenient = true,
            b"fail" => return Err("no disk".into()),
            _ if self.pauses => t.pause_reading(),
            _ => {}
        }
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut FrameTransport<'_>, rest: &[u8]) -> Result {
        if self.lenient {
            self.seen.push([b"rest:", rest].concat());
        } else if !rest.is_empty() {
            return Err(ProtocolError::new(FrameError::UnexpectedEof { len: rest.len() }).into());
        }
        t.close();
        Ok(())
    }

    async fn notified(&mut self, t: &mut FrameTransport<'_>) -> Result {
        t.resume_reading();
        Ok(())
    }

    async fn timed_out(&mut self, _: &mut FrameTransport<'_>) -> Result {
        self.seen.push(b"timed_out".to_vec());
        Ok(())
    }

    async fn draining(&mut self, _: &mut FrameTransport<'_>) -> Result {
        self.seen.push(b"draining".to_vec());
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.lost.push(reason.kind());
        self.reason = Some(reason.clone());
    }
}

/// Replays `wire` and its end at every split, and returns the reason of one of them.
#[track_caller]
fn check(
    framer: impl Framer + Clone,
    wire: &[u8],
    want: &[&[u8]],
    ended: Option<(Side, CloseKind)>,
) -> CloseReason {
    let build = || Frames::new(Log::default(), framer.clone());
    let (Transcript { ended: how, .. }, (seen, lost)) = replay_with(wire, build, |frames| {
        (frames.get_ref().seen.clone(), frames.get_ref().lost.clone())
    });
    assert_eq!(seen, want, "{}", wire.escape_ascii());
    assert_eq!(how, ended, "{}", wire.escape_ascii());
    assert_eq!(lost.len(), 1);

    let mut peer = Harness::new(build());
    peer.receive(wire);
    peer.receive_eof();
    peer.protocol().get_ref().reason.clone().expect("every wire above ends its connection")
}

fn seen<F: Framer>(peer: &Harness<Frames<Log, F>>) -> Vec<&str> {
    let seen = peer.protocol().get_ref().seen.iter();
    seen.map(|frame| str::from_utf8(frame).expect("these tests send text")).collect()
}

/// What a framer makes of one frame.
fn encoded(framer: &impl Framer, frame: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let sent = framer.encode(frame, &mut |parts| wire = parts.concat());
    sent.expect("the frame can be sent");
    wire
}

fn frame_error(reason: &CloseReason) -> FrameError {
    let error = reason.source().and_then(|error| error.downcast_ref::<ProtocolError>());
    let error = error.and_then(|error| error.get_ref().downcast_ref::<FrameError>());
    error.expect("the peer is blamed for its frame").clone()
}

fn too_long(max_length: usize) -> FrameError {
    FrameError::TooLong { max_length }
}
