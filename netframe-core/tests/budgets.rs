//! The budgets of the hot path, counted: allocations per message and heap per idle connection.
//! Counts do not depend on the machine or its load, so they are asserted. `docs/performance.md`
//! gives the figures; `cargo test -p netframe-core --test budgets -- --nocapture` prints them.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::future::{Future, ready};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;

use allocation_counter::{AllocationInfo, measure};
use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::testing::Recorder;
use netframe_core::{
    ConnectionInfo, Datagram, DatagramProtocol, DatagramTransport, Factory, Group, Limits, Member,
    Policy, Protocol, Quota, Result, Server, Transport, datagrams,
};
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

/// Echo, for a whole datagram socket.
struct EchoAll;

impl DatagramProtocol for EchoAll {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        t.reply(&datagram, &datagram.data)?;
        Ok(())
    }
}

#[test]
fn an_echoed_datagram_allocates_nothing() {
    for at in ["udp://127.0.0.1:0", "udp://0.0.0.0:0", "udp://[::1]:0"] {
        let sessions = serve_on(at, |_: &ConnectionInfo| Echo);
        let whole = serve_on(at, datagrams(|_| EchoAll));
        for (name, (runtime, server)) in [("session", sessions), ("protocol", whole)] {
            let client = connect_udp(&server);
            for len in [0, 100, 4096, 60_000] {
                let message = vec![7; len];
                let count = |round_trips| {
                    let run = || runtime.block_on(udp_round_trip(&client, &message, round_trips));
                    measure(run).count_total
                };
                count(500); // pools and buffers fill
                let (few, many) = (count(1), count(1001));
                println!("{at} {name} {len} B: {} allocations per 1000 datagrams", many - few);
                assert_eq!(many, few, "{at} {name} {len} B");
            }
        }
    }
}

/// What its peer says, all members of the group hear, itself among them.
struct Speaker {
    group: Group,
    member: Option<Member>,
}

impl Protocol for Speaker {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.member = Some(self.group.join(t.handle(), Policy::DropOldest));
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.group.try_send(data.split().freeze());
        Ok(())
    }
}

#[test]
fn a_message_to_a_group_of_readers_allocates_nothing() {
    let group = Group::default();
    let room = group.clone();
    let speaker = move |_: &ConnectionInfo| Speaker { group: room.clone(), member: None };
    let (runtime, server) = serve_on("tcp://127.0.0.1:0?backlog=1024", speaker);
    let mut members: Vec<_> = (0..50).map(|_| connect(&server)).collect();
    settle(&runtime);
    assert_eq!(group.len(), 50);
    let mut count = |messages| {
        let run = async {
            for _ in 0..messages {
                round_trip(&mut members[0], &[7; 100], 1).await;
                for member in &mut members[1..] {
                    receive(member, 100).await;
                }
            }
        };
        measure(|| runtime.block_on(run)).count_total
    };
    count(50); // pools and buffers fill
    let (few, many) = (count(1), count(101));
    println!("{} allocations per 100 messages to 50 members", many - few);
    assert_eq!(many, few);
}

#[test]
fn a_member_that_never_reads_costs_nothing_in_its_group() {
    const MEMBERS: usize = 1000;
    let group = Group::default();
    let mut limits = Limits::default();
    (limits.high_watermark, limits.low_watermark) = (1, 1);
    let mut members: Vec<_> = (0..MEMBERS)
        .map(|_| {
            let mut t = Recorder::with_limits(limits.clone());
            t.write(b"full");
            let member = group.join(t.handle(), Policy::DropOldest);
            (t, member)
        })
        .collect();
    group.try_send("they fall behind");
    let counted = measure(|| {
        for _ in 0..1000 {
            group.try_send("and further behind");
        }
    });
    let bytes = per_connection(&counted, MEMBERS);
    println!("{} B in the group, {bytes} B per member that never reads", counted.bytes_current);
    // The log itself, of 1000 messages, is what they share.
    assert!(counted.bytes_current < 200_000, "{} B", counted.bytes_current);
    members.clear();
}

#[test]
fn an_idle_unix_connection_costs_less_than_800_bytes() {
    const CONNECTIONS: usize = 1000;
    let path = std::env::temp_dir().join(format!("netframe-budgets-{}", std::process::id()));
    let at = format!("unix://{}", path.display());
    let (runtime, server) = serve_on(&at, |_: &ConnectionInfo| Echo);
    let mut clients = vec![UnixStream::connect(&path).unwrap()];
    settle(&runtime);
    clients.reserve(CONNECTIONS);
    let counted = measure(|| {
        for _ in 0..CONNECTIONS {
            clients.push(UnixStream::connect(&path).unwrap());
            if clients.len() % 100 == 0 {
                settle(&runtime);
            }
        }
        settle(&runtime);
    });
    assert_eq!(server.stats().live, CONNECTIONS + 1);
    let bytes = per_connection(&counted, CONNECTIONS);
    println!("{bytes} B of heap per Unix connection, with its credentials");
    assert!(bytes < 800, "{bytes} B per connection");
}

