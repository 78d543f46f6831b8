//! An echo: each byte comes back once and in order; all of them, if nothing breaks the connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{ConnectionInfo, Protocol, Result, Transport};

use crate::{LONG, SEEDS, pattern, same, serve, weather};

#[test]
fn every_byte_comes_back() {
    sim::seeds(SEEDS, whole);
}

#[test]
fn what_comes_back_through_resets_is_right_as_far_as_it_goes() {
    sim::seeds(SEEDS, in_a_hostile_network);
}

pub(crate) async fn whole(net: SimNetwork) {
    net.set_conditions(weather(&net));
    talk(net, true).await;
}

pub(crate) async fn in_a_hostile_network(net: SimNetwork) {
    net.set_conditions(Conditions::hostile());
    talk(net, false).await;
}

pub(crate) struct Echo;

impl Protocol for Echo {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

async fn talk(net: SimNetwork, all: bool) {
    let server = serve(&net, "echo", |_: &ConnectionInfo| Echo).await;
    let mut peers = Vec::new();
    for number in 0..3 {
        let net = net.host(&format!("peer{number}"));
        peers.push(tokio::spawn(async move {
            let sent = pattern(net.rng().usize(0..20_000));
            let mut stream = net.connect("echo").await.unwrap();
            let (mut input, mut output) = tokio::io::split(&mut stream);
            let send = async {
                output.write_all(&sent).await?;
                output.shutdown().await
            };
            let mut got = Vec::new();
            let (written, read) = tokio::join!(biased; send, input.read_to_end(&mut got));
            assert_eq!(same(&got, &sent), got.len());
            if all || (written.is_ok() && read.is_ok()) {
                written.unwrap();
                read.unwrap();
                assert_eq!(got.len(), sent.len());
            }
        }));
    }
    for peer in peers {
        peer.await.unwrap();
    }
    let report = server.shutdown(LONG).await;
    assert_eq!(report.aborted, 0);
}
