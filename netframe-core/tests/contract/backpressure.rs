//! Rule 6: a peer that does not read is not read from, and costs a bounded number of bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::{
    CloseKind, ConnectionInfo, Limits, Protocol, Result, Side, Timeout, Transport,
};

use crate::probe::{Probe, done, echo, why};
use crate::world::{Gate, Net, World, limits, within};

on_every_transport! {
    rule6_data_and_eof_are_held_back_above_the_high_watermark,
    rule6_an_uncoupled_protocol_reads_on,
    rule6_a_delivery_is_bounded,
    rule6_a_write_begun_below_the_mark_is_taken_whole,
    rule6_writes_beyond_the_hard_cap_end_with_overflow,
    rule6_overflow_does_not_wait_for_a_handler_that_awaits,
    rule6_overflow_is_the_first_cause,
    rule6_drain_waits_for_the_low_watermark,
    rule6_try_write_refuses_above_the_mark_and_gives_the_bytes_back,
    rule6_others_are_served_while_many_never_read,
}

on_transports_with_reset! {
    rule6_write_waits_until_there_is_room,
}

on_paused_clock! {
    rule6_a_peer_that_never_reads_costs_bounded_bytes_and_no_cpu,
}

const MIB: usize = 1 << 20;

async fn rule6_data_and_eof_are_held_back_above_the_high_watermark(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe
        .on_data(|t, data| {
            data.clear();
            t.write_bytes(vec![0; 4 * MIB].into());
            done(())
        })
        .on_notified(|t| done(assert!(!t.wants_data())));
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("a").await;
    seen.expect("data a").await;
    client.send("b").await;
    for _ in 0..10 {
        handle.notify();
        seen.expect("notified").await; // the other callbacks still run
    }
    client.receive(4 * MIB).await;
    seen.expect("data b").await;
    client.half_close().await;
    for _ in 0..10 {
        handle.notify();
        seen.expect("notified").await;
    }
    client.receive(4 * MIB).await;
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn rule6_an_uncoupled_protocol_reads_on(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.set_coupled(false);
        t.write_bytes(vec![0; 4 * MIB].into());
        done(assert!(t.wants_data()))
    });
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    for part in ["a", "b"] {
        client.send(part).await;
        seen.expect(&format!("data {part}")).await;
    }
    client.half_close().await;
    seen.expect("eof ").await;
    assert_eq!(client.receive_all().await.len(), 4 * MIB);
    world.stop().await;
}

/// Notes how much it is given at once, once the gate is open.
struct Greedy {
    most: Arc<AtomicUsize>,
    gate: Gate,
}

impl Protocol for Greedy {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        let handle = t.handle();
        t.spawn(async move { handle.peer_eof().await }); // so that bytes are read ahead
        self.gate.pass().await;
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.most.fetch_max(data.len(), Ordering::SeqCst);
        data.clear();
        Ok(())
    }
}

async fn rule6_a_delivery_is_bounded(net: Net) {
    for first in [0, 1, 40_000, 65_535] {
        let (most, gate) = (Arc::new(AtomicUsize::new(0)), Gate::new());
        let (noted, door) = (Arc::clone(&most), gate.clone());
        let greedy =
            move |_: &ConnectionInfo| Greedy { most: Arc::clone(&noted), gate: door.clone() };
        let world = World::start(net, greedy).await;
        let mut client = world.connect().await;
        if first > 0 {
            client.send(vec![0; first]).await;
            world.until(|stats| stats.bytes_in == first as u64).await;
            client.send(vec![0; 65_536 - 1]).await;
            world.until(|stats| stats.bytes_in > first as u64).await;
        }
        gate.open();
        client.send(vec![0; 3 * MIB]).await;
        client.half_close().await;
        assert_eq!(client.receive_all().await, b"");
        world.stop().await;
        let most = most.load(Ordering::SeqCst);
        assert!(most <= 64 * 1024, "{most} bytes, after {first} were read ahead");
    }
}

async fn rule6_a_write_begun_below_the_mark_is_taken_whole(net: Net) {
    let (probe, mut seen) = Probe::new();
    let limits = limits(|l| {
        (l.low_watermark, l.high_watermark, l.hard_cap) = (10, 100, 1000);
    });
    let probe = probe.on_made(|t| {
        t.write(&[1; 100]); // at the mark
        assert!(t.wants_data());
        t.write_bytes(vec![2; MIB].into()); // far above the cap, but begun at the mark
        assert!(!t.wants_data());
        assert_eq!(t.queued(), MIB + 100);
        done(t.close())
    });
    let world = World::with_limits(net, limits, probe).await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await.len(), MIB + 100);
    client.half_close().await;
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Closed));
    world.stop().await;
}

async fn rule6_writes_beyond_the_hard_cap_end_with_overflow(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, _| {
        let chunk = Bytes::from(vec![0; 50_000]);
        for n in 0..2000 {
            if n % 2 == 0 {
                t.write(&chunk)
            } else {
                t.write_bytes(chunk.clone())
            }
            assert!(t.queued() <= MIB, "the hard cap");
        }
        done(())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("x").await;
    client.receive_reset().await;
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Overflow));
    assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (0, 100_000_000));
    world.stop().await;
}

