//! Rule 8: one reason per connection: who, why, the source, and the bytes. The first cause wins.

use std::error::Error;
use std::time::Duration;

use tokio::io::AsyncReadExt;

use netframe_core::{CloseKind, CloseReason, Limits, Residue, Side, TimeoutKind};

use crate::probe::{Echo, Probe, done, why};
use crate::world::{Net, World, limits};

on_every_transport! {
    rule8_every_handle_is_told_the_same_reason,
    rule8_bytes_are_counted,
    rule8_the_first_cause_wins,
    rule8_the_switched_protocol_is_told_so,
    rule8_stats_count_by_kind,
}

on_transports_with_reset! {
    rule8_each_end_has_its_reason,
}

on_paused_clock! {
    rule8_each_timeout_has_its_reason,
}

async fn rule8_each_end_has_its_reason(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        let question = data.split();
        Box::pin(async move {
            match &question[..] {
                b"close" => t.close(),
                b"abort" => t.abort(),
                b"close when idle" => t.close_when_idle(),
                b"spawned" => t.spawn(async { panic!("beside the connection") }),
                _ => Err("what?")?,
            }
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    for (question, by, kind, source) in [
        ("close", Side::Local, CloseKind::Closed, None),
        ("abort", Side::Local, CloseKind::Aborted, None),
        ("close when idle", Side::Local, CloseKind::Closed, None),
        ("spawned", Side::Local, CloseKind::Panic, Some("beside the connection")),
        ("fail", Side::Local, CloseKind::Error, Some("what?")),
    ] {
        let mut client = world.connect().await;
        client.send(question).await;
        let _ = client.read_to_end(&mut Vec::new()).await; // the end, or a reset
        drop(client);
        let reason = seen.lost().await;
        assert_eq!(why(&reason), (by, kind), "{question}");
        assert_eq!(reason.source().map(ToString::to_string).as_deref(), source);
    }
    let mut client = world.connect().await;
    client.half_close().await;
    assert_eq!(why(&seen.lost().await), (Side::Peer, CloseKind::Eof));
    let client = world.connect().await;
    seen.made().await;
    client.reset();
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Peer, CloseKind::Reset));
    assert!(reason.source().is_some_and(<dyn Error + Send + Sync>::is::<std::io::Error>));
    let client = world.connect().await;
    seen.made().await;
    drop(world);
    assert_eq!(why(&seen.lost().await), (Side::System, CloseKind::Shutdown));
    drop(client);
}

async fn rule8_each_timeout_has_its_reason(net: Net) {
    let second = Duration::from_secs(1).into();
    for (limits, written, kind) in [
        (limits(|l| l.idle_timeout = second), 0, TimeoutKind::Idle),
        (limits(|l| l.write_stall_timeout = second), 1 << 20, TimeoutKind::WriteStall),
    ] {
        let (probe, mut seen) = Probe::new();
        let probe = probe.on_made(move |t| done(t.write(&vec![0; written])));
        let world = World::with_limits(net, limits, probe).await;
        let client = world.connect().await;
        let reason = seen.lost().await;
        assert_eq!(why(&reason), (Side::System, CloseKind::Timeout(kind)));
        assert_eq!(reason.bytes_out() + reason.bytes_unsent(), written as u64);
        drop(client);
    }
}

async fn rule8_every_handle_is_told_the_same_reason(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|_, _| Box::pin(async { Err("no disk".into()) }));
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.closed().await })
        })
        .collect();
    assert!(!handle.is_closed());
    client.send("x").await;
    client.half_close().await;
    let told = seen.lost().await;
    for waiting in waiting {
        is_same(&waiting.await.unwrap(), &told);
    }
    is_same(&handle.closed().await, &told);
    assert!(handle.is_closed());
    world.stop().await;
}

#[track_caller]
fn is_same(a: &CloseReason, b: &CloseReason) {
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}

async fn rule8_bytes_are_counted(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(&[b'<'; 3]);
        t.write_bytes(data.split().freeze());
        done(())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    for n in 1..=100_u64 {
        client.send("ping").await;
        assert_eq!(client.receive(7).await, b"<<<ping");
        world.until(|stats| (stats.bytes_in, stats.bytes_out) == (n * 4, n * 7)).await;
    }
    client.half_close().await;
    let reason = seen.lost().await;
    assert_eq!((reason.bytes_in(), reason.bytes_out(), reason.bytes_unsent()), (400, 700, 0));
    world.until(|stats| stats.live == 0).await;
    assert_eq!((world.stats().bytes_in, world.stats().bytes_out), (400, 700));
    world.stop().await;
}

async fn rule8_the_first_cause_wins(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        let question = data.split();
        Box::pin(async move {
            match &question[..] {
                b"close, then fail" => t.close(),
                b"abort, then fail" => t.abort(),
                b"close, then abort" => {
                    t.close();
                    t.abort();
                    return Ok(());
                }
                _ => {
                    t.close();
                    panic!("too late to matter")
                }
            }
            Err("too late to matter".into())
        })
    });
    let world = World::start(net, probe).await;
    for (question, kind) in [
        ("close, then fail", CloseKind::Closed),
        ("abort, then fail", CloseKind::Aborted),
        ("close, then abort", CloseKind::Closed),
        ("close, then panic", CloseKind::Closed),
    ] {
        let mut client = world.connect().await;
        client.send(question).await;
        client.half_close().await;
        assert_eq!(why(&seen.lost().await), (Side::Local, kind), "{question}");
    }
    world.stop().await;
}

async fn rule8_the_switched_protocol_is_told_so(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(data);
        data.clear();
        t.switch_to(Echo, Residue::Feed);
        done(())
    });
    let world = World::with_limits(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    client.ping(b"one").await;
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Switched));
    assert_eq!((reason.bytes_in(), reason.bytes_out()), (3, 3));
    client.ping(b"two").await;
    drop(client);
    world.stop().await;
}

async fn rule8_stats_count_by_kind(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| done(if data[0] == b'c' { t.close() } else { t.abort() }));
    let world = World::start(net, probe).await;
    for question in ["close", "abort", "close"] {
        let mut client = world.connect().await;
        client.send(question).await;
        client.half_close().await;
        seen.lost().await;
    }
    world.until(|stats| stats.live == 0).await;
    let stats = world.stats();
    assert_eq!(stats.accepted, 3);
    let by_kind: Vec<_> = stats.closed_by_kind().collect();
    assert_eq!(by_kind, [(CloseKind::Closed, 2), (CloseKind::Aborted, 1)]);
    let by_cause: Vec<_> = stats.closed_by_cause().collect();
    let local = |kind, count| (kind, Side::Local, count);
    assert_eq!(by_cause, [local(CloseKind::Closed, 2), local(CloseKind::Aborted, 1)]);
    assert_eq!((stats.permits, stats.queued), (0, 0));
    world.stop().await;
}
