//! A server that runs out of descriptors for real: it serves those that it has, sheds the others
//! without spinning, and recovers by itself. A file of its own, so that it runs alone.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "runner/cost.rs"]
mod cost;
#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "runner/program.rs"]
mod program;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use cost::processor_time;
use program::{Program, connect};

const CLIENTS: usize = 2000;

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
}

fn try_ping(client: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    client.write_all(b"ping").is_ok() && client.read_exact(&mut answer).is_ok()
}
