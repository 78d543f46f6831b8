//! Sessions: what the rules mean for a protocol that runs once for each peer of a datagram socket.

use netframe_core::bytes::Bytes;
use netframe_core::{CloseKind, ConnectionInfo, Limits, Residue, Side, factory_fn};

use crate::gram::{Gram, GramWorld};
use crate::probe::{Echo, Probe, done, echo, fail, why};
use crate::world::{Gate, limits, pattern, until};

on_every_datagram_transport! {
    rule1_made_then_data_then_lost_once_and_last,
    rule1_one_datagram_is_one_delivery,
    rule1_an_empty_datagram_is_delivered,
    rule1_what_is_left_over_is_dropped_and_counted,
    rule1_at_most_sixteen_wait_while_a_handler_is_pending,
    rule1_at_most_sixteen_wait_while_reading_is_paused,
    rule1_peers_do_not_wait_for_each_other,
    rule2_an_error_ends_that_session_only,
    rule2_a_panic_ends_that_session_only,
    rule2_a_refused_peer_may_try_again,
    rule3_close_flushes_and_ends_at_once,
    rule3_after_a_close_the_peer_gets_a_new_session,
    rule6_queued_datagrams_count_more_than_their_bytes,
    rule7_what_a_handler_writes_is_one_datagram,
    rule7_drain_ends_a_datagram_early,
    rule7_an_empty_write_alone_is_an_empty_datagram,
    rule7_a_handles_write_is_a_datagram_of_its_own,
    rule7_a_datagram_of_the_greatest_length_passes,
    rule7_one_that_is_too_long_is_an_error,
    rule8_bytes_are_counted,
    rule9_sessions_are_drained,
    rule9_datagrams_that_wait_unread_are_answered,
    rule9_nobody_gets_a_session_while_draining,
    rule12_the_first_that_sent_only_once_makes_room,
    rule12_those_that_sent_twice_stay,
    rule12_permits_are_shared_with_streams,
    rule13_a_switch_takes_the_session_over,
    rule13_a_protocol_that_does_not_fit_takes_nothing_over,
}

async fn rule1_made_then_data_then_lost_once_and_last(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(b"one").await;
    peer.send(b"two").await;
    let handle = events.made().await;
    events.expect("data one").await;
    events.expect("data two").await;
    handle.close();
    events.expect("lost closed by local").await;
    assert_eq!(events.rest(), [""; 0]);
}

async fn rule1_one_datagram_is_one_delivery(gram: Gram) {
    let world = GramWorld::start(gram, echo).await;
    let peer = world.peer().await;
    for len in [1, 2, 100, 1_000, 9_000, 40_000] {
        let bytes = pattern(len);
        peer.send(&bytes).await;
        assert_eq!(peer.receive().await, bytes);
    }
    assert_eq!(world.server.stats().live, 1);
}

async fn rule1_an_empty_datagram_is_delivered(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(b"").await;
    peer.send(b"x").await;
    events.made().await;
    events.expect("data ").await;
    events.expect("data x").await;
}

async fn rule1_what_is_left_over_is_dropped_and_counted(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|_, data| done(drop(data.split_to(1))));
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(b"one").await;
    peer.send(b"2").await;
    events.made().await;
    events.expect("data one").await;
    events.expect("data 2").await;
    until(|| world.server.stats().datagrams.leftover == 1).await;
}

