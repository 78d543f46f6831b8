//! Timers: never early, and late by at most an eighth or 100 ms, whichever is more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use netframe_core::bytes::BytesMut;
use netframe_core::{
    CloseKind, ConnectionInfo, Limits, MinRate, Protocol, Result, Side, Timeout, TimeoutKind,
    Transport,
};

use crate::probe::{Probe, done, echo, why};
use crate::world::{Net, Raw, World, limits};

on_paused_clock! {
    set_timeout_is_never_early_and_hardly_late,
    set_timeout_replaces_the_one_before,
    set_timeout_is_unset,
    a_timeout_that_passed_unseen_is_unset_too,
    a_timeout_may_be_set_again_in_timed_out,
    timed_out_closes_unless_told_otherwise,
    the_idle_timeout_is_never_early_and_hardly_late,
    a_byte_in_or_out_restarts_the_idle_timeout,
    an_idle_timeout_closes_in_order,
    the_write_stall_timeout_is_never_early_and_hardly_late,
    a_peer_that_reads_slowly_does_not_stall,
    the_close_timeout_is_never_early_and_hardly_late,
    a_message_must_be_complete_in_time,
    each_message_has_its_own_time,
    a_message_that_trickles_is_too_slow,
    a_message_waits_while_nothing_is_read_or_a_handler_has_it,
    never_is_never,
    many_connections_each_keep_their_time,
}

const MILLIS: [u64; 14] =
    [1, 31, 32, 33, 100, 500, 770, 800, 1000, 1154, 5000, 60_000, 300_000, 3_600_000];

/// Never early; late by at most an eighth or 100 ms.
#[track_caller]
fn in_time(started: Instant, after: Duration) {
    in_time_at(Instant::now(), started, after);
}

#[track_caller]
fn in_time_at(ended: Instant, started: Instant, after: Duration) {
    let took = ended - started;
    assert!(took >= after, "{took:?} is earlier than {after:?}");
    let late = took - after;
    assert!(late <= (after / 8).max(Duration::from_millis(100)), "{after:?} is late by {late:?}");
}

fn millis(values: &[u64]) -> impl Iterator<Item = Duration> + '_ {
    values.iter().copied().map(Duration::from_millis)
}

/// Nothing ends but what a test sets.
fn patient(change: impl FnOnce(&mut Limits)) -> Limits {
    limits(|l| {
        (l.idle_timeout, l.close_timeout, l.write_stall_timeout) =
            (Timeout::Never, Timeout::Never, Timeout::Never);
        l.message_timeout = Timeout::Never;
        change(l);
    })
}

async fn set_timeout_is_never_early_and_hardly_late(net: Net) {
    for after in millis(&MILLIS) {
        for offset in 0..5 {
            let (probe, mut seen) = Probe::new();
            let probe = probe.on_made(move |t| done(t.set_timeout(Some(after))));
            let world = World::with_limits(net, patient(|_| ()), probe).await;
            sleep(Duration::from_millis(7 * offset)).await;
            let started = Instant::now();
            let client = world.connect().await;
            seen.expect("made").await;
            seen.expect("timed_out").await;
            in_time(started, after);
            drop(client);
            seen.lost().await;
        }
    }
}

async fn set_timeout_replaces_the_one_before(net: Net) {
    let (probe, mut seen) = Probe::new();
    let secs = |secs| Some(Duration::from_secs(secs));
    let probe = probe.on_made(move |t| done(t.set_timeout(secs(10)))).on_data(move |t, data| {
        let after = u64::from(data.split()[0] - b'0');
        done(t.set_timeout(secs(after)))
    });
    let world = World::with_limits(net, patient(|_| ()), probe).await;
    for (question, after) in [("3", 3), ("9", 9)] {
        let mut client = world.connect().await;
        seen.expect("made").await;
        sleep(Duration::from_secs(2)).await;
        let started = Instant::now();
        client.send(question).await;
        seen.expect(&format!("data {question}")).await;
        seen.expect("timed_out").await;
        in_time(started, Duration::from_secs(after));
        drop(client);
        seen.lost().await;
    }
}

