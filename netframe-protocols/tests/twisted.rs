//! What Twisted's receivers do with a buffer, and what they are known to do wrong with one, as far as
//! `line.rs`, `frame.rs` and `framer.rs` do not have it: `docs/guide/framing.md` has the table of all.

use std::thread;

use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Harness, replay_with};
use netframe_core::{CloseKind, Result, Side};
use netframe_protocols::frame::{
    Endian, FrameProtocol, FrameTransport, Framer, Frames, LengthPrefix, Prefixed,
};
use netframe_protocols::line::{
    Delimiter, LineEcho, LineFramer, LineOptions, LineProtocol, LineTransport, Lines,
};

const FLIPS: usize = 100_000;

/// Enough for a callback, and not for one within the other.
const SMALL_STACK: usize = 128 * 1024;

#[test]
fn a_full_line_is_taken_though_its_cr_and_lf_arrive_apart() {
    for max_length in [1, 5, 16 * 1024] {
        let mut peer = Harness::new(Lines::with_framer(LineEcho, crlf(max_length)));
        let line = vec![b'x'; max_length];
        peer.receive(&line);
        peer.receive(b"\r");
        assert!(peer.reason().is_none(), "it may still end in time");
        peer.receive(b"\nx\r");
        peer.receive(b"\n");
        assert_eq!(peer.take_written(), [&line[..], b"\r\nx\r\n"].concat());

        peer.receive(&line);
        peer.receive(b"\r");
        peer.receive(b"x"); // the CR was part of the line
        peer.receive_eof();
        assert_eq!(peer.reason().unwrap().kind(), CloseKind::ProtocolError);
    }
}

#[test]
fn raw_mode_and_a_pause_in_one_callback_hold_the_raw_bytes() {
    let wire = b"a\nraw-pause 5\n12\n45b\npause\nc\n";
    for chunk_len in 1..=wire.len() {
        let mut peer = Harness::new(Lines::new(Modes::default()));
        wire.chunks(chunk_len).for_each(|chunk| peer.receive(chunk));
        assert_eq!(modes(&peer), ["a", "raw-pause 5"], "chunk_len={chunk_len}");
        peer.notify();
        assert_eq!(modes(&peer)[2..], ["<12\n45>", "b", "pause"], "chunk_len={chunk_len}");
        peer.notify();
        assert_eq!(modes(&peer)[5..], ["c"], "chunk_len={chunk_len}");
    }
}

#[test]
fn raw_bytes_may_be_none_or_end_with_the_buffer() {
    for (wire, want) in [
        (&b"raw 0\nb\n"[..], &["raw 0", "<>", "b"][..]),
        (b"raw 2\n\n\n", &["raw 2", "<\n\n>"]),
        (b"raw 1\nxraw 1\ny\n", &["raw 1", "<x>", "raw 1", "<y>", ""]),
    ] {
        let (transcript, seen) = replay_with(
            wire,
            || Lines::new(Modes::default()),
            |lines| lines.get_ref().seen.clone(),
        );
        assert_eq!(seen, want);
        assert_eq!(transcript.ended, Some((Side::Peer, CloseKind::Eof)));
    }
}

#[test]
fn what_is_behind_a_line_can_be_thrown_away() {
    let mut peer = Harness::new(Lines::new(Modes::default()));
    peer.receive(b"clear\nb\nc");
    assert_eq!(modes(&peer), ["clear"]);
    peer.receive(b"d\n");
    assert_eq!(modes(&peer), ["clear", "d"]);
}

#[test]
fn one_line_is_delivered_for_each_end_of_a_pause() {
    let mut peer = Harness::new(Lines::new(Modes::default()));
    peer.receive(b"pause\npause\npau");
    for count in [1, 2, 2] {
        assert_eq!(modes(&peer).len(), count);
        peer.notify();
    }
    peer.receive(b"se\n");
    assert_eq!(modes(&peer), ["pause"; 3]);
}

#[test]
fn modes_and_pauses_in_callbacks_use_up_no_stack() {
    on_a_small_stack(|| {
        let mut peer = Harness::new(Lines::new(Modes::default()));
        peer.receive(&b"raw 1\nx".repeat(FLIPS));
        assert_eq!(modes(&peer).len(), 2 * FLIPS);
        let mut peer = Harness::new(Lines::new(Modes::default()));
        peer.receive(&b"blink\n".repeat(FLIPS));
        assert_eq!(modes(&peer).len(), FLIPS);
        blinks(Prefixed::netstring());
        blinks(Prefixed::int8());
        blinks(Prefixed::int16(Endian::Big));
        blinks(Prefixed::int32(Endian::Little));
        blinks(Prefixed::varint());
    });
}

