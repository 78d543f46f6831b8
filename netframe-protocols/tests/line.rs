//! The line protocol without a network: limits, pauses, raw mode, the end of input, a slow peer.

use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Harness, Transcript, replay_with};
use netframe_core::{
    CloseKind, CloseReason, Limits, ProtocolError, Residue, Result, Side, Transport,
};
use netframe_protocols::Discard;
use netframe_protocols::line::{
    Delimiter, LineEcho, LineError, LineFramer, LineOptions, LineProtocol, LineTransport, Lines,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn lines_arrive_once_and_in_order() {
    check(lf(100), b"a\n\nbc\n", &["a", "", "bc"], EOF);
    check(lf(100), b"a\r\nb\n", &["a\r", "b"], EOF);
    check(crlf(100), b"a\nb\r\n\r\nc\r\r\n", &["a\nb", "", "c\r"], EOF);
}

#[test]
fn a_line_may_have_the_limit_and_no_more() {
    for (framer, delimiter) in [(lf(5), "\n"), (crlf(5), "\r\n")] {
        for line in ["1234", "12345"] {
            let wire = format!("a{delimiter}{line}{delimiter}b{delimiter}");
            check(framer.clone(), wire.as_bytes(), &["a", line, "b"], EOF);
        }
        let wire = format!("a{delimiter}123456{delimiter}b{delimiter}");
        let reason = check(framer, wire.as_bytes(), &["a"], PROTOCOL_ERROR);
        assert_eq!(line_error(&reason), LineError::TooLong { max_length: 5 });
    }
}

#[test]
fn the_reason_names_the_limit() {
    let mut peer = Harness::new(Lines::new(Log::default()));
    peer.receive(&[b'x'; 16 * 1024]);
    assert!(peer.reason().is_none());
    peer.receive(b"x");
    peer.receive_eof();
    assert_eq!(
        peer.reason().unwrap().to_string(),
        "protocol error by peer: a line exceeds 16384 bytes; raise `max_length` if such lines are meant"
    );
}

#[test]
fn the_end_of_input_inside_a_line_is_an_error() {
    let reason = check(lf(5), b"a\nbcd", &["a"], PROTOCOL_ERROR);
    assert_eq!(line_error(&reason), LineError::UnexpectedEof { len: 3 });
    let reason = check(crlf(5), b"a\r\nb\r", &["a"], PROTOCOL_ERROR);
    assert_eq!(line_error(&reason), LineError::UnexpectedEof { len: 2 });
    // The line and a part of its delimiter are more than a line may have.
    let reason = check(crlf(5), b"12345\r", &[], PROTOCOL_ERROR);
    assert_eq!(line_error(&reason), LineError::TooLong { max_length: 5 });
}

#[test]
fn half_a_line_is_no_line_by_default() {
    let mut peer = Harness::new(Lines::new(LineEcho));
    peer.receive(b"a\nbcd");
    peer.receive_eof();
    assert_eq!(peer.take_written(), b"a\n"[..]);
    assert_eq!(
        peer.reason().unwrap().to_string(),
        "protocol error by peer: input ended after 3 bytes of an unfinished message"
    );
}

#[test]
fn a_protocol_may_take_an_unterminated_line() {
    check(lf(100), b"lenient\nabc", &["lenient", "rest:abc"], EOF);
    check(lf(100), b"lenient\n", &["lenient", "rest:"], EOF);
}

#[test]
fn raw_mode_begins_behind_its_line_and_leaves_the_rest() {
    check(
        lf(100),
        b"a\nraw 5\n1\n345b\nraw 2\n\n\n\n",
        &["a", "raw 5", "<1\n345>", "b", "raw 2", "<\n\n>", ""],
        EOF,
    );
    // Neither does the limit hold in raw mode, nor are its bytes searched.
    check(lf(5), b"raw 9\n123456789a\n", &["raw 9", "<123456789>", "a"], EOF);
}

#[test]
fn the_end_of_input_inside_raw_bytes_is_an_error() {
    let reason = check(lf(100), b"raw 5\n12", &["raw 5"], PROTOCOL_ERROR);
    assert_eq!(line_error(&reason), LineError::UnexpectedEof { len: 2 });
}

#[test]
fn raw_mode_without_a_receiver_is_a_local_error() {
    struct Forgetful;
    impl LineProtocol for Forgetful {
        async fn line_received(&mut self, t: &mut LineTransport<'_>, _: &[u8]) -> Result {
            t.set_raw_mode();
            assert!(t.is_raw());
            Ok(())
        }
    }
    let (transcript, ()) = replay_with(b"a\nb", || Lines::new(Forgetful), |_| ());
    assert_eq!(transcript.ended, Some((Side::Local, CloseKind::Error)));
}

#[test]
fn a_mode_set_outside_of_data_callbacks_applies_to_the_leftover() {
    let mut peer = Harness::new(Lines::new(Log::default()));
    peer.receive(b"12");
    peer.protocol_mut().get_mut().on_notify = OnNotify::Raw(5);
    peer.notify();
    assert_eq!(seen(&peer), [] as [&str; 0], "two of five bytes are here");
    peer.receive(b"345a\nb");
    assert_eq!(seen(&peer), ["<12345>", "a"]);

    // Raw bytes that wait for more become a line at once.
    let mut peer = Harness::new(Lines::new(Log::default()));
    peer.receive(b"raw 5\na\nb");
    peer.protocol_mut().get_mut().on_notify = OnNotify::Lines;
    peer.notify();
    assert_eq!(seen(&peer), ["raw 5", "a"]);
    assert_eq!(peer.leftover(), b"b");
}

#[test]
fn nothing_is_delivered_during_a_pause() {
    let mut peer = Harness::new(Lines::new(Log::default()));
    peer.receive(b"a\npause\nb\npause\nc\nd");
    assert_eq!(seen(&peer), ["a", "pause"]);
    assert_eq!(peer.leftover(), b"b\npause\nc\nd");
    peer.receive(b"d\n"); // is not read
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
    check(lf(100), b"a\nblink\nb\nblink\n", &["a", "blink", "b", "blink"], EOF);
}

#[test]
fn nothing_is_delivered_after_a_close() {
    check(lf(100), b"a\nclose\nb\nc", &["a", "close"], Some((Side::Local, CloseKind::Closed)));
    check(lf(100), b"a\nabort\nb\nc", &["a", "abort"], Some((Side::Local, CloseKind::Aborted)));
    check(lf(100), b"a\nfail\nb\nc", &["a", "fail"], Some((Side::Local, CloseKind::Error)));
}

#[test]
fn a_switch_leaves_exactly_what_is_behind_its_line() {
    let wire = b"a\nswitch\nb\n\nc";
    let behind = b"a\nswitch\n".len();
    for chunk_len in 1..=wire.len() {
        let mut peer = Harness::new(Lines::new(Log::default()));
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
fn a_peer_that_does_not_read_holds_the_lines_back() {
    let line = [&[b'x'; 9_999][..], b"\n"].concat();
    let mut peer = Harness::new(Lines::new(LineEcho));
    peer.set_reading_peer(false);
    for _ in 0..6 {
        peer.receive(&line.repeat(5));
    }
    assert_eq!(peer.transport().queued(), 70_000, "nothing behind the line that exceeds 64 KiB");
    peer.set_reading_peer(true);
    assert_eq!(peer.take_written(), line.repeat(30));
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
}

#[test]
fn a_line_that_contains_the_delimiter_is_not_sent() {
    let (transcript, _) = replay_with(
        b"send a\rb\r\nsend c\r\n",
        || Lines::with_framer(Log::default(), crlf(100)),
        |_| (),
    );
    assert_eq!(transcript.written, b"a\rb\r\nc\r\n");

    struct Splitter;
    impl LineProtocol for Splitter {
        async fn line_received(&mut self, t: &mut LineTransport<'_>, _: &[u8]) -> Result {
            assert_eq!(t.send_line("a\nb"), Err(LineError::ContainsDelimiter));
            assert_eq!(t.queued(), 0);
            t.send_line("a\nb")?;
            Ok(())
        }
    }
    let (transcript, ()) = replay_with(b"a\n", || Lines::new(Splitter), |_| ());
    assert_eq!(
        transcript,
        replay_with(b"fail\n", || Lines::new(Log::default()), |_| ()).0,
        "the bug is not the peer's"
    );
}

#[test]
fn other_events_pass_through() {
    let mut peer = Harness::new(Lines::new(Log::default()));
    peer.time_out();
    peer.drain();
    peer.receive_reset();
    assert_eq!(seen(&peer), ["timed_out", "draining"]);
    assert_eq!(peer.protocol().get_ref().lost, [CloseKind::Reset]);
}

#[test]
fn a_client_may_speak_first() {
    struct Client;
    impl LineProtocol for Client {
        async fn connection_made(&mut self, t: &mut LineTransport<'_>) -> Result {
            t.send_line("HELLO")?;
            Ok(())
        }
        async fn line_received(&mut self, _: &mut LineTransport<'_>, _: &[u8]) -> Result {
            Ok(())
        }
    }
    let mut peer = Harness::new(Lines::with_framer(Client, crlf(100)));
    assert_eq!(peer.take_written(), b"HELLO\r\n"[..]);
}

#[test]
fn defaults_close_in_order() {
    let mut peer = Harness::new(Lines::new(LineEcho));
    peer.receive(b"a\n");
    peer.drain();
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Shutdown);

    let mut peer = Harness::new(Lines::new(LineEcho));
    peer.time_out();
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Closed);
}

proptest! {
    /// Whatever the chunks, and wherever callbacks pause, the lines are those of a plain split.
    #[test]
    fn any_chunks_give_the_same_lines(
        lines in vec(prop::sample::select(&["", "a", "pause", "blink", "bcdef"][..]), 0..20),
        cuts in vec(1..12_usize, 1..40),
    ) {
        let wire: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let mut peer = Harness::new(Lines::with_framer(Log::default(), crlf(5)));
        let (mut rest, mut cuts) = (wire.as_bytes(), cuts.into_iter().cycle());
        while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
            let (chunk, behind) = rest.split_at(cut.min(rest.len()));
            peer.receive(chunk);
            rest = behind;
            if cut % 3 == 0 {
                peer.notify();
            }
        }
        peer.receive_eof();
        while peer.reason().is_none() {
            peer.notify();
        }
        prop_assert_eq!(seen(&peer), lines);
        prop_assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
    }
}

