//! What HTTP costs, counted: allocations per request, heap per idle connection.
//! `cargo test -p netframe-protocols --test http_budgets -- --nocapture` prints the figures.

#![cfg(feature = "http")]
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use allocation_counter::measure;
use netframe_core::{ConnectionInfo, Factory, Result, Server};
use netframe_protocols::http::{Handler, Http, Request, Responder};
use tokio::runtime::Runtime;

/// Waits for nothing, but could.
struct Hello;

impl Handler for Hello {
    async fn handle(&mut self, mut request: Request<'_>, response: Responder<'_>) -> Result {
        match (request.method(), request.path()) {
            ("GET", "/plaintext") => response.send(200, "text/plain", "Hello, World!")?,
            ("POST", "/collect") => {
                let body = request.body().collect(1000).await?;
                response.send(200, "text/plain", body)?;
            }
            _ => response.send(404, "text/plain", "")?,
        }
        Ok(())
    }
}

const GET: &str = "GET /plaintext HTTP/1.1\r\nHost: localhost:7080\r\nUser-Agent: someone/1.0\r\n\
    Accept: text/html,*/*\r\nAccept-Encoding: gzip, deflate\r\n\r\n";
const POST: &str = "POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\nHello, World!";

#[test]
fn a_request_allocates_nothing() {
    let (runtime, server) = serve(|_: &ConnectionInfo| Http::new(Hello));
    let mut client = connect(&server);
    for (name, request, pipelined) in [
        ("GET", GET.to_owned(), 1),
        ("16 GETs", GET.repeat(16), 16),
        ("POST", POST.to_owned(), 1),
        ("16 POSTs", POST.repeat(16), 16),
    ] {
        let mut count = |rounds| {
            let run = ask(&mut client, &request, pipelined, rounds);
            measure(|| runtime.block_on(run)).count_total
        };
        count(100); // pools and buffers fill
        let (few, many) = (count(1), count(1001));
        println!("{name}: {} allocations per 1000", many - few);
        assert_eq!(many, few, "{name}");
    }
}

#[test]
fn an_idle_connection_costs_less_than_700_bytes() {
    let hello = |_: Request<'_>, response: Responder<'_>| {
        Ok(response.send(200, "text/plain", "Hello, World!")?)
    };
    let bytes = idle(move |_: &ConnectionInfo| Http::new(hello));
    println!("{bytes} B of heap per idle connection that has been answered");
    assert!(bytes < 700, "{bytes} B per connection");
}

/// A handler that may wait has its room in each connection.
#[test]
fn an_idle_connection_with_a_handler_that_collects_costs_less_than_900_bytes() {
    let bytes = idle(|_: &ConnectionInfo| Http::new(Hello));
    println!("{bytes} B of heap with an async handler");
    assert!(bytes < 900, "{bytes} B per connection");
}

/// Bytes of heap per connection that has been answered.
fn idle(factory: impl Factory) -> i64 {
    const CONNECTIONS: usize = 2000;
    let (runtime, server) = serve(factory);
    let mut first = connect(&server);
    runtime.block_on(ask(&mut first, GET, 1, 10));
    let mut clients = Vec::with_capacity(CONNECTIONS);
    let counted = measure(|| {
        for _ in 0..CONNECTIONS {
            let mut client = connect(&server);
            runtime.block_on(ask(&mut client, GET, 1, 2));
            clients.push(client);
        }
    });
    assert_eq!(server.stats().live, CONNECTIONS + 1);
    counted.bytes_current / CONNECTIONS as i64
}

/// A server that makes progress only while the runtime is blocked on: all of it on this thread.
fn serve(factory: impl Factory) -> (Runtime, Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::bind("tcp://127.0.0.1:0?backlog=1024", factory)).unwrap();
    (runtime, server)
}

fn connect(server: &Server) -> TcpStream {
    let client = TcpStream::connect(server.endpoint().address().socket_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    client
}

/// Sends what is `answers` requests, and takes as many answers, in the runtime of the server.
async fn ask(client: &mut TcpStream, requests: &str, answers: usize, rounds: usize) {
    let mut got = [0; 16 * 1024];
    for _ in 0..rounds {
        client.write_all(requests.as_bytes()).unwrap();
        let mut len = 0;
        while got[..len].windows(13).filter(|w| w == b"Hello, World!").count() < answers {
            tokio::task::yield_now().await;
            match client.read(&mut got[len..]) {
                Ok(more) => len += more,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
}
