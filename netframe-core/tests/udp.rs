//! What is special to UDP, over real sockets on loopback addresses: which address an answer leaves
//! from, forged senders, both families, multicast and broadcast.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::{
    Client, CloseKind, CloseReason, ConnectionInfo, Datagram, DatagramProtocol, DatagramTransport,
    Error, Handle, Protocol, Reactor, Result, Server, Transport, Workers, datagrams, stream_fn,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

struct Echo;

impl Protocol for Echo {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

/// Echo, for a whole socket.
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

/// Writes so many datagrams of so many bytes for each one that comes.
#[derive(Clone, Copy)]
struct Amplifier {
    count: usize,
    len: usize,
}

impl Protocol for Amplifier {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        for _ in 0..self.count {
            t.write(&vec![b'!'; self.len]);
            t.drain().await?;
        }
        Ok(())
    }
}

async fn echo(at: &str) -> Server {
    Server::bind(at, |_: &ConnectionInfo| Echo).await.unwrap()
}

fn addr(server: &Server) -> SocketAddr {
    server.endpoint().address().socket_addr().unwrap()
}

async fn socket(at: &str) -> UdpSocket {
    UdpSocket::bind(at).await.unwrap()
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 70_000];
    let received = timeout(Duration::from_secs(20), socket.recv_from(&mut bytes)).await;
    let (len, from) = received.expect("a datagram arrives").unwrap();
    bytes.truncate(len);
    (bytes, from)
}

/// Waits until the server has seen what was sent, by the answer to another peer.
async fn settle(server: &Server, to: SocketAddr) {
    let other = socket("127.0.0.1:0").await;
    let before = server.stats().accepted;
    other.send_to(b"other", to).await.unwrap();
    while server.stats().accepted == before {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// What has arrived, asked of the system itself.
fn arrived(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let socket = socket2::SockRef::from(socket);
    let mut all = Vec::new();
    let mut bytes = vec![0; 70_000];
    while let Ok(len) = std::io::Read::read(&mut &*socket, &mut bytes) {
        all.push(bytes[..len].to_vec());
    }
    all
}

#[tokio::test]
async fn an_answer_leaves_from_the_address_that_was_asked() {
    for (at, peer, asked) in [
        ("udp://0.0.0.0:0", "127.0.0.1:0", "127.0.0.2"),
        ("udp://0.0.0.0:0", "127.0.0.3:0", "127.0.0.1"),
        ("udp://[::]:0", "127.0.0.1:0", "127.0.0.2"),
        ("udp://[::]:0", "[::1]:0", "::1"),
        ("udp://[::1]:0", "[::1]:0", "::1"),
        ("udp://127.0.0.2:0", "127.0.0.1:0", "127.0.0.2"),
    ] {
        let whole = Server::bind(at, datagrams(|_| EchoAll)).await.unwrap();
        for server in [echo(at).await, whole] {
            let asked = SocketAddr::new(asked.parse().unwrap(), addr(&server).port());
            let socket = socket(peer).await;
            for len in [0, 1, 1000] {
                socket.send_to(&vec![7; len], asked).await.unwrap();
                let (answer, from) = receive(&socket).await;
                assert_eq!((answer.len(), from), (len, asked), "{at} {peer}");
            }
        }
    }
}

#[tokio::test]
async fn one_peer_that_asks_two_addresses_is_answered_from_both() {
    let server = echo("udp://0.0.0.0:0").await;
    let socket = socket("127.0.0.1:0").await;
    for host in ["127.0.0.2", "127.0.0.3", "127.0.0.2"] {
        let asked = SocketAddr::new(host.parse().unwrap(), addr(&server).port());
        socket.send_to(b"x", asked).await.unwrap();
        assert_eq!(receive(&socket).await.1, asked);
    }
    assert_eq!(server.stats().live, 1);
}

#[tokio::test]
async fn a_greeting_leaves_from_the_address_that_was_asked() {
    struct Greeter;
    impl Protocol for Greeter {
        async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
            t.write(b"hello");
            Ok(())
        }
        async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
            data.clear();
            Ok(())
        }
    }
    let server = Server::bind("udp://0.0.0.0:0", |_: &ConnectionInfo| Greeter).await.unwrap();
    let socket = socket("127.0.0.1:0").await;
    let asked = SocketAddr::new(IpAddr::from([127, 0, 0, 2]), addr(&server).port());
    socket.send_to(b"who is there?", asked).await.unwrap();
    assert_eq!(receive(&socket).await, (b"hello".to_vec(), asked));
}