async fn rule6_overflow_does_not_wait_for_a_handler_that_awaits(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, _| {
        Box::pin(async move {
            t.write_bytes(vec![0; MIB].into());
            t.write(b"one too many");
            std::future::pending().await
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("x").await;
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Overflow));
    client.receive_reset().await;
    world.stop().await;
}

async fn rule6_overflow_is_the_first_cause(net: Net) {
    for then in ["error", "close", "abort", "panic"] {
        let (probe, mut seen) = Probe::new();
        let probe = probe.on_data(move |t, _| {
            Box::pin(async move {
                t.write_bytes(vec![0; MIB].into());
                t.write(b"one too many");
                match then {
                    "error" => Err("no room".into()),
                    "close" => Ok(t.close()),
                    "abort" => Ok(t.abort()),
                    _ => panic!("no room"),
                }
            })
        });
        let world = World::start(net, probe).await;
        let mut client = world.connect().await;
        client.send("x").await;
        let reason = seen.lost().await;
        assert_eq!(why(&reason), (Side::Local, CloseKind::Overflow), "then {then}");
        world.stop().await;
    }
}

async fn rule6_drain_waits_for_the_low_watermark(net: Net) {
    let (probe, mut seen) = Probe::new();
    let log = probe.log();
    let probe = probe.on_made(move |t| {
        let log = log.clone();
        Box::pin(async move {
            for _ in 0..50 {
                t.write(&[7; 100_000]);
                t.drain().await?;
                assert!(t.queued() <= 16 * 1024, "the low watermark");
            }
            log.note("drained");
            t.close();
            Ok(())
        })
    });
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await.len(), 5_000_000);
    seen.expect("made").await;
    seen.expect("drained").await;
    drop(client);
    world.stop().await;
}

async fn rule6_try_write_refuses_above_the_mark_and_gives_the_bytes_back(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    handle.try_write(vec![0; 4 * MIB]).unwrap();
    let refused = handle.try_write("no room").unwrap_err();
    assert!(!refused.is_closed());
    assert_eq!(refused.to_string(), "the queue is above the high watermark");
    assert_eq!(refused.into_data(), "no room");
    client.receive(4 * MIB).await;
    handle.write("room").await.unwrap();
    assert_eq!(client.receive(4).await, b"room");
    handle.close();
    assert_eq!(client.receive_all().await, b"");
    let refused = handle.try_write("too late").unwrap_err();
    assert!(refused.is_closed());
    assert_eq!(refused.into_data(), "too late");
    drop(client);
    assert_eq!(seen.lost().await.bytes_unsent(), 0, "the handle gave the bytes back");
    world.stop().await;
}

async fn rule6_write_waits_until_there_is_room(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    let writers: Vec<_> = (0..10_u8)
        .map(|n| {
            let handle = handle.clone();
            tokio::spawn(async move {
                for _ in 0..8 {
                    handle.write(vec![n; 30_000]).await.unwrap();
                    assert!(handle.queued() <= 64 * 1024 + 30_000, "the mark and one write");
                }
            })
        })
        .collect();
    let got = client.receive(10 * 8 * 30_000).await;
    for n in 0..10 {
        assert_eq!(got.iter().filter(|byte| **byte == n).count(), 8 * 30_000);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    // Who waits for room learns of the end.
    handle.try_write(vec![0; 4 * MIB]).unwrap();
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.write("never").await }
    });
    client.reset();
    let refused = waiting.await.unwrap().unwrap_err();
    assert!(refused.is_closed());
    assert_eq!(refused.into_data(), "never");
    assert_eq!(why(&seen.lost().await), (Side::Peer, CloseKind::Reset));
    world.stop().await;
}

async fn rule6_others_are_served_while_many_never_read(net: Net) {
    let world = World::narrow(net, Limits::default(), echo).await;
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut client = world.connect().await;
        senders.spawn(async move { while client.write_all(&[0; 10_000]).await.is_ok() {} });
    }
    let mut other = world.connect().await;
    for n in 0..200_u8 {
        other.ping(&[n; 100]).await;
    }
    drop(other);
    senders.abort_all();
    while senders.join_next().await.is_some() {}
    world.until(|stats| stats.live == 0).await;
    world.stop().await;
}

async fn rule6_a_peer_that_never_reads_costs_bounded_bytes_and_no_cpu(net: Net) {
    let never = limits(|l| {
        (l.idle_timeout, l.write_stall_timeout) = (Timeout::Never, Timeout::Never);
    });
    let world = World::with_limits(net, never, echo).await;
    let mut taken = 0;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = world.connect().await;
        // The clock of this test moves only when nothing can run: no spin, and no more progress.
        while let Ok(sent) = timeout(Duration::from_secs(3600), client.write(&[0; 10_000])).await {
            taken += sent.unwrap();
        }
        clients.push(client);
    }
    // 64 KiB in each direction on the way, the watermark, and one delivery above it.
    assert!(taken <= 50 * 4 * 65_536, "{taken}");
    let highest = world.stats().highest_queue;
    assert!((65_536..=2 * 65_536).contains(&highest), "{highest} bytes waited at most");
    within(world.connect().await.ping(b"still served")).await;
}
