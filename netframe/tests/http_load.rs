//! What the protocol `http` costs under load, in a program of its own: requests sent ahead, long bodies
//! both ways, clients that do not read, heads that trickle. A file of its own, so that it runs alone, and
//! its tests one after the other.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "runner/cost.rs"]
mod cost;
#[path = "runner/good.rs"]
mod good;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/load.rs"]
mod load;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/program.rs"]
mod program;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use cost::processor_time;
use good::{Good, connect_small, goes_on};
use load::{Report, room};
use program::Program;

/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(|failed| failed.into_inner())
}

const MIB: usize = 1 << 20;

fn serve(options: &[&str]) -> Program {
    let args = ["http", "tcp://127.0.0.1:0", "--workers", "2", "--log", "warn"];
    Program::serve(&[&args, options].concat())
}

/// The most memory that a program has had, bytes.
fn peak(server: &Program) -> usize {
    server.peak_memory() * 1024
}

/// Bytes of the numbers in a batch.
const DIGITS: usize = 6;

/// So many requests, each of which has its number echoed.
fn requests(count: usize) -> Vec<u8> {
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {DIGITS}\r\n\r\n");
    (0..count).map(|n| head.clone() + &number(n)).collect::<String>().into_bytes()
}

fn number(n: usize) -> String {
    format!("{n:0DIGITS$}")
}

/// Sends requests, all at once or in pieces of this many bytes, while their answers are read; returns
/// the processor time that this took the server.
fn pipeline(server: &Program, requests: &[u8], count: usize, piece: usize) -> Duration {
    let before = processor_time(server);
    let client = server.connect();
    client.set_nodelay(true).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for piece in requests.chunks(piece) {
                (&client).write_all(piece).unwrap();
            }
        });
        let mut answers = BufReader::new(&client);
        for n in 0..count {
            assert_eq!(read_answer(&mut answers), number(n));
        }
    });
    processor_time(server) - before
}

/// Reads the head of an answer, which has to be a good one.
fn read_head(answer: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(answer.read_line(&mut head).unwrap(), 0, "it ended: {head}");
    }
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    head
}

/// Reads a head, all of whose fields but the date are checked, and the number behind it.
fn read_answer(answers: &mut impl BufRead) -> String {
    let head = read_head(answers);
    let (fields, date) = head.split_once("Date: ").expect(&head);
    let want = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 6\r\n";
    assert!(fields == want && date.len() == 29 + 4, "{head}");
    let mut number = [0; DIGITS];
    answers.read_exact(&mut number).unwrap();
    String::from_utf8(number.into()).unwrap()
}

#[test]
fn ten_thousand_requests_sent_ahead_are_answered_in_order_at_a_cost_that_is_linear() {
    const COUNT: usize = 10_000;
    let _alone = alone();
    let (once, twice) = (requests(COUNT), requests(2 * COUNT));
    // The processor time is counted in ticks of 10 ms: what takes few of them is done some times.
    for (piece, times) in [(usize::MAX, 5), (1, 1)] {
        let server = serve(&[]);
        pipeline(&server, &requests(10), 10, usize::MAX);
        let before = peak(&server);
        let cost = |requests, count| {
            (0..times).map(|_| pipeline(&server, requests, count, piece)).sum::<Duration>()
        };
        let first = cost(&once, COUNT);
        let grown = peak(&server) - before;
        assert!(grown < 4 * MIB, "{grown} B more");
        // How many bytes a read finds depends on what else the machine does: the median of three.
        let mut rounds: Vec<_> = (0..3)
            .map(|round| {
                let n = if round == 0 { first } else { cost(&once, COUNT) };
                (n, cost(&twice, 2 * COUNT))
            })
            .collect();
        rounds.sort_by(|(n, n2), (m, m2)| {
            (n2.as_secs_f64() / n.as_secs_f64()).total_cmp(&(m2.as_secs_f64() / m.as_secs_f64()))
        });
        println!("pieces of {piece} B: {rounds:?} for {COUNT} and twice that; {grown} B more");
        let (n, n2) = rounds[1];
        assert!(n2 <= 3 * n, "{n2:?} for twice what took {n:?}: {rounds:?}");
    }
}

const LONG: usize = 200 * MIB;

