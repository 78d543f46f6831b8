//! [`Handle`](netframe_core::Handle): a connection for other tasks and threads.

use netframe_core::bytes::Bytes;
use netframe_core::{CloseKind, Side};

use crate::probe::{Probe, done, why};
use crate::world::{Gate, Net, World, pattern};

on_every_transport! {
    writes_from_other_tasks_arrive_in_order,
    writes_from_another_thread_arrive_in_order,
    a_write_within_with_buffer_is_not_lost,
    notifications_count_as_one_until_they_are_delivered,
    notify_during_a_callback_is_not_lost,
    close_write_ends_the_sending_side_while_a_handler_is_pending,
    close_ends_an_idle_connection,
    abort_ends_an_idle_connection,
    peer_eof_is_seen_while_a_handler_is_pending,
    peer_eof_is_seen_while_reading_is_paused,
    peer_eof_is_ready_when_the_connection_ends,
    what_was_read_ahead_is_delivered_in_order,
    a_dropped_wait_leaves_nothing_behind,
    a_handle_does_not_keep_the_connection_open,
}

async fn writes_from_other_tasks_arrive_in_order(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    let sent = pattern(2 << 20);
    let writer = {
        let (handle, mut rest) = (handle.clone(), Bytes::from(sent.clone()));
        tokio::spawn(async move {
            for len in (1..).map(|n: usize| n * 4999 % 60_000 + 1) {
                handle.write(rest.split_to(len.min(rest.len()))).await.unwrap();
                if rest.is_empty() {
                    return handle.close();
                }
            }
        })
    };
    assert!(client.receive_all().await == sent);
    writer.await.unwrap();
    drop(client);
    assert_eq!(seen.lost().await.bytes_unsent(), 0);
    world.stop().await;
}

async fn writes_from_another_thread_arrive_in_order(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    let writer = std::thread::spawn(move || {
        for n in 0..10_000_u32 {
            let mut data = Bytes::copy_from_slice(&n.to_be_bytes());
            while let Err(refused) = handle.try_write(data) {
                assert!(!refused.is_closed());
                data = refused.into_data();
                std::thread::yield_now();
            }
        }
        handle.close();
    });
    let got = client.receive_all().await;
    assert!(got.chunks(4).map(|n| u32::from_be_bytes(n.try_into().unwrap())).eq(0..10_000));
    writer.join().unwrap();
    drop(client);
    world.stop().await;
}

async fn a_write_within_with_buffer_is_not_lost(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        data.clear();
        let handle = t.handle();
        t.write(b"one ");
        t.with_buffer(&mut |buffer| {
            handle.try_write("three").unwrap(); // as another thread may do at any time
            buffer.extend_from_slice(b"two ");
        });
        done(t.close())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("go").await;
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"one threetwo ", "queued when it returns");
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Closed));
    world.stop().await;
}

