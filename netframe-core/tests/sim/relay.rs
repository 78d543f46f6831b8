//! A port forwarder: two connections, and each direction ends by itself.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};

use netframe_core::testing::sim::{self, SimNetwork};
use netframe_core::{Factory, Stream, stream_fn};

use crate::{LONG, SEEDS, pattern, same, serve, weather};

#[test]
fn both_directions_are_whole_and_end_apart() {
    sim::seeds(SEEDS, both_ways);
}

/// Forwards to an endpoint, from the host `relay`.
pub(crate) fn factory(net: &SimNetwork, to: &'static str) -> impl Factory {
    let net = net.host("relay");
    stream_fn(move |mut stream: Stream| {
        let net = net.clone();
        async move {
            stream.ignore_drain();
            let mut next = Stream::builder().network(net).connect(to).await?;
            copy_bidirectional(&mut stream, &mut next).await?;
            Ok(())
        }
    })
}

pub(crate) async fn both_ways(net: SimNetwork) {
    net.set_conditions(weather(&net));
    // The target reads everything, up to the FIN, before it answers with as much and more.
    let target = stream_fn(|mut stream: Stream| async move {
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await?;
        got.extend_from_slice(&pattern(3_000));
        stream.write_all(&got).await?;
        stream.shutdown().await?;
        Ok(())
    });
    let target = serve(&net, "target", target).await;
    let relay = serve(&net, "relay", factory(&net, "sim://target")).await;
    let mut peers = Vec::new();
    for number in 0..3 {
        let net = net.host(&format!("peer{number}"));
        peers.push(tokio::spawn(async move {
            let sent = pattern(net.rng().usize(0..8_000));
            let mut stream = net.connect("relay").await.unwrap();
            stream.write_all(&sent).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            assert_eq!(same(&got, &sent), sent.len());
            assert_eq!(got[sent.len()..], pattern(3_000));
        }));
    }
    for peer in peers {
        peer.await.unwrap();
    }
    assert_eq!(relay.shutdown(LONG).await.aborted, 0);
    assert_eq!(target.shutdown(LONG).await.aborted, 0);
}
