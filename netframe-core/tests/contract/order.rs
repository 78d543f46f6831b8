//! Rule 1: the order of callbacks, what they hold back, and what does not wait for them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use netframe_core::bytes::BytesMut;
use netframe_core::{CloseKind, ConnectionInfo, Protocol, Result, Side, Transport};

use crate::probe::{Probe, done, why};
use crate::world::{Gate, Net, World, limits, pattern};

on_every_transport! {
    rule1_made_then_data_then_lost_once_and_last,
    rule1_bytes_arrive_in_order,
    rule1_nothing_is_delivered_after_close,
    rule1_nothing_is_delivered_after_abort,
    rule1_nothing_is_delivered_while_reading_is_paused,
    rule1_events_wait_for_a_pending_handler_and_come_once,
    rule1_abort_drops_a_pending_handler,
    rule1_drain_deadline_drops_a_pending_handler,
    rule1_close_waits_for_a_pending_handler,
}

on_transports_with_reset! {
    rule1_nothing_is_delivered_after_loss,
    rule1_reset_drops_a_pending_handler,
}

on_paused_clock! {
    rule1_timers_wait_for_a_pending_handler_and_come_once,
    rule1_system_timeouts_drop_a_pending_handler,
}

async fn rule1_made_then_data_then_lost_once_and_last(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.expect("made").await;
    client.send("one").await;
    seen.expect("data one").await;
    client.send("two").await;
    seen.expect("data two").await;
    client.half_close().await;
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
    assert_eq!(seen.rest(), [""; 0]);
}

/// Keeps every byte.
struct Collect(Arc<Mutex<Vec<u8>>>);

impl Protocol for Collect {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.0.lock().unwrap().extend_from_slice(data);
        data.clear();
        Ok(())
    }
}

async fn rule1_bytes_arrive_in_order(net: Net) {
    let all = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&all);
    let world = World::start(net, move |_: &ConnectionInfo| Collect(Arc::clone(&kept))).await;
    let mut client = world.connect().await;
    let sent = pattern(3 << 20);
    let mut rest = &sent[..];
    for len in (1..).map(|n: usize| n * 7919 % 100_000 + 1) {
        let (chunk, later) = rest.split_at(len.min(rest.len()));
        client.send(chunk).await;
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"");
    assert!(*all.lock().unwrap() == sent);
}

