//! Rule 2: an error or a panic anywhere ends that connection only.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netframe_core::{
    BoxFuture, CloseKind, ConnectionInfo, ProtocolError, Result, Side, Transport, factory_fn,
};

use crate::probe::{Events, Probe, done, echo, fail, why};
use crate::world::{Net, Raw, World};

on_every_transport! {
    rule2_an_error_in_any_callback_flushes_and_closes,
    rule2_a_panic_in_any_callback_aborts,
    rule2_a_panic_after_an_await_aborts,
    rule2_a_panic_before_the_future_exists_aborts,
    rule2_a_panic_in_connection_lost_is_swallowed,
    rule2_a_panic_in_build_protocol_ends_that_connection_only,
    rule2_a_refusal_ends_that_connection_only,
    rule2_a_protocol_error_blames_the_peer,
}

on_transports_with_reset! {
    rule2_a_reset_ends_that_connection_only,
}

const CALLBACKS: [&str; 6] = ["made", "data", "eof", "notified", "timed_out", "draining"];

type End = fn() -> BoxFuture<'static, Result>;

/// A probe that ends in one callback as `end` does, after it has written `last words`.
fn ending(callback: &str, end: End) -> (Probe, Events) {
    let (probe, seen) = Probe::new();
    let after = |millis| Some(Duration::from_millis(millis));
    let probe = match callback {
        "made" => probe.on_made(move |t| last_words(t, end)),
        "data" => probe.on_data(move |t, _| last_words(t, end)),
        "eof" => probe.on_eof(move |t, _| last_words(t, end)),
        "notified" => probe.on_notified(move |t| last_words(t, end)),
        "timed_out" => probe
            .on_made(move |t| done(t.set_timeout(after(1))))
            .on_timed_out(move |t| last_words(t, end)),
        "draining" => probe.on_draining(move |t| last_words(t, end)),
        _ => unreachable!("{callback}"),
    };
    (probe, seen)
}

fn last_words(t: &mut dyn Transport, end: End) -> BoxFuture<'_, Result> {
    t.write(b"last words");
    end()
}

/// Connects and has `callback` called.
async fn provoke(callback: &str, world: &World, seen: &mut Events) -> io::Result<Raw> {
    let client = world.dialer().connect().await;
    let handle = seen.made().await;
    let mut client = client?;
    match callback {
        "data" => client.send("x").await,
        "eof" => client.half_close().await,
        "notified" => handle.notify(),
        _ => {}
    }
    Ok(client)
}

async fn rule2_an_error_in_any_callback_flushes_and_closes(net: Net) {
    for callback in CALLBACKS {
        let (probe, mut seen) = ending(callback, || fail("no disk"));
        let world = World::start(net, probe).await;
        for _ in 0..2 {
            // The second one shows that the server goes on.
            let mut client = provoke(callback, &world, &mut seen).await.unwrap();
            if callback == "draining" {
                let stopping = tokio::spawn(world.server.shutdown(Duration::from_secs(30)));
                assert_eq!(client.receive_all().await, b"last words", "{callback}");
                drop(client);
                assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Error));
                assert_eq!(stopping.await.unwrap().drained, 1);
                break;
            }
            assert_eq!(client.receive_all().await, b"last words", "{callback}");
            drop(client);
            let reason = seen.lost().await;
            assert_eq!(why(&reason), (Side::Local, CloseKind::Error), "{callback}");
            assert_eq!(reason.source().unwrap().to_string(), "no disk");
            assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (10, 0));
        }
    }
}

async fn rule2_a_panic_in_any_callback_aborts(net: Net) {
    for callback in CALLBACKS {
        let (probe, mut seen) = ending(callback, || Box::pin(async { panic!("a bug") }));
        let world = World::start(net, probe).await;
        for _ in 0..2 {
            let client = provoke(callback, &world, &mut seen).await;
            if callback == "draining" {
                let stopping = tokio::spawn(world.server.shutdown(Duration::from_secs(30)));
                is_reset(client).await;
                assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Panic));
                assert_eq!(stopping.await.unwrap().drained, 1);
                break;
            }
            is_reset(client).await;
            let reason = seen.lost().await;
            assert_eq!(why(&reason), (Side::Local, CloseKind::Panic), "{callback}");
            assert_eq!(reason.source().unwrap().to_string(), "a bug");
            assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (0, 10));
        }
    }
}

