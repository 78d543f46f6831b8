//! One client that behaves beside a thousand whose messages trickle and a thousand that never read, all of
//! the same service: what it feels of them, what they cost, and how they end. A file of its own, so that
//! it runs alone.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "runner/good.rs"]
mod good;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/load.rs"]
mod load;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/program.rs"]
mod program;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use good::{Good, connect_small, goes_on};
use load::{Report, room, worst_case};
use program::Program;

/// Clients of either kind.
const BAD: usize = 1000;

/// Time that a message, and a queue that does not move, may take: `message_timeout` and
/// `write_stall_timeout` below.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Between two bytes of a client that trickles.
const PACE: Duration = Duration::from_millis(100);

const CONFIG: &str = "\
[[service]]
protocol = 'line-echo'
listen = 'tcp://127.0.0.1:0?send_buffer=16KiB&recv_buffer=16KiB'
[service.limits]
max_connections = 2100
high_watermark = '32KiB'
hard_cap = '256KiB'
message_timeout = '4s'
write_stall_timeout = '4s'
";

#[test]
fn one_client_is_served_as_fast_beside_two_thousand_bad_ones() {
    let folder = std::env::temp_dir().join(format!("netframe-bad-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let config = folder.join("net.toml");
    fs::write(&config, CONFIG).unwrap();
    let config = config.to_str().unwrap();
    let worst = worst_case(config);
    let script = r#"ulimit -n 8192 2>/dev/null; exec "$0" "$@""#;
    let args = ["run", config, "--workers", "2", "--log", "warn"];
    let mut server = Program::start_by(script, &args, |it| it).listening("line-echo", 1);
    let (addr, bad) = (server.addrs[0], room(2 * BAD) / 2);
    let question = [&[b'?'; 31][..], b"\n"].concat();
    let is_answer = |answer: &[u8]| answer[..31] == [b'?'; 31] && answer[31] == b'\n';
    let mut good = Good::new(addr, &question, question.len(), is_answer);
    let come = || {
        let kinds = [Kind::Trickles, Kind::NeverReads];
        (0..bad).flat_map(|_| kinds.map(|kind| Bad::new(addr, kind))).collect()
    };
    let rounds = good.is_served_beside(TIMEOUT / 2, PACE, come, Bad::go_on);
    let peak = server.peak_memory() * 1024;
    println!("{} MiB at the most, {} MiB allowed", peak >> 20, worst >> 20);
    assert!(peak < worst, "{peak} of {worst} bytes");

    let report = Report::ask(&mut server);
    let all = (rounds * bad) as u64;
    let ends = [("write-stall timeout by system", all), ("message timeout by peer", all)];
    assert_eq!((report.closed(), report.number("live")), (ends.to_vec(), 1));
    report.check_sum();
    drop(good);
    server.signal("TERM");
    let end = server.end();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(end.code, Some(0), "nothing leaks: {}", end.stderr);
}

/// A client that takes what it can from a server.
struct Bad {
    kind: Kind,
    stream: TcpStream,
    since: Instant,
    sent: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Sends a byte of a message now and then, and never its end.
    Trickles,
    /// Asks for as much as it can, and reads no answer.
    NeverReads,
}

/// What those that never read ask for, again and again.
const LINE: [u8; 1000] = {
    let mut line = [b'x'; 1000];
    line[999] = b'\n';
    line
};

impl Bad {
    fn new(addr: SocketAddr, kind: Kind) -> Self {
        Self { kind, stream: connect_small(addr), since: Instant::now(), sent: 0 }
    }

    /// Does what it does, as far as it can for now. False once the server has ended it, which is neither
    /// early nor late.
    fn go_on(&mut self) -> bool {
        let done = match self.kind {
            Kind::Trickles => self.trickle(),
            Kind::NeverReads => self.ask(),
        };
        let goes_on = goes_on(&done);
        let (kind, after) = (self.kind, self.since.elapsed());
        let in_time = (TIMEOUT..3 * TIMEOUT).contains(&after);
        assert!(goes_on || in_time, "{kind:?}: ended after {after:?}");
        goes_on
    }

    fn trickle(&mut self) -> io::Result<()> {
        self.stream.write_all(b".")?;
        match self.stream.read(&mut [0])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => panic!("an unfinished message has no answer"),
        }
    }

    fn ask(&mut self) -> io::Result<()> {
        loop {
            self.sent += self.stream.write(&LINE[self.sent % LINE.len()..])?;
        }
    }
}