async fn rule1_at_most_sixteen_wait_while_a_handler_is_pending(gram: Gram) {
    let gate = Gate::new();
    let (probe, mut events) = Probe::new();
    let (pass, log) = (gate.clone(), probe.log());
    let probe = probe.on_data(move |_, data| {
        data.clear();
        let (pass, log) = (pass.clone(), log.clone());
        Box::pin(async move {
            tokio::task::yield_now().await; // from here on it is known to wait
            log.note("waits");
            done(pass.pass().await).await
        })
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(b"0").await;
    events.made().await;
    events.expect("data 0").await;
    events.expect("waits").await;
    for i in 1..=20 {
        peer.send(i.to_string().as_bytes()).await;
    }
    until(|| world.server.stats().datagrams.waiting == 4).await;
    for _ in 0..=16 {
        gate.open();
    }
    for i in 1..=16 {
        events.expect(&format!("data {i}")).await;
        events.expect("waits").await;
    }
    gate.open();
    peer.send(b"more").await;
    events.expect("data more").await;
}

async fn rule1_at_most_sixteen_wait_while_reading_is_paused(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let log = probe.log();
    let probe = probe
        .on_data(move |t, data| {
            if data[..] == *b"pause" {
                t.pause_reading();
                log.note("paused");
            }
            done(data.clear())
        })
        .on_notified(|t| done(t.resume_reading()));
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(b"pause").await;
    let handle = events.made().await;
    events.expect("data pause").await;
    events.expect("paused").await;
    for i in 1..=20 {
        peer.send(i.to_string().as_bytes()).await;
    }
    until(|| world.server.stats().datagrams.waiting == 4).await;
    assert_eq!(events.rest(), [""; 0]);
    handle.notify();
    events.expect("notified").await;
    for i in 1..=16 {
        events.expect(&format!("data {i}")).await;
    }
}

async fn rule1_peers_do_not_wait_for_each_other(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        if data[..] == *b"hang" {
            return Box::pin(std::future::pending());
        }
        t.write(data);
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let (hangs, lives) = (world.peer().await, world.peer().await);
    hangs.send(b"hang").await;
    events.made().await;
    events.expect("data hang").await;
    lives.send(b"ping").await;
    assert_eq!(lives.receive().await, b"ping");
}

async fn rule2_an_error_ends_that_session_only(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        if data[..] == *b"bad" {
            t.write(b"last words");
            return fail("no good");
        }
        t.write(data);
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let (bad, good) = (world.peer().await, world.peer().await);
    good.ping(b"1").await;
    bad.send(b"good").await;
    bad.receive().await;
    bad.send(b"bad").await;
    assert_eq!(bad.receive().await, b"last words", "an error flushes");
    assert_eq!(why(&events.lost().await), (Side::Local, CloseKind::Error));
    good.ping(b"2").await;
}

async fn rule2_a_panic_ends_that_session_only(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        assert_ne!(data[..], *b"bad", "on purpose");
        t.write(data);
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let (bad, good) = (world.peer().await, world.peer().await);
    good.ping(b"1").await;
    bad.send(b"bad").await;
    assert_eq!(why(&events.lost().await), (Side::Local, CloseKind::Panic));
    good.ping(b"2").await;
    bad.ping(b"again").await; // it may come back, to a new session
}

async fn rule2_a_refused_peer_may_try_again(gram: Gram) {
    let open = Gate::new();
    let door = open.clone();
    let factory = factory_fn(move |_: &ConnectionInfo| door.try_pass().then_some(Echo));
    let world = GramWorld::start(gram, factory).await;
    let peer = world.peer().await;
    peer.send(b"1").await;
    until(|| world.server.stats().refused == 1).await;
    open.open();
    peer.ping(b"2").await;
}

async fn rule3_close_flushes_and_ends_at_once(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|t, _| {
        t.write(b"bye");
        t.close();
        t.write(b"too late");
        done(())
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(b"hello").await;
    assert_eq!(peer.receive().await, b"bye");
    let reason = events.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Closed));
    assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (3, 8));
    until(|| world.server.stats().live == 0).await;
}

async fn rule3_after_a_close_the_peer_gets_a_new_session(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(data);
        done(t.close())
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    for _ in 0..3 {
        peer.ping(b"x").await;
        events.made().await;
        events.expect("data x").await;
        events.expect("lost closed by local").await;
    }
    assert_eq!(world.server.stats().accepted, 3);
}

async fn rule6_queued_datagrams_count_more_than_their_bytes(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let world = GramWorld::start(
        gram,
        probe.on_data(|t, data| {
            let handle = t.handle();
            Box::pin(async move {
                // Nothing leaves before this handler waits.
                let mut count = 0;
                while handle.try_write(Bytes::new()).is_ok() {
                    count += 1;
                }
                assert!((500..2_000).contains(&count), "{count}");
                done(data.clear()).await
            })
        }),
    )
    .await;
    let peer = world.peer().await;
    peer.send(b"1").await;
    events.made().await;
    events.expect("data 1").await;
}

