//! Tests of a protocol without a network, a runtime or a clock: nothing in them waits.
//!
//! Run them with `cargo run -p netframe-examples --example test_without_network`, which prints `ok`
//! and a name for each, or as tests with
//! `cargo test -p netframe-examples --example test_without_network`.

use std::time::Duration;

use netframe::protocols::line::{LineProtocol, LineTransport, Lines};
use netframe::testing::{Harness, Recorder, replay};
use netframe::{CloseKind, ProtocolError, Result, Side, Transport};

/// Time between two lines.
const PATIENCE: Duration = Duration::from_secs(30);

/// Adds up the numbers it is sent, one a line, and answers each with the sum so far.
#[derive(Default)]
struct Adder {
    sum: u64,
}

impl LineProtocol for Adder {
    async fn connection_made(&mut self, t: &mut LineTransport<'_>) -> Result {
        t.set_timeout(Some(PATIENCE));
        Ok(())
    }

    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        let number = std::str::from_utf8(line).ok().and_then(|text| text.parse::<u64>().ok());
        let sum = number.and_then(|number| self.sum.checked_add(number));
        self.sum = sum.ok_or_else(|| ProtocolError::new("not a number, or a sum above 2^64"))?;
        t.send_line(self.sum.to_string())?;
        t.set_timeout(Some(PATIENCE));
        Ok(())
    }

    async fn timed_out(&mut self, t: &mut LineTransport<'_>) -> Result {
        say_goodbye(&mut **t, self.sum);
        Ok(())
    }
}

fn say_goodbye(t: &mut dyn Transport, sum: u64) {
    t.write(format!("bye, it was {sum}\n").as_bytes());
    t.close();
}

fn adder() -> Lines<Adder> {
    Lines::new(Adder::default())
}

/// `replay` feeds the bytes in pieces of every size, and fails where two sizes differ.
#[cfg_attr(test, test)]
fn answers_are_the_same_however_the_bytes_are_cut() {
    let seen = replay(b"1\n2\n39\n", adder);
    assert_eq!(seen.written, b"1\n3\n42\n");
    assert_eq!(seen.ended, Some((Side::Peer, CloseKind::Eof)));
}

/// A `Harness` is one connection, and the test is its network.
#[cfg_attr(test, test)]
fn a_bad_line_ends_the_connection_after_the_answers_before_it() {
    let mut peer = Harness::new(adder());
    peer.receive(b"1\n2");
    assert_eq!(peer.take_written(), b"1\n"[..]);
    assert_eq!(peer.leftover(), b"2");
    peer.receive(b"0\ntwo\n3\n");
    peer.receive_eof();
    assert_eq!(peer.take_written(), b"21\n"[..]);
    let reason = peer.reason().expect("the bad line ended it");
    assert_eq!((reason.by(), reason.kind()), (Side::Peer, CloseKind::ProtocolError));
}

/// Time passes when the test says so.
#[cfg_attr(test, test)]
fn a_silent_peer_is_told_the_sum_and_left() {
    let mut peer = Harness::new(adder());
    peer.receive(b"5\n");
    assert_eq!(peer.transport().timeout(), Some(PATIENCE));
    peer.time_out();
    assert_eq!(peer.take_written(), b"5\nbye, it was 5\n"[..]);
    assert!(peer.transport().is_closed());
}

/// The harness keeps the rules of a real connection, such as backpressure.
#[cfg_attr(test, test)]
fn a_peer_that_does_not_read_is_not_read_from() {
    const LINES: usize = 100_000;
    let mut peer = Harness::new(adder());
    peer.set_reading_peer(false);
    for chunk in b"1\n".repeat(LINES).chunks(1000) {
        peer.receive(chunk);
    }
    assert!(peer.protocol().get_ref().sum < LINES as u64);
    assert!(peer.transport().queued() < 66 * 1024, "the high watermark, and an answer");
    peer.set_reading_peer(true);
    assert_eq!(peer.protocol().get_ref().sum, LINES as u64);
    assert!(peer.take_written().ends_with(b"\n100000\n"));
}

/// A `Recorder` is a transport for whatever takes one.
#[cfg_attr(test, test)]
fn goodbye_is_one_line_then_the_end() {
    let mut t = Recorder::new();
    say_goodbye(&mut t, 42);
    assert_eq!(t.take_written(), b"bye, it was 42\n"[..]);
    assert!(t.is_closed());
}

fn main() {
    let tests: [(&str, fn()); _] = [
        ("replay", answers_are_the_same_however_the_bytes_are_cut),
        ("end", a_bad_line_ends_the_connection_after_the_answers_before_it),
        ("time", a_silent_peer_is_told_the_sum_and_left),
        ("backpressure", a_peer_that_does_not_read_is_not_read_from),
        ("recorder", goodbye_is_one_line_then_the_end),
    ];
    for (name, test) in tests {
        test();
        println!("ok {name}");
    }
}
