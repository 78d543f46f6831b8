//! SIGHUP and SIGUSR1: the configuration is read again without a connection being lost, and the
//! counters are told.

use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::config::Folder;
use crate::program::{PATIENCE, Program, ask, connect};

const KEPT: &str = "[[service]]\nname = 'kept'\nprotocol = 'echo'\nlisten = 'tcp://127.0.0.1:0'\n";

fn lines(max_length: usize) -> String {
    format!(
        "[[service]]\nname = 'lines'\nprotocol = 'line-echo'\nlisten = 'tcp://127.0.0.1:0'\n\
         options.max_length = {max_length}\n"
    )
}

fn ping(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, bytes);
}

#[test]
fn services_that_are_the_same_are_not_touched_and_others_come_and_go() {
    let folder = Folder::with(&format!("{KEPT}{}", lines(5)));
    let server = folder.start(&["run", "net.toml"]).listening("kept", 1).listening("lines", 1);
    let (kept, changed) = (server.addrs[0], server.addrs[1]);
    let mut untouched = connect(kept).unwrap();
    ping(&mut untouched, b"before");
    assert_eq!(ask(changed, b"1\n"), b"1\n");

    folder.write(&format!("{KEPT}{}", lines(9)));
    server.signal("HUP");
    let mut server = server.listening("lines", 1);
    assert_eq!(server.addrs[2], changed, "the port that was free is kept");
    server.await_log("the configuration was read again started=1 stopped=1 same=1");
    server.await_log("in all name=\"lines\" live=0 accepted=1 ");
    assert_eq!(ask(changed, b"123456789\n"), b"123456789\n");
    ping(&mut untouched, b"after");

    folder.write(KEPT);
    server.signal("HUP");
    server.await_log("the configuration was read again started=0 stopped=1 same=1");
    server.await_log("in all name=\"lines\" live=0 accepted=1 ");
    assert!(connect(changed).is_err(), "nobody listens there any more");
    ping(&mut untouched, b"still");
    drop(untouched);
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let reports = |name: &str| end.stderr.matches(&format!("in all name=\"{name}\"")).count();
    assert_eq!((reports("kept"), reports("lines")), (1, 2), "{}", end.stderr);
}

#[test]
fn a_service_that_still_drains_at_the_end_is_reported_once() {
    let folder = Folder::with(&format!("{KEPT}{}", lines(5)));
    let server = folder.start(&["run", "net.toml"]).listening("kept", 1).listening("lines", 1);
    let mut server = server;
    let mut peer = connect(server.addrs[1]).unwrap();
    ping(&mut peer, b"one\n");
    peer.write_all(b"tw").unwrap();
    folder.write(KEPT);
    server.signal("HUP");
    server.await_log("the configuration was read again started=0 stopped=1 same=1");
    server.signal("TERM");
    server.await_log("draining for up to ");
    peer.write_all(b"o\n").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    drop(peer);
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    for name in ["kept", "lines"] {
        let report = format!("in all name=\"{name}\"");
        assert_eq!(end.stderr.matches(&report).count(), 1, "{}", end.stderr);
    }
}

#[test]
fn a_file_that_is_wrong_changes_nothing() {
    let folder = Folder::with(&format!("{KEPT}{}", lines(5)));
    let server = folder.start(&["run", "net.toml"]).listening("kept", 1).listening("lines", 1);
    let mut server = server;
    let mut untouched = connect(server.addrs[0]).unwrap();
    let taken = format!("listen = 'tcp://{}'", server.addrs[0]);
    for (config, told) in [
        ("[[service]]\n".to_owned(), "net.toml:1:1: the service has no protocol"),
        (format!("{KEPT}{}", lines(0)), "net.toml:9:9: invalid value of option `max_length`"),
        (
            format!("{KEPT}{}", lines(7).replace("listen = 'tcp://127.0.0.1:0'", &taken)),
            "net.toml:8:10: cannot listen on tcp://127.0.0.1:",
        ),
    ] {
        folder.write(&config);
        server.signal("HUP");
        server.await_log(told);
        server.await_log("the configuration is wrong; nothing has changed");
        ping(&mut untouched, b"still");
        assert_eq!(ask(server.addrs[1], b"12345\n"), b"12345\n");
    }
}

#[test]
fn an_endpoint_that_is_written_in_another_way_needs_a_restart() {
    let free = TcpListener::bind("127.0.0.10:0").unwrap().local_addr().unwrap();
    let config = KEPT.replace("127.0.0.1:0", &free.to_string());
    let folder = Folder::with(&config);
    let mut server = folder.start(&["run", "net.toml"]).listening("kept", 1);
    folder.write(&config.replace(&free.to_string(), &format!("{free}?nodelay=off")));
    server.signal("HUP");
    server.await_log(&format!("net.toml:4:10: cannot listen on tcp://{free}?nodelay=false: it is"));
    server.await_log(&format!("what listens there is this program, by `tcp://{free}`; "));
    server.await_log("the configuration is wrong; nothing has changed");
    assert_eq!(ask(free, b"still"), b"still");
}

