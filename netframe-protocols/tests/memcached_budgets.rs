//! What a cache costs, counted: allocations per command, heap per idle connection, and the heap of all
//! items beside what they count.
//! `cargo test -p netframe-protocols --test memcached_budgets -- --nocapture` prints the figures.

#![cfg(feature = "memcached")]
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use allocation_counter::measure;
use netframe_core::testing::{Harness, Recorder};
use netframe_core::{Factory, Server, Transport};
use netframe_protocols::memcached::{Memcached, MemcachedOptions, memcached};
use tokio::runtime::Runtime;

#[test]
fn a_command_allocates_nothing_but_what_it_stores() {
    let (runtime, server) = serve();
    let mut client = connect(&server);
    let large = "x".repeat(20_000);
    let set = |key: &str, value: &str| format!("set {key} 0 0 {}\r\n{value}\r\n", value.len());
    ask(
        &runtime,
        &mut client,
        &(set("small", "value") + &set("large", &large)),
        "STORED\r\n",
        2,
        1,
    );
    for (name, commands, answer, answers, allocations) in [
        ("hit", "get small\r\n".to_owned(), "END\r\n", 1, 0),
        ("hit with its number", "gets small\r\n".to_owned(), "END\r\n", 1, 0),
        ("hit that touches", "gat 100 small\r\n".to_owned(), "END\r\n", 1, 0),
        ("miss", "get none\r\n".to_owned(), "END\r\n", 1, 0),
        ("three keys", "get small none small\r\n".to_owned(), "END\r\n", 1, 0),
        ("16 hits sent ahead", "get small\r\n".repeat(16), "END\r\n", 16, 0),
        ("large hit", "get large\r\n".to_owned(), "END\r\n", 1, 0),
        ("touch", "touch small 0\r\n".to_owned(), "TOUCHED\r\n", 1, 0),
        ("mistake", "gte small\r\n".to_owned(), "ERROR\r\n", 1, 0),
        ("not stored", "touch none 0\r\n".to_owned(), "NOT_FOUND\r\n", 1, 0),
        // The value.
        ("set", set("small", "other"), "STORED\r\n", 1, 1),
        ("16 sets sent ahead", set("small", "other").repeat(16), "STORED\r\n", 16, 16),
    ] {
        let mut count = |rounds| {
            let run = || ask(&runtime, &mut client, &commands, answer, answers, rounds);
            measure(run).count_total
        };
        count(100); // pools and buffers fill
        let (few, many) = (count(1), count(1001));
        println!("{name}: {} allocations per 1000", many - few);
        assert_eq!(many - few, 1000 * allocations, "{name}");
    }
}

#[test]
fn an_idle_connection_costs_less_than_700_bytes() {
    const CONNECTIONS: usize = 2000;
    let (runtime, server) = serve();
    let mut first = connect(&server);
    ask(&runtime, &mut first, "get a\r\n", "END\r\n", 1, 10);
    let mut clients = Vec::with_capacity(CONNECTIONS);
    let counted = measure(|| {
        for _ in 0..CONNECTIONS {
            let mut client = connect(&server);
            ask(&runtime, &mut client, "get a\r\n", "END\r\n", 1, 2);
            clients.push(client);
        }
    });
    assert_eq!(server.stats().live, CONNECTIONS + 1);
    let bytes = counted.bytes_current / CONNECTIONS as i64;
    println!("{bytes} B of heap per idle connection that has been answered");
    assert!(bytes < 700, "{bytes} B per connection");
}

/// Whatever is stored, the heap of all items is at most what they count, and they count at most
/// `memory`.
#[test]
fn the_heap_of_all_items_is_within_their_bound() {
    const MEMORY: usize = 4 * 1024 * 1024;
    let mut options = MemcachedOptions::default();
    (options.memory, options.max_value) = (MEMORY, 100_000);
    let mut client = client(options);
    // What the client's buffers take is not of the items.
    client
        .receive(format!("set a 0 0 100000\r\n{}\r\ndelete a\r\n", "x".repeat(100_000)).as_bytes());
    client.take_written();
    let mut live = 0;
    let mut rng = fastrand::Rng::with_seed(7);
    for (name, keys, lengths) in [
        ("tiny", 0..40_000, 0..4),
        // Every other one goes: what was kept for them is given back.
        ("large", 40_000..40_100, 90_000..100_000),
        ("small", 0..30_000, 0..100),
        ("others in their place", 0..30_000, 0..1000),
        ("mixed", 0..3000, 0..20_000),
        ("tiny again", 50_000..90_000, 0..1),
    ] {
        let counted = measure(|| {
            for key in keys {
                let len = rng.usize(lengths.clone());
                let command = format!("set {key} 0 0 {len} noreply\r\n{}\r\n", "x".repeat(len));
                client.receive(command.as_bytes());
            }
            drop(client.take_written());
        });
        live += counted.bytes_current;
        let bytes = figure(&mut client, "bytes");
        println!(
            "{name}: {live} B of heap, {bytes} B counted, {} items",
            figure(&mut client, "curr_items")
        );
        assert!(bytes <= MEMORY as i64 && bytes > MEMORY as i64 * 8 / 10, "{name}: {bytes}");
        assert!(live <= MEMORY as i64, "{name}: {live}");
    }
}

/// A length that is announced costs nothing.
#[test]
fn a_value_costs_memory_as_it_comes() {
    let mut options = MemcachedOptions::default();
    options.max_value = 16 * 1024 * 1024;
    let mut client = client(options);
    let counted = measure(|| client.receive(b"set a 0 0 16777216\r\n0123456789"));
    assert!(counted.bytes_max < 2000, "{} B for ten", counted.bytes_max);
    let chunk = vec![b'x'; 64 * 1024];
    let counted = measure(|| (0..10).for_each(|_| client.receive(&chunk)));
    let come = 10 * chunk.len() as u64;
    assert!(counted.bytes_max < 3 * come, "{} B for {come}", counted.bytes_max);
}

fn client(options: MemcachedOptions) -> Harness<Memcached> {
    let cache = memcached(options).unwrap();
    Harness::new(cache.build_protocol(Recorder::new().info()).unwrap())
}

fn figure(client: &mut Harness<Memcached>, name: &str) -> i64 {
    client.receive(b"stats\r\n");
    let told = String::from_utf8(client.take_written().to_vec()).unwrap();
    let line = told.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
    line.unwrap().parse().unwrap()
}

/// A server that makes progress only while the runtime is blocked on: all of it on this thread.
fn serve() -> (Runtime, Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cache = memcached(MemcachedOptions::default()).unwrap();
    let server = runtime.block_on(Server::bind("tcp://127.0.0.1:0?backlog=1024", cache)).unwrap();
    (runtime, server)
}

fn connect(server: &Server) -> TcpStream {
    let client = TcpStream::connect(server.endpoint().address().socket_addr().unwrap()).unwrap();
    client.set_nonblocking(true).unwrap();
    client
}

/// Sends commands and takes their answers, in the runtime of the server.
fn ask(
    runtime: &Runtime,
    client: &mut TcpStream,
    commands: &str,
    answer: &str,
    answers: usize,
    rounds: usize,
) {
    runtime.block_on(async {
        let mut got = [0; 64 * 1024];
        for _ in 0..rounds {
            client.write_all(commands.as_bytes()).unwrap();
            let mut len = 0;
            let is_answer = |window: &&[u8]| *window == answer.as_bytes();
            while got[..len].windows(answer.len()).filter(is_answer).count() < answers {
                tokio::task::yield_now().await;
                match client.read(&mut got[len..]) {
                    Ok(more) => len += more,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        }
    });
}
