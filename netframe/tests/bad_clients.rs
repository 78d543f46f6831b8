//! One client that behaves beside a thousand whose messages trickle and a thousand that never read, all of
//! the same service: what it feels of them, what they cost, and how they end. A file of its own, so that
//! it runs alone.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/load.rs"]
mod load;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/program.rs"]
mod program;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use load::{Report, room, worst_case};
use program::{PATIENCE, Program, connect};
use socket2::{Domain, Socket, Type};

/// Clients of either kind.
const BAD: usize = 1000;

/// Time that a message, and a queue that does not move, may take: `message_timeout` and
/// `write_stall_timeout` below.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Between two bytes of a client that trickles.
const PACE: Duration = Duration::from_millis(100);

/// The noise of a busy machine does not decide: one of so many rounds has to be quiet enough.
const ROUNDS: usize = 4;

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
    let mut good = connect(addr).unwrap();
    good.set_nodelay(true).unwrap();
    ask_for(&mut good, |count| count < 1000); // whatever is done at first has been done

    let mut rounds = 0;
    let mut is_quiet = false;
    while !is_quiet && rounds < ROUNDS {
        rounds += 1;
        let began = Instant::now();
        let alone = ask_for(&mut good, |_| began.elapsed() < TIMEOUT / 2);
        let beside = beside_bad_ones(&mut good, addr, bad);
        is_quiet = beside <= 2 * alone + Duration::from_millis(5);
        println!("p99 {alone:?} alone, {beside:?} beside {bad} + {bad} bad ones");
    }
    assert!(is_quiet, "the good client waits for the bad ones");
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

/// Asks, and reads the answer, as long as that is wanted; returns the time within which 99 of 100
/// answers came.
fn ask_for(good: &mut TcpStream, more: impl Fn(usize) -> bool) -> Duration {
    let mut times = Vec::new();
    let mut answer = [0; 32];
    let question = [&[b'?'; 31][..], b"\n"].concat();
    while more(times.len()) {
        let asked = Instant::now();
        good.write_all(&question).unwrap();
        good.read_exact(&mut answer).unwrap();
        times.push(asked.elapsed());
        assert_eq!(answer, *question);
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// As [`ask_for`], for the life of so many bad clients of both kinds.
fn beside_bad_ones(good: &mut TcpStream, addr: SocketAddr, bad: usize) -> Duration {
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..bad {
        clients.extend([Bad::new(addr, Kind::Trickles), Bad::new(addr, Kind::NeverReads)]);
    }
    let p99 = thread::scope(|scope| {
        let bad_ones = scope.spawn(|| {
            while !clients.is_empty() && began.elapsed() < PATIENCE {
                clients.retain_mut(Bad::go_on);
                thread::sleep(PACE); // which is what they do
            }
        });
        ask_for(good, |_| !bad_ones.is_finished())
    });
    assert!(clients.is_empty(), "{} bad clients are still served", clients.len());
    p99
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
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.set_send_buffer_size(16 * 1024).unwrap();
        socket.connect_timeout(&addr.into(), PATIENCE).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { kind, stream: socket.into(), since: Instant::now(), sent: 0 }
    }

    /// Does what it does, as far as it can for now. False once the server has ended it, which is neither
    /// early nor late.
    fn go_on(&mut self) -> bool {
        let goes_on = match self.kind {
            Kind::Trickles => self.trickle(),
            Kind::NeverReads => self.ask(),
        };
        match goes_on {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Ok(()) => true,
            Err(_) => {
                let (kind, after) = (self.kind, self.since.elapsed());
                assert!((TIMEOUT..3 * TIMEOUT).contains(&after), "{kind:?}: ended after {after:?}");
                false
            }
        }
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
