//! The end of servers: a drain while connections come, talk and close, and many starts and stops.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{Client, ConnectionInfo, Io};

use crate::echo::Echo;
use crate::{SEEDS, serve};

#[test]
fn a_drain_races_with_everything() {
    sim::seeds(SEEDS, races_with_everything);
}

#[test]
fn a_name_is_free_again_after_every_stop() {
    sim::seeds(SEEDS, again_and_again);
}

pub(crate) async fn races_with_everything(net: SimNetwork) {
    let mut rng = net.rng();
    net.set_conditions(if rng.bool() { Conditions::hostile() } else { Conditions::rough() });
    let server = serve(&net, "server", |_: &ConnectionInfo| Echo).await;
    let mut peers = Vec::new();
    for number in 0..10 {
        let net = net.host(&format!("peer{number}"));
        peers.push(tokio::spawn(async move {
            let mut rng = net.rng();
            sleep(Duration::from_millis(rng.u64(0..300))).await;
            let Ok(mut stream) = net.connect("server").await else { return };
            for _ in 0..rng.u8(0..5) {
                if stream.write_all(b"hello").await.is_err() {
                    return;
                }
                let mut got = [0; 5];
                if stream.read_exact(&mut got).await.is_err() {
                    return;
                }
                assert_eq!(&got, b"hello");
                sleep(Duration::from_millis(rng.u64(0..50))).await;
            }
            match rng.u8(0..4) {
                0 => stream.set_abort(),
                1 => drop(stream.shutdown().await),
                2 => {
                    // Until the server's end.
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest).await;
                }
                _ => {}
            }
        }));
    }
    sleep(Duration::from_millis(rng.u64(0..600))).await;
    for _ in 0..rng.u8(0..3) {
        net.fail_accept("server", [libc::EMFILE, libc::ECONNABORTED][rng.usize(0..2)]);
    }
    sleep(Duration::from_millis(rng.u64(0..50))).await;
    let report = server.shutdown(Duration::from_secs(30)).await;
    net.note(format_args!("{report}"));
    assert!(report.failure.is_none(), "{report}");
    for peer in peers {
        peer.await.unwrap();
    }
}

pub(crate) async fn again_and_again(net: SimNetwork) {
    let mut rng = net.rng();
    net.set_conditions(Conditions::rough());
    for _ in 0..10 {
        let server = serve(&net, "server", |_: &ConnectionInfo| Echo).await;
        let mut clients = Vec::new();
        for _ in 0..rng.u8(0..4) {
            let builder = Client::builder(net.checked(|_: &ConnectionInfo| Echo));
            clients
                .push(builder.network(net.host("client")).connect("sim://server").await.unwrap());
        }
        if let Some(client) = clients.pop() {
            let _ = client.handle().try_write("hello");
            if rng.bool() {
                client.detach();
            }
        }
        if rng.bool() {
            drop(clients);
        }
        match rng.u8(0..3) {
            0 => {
                drop(server);
                sleep(Duration::from_millis(1)).await; // its tasks are dropped in their turn
            }
            1 => drop(server.shutdown(Duration::ZERO).await),
            _ => {
                let report = server.shutdown(Duration::from_secs(30)).await;
                assert_eq!(report.aborted, 0);
            }
        }
    }
}