#[tokio::test]
async fn a_session_knows_both_ends() {
    let (log, mut seen) = mpsc::unbounded_channel();
    let factory = move |info: &ConnectionInfo| {
        log.send((info.peer().clone(), info.local().clone(), info.is_datagram())).unwrap();
        Echo
    };
    let server = Server::bind("udp://0.0.0.0:0", factory).await.unwrap();
    let socket = socket("127.0.0.1:0").await;
    let asked = SocketAddr::new(IpAddr::from([127, 0, 0, 2]), addr(&server).port());
    socket.send_to(b"x", asked).await.unwrap();
    let (peer, local, datagram) = seen.recv().await.unwrap();
    assert_eq!(peer.socket().unwrap(), socket.local_addr().unwrap());
    assert_eq!(local.socket().unwrap(), asked);
    assert!(datagram);
}

#[tokio::test]
async fn both_families_are_served_by_one_socket() {
    let server = echo("udp://[::]:0").await;
    let port = addr(&server).port();
    let (v4, v6) = (socket("127.0.0.1:0").await, socket("[::1]:0").await);
    v4.send_to(b"four", ("127.0.0.1", port)).await.unwrap();
    v6.send_to(b"six", ("::1", port)).await.unwrap();
    assert_eq!(receive(&v4).await.0, b"four");
    assert_eq!(receive(&v6).await.0, b"six");
}

#[tokio::test]
async fn the_longest_datagram_of_each_family_passes() {
    for (at, peer, len) in
        [("udp://127.0.0.1:0", "127.0.0.1:0", 65_507), ("udp://[::1]:0", "[::1]:0", 65_527)]
    {
        let server = echo(at).await;
        let socket = socket(peer).await;
        socket.send_to(&vec![7; len], addr(&server)).await.unwrap();
        assert_eq!(receive(&socket).await.0.len(), len);
    }
}

#[tokio::test]
async fn at_most_thrice_the_bytes_are_sent_until_a_peer_sends_again() {
    let amplifier = Amplifier { count: 5, len: 100 };
    let server = Server::bind("udp://127.0.0.1:0", move |_: &ConnectionInfo| amplifier);
    let server = server.await.unwrap();
    let (to, socket) = (addr(&server), socket("127.0.0.1:0").await);
    socket.send_to(&[0; 110], to).await.unwrap();
    settle(&server, to).await;
    assert_eq!(arrived(&socket).len(), 3, "330 bytes are allowed");
    // What was held back is not lost.
    socket.send_to(b"x", to).await.unwrap();
    for _ in 0..2 + 5 {
        assert_eq!(receive(&socket).await.0.len(), 100);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_a_first_datagram_waits_even_when_closed() {
    struct Greeter;
    impl Protocol for Greeter {
        async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
            data.clear();
            t.write(b"a long greeting");
            t.close();
            Ok(())
        }
    }
    let server = Server::bind("udp://127.0.0.1:0", |_: &ConnectionInfo| Greeter).await.unwrap();
    let (to, socket) = (addr(&server), socket("127.0.0.1:0").await);
    socket.send_to(b"", to).await.unwrap();
    settle(&server, to).await;
    assert!(arrived(&socket).is_empty());
    socket.send_to(b"", to).await.unwrap();
    assert_eq!(receive(&socket).await.0, b"a long greeting");
}

/// Sends each datagram on to where it is told to.
struct Forwarder;

impl DatagramProtocol for Forwarder {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        let to: SocketAddr = str::from_utf8(&datagram.data)?.parse()?;
        t.send_to(&datagram.data, &to.into())?;
        Ok(())
    }
}

