//! The end of servers: a drain while connections come, talk and close, and many starts and stops.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use netframe_core::testing::sim::{self, Conditions, SimNetwork, SimStream};
use netframe_core::{Client, ConnectionInfo, Io};

use crate::echo::Echo;
use crate::{LONG, SEEDS, pattern, same, serve};

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
                // Nothing comes from a connection that fell silent.
                let Ok(Ok(_)) = timeout(LONG, stream.read_exact(&mut got)).await else { return };
                assert_eq!(&got, b"hello");
                sleep(Duration::from_millis(rng.u64(0..50))).await;
            }
            match rng.u8(0..5) {
                0 => stream.set_abort(),
                1 => drop(stream.shutdown().await),
                2 => {
                    // Until the server's end.
                    let mut rest = Vec::new();
                    let _ = timeout(LONG, stream.read_to_end(&mut rest)).await;
                }
                3 => half_close(stream).await,
                _ => {}
            }
        }));
    }
    sleep(Duration::from_millis(rng.u64(0..600))).await;
    for _ in 0..rng.u8(0..3) {
        net.fail_accept("server", [libc::EMFILE, libc::ECONNABORTED][rng.usize(0..2)]);
    }
    sleep(Duration::from_millis(rng.u64(0..50))).await;
    // Who arrives, is reset, falls silent, or is cut off for a while at that very moment.
    for number in 0..10 {
        let name = format!("peer{number}");
        match rng.u8(0..8) {
            0 => net.reset(&name),
            1 => net.silence(&name),
            2 => net.partition(&name, "server"),
            3 => {
                let net = net.host(&format!("late{number}"));
                peers.push(tokio::spawn(async move {
                    let Ok(stream) = net.connect("server").await else { return };
                    half_close(stream).await;
                }));
            }
            _ => {}
        }
    }
    if rng.bool() {
        sleep(Duration::from_millis(rng.u64(0..10))).await;
    }
    let deadline = Duration::from_secs([2, 30][rng.usize(0..2)]);
    let heals = async {
        sleep(Duration::from_millis(rng.u64(0..20_000))).await;
        (0..10).for_each(|number| net.heal(&format!("peer{number}"), "server"));
    };
    let start = Instant::now();
    let stops = async {
        let report = server.shutdown(deadline).await;
        assert!(start.elapsed() <= deadline + Duration::from_secs(1), "{:?}", start.elapsed());
        report
    };
    let ((), report) = tokio::join!(biased; heals, stops);
    net.note(format_args!("{report}"));
    assert!(report.failure.is_none(), "{report}");
    for peer in peers {
        peer.await.unwrap();
    }
}

/// Sends more, ends its side, and reads slowly what comes back.
async fn half_close(mut stream: SimStream) {
    let sent = pattern(3000);
    if let Ok(Ok(())) = timeout(LONG, stream.write_all(&sent)).await {
        let _ = stream.shutdown().await;
    }
    let (mut got, mut buf) = (Vec::new(), [0; 500]);
    while let Ok(Ok(len @ 1..)) = timeout(LONG, stream.read(&mut buf)).await {
        got.extend_from_slice(&buf[..len]);
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(same(&got, &sent), got.len());
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