const EOF: Option<(Side, CloseKind)> = Some((Side::Peer, CloseKind::Eof));
const PROTOCOL_ERROR: Option<(Side, CloseKind)> = Some((Side::Peer, CloseKind::ProtocolError));

/// Notes what it sees, and does what the lines say.
#[derive(Debug, Default)]
struct Log {
    seen: Vec<String>,
    lost: Vec<CloseKind>,
    reason: Option<CloseReason>,
    raw_len: usize,
    lenient: bool,
    on_notify: OnNotify,
}

#[derive(Clone, Copy, Debug, Default)]
enum OnNotify {
    #[default]
    Resume,
    Raw(usize),
    Lines,
}

impl LineProtocol for Log {
    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        let line = String::from_utf8(line.to_vec())?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("pause", _) => t.pause_reading(),
            ("blink", _) => {
                t.pause_reading();
                t.resume_reading();
            }
            ("close", _) => t.close(),
            ("abort", _) => t.abort(),
            ("switch", _) => t.switch_to(Discard, Residue::Feed),
            ("lenient", _) => self.lenient = true,
            ("send", words) => t.send_line(words)?,
            ("raw", len) => {
                self.raw_len = len.parse()?;
                t.set_raw_mode();
            }
            _ => {}
        }
        let failed = line == "fail";
        self.seen.push(line);
        if failed { Err("no disk".into()) } else { Ok(()) }
    }

    async fn raw_received(&mut self, t: &mut LineTransport<'_>, data: &mut BytesMut) -> Result {
        if data.len() >= self.raw_len {
            let raw = String::from_utf8(data.split_to(self.raw_len).to_vec())?;
            self.seen.push(format!("<{raw}>"));
            t.set_line_mode();
        }
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut LineTransport<'_>, rest: &[u8]) -> Result {
        if self.lenient {
            self.seen.push(format!("rest:{}", rest.escape_ascii()));
        } else if !rest.is_empty() {
            let error = LineError::UnexpectedEof { len: rest.len() };
            return Err(ProtocolError::new(error).into());
        }
        t.close();
        Ok(())
    }

    async fn notified(&mut self, t: &mut LineTransport<'_>) -> Result {
        match self.on_notify {
            OnNotify::Resume => t.resume_reading(),
            OnNotify::Lines => t.set_line_mode(),
            OnNotify::Raw(len) => {
                self.raw_len = len;
                t.set_raw_mode();
            }
        }
        Ok(())
    }

    async fn timed_out(&mut self, _: &mut LineTransport<'_>) -> Result {
        self.seen.push("timed_out".into());
        Ok(())
    }

    async fn draining(&mut self, _: &mut LineTransport<'_>) -> Result {
        self.seen.push("draining".into());
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
    framer: LineFramer,
    wire: &[u8],
    want: &[&str],
    ended: Option<(Side, CloseKind)>,
) -> CloseReason {
    let build = || Lines::with_framer(Log::default(), framer.clone());
    let (Transcript { ended: how, .. }, (seen, lost)) = replay_with(wire, build, |lines| {
        (lines.get_ref().seen.clone(), lines.get_ref().lost.clone())
    });
    assert_eq!(seen, want);
    assert_eq!(how, ended);
    assert_eq!(lost.len(), 1);

    let mut peer = Harness::new(build());
    peer.receive(wire);
    peer.receive_eof();
    peer.protocol().get_ref().reason.clone().expect("every wire above ends its connection")
}

