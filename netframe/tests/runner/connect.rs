//! `netframe connect`: stdin and stdout against an endpoint.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::program::{End, PATIENCE, Program};

/// A listener, and the program that connects to it with pipes for stdin and stdout.
struct Caller {
    program: Program,
    peer: TcpStream,
    stdin: PipeWriter,
    stdout: PipeReader,
}

impl Caller {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
        let (input, stdin) = pipe().unwrap();
        let (stdout, output) = pipe().unwrap();
        let program = Program::start_with(&["connect", &endpoint], |connect| {
            connect.stdin(input).stdout(output)
        });
        let (peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { program, peer, stdin, stdout }
    }
}

/// Ended well, and without a word.
#[track_caller]
fn ended_well(end: &End) {
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
}

/// Ended with exit code 1 and one line on stderr, which starts so.
#[track_caller]
fn failed(end: &End, error: &str) {
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    assert!(end.stderr.starts_with(&format!("error: {error}")), "{}", end.stderr);
    assert_eq!(end.stderr.lines().count(), 1, "{}", end.stderr);
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[track_caller]
fn expect(mut from: impl Read, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    from.read_exact(&mut got).unwrap();
    assert!(got == bytes, "{} bytes", bytes.len());
}

#[track_caller]
fn expect_end(mut from: impl Read) {
    assert_eq!(from.read(&mut [0]).unwrap(), 0);
}

#[test]
fn bytes_go_both_ways_as_they_come() {
    let mut caller = Caller::new();
    for text in [&b"one\n"[..], b"t", b"\0\xff"] {
        caller.stdin.write_all(text).unwrap();
        expect(&caller.peer, text);
        caller.peer.write_all(text).unwrap();
        expect(&caller.stdout, text);
    }
}

#[test]
fn the_end_of_stdin_ends_our_side_alone() {
    let mut caller = Caller::new();
    caller.stdin.write_all(b"question").unwrap();
    drop(caller.stdin);
    expect(&caller.peer, b"question");
    expect_end(&caller.peer);
    let answer = pattern(1_000_000);
    let mut peer = caller.peer;
    let sent = answer.clone();
    let writer = thread::spawn(move || peer.write_all(&sent).unwrap());
    expect(&caller.stdout, &answer);
    writer.join().unwrap();
    expect_end(&caller.stdout);
    ended_well(&caller.program.end());
}

#[test]
fn it_ends_with_the_peer_while_stdin_is_open() {
    let mut caller = Caller::new();
    caller.stdin.write_all(b"question").unwrap();
    expect(&caller.peer, b"question");
    caller.peer.write_all(b"answer").unwrap();
    caller.peer.shutdown(Shutdown::Write).unwrap();
    expect_end(&caller.peer);
    expect(&caller.stdout, b"answer");
    expect_end(&caller.stdout);
    ended_well(&caller.program.end());
    drop(caller.stdin);
}

#[test]
fn an_echo_of_any_length_does_not_hang() {
    let server = Program::serve(&["echo", "tcp://127.0.0.1:0"]);
    let endpoint = format!("tcp://{}", server.addrs[0]);
    let (mut stdout, output) = pipe().unwrap();
    let mut program = Program::start_with(&["connect", &endpoint], |connect| {
        connect.stdin(Stdio::piped()).stdout(output)
    });
    let (mut stdin, sent) = (program.stdin(), pattern(8 << 20));
    let question = sent.clone();
    let writer = thread::spawn(move || stdin.write_all(&question).unwrap());
    let mut got = Vec::new();
    stdout.read_to_end(&mut got).unwrap();
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    writer.join().unwrap();
    ended_well(&program.end());
}

/// Far more than all buffers between the two ends have room for.
const BIG: usize = 256 << 20;

/// KiB that the program may use at most, beside those of itself: its queues.
#[cfg(target_os = "linux")]
const MEMORY: usize = 3 * 1024;

#[test]
fn a_big_transfer_is_exact_and_its_memory_bounded() {
    let block = pattern(1 << 20);
    let caller = Caller::new();
    #[cfg(target_os = "linux")]
    let before = caller.program.peak_memory();
    let (mut stdin, sent) = (caller.stdin, block.clone());
    let writer = thread::spawn(move || {
        for _ in 0..BIG / sent.len() {
            stdin.write_all(&sent).unwrap();
        }
    });
    for _ in 0..BIG / block.len() {
        expect(&caller.peer, &block);
    }
    expect_end(&caller.peer);
    writer.join().unwrap();

    let (mut peer, sent) = (caller.peer, block.clone());
    let writer = thread::spawn(move || {
        for _ in 0..BIG / sent.len() {
            peer.write_all(&sent).unwrap();
        }
        peer // which is still open when the memory is looked at
    });
    for _ in 0..BIG / block.len() {
        expect(&caller.stdout, &block);
    }
    #[cfg(target_os = "linux")]
    {
        let more = caller.program.peak_memory() - before;
        println!("{more} KiB more than {before}");
        assert!(more < MEMORY, "{more} KiB");
    }
    drop(writer.join().unwrap());
    expect_end(&caller.stdout);
    ended_well(&caller.program.end());
}

/// How long nothing moves where everything between two ends is full.
const STALL: Duration = Duration::from_millis(200);

#[test]
fn a_stdout_that_is_not_read_holds_up_no_stdin() {
    let mut caller = Caller::new();
    caller.peer.set_write_timeout(Some(STALL)).unwrap();
    let mut sent = 0;
    while let Ok(len) = caller.peer.write(&[b'x'; 64 * 1024]) {
        sent += len;
    }
    caller.stdin.write_all(b"the other direction").unwrap();
    drop(caller.stdin);
    expect(&caller.peer, b"the other direction");
    expect_end(&caller.peer);
    drop(caller.peer);
    let mut got = Vec::new();
    caller.stdout.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), sent);
    ended_well(&caller.program.end());
}

