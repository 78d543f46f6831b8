//! Names, several addresses, and both families: what a client and a server make of an endpoint's
//! host, with a resolver of the test's own. What needs IPv6 is left out where there is none.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use netframe_core::bytes::BytesMut;
use netframe_core::{
    Addr, AddrErrors, Client, ConnectionInfo, Error, Protocol, Reactor, Resolve, ResolveError,
    Result, Server, Transport,
};
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

#[tokio::test]
async fn a_client_reaches_a_name() {
    let server = serve("tcp://127.0.0.1:0").await;
    let names = Names::of("one.test", [addr(&server)]);
    assert_eq!(connect(&names, "tcp://one.test:9").await.unwrap(), addr(&server).into());
    assert_eq!(names.asked(), ["one.test:9"]);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_an_error_that_tells_it() {
    let text = "cannot find an address for `tcp://none.test:9`: cannot look up `none.test`";
    for (names, why) in
        [(Names::default(), "not known here"), (Names::of("none.test", []), "it has no address")]
    {
        let client = connect(&names, "tcp://none.test:9").await.unwrap_err();
        let server = names.bind("tcp://none.test:9").await.unwrap_err();
        for error in [client, server] {
            assert_eq!(format!("{error:?}"), format!("{text}: {why}"));
            let Error::Resolve { source, .. } = error else { panic!("{error:?}") };
            assert_eq!(source.kind(), io::ErrorKind::NotFound);
            let inner: &ResolveError = source.get_ref().unwrap().downcast_ref().unwrap();
            assert_eq!(inner.name(), "none.test");
        }
    }
}

#[tokio::test]
async fn a_dead_address_does_not_hide_one_that_lives() {
    let server = serve("tcp://127.0.0.1:0").await;
    let (_dead, dead) = dead();
    let names = Names::of("two.test", [dead, addr(&server)]);
    assert_eq!(connect(&names, "tcp://two.test:9").await.unwrap(), addr(&server).into());
}

#[tokio::test]
async fn the_error_lists_every_address() {
    let ((_first, first), (_second, second)) = (dead(), dead());
    let names = Names::of("dead.test", [first, second]);
    let error = connect(&names, "tcp://dead.test:9").await.unwrap_err();
    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
    assert_eq!(
        format!("{error:?}"),
        format!("cannot connect to tcp://dead.test:9: {first}: {refused}; {second}: {refused}")
    );
    let Error::Connect { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    let inner: &AddrErrors = source.get_ref().unwrap().downcast_ref().unwrap();
    assert_eq!(inner.iter().map(|(addr, _)| addr).collect::<Vec<_>>(), [first, second]);
}

#[tokio::test]
async fn a_name_is_looked_up_anew_for_each_attempt() {
    let server = serve("tcp://127.0.0.1:0").await;
    let (_dead, dead) = dead();
    let names = Names::of("moving.test", [dead]);
    let error = connect(&names, "tcp://moving.test:9").await.unwrap_err();
    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
    assert_eq!(format!("{error:?}"), format!("cannot connect to tcp://moving.test:9: {refused}"));
    names.set("moving.test", [addr(&server)]);
    assert_eq!(connect(&names, "tcp://moving.test:9").await.unwrap(), addr(&server).into());
}

#[tokio::test(start_paused = true)]
async fn the_connect_timeout_is_that_of_lookup_and_attempts_together() {
    /// Answers after four seconds.
    struct Slow(Names);
    #[async_trait]
    impl Resolve for Slow {
        async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            sleep(Duration::from_secs(4)).await;
            self.0.resolve(host, port).await
        }
    }
    let ((_first, first), (_second, second)) = (silent(), silent());
    let slow = Slow(Names::of("slow.test", [first, second]));
    let started = Instant::now();
    let client = Client::builder(|_: &ConnectionInfo| Greeter).resolver(slow);
    let error = client.connect("tcp://slow.test:9").await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 10);
    assert_eq!(
        error.to_string(),
        "tcp://slow.test:9 did not answer within 10s; raise `connect_timeout` if it is that slow"
    );
}

