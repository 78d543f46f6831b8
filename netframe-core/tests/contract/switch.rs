//! Rule 13: `switch` hands the connection to another protocol, in order. Layers are in `layer.rs`.

use std::sync::Arc;
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::{
    CloseKind, ConnectionInfo, Protocol, Residue, Result, Side, Transport, factory_fn,
};

use crate::probe::{Echo, Events, Probe, done, why};
use crate::world::{Gate, Net, World, limits, pattern};

on_every_transport! {
    rule13_earlier_bytes_leave_first_and_callbacks_are_in_order,
    rule13_residue_is_fed,
    rule13_residue_is_discarded,
    rule13_residue_is_rejected,
    rule13_without_residue_nothing_is_rejected,
    rule13_it_takes_effect_when_the_handler_returns,
    rule13_close_and_errors_win,
    rule13_the_last_call_wins,
    rule13_what_the_old_protocol_set_does_not_reach_the_new_one,
    rule13_eof_reaches_the_new_protocol,
    rule13_handles_survive,
    rule13_peer_eof_is_watched_for_across_a_switch,
    rule13_a_panic_in_the_old_connection_lost_is_swallowed,
    rule13_a_refusal_closes_and_flushes,
    rule13_a_draining_server_asks_the_new_protocol,
    rule13_many_switches_lose_no_byte,
    rule13_an_abort_or_close_during_a_switch_is_not_lost,
}