#[test]
fn a_peer_that_does_not_read_holds_up_no_stdout() {
    let mut caller = Caller::new();
    let (moved, stalled) = mpsc::channel();
    let mut stdin = caller.stdin;
    let writer = thread::spawn(move || {
        let mut sent = 0;
        while let Ok(len) = stdin.write(&[b'x'; 64 * 1024]) {
            sent += len;
            if moved.send(()).is_err() {
                return sent;
            }
        }
        sent
    });
    while stalled.recv_timeout(STALL).is_ok() {}
    drop(stalled); // the write that waits is the last one
    caller.peer.write_all(b"the other direction").unwrap();
    expect(&caller.stdout, b"the other direction");
    let mut got = Vec::new();
    caller.peer.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), writer.join().unwrap());
    drop(caller.peer);
    ended_well(&caller.program.end());
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}

#[test]
fn a_refusal_is_told() {
    // Bound and not listening, so that nobody else can listen there.
    let socket = bound();
    let endpoint = format!("tcp://{}", socket.local_addr().unwrap().as_socket().unwrap());
    let end = Program::start(&["connect", &endpoint]).end();
    failed(&end, &format!("cannot connect to {endpoint}: Connection refused"));
}

#[test]
fn a_peer_that_does_not_answer_is_given_up() {
    // A full backlog: the kernel drops what comes then.
    let socket = bound();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    let _waiting = TcpStream::connect(addr).unwrap();
    let end = Program::start(&["connect", "--timeout", "1", &format!("tcp://{addr}")]).end();
    failed(&end, &format!("tcp://{addr} did not answer within 1s; "));
}

#[test]
fn a_reset_is_told_after_what_came_before() {
    let mut caller = Caller::new();
    caller.peer.write_all(b"half an ans").unwrap();
    expect(&caller.stdout, b"half an ans");
    SockRef::from(&caller.peer).set_linger(Some(Duration::ZERO)).unwrap();
    let endpoint = format!("tcp://{}", caller.peer.local_addr().unwrap());
    drop(caller.peer);
    expect_end(&caller.stdout);
    let end = caller.program.end();
    failed(&end, &format!("lost the connection to {endpoint}: reset by peer: Connection reset"));
}

#[test]
fn a_stdout_that_nobody_reads_any_more_ends_it() {
    let mut caller = Caller::new();
    drop(caller.stdout);
    caller.peer.write_all(b"answer").unwrap();
    failed(&caller.program.end(), "cannot write to stdout: Broken pipe");
    drop(caller.stdin);
}

#[test]
fn a_stdin_that_cannot_be_read_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let directory = std::fs::File::open("/").unwrap();
    let program = Program::start_with(&["connect", &endpoint], |connect| connect.stdin(directory));
    failed(&program.end(), "cannot read stdin: Is a directory");
}

#[test]
fn a_signal_ends_it_at_once() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut caller = Caller::new();
        caller.peer.write_all(b"ready").unwrap();
        expect(&caller.stdout, b"ready");
        caller.program.signal(signal);
        let end = caller.program.end();
        assert_eq!((end.code, end.stderr.as_str()), (Some(code), ""));
        drop(caller.stdin);
    }
}

#[test]
fn the_command_line_is_checked() {
    let refused = |args: &[&str], error: &str| {
        let end = Program::start(&[&["connect"], args].concat()).end();
        assert_eq!(end.code, Some(2), "{}", end.stderr);
        assert!(end.stderr.starts_with(&format!("error: {error}")), "{}", end.stderr);
    };
    refused(&["stdio:"], "`stdio:` is the other end already; name where to connect it to\n");
    refused(&["127.0.0.1:7"], "invalid value '127.0.0.1:7' for '<ENDPOINT>': `127.0.0.1:7` has no");
    for value in ["0", "-1", "1s", "3601"] {
        let expected = "expected a number of seconds from 1 to 3600";
        refused(
            &["tcp://127.0.0.1:7", "--timeout", value],
            &format!("invalid value '{value}' for '--timeout <SECONDS>': {expected}\n"),
        );
    }
    let help = Program::start(&["connect", "--help"]).end();
    assert!(help.stdout.contains("echo hello | netframe connect tcp://"), "{}", help.stdout);
}