#[tokio::test]
async fn a_server_listens_on_every_address_of_its_name_at_one_port() {
    let all = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0", "[::1]:0"];
    let names = Names::of("all.test", all.map(|text| text.parse().unwrap()));
    let server = names.bind("tcp://all.test:0?nodelay=false").await.unwrap();
    let addrs: Vec<_> = addrs(server.endpoints());
    assert_eq!(addrs.len(), if has_ipv6() { 3 } else { 2 });
    assert!(addrs.iter().all(|addr| addr.port() == addrs[0].port() && addr.port() != 0));
    assert_eq!(server.endpoint(), &server.endpoints()[0]);
    for (endpoint, addr) in server.endpoints().iter().zip(&addrs) {
        assert_eq!(endpoint.to_string(), format!("tcp://{addr}?nodelay=false"));
        greeted(*addr).await;
    }
    assert_eq!(server.stats().accepted, addrs.len() as u64);
}

#[tokio::test]
async fn a_client_and_a_server_meet_at_localhost() {
    let server = serve("tcp://localhost:0").await;
    let endpoint = format!("tcp://localhost:{}", addr(&server).port());
    let _client = Client::connect(endpoint, |_: &ConnectionInfo| Greeter).await.unwrap();
    for addr in addrs(server.endpoints()) {
        assert!(addr.ip().is_loopback());
        greeted(addr).await;
    }
}

