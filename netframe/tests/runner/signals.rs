//! SIGINT and SIGTERM, and a stdout that nobody reads.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;

use crate::program::{PATIENCE, Program, ask};

/// What the program logs when it begins to drain.
const DRAINING: &str = "draining for up to ";

/// A line echo with a peer that has sent half a line, which the server has seen.
fn half_a_line(args: &[&str]) -> (Program, TcpStream) {
    let server = Program::serve(&[&["line-echo", "tcp://127.0.0.1:0"], args].concat());
    let mut peer = server.connect();
    peer.write_all(b"one\ntw").unwrap();
    let mut line = [0; 4];
    peer.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"one\n");
    (server, peer)
}

#[test]
fn either_signal_ends_an_idle_server_with_a_summary() {
    for signal in ["INT", "TERM"] {
        let server = Program::serve(&["echo", "tcp://127.0.0.1:0"]);
        assert_eq!(server.ask(b"hello"), b"hello");
        server.signal(signal);
        let end = server.end();
        assert_eq!(end.code, Some(0), "{}", end.stderr);
        assert!(end.stderr.contains(&format!("SIG{signal}: {DRAINING}30s")), "{}", end.stderr);
        let summary = end.stderr.lines().last().unwrap();
        let counters = [" accepted=1 ", " bytes_in=5 bytes_out=5 ", "closed=\"eof by peer: 1\""];
        assert!(end.stderr.contains("stopped: 0 drained, 0 aborted\n"), "{}", end.stderr);
        assert!(counters.iter().all(|counter| summary.contains(counter)), "{summary}");
    }
}

#[test]
fn a_peer_within_a_line_may_finish_it() {
    let (mut server, mut peer) = half_a_line(&[]);
    server.signal("TERM");
    server.await_log(DRAINING);
    peer.write_all(b"o\n").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "two\n");
    drop(peer);
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains("stopped: 1 drained, 0 aborted"), "{}", end.stderr);
}

#[test]
fn a_drain_tells_the_counters_and_reads_nothing_again() {
    let (mut server, _peer) = half_a_line(&[]);
    server.signal("TERM");
    server.await_log(DRAINING);
    server.signal("HUP");
    server.await_log("SIGHUP: nothing is read again, as the program ends");
    server.signal("USR1");
    server.await_log("so far name=\"line-echo\" live=1 ");
}

#[test]
fn an_answer_that_is_being_read_arrives_whole() {
    let longest = ["--set", "max_length=10000000"];
    let mut server = Program::serve(&[&["line-echo", "tcp://127.0.0.1:0"], &longest[..]].concat());
    let mut line = vec![b'x'; 8 << 20];
    line.push(b'\n');
    let mut peer = server.connect();
    peer.write_all(&line).unwrap();
    let mut answer = vec![0; 1];
    peer.read_exact(&mut answer).unwrap();
    server.signal("TERM");
    server.await_log(DRAINING);
    peer.read_to_end(&mut answer).unwrap();
    assert!(answer == line, "{} of {} bytes", answer.len(), line.len());
    drop(peer);
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains("stopped: 1 drained, 0 aborted"), "{}", end.stderr);
}

#[test]
fn what_does_not_finish_in_time_is_aborted() {
    let (server, _peer) = half_a_line(&["--drain", "0"]);
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains("stopped: 0 drained, 1 aborted"), "{}", end.stderr);
}

#[test]
fn a_second_signal_forces() {
    for (first, second, code) in [("TERM", "TERM", 143), ("TERM", "INT", 130)] {
        let (mut server, _peer) = half_a_line(&[]);
        server.signal(first);
        server.await_log(DRAINING);
        server.signal(second);
        let end = server.end();
        assert_eq!(end.code, Some(code), "{}", end.stderr);
        let words = format!("SIG{second} again: stopped at once; open connections are cut off\n");
        assert!(end.stderr.ends_with(&words), "{}", end.stderr);
    }
}

#[test]
fn a_closed_stdout_stops_nothing() {
    let addr = TcpListener::bind("127.0.0.8:0").unwrap().local_addr().unwrap();
    let (reader, stdout) = io::pipe().unwrap();
    drop(reader);
    let endpoint = format!("tcp://{addr}");
    let mut server =
        Program::start_with(&["serve", "echo", &endpoint], |serve| serve.stdout(stdout));
    server.await_log("cannot tell what is ready");
    assert_eq!(ask(addr, b"hello"), b"hello");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
}

#[test]
fn a_quiet_log_is_empty() {
    let server = Program::serve(&["echo", "tcp://127.0.0.1:0", "--log", "off"]);
    assert_eq!(server.ask(b"hello"), b"hello");
    server.signal("TERM");
    let end = server.end();
    assert_eq!((end.code, end.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_service_manager_is_told() {
    let dir = std::env::temp_dir().join(format!("netframe-notify-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut state = [0; 100];
        let len = manager.recv(&mut state).unwrap();
        String::from_utf8_lossy(&state[..len]).into_owned()
    };
    let args = ["serve", "echo", "tcp://127.0.0.1:0"];
    let server = Program::start_with(&args, |serve| serve.env("NOTIFY_SOCKET", &path));
    assert_eq!(told(), "READY=1\n");
    let server = server.listening("echo", 1);
    server.signal("TERM");
    assert_eq!(told(), "STOPPING=1\n");
    assert_eq!(server.end().code, Some(0));
    std::fs::remove_dir_all(&dir).unwrap();
}
