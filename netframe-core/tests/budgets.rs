//! The budgets of the hot path, counted: allocations per message and heap per idle connection.
//! Counts do not depend on the machine or its load, so they are asserted. `docs/performance.md`
//! gives the figures; `cargo test -p netframe-core --test budgets -- --nocapture` prints them.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::future::{Future, ready};
use std::io::{Read, Write};
use std::net::TcpStream;

use allocation_counter::{AllocationInfo, measure};
use netframe_core::bytes::BytesMut;
use netframe_core::{ConnectionInfo, Protocol, Result, Server, Transport};
use tokio::runtime::Runtime;

struct Echo;

impl Protocol for Echo {
    fn data_received(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        t.write_bytes(data.split().freeze());
        ready(Ok(()))
    }
}

#[test]
fn an_echoed_message_allocates_nothing() {
    for len in [1, 100, 4096, 60_000] {
        let (runtime, server) = serve();
        let mut client = connect(&server);
        let message = vec![7; len];
        let count = |client: &mut TcpStream, round_trips| {
            let run = || runtime.block_on(round_trip(client, &message, round_trips));
            measure(run).count_total
        };
        count(&mut client, 100); // pools and buffers fill
        let (few, many) = (count(&mut client, 1), count(&mut client, 1001));
        println!("{len} B: {} allocations per 1000 echoed messages", many - few);
        assert_eq!(many, few, "message of {len} B");
    }
}

#[test]
fn an_idle_connection_costs_less_than_600_bytes() {
    const CONNECTIONS: usize = 2000;
    let (runtime, server) = serve();
    let mut clients = vec![connect(&server)];
    runtime.block_on(round_trip(&mut clients[0], b"warm", 1));
    clients.reserve(CONNECTIONS);
    let counted = measure(|| {
        for _ in 0..CONNECTIONS {
            clients.push(connect(&server));
            if clients.len() % 100 == 0 {
                settle(&runtime);
            }
        }
        settle(&runtime);
    });
    assert_eq!(server.stats().live, CONNECTIONS + 1);
    let bytes = per_connection(&counted, CONNECTIONS);
    println!("{bytes} B of heap per connection that never spoke");
    assert!(bytes < 600, "{bytes} B per connection");

    // One that has spoken costs the same: nothing stays behind.
    let counted = measure(|| {
        for client in &mut clients {
            runtime.block_on(round_trip(client, b"a message of some bytes", 1));
        }
    });
    let more = per_connection(&counted, CONNECTIONS);
    println!("{more} B more per connection that has spoken");
    assert!(more <= 8, "{more} B more per connection");
}

fn per_connection(counted: &AllocationInfo, connections: usize) -> i64 {
    counted.bytes_current / i64::try_from(connections).unwrap()
}

/// A server that makes progress only while the runtime is blocked on: all of it on this thread.
fn serve() -> (Runtime, Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = Server::bind("tcp://127.0.0.1:0?backlog=1024", |_: &ConnectionInfo| Echo);
    let server = runtime.block_on(server).unwrap();
    (runtime, server)
}

fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.endpoint().address().socket_addr().unwrap()).unwrap()
}

fn settle(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    });
}

/// Sends `message` and takes the echo, `count` times, in the runtime of the server.
async fn round_trip(client: &mut TcpStream, message: &[u8], count: usize) {
    client.set_nonblocking(true).unwrap();
    let mut answer = [0; 4096];
    for _ in 0..count {
        client.write_all(message).unwrap();
        let mut left = message.len();
        while left > 0 {
            tokio::task::yield_now().await;
            match client.read(&mut answer) {
                Ok(len) => left -= len,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    }
}