async fn set_timeout_is_unset(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe =
        probe.on_made(|t| done(t.set_timeout(Some(Duration::from_secs(1))))).on_data(|t, data| {
            data.clear();
            done(t.set_timeout(None))
        });
    let world = World::with_limits(net, patient(|_| ()), probe).await;
    let mut client = world.connect().await;
    seen.expect("made").await;
    client.send("x").await;
    seen.expect("data x").await;
    timeout(Duration::from_secs(3600), seen.next()).await.unwrap_err();
}

async fn a_timeout_that_passed_unseen_is_unset_too(net: Net) {
    for then in [None, Some(Duration::from_secs(10))] {
        let (probe, mut seen) = Probe::new();
        let probe = probe.on_made(move |t| {
            t.set_timeout(Some(Duration::from_secs(1)));
            Box::pin(async move {
                sleep(Duration::from_secs(5)).await; // it passes while nobody can be told
                t.set_timeout(then);
                Ok(())
            })
        });
        let world = World::with_limits(net, patient(|_| ()), probe).await;
        let client = world.connect().await;
        seen.expect("made").await;
        let started = Instant::now();
        match then {
            None => drop(timeout(Duration::from_secs(3600), seen.next()).await.unwrap_err()),
            Some(after) => {
                seen.expect("timed_out").await;
                in_time(started, Duration::from_secs(5) + after);
            }
        }
        drop(client);
    }
}

async fn a_timeout_may_be_set_again_in_timed_out(net: Net) {
    let (probe, mut seen) = Probe::new();
    let second = Duration::from_secs(1);
    let probe = probe
        .on_made(move |t| done(t.set_timeout(Some(second))))
        .on_timed_out(move |t| done(t.set_timeout(Some(second))));
    let world = World::with_limits(net, patient(|_| ()), probe).await;
    let client = world.connect().await;
    seen.expect("made").await;
    for _ in 0..100 {
        let started = Instant::now();
        seen.expect("timed_out").await;
        in_time(started, second);
    }
    drop(client);
    seen.expect("eof ").await;
}

async fn timed_out_closes_unless_told_otherwise(net: Net) {
    struct Plain;

    impl Protocol for Plain {
        async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
            t.set_timeout(Some(Duration::from_secs(1)));
            Ok(())
        }

        async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
            Ok(())
        }
    }

    let plain = |_: &ConnectionInfo| Plain;
    let world = World::with_limits(net, patient(|_| ()), plain).await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    world.until(|stats| stats.closed(CloseKind::Closed) == 1).await;
}

async fn the_idle_timeout_is_never_early_and_hardly_late(net: Net) {
    for after in millis(&MILLIS) {
        for offset in 0..20 {
            let (probe, mut seen) = Probe::new();
            let limits = patient(|l| l.idle_timeout = after.into());
            let world = World::with_limits(net, limits, probe).await;
            let mut client = world.connect().await;
            seen.expect("made").await;
            // The last byte comes at any time between two looks at the clock.
            sleep(after * offset / 50).await;
            client.send("x").await;
            let started = Instant::now();
            assert_eq!(client.receive_all().await, b"");
            in_time(started, after);
            drop(client);
            let idle = CloseKind::Timeout(TimeoutKind::Idle);
            assert_eq!(why(&seen.lost().await), (Side::System, idle));
        }
    }
}

