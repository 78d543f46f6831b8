//! `t.spawn`: futures beside a connection, which end with it.

use netframe_core::{CloseKind, Side};

use crate::probe::{Probe, done, why};
use crate::world::{Gate, Net, World};

on_every_transport! {
    a_panic_in_it_ends_the_connection,
    a_panic_in_it_ends_a_pending_handler,
    many_finished_ones_do_no_harm,
}

on_transports_with_reset! {
    a_spawned_future_runs_beside_the_callbacks,
    it_is_cancelled_with_the_connection,
}

async fn a_spawned_future_runs_beside_the_callbacks(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let door = gate.clone();
    let probe = probe.on_made(move |t| {
        let (handle, door) = (t.handle(), door.clone());
        t.spawn(async move {
            door.pass().await;
            handle.write("from beside").await.unwrap();
        });
        Box::pin(std::future::pending()) // even beside one that waits
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    gate.open();
    assert_eq!(client.receive(11).await, b"from beside");
    client.reset();
    seen.lost().await;
    world.stop().await;
}

async fn it_is_cancelled_with_the_connection(net: Net) {
    let (probe, mut seen) = Probe::new();
    let log = probe.log();
    let probe = probe.on_made(move |t| {
        for _ in 0..3 {
            let guard = log.on_drop("cancelled");
            t.spawn(async move {
                let _guard = guard;
                std::future::pending().await
            });
        }
        done(())
    });
    let world = World::start(net, probe).await;
    for end in ["fin", "reset", "abort"] {
        let mut client = world.connect().await;
        let handle = seen.made().await;
        match end {
            "fin" => client.half_close().await,
            "reset" => client.reset(),
            _ => handle.abort(),
        }
        let mut events = Vec::new();
        while events.iter().filter(|event| *event == "cancelled").count() < 3 {
            events.push(seen.next().await.to_string());
        }
        handle.closed().await;
        seen.rest();
    }
    world.stop().await;
}

async fn a_panic_in_it_ends_the_connection(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| {
        t.spawn(async {
            tokio::task::yield_now().await;
            panic!("beside");
        });
        done(())
    });
    let world = World::start(net, probe).await;
    let client = world.dialer().connect().await;
    let reason = seen.lost().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Panic));
    assert_eq!(reason.source().unwrap().to_string(), "beside");
    drop(client);
    world.stop().await;
}

async fn a_panic_in_it_ends_a_pending_handler(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (gate, log) = (Gate::new(), probe.log());
    let door = gate.clone();
    let probe = probe.on_data(move |t, _| {
        let (door, log) = (door.clone(), log.clone());
        t.spawn(async move {
            door.pass().await;
            panic!("beside");
        });
        Box::pin(async move {
            let _guard = log.on_drop("handler dropped");
            std::future::pending().await
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("x").await;
    seen.expect("data x").await;
    gate.open();
    seen.expect("handler dropped").await;
    seen.expect("lost panic by local").await;
    client.receive_reset().await;
    world.stop().await;
}

async fn many_finished_ones_do_no_harm(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        for byte in data.split() {
            let handle = t.handle();
            t.spawn(async move { handle.write(vec![byte]).await.unwrap() });
        }
        done(())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    for _ in 0..100 {
        client.send([7; 20]).await;
        assert_eq!(client.receive(20).await, [7; 20]);
    }
    drop(client);
    seen.lost().await;
    world.stop().await;
}
