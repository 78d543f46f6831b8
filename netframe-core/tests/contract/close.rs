//! Rule 3: `close` flushes, ends with FIN and throws input away until the peer's; `abort` resets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use netframe_core::{CloseKind, Side};

use crate::probe::{Probe, done, why};
use crate::world::{Gate, Net, World, limits, pattern};

on_every_transport! {
    rule3_close_flushes,
    rule3_unread_input_does_not_destroy_the_answer,
    rule3_input_after_close_is_thrown_away,
    rule3_a_peer_that_sends_before_it_reads_gets_the_answer,
    rule3_at_most_a_mebibyte_is_thrown_away,
    rule3_a_peer_that_sends_no_fin_is_reset_after_the_close_timeout,
    rule3_abort_drops_the_queue_and_resets,
    rule3_writes_after_close_or_abort_are_unsent,
    rule3_abort_wins_over_a_close_under_way,
}

on_paused_clock! {
    rule3_a_close_that_moves_takes_any_time,
    rule3_a_close_that_does_not_move_ends_after_the_close_timeout,
}

const MIB: usize = 1 << 20;

async fn rule3_close_flushes(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.write_bytes(pattern(MIB).into());
        done(t.close())
    });
    let world = World::narrow(net, limits(|_| ()), probe).await;
    let mut client = world.connect().await;
    assert!(client.receive_all().await == pattern(MIB));
    client.half_close().await;
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Closed));
    assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (MIB as u64, 0));
    world.stop().await;
}

async fn rule3_unread_input_does_not_destroy_the_answer(net: Net) {
    for _ in 0..10 {
        let (probe, mut seen) = Probe::new();
        let gate = Gate::new();
        let arrived = gate.clone();
        let probe = probe.on_made(move |t| {
            let arrived = arrived.clone();
            Box::pin(async move {
                arrived.pass().await;
                t.write_bytes(pattern(MIB).into());
                t.close();
                Ok(())
            })
        });
        let world = World::start(net, probe).await;
        let mut client = world.connect().await;
        client.send([7; 5000]).await;
        gate.open();
        let mut answer = vec![0; MIB];
        client.read_exact(&mut answer).await.expect("no reset before the end");
        assert!(answer == pattern(MIB));
        assert_eq!(client.receive_all().await, b"");
        drop(client);
        let (before, reason) = seen.until_lost().await;
        assert_eq!(before, ["made"]);
        assert_eq!(why(&reason), (Side::Local, CloseKind::Closed));
        assert_eq!(reason.bytes_in(), 5000);
        world.stop().await;
    }
}

async fn rule3_input_after_close_is_thrown_away(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe.on_made(|t| done(t.close()))).await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await, b"");
    client.send(vec![0; MIB / 2]).await;
    client.half_close().await;
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Closed));
    assert_eq!(reason.bytes_in(), MIB as u64 / 2);
    world.stop().await;
}

async fn rule3_a_peer_that_sends_before_it_reads_gets_the_answer(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.write_bytes(pattern(MIB).into());
        done(t.close())
    });
    let world = World::narrow(net, limits(|_| ()), probe).await;
    let mut client = world.connect().await;
    client.send(vec![0; 4 * MIB]).await; // before the FIN any number of bytes is thrown away
    client.half_close().await;
    assert!(client.receive_all().await == pattern(MIB));
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Closed));
    world.stop().await;
}

async fn rule3_at_most_a_mebibyte_is_thrown_away(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe.on_made(|t| done(t.close()))).await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await, b"");
    while client.write_all(&[0; 16 * 1024]).await.is_ok() {}
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Closed), "the first cause wins");
    let thrown_away = reason.bytes_in() as usize;
    assert!((MIB..MIB + 100_000).contains(&thrown_away), "{thrown_away}");
    world.stop().await;
}