#[test]
fn an_idle_udp_session_costs_less_than_2100_bytes() {
    const SESSIONS: usize = 1000;
    let (runtime, server) = serve_on("udp://127.0.0.1:0", |_: &ConnectionInfo| Echo);
    let first = connect_udp(&server);
    runtime.block_on(udp_round_trip(&first, b"warm", 100));
    let clients: Vec<_> = (0..SESSIONS).map(|_| connect_udp(&server)).collect();
    let counted = measure(|| {
        for client in &clients {
            runtime.block_on(udp_round_trip(client, b"a datagram", 2));
        }
    });
    assert_eq!(server.stats().live, SESSIONS + 1);
    let bytes = per_connection(&counted, SESSIONS);
    println!("{bytes} B of heap per UDP session that has spoken");
    assert!(bytes < 2100, "{bytes} B per session");
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

/// Answers each byte with a large piece that is queued by reference, and small writes around it.
struct Large;

const LARGE: &[u8] = &[7; 20_000];

impl Protocol for Large {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        for _ in data.split() {
            t.write(b"begin\r\n");
            t.write_bytes(Bytes::from_static(LARGE));
            t.with_buffer(&mut |out| out.extend_from_slice(b"end\r\n"));
        }
        Ok(())
    }
}

#[test]
fn a_large_write_between_small_ones_allocates_nothing() {
    let (runtime, server) = serve_on("tcp://127.0.0.1:0", |_: &ConnectionInfo| Large);
    let mut client = connect(&server);
    let mut count = |messages| {
        let run = async {
            for _ in 0..messages {
                client.write_all(b"?").unwrap();
                receive(&mut client, b"begin\r\nend\r\n".len() + LARGE.len()).await;
            }
        };
        measure(|| runtime.block_on(run)).count_total
    };
    count(100); // pools and buffers fill
    let (few, many) = (count(1), count(1001));
    println!("{} allocations per 1000 large writes between small ones", many - few);
    assert_eq!(many, few);
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

/// Nor one that is held back: the second rate is used up by the first messages.
#[test]
fn an_echoed_message_of_a_shaped_connection_allocates_nothing() {
    for (rate, held_back) in [(1 << 30, false), (100_000, true)] {
        let mut limits = Limits::default();
        let rates = [&mut limits.read_rate, &mut limits.write_rate];
        rates.into_iter().for_each(|limit| *limit = Quota::AtMost(rate));
        limits.service_write_rate = Quota::AtMost(rate);
        let (runtime, server) = serve_with(limits);
        let mut client = connect(&server);
        let mut count = |round_trips| {
            let run = || runtime.block_on(round_trip(&mut client, &[7; 4096], round_trips));
            measure(run).count_total
        };
        count(40); // pools and buffers fill
        let (few, many) = (count(1), count(11));
        println!("{rate} B/s: {} allocations per 10 shaped messages", many - few);
        assert_eq!(many, few, "{rate} B/s");
        assert_eq!(server.stats().writes_held_back > 10, held_back);
    }
}

#[test]
fn an_idle_connection_that_is_shaped_costs_less_than_1100_bytes() {
    const CONNECTIONS: usize = 1000;
    let mut limits = Limits::default();
    (limits.read_rate, limits.write_rate) = (Quota::AtMost(100_000), Quota::AtMost(100_000));
    (limits.service_read_rate, limits.service_write_rate) = (limits.read_rate, limits.write_rate);
    let (runtime, server) = serve_with(limits);
    let mut clients = vec![connect(&server)];
    settle(&runtime);
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
    println!("{bytes} B of heap per shaped connection");
    assert!(bytes < 1100, "{bytes} B per connection");
}

fn per_connection(counted: &AllocationInfo, connections: usize) -> i64 {
    counted.bytes_current / i64::try_from(connections).unwrap()
}

/// A server that makes progress only while the runtime is blocked on: all of it on this thread.
fn serve() -> (Runtime, Server) {
    serve_on("tcp://127.0.0.1:0?backlog=1024", |_: &ConnectionInfo| Echo)
}

fn serve_with(limits: Limits) -> (Runtime, Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let builder = Server::builder(|_: &ConnectionInfo| Echo).limits(limits);
    let builder = builder.listen("tcp://127.0.0.1:0?backlog=1024").unwrap();
    let server = runtime.block_on(builder.bind()).unwrap();
    (runtime, server)
}

fn serve_on(at: &str, factory: impl Factory) -> (Runtime, Server) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::bind(at, factory)).unwrap();
    (runtime, server)
}

fn connect_udp(server: &Server) -> UdpSocket {
    let mut to = server.endpoint().address().socket_addr().unwrap();
    if to.ip().is_unspecified() {
        to.set_ip([127, 0, 0, 1].into());
    }
    let socket = UdpSocket::bind(SocketAddr::new(to.ip(), 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// As [`round_trip`], with datagrams.
async fn udp_round_trip(client: &UdpSocket, message: &[u8], count: usize) {
    let mut answer = [0; 64 * 1024];
    for _ in 0..count {
        client.send(message).unwrap();
        loop {
            tokio::task::yield_now().await;
            match client.recv(&mut answer) {
                Ok(len) => break assert_eq!(len, message.len()),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
        }
    }
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
    for _ in 0..count {
        client.write_all(message).unwrap();
        receive(client, message.len()).await;
    }
}

/// Takes so many bytes, in the runtime of the server.
async fn receive(client: &mut TcpStream, mut left: usize) {
    client.set_nonblocking(true).unwrap();
    let mut answer = [0; 4096];
    while left > 0 {
        tokio::task::yield_now().await;
        match client.read(&mut answer[..left.min(4096)]) {
            Ok(len) => left -= len,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
}
