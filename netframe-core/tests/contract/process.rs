//! Rule 11: netframe never owns the process, and nothing panics when it is dropped.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};

use netframe_core::{Client, CloseKind, Side};

use crate::probe::{Probe, echo, why};
use crate::world::{Net, World, within};

on_every_transport! {
    rule11_servers_live_side_by_side,
}

async fn rule11_servers_live_side_by_side(net: Net) {
    let mut worlds = Vec::new();
    for _ in 0..10 {
        worlds.push(World::start(net, echo).await);
    }
    for world in &worlds {
        world.connect().await.ping(b"ping").await;
    }
    for world in worlds {
        world.stop().await;
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn rule11_everything_can_be_dropped_outside_of_its_runtime() {
    for net in [Net::Tcp, Net::Unix, Net::Mem] {
        let runtime = runtime();
        let (probe, mut seen) = Probe::new();
        let (world, mut client, handle) = runtime.block_on(within(async {
            let world = World::start(net, probe).await;
            let client = world.connect().await;
            let handle = seen.made().await;
            (world, client, handle)
        }));
        drop(world);
        let reason = runtime.block_on(within(handle.closed()));
        assert_eq!(why(&reason), (Side::System, CloseKind::Shutdown));
        runtime.block_on(within(client.receive_reset()));
    }
}

#[test]
fn rule11_a_runtime_that_ends_first_ends_its_connections() {
    for net in [Net::Tcp, Net::Unix, Net::Mem] {
        let (ours, other) = (runtime(), runtime());
        let (probe, mut seen) = Probe::new();
        let log = probe.log();
        let probe = probe.on_data(move |t, _| {
            let (handle, log) = (t.handle(), log.clone());
            let late = t.handle();
            t.spawn(async move {
                let _guard = Calls(late);
                std::future::pending().await
            });
            Box::pin(async move {
                let _guard = log.on_drop("handler dropped");
                handle.peer_eof().await;
                Ok(())
            })
        });
        let (world, handle) = ours.block_on(within(async {
            let world = World::start(net, probe).await;
            let dialer = world.dialer();
            let mut client =
                other.spawn(async move { dialer.connect().await }).await.unwrap().unwrap();
            let handle = seen.made().await;
            client.send("x").await;
            seen.expect("data x").await;
            other.spawn(async move { client.read_to_end(&mut Vec::new()).await });
            (world, handle)
        }));
        drop(ours);
        other.block_on(within(async {
            seen.expect("handler dropped").await;
            seen.expect("lost aborted by local").await;
            assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Aborted));
        }));
        handle.notify();
        handle.close();
        handle.abort();
        assert!(handle.try_write("x").unwrap_err().is_closed());
        assert_eq!(world.stats().live, 0);
        drop(world);
    }
}

/// Calls its connection as it is dropped: no lock may be held then.
struct Calls(netframe_core::Handle);

impl Drop for Calls {
    fn drop(&mut self) {
        self.0.notify();
        let _ = self.0.try_write("too late");
    }
}

#[test]
fn rule11_a_client_can_be_dropped_outside_of_its_runtime() {
    let runtime = runtime();
    let (probe, mut seen) = Probe::new();
    let client = runtime.block_on(within(async {
        let (peer, ours) = tokio::io::duplex(64);
        let client = Client::builder(probe).adopt(ours).unwrap();
        seen.made().await;
        drop(peer);
        client
    }));
    runtime.shutdown_timeout(Duration::from_secs(30));
    drop(client);
}