/// A piece of a long body. Its length is a prime, so that no piece looks as the one that was expected.
fn piece() -> Vec<u8> {
    (0..65_521_u32).map(|n| (n % 251) as u8).collect()
}

/// Writes a long body, and has each piece wrapped.
fn upload(mut client: &TcpStream, wrap: impl Fn(&[u8]) -> Vec<u8>) {
    let piece = piece();
    let mut left = LONG;
    while left > 0 {
        let len = left.min(piece.len());
        client.write_all(&wrap(&piece[..len])).unwrap();
        left -= len;
    }
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// Checks that bytes are those of a long body, wherever it is cut.
struct Expected {
    piece: Vec<u8>,
    at: usize,
}

impl Expected {
    fn take(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let begin = self.at % self.piece.len();
            let len = data.len().min(self.piece.len() - begin);
            assert!(data[..len] == self.piece[begin..][..len], "other bytes at {}", self.at);
            self.at += len;
            data = &data[len..];
        }
    }
}

/// Reads a chunked body to its end.
fn read_chunks(answer: &mut impl BufRead, mut take: impl FnMut(&[u8])) {
    let (mut data, mut line) = (Vec::new(), String::new());
    loop {
        line.clear();
        answer.read_line(&mut line).unwrap();
        let len = usize::from_str_radix(line.trim_end(), 16).expect(&line);
        data.resize(len + 2, 0);
        answer.read_exact(&mut data).unwrap();
        assert_eq!(data[len..], *b"\r\n");
        if len == 0 {
            return;
        }
        take(&data[..len]);
    }
}

/// What a long body there and back costs in memory.
fn echo_long(framing: &str, wrap: fn(&[u8]) -> Vec<u8>, end: &[u8], is_chunked: bool) {
    let server = serve(&[]);
    pipeline(&server, &requests(10), 10, usize::MAX);
    let before = peak(&server);
    let client = server.connect();
    let mut expected = Expected { piece: piece(), at: 0 };
    thread::scope(|scope| {
        scope.spawn(|| {
            let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            (&client).write_all(head.as_bytes()).unwrap();
            upload(&client, wrap);
            (&client).write_all(end).unwrap();
        });
        let mut answer = BufReader::with_capacity(64 * 1024, &client);
        read_head(&mut answer);
        if is_chunked {
            read_chunks(&mut answer, |data| expected.take(data));
        } else {
            let mut some = vec![0; 64 * 1024];
            while expected.at < LONG {
                let len = answer.read(&mut some).unwrap();
                assert_ne!(len, 0, "it ended after {} B", expected.at);
                expected.take(&some[..len]);
            }
        }
    });
    assert_eq!(expected.at, LONG);
    let grown = peak(&server) - before;
    println!("{framing}: {grown} B more");
    assert!(grown < 4 * MIB, "{grown} B more");
}

#[test]
fn long_bodies_go_up_and_down_in_little_memory() {
    let _alone = alone();
    echo_long(&format!("Content-Length: {LONG}"), <[u8]>::to_vec, b"", false);
    echo_long("Transfer-Encoding: chunked", chunk, b"0\r\n\r\n", true);

    let server = serve(&[]);
    pipeline(&server, &requests(10), 10, usize::MAX);
    let before = peak(&server);
    let client = server.connect();
    let ask = "GET /stream?chunks=200&size=1048576 HTTP/1.1\r\nHost: a\r\n\r\n";
    (&client).write_all(ask.as_bytes()).unwrap();
    let mut answer = BufReader::with_capacity(64 * 1024, &client);
    read_head(&mut answer);
    let mut len = 0;
    read_chunks(&mut answer, |data| {
        assert!(data.iter().all(|byte| *byte == b'.'));
        len += data.len();
    });
    assert_eq!(len, LONG);
    let grown = peak(&server) - before;
    println!("a long answer: {grown} B more");
    assert!(grown < 4 * MIB, "{grown} B more");
}

