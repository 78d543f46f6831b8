//! The system calls of the hot path, counted by `strace` on the real runner: one receive and one
//! send for each echoed message. Skipped, with a line that says so, where strace cannot be used.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

const MESSAGES: usize = 1000;

#[test]
fn an_echoed_message_costs_one_receive_and_one_send() {
    let Some(calls) = traced("tcp://127.0.0.1:0", |addr| {
        let mut client = TcpStream::connect(addr).unwrap();
        let mut answer = [0; 32];
        for _ in 0..MESSAGES {
            client.write_all(&[7; 32]).unwrap();
            client.read_exact(&mut answer).unwrap();
        }
    }) else {
        return;
    };
    // Sockets of a home are polled by an epoll that the runtime polls.
    check(&calls, 3);
}

#[test]
fn an_echoed_datagram_costs_one_receive_and_one_send() {
    for endpoint in ["udp://127.0.0.1:0", "udp://0.0.0.0:0"] {
        let Some(calls) = traced(endpoint, |addr| {
            let port = addr.rsplit_once(':').unwrap().1;
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            client.connect(format!("127.0.0.1:{port}")).unwrap();
            let mut answer = [0; 32];
            for _ in 0..MESSAGES {
                client.send(&[7; 32]).unwrap();
                // A signal, such as the end of another test's server, is no answer.
                while client.recv(&mut answer).is_err_and(|error| {
                    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
                    true
                }) {}
            }
        }) else {
            return;
        };
        check(&calls, 2);
    }
}

/// The system calls of `netframe serve echo ENDPOINT` while `client` speaks to it; `None` where
/// strace cannot be used.
fn traced(endpoint: &str, client: impl FnOnce(&str)) -> Option<String> {
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !traces.is_ok_and(|status| status.success()) {
        println!("skipped: strace is not installed, or may not trace here");
        return None;
    }
    let name = format!("netframe-syscalls-{}-{}", std::process::id(), &endpoint[..3]);
    let trace = std::env::temp_dir().join(name);
    let mut server = Command::new("strace")
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_netframe"))
        .args(["serve", "echo", endpoint, "--workers", "1", "--log", "off"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    client(line.trim_end().rsplit_once("//").unwrap().1);

    // strace ends with the server, which is its child.
    let strace = server.id();
    let runner = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    assert!(Command::new("kill").args(["-TERM", runner.trim()]).status().unwrap().success());
    server.wait().unwrap();

    let calls = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    Some(calls)
}

/// One receive and one send for each message, and at most as many waits as said.
#[track_caller]
fn check(calls: &str, most_waits: usize) {
    let count = |names: &[&str]| {
        let is = |line: &&str| names.iter().any(|name| line.contains(&format!(" {name}(")));
        calls.lines().filter(is).count()
    };
    let received = count(&["recvfrom", "recvmsg", "recvmmsg", "readv"]);
    let sent = count(&["sendto", "sendmsg", "sendmmsg", "writev"]);
    let waited = count(&["epoll_wait", "epoll_pwait", "epoll_pwait2"]);
    println!("{MESSAGES} messages: {received} receives, {sent} sends, {waited} waits");
    // A few more belong to the start, to the connection and to its end.
    assert!((MESSAGES..MESSAGES + 10).contains(&received), "{received} receives");
    assert!((MESSAGES..MESSAGES + 10).contains(&sent), "{sent} sends");
    assert!(waited < most_waits * MESSAGES + 100, "{waited} waits");
}
