//! A chat of two thousand members, half of whom never read, in a program of its own: its memory, its
//! processor time once all is said, and what it counts. A file of its own, so that it runs alone.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "runner/cost.rs"]
mod cost;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/load.rs"]
mod load;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/program.rs"]
mod program;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cost::processor_time;
use load::{room, worst_case};
use program::{PATIENCE, Program};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy, sink};
use tokio::runtime::Builder;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

const MEMBERS: usize = 2000;
const WRITERS: usize = 20;
const LINES: usize = 20;

/// Bytes of a line: all of them together are more than may wait for one member.
const LINE: usize = 900;

const CONFIG: &str = "\
[[service]]
protocol = 'chat'
listen = 'tcp://127.0.0.1:0?send_buffer=16KiB'
[service.limits]
max_connections = 2100
high_watermark = '32KiB'
hard_cap = '256KiB'
write_stall_timeout = '10m'
[service.options]
history = 10
max_backlog = 65536
max_rooms = 1
";

#[test]
fn readers_get_every_line_beside_members_that_never_read() {
    let folder = std::env::temp_dir().join(format!("netframe-crowd-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let config = folder.join("net.toml");
    fs::write(&config, CONFIG).unwrap();
    let config = config.to_str().unwrap();
    let worst = worst_case(config);
    let script = r#"ulimit -n 8192 2>/dev/null; exec "$0" "$@""#;
    let args = ["run", config, "--workers", "2", "--log", "warn"];
    let server = Program::start_by(script, &args, |command| command).listening("chat", 1);
    let addr = server.addrs[0];
    let members = room(MEMBERS);

    let deaf: Vec<_> = (0..members / 2).map(|n| join(addr, &format!("deaf{n}"), true)).collect();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let talkers = runtime.block_on(talk(addr, members / 2));

    let peak = server.peak_memory() * 1024;
    println!("{members} members: {} MiB at the most, {} MiB allowed", peak >> 20, worst >> 20);
    assert!(peak < worst, "{peak} of {worst} bytes");
    let before = processor_time(&server);
    thread::sleep(Duration::from_secs(5)); // what is measured is that nothing happens
    let spent = processor_time(&server) - before;
    println!("{spent:?} of processor time in 5 s");
    assert!(spent < Duration::from_millis(100), "{spent:?}");

    server.signal("USR1");
    drop((deaf, talkers, runtime));
    server.signal("TERM");
    let end = server.end();
    fs::remove_dir_all(&folder).unwrap();
    let missed = end.stderr.split(" missed=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(missed.parse::<usize>().unwrap() > members / 2 * 100, "{}", end.stderr);
    assert_eq!(end.code, Some(0), "{}", end.stderr);
}

/// Comes in; one that is deaf has little room for what it does not read.
fn join(addr: SocketAddr, name: &str, deaf: bool) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if deaf {
        socket.set_recv_buffer_size(4096).unwrap();
    }
    socket.connect(&addr.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{name}\n").as_bytes()).unwrap();
    stream
}

/// Some members write, round after round, and `count` members read: each gets every line of every
/// writer, in order.
async fn talk(addr: SocketAddr, count: usize) -> impl Sized {
    let mut readers = Vec::new();
    for number in 0..count {
        let mut reader = BufReader::new(join_async(addr, &format!("reader{number}")));
        while !next_line(&mut reader).await.contains("you are in lobby") {}
        readers.push(reader);
    }
    let round = Arc::new(Barrier::new(count + 1));
    let mut reading = JoinSet::new();
    for reader in readers {
        reading.spawn(read_lines(reader, Arc::clone(&round)));
    }
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let (mut hears, says) = join_async(addr, &format!("writer{number}")).into_split();
        // Who does not read is not read from.
        tokio::spawn(async move { copy(&mut hears, &mut sink()).await });
        writers.push(says);
    }
    for line in 0..LINES {
        for (number, writer) in writers.iter_mut().enumerate() {
            let text = format!("{line} of {number} {}\n", ".".repeat(LINE));
            writer.write_all(text.as_bytes()).await.unwrap();
        }
        let all = timeout(PATIENCE, round.wait());
        tokio::select! {
            heard = all => assert!(heard.is_ok(), "not all readers have got round {line}"),
            Some(Err(failed)) = reading.join_next() => panic!("{failed}"),
        }
    }
    // Their leaving would be told to all.
    (reading.join_all().await, writers)
}

fn join_async(addr: SocketAddr, name: &str) -> tokio::net::TcpStream {
    let stream = join(addr, name, false);
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

async fn next_line(reader: &mut BufReader<tokio::net::TcpStream>) -> String {
    let mut line = String::new();
    let read = timeout(PATIENCE, reader.read_line(&mut line)).await;
    assert!(read.expect("lines come").unwrap() > 0, "it was disconnected");
    line
}

async fn read_lines(
    mut reader: BufReader<tokio::net::TcpStream>,
    round: Arc<Barrier>,
) -> BufReader<tokio::net::TcpStream> {
    let mut next = [0; WRITERS];
    for heard in 1..=LINES {
        while next != [heard; WRITERS] {
            let line = next_line(&mut reader).await;
            assert!(!line.contains("missed"), "{line}");
            let Some(line) = line.strip_prefix("writer") else { continue };
            let (writer, said) = line.split_once(": ").unwrap();
            let writer: usize = writer.parse().unwrap();
            let want = format!("{} of {writer} ", next[writer]);
            assert!(said.starts_with(&want) && said.len() == want.len() + LINE + 1, "{said}");
            next[writer] += 1;
        }
        round.wait().await;
    }
    reader
}