async fn rule1_nothing_is_delivered_after_close(net: Net) {
    let (probe, mut seen) = Probe::new();
    // The leftover, later bytes, the EOF and a notification are all held back.
    let probe = probe.on_data(|t, _| {
        t.handle().notify();
        done(t.close())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("leftover").await;
    assert_eq!(client.receive_all().await, b"");
    client.send("later").await;
    client.half_close().await;
    let (before, reason) = seen.until_lost().await;
    assert_eq!(before, ["made", "data leftover"]);
    assert_eq!(why(&reason), (Side::Local, CloseKind::Closed));
    assert_eq!(reason.bytes_in(), 13, "what is thrown away was received");
    world.stop().await;
    assert_eq!(seen.rest(), [""; 0]);
}

async fn rule1_nothing_is_delivered_after_abort(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, _| {
        t.handle().notify();
        done(t.abort())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("leftover").await;
    client.receive_reset().await;
    let (before, reason) = seen.until_lost().await;
    assert_eq!(before, ["made", "data leftover"]);
    assert_eq!(why(&reason), (Side::Local, CloseKind::Aborted));
    world.stop().await;
    assert_eq!(seen.rest(), [""; 0]);
}

async fn rule1_nothing_is_delivered_after_loss(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let client = world.connect().await;
    let handle = seen.made().await;
    client.reset();
    assert_eq!(why(&seen.lost().await), (Side::Peer, CloseKind::Reset));
    handle.notify();
    handle.close();
    handle.abort();
    world.stop().await;
    assert_eq!(seen.rest(), [""; 0]);
}

async fn rule1_nothing_is_delivered_while_reading_is_paused(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let resume = gate.clone();
    let probe = probe.on_made(|t| done(t.pause_reading())).on_notified(move |t| {
        let resume = resume.clone();
        Box::pin(async move {
            resume.pass().await;
            t.resume_reading();
            t.pause_reading();
            t.resume_reading();
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("held back").await;
    client.half_close().await;
    handle.notify();
    seen.expect("notified").await;
    gate.open();
    seen.expect("data held back").await;
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn rule1_events_wait_for_a_pending_handler_and_come_once(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (gate, log) = (Gate::new(), probe.log());
    let door = gate.clone();
    let probe = probe.on_data(move |_, data| {
        let (door, log) = (door.clone(), log.clone());
        Box::pin(async move {
            door.pass().await;
            data.clear();
            log.note("data done");
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("x").await;
    seen.expect("data x").await;
    for _ in 0..3 {
        handle.notify();
    }
    let stopping = tokio::spawn(world.stop());
    // The server stops accepting before it drains: a refused connect would do as an event, but a
    // drain that had been lost would show below all the same.
    tokio::task::yield_now().await;
    assert_eq!(seen.rest(), [""; 0]);
    gate.open();
    seen.expect("data done").await;
    let (mut before, reason) = seen.until_lost().await;
    before.sort();
    assert_eq!(before, ["draining", "notified"]);
    assert_eq!(why(&reason), (Side::System, CloseKind::Shutdown));
    assert_eq!(stopping.await.unwrap().drained, 1);
}

async fn rule1_timers_wait_for_a_pending_handler_and_come_once(net: Net) {
    let (probe, mut seen) = Probe::new();
    let log = probe.log();
    let probe = probe
        .on_made(|t| done(t.set_timeout(Some(Duration::from_secs(1)))))
        .on_timed_out(|_| done(()))
        .on_data(move |_, data| {
            let log = log.clone();
            Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(60)).await;
                data.clear();
                log.note("data done");
                Ok(())
            })
        });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("x").await;
    seen.expect("data x").await;
    seen.expect("data done").await;
    seen.expect("timed_out").await;
    client.half_close().await;
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
}

/// A handler that waits for ever; its drop is noted.
fn stuck(probe: Probe) -> Probe {
    let log = probe.log();
    probe.on_data(move |_, _| {
        let log = log.clone();
        Box::pin(async move {
            let _guard = log.on_drop("handler dropped");
            std::future::pending().await
        })
    })
}

async fn rule1_reset_drops_a_pending_handler(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, stuck(probe)).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("x").await;
    seen.expect("data x").await;
    client.reset();
    seen.expect("handler dropped").await;
    seen.expect("lost reset by peer").await;
    world.stop().await;
}

async fn rule1_abort_drops_a_pending_handler(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, stuck(probe)).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("x").await;
    seen.expect("data x").await;
    handle.abort();
    seen.expect("handler dropped").await;
    seen.expect("lost aborted by local").await;
    client.receive_reset().await;
    world.stop().await;
}

async fn rule1_drain_deadline_drops_a_pending_handler(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, stuck(probe)).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("x").await;
    seen.expect("data x").await;
    let report = world.server.shutdown(Duration::from_millis(1)).await;
    seen.expect("handler dropped").await;
    seen.expect("lost shutdown by system").await;
    assert_eq!((report.drained, report.aborted), (0, 1));
    client.receive_reset().await;
}

async fn rule1_close_waits_for_a_pending_handler(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (gate, log) = (Gate::new(), probe.log());
    let door = gate.clone();
    let probe = probe.on_data(move |_, _| {
        let (door, log) = (door.clone(), log.clone());
        Box::pin(async move {
            door.pass().await;
            log.note("data done");
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("x").await;
    seen.expect("data x").await;
    handle.close();
    assert_eq!(client.receive_all().await, b"", "the FIN does not wait");
    client.shutdown().await.unwrap();
    gate.open();
    seen.expect("data done").await;
    seen.expect("lost closed by local").await;
    world.stop().await;
}

async fn rule1_system_timeouts_drop_a_pending_handler(net: Net) {
    let second = Duration::from_secs(1).into();
    let idle = limits(|l| l.idle_timeout = second);
    let close = limits(|l| l.close_timeout = second);
    let stall = limits(|l| l.write_stall_timeout = second);
    for (limits, close, write, want) in [
        (idle, false, 0, "lost idle timeout by system"),
        (close, true, 0, "lost closed by local"),
        (stall, false, 1 << 20, "lost write-stall timeout by system"),
    ] {
        let (probe, mut seen) = Probe::new();
        let log = probe.log();
        let probe = probe.on_data(move |t, _| {
            let log = log.clone();
            Box::pin(async move {
                let _guard = log.on_drop("handler dropped");
                t.write(&vec![0; write]);
                if close {
                    t.close();
                }
                std::future::pending().await
            })
        });
        let world = World::with_limits(net, limits, probe).await;
        let mut client = world.connect().await;
        seen.made().await;
        client.send("x").await;
        seen.expect("data x").await;
        seen.expect("handler dropped").await;
        seen.expect(want).await;
    }
}
