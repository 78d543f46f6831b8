//! Rule 4: the peer's FIN ends its sending side only; no byte of an answer is lost to it.

use netframe_core::{CloseKind, Limits, Side};

use crate::probe::{Probe, done, echo, why};
use crate::world::{Gate, Net, World, limits, pattern};

on_every_transport! {
    rule4_a_short_message_with_an_immediate_half_close_is_answered,
    rule4_everything_queued_is_delivered_after_the_peers_fin,
    rule4_eof_comes_with_what_is_left_unconsumed,
    rule4_a_protocol_may_go_on_answering_after_eof,
    rule4_fin_does_not_cancel_a_pending_handler,
    rule4_close_write_ends_only_our_sending_side,
    rule4_the_connection_ends_when_both_sides_have_ended,
}

on_transports_with_reset! {
    rule4_reset_after_fin_drops_a_pending_handler,
}

async fn rule4_a_short_message_with_an_immediate_half_close_is_answered(net: Net) {
    let world = World::start(net, echo).await;
    for n in 0..1000 {
        let mut client = world.connect().await;
        client.send("hello").await;
        client.half_close().await;
        assert_eq!(client.receive_all().await, b"hello", "connection {n}");
    }
    world.until(|stats| stats.closed(CloseKind::Eof) == 1000).await;
    world.stop().await;
}

async fn rule4_everything_queued_is_delivered_after_the_peers_fin(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        data.clear();
        t.write_bytes(pattern(4 << 20).into());
        done(())
    });
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    client.send("question").await;
    client.half_close().await;
    assert!(client.receive_all().await == pattern(4 << 20));
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Peer, CloseKind::Eof));
    assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (4 << 20, 0));
    world.stop().await;
}

async fn rule4_eof_comes_with_what_is_left_unconsumed(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|_, data| done(drop(data.split_to(2)))).on_eof(|t, data| {
        t.write(data); // it need not be consumed
        done(t.close())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("12345").await;
    seen.expect("made").await;
    seen.expect("data 12345").await;
    client.half_close().await;
    seen.expect("eof 345").await;
    seen.expect("lost eof by peer").await;
    assert_eq!(client.receive_all().await, b"345");
    world.stop().await;
}

async fn rule4_a_protocol_may_go_on_answering_after_eof(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_eof(|_, _| done(())).on_notified(|t| {
        t.write(b"much later");
        done(t.close())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.half_close().await;
    seen.expect("eof ").await;
    handle.try_write("later, ").unwrap();
    assert_eq!(client.receive(7).await, b"later, ");
    handle.notify();
    assert_eq!(client.receive_all().await, b"much later");
    seen.expect("notified").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn rule4_fin_does_not_cancel_a_pending_handler(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let door = gate.clone();
    let probe = probe.on_data(move |t, data| {
        let door = door.clone();
        Box::pin(async move {
            data.clear();
            door.pass().await;
            t.write(b"answer");
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("question").await;
    client.half_close().await;
    seen.expect("data question").await;
    handle.peer_eof().await; // the FIN has been seen while the handler waits
    gate.open();
    assert_eq!(client.receive_all().await, b"answer");
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn rule4_reset_after_fin_drops_a_pending_handler(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|_, _| Box::pin(std::future::pending()));
    let world = World::start(net, probe).await;
    for look_for_eof in [false, true] {
        let mut client = world.connect().await;
        let handle = seen.made().await;
        client.send("question").await;
        client.half_close().await;
        seen.expect("data question").await;
        if look_for_eof {
            handle.peer_eof().await;
        }
        client.reset();
        seen.expect("lost reset by peer").await;
    }
    world.stop().await;
}

async fn rule4_close_write_ends_only_our_sending_side(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.write(b"all I have to say");
        t.close_write();
        t.write(b"too late");
        done(())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await, b"all I have to say");
    let handle = seen.made().await;
    assert!(handle.try_write("too late").unwrap_err().is_closed());
    client.send("still heard").await;
    seen.expect("data still heard").await;
    client.half_close().await;
    let (before, reason) = seen.until_lost().await;
    assert_eq!(before, ["eof "]);
    assert_eq!(why(&reason), (Side::Peer, CloseKind::Eof));
    assert_eq!(reason.bytes_unsent(), 8);
    world.stop().await;
}

async fn rule4_the_connection_ends_when_both_sides_have_ended(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_eof(|_, _| done(())).on_notified(|t| done(t.close_write()));
    let limits = limits(|l| l.idle_timeout = netframe_core::Timeout::Never);
    let world = World::with_limits(net, limits, probe).await;
    for fin_first in [true, false] {
        let mut client = world.connect().await;
        let handle = seen.made().await;
        if fin_first {
            client.half_close().await;
            seen.expect("eof ").await;
        }
        handle.notify();
        seen.expect("notified").await;
        assert_eq!(client.receive_all().await, b"");
        if !fin_first {
            client.half_close().await;
            seen.expect("eof ").await;
        }
        assert_eq!(why(&seen.lost().await), (Side::Peer, CloseKind::Eof));
    }
    world.stop().await;
}