#[test]
fn a_reactor_lists_every_address() {
    let names = Names::of("two.test", ["127.0.0.1:0", "127.0.0.2:0"].map(|a| a.parse().unwrap()));
    let server = Server::builder(|_: &ConnectionInfo| Greeter).resolver(names);
    let server = server.listen("tcp://two.test:0").unwrap().listen("tcp://127.0.0.3:0").unwrap();
    let reactor = Reactor::builder().build().unwrap().serve(server).unwrap();
    let addrs = addrs(reactor.endpoints());
    let hosts: Vec<_> = addrs.iter().map(|addr| addr.ip().to_string()).collect();
    assert_eq!(hosts, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let report = reactor.run_until(async {
        for addr in addrs {
            greeted(addr).await;
        }
    });
    assert!(report.unwrap().failure.is_none());
}

#[tokio::test]
async fn an_address_of_another_machine_is_passed_over() {
    // RFC 5737: for documentation only.
    let names = Names::of("far.test", ["203.0.113.1:0", "127.0.0.1:0"].map(|a| a.parse().unwrap()));
    let server = names.bind("tcp://far.test:0").await.unwrap();
    assert_eq!(server.endpoints().len(), 1);
    greeted(addr(&server)).await;

    let names =
        Names::of("far.test", ["203.0.113.1:9", "203.0.113.2:9"].map(|a| a.parse().unwrap()));
    let error = names.bind("tcp://far.test:9").await.unwrap_err();
    let absent = io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
    assert_eq!(
        format!("{error:?}"),
        format!(
            "cannot listen on tcp://far.test:9: this machine has no such address: \
             203.0.113.1:9: {absent}; 203.0.113.2:9: {absent}"
        )
    );
}

#[tokio::test]
async fn an_address_in_use_is_an_error_and_leaves_nothing_open() {
    // No other test listens on these two, so that the port is free at the first.
    let taken = StdListener::bind("127.0.7.2:0").unwrap();
    let second = taken.local_addr().unwrap();
    let first = SocketAddr::new([127, 0, 7, 1].into(), second.port());
    let names = Names::of("taken.test", [first, second]);
    let error = names.bind("tcp://taken.test:9").await.unwrap_err();
    let in_use = io::Error::from_raw_os_error(libc::EADDRINUSE);
    assert!(format!("{error:?}").ends_with(&format!("picks a free one): {second}: {in_use}")));
    serve(&format!("tcp://{first}")).await.shutdown(Duration::ZERO).await;
    drop(taken);
    assert_eq!(names.bind("tcp://taken.test:9").await.unwrap().endpoints().len(), 2);
}

#[tokio::test]
async fn the_unspecified_ipv6_address_serves_both_families() {
    if !has_ipv6() {
        return;
    }
    let server = serve("tcp://[::]:0").await;
    let port = addr(&server).port();
    assert_eq!(greeted(([127, 0, 0, 1], port).into()).await, "127.0.0.1", "not ::ffff:127.0.0.1");
    assert_eq!(greeted(format!("[::1]:{port}").parse().unwrap()).await, "::1");
}

#[tokio::test]
async fn any_other_ipv6_address_leaves_the_port_to_ipv4() {
    if !has_ipv6() {
        return;
    }
    let server = serve("tcp://[::1]:0").await;
    let other = serve(&format!("tcp://0.0.0.0:{}", addr(&server).port())).await;
    assert_eq!(greeted(addr(&server)).await, "::1");
    drop(other);
}

#[tokio::test]
async fn the_two_unspecified_addresses_cannot_share_a_port() {
    if !has_ipv6() {
        return;
    }
    for (one, other) in [("0.0.0.0", "[::]"), ("[::]", "0.0.0.0")] {
        let server = serve(&format!("tcp://{one}:0")).await;
        let endpoint = format!("tcp://{other}:{}", addr(&server).port());
        let error = Names::default().bind(&endpoint).await.unwrap_err();
        let text = format!("cannot listen on {endpoint}: it is in use already; ");
        assert!(error.to_string().starts_with(&text), "{error}");
        let Error::Listen { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    }
}

/// Says who is connected, and closes.
struct Greeter;

impl Protocol for Greeter {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        let peer = t.info().peer().ip().unwrap();
        t.write(peer.to_string().as_bytes());
        t.close();
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

async fn serve(endpoint: &str) -> Server {
    Server::bind(endpoint, |_: &ConnectionInfo| Greeter).await.unwrap()
}

/// What the greeter at `addr` says.
async fn greeted(addr: SocketAddr) -> String {
    let mut text = String::new();
    let greeted = async { TcpStream::connect(addr).await?.read_to_string(&mut text).await };
    timeout(Duration::from_secs(60), greeted).await.expect("nobody answers").unwrap();
    text
}

/// Connects, and tells whom it reached.
async fn connect(names: &Names, endpoint: &str) -> Result<Addr, Error> {
    let (reached, peers) = mpsc::channel();
    let client = Client::builder(move |info: &ConnectionInfo| {
        reached.send(info.peer().clone()).unwrap();
        Greeter
    });
    let _client = client.resolver(names.clone()).connect(endpoint).await?;
    Ok(peers.try_recv().unwrap())
}

fn addr(server: &Server) -> SocketAddr {
    server.endpoint().address().socket_addr().unwrap()
}

fn addrs<'a>(endpoints: impl IntoIterator<Item = &'a netframe_core::Endpoint>) -> Vec<SocketAddr> {
    endpoints.into_iter().map(|at| at.address().socket_addr().unwrap()).collect()
}

/// An address at which nobody listens, and nobody else will: it is bound.
fn dead() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// An address that does not answer: its accept queue has room for one, which is there.
fn silent() -> ((Socket, StdStream), SocketAddr) {
    let (socket, addr) = dead();
    socket.listen(0).unwrap();
    ((socket, StdStream::connect(addr).unwrap()), addr)
}

fn has_ipv6() -> bool {
    StdListener::bind("[::1]:0").is_ok()
}

/// A resolver that knows what it is told. Clones know the same.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    names: BTreeMap<String, Vec<SocketAddr>>,
    asked: Vec<String>,
}

impl Names {
    fn of(name: &str, addrs: impl Into<Vec<SocketAddr>>) -> Self {
        let names = Self::default();
        names.set(name, addrs);
        names
    }

    fn set(&self, name: &str, addrs: impl Into<Vec<SocketAddr>>) {
        self.0.lock().unwrap().names.insert(name.to_owned(), addrs.into());
    }

    /// What was looked up so far.
    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    async fn bind(&self, endpoint: &str) -> Result<Server, Error> {
        let server = Server::builder(|_: &ConnectionInfo| Greeter).resolver(self.clone());
        server.listen(endpoint)?.bind().await
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut known = self.0.lock().unwrap();
        known.asked.push(format!("{host}:{port}"));
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "not known here");
        known.names.get(host).cloned().ok_or_else(unknown)
    }
}