#[tokio::test]
async fn datagrams_from_the_sockets_own_address_are_dropped() {
    for at in ["udp://127.0.0.1:0", "udp://0.0.0.0:0", "udp://[::]:0"] {
        let server = Server::bind(at, datagrams(|_| Forwarder)).await.unwrap();
        let own = SocketAddr::from((Ipv4Addr::LOCALHOST, addr(&server).port()));
        socket("127.0.0.1:0").await.send_to(own.to_string().as_bytes(), own).await.unwrap();
        while server.stats().datagrams.own == 0 {
            tokio::task::yield_now().await;
        }
        // Else it would run in circles for ever.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.stats().datagrams.own, 1, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_ends_after_its_idle_time() {
    let (log, mut seen) = mpsc::unbounded_channel();
    struct Silent(mpsc::UnboundedSender<CloseKind>);
    impl Protocol for Silent {
        async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
            data.clear();
            Ok(())
        }
        fn connection_lost(&mut self, reason: &CloseReason) {
            self.0.send(reason.kind()).unwrap();
        }
    }
    let factory = move |_: &ConnectionInfo| Silent(log.clone());
    let server = Server::bind("udp://127.0.0.1:0?session_idle=7s", factory).await.unwrap();
    let socket = socket("127.0.0.1:0").await;
    socket.send_to(b"x", addr(&server)).await.unwrap();
    let started = Instant::now();
    let kind = seen.recv().await.unwrap();
    assert_eq!(kind, CloseKind::Timeout(netframe_core::TimeoutKind::Idle));
    let after = started.elapsed();
    assert!(after >= Duration::from_secs(7) && after < Duration::from_secs(8), "{after:?}");
}

/// Bytes of the user's own, that ask their connection for something when they are dropped.
struct Asks(Handle, mpsc::UnboundedSender<()>);

impl AsRef<[u8]> for Asks {
    fn as_ref(&self) -> &[u8] {
        &[7; 1000]
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.0.queued();
        self.1.send(()).unwrap();
    }
}

#[tokio::test]
async fn payloads_are_dropped_without_a_lock() {
    struct Payloads(mpsc::UnboundedSender<()>);

    impl Protocol for Payloads {
        async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
            let handle = t.handle();
            let mut write = || {
                t.write_bytes(Bytes::from_owner(Asks(handle.clone(), self.0.clone())));
            };
            write();
            match data.split()[..] {
                [0] => {}       // more than an unproved peer is sent: it is held, as a copy
                [1] => write(), // two are copied together
                [2] => (0..70).for_each(|_| write()), // more than a datagram can be
                _ => {
                    handle.abort();
                    std::future::pending::<()>().await;
                }
            }
            Ok(())
        }
    }

    let (dropped, mut drops) = mpsc::unbounded_channel();
    let payloads = move |_: &ConnectionInfo| Payloads(dropped.clone());
    let server = Server::bind("udp://127.0.0.1:0", payloads).await.unwrap();
    for (what, count) in [(0, 1), (1, 2), (2, 71), (3, 1)] {
        let peer = socket("127.0.0.1:0").await;
        peer.send_to(&[what], addr(&server)).await.unwrap();
        for _ in 0..count {
            drops.recv().await.unwrap();
        }
    }
}

#[tokio::test]
async fn all_that_waits_in_the_socket_is_answered_before_a_server_stops() {
    const COUNT: u8 = 200;
    let server = echo("udp://127.0.0.1:0").await;
    let (peer, to) = (std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), addr(&server));
    for number in 0..COUNT {
        peer.send_to(&[number], to).unwrap(); // no task runs meanwhile
    }
    let report = server.shutdown(Duration::from_secs(20)).await;
    assert_eq!(report.aborted, 0);
    peer.set_nonblocking(true).unwrap();
    let answers = arrived(&UdpSocket::from_std(peer).unwrap());
    assert_eq!(answers, (0..COUNT).map(|number| [number]).collect::<Vec<_>>());
}