async fn rule2_a_panic_after_an_await_aborts(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, _| {
        Box::pin(async move {
            t.write(b"before");
            tokio::task::yield_now().await;
            panic!("a bug after an await")
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("x").await;
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Panic));
    assert_eq!(reason.source().unwrap().to_string(), "a bug after an await");
    client.receive_reset().await;
    world.stop().await;
}

async fn rule2_a_panic_before_the_future_exists_aborts(net: Net) {
    use netframe_core::bytes::BytesMut;
    use netframe_core::{CloseReason, Protocol};

    struct NotAsync(Probe);
    impl Protocol for NotAsync {
        fn data_received(
            &mut self,
            _: &mut dyn Transport,
            _: &mut BytesMut,
        ) -> impl Future<Output = Result> + Send {
            panic!("no future yet");
            #[expect(unreachable_code, reason = "it gives the function its type")]
            std::future::ready(Ok(()))
        }
        fn connection_lost(&mut self, reason: &CloseReason) {
            self.0.connection_lost(reason);
        }
    }

    let (probe, mut seen) = Probe::new();
    let world = World::start(net, move |_: &ConnectionInfo| NotAsync(probe.clone())).await;
    let mut client = world.connect().await;
    client.send("x").await;
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Panic));
    client.receive_reset().await;
    world.stop().await;
}

async fn rule2_a_panic_in_connection_lost_is_swallowed(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe.on_lost(|_| panic!("at the end"))).await;
    for _ in 0..2 {
        let mut client = world.connect().await;
        let handle = seen.made().await;
        client.half_close().await;
        seen.expect("eof ").await;
        seen.expect("lost eof by peer").await;
        assert_eq!(why(&handle.closed().await), (Side::Peer, CloseKind::Eof));
    }
    world.until(|stats| stats.live == 0).await;
    world.stop().await;
}

async fn rule2_a_panic_in_build_protocol_ends_that_connection_only(net: Net) {
    let first = Arc::new(AtomicBool::new(true));
    let world = World::start(net, move |info: &ConnectionInfo| {
        assert!(!first.swap(false, Ordering::SeqCst), "a bug in the factory");
        echo(info)
    })
    .await;
    is_reset(world.dialer().connect().await).await;
    world.connect().await.ping(b"the server goes on").await;
    world.until(|stats| stats.closed(CloseKind::Panic) == 1).await;
    world.stop().await;
}

async fn rule2_a_refusal_ends_that_connection_only(net: Net) {
    let first = Arc::new(AtomicBool::new(true));
    let factory = factory_fn(move |info: &ConnectionInfo| {
        (!first.swap(false, Ordering::SeqCst)).then(|| echo(info))
    });
    let world = World::start(net, factory).await;
    is_reset(world.dialer().connect().await).await;
    world.connect().await.ping(b"the server goes on").await;
    world.until(|stats| stats.refused == 1 && stats.closed(CloseKind::Closed) == 1).await;
    world.stop().await;
}

async fn rule2_a_protocol_error_blames_the_peer(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|_, _| {
        Box::pin(std::future::ready(Err(ProtocolError::new("version 7, expected 1").into())))
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("x").await;
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Peer, CloseKind::ProtocolError));
    assert_eq!(reason.source().unwrap().to_string(), "version 7, expected 1");
    world.stop().await;
}

async fn rule2_a_reset_ends_that_connection_only(net: Net) {
    let (probe, _) = Probe::new();
    let probe = probe.on_data(|t, data| {
        let question = data.split();
        Box::pin(async move {
            for _ in 0..20 {
                tokio::task::yield_now().await; // where a reset would drop it
            }
            t.write(&question);
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..8_u8 {
        let dialer = world.dialer();
        clients.spawn(async move {
            for _ in 0..200 {
                let mut client = dialer.connect().await.unwrap();
                client.send([n]).await;
                if n % 2 == 0 {
                    client.reset();
                } else {
                    assert_eq!(client.receive(1).await, [n]);
                }
            }
        });
    }
    while let Some(served) = clients.join_next().await {
        served.unwrap();
    }
    world.stop().await;
}

/// The reset comes before the connect has returned, or after.
async fn is_reset(client: io::Result<Raw>) {
    match client {
        Ok(mut client) => drop(client.receive_reset().await),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}
