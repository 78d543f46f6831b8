//! How fast a server with many idle connections stops. A file of its own, so that it runs alone:
//! the test's sockets nearly fill the usual limit of 1024 descriptors.

#[expect(dead_code, reason = "the other tests use the rest")]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
#[path = "runner/program.rs"]
mod program;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use program::Program;

#[test]
fn a_thousand_idle_connections_do_not_hold_up_the_end() {
    let server = Program::serve(&["echo", "tcp://127.0.0.1:0", "--workers", "2"]);
    let peers: Vec<TcpStream> = (0..1000).map(|_| server.connect()).collect();
    let started = Instant::now();
    server.signal("TERM");
    let end = server.end();
    let took = started.elapsed();
    println!("stopped within {took:?}");
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains("stopped: 1000 drained, 0 aborted"), "{}", end.stderr);
    // 200 ms is what is asked of a machine that does nothing else.
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(peers);
}