async fn rule13_earlier_bytes_leave_first_and_callbacks_are_in_order(net: Net) {
    let (old, mut seen) = Probe::new();
    let log = old.log();
    let new = old.clone().on_made(|t| {
        t.write(b"new");
        done(())
    });
    let old = old.on_data(move |t, data| {
        data.clear();
        t.write_bytes(vec![b'.'; 1 << 20].into());
        let (log, new) = (log.clone(), new.clone());
        let factory = move |_: &ConnectionInfo| {
            log.note("build_protocol");
            new.clone()
        };
        t.switch(Arc::new(factory), Residue::Reject);
        done(())
    });
    let world = World::narrow(net, limits(|_| ()), old).await;
    let mut client = world.connect().await;
    client.send("up").await;
    assert!(client.receive(1 << 20).await.iter().all(|byte| *byte == b'.'));
    assert_eq!(client.receive(3).await, b"new");
    client.half_close().await;
    for event in ["made", "data up", "lost switched by local", "build_protocol", "made", "eof "] {
        seen.expect(event).await;
    }
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

/// Switches to a probe with the same log, and leaves all but one byte.
fn switching(residue: Residue) -> (Probe, Events) {
    let (probe, seen) = Probe::new();
    let new = probe.clone();
    let old = probe.on_data(move |t, data| {
        let _up = data.split_to(1);
        t.switch_to(new.clone(), residue);
        done(())
    });
    (old, seen)
}

async fn rule13_residue_is_fed(net: Net) {
    let (old, mut seen) = switching(Residue::Feed);
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    client.send("^residue").await;
    for event in ["made", "data ^residue", "lost switched by local", "made", "data residue"] {
        seen.expect(event).await;
    }
    client.send("more").await;
    seen.expect("data more").await;
    drop(client);
    world.stop().await;
}

async fn rule13_residue_is_discarded(net: Net) {
    let (old, mut seen) = switching(Residue::Discard);
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    client.send("^residue").await;
    for event in ["made", "data ^residue", "lost switched by local", "made"] {
        seen.expect(event).await;
    }
    client.send("more").await;
    seen.expect("data more").await;
    drop(client);
    world.stop().await;
}

async fn rule13_residue_is_rejected(net: Net) {
    let (old, mut seen) = switching(Residue::Reject);
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    client.send("^injected").await;
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    let (before, reason) = seen.until_lost().await;
    assert_eq!(before, ["made", "data ^injected"]);
    assert_eq!(why(&reason), (Side::Peer, CloseKind::ProtocolError));
    world.stop().await;
}

async fn rule13_without_residue_nothing_is_rejected(net: Net) {
    let (old, mut seen) = switching(Residue::Reject);
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    client.send("^").await;
    for event in ["made", "data ^", "lost switched by local", "made"] {
        seen.expect(event).await;
    }
    client.send("more").await;
    seen.expect("data more").await;
    drop(client);
    world.stop().await;
}

async fn rule13_it_takes_effect_when_the_handler_returns(net: Net) {
    let (old, mut seen) = Probe::new();
    let (gate, new, log) = (Gate::new(), old.clone(), old.log());
    let door = gate.clone();
    let old = old.on_made(move |t| {
        let (door, log) = (door.clone(), log.clone());
        t.switch_to(new.clone(), Residue::Feed);
        Box::pin(async move {
            assert!(!t.wants_data());
            t.write(b"ready");
            door.pass().await;
            log.note("returns");
            Ok(())
        })
    });
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    assert_eq!(client.receive(5).await, b"ready");
    client.send("for the new one").await;
    gate.open();
    for event in ["made", "returns", "lost switched by local", "made", "data for the new one"] {
        seen.expect(event).await;
    }
    drop(client);
    world.stop().await;
}

async fn rule13_close_and_errors_win(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.switch_to(Echo, Residue::Feed);
        let question = data.split();
        Box::pin(async move {
            match &question[..] {
                b"close" => t.close(),
                b"abort" => t.abort(),
                _ => Err("no")?,
            }
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    for (question, kind) in
        [("close", CloseKind::Closed), ("abort", CloseKind::Aborted), ("error", CloseKind::Error)]
    {
        let mut client = world.connect().await;
        client.send(question).await;
        client.half_close().await;
        assert_eq!(why(&seen.lost().await), (Side::Local, kind), "{question}");
    }
    world.stop().await;
}

async fn rule13_the_last_call_wins(net: Net) {
    let (probe, _seen) = Probe::new();
    let not_this = probe.clone().on_made(|t| done(t.abort()));
    let probe = probe.on_made(move |t| {
        t.switch_to(not_this.clone(), Residue::Discard);
        t.switch_to(Echo, Residue::Feed);
        done(())
    });
    let world = World::start(net, probe).await;
    world.connect().await.ping(b"echoed").await;
    world.stop().await;
}

async fn rule13_what_the_old_protocol_set_does_not_reach_the_new_one(net: Net) {
    let (old, mut seen) = Probe::new();
    let new = old.clone().on_timed_out(|_| done(()));
    let old = old.on_data(move |t, _| {
        t.pause_reading();
        t.set_coupled(false);
        t.set_timeout(Some(Duration::from_millis(1)));
        t.handle().notify();
        t.switch_to(new.clone(), Residue::Feed);
        done(())
    });
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    client.send("x").await;
    for event in ["made", "data x", "lost switched by local", "made", "data x"] {
        seen.expect(event).await;
    }
    client.send("y").await;
    seen.expect("data y").await;
    client.half_close().await;
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn rule13_eof_reaches_the_new_protocol(net: Net) {
    let (old, mut seen) = Probe::new();
    let new = old.clone();
    let old = old.on_data(|_, _| done(())).on_eof(move |t, _| {
        t.switch_to(new.clone(), Residue::Feed);
        done(())
    });
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    client.send("left").await;
    client.half_close().await;
    for event in ["made", "data left", "eof left", "lost switched by local", "made", "eof "] {
        seen.expect(event).await;
    }
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn rule13_handles_survive(net: Net) {
    let (old, mut seen) = switching(Residue::Feed);
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("^abc").await;
    seen.expect("data ^abc").await;
    seen.expect("lost switched by local").await;
    assert_eq!(seen.made().await.id(), handle.id());
    assert!(!handle.is_closed());
    seen.expect("data abc").await;
    handle.try_write("from the old handle").unwrap();
    assert_eq!(client.receive(19).await, b"from the old handle");
    handle.notify();
    seen.expect("notified").await;
    client.half_close().await;
    let reason = handle.closed().await;
    assert_eq!(why(&reason), (Side::Peer, CloseKind::Eof));
    assert_eq!((reason.bytes_in(), reason.bytes_out()), (4, 19), "of the whole connection");
    world.stop().await;
}

async fn rule13_peer_eof_is_watched_for_across_a_switch(net: Net) {
    let (old, mut seen) = Probe::new();
    let new = old.clone().on_made(|_| Box::pin(std::future::pending()));
    let old = old.on_data(move |t, data| {
        data.clear();
        t.switch_to(new.clone(), Residue::Feed);
        done(())
    });
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    let watching = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.peer_eof().await })
    };
    tokio::task::yield_now().await;
    client.send("x").await;
    seen.expect("data x").await;
    seen.expect("lost switched by local").await;
    seen.expect("made").await;
    client.half_close().await;
    watching.await.unwrap();
    handle.abort();
    seen.lost().await;
    world.stop().await;
}

async fn rule13_a_panic_in_the_old_connection_lost_is_swallowed(net: Net) {
    let (old, mut seen) = Probe::new();
    let old = old
        .on_data(|t, _| {
            t.switch_to(Echo, Residue::Feed);
            done(())
        })
        .on_lost(|_| panic!("at the end of the old one"));
    let world = World::start(net, old).await;
    world.connect().await.ping(b"echoed").await;
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Switched));
    world.stop().await;
}

