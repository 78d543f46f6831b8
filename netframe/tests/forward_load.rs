//! What `port-forward` costs when one side is slow, in a program of its own: a gibibyte each way, of which
//! the side that reads takes a piece only when the one that sends is stuck. A file of its own, so that it
//! runs alone, and its tests one after the other.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/load.rs"]
mod load;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/program.rs"]
mod program;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use load::Report;
use program::{PATIENCE, Program};

const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

/// Parts that are read at once, when the side that sends is stuck.
const PARTS: usize = 16;

/// What may be in memory beside what is there before anything is forwarded: for each direction a queue
/// of a high watermark and a delivery above it, with room for how the allocator keeps them.
const MORE: usize = MIB;

/// A piece of what is sent; its length is no multiple of what others cut at.
const PIECE: usize = 65_521;

/// Bytes that are the same nowhere else: each piece has its number in it.
struct Pattern {
    piece: Vec<u8>,
    number: u64,
    at: usize,
}

impl Pattern {
    fn new(seed: u8) -> Self {
        let piece = (0..PIECE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed);
        let mut pattern = Self { piece: piece.collect(), number: 0, at: 0 };
        pattern.stamp();
        pattern
    }

    fn stamp(&mut self) {
        self.piece[..8].copy_from_slice(&self.number.to_le_bytes());
    }

    /// What comes next, of at most so many bytes.
    fn next(&self, most: usize) -> &[u8] {
        let rest = &self.piece[self.at..];
        &rest[..rest.len().min(most)]
    }

    fn advance(&mut self, len: usize) {
        self.at += len;
        if self.at == PIECE {
            (self.at, self.number) = (0, self.number + 1);
            self.stamp();
        }
    }

    fn check(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let next = self.next(data.len());
            let len = next.len();
            assert!(
                data[..len] == *next,
                "other bytes in piece {} behind {}",
                self.number,
                self.at
            );
            data = &data[len..];
            self.advance(len);
        }
    }
}

/// Sends so many bytes and FIN; says so whenever nothing more is taken.
fn send(mut stream: &TcpStream, len: usize, seed: u8, stuck: SyncSender<()>) {
    // As long as it takes to see that nothing moves.
    stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
    let (mut pattern, mut left, mut since) = (Pattern::new(seed), len, Instant::now());
    while left > 0 {
        match stream.write(pattern.next(left)) {
            Ok(len) => {
                (left, since) = (left - len, Instant::now());
                pattern.advance(len);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let _ = stuck.try_send(()); // it is known already
                assert!(since.elapsed() < PATIENCE, "{left} B are left");
            }
            Err(error) => panic!("{error}, with {left} B left"),
        }
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Reads so many bytes and EOF, in parts before each of which it waits until the other side is stuck;
/// returns how often it was.
fn receive(mut stream: &TcpStream, len: usize, seed: u8, stuck: &Receiver<()>) -> usize {
    let (mut pattern, mut some, mut got, mut stops) =
        (Pattern::new(seed), vec![0; 64 * 1024], 0, 0);
    let mut read = || {
        let len = stream.read(&mut some).unwrap();
        pattern.check(&some[..len]);
        len
    };
    for part in 1..=PARTS {
        match stuck.recv_timeout(PATIENCE) {
            Ok(()) => stops += 1,
            Err(RecvTimeoutError::Disconnected) => {} // all is sent
            Err(RecvTimeoutError::Timeout) => panic!("nobody is stuck after {got} B"),
        }
        while got < len / PARTS * part {
            match read() {
                0 => panic!("it ended after {got} B"),
                more => got += more,
            }
        }
        let _ = stuck.try_recv(); // that was before
    }
    while let more @ 1.. = read() {
        got += more;
    }
    assert_eq!(got, len);
    stops
}

/// Up, the end of that, and only then down.
fn there_and_back(len: usize) {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("to=tcp://{}", target.local_addr().unwrap());
    let args = ["serve", "port-forward", "tcp://127.0.0.1:0", "--workers", "2", "--log", "warn"];
    let server = Program::start(&[&args[..], &["--set", &to]].concat());
    let mut server = server.listening("port-forward", 1);
    exchange(&server, &target, 4 * MIB); // pools and buffers are full
    let (before, began) = (server.peak_memory() * 1024, Instant::now());
    let stops = exchange(&server, &target, len);
    let (took, grown) = (began.elapsed(), server.peak_memory() * 1024 - before);
    let report = Report::ask(&mut server);
    let highest = report.number("highest_queue");
    println!(
        "{} MiB each way in {took:?}: {grown} B more, the longest queue {highest} B",
        len / MIB
    );
    assert_eq!(stops, 2 * PARTS, "one side was always slower");
    assert!(grown < MORE, "{grown} B more");
    assert!(highest <= 2 * 64 * 1024, "{highest} B");

    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "nothing leaks: {}", end.stderr);
    let report = Report::at_the_end(&end.stderr);
    assert_eq!(report.closed(), [("eof by peer", 2)]);
    let moved = (len + 4 * MIB) as u64;
    assert_eq!((report.number("bytes_in"), report.number("bytes_out")), (moved, moved));
}

/// Returns how often a side was stuck.
fn exchange(server: &Program, target: &TcpListener, len: usize) -> usize {
    let client = server.connect();
    let (peer, _) = target.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let ways = [(&client, &peer, 0), (&peer, &client, 0x55)].map(|(from, to, seed)| {
        let (stuck, is_stuck) = sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || send(from, len, seed, stuck));
            receive(to, len, seed, &is_stuck)
        })
    });
    ways.iter().sum()
}

#[test]
fn a_gibibyte_goes_there_and_back_past_a_slow_side_in_little_memory() {
    there_and_back(GIB);
}