async fn rule3_a_peer_that_sends_no_fin_is_reset_after_the_close_timeout(net: Net) {
    let (probe, mut seen) = Probe::new();
    let limits = limits(|l| l.close_timeout = Duration::from_millis(1).into());
    let world = World::with_limits(net, limits, probe.on_made(|t| done(t.close()))).await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await, b"");
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Closed), "the first cause wins");
    assert!(reason.close_timed_out());
    assert_eq!(reason.to_string(), "closed by local (the close timed out)");
    world.until(|stats| stats.live == 0).await;
    assert_eq!(world.stats().close_timeouts, 1);
    client.write_all(b"x").await.unwrap_err();
    world.stop().await;
}

async fn rule3_abort_drops_the_queue_and_resets(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, _| {
        t.write(b"small");
        t.write_bytes(vec![0; MIB].into());
        done(t.abort())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("x").await;
    assert_eq!(client.receive_reset().await, b"");
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Aborted));
    assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (0, MIB as u64 + 5));
    world.stop().await;
}

async fn rule3_writes_after_close_or_abort_are_unsent(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(b"sent");
        if data.starts_with(b"abort") {
            t.abort()
        } else {
            t.close()
        }
        t.write(b"one");
        t.write_bytes(vec![0; 100_000].into());
        t.with_buffer(&mut |buffer| buffer.extend_from_slice(b"two"));
        done(())
    });
    let world = World::start(net, probe).await;
    for (question, answer, unsent) in [("close", "sent", 100_006), ("abort", "", 100_010)] {
        let mut client = world.connect().await;
        client.send(question).await;
        let mut got = Vec::new();
        let end = client.read_to_end(&mut got).await;
        let in_order = question == "close" || net == Net::Unix; // which has no reset
        assert_eq!((got.as_slice(), end.is_ok()), (answer.as_bytes(), in_order));
        drop(client);
        assert_eq!(seen.lost().await.bytes_unsent(), unsent, "{question}");
    }
    world.stop().await;
}

async fn rule3_abort_wins_over_a_close_under_way(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.write_bytes(vec![0; 4 * MIB].into());
        done(t.close())
    });
    let world = World::narrow(net, limits(|_| ()), probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.receive(1).await; // the flush has begun, and waits for us
    handle.abort();
    let reason = seen.lost().await;
    client.receive_reset().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Closed), "the first cause wins");
    assert_eq!(reason.bytes_out() + reason.bytes_unsent(), 4 * MIB as u64);
    assert!(reason.bytes_unsent() > 0);
    world.stop().await;
}

async fn rule3_a_close_that_moves_takes_any_time(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.write_bytes(pattern(MIB).into());
        done(t.close())
    });
    let limits = limits(|l| l.close_timeout = Duration::from_secs(10).into());
    let world = World::narrow(net, limits, probe).await;
    let mut client = world.connect().await;
    let mut got = Vec::new();
    while got.len() < MIB {
        tokio::time::sleep(Duration::from_secs(5)).await; // on the paused clock
        got.extend(client.receive(MIB / 64).await);
    }
    assert!(got == pattern(MIB));
    assert_eq!(client.receive_all().await, b"");
    client.half_close().await;
    let reason = seen.lost().await;
    assert_eq!((reason.bytes_unsent(), reason.close_timed_out()), (0, false));
}

async fn rule3_a_close_that_does_not_move_ends_after_the_close_timeout(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.write_bytes(pattern(MIB).into());
        done(t.close())
    });
    let limits = limits(|l| l.close_timeout = Duration::from_secs(10).into());
    let world = World::narrow(net, limits, probe).await;
    let client = world.connect().await;
    let started = tokio::time::Instant::now();
    let reason = seen.lost().await;
    let took = started.elapsed();
    assert!((10.0..11.25).contains(&took.as_secs_f32()), "{took:?}");
    assert_eq!(why(&reason), (Side::Local, CloseKind::Closed), "the first cause wins");
    assert!(reason.bytes_unsent() > 0 && reason.close_timed_out());
    drop(client);
}
