//! The system calls of the hot path, counted by `strace` on the real runner: one receive and one
//! send for each echoed message. Skipped, with a line that says so, where strace cannot be used.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

const MESSAGES: usize = 1000;

#[test]
fn an_echoed_message_costs_one_receive_and_one_send() {
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if !traces.is_ok_and(|status| status.success()) {
        println!("skipped: strace is not installed, or may not trace here");
        return;
    }
    let trace = std::env::temp_dir().join(format!("netframe-syscalls-{}", std::process::id()));
    let mut server = Command::new("strace")
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_netframe"))
        .args(["serve", "echo", "tcp://127.0.0.1:0", "--workers", "1", "--log", "off"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("listening echo tcp://").unwrap();

    let mut client = TcpStream::connect(addr).unwrap();
    let mut answer = [0; 32];
    for _ in 0..MESSAGES {
        client.write_all(&[7; 32]).unwrap();
        client.read_exact(&mut answer).unwrap();
    }
    drop(client);
    // strace ends with the server, which is its child.
    let strace = server.id();
    let runner = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    assert!(Command::new("kill").args(["-TERM", runner.trim()]).status().unwrap().success());
    server.wait().unwrap();

    let calls = fs::read_to_string(&trace).unwrap();
    fs::remove_file(&trace).unwrap();
    let count = |names: &[&str]| {
        let is = |line: &&str| names.iter().any(|name| line.contains(&format!(" {name}(")));
        calls.lines().filter(is).count()
    };
    let received = count(&["recvfrom", "recvmsg", "readv"]);
    let sent = count(&["sendto", "sendmsg", "writev"]);
    let waited = count(&["epoll_wait", "epoll_pwait", "epoll_pwait2"]);
    println!("{MESSAGES} messages: {received} receives, {sent} sends, {waited} waits");
    // A few more belong to the start, to the connection and to its end.
    assert!((MESSAGES..MESSAGES + 10).contains(&received), "{received} receives");
    assert!((MESSAGES..MESSAGES + 10).contains(&sent), "{sent} sends");
    assert!(waited < 3 * MESSAGES + 100, "{waited} waits");
}