#[test]
fn a_delivery_of_empty_lines_is_many() {
    const LINES: usize = 64 * 1024;
    let mut peer = Harness::new(Lines::new(Counts::default()));
    peer.receive(&[b'\n'; LINES]);
    let counts = peer.protocol().get_ref();
    assert_eq!((counts.lines, counts.notified_at), (LINES, Some(1024)));
    // Neither are changes of the mode for nothing.
    let mut peer = Harness::new(Lines::new(Counts { flips: true, ..Counts::default() }));
    peer.receive(&[b'\n'; LINES]);
    let counts = peer.protocol().get_ref();
    assert_eq!((counts.lines, counts.notified_at), (LINES, Some(512)));
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
}

/// Does what the lines say.
#[derive(Debug, Default)]
struct Modes {
    seen: Vec<String>,
    raw_len: Option<usize>,
}

impl LineProtocol for Modes {
    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        let line = String::from_utf8(line.to_vec())?;
        let (word, len) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "pause" | "raw-pause" => t.pause_reading(),
            "blink" => {
                t.pause_reading();
                t.resume_reading();
            }
            _ => {}
        }
        self.raw_len = len.parse().ok();
        if matches!(word, "raw" | "raw-pause" | "clear") {
            t.set_raw_mode();
        }
        self.seen.push(line);
        Ok(())
    }

    async fn raw_received(&mut self, t: &mut LineTransport<'_>, data: &mut BytesMut) -> Result {
        match self.raw_len {
            None => data.clear(),
            Some(len) if data.len() < len => return Ok(()),
            Some(len) => {
                let raw = String::from_utf8(data.split_to(len).to_vec())?;
                self.seen.push(format!("<{raw}>"));
            }
        }
        t.set_line_mode();
        Ok(())
    }

    async fn notified(&mut self, t: &mut LineTransport<'_>) -> Result {
        t.resume_reading();
        Ok(())
    }
}

fn modes(peer: &Harness<Lines<Modes>>) -> Vec<&str> {
    peer.protocol().get_ref().seen.iter().map(String::as_str).collect()
}

/// Counts lines, and how many of them came before a notification had its turn.
#[derive(Debug, Default)]
struct Counts {
    lines: usize,
    notified_at: Option<usize>,
    /// Each line changes the mode, and so do the raw bytes, of which none are taken.
    flips: bool,
}

impl LineProtocol for Counts {
    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        assert!(line.is_empty());
        if self.lines == 0 {
            t.handle().notify();
        }
        self.lines += 1;
        if self.flips {
            t.set_raw_mode();
        }
        Ok(())
    }

    async fn raw_received(&mut self, t: &mut LineTransport<'_>, _: &mut BytesMut) -> Result {
        t.set_line_mode();
        Ok(())
    }

    async fn notified(&mut self, _: &mut LineTransport<'_>) -> Result {
        self.notified_at = Some(self.lines);
        Ok(())
    }
}

/// Each of its frames pauses and goes on.
#[derive(Debug, Default)]
struct Blinks(usize);

impl FrameProtocol for Blinks {
    async fn frame_received(&mut self, t: &mut FrameTransport<'_>, _: &[u8]) -> Result {
        self.0 += 1;
        t.pause_reading();
        t.resume_reading();
        Ok(())
    }
}

fn blinks(framer: Prefixed<impl LengthPrefix>) {
    let mut frame = Vec::new();
    framer.encode(b"x", &mut |parts| frame = parts.concat()).expect("it has one byte");
    let mut peer = Harness::new(Frames::new(Blinks::default(), framer));
    peer.receive(&frame.repeat(FLIPS));
    assert_eq!(peer.protocol().get_ref().0, FLIPS);
}

fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(SMALL_STACK).spawn(test);
    thread.expect("there is room for it").join().expect("the stack was enough");
}

fn crlf(max_length: usize) -> LineFramer {
    let mut options = LineOptions::default();
    (options.delimiter, options.max_length) = (Delimiter::Crlf, max_length);
    LineFramer::new(options).expect("both are more than nothing")
}
