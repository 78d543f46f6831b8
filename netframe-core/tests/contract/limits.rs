//! Rule 12: limits always exist, and the number of connections is exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use netframe_core::bytes::BytesMut;
use netframe_core::{
    Client, CloseReason, ConnectionInfo, Error, LimitError, Limits, Protocol, Quota, Result,
    Server, Timeout, Transport,
};

use crate::probe::{Probe, echo};
use crate::world::{Net, World, limits, pattern};

on_every_transport! {
    rule12_zero_is_refused_at_the_start,
    rule12_the_fourth_of_three_waits_until_one_ends,
    rule12_a_refused_connection_gives_its_place_back,
    rule12_what_is_shaped_arrives_whole_and_not_too_fast,
}

on_transports_with_reset! {
    rule12_never_more_connections_than_allowed,
}

type Change = fn(&mut Limits);

async fn rule12_zero_is_refused_at_the_start(net: Net) {
    let zero = Timeout::After(Duration::ZERO);
    let wrong: [(&str, Change); 5] = [
        ("max_connections", |l| l.max_connections = 0),
        ("high_watermark", |l| l.high_watermark = 0),
        ("low_watermark", |l| l.low_watermark = 0),
        ("hard_cap", |l| l.hard_cap = 0),
        ("max_pending", |l| l.max_pending = 0),
    ];
    for (want, change) in wrong {
        let limits = limits(change);
        let server = Server::builder(echo).limits(limits.clone()).listen(net.endpoint("zero"));
        let error = server.unwrap().bind().await.unwrap_err();
        assert!(
            matches!(&error, Error::Limits(LimitError::Zero { name, .. }) if *name == want),
            "{error:?}"
        );
        let client = Client::builder(echo).limits(limits).connect(net.endpoint("zero")).await;
        assert!(matches!(client.unwrap_err(), Error::Limits(_)));
    }
    let timeouts: [fn(&mut Limits, Timeout); 4] = [
        |l, zero| l.idle_timeout = zero,
        |l, zero| l.close_timeout = zero,
        |l, zero| l.write_stall_timeout = zero,
        |l, zero| l.connect_timeout = zero,
    ];
    for change in timeouts {
        let limits = limits(|l| change(l, zero));
        let server = Server::builder(echo).limits(limits).listen(net.endpoint("zero")).unwrap();
        let error = server.bind().await.unwrap_err();
        assert!(matches!(error, Error::Limits(LimitError::ZeroTimeout { .. })), "{error:?}");
    }
}

async fn rule12_the_fourth_of_three_waits_until_one_ends(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(&data.split());
        crate::probe::done(())
    });
    let world = World::with_limits(net, limits(|l| l.max_connections = 3), probe).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = world.connect().await;
        client.ping(b"served").await;
        clients.push(client);
    }
    let mut fourth = world.connect().await; // it waits in the queue
    fourth.send("waits").await;
    for client in &mut clients {
        client.ping(b"still served").await;
    }
    assert_eq!((world.stats().live, world.stats().accepted), (3, 3));
    assert_eq!(seen.rest().iter().filter(|event| *event == "made").count(), 3);
    drop(clients.pop());
    assert_eq!(fourth.receive(5).await, b"waits");
    assert_eq!(world.stats().accepted, 4);
    drop((clients, fourth));
    world.stop().await;
}

/// Counts how many of its kind live.
struct Counted {
    live: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Protocol for Counted {
    async fn connection_made(&mut self, _: &mut dyn Transport) -> Result {
        let live = self.live.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(live, Ordering::SeqCst);
        Ok(())
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write(&data.split());
        tokio::task::yield_now().await;
        Ok(())
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn rule12_never_more_connections_than_allowed(net: Net) {
    let (live, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = {
        let (live, most) = (Arc::clone(&live), Arc::clone(&most));
        move |_: &ConnectionInfo| Counted { live: Arc::clone(&live), most: Arc::clone(&most) }
    };
    let world = World::with_limits(net, limits(|l| l.max_connections = 3), counted).await;
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..20_u8 {
        let dialer = world.dialer();
        clients.spawn(async move {
            for _ in 0..20 {
                let mut client = dialer.connect().await.unwrap();
                client.ping(&[n; 10]).await;
                if n % 2 == 0 {
                    client.half_close().await;
                    assert_eq!(client.receive_all().await, b"");
                } else {
                    client.reset();
                }
            }
        });
    }
    while let Some(served) = clients.join_next().await {
        served.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 3);
    world.until(|stats| stats.live == 0).await;
    assert_eq!(world.stats().accepted, 400);
    world.stop().await;
}

async fn rule12_a_refused_connection_gives_its_place_back(net: Net) {
    let count = AtomicUsize::new(0);
    let factory = netframe_core::factory_fn(move |info: &ConnectionInfo| {
        match count.fetch_add(1, Ordering::SeqCst) {
            n if n >= 10 => Some(echo(info)),
            n if n % 2 == 0 => None,
            _ => panic!("a bug in the factory"),
        }
    });
    let world = World::with_limits(net, limits(|l| l.max_connections = 1), factory).await;
    for _ in 0..10 {
        if let Ok(mut client) = world.dialer().connect().await {
            client.receive_reset().await;
        }
    }
    world.connect().await.ping(b"served").await;
    world.stop().await;
}

async fn rule12_what_is_shaped_arrives_whole_and_not_too_fast(net: Net) {
    const RATE: usize = 40_000;
    let changes: [Change; 4] = [
        |l| l.read_rate = Quota::AtMost(RATE),
        |l| l.write_rate = Quota::AtMost(RATE),
        |l| l.service_read_rate = Quota::AtMost(2 * RATE),
        |l| l.service_write_rate = Quota::AtMost(2 * RATE),
    ];
    let mut worlds = tokio::task::JoinSet::new();
    for change in changes {
        worlds.spawn(async move {
            let world = World::with_limits(net, limits(change), echo).await;
            let began = tokio::time::Instant::now();
            let talk = async || {
                let client = world.connect().await;
                let (mut input, mut output) = tokio::io::split(client);
                let sent = pattern(RATE * 5 / 4);
                let send = async {
                    output.write_all(&sent).await.unwrap();
                    output.shutdown().await.unwrap();
                };
                let mut got = Vec::new();
                let (read, ()) = tokio::join!(input.read_to_end(&mut got), send);
                read.unwrap();
                assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
            };
            tokio::join!(talk(), talk());
            assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
            let stats = world.stats();
            assert!(stats.reads_held_back + stats.writes_held_back > 0);
            world.stop().await;
        });
    }
    while let Some(served) = worlds.join_next().await {
        served.unwrap();
    }
}