#[test]
fn a_socket_is_taken_over_by_the_service_that_follows() {
    let server = || Server::builder(|_: &ConnectionInfo| Echo).listen("udp://127.0.0.1:0").unwrap();
    let reactor = Reactor::builder().workers(Workers::Count(NonZeroUsize::MIN)).build().unwrap();
    let reactor = reactor.serve(server()).unwrap();
    let to = reactor.endpoints().next().unwrap().address().socket_addr().unwrap();
    let report = reactor.run(|running| async move {
        let peer = socket("127.0.0.1:0").await;
        for change in 0..20 {
            peer.send_to(&[change], to).await.unwrap();
            assert_eq!(receive(&peer).await.0, [change], "by the service that follows");
            let old = running.services().into_iter().find(|one| !one.stopping).unwrap();
            running.replace(&[old.id], vec![server()], Duration::ZERO).await.unwrap();
        }
        Instant::now()
    });
    assert!(report.unwrap().failure.is_none());
}

/// Answers with its number, and only says so when it is asked to finish.
struct Stays(u8, mpsc::UnboundedSender<u8>);

impl DatagramProtocol for Stays {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        Ok(t.reply(&datagram, &[self.0])?)
    }

    async fn draining(&mut self, _: &mut DatagramTransport<'_>) -> Result {
        Ok(self.1.send(self.0)?)
    }
}

#[test]
fn a_whole_socket_is_taken_over_by_the_service_that_follows() {
    let (log, mut asked) = mpsc::unbounded_channel();
    let server = |number| {
        let log = log.clone();
        let stays = datagrams(move |_| Stays(number, log.clone()));
        Server::builder(stays).listen("udp://127.0.0.1:0").unwrap()
    };
    let reactor = Reactor::builder().workers(Workers::Count(NonZeroUsize::MIN)).build().unwrap();
    let reactor = reactor.serve(server(0)).unwrap();
    let to = reactor.endpoints().next().unwrap().address().socket_addr().unwrap();
    let report = reactor.run(|running| async move {
        let peer = socket("127.0.0.1:0").await;
        for number in 0..10 {
            for _ in 0..10 {
                peer.send_to(b"who?", to).await.unwrap();
                assert_eq!(receive(&peer).await.0, [number]);
            }
            let old = running.services().into_iter().find(|one| !one.stopping).unwrap();
            let new = vec![server(number + 1)];
            running.replace(&[old.id], new, Duration::from_secs(60)).await.unwrap();
            assert_eq!(asked.recv().await, Some(number));
        }
        Instant::now()
    });
    assert!(report.unwrap().failure.is_none());
}

/// Fails at every datagram, and tells when.
struct Fails(mpsc::UnboundedSender<Instant>);