#[test]
fn clients_that_stop_reading_cost_a_watermark_each_and_end() {
    const CLIENTS: u64 = 20;
    let _alone = alone();
    let limits =
        ["high_watermark=16KiB", "low_watermark=4KiB", "hard_cap=64KiB", "write_stall_timeout=2s"];
    let limits: Vec<_> = limits.into_iter().flat_map(|limit| ["--limit", limit]).collect();
    let mut server = serve(&limits);
    // One that reads, so that the code and what each thread keeps are in memory.
    for _ in 0..4 {
        let ask = "GET /stream?chunks=4&size=1048576 HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(server.ask(ask.as_bytes()).ends_with(b"\r\n0\r\n\r\n"));
    }
    let before = peak(&server);
    let ask = "GET /stream?chunks=1000&size=1048576 HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = connect_small(server.addrs[0]);
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(program::PATIENCE)).unwrap();
        client.write_all(ask.as_bytes()).unwrap();
        client.read_exact(&mut [0; 1000]).unwrap(); // it is being answered
        clients.push(client);
    }
    // Each ends, and what it has not read by then is lost.
    let ended = await_report(&mut server, |report| report.number("live") == 0);
    let ends = [("eof by peer", 4), ("write-stall timeout by system", CLIENTS)];
    assert_eq!(ended.closed(), ends);
    ended.check_sum();
    let highest = ended.number("highest_queue");
    let grown = peak(&server) - before;
    println!("{CLIENTS} that do not read: {grown} B more, the longest queue {highest} B");
    assert!(highest <= 64 * 1024, "{highest}");
    assert!(grown < MIB, "{grown} B more");
    for mut client in clients {
        let mut rest = Vec::new();
        // The reset may have come before the bytes that were sent ahead of it are read.
        let _ = client.read_to_end(&mut rest);
        assert!(rest.len() < 8 * MIB && !rest.ends_with(b"0\r\n\r\n"), "that is no whole answer");
    }
}

/// What the server reports once it has come to that.
fn await_report(server: &mut Program, is_it: impl Fn(&Report) -> bool) -> Report {
    let began = Instant::now();
    loop {
        let report = Report::ask(server);
        if is_it(&report) {
            return report;
        }
        assert!(began.elapsed() < program::PATIENCE, "{report:?}");
        thread::sleep(Duration::from_millis(100)); // what is waited for takes seconds
    }
}

/// The time that a head may take: `head_timeout` below.
const HEAD_TIMEOUT: Duration = Duration::from_secs(3);

/// A client whose head trickles, a byte each time.
struct Slow {
    stream: TcpStream,
    since: Instant,
    sent: usize,
    seen: Vec<u8>,
}

impl Slow {
    fn new(addr: SocketAddr) -> Self {
        let stream = connect_small(addr);
        Self { stream, since: Instant::now(), sent: 0, seen: Vec::new() }
    }

    /// Sends a byte; false once the server has told it off and has closed, in time.
    fn go_on(&mut self) -> bool {
        let done = self.trickle();
        if goes_on(&done) {
            return true;
        }
        let after = self.since.elapsed();
        assert!((HEAD_TIMEOUT..3 * HEAD_TIMEOUT).contains(&after), "ended after {after:?}");
        let told = String::from_utf8_lossy(&self.seen);
        assert!(told.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{done:?}: {told}");
        false
    }

    fn trickle(&mut self) -> io::Result<()> {
        const HEAD: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: ";
        // First, as a write to what was closed would lose the answer that came ahead of that.
        let mut some = [0; 1024];
        match self.stream.read(&mut some) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                self.seen.extend_from_slice(&some[..len]);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.stream.write_all(&[*HEAD.get(self.sent).unwrap_or(&b'a')])?;
        self.sent += 1;
        Ok(())
    }
}

#[test]
fn one_client_is_served_as_fast_beside_heads_that_trickle() {
    const SLOW: usize = 500;
    let _alone = alone();
    let mut server = serve(&["--set", "head_timeout=3"]);
    let slow = room(SLOW);
    let addr = server.addrs[0];
    let is_answer = |answer: &[u8]| {
        answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n\r\nHello, World!")
    };
    let question = b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    let len = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\
               Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nHello, World!"
        .len();
    let mut good = Good::new(addr, question, len, is_answer);
    let pace = Duration::from_millis(500);
    let come = || (0..slow).map(|_| Slow::new(addr)).collect();
    let rounds = good.is_served_beside(Duration::from_secs(1), pace, come, Slow::go_on);

    let report = await_report(&mut server, |report| report.number("live") == 1);
    let all = (rounds * slow) as u64;
    assert_eq!(report.closed(), [("protocol error by peer", all)]);
    report.check_sum();
    drop(good);
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "nothing leaks: {}", end.stderr);
}