fn seen(peer: &Harness<Lines<Log>>) -> Vec<&str> {
    peer.protocol().get_ref().seen.iter().map(String::as_str).collect()
}

fn line_error(reason: &CloseReason) -> LineError {
    let error = reason.source().and_then(|error| error.downcast_ref::<ProtocolError>());
    let error = error.and_then(|error| error.get_ref().downcast_ref());
    *error.expect("the peer is blamed for its line")
}

fn lf(max_length: usize) -> LineFramer {
    framer(Delimiter::Lf, max_length)
}

fn crlf(max_length: usize) -> LineFramer {
    framer(Delimiter::Crlf, max_length)
}

fn framer(delimiter: Delimiter, max_length: usize) -> LineFramer {
    let mut options = LineOptions::default();
    (options.delimiter, options.max_length) = (delimiter, max_length);
    LineFramer::new(options).expect("no test has an empty option")
}

#[test]
fn a_line_above_the_caps_takes_its_delimiter_along() {
    let mut limits = Limits::default();
    limits.low_watermark = 10;
    limits.high_watermark = 100;
    limits.hard_cap = 100;
    let echo = Lines::new(LineEcho);
    let mut harness = Harness::with_limits(echo, limits);
    let line = [&[b'x'; 200][..], b"\n"].concat();
    harness.receive(&line);
    assert_eq!(harness.take_written(), line[..]);
}
