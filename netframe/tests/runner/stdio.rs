//! `stdio:`: a protocol on standard input and output.

use std::io::{Read, Write, pipe};
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

use crate::program::{Program, ask};

#[test]
fn echo_on_stdio_is_cat() {
    let (mut stdout, output) = pipe().unwrap();
    let mut cat = Program::start_with(&["serve", "echo", "stdio:"], |serve| {
        serve.stdin(Stdio::piped()).stdout(output)
    });
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut stdin = cat.stdin();
    let question = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&question).unwrap());
    let mut got = Vec::new();
    stdout.read_to_end(&mut got).unwrap();
    assert!(got == sent, "{} bytes", got.len());
    writer.join().unwrap();
    let end = cat.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.starts_with("listening echo stdio:\n"), "{}", end.stderr);
    assert!(end.stderr.contains(" bytes_in=1000000 "), "{}", end.stderr);
}

#[test]
fn the_end_of_stdin_ends_no_other_endpoint() {
    let addr = free_addr();
    let both = ["serve", "echo", "stdio:", &format!("tcp://{addr}")];
    let mut server = Program::start_with(&both, |serve| serve.stdin(Stdio::piped()));
    server.await_log(&format!("listening echo tcp://{addr}"));
    server.stdin().write_all(b"hello\n").unwrap();
    assert_eq!(server.await_line(), "hello\n");
    assert_eq!(ask(addr, b"one"), b"one");
    server.signal("TERM");
    let end = server.end();
    assert_eq!((end.code, end.stdout.as_str()), (Some(0), ""), "{}", end.stderr);
}

#[test]
fn a_close_waits_for_no_more_input() {
    let mut hello =
        Program::start_with(&["serve", "hello", "stdio:"], |serve| serve.stdin(Stdio::piped()));
    let mut stdin = hello.stdin();
    stdin.write_all(b"anybody there?").unwrap();
    let end = hello.end();
    assert_eq!((end.code, end.stdout.as_str()), (Some(0), "Hello from the server!"));
    assert!(end.stderr.contains(" bytes_in=14 "), "{}", end.stderr);
    assert!(stdin.write_all(b"anybody still there?").is_err());
}

#[test]
fn a_signal_ends_it_while_stdin_is_open() {
    let mut server =
        Program::start_with(&["serve", "line-echo", "stdio:"], |serve| serve.stdin(Stdio::piped()));
    server.await_log("listening line-echo stdio:");
    let _stdin = server.stdin();
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains("stopped: 1 drained, 0 aborted"), "{}", end.stderr);
}

#[test]
fn a_broken_stdout_ends_the_connection() {
    let (stdout, output) = pipe().unwrap();
    drop(stdout);
    let mut cat = Program::start_with(&["serve", "echo", "stdio:", "--log", "debug"], |serve| {
        serve.stdin(Stdio::piped()).stdout(output)
    });
    let mut stdin = cat.stdin();
    stdin.write_all(b"hello").unwrap();
    cat.await_log("reset by peer: Broken pipe");
    assert_eq!(cat.end().code, Some(0));
    assert!(stdin.write_all(b"more").is_err(), "nobody reads it");
}

#[test]
fn there_is_one_stdio() {
    let end = Program::start(&["serve", "echo", "stdio:", "stdio:"]).end();
    assert_eq!(end.code, Some(1));
    assert_eq!(
        end.stderr,
        "error: cannot listen on stdio:: standard input and output carry one connection in the \
         life of a process, and it is taken\n"
    );
}

/// An address that nothing listens on. No other test uses this IP address, so that none takes it.
fn free_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.10:0").unwrap().local_addr().unwrap()
}