impl DatagramProtocol for Fails {
    async fn datagram_received(&mut self, _: &mut DatagramTransport<'_>, _: Datagram) -> Result {
        panic!("on purpose");
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        self.0.send(Instant::now()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_datagram_protocol_that_has_lasted_is_built_anew_soon() {
    let (ends, mut lost) = mpsc::unbounded_channel();
    let (starts, mut built) = mpsc::unbounded_channel();
    let fails = datagrams(move |_| {
        starts.send(Instant::now()).unwrap();
        Fails(ends.clone())
    });
    let server = Server::bind("udp://127.0.0.1:0", fails).await.unwrap();
    let peer = socket("127.0.0.1:0").await;
    built.recv().await.unwrap();
    let mut delays = Vec::new();
    for round in 0..8 {
        if round == 7 {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        peer.send_to(b"!", addr(&server)).await.unwrap();
        let since = lost.recv().await.unwrap();
        delays.push((built.recv().await.unwrap() - since).as_millis());
    }
    assert_eq!(delays, [50, 100, 200, 400, 800, 1000, 1000, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_datagram_protocol_waits_for_peers_for_ever() {
    let server = Server::bind("udp://127.0.0.1:0", datagrams(|_| EchoAll)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert_eq!(server.stats().live, 1);
}

#[tokio::test]
async fn protocols_that_do_not_fit_are_refused_at_start_up() {
    let stream = stream_fn(|_| async { Ok(()) });
    let error = Server::bind("udp://127.0.0.1:0", stream).await.unwrap_err();
    assert!(matches!(error, Error::NeedsStream { .. }));
    assert_eq!(
        error.to_string(),
        "`udp://127.0.0.1:0` carries datagrams, but the protocol needs a stream; use tcp://"
    );
    let error = Server::bind("tcp://127.0.0.1:0", datagrams(|_| EchoAll)).await.unwrap_err();
    assert!(matches!(error, Error::NeedsDatagrams { .. }));
    assert_eq!(
        error.to_string(),
        "`tcp://127.0.0.1:0` is a stream, but the protocol needs datagrams; use udp://"
    );
    let error = Client::connect("mem://x", datagrams(|_| EchoAll)).await.unwrap_err();
    assert!(matches!(error, Error::NeedsDatagrams { .. }));
}

#[tokio::test]
async fn a_port_in_use_is_an_error() {
    let server = echo("udp://127.0.0.1:0").await;
    let error = Server::bind(server.endpoint(), |_: &ConnectionInfo| Echo).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error}");
}

/// Joins a group when it is told to, and leaves it.
struct Member {
    group: IpAddr,
    lo: u32,
}

impl DatagramProtocol for Member {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        match &datagram.data[..] {
            b"join" => t.join_multicast(self.group, Some(self.lo))?,
            b"leave" => t.leave_multicast(self.group, Some(self.lo))?,
            _ => {}
        }
        t.reply(&datagram, b"done")?;
        Ok(())
    }
}

/// Sends to a group, and tells who answers.
struct Searcher {
    to: SocketAddr,
    lo: u32,
    found: mpsc::UnboundedSender<Datagram>,
}

impl DatagramProtocol for Searcher {
    async fn connection_made(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        t.set_multicast_interface(self.lo)?;
        t.set_multicast_ttl(1)?;
        t.set_multicast_loop(true)?;
        t.send_to(b"who is there?", &self.to.into())?;
        Ok(())
    }

    async fn datagram_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        self.found.send(datagram)?;
        Ok(())
    }
}

/// Whether this machine sends to the group on loopback at all.
fn reaches(group: SocketAddr, lo: u32) -> bool {
    let domain = socket2::Domain::for_address(group);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, None).unwrap();
    if group.is_ipv6() {
        socket.set_multicast_if_v6(lo).unwrap();
    } else {
        socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    }
    socket.send_to(b"", &SocketAddr::new(group.ip(), 9).into()).is_ok()
}

#[tokio::test]
async fn members_of_a_group_are_reached_while_they_are_members() {
    let lo = nix::net::if_::if_nametoindex("lo").unwrap();
    for (at, own, group) in [
        ("udp://0.0.0.0:0", "udp://127.0.0.1:0", IpAddr::from([239, 255, 70, 7])),
        ("udp://[::]:0", "udp://[::1]:0", "ff01::7007".parse().unwrap()),
    ] {
        let member = datagrams(move |_| Member { group, lo });
        let server = Server::bind(at, member).await.unwrap();
        let port = addr(&server).port();
        let local = if group.is_ipv4() { "127.0.0.1" } else { "::1" };
        let socket = socket(&SocketAddr::new(local.parse().unwrap(), 0).to_string()).await;
        let tell = async |what: &[u8]| {
            socket.send_to(what, (local, port)).await.unwrap();
            assert_eq!(receive(&socket).await.0, b"done");
        };

        tell(b"join").await;
        let to = SocketAddr::new(group, port);
        if !reaches(to, lo) {
            tell(b"leave").await;
            continue; // there is no route for this family's groups on loopback
        }
        let (found, mut answers) = mpsc::unbounded_channel();
        let search = || {
            let found = found.clone();
            Server::bind(own, datagrams(move |_| Searcher { to, lo, found: found.clone() }))
        };
        let _searcher = search().await.unwrap();
        let answer = timeout(Duration::from_secs(20), answers.recv()).await.unwrap().unwrap();
        assert_eq!(answer.data[..], *b"done");
        assert_eq!(answer.from.socket().unwrap().port(), port);

        tell(b"leave").await;
        let _other = search().await.unwrap();
        tell(b"anything").await;
        assert!(answers.try_recv().is_err(), "who has left is not found");
    }
}

#[tokio::test]
async fn the_endpoint_joins_a_group_and_members_share_its_port() {
    let lo = nix::net::if_::if_nametoindex("lo").unwrap();
    let first = echo(&format!("udp://0.0.0.0:0?multicast=239.255.70.8&interface={lo}")).await;
    let port = addr(&first).port();
    let second = echo(&format!("udp://0.0.0.0:{port}?multicast=239.255.70.8&interface={lo}")).await;
    let (found, mut answers) = mpsc::unbounded_channel();
    let to = SocketAddr::from(([239, 255, 70, 8], port));
    let search = datagrams(move |_| Searcher { to, lo, found: found.clone() });
    let _searcher = Server::bind("udp://127.0.0.1:0", search).await.unwrap();
    for _ in 0..2 {
        let answer = timeout(Duration::from_secs(20), answers.recv()).await.unwrap().unwrap();
        assert_eq!(answer.data[..], *b"who is there?");
    }
    assert_eq!((first.stats().live, second.stats().live), (1, 1));
}

/// Sends to everybody on loopback, if it may.
struct Broadcaster {
    port: u16,
    log: mpsc::UnboundedSender<String>,
}

impl DatagramProtocol for Broadcaster {
    async fn connection_made(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        let everybody = SocketAddr::from(([127, 255, 255, 255], self.port)).into();
        t.send_to(b"refused", &everybody)?;
        t.drain().await?;
        Ok(())
    }

    async fn error_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        error: std::io::Error,
        peer: Option<netframe_core::Addr>,
    ) -> Result {
        self.log.send(format!("{:?}", error.kind()))?;
        t.set_broadcast(true)?;
        t.send_to(b"hello", &peer.ok_or("it is known whom the datagram was for")?)?;
        Ok(())
    }

    async fn datagram_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        self.log.send(String::from_utf8_lossy(&datagram.data).into_owned())?;
        Ok(())
    }
}

#[tokio::test]
async fn broadcast_needs_to_be_allowed() {
    // A socket of both families is told less of whom it answers.
    for at in ["udp://0.0.0.0:0", "udp://[::]:0"] {
        let server = echo(at).await;
        let port = addr(&server).port();
        let (log, mut seen) = mpsc::unbounded_channel();
        let broadcaster = datagrams(move |_| Broadcaster { port, log: log.clone() });
        let own = Server::bind("udp://127.0.0.1:0", broadcaster).await.unwrap();
        assert_eq!(seen.recv().await.unwrap(), "PermissionDenied");
        let answer = timeout(Duration::from_secs(20), seen.recv()).await;
        assert_eq!(answer.expect("an answer comes").unwrap(), "hello");
        assert_eq!(own.stats().datagrams.unsent, 1);
    }
}

#[tokio::test]
async fn a_client_runs_any_protocol_that_fits() {
    struct Ask(mpsc::UnboundedSender<Vec<u8>>);
    impl Protocol for Ask {
        async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
            t.write(b"question");
            Ok(())
        }
        async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
            self.0.send(data.split().to_vec())?;
            t.close();
            Ok(())
        }
    }
    let server = echo("udp://localhost:0").await;
    let (log, mut seen) = mpsc::unbounded_channel();
    let factory = move |_: &ConnectionInfo| Ask(log.clone());
    let client = Client::connect(server.endpoint(), factory).await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), b"question");
    let reason = client.closed().await;
    assert_eq!((reason.bytes_in(), reason.bytes_out()), (8, 8));
}
