//! The core over the simulated network: scenarios, each with many seeds. A seed that fails is run
//! again with `NETFRAME_SEED=17 cargo test -p netframe-core --test sim NAME`, and `NETFRAME_SEEDS`
//! says how many there are.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, Conditions, Sim, SimNetwork};
use netframe_core::{ConnectionInfo, Factory, Protocol, Result, Server, Transport};

/// Seeds of each scenario.
const SEEDS: u64 = 200;

struct Echo;

impl Protocol for Echo {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

async fn echo(net: SimNetwork) {
    net.set_conditions(Conditions::rough());
    let server = serve(&net, "echo", |_: &ConnectionInfo| Echo).await;
    let mut peers = Vec::new();
    for number in 0..4 {
        let net = net.host(&format!("peer{number}"));
        peers.push(tokio::spawn(async move {
            let sent = pattern(net.rng().usize(0..30_000));
            let mut stream = net.connect("echo").await.unwrap();
            let (mut input, mut output) = tokio::io::split(&mut stream);
            let send = async {
                output.write_all(&sent).await.unwrap();
                output.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let ((), read) = tokio::join!(biased; send, input.read_to_end(&mut got));
            read.unwrap();
            assert!(got == sent, "{} of {} bytes are right", same(&got, &sent), sent.len());
        }));
    }
    for peer in peers {
        peer.await.unwrap();
    }
    let report = server.shutdown(Duration::from_secs(30)).await;
    assert_eq!(report.aborted, 0);
}

#[test]
fn an_echo_is_whole() {
    sim::seeds(SEEDS, echo);
}

#[test]
fn a_seed_tells_all_that_happens() {
    replays(echo);
}

/// Runs a scenario twice with each of some seeds, and compares all that happened.
fn replays(scenario: impl AsyncFn(SimNetwork)) {
    let mut before = None;
    for seed in 0..10 {
        let [one, other] = [(); 2].map(|()| Sim::new(seed).run(&scenario).trace);
        assert!(one.count() > 10);
        let lines = one.lines().zip(other.lines()).enumerate();
        for (number, (one, other)) in lines {
            assert_eq!(one, other, "line {number} of seed {seed}");
        }
        assert_eq!(one, other);
        assert_ne!(before, Some(one.clone()), "seeds differ");
        before = Some(one);
    }
}

async fn serve(net: &SimNetwork, name: &str, factory: impl Factory) -> Server {
    let builder = Server::builder(net.checked(factory)).network(net.clone());
    builder.listen(format!("sim://{name}")).unwrap().bind().await.unwrap()
}

/// Bytes that tell where they belong.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8)) as u8).collect()
}

/// How many bytes are the same from the beginning.
fn same(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