async fn rule13_a_refusal_closes_and_flushes(net: Net) {
    for _ in 0..10 {
        let (old, mut seen) = Probe::new();
        let old = old.on_data(|t, data| {
            data.clear();
            t.write_bytes(vec![b'.'; 1 << 20].into());
            t.switch(Arc::new(factory_fn(|_: &ConnectionInfo| None::<Echo>)), Residue::Feed);
            done(())
        });
        let world = World::start(net, old).await;
        let mut client = world.connect().await;
        let handle = seen.made().await;
        client.send("up").await;
        assert_eq!(client.receive(1 << 20).await.len(), 1 << 20);
        drop(client);
        assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Closed));
        world.stop().await;
    }
}

async fn rule13_a_draining_server_asks_the_new_protocol(net: Net) {
    let (old, mut seen) = Probe::new();
    let new = old.clone();
    let old = old.on_draining(move |t| {
        t.switch_to(new.clone(), Residue::Feed);
        done(())
    });
    let world = World::start(net, old).await;
    let client = world.connect().await;
    seen.made().await;
    assert_eq!(world.stop().await.drained, 1);
    let events = ["draining", "lost switched by local", "made", "draining"];
    for event in events {
        seen.expect(event).await;
    }
    seen.expect("lost shutdown by system").await;
    drop(client);
}

async fn rule13_many_switches_lose_no_byte(net: Net) {
    /// Echoes one byte, then hands over to the next of its kind.
    fn relay() -> Probe {
        let (probe, _) = Probe::new();
        probe.on_data(|t, data| {
            t.write(&data.split_to(1));
            t.switch_to(relay(), Residue::Feed);
            done(())
        })
    }

    let world = World::start(net, relay()).await;
    let mut client = world.connect().await;
    let question = pattern(2000);
    client.send(&question).await;
    client.half_close().await;
    assert_eq!(client.receive_all().await, question);
    world.stop().await;
}

async fn rule13_an_abort_or_close_during_a_switch_is_not_lost(net: Net) {
    /// Hands over to the next of its kind for ever.
    struct Restless;

    impl Protocol for Restless {
        async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
            t.switch_to(Self, Residue::Feed);
            Ok(())
        }

        async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
            Ok(())
        }
    }

    let (first, mut seen) = Probe::new();
    let first = first.on_made(|t| done(t.switch_to(Restless, Residue::Feed)));
    let world = World::start(net, first).await;
    for n in 0..200 {
        let client = world.connect().await;
        let handle = seen.made().await;
        seen.expect("lost switched by local").await;
        if n % 2 == 0 {
            handle.abort()
        } else {
            handle.close()
        }
        drop(client);
        let kind = if n % 2 == 0 { CloseKind::Aborted } else { CloseKind::Closed };
        assert_eq!(why(&handle.closed().await), (Side::Local, kind));
    }
    world.stop().await;
}
