//! [`Client`](netframe_core::Client): connecting, and its errors.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::BufStream;
use tokio::time::Instant;

use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    Addr, AnyIo, Client, CloseKind, Connect, EndpointKind, Error, Incoming, Quota, Server, Side,
    serve_io,
};

use crate::probe::{Probe, done, echo, why};
use crate::world::{Dialer, Net, World, limits};

on_every_transport! {
    a_client_talks_to_a_server,
    a_client_that_is_dropped_aborts,
    a_client_that_is_detached_runs_to_its_end,
    a_handle_of_a_client_outlives_it,
    a_refused_connect_is_an_error_with_its_cause,
    a_wrong_endpoint_is_an_error,
    what_needs_no_network_is_checked_without,
    a_factory_that_refuses_ends_the_client,
    serve_io_runs_any_stream,
    dropping_serve_io_aborts,
    a_connector_of_ones_own_opens_the_connection,
    an_error_of_a_connector_of_ones_own_is_one_of_connecting,
    a_connector_of_ones_own_opens_no_datagrams,
}

on_transports_with_reset! {
    resets_and_aborts_pass_through_any_stream,
}

on_paused_clock! {
    a_connect_that_takes_too_long_is_an_error,
    the_connect_timeout_may_be_never,
    a_connector_of_ones_own_has_the_connect_timeout,
}

async fn a_client_talks_to_a_server(net: Net) {
    let world = World::start(net, echo).await;
    let dialer = world.dialer();
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| done(t.write(b"question"))).on_data(|t, data| {
        data.clear();
        done(t.close_write())
    });
    let client = Client::builder(probe).network(dialer.network).connect(dialer.endpoint);
    let client = client.await.unwrap();
    for event in ["made", "data question", "eof ", "lost eof by peer"] {
        seen.expect(event).await;
    }
    let reason = client.closed().await;
    assert_eq!((reason.bytes_in(), reason.bytes_out()), (8, 8));
    world.stop().await;
}

async fn a_client_that_is_dropped_aborts(net: Net) {
    let (server, mut served) = Probe::new();
    let world = World::start(net, server).await;
    let dialer = world.dialer();
    let (probe, mut seen) = Probe::new();
    let client = Client::builder(probe).network(dialer.network).connect(dialer.endpoint);
    let client = client.await.unwrap();
    served.made().await;
    drop(client);
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Aborted));
    let seen_as = if net == Net::Unix { CloseKind::Eof } else { CloseKind::Reset };
    assert_eq!(why(&served.lost().await), (Side::Peer, seen_as));
    world.stop().await;
}

async fn a_client_that_is_detached_runs_to_its_end(net: Net) {
    let world = World::start(net, echo).await;
    let dialer = world.dialer();
    let (probe, mut seen) = Probe::new();
    let client = Client::builder(probe).network(dialer.network).connect(dialer.endpoint);
    let handle = client.await.unwrap().detach();
    handle.write("question").await.unwrap();
    seen.made().await;
    seen.expect("data question").await;
    handle.close_write();
    assert_eq!(why(&seen.lost().await), (Side::Peer, CloseKind::Eof));
    world.stop().await;
}

async fn a_handle_of_a_client_outlives_it(net: Net) {
    let world = World::start(net, echo).await;
    let dialer = world.dialer();
    let client = Client::builder(echo).network(dialer.network).connect(dialer.endpoint);
    let client = client.await.unwrap();
    let handle = client.handle();
    drop(client);
    assert_eq!(handle.closed().await.kind(), CloseKind::Aborted);
    assert!(handle.try_write("x").unwrap_err().is_closed());
    world.stop().await;
}

async fn a_refused_connect_is_an_error_with_its_cause(net: Net) {
    let network = MemNetwork::new();
    let server = Server::builder(echo).network(network.clone());
    let server = server.listen(net.endpoint("gone")).unwrap().bind().await.unwrap();
    let endpoint = server.endpoint().clone();
    server.shutdown(Duration::from_secs(30)).await;
    let client = Client::builder(echo).network(network).connect(endpoint.clone());
    match client.await.unwrap_err() {
        Error::Connect { endpoint: at, source } => {
            assert_eq!(at.to_string(), endpoint.to_string());
            assert_eq!(source.kind(), net.refusal());
        }
        other => panic!("{other:?}"),
    }
}

