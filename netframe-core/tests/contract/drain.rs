//! Rule 9: stop accepting, ask, wait, abort the rest, report.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use netframe_core::transport::mem::MemNetwork;
use netframe_core::{CloseKind, Limits, Server, Side};

use crate::probe::{Probe, done, echo, why};
use crate::world::{Dialer, Gate, Net, World, pattern};

on_every_transport! {
    rule9_idle_connections_are_ended_though_their_peers_stay,
    rule9_business_under_way_is_finished,
    rule9_an_answer_that_is_being_read_arrives_whole,
    rule9_a_request_that_waits_unread_is_answered,
    rule9_the_accept_queue_is_emptied,
    rule9_nothing_is_accepted_while_draining,
    rule9_a_protocol_may_say_goodbye,
    rule9_the_rest_is_aborted_at_the_deadline,
    rule9_dropping_a_server_aborts,
    rule9_dropping_a_server_that_accepts_leaves_no_connection,
    rule9_dropping_a_shutdown_aborts,
    rule9_run_until_drains_when_the_signal_comes,
    rule9_servers_start_and_stop_many_times,
}

on_paused_clock! {
    rule9_an_idle_server_stops_within_200_ms,
    rule9_the_deadline_is_kept,
    rule9_the_report_tells_how_many_ended_how,
}

const LONG: Duration = Duration::from_secs(30);

async fn rule9_idle_connections_are_ended_though_their_peers_stay(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(world.connect().await);
        seen.made().await;
    }
    assert_eq!(world.stop().await.drained, 100);
    for client in &mut clients {
        assert_eq!(client.receive_all().await, b"");
        let (_, reason) = seen.until_lost().await;
        assert_eq!(why(&reason), (Side::System, CloseKind::Shutdown));
    }
}

async fn rule9_an_idle_server_stops_within_200_ms(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(world.connect().await);
        seen.made().await;
    }
    let started = Instant::now();
    assert_eq!(world.stop().await.drained, 1000);
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
}

async fn rule9_business_under_way_is_finished(net: Net) {
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
    seen.expect("data question").await;
    let idle = world.connect().await;
    seen.made().await;
    let stopping = tokio::spawn(world.stop());
    seen.expect("draining").await; // the idle one is asked, and the other waits its turn
    seen.expect("lost shutdown by system").await;
    drop(idle);
    gate.open();
    assert_eq!(client.receive_all().await, b"answer");
    drop(client); // a peer that stays would be waited for until the close timeout
    assert_eq!(stopping.await.unwrap().drained, 2);
    seen.expect("draining").await;
    assert_eq!(why(&handle.closed().await), (Side::System, CloseKind::Shutdown));
}

async fn rule9_an_answer_that_is_being_read_arrives_whole(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        data.clear();
        t.write_bytes(pattern(8 << 20).into());
        done(())
    });
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    client.send("question").await;
    let mut answer = client.receive(100_000).await;
    let stopping = tokio::spawn(world.stop());
    answer.extend(client.receive_all().await);
    assert!(answer == pattern(8 << 20));
    drop(client);
    assert_eq!(stopping.await.unwrap().drained, 1);
    assert_eq!(seen.lost().await.bytes_unsent(), 0);
}