async fn a_byte_in_or_out_restarts_the_idle_timeout(net: Net) {
    let (probe, mut seen) = Probe::new();
    let limits = patient(|l| l.idle_timeout = Duration::from_secs(10).into());
    let world = World::with_limits(net, limits, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    for _ in 0..10 {
        sleep(Duration::from_secs(9)).await;
        client.send("in").await;
        seen.expect("data in").await;
        sleep(Duration::from_secs(9)).await;
        handle.try_write("out").unwrap();
        assert_eq!(client.receive(3).await, b"out");
    }
    let started = Instant::now();
    assert_eq!(client.receive_all().await, b"");
    in_time(started, Duration::from_secs(10));
    drop(client);
    seen.expect("lost idle timeout by system").await;
}

async fn an_idle_timeout_closes_in_order(net: Net) {
    let (probe, mut seen) = Probe::new();
    let limits = patient(|l| {
        l.idle_timeout = Duration::from_secs(10).into();
        l.close_timeout = Duration::from_secs(10).into();
    });
    let probe = probe.on_made(|t| done(t.write_bytes(vec![7; 1 << 20].into())));
    let world = World::with_limits(net, limits, probe).await;
    let mut client = world.connect().await;
    seen.expect("made").await;
    sleep(Duration::from_secs(15)).await;
    assert_eq!(client.receive_all().await.len(), 1 << 20, "what is queued still leaves");
    drop(client);
    let idle = CloseKind::Timeout(TimeoutKind::Idle);
    assert_eq!(why(&seen.lost().await), (Side::System, idle));
}

async fn the_write_stall_timeout_is_never_early_and_hardly_late(net: Net) {
    for after in millis(&MILLIS) {
        let (probe, mut seen) = Probe::new();
        let limits = patient(|l| l.write_stall_timeout = after.into());
        let probe = probe.on_made(|t| done(t.write_bytes(vec![7; 1 << 20].into())));
        let world = World::with_limits(net, limits, probe).await;
        let mut client = world.connect().await;
        seen.expect("made").await;
        sleep(after / 3).await;
        client.receive(1000).await;
        let started = Instant::now();
        let stall = CloseKind::Timeout(TimeoutKind::WriteStall);
        assert_eq!(why(&seen.lost().await), (Side::System, stall));
        in_time(started, after);
    }
}

async fn a_peer_that_reads_slowly_does_not_stall(net: Net) {
    let (probe, _seen) = Probe::new();
    let limits = patient(|l| l.write_stall_timeout = Duration::from_secs(10).into());
    let probe = probe.on_made(|t| {
        t.write_bytes(vec![7; 1 << 20].into());
        done(t.close_write())
    });
    let world = World::with_limits(net, limits, probe).await;
    let mut client = world.connect().await;
    for _ in 0..1024 {
        sleep(Duration::from_secs(9)).await;
        client.receive(1024).await;
    }
    assert_eq!(client.receive_all().await, b"");
}

async fn the_close_timeout_is_never_early_and_hardly_late(net: Net) {
    for after in millis(&MILLIS) {
        let (probe, mut seen) = Probe::new();
        let limits = patient(|l| l.close_timeout = after.into());
        let world = World::with_limits(net, limits, probe.on_data(|t, _| done(t.close()))).await;
        let mut client = world.connect().await;
        seen.expect("made").await;
        client.send("x").await;
        let started = Instant::now();
        assert_eq!(client.receive_all().await, b"");
        assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Closed));
        in_time(started, after);
    }
}

/// Takes lines, and waits for the rest of one.
fn lines(_: &mut dyn Transport, data: &mut BytesMut) {
    while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
        let _line = data.split_to(end + 1);
    }
}

const MESSAGE: CloseKind = CloseKind::Timeout(TimeoutKind::Message);

/// Sends `bytes` again and again, with `pause` in between, until the peer ends its side; returns when
/// that was, or `None` if it has not after a hundred times.
async fn trickle(client: Raw, bytes: &[u8], pause: Duration) -> Option<Instant> {
    let (mut reader, mut writer) = tokio::io::split(client);
    let send = async {
        for _ in 0..100 {
            writer.write_all(bytes).await.unwrap();
            sleep(pause).await;
        }
    };
    tokio::select! {
        () = send => None,
        end = reader.read_u8() => {
            assert!(end.is_err(), "nothing is answered");
            Some(Instant::now())
        }
    }
}

async fn a_message_must_be_complete_in_time(net: Net) {
    for after in millis(&[100, 800, 5000, 60_000]) {
        let (probe, mut seen) = Probe::new();
        let probe = probe.on_data(|t, data| done(lines(t, data)));
        let limits = patient(|l| l.message_timeout = after.into());
        let world = World::with_limits(net, limits, probe).await;
        let client = world.connect().await;
        seen.expect("made").await;
        sleep(10 * after).await; // nothing has begun
        let started = Instant::now();
        let ended = trickle(client, b".", after / 10).await;
        in_time_at(ended.expect("it took too long"), started, after);
        assert_eq!(why(&seen.until_lost().await.1), (Side::Peer, MESSAGE));
    }
}

