//! Too many at once and too many in a row: a server that runs out of descriptors for real serves those
//! that it has, sheds the others without spinning, and recovers by itself; one whose clients reset
//! their connections counts each. A file of its own, so that it runs beside nothing else.

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
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use cost::processor_time;
use load::Report;
use program::{Program, connect};
use socket2::SockRef;

const CLIENTS: usize = 2000;
const RESETS: u64 = 20_000;
const ROUNDS: u64 = 4;

#[test]
fn out_of_descriptors_those_that_are_served_are_the_rest_is_shed_and_it_recovers() {
    let script = r#"ulimit -n 256; exec "$0" "$@""#;
    let args = ["serve", "echo", "tcp://127.0.0.1:0", "--workers", "2", "--log", "error"];
    let server = Program::start_by(script, &args, |command| command).listening("echo", 1);
    let addr = server.addrs[0];
    let mut clients: Vec<_> = (0..CLIENTS).filter_map(|_| connect(addr).ok()).collect();
    println!("{} clients have connected", clients.len());

    // One that was shed, or is about to be, sees the end of its connection instead of an answer.
    clients.retain_mut(try_ping);
    let mut served = clients;
    println!("{} of them are served", served.len());
    assert!((150..256).contains(&served.len()), "{} are served", served.len());
    assert!(served.iter_mut().all(try_ping), "and go on to be");

    let before = processor_time(&server);
    thread::sleep(Duration::from_secs(3)); // what is measured is that nothing happens
    let spent = processor_time(&server) - before;
    println!("{spent:?} of processor time in 3 s without descriptors");
    assert!(spent < Duration::from_millis(100), "{spent:?}");

    drop(served);
    let freed = Instant::now();
    while !connect(addr).is_ok_and(|mut client| try_ping(&mut client)) {
        assert!(freed.elapsed() < Duration::from_secs(2), "it has not recovered");
    }
    println!("it has recovered after {:?}", freed.elapsed());
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let shed = end.stderr.split("refused=\"shed: ").nth(1).and_then(|rest| rest.split('"').next());
    let shed: usize = shed.expect(&end.stderr).parse().unwrap();
    assert!(shed > CLIENTS / 2, "{shed} were shed");
    let report = Report::at_the_end(&end.stderr);
    assert!(report.number("no_descriptors") > 0);
    report.check_sum();
}

#[test]
fn of_twenty_thousand_resets_each_is_counted_and_nothing_is_left() {
    let args = ["echo", "tcp://127.0.0.1:0", "--workers", "2", "--log", "error"];
    let mut server = Program::serve(&args);
    let addr = server.addrs[0];
    let reset_all = || {
        for n in 0..RESETS {
            let client = connect(addr).unwrap();
            if n % 2 == 0 {
                (&client).write_all(b"a question").unwrap();
            }
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
    };
    let settled = |server: &mut Program| {
        let mut before = 0;
        loop {
            let report = Report::ask(server);
            let accepted = report.number("accepted");
            if report.number("live") == 0 && accepted == before {
                report.check_sum();
                return report;
            }
            before = accepted;
            thread::sleep(Duration::from_millis(100)); // what is asked for has been done by then
        }
    };
    // How many are open at once is the kernel's to say: after some rounds the pools and buffers, and the
    // allocator below them, have seen about the most of them.
    for _ in 1..ROUNDS {
        reset_all();
        settled(&mut server);
    }
    let before = memory(&server);
    reset_all();
    let report = settled(&mut server);
    let after = memory(&server);
    let (accepted, closed) = (report.number("accepted"), report.closed());
    println!("{accepted} accepted, closed {closed:?}; {before} KiB before, {after} KiB after");
    // The kernel itself forgets some of those that were reset before they were accepted.
    assert!(accepted > (ROUNDS - 1) * RESETS && accepted <= ROUNDS * RESETS);
    assert!(after < before + 1024);

    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "nothing leaks: {}", end.stderr);
    let in_all = Report::at_the_end(&end.stderr);
    assert_eq!(
        (in_all.number("live"), in_all.number("permits"), in_all.number("queued")),
        (0, 0, 0)
    );
    assert_eq!((in_all.number("accepted"), in_all.closed()), (accepted, closed));
    in_all.check_sum();
}

/// The memory that a program has now, KiB.
fn memory(program: &Program) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let now = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    now.trim().trim_end_matches(" kB").parse().unwrap()
}

fn try_ping(client: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    client.write_all(b"ping").is_ok() && client.read_exact(&mut answer).is_ok()
}
