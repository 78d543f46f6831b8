//! How many connections a peer may have, and how fast they may come: over real sockets from several
//! loopback addresses, and on a paused clock in memory.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    AtLimit, CloseKind, ConnectionInfo, Limits, Protocol, Quota, Result, Server, Stats, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

struct Echo;

impl Protocol for Echo {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

async fn serve(at: &str, change: impl FnOnce(&mut Limits)) -> (Server, SocketAddr) {
    let mut limits = Limits::default();
    change(&mut limits);
    let server = Server::builder(|_: &ConnectionInfo| Echo).limits(limits);
    let server = server.listen(at).unwrap().bind().await.unwrap();
    let addr = server.endpoint().address().socket_addr().unwrap();
    (server, addr)
}

async fn connect(from: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, from));
    socket.bind(SocketAddr::new(ip, 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// Whether the connection is served rather than refused.
async fn is_served(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    let asked = async {
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut answer).await
    };
    timeout(PATIENCE, asked).await.unwrap().is_ok_and(|_| answer == *b"ping")
}

async fn until(server: &Server, wanted: impl Fn(&Stats) -> bool) {
    let waits = async {
        while !wanted(&server.stats()) {
            yield_now().await;
        }
    };
    timeout(PATIENCE, waits).await.unwrap();
}

#[tokio::test]
async fn a_peer_has_as_many_connections_as_it_may_and_others_have_theirs() {
    let (server, to) = serve("tcp://127.0.0.1:0", |limits| {
        limits.max_connections_per_peer = Quota::AtMost(2);
    })
    .await;
    let (mut one, mut two) = (connect(1, to).await, connect(1, to).await);
    assert!(is_served(&mut one).await && is_served(&mut two).await);
    assert!(!is_served(&mut connect(1, to).await).await, "a third one is refused");
    assert!(is_served(&mut connect(2, to).await).await, "another peer is not");
    assert_eq!(server.stats().refused_per_peer, 1);
    drop(one);
    until(&server, |stats| stats.live == 1).await;
    assert!(is_served(&mut connect(1, to).await).await, "there is room again");
    assert!(is_served(&mut two).await);
    let stats = server.stats();
    assert_eq!((stats.refused_per_peer, stats.accepted), (1, 4));
    drop(two);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn what_is_refused_holds_no_place() {
    let (server, to) = serve("tcp://127.0.0.1:0", |limits| {
        limits.max_connections = 2;
        limits.max_connections_per_peer = Quota::AtMost(1);
    })
    .await;
    let mut kept = connect(1, to).await;
    assert!(is_served(&mut kept).await);
    for _ in 0..100 {
        assert!(!is_served(&mut connect(1, to).await).await);
    }
    assert!(is_served(&mut connect(2, to).await).await);
    assert_eq!(server.stats().refused_per_peer, 100);
    drop(kept);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_peer_may_be_a_network() {
    let (server, to) = serve("tcp://127.0.0.1:0", |limits| {
        limits.max_connections_per_peer = Quota::AtMost(1);
        limits.peer_prefix_v4 = 24;
    })
    .await;
    let mut one = connect(1, to).await;
    assert!(is_served(&mut one).await);
    assert!(!is_served(&mut connect(2, to).await).await);
    drop(one);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn sessions_of_a_peer_are_counted_too() {
    let (server, to) = serve("udp://127.0.0.1:0", |limits| {
        limits.max_connections_per_peer = Quota::AtMost(2);
    })
    .await;
    let mut sockets = Vec::new();
    for port in 0..3 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&[port], to).await.unwrap();
        if port < 2 {
            let answer = timeout(PATIENCE, socket.recv_from(&mut [0; 8])).await.unwrap();
            assert_eq!(answer.unwrap(), (1, to));
        }
        sockets.push(socket);
    }
    until(&server, |stats| stats.refused_per_peer == 1).await;
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.datagrams.no_room, stats.datagrams.evicted), (2, 0, 0));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_full_service_says_so_and_goes_on() {
    let mut limits = Limits::default();
    limits.max_connections = 2;
    limits.at_limit = AtLimit::Refuse;
    let server = Server::builder(|_: &ConnectionInfo| Echo).limits(limits).refusal("full\n");
    let server = server.listen("tcp://127.0.0.1:0").unwrap().bind().await.unwrap();
    let to = server.endpoint().address().socket_addr().unwrap();
    let (mut one, mut two) = (connect(1, to).await, connect(1, to).await);
    assert!(is_served(&mut one).await && is_served(&mut two).await);
    for _ in 0..10 {
        let mut refused = connect(1, to).await;
        refused.write_all(b"a question that nobody reads").await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, refused.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, "full\n", "and then the end in order");
    }
    assert!(is_served(&mut one).await);
    assert_eq!((server.stats().refused_full, server.stats().accepted), (10, 2));
    drop(two);
    until(&server, |stats| stats.live == 1).await;
    assert!(is_served(&mut connect(1, to).await).await);
    drop(one);
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn peers_that_do_not_take_their_refusal_cost_a_bounded_number_of_tasks() {
    let mut limits = Limits::default();
    limits.max_connections = 1;
    limits.at_limit = AtLimit::Refuse;
    let server = Server::builder(|_: &ConnectionInfo| Echo).limits(limits).refusal("full\n");
    let server = server.listen("tcp://127.0.0.1:0").unwrap().bind().await.unwrap();
    let to = server.endpoint().address().socket_addr().unwrap();
    let mut kept = connect(1, to).await;
    assert!(is_served(&mut kept).await);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut refused = Vec::new();
    for count in 1..=300 {
        refused.push(connect(1, to).await);
        until(&server, |stats| stats.refused_full == count).await;
        assert!(tasks() <= before + 64);
    }
    assert!(is_served(&mut kept).await);
    drop((kept, refused));
    server.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn the_longest_idle_makes_way_for_a_newcomer() {
    let (server, to) = serve("tcp://127.0.0.1:0", |limits| {
        limits.max_connections = 3;
        limits.at_limit = AtLimit::EndIdle;
        limits.idle_timeout = Duration::from_secs(1).into(); // so that the wheel looks often
    })
    .await;
    let mut idle = connect(1, to).await;
    until(&server, |stats| stats.live == 1).await;
    // Time passes: others are busy until the first one has been idle for a while.
    let (mut busy, mut other) = (connect(1, to).await, connect(1, to).await);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(300) {
        assert!(is_served(&mut busy).await && is_served(&mut other).await);
    }
    let mut newcomer = connect(1, to).await;
    assert!(is_served(&mut newcomer).await);
    assert_eq!(timeout(PATIENCE, idle.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0);
    assert!(is_served(&mut busy).await && is_served(&mut other).await);
    let stats = server.stats();
    assert_eq!((stats.closed(CloseKind::Limit), stats.refused_full, stats.live), (1, 0, 3));
    drop((busy, other, newcomer));
    server.shutdown(PATIENCE).await;
}

#[tokio::test(start_paused = true)]
async fn connections_come_no_faster_than_they_may_and_none_is_lost() {
    let network = MemNetwork::new();
    let mut limits = Limits::default();
    limits.accept_rate = Quota::AtMost(10);
    let server = Server::builder(|_: &ConnectionInfo| Echo).limits(limits);
    let server = server.network(network.clone()).listen("mem://paced").unwrap();
    let server = server.bind().await.unwrap();
    let started = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let network = network.clone();
        clients.spawn(async move {
            let mut client = network.connect("paced").await.unwrap();
            client.write_all(b"ping").await.unwrap();
            client.read_exact(&mut [0; 4]).await.unwrap();
        });
    }
    let mut accepted = Vec::new();
    for _ in 0..10 {
        for _ in 0..1000 {
            yield_now().await;
        }
        accepted.push(server.stats().accepted);
        advance(Duration::from_secs(1)).await;
    }
    assert!(accepted[0] == 10 && accepted[1] < 30, "{accepted:?}");
    clients.join_all().await;
    let took = started.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(11)).contains(&took), "{took:?}");
    assert_eq!(server.stats().accepted, 100);
    server.shutdown(PATIENCE).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_the_pace() {
    let network = MemNetwork::new();
    let mut limits = Limits::default();
    limits.accept_rate = Quota::AtMost(1);
    let server = Server::builder(|_: &ConnectionInfo| Echo).limits(limits);
    let server = server.network(network.clone()).listen("mem://paced").unwrap();
    let server = server.bind().await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(network.connect("paced").await.unwrap());
    }
    let started = Instant::now();
    let report = server.shutdown(PATIENCE).await;
    assert!(started.elapsed() < Duration::from_secs(1) && report.aborted == 0, "{report}");
}