async fn notifications_count_as_one_until_they_are_delivered(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let door = gate.clone();
    let probe = probe.on_notified(move |_| {
        let door = door.clone();
        Box::pin(async move {
            door.pass().await;
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let client = world.connect().await;
    let handle = seen.made().await;
    handle.notify();
    seen.expect("notified").await;
    handle.notify();
    handle.notify();
    gate.open();
    seen.expect("notified").await;
    gate.open();
    drop(client);
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn notify_during_a_callback_is_not_lost(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.handle().notify();
        done(())
    });
    let world = World::start(net, probe).await;
    for _ in 0..100 {
        let client = world.connect().await;
        seen.made().await;
        seen.expect("notified").await;
        drop(client);
        seen.lost().await;
    }
    world.stop().await;
}

async fn close_write_ends_the_sending_side_while_a_handler_is_pending(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let door = gate.clone();
    let probe = probe.on_data(move |_, data| {
        let door = door.clone();
        data.clear();
        Box::pin(async move { Ok(door.pass().await) })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("one").await;
    seen.expect("data one").await;
    handle.write("all I have to say").await.unwrap();
    handle.close_write();
    assert_eq!(client.receive_all().await, b"all I have to say");
    gate.open();
    client.send("two").await;
    seen.expect("data two").await;
    gate.open();
    client.half_close().await;
    seen.until_lost().await;
    world.stop().await;
}

async fn close_ends_an_idle_connection(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    handle.try_write("goodbye").unwrap();
    handle.close();
    assert_eq!(client.receive_all().await, b"goodbye");
    drop(client);
    assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Closed));
    world.stop().await;
}

async fn abort_ends_an_idle_connection(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    handle.abort();
    assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Aborted));
    client.receive_reset().await;
    seen.expect("lost aborted by local").await;
    world.stop().await;
}

async fn peer_eof_is_seen_while_a_handler_is_pending(net: Net) {
    let (probe, mut seen) = Probe::new();
    // The handler itself asks: the pattern of a long poll.
    let probe = probe.on_data(|t, data| {
        let handle = t.handle();
        Box::pin(async move {
            data.clear();
            handle.peer_eof().await;
            t.write(b"you have gone");
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    for sent_late in ["", "unread"] {
        let mut client = world.connect().await;
        seen.made().await;
        client.send("x").await;
        seen.expect("data x").await;
        client.send(sent_late).await;
        client.half_close().await;
        assert_eq!(client.receive_all().await[..13], b"you have gone"[..]);
        seen.lost().await;
    }
    world.stop().await;
}

async fn peer_eof_is_seen_while_reading_is_paused(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe =
        probe.on_made(|t| done(t.pause_reading())).on_notified(|t| done(t.resume_reading()));
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("kept").await;
    client.half_close().await;
    handle.peer_eof().await;
    assert_eq!(seen.rest(), [""; 0], "nothing is delivered meanwhile");
    handle.notify();
    for event in ["notified", "data kept", "eof ", "lost eof by peer"] {
        seen.expect(event).await;
    }
    world.stop().await;
}

async fn peer_eof_is_ready_when_the_connection_ends(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let _client = world.connect().await;
    let handle = seen.made().await;
    let waiting = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.peer_eof().await })
    };
    tokio::task::yield_now().await;
    handle.abort();
    waiting.await.unwrap();
    handle.peer_eof().await;
    seen.lost().await;
    world.stop().await;
}

async fn what_was_read_ahead_is_delivered_in_order(net: Net) {
    use std::sync::{Arc, Mutex};

    let (all, gate) = (Arc::new(Mutex::new(Vec::new())), Gate::new());
    let (probe, mut seen) = Probe::new();
    let (kept, door) = (Arc::clone(&all), gate.clone());
    let probe = probe
        .on_made(move |_| {
            let door = door.clone();
            Box::pin(async move {
                door.pass().await;
                Ok(())
            })
        })
        .on_data(move |_, data| {
            let len = data.len() / 2 + 1; // a leftover each time
            kept.lock().unwrap().extend_from_slice(&data.split_to(len.min(data.len())));
            done(())
        })
        .on_eof({
            let kept = Arc::clone(&all);
            move |t, data| {
                kept.lock().unwrap().extend_from_slice(data);
                done(t.close())
            }
        });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    let watching = tokio::spawn(async move { handle.peer_eof().await });
    let sent = pattern(300_000);
    client.send(&sent[..50_000]).await;
    world.until(|stats| stats.bytes_in == 50_000).await;
    gate.open();
    client.send(&sent[50_000..]).await;
    client.half_close().await;
    watching.await.unwrap();
    seen.lost().await;
    assert!(*all.lock().unwrap() == sent);
    world.stop().await;
}

async fn a_dropped_wait_leaves_nothing_behind(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let client = world.connect().await;
    let handle = seen.made().await;
    for _ in 0..1000 {
        tokio::select! {
            biased;
            _ = handle.closed() => unreachable!(),
            () = handle.peer_eof() => unreachable!(),
            () = std::future::ready(()) => {}
        }
    }
    drop(client);
    handle.closed().await;
    world.stop().await;
}

async fn a_handle_does_not_keep_the_connection_open(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let _handle = seen.made().await;
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"");
    seen.lost().await;
    world.stop().await;
}