async fn rule7_what_a_handler_writes_is_one_datagram(gram: Gram) {
    let (probe, _events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(b"one ");
        t.write_bytes(Bytes::from_static(b"two "));
        t.with_buffer(&mut |buffer| buffer.extend_from_slice(b"three "));
        t.write_bytes(Bytes::from(vec![b'x'; 20_000]));
        t.write(b" four");
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.prove().await;
    let want = [&b"one two three "[..], &[b'x'; 20_000], b" four"].concat();
    assert_eq!(peer.receive().await, want);
    assert_eq!(peer.receive().await, want);
}

async fn rule7_drain_ends_a_datagram_early(gram: Gram) {
    let (probe, _events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        Box::pin(async move {
            data.clear();
            for part in [&b"one"[..], b"two", b"three"] {
                t.write(part);
                t.drain().await?;
            }
            t.write(b"four");
            Ok(())
        })
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(&[7; 100]).await;
    for part in [&b"one"[..], b"two", b"three", b"four"] {
        assert_eq!(peer.receive().await, part);
    }
}

async fn rule7_an_empty_write_alone_is_an_empty_datagram(gram: Gram) {
    let (probe, _events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(b"");
        t.write(data);
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    for datagram in [&b"x"[..], b"", b"y"] {
        peer.ping(datagram).await;
    }
}

async fn rule7_a_handles_write_is_a_datagram_of_its_own(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.prove().await;
    let handle = events.made().await;
    for part in [&b"one"[..], b"", b"three"] {
        handle.try_write(Bytes::copy_from_slice(part)).unwrap();
    }
    for part in [&b"one"[..], b"", b"three"] {
        assert_eq!(peer.receive().await, part);
    }
    let refused = handle.try_write(vec![0; 100_000]).unwrap_err();
    assert!(refused.is_closed());
    assert!(refused.to_string().starts_with("a datagram of 100000 bytes is too long; the most is"));
}

async fn rule7_a_datagram_of_the_greatest_length_passes(gram: Gram) {
    let world = GramWorld::start(gram, echo).await;
    let peer = world.peer().await;
    peer.ping(&pattern(gram.max_len())).await;
}

async fn rule7_one_that_is_too_long_is_an_error(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(move |t, data| {
        t.write(&vec![0; gram.max_len() + 1]);
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(b"x").await;
    let reason = events.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Error));
    let max = gram.max_len();
    assert_eq!(
        reason.source().unwrap().to_string(),
        format!("a datagram of {} bytes is too long; the most is {max}", max + 1)
    );
    assert_eq!(reason.bytes_unsent(), max as u64 + 1);
}

async fn rule8_bytes_are_counted(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(data);
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.ping(b"12345").await;
    peer.ping(b"").await;
    peer.ping(b"678").await;
    let handle = events.made().await;
    handle.close();
    let reason = events.lost().await;
    let bytes = (reason.bytes_in(), reason.bytes_out(), reason.bytes_unsent());
    assert_eq!(bytes, (8, 8, 0));
}

async fn rule9_sessions_are_drained(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let world = GramWorld::start(gram, probe).await;
    for _ in 0..10 {
        let peer = world.peer().await;
        peer.send(b"x").await;
        events.made().await;
        events.expect("data x").await;
    }
    let report = world.stop().await;
    assert_eq!(report.drained, 10);
    for _ in 0..10 {
        assert_eq!(why(&events.lost().await), (Side::System, CloseKind::Shutdown));
    }
}

async fn rule9_datagrams_that_wait_unread_are_answered(gram: Gram) {
    let world = GramWorld::start(gram, echo).await;
    let peer = world.peer().await;
    peer.send_unseen(b"question");
    world.stop().await;
    assert_eq!(peer.receive().await, b"question");
}

async fn rule9_nobody_gets_a_session_while_draining(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_draining(|t| done(t.write(b"going"))).on_data(|t, data| {
        if data[..] == *b"end" {
            t.write(b"bye");
            t.close();
        }
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let (old, new) = (world.peer().await, world.peer().await);
    old.prove().await;
    events.made().await;
    events.expect("data 1").await;
    events.expect("data 2").await;
    let stop = tokio::spawn(world.stop());
    assert_eq!(old.receive().await, b"going");
    new.send(b"too late").await;
    old.send(b"still there?").await;
    old.send(b"end").await;
    assert_eq!(old.receive().await, b"bye", "a session is served while it drains");
    assert_eq!(stop.await.unwrap().drained, 1);
    assert_eq!(
        events.rest(),
        ["draining", "data still there?", "data end", "lost closed by local"]
    );
}

/// Room for two sessions.
fn two() -> Limits {
    limits(|limits| limits.max_connections = 2)
}

async fn rule12_the_first_that_sent_only_once_makes_room(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let world = GramWorld::with_limits(gram, two(), probe).await;
    let [first, second, third] = [world.peer().await, world.peer().await, world.peer().await];
    first.send(b"first").await;
    events.made().await;
    events.expect("data first").await;
    second.send(b"second").await;
    events.made().await;
    events.expect("data second").await;
    third.send(b"third").await;
    let reason = events.lost().await;
    assert_eq!(why(&reason), (Side::System, CloseKind::Limit));
    events.made().await;
    events.expect("data third").await;
    let stats = world.server.stats();
    assert_eq!((stats.live, stats.datagrams.evicted, stats.datagrams.no_room), (2, 1, 0));
    second.send(b"still").await;
    events.expect("data still").await;
}

async fn rule12_those_that_sent_twice_stay(gram: Gram) {
    let world = GramWorld::with_limits(gram, two(), echo).await;
    let [first, second, third] = [world.peer().await, world.peer().await, world.peer().await];
    for peer in [&first, &second] {
        peer.ping(b"1").await;
        peer.ping(b"2").await;
    }
    third.send(b"x").await;
    until(|| world.server.stats().datagrams.no_room == 1).await;
    first.ping(b"3").await;
    second.ping(b"3").await;
    let stats = world.server.stats();
    assert_eq!((stats.live, stats.accepted, stats.datagrams.evicted), (2, 2, 0));
}

async fn rule12_permits_are_shared_with_streams(gram: Gram) {
    let limits = limits(|limits| limits.max_connections = 1);
    let world = GramWorld::with_limits(gram, limits, echo).await;
    let [first, second] = [world.peer().await, world.peer().await];
    first.ping(b"1").await;
    first.ping(b"2").await;
    second.send(b"x").await;
    until(|| world.server.stats().datagrams.no_room == 1).await;
    assert_eq!(world.server.stats().live, 1);
}

async fn rule13_a_switch_takes_the_session_over(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        t.write(b"switching");
        t.switch_to(Echo, Residue::Feed);
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    let peer = world.peer().await;
    peer.send(b"something").await;
    assert_eq!(peer.receive().await, b"switching");
    assert_eq!(events.lost().await.kind(), CloseKind::Switched);
    peer.ping(b"hello").await;
    peer.ping(b"").await;
    assert_eq!(world.server.stats().live, 1);
}

async fn rule13_a_protocol_that_does_not_fit_takes_nothing_over(gram: Gram) {
    let (probe, mut events) = Probe::new();
    let probe = probe.on_data(|t, data| {
        let stream = netframe_core::stream_fn(|_| async { Ok(()) });
        t.switch(std::sync::Arc::new(stream), Residue::Discard);
        done(data.clear())
    });
    let world = GramWorld::start(gram, probe).await;
    world.peer().await.send(b"x").await;
    let handle = events.made().await;
    assert_eq!(events.lost().await.kind(), CloseKind::Switched);
    let reason = handle.closed().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Error));
    let text = "the next protocol needs a stream, not datagrams";
    assert_eq!(reason.source().unwrap().to_string(), text);
}