async fn a_wrong_endpoint_is_an_error(net: Net) {
    assert!(matches!(Client::connect("nonsense", echo).await.unwrap_err(), Error::Endpoint(_)));
    let layered = format!("tls+{}", net.endpoint("layered"));
    assert!(Client::connect(&*layered, echo).await.is_err(), "not built yet");
    for (endpoint, text) in [
        ("quic://127.0.0.1:9", "the kind `quic` is not built yet; tcp, udp, unix, "),
        (
            "fd://3",
            "an inherited socket is one to listen on; connect to the address it is bound to",
        ),
        ("systemd://web", "an inherited socket is one to listen on; "),
        ("custom://own", "a connector of one's own is given to `connect_with`"),
    ] {
        let error = Client::connect(endpoint, echo).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{endpoint}`: {text}")), "{error}");
    }
    let error = Server::bind("custom://own", echo).await.unwrap_err();
    assert!(error.to_string().ends_with("a listener of one's own is given to `listen_on`"));
    let taken = World::start(net, echo).await;
    let dialer = taken.dialer();
    let again = Server::builder(echo).network(dialer.network).listen(dialer.endpoint).unwrap();
    match again.bind().await.unwrap_err() {
        Error::Listen { source, .. } => assert_eq!(source.kind(), io::ErrorKind::AddrInUse),
        other => panic!("{other:?}"),
    }
}

async fn what_needs_no_network_is_checked_without(_: Net) {
    let client = || Client::builder(echo);
    for endpoint in
        ["tcp://192.0.2.1:80", "tcp://nobody.invalid:80", "udp://[::1]:9", "mem://nobody"]
    {
        client().validate(endpoint).unwrap();
    }
    for endpoint in
        ["fd://3", "systemd://web", "custom://own", "quic://192.0.2.1:443", "192.0.2.1:80"]
    {
        let refused = client().validate(endpoint).unwrap_err().to_string();
        let connected = client().connect(endpoint).await.unwrap_err().to_string();
        assert_eq!(refused, connected, "{endpoint}");
    }
    let impossible = limits(|limits| limits.hard_cap = 0);
    let error = client().limits(impossible).validate("mem://nobody").unwrap_err();
    assert!(matches!(error, Error::Limits(_)), "{error}");
    let shaped = limits(|limits| limits.read_rate = Quota::AtMost(1000));
    let error = client().limits(shaped).validate("udp://[::1]:9").unwrap_err();
    assert!(matches!(error, Error::ShapesStreams { .. }), "{error}");
}

async fn a_factory_that_refuses_ends_the_client(net: Net) {
    let world = World::start(net, echo).await;
    let dialer = world.dialer();
    let refusing = netframe_core::factory_fn(|_: &netframe_core::ConnectionInfo| None::<Probe>);
    let client = Client::builder(refusing).network(dialer.network).connect(dialer.endpoint);
    assert_eq!(why(&client.await.unwrap().closed().await), (Side::Local, CloseKind::Closed));
    world.stop().await;
}

async fn serve_io_runs_any_stream(net: Net) {
    // A stream of which netframe knows nothing, on one end of which is a server of the transport.
    let world = World::start(net, echo).await;
    let mut below = world.connect().await;
    let (mut ours, theirs) = tokio::io::duplex(1000);
    let forward = tokio::spawn(async move {
        tokio::io::copy_bidirectional(&mut ours, &mut below).await.unwrap();
    });
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| done(t.write(b"through"))).on_data(|t, data| {
        data.clear();
        done(t.close_write())
    });
    let reason = serve_io(theirs, probe).await;
    assert_eq!(why(&reason), (Side::Peer, CloseKind::Eof));
    for event in ["made", "data through", "eof ", "lost eof by peer"] {
        seen.expect(event).await;
    }
    forward.await.unwrap();
    world.stop().await;
}

async fn dropping_serve_io_aborts(net: Net) {
    let world = World::start(net, echo).await;
    let (probe, mut seen) = Probe::new();
    let serving = tokio::spawn(serve_io(world.connect().await.into_io(), probe));
    seen.made().await;
    serving.abort();
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Aborted));
    world.stop().await;
}

async fn resets_and_aborts_pass_through_any_stream(net: Net) {
    let (server, mut served) = Probe::new();
    let world = World::start(net, server).await;
    for reset in [true, false] {
        let below = BufStream::new(world.connect().await.into_io());
        let io = AnyIo::over(below, |buffered| buffered.get_mut());
        let (probe, mut seen) = Probe::new();
        let probe = probe.on_made(|_| Box::pin(std::future::pending()));
        let client = Client::builder(probe).adopt(io).unwrap();
        let peer = served.made().await;
        seen.made().await;
        if reset {
            peer.abort();
            seen.expect("lost reset by peer").await;
            served.lost().await;
        } else {
            drop(client);
            served.expect("lost reset by peer").await;
        }
    }
    world.stop().await;
}

/// A name with a full backlog, at which nobody accepts.
async fn full(net: Net) -> (MemNetwork, netframe_core::transport::mem::MemListener) {
    let network = MemNetwork::new();
    let listener = network.listen(net.endpoint("full"), "full", 1).unwrap();
    network.connect("full").await.unwrap();
    (network, listener)
}

async fn a_connect_that_takes_too_long_is_an_error(net: Net) {
    let (network, _listener) = full(net).await;
    let started = Instant::now();
    let client = Client::builder(echo).network(network).connect(net.endpoint("full"));
    match client.await.unwrap_err() {
        Error::ConnectTimeout { after, .. } => assert_eq!(after, Duration::from_secs(10)),
        other => panic!("{other:?}"),
    }
    assert_eq!(started.elapsed().as_secs(), 10);
}

async fn the_connect_timeout_may_be_never(net: Net) {
    let (network, _listener) = full(net).await;
    let patient = limits(|l| l.connect_timeout = netframe_core::Timeout::Never);
    let client = Client::builder(echo).network(network).limits(patient);
    let waiting = client.connect(net.endpoint("full"));
    tokio::time::timeout(Duration::from_secs(86_400), waiting).await.unwrap_err();
}

/// Connects to a world by itself; to none if there is none.
struct Own(Option<Dialer>);

#[derive(Debug, PartialEq)]
struct Fact(&'static str);

#[async_trait]
impl Connect for Own {
    async fn connect(&self) -> io::Result<Incoming> {
        let Some(dialer) = &self.0 else { return Err(io::ErrorKind::HostUnreachable.into()) };
        let stream = dialer.connect().await?.into_io();
        let mut incoming = Incoming::new(stream, Addr::named("there"), Addr::named("here"));
        incoming.publish(Fact("published"));
        Ok(incoming)
    }
}

async fn a_connector_of_ones_own_opens_the_connection(net: Net) {
    let world = World::start(net, echo).await;
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        assert_eq!(
            (t.info().peer().name(), t.info().local().name()),
            (Some("there"), Some("here"))
        );
        assert_eq!(t.info().kind(), EndpointKind::Custom);
        assert_eq!(t.get::<Fact>(), Some(&Fact("published")));
        t.write(b"question");
        done(t.close_write())
    });
    let own = Own(Some(world.dialer()));
    let client = Client::builder(probe).connect_with("custom://own", own).await.unwrap();
    for event in ["made", "data question", "eof ", "lost eof by peer"] {
        seen.expect(event).await;
    }
    client.closed().await;
    world.stop().await;
}

async fn an_error_of_a_connector_of_ones_own_is_one_of_connecting(_: Net) {
    let client = Client::builder(echo).connect_with("custom://own", Own(None));
    match client.await.unwrap_err() {
        Error::Connect { endpoint, source } => {
            assert_eq!(endpoint.to_string(), "custom://own");
            assert_eq!(source.kind(), io::ErrorKind::HostUnreachable);
        }
        other => panic!("{other:?}"),
    }
}

async fn a_connector_of_ones_own_opens_no_datagrams(_: Net) {
    let client = Client::builder(echo).connect_with("udp://127.0.0.1:9", Own(None));
    let error = client.await.unwrap_err().to_string();
    assert_eq!(error, "`udp://127.0.0.1:9`: a connector of one's own opens streams, not datagrams");
}

async fn a_connector_of_ones_own_has_the_connect_timeout(net: Net) {
    let (network, _listener) = full(net).await;
    let own = Own(Some(Dialer::new(network, net.endpoint("full"))));
    match Client::builder(echo).connect_with("custom://own", own).await.unwrap_err() {
        Error::ConnectTimeout { after, .. } => assert_eq!(after, Duration::from_secs(10)),
        other => panic!("{other:?}"),
    }
}
