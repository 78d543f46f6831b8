//! Everything that may go wrong at once, for an echo and for two forwarders to it: resets, silence,
//! partitions, errors of `accept`, and readers that are slow.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{sleep, timeout};

use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{ConnectionInfo, Server};

use crate::echo::Echo;
use crate::{LONG, SEEDS, forward, pattern, relay, same, serve};

#[test]
fn an_echo_survives_trouble() {
    sim::seeds(SEEDS, echo);
}

#[test]
fn a_forwarder_of_callbacks_survives_trouble() {
    sim::seeds(SEEDS, forwarded);
}

#[test]
fn a_forwarder_of_streams_survives_trouble() {
    sim::seeds(SEEDS, relayed);
}

const PEERS: [&str; 3] = ["peer0", "peer1", "peer2"];

pub(crate) async fn echo(net: SimNetwork) {
    let server = begin(&net).await;
    tokio::join!(biased; talk(&net, "echo", Some(&server)), net.trouble("echo", &PEERS, 8));
    end(server).await;
}

pub(crate) async fn forwarded(net: SimNetwork) {
    let target = begin(&net).await;
    let relay = serve(&net, "relay", forward::factory(&net)).await;
    through(&net, relay, target).await;
}

pub(crate) async fn relayed(net: SimNetwork) {
    let target = begin(&net).await;
    let relay = serve(&net, "relay", relay::factory(&net, "sim://echo")).await;
    through(&net, relay, target).await;
}

/// An echo in a network that is bad in a way of its own.
async fn begin(net: &SimNetwork) -> Server {
    let conditions = Conditions::random(&mut net.rng());
    net.set_conditions(conditions);
    serve(net, "echo", |_: &ConnectionInfo| Echo).await
}

/// Trouble on both sides of a forwarder.
async fn through(net: &SimNetwork, relay: Server, target: Server) {
    tokio::join!(
        biased;
        talk(net, "relay", None),
        net.trouble("relay", &PEERS, 5),
        net.trouble("echo", &["relay"], 3),
    );
    end(relay).await;
    end(target).await;
}

async fn end(server: Server) {
    let report = server.shutdown(LONG).await;
    assert!(report.failure.is_none(), "{report}");
}

/// Peers that send, and get back what they sent as far as they get anything; from an echo itself all
/// of it, if it ended in order and did not shed them.
async fn talk(net: &SimNetwork, name: &'static str, echo: Option<&Server>) {
    let peers = PEERS.map(|peer| tokio::spawn(exchange(net.host(peer), name)));
    for peer in peers {
        let (sent, got, in_order) = peer.await.unwrap();
        assert_eq!(same(&got, &sent), got.len());
        if let (Some(echo), true) = (echo, in_order) {
            let is_shed = got.is_empty() && echo.stats().shed > 0;
            assert!(got.len() == sent.len() || is_shed, "{} of {}", got.len(), sent.len());
        }
    }
}

/// What was sent, what came back, and whether EOF came behind it.
async fn exchange(net: SimNetwork, name: &str) -> (Vec<u8>, Vec<u8>, bool) {
    const PATIENCE: Duration = Duration::from_secs(400);
    let mut rng = net.rng();
    let (sent, mut got) = (pattern(rng.usize(0..12_000)), Vec::new());
    sleep(Duration::from_millis(rng.u64(0..500))).await;
    let Ok(mut stream) = net.connect(name).await else { return (sent, got, false) };
    let (mut input, mut output) = split(&mut stream);
    let send = async {
        // An error is told by the read, too.
        if let Ok(Ok(())) = timeout(PATIENCE, output.write_all(&sent)).await {
            let _ = output.shutdown().await;
        }
    };
    let receive = async {
        let mut buf = vec![0; rng.usize(100..3000)];
        while let Ok(Ok(len)) = timeout(PATIENCE, input.read(&mut buf)).await {
            if len == 0 {
                return true;
            }
            got.extend_from_slice(&buf[..len]);
            sleep(Duration::from_millis(rng.u64(0..100))).await;
        }
        false
    };
    let ((), in_order) = tokio::join!(biased; send, receive);
    (sent, got, in_order)
}