async fn rule9_a_request_that_waits_unread_is_answered(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let door = gate.clone();
    let probe = probe.on_data(move |t, data| {
        let door = door.clone();
        Box::pin(async move {
            t.write(&data.split());
            door.pass().await;
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.ping(b"first").await;
    client.send(b"second").await; // while the first is being handled
    let stopping = tokio::spawn(world.stop());
    gate.open();
    gate.open();
    assert_eq!(client.receive_all().await, b"second");
    drop(client);
    assert_eq!(stopping.await.unwrap().drained, 1);
    seen.lost().await;
}

async fn rule9_the_accept_queue_is_emptied(net: Net) {
    for _ in 0..10 {
        let world = World::start(net, echo).await;
        let dialer = world.dialer();
        let mut clients = tokio::task::JoinSet::new();
        for n in 0..20_u8 {
            let mut client = dialer.connect_unseen(&[n; 100]).await;
            clients.spawn(async move { assert_eq!(client.receive_all().await, [n; 100]) });
        }
        world.stop().await;
        while let Some(served) = clients.join_next().await {
            served.unwrap();
        }
    }
}

async fn rule9_nothing_is_accepted_while_draining(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let door = gate.clone();
    let probe = probe.on_draining(move |t| {
        let door = door.clone();
        Box::pin(async move {
            door.pass().await;
            t.close();
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let dialer = world.dialer();
    let client = world.connect().await;
    let stopping = tokio::spawn(world.stop());
    seen.expect("made").await;
    seen.expect("draining").await;
    let refused = dialer.connect().await.err().unwrap();
    assert_eq!(refused.kind(), net.refusal());
    gate.open();
    drop(client);
    assert_eq!(stopping.await.unwrap().drained, 1);
}

async fn rule9_a_protocol_may_say_goodbye(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_draining(|t| {
        t.write(b"goodbye");
        done(t.close())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    let stopping = tokio::spawn(world.stop());
    assert_eq!(client.receive_all().await, b"goodbye");
    drop(client);
    assert_eq!(stopping.await.unwrap().drained, 1);
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Closed));
}

async fn rule9_the_rest_is_aborted_at_the_deadline(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_draining(|_| done(())); // it does not want to end
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    let report = world.server.shutdown(Duration::from_millis(1)).await;
    assert_eq!((report.drained, report.aborted), (0, 1));
    client.receive_reset().await;
    assert_eq!(why(&seen.lost().await), (Side::System, CloseKind::Shutdown));
}

async fn rule9_the_deadline_is_kept(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe.on_draining(|_| done(()))).await;
    let client = world.connect().await;
    seen.made().await;
    let started = Instant::now();
    let report = world.server.shutdown(Duration::from_secs(10)).await;
    assert_eq!((report.drained, report.aborted), (0, 1));
    let took = started.elapsed().as_secs_f32();
    assert!((10.0..10.1).contains(&took), "{took}");
    drop(client);
}

async fn rule9_the_report_tells_how_many_ended_how(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|_, _| Box::pin(std::future::pending()));
    let world = World::start(net, probe).await;
    let mut clients = Vec::new();
    for n in 0..10 {
        let mut client = world.connect().await;
        seen.made().await;
        if n < 3 {
            client.send("x").await;
            seen.expect("data x").await;
        }
        clients.push(client);
    }
    let report = world.server.shutdown(Duration::from_secs(1)).await;
    assert_eq!((report.drained, report.aborted), (7, 3));
    assert_eq!(report.to_string(), "7 drained, 3 aborted");
}

async fn rule9_dropping_a_server_aborts(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe).await;
    let dialer = world.dialer();
    let mut client = world.connect().await;
    seen.made().await;
    drop(world);
    client.receive_reset().await;
    assert_eq!(why(&seen.lost().await), (Side::System, CloseKind::Shutdown));
    while dialer.connect().await.is_ok() {}
}

async fn rule9_dropping_a_server_that_accepts_leaves_no_connection(net: Net) {
    for _ in 0..50 {
        let world = World::start(net, echo).await;
        let mut connecting = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let dialer = world.dialer();
            connecting.spawn(async move { dialer.connect().await });
        }
        world.until(|stats| stats.live >= 4).await; // the others are on their way
        drop(world);
        for mut client in connecting.join_all().await.into_iter().flatten() {
            // Accepted or not, what connected must come to an end. Linux does not always reset a
            // connection whose handshake meets the end of its listener; then a write is answered
            // with the reset.
            let _ = client.write_all(b"x").await;
            let _ = client.read_to_end(&mut Vec::new()).await;
        }
    }
}

async fn rule9_dropping_a_shutdown_aborts(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe.on_draining(|_| done(()))).await;
    let mut client = world.connect().await;
    seen.made().await;
    let stopping = tokio::spawn(world.stop());
    seen.expect("draining").await;
    stopping.abort();
    client.receive_reset().await;
    assert_eq!(why(&seen.lost().await), (Side::System, CloseKind::Shutdown));
}

async fn rule9_run_until_drains_when_the_signal_comes(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let signal = gate.clone();
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    let running = tokio::spawn(world.server.run_until(async move { signal.pass().await }));
    gate.open();
    assert_eq!(client.receive_all().await, b"");
    let report = running.await.unwrap();
    assert_eq!((report.drained, report.aborted), (1, 0));
    assert!(report.failure.is_none());
}

async fn rule9_servers_start_and_stop_many_times(net: Net) {
    let network = MemNetwork::new();
    let mut endpoint = net.endpoint("again");
    for _ in 0..100 {
        let server = Server::builder(echo).network(network.clone());
        let server = server.listen(endpoint).unwrap().bind().await.unwrap();
        endpoint = server.endpoint().clone(); // the same port again
        let mut client = Dialer::new(network.clone(), endpoint.clone()).connect().await.unwrap();
        client.ping(b"ping").await;
        let (report, ()) = tokio::join!(server.shutdown(LONG), async {
            assert_eq!(client.receive_all().await, b"");
            drop(client);
        });
        assert_eq!((report.drained, report.aborted), (1, 0));
    }
}