async fn each_message_has_its_own_time(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| done(lines(t, data)));
    let limits = patient(|l| l.message_timeout = Timeout::from_secs(10));
    let world = World::with_limits(net, limits, probe).await;
    let mut client = world.connect().await;
    seen.expect("made").await;
    client.send("one").await;
    for _ in 0..20 {
        sleep(Duration::from_secs(6)).await;
        client.send("\nanother").await; // ends the one, and begins the next
    }
    client.send("\n").await;
    sleep(Duration::from_secs(60)).await; // and none is under way
    drop(client);
    assert_eq!(seen.until_lost().await.1.kind(), CloseKind::Eof);
}

async fn a_message_that_trickles_is_too_slow(net: Net) {
    for (bytes, ends) in [(40, true), (60, false)] {
        let (probe, mut seen) = Probe::new();
        let probe = probe.on_data(|t, data| done(lines(t, data)));
        let limits = patient(|l| {
            l.message_timeout = Timeout::Never;
            l.min_message_rate = MinRate::AtLeast(100);
        });
        let world = World::with_limits(net, limits, probe).await;
        let client = world.connect().await;
        seen.expect("made").await;
        let started = Instant::now();
        let ended = trickle(client, &vec![b'.'; bytes], Duration::from_millis(500)).await;
        assert_eq!(ended.is_some(), ends, "{bytes} bytes each half second");
        if let Some(ended) = ended {
            in_time_at(ended, started, Duration::from_secs(5));
            assert_eq!(why(&seen.until_lost().await.1), (Side::Peer, MESSAGE));
        }
    }
}

async fn a_message_waits_while_nothing_is_read_or_a_handler_has_it(net: Net) {
    let (probe, mut seen) = Probe::new();
    let paused = AtomicBool::new(false);
    let probe = probe.on_data(move |t, data| {
        let pause = data.ends_with(b"pause") && !paused.swap(true, Ordering::SeqCst);
        Box::pin(async move {
            if data.ends_with(b"await") {
                sleep(Duration::from_secs(60)).await;
            } else if pause {
                t.pause_reading();
                t.set_timeout(Some(Duration::from_secs(60)));
            }
            Ok(())
        })
    });
    let probe = probe.on_timed_out(|t| done(t.resume_reading()));
    let limits = patient(|l| l.message_timeout = Timeout::from_secs(10));
    let world = World::with_limits(net, limits, probe).await;
    let mut client = world.connect().await;
    seen.expect("made").await;
    for (text, after) in [("await", 60), ("pause", 60), ("!", 0)] {
        client.send(text).await;
        sleep(Duration::from_secs(after + 5)).await;
    }
    let ended = timeout(Duration::from_secs(10), client.receive_all()).await;
    assert_eq!(ended.expect("it ends in the end"), b"");
    drop(client);
    assert_eq!(why(&seen.until_lost().await.1), (Side::Peer, MESSAGE));
}

async fn never_is_never(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::with_limits(net, patient(|_| ()), probe).await;
    let client = world.connect().await;
    let handle = seen.made().await;
    timeout(Duration::from_secs(10 * 365 * 86_400), seen.next()).await.unwrap_err();
    handle.close();
    timeout(Duration::from_secs(10 * 365 * 86_400), seen.next()).await.unwrap_err();
    drop(client);
    seen.expect("lost closed by local").await;
}

async fn many_connections_each_keep_their_time(net: Net) {
    let world =
        World::with_limits(net, patient(|l| l.idle_timeout = Duration::from_secs(30).into()), echo)
            .await;
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..500_u64 {
        let mut client = world.connect().await;
        clients.spawn(async move {
            sleep(Duration::from_millis(n * 37)).await;
            client.ping(b"ping").await;
            let started = Instant::now();
            assert_eq!(client.receive_all().await, b"");
            in_time(started, Duration::from_secs(30));
        });
    }
    while let Some(served) = clients.join_next().await {
        served.unwrap();
    }
}