#[test]
fn what_concerns_the_process_needs_a_restart() {
    let folder = Folder::with(KEPT);
    let mut server = folder.start(&["run", "net.toml", "--drain", "7"]).listening("kept", 1);
    folder.write(&format!("workers = 1\n{KEPT}"));
    server.signal("HUP");
    server.await_log("`workers`, `drain` and `[limits]` change only with a restart");
    server.await_log("started=0 stopped=0 same=1");
}

#[test]
fn a_new_service_is_not_announced_among_what_stdio_says() {
    const STDIO: &str = "[[service]]\nprotocol = 'echo'\nlisten = 'stdio:'\n";
    let folder = Folder::with(STDIO);
    let (mut stdout, output) = pipe().unwrap();
    let mut server =
        folder.start_with(&["run", "net.toml"], |run| run.stdin(Stdio::piped()).stdout(output));
    server.await_log("listening echo stdio:");
    folder.write(&format!("{STDIO}{KEPT}"));
    server.signal("HUP");
    server.await_log("listening kept tcp://127.0.0.1:");
    let mut stdin = server.stdin();
    stdin.write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    stdout.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
}

#[test]
fn no_connection_is_lost_under_load() {
    let folder = Folder::with(&format!("{KEPT}{}", lines(5)));
    let server = folder.start(&["run", "net.toml"]).listening("kept", 1).listening("lines", 1);
    let (kept, changed) = (server.addrs[0], server.addrs[1]);
    let stop = Arc::new(AtomicBool::new(false));
    let (answer, answers) = mpsc::channel();
    let mut clients = Vec::new();
    for _ in 0..4 {
        // Long connections to what is kept: each answer must come.
        let stop_now = Arc::clone(&stop);
        clients.push(thread::spawn(move || {
            let mut stream = connect(kept).unwrap();
            while !stop_now.load(Ordering::SeqCst) {
                ping(&mut stream, b"untouched");
            }
        }));
        // New connections to what changes: none may be refused or reset.
        let (stop_now, answered) = (Arc::clone(&stop), answer.clone());
        clients.push(thread::spawn(move || {
            while !stop_now.load(Ordering::SeqCst) {
                let answer = ask(changed, b"1234\n");
                // One that had said nothing when its service stopped was closed in order.
                assert!(answer == b"1234\n" || answer.is_empty(), "{answer:?}");
                if !answer.is_empty() {
                    answered.send(()).unwrap();
                }
            }
        }));
    }
    let mut server = server;
    for round in 0..20 {
        folder.write(&format!("{KEPT}{}", lines(6 + round)));
        server.signal("HUP");
        server.await_log("the configuration was read again started=1 stopped=1 same=1");
        while answers.try_recv().is_ok() {} // of the time before
        for _ in 0..5 {
            answers.recv_timeout(PATIENCE).unwrap();
        }
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap();
    }
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
}

#[test]
fn sigusr1_tells_the_counters_and_nothing_ends() {
    let mut server = Program::serve(&["echo", "tcp://127.0.0.1:0", "--log", "error"]);
    assert_eq!(server.ask(b"hello"), b"hello");
    await_counters(&mut server, "so far name=\"echo\" live=0 accepted=1 ");
    assert_eq!(server.ask(b"hello"), b"hello");
    server.signal("HUP");
    await_counters(&mut server, "so far name=\"echo\" live=0 accepted=2 ");
}

/// Asks for the counters until they are these: the end of a connection is counted a moment after its
/// client has seen it.
#[track_caller]
fn await_counters(server: &mut Program, counters: &str) {
    for _ in 0..1000 {
        server.signal("USR1");
        if server.await_log("so far ").contains(counters) {
            return;
        }
    }
    panic!("it does not come to that: {counters}");
}

#[test]
fn json_is_one_object_a_line() {
    let server = Program::serve(&["echo", "tcp://127.0.0.1:0", "--log-format", "json"]);
    assert_eq!(server.ask(b"hello"), b"hello");
    server.signal("TERM");
    let end = server.end();
    let last = end.stderr.lines().last().unwrap();
    assert!(end.stderr.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{last}");
    for told in
        ["\"target\":\"netframe::report\"", "\"accepted\":1", "\"closed\":\"eof by peer: 1\""]
    {
        assert!(last.contains(told), "{told}: {last}");
    }
}
