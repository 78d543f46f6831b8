//! The core over the simulated network: scenarios, each with many seeds. A seed that fails is run
//! again with `NETFRAME_SEED=17 cargo test -p netframe-core --test sim NAME`, and `NETFRAME_SEEDS`
//! says how many there are.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

mod datagrams;
mod echo;
mod forward;
mod groups;
mod handles;
mod limits;
mod network;
mod pool;
mod reconnect;
mod relay;
mod requests;
mod shaping;
mod shutdown;
mod switch;
mod trouble;

use std::time::Duration;

use netframe_core::testing::sim::{Conditions, Sim, SimNetwork};
use netframe_core::{Factory, Limits, Server};

/// Seeds of each scenario, unless `NETFRAME_SEEDS` says otherwise; CI goes on from there.
const SEEDS: u64 = 50;

/// Longer than anything takes that does not wait for a deadline.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_seed_tells_all_that_happens() {
    replays(datagrams::sessions);
    replays(echo::whole);
    replays(echo::in_a_hostile_network);
    replays(forward::by_callbacks);
    replays(forward::done_while_pending);
    replays(groups::chat);
    replays(handles::slow_reader);
    replays(limits::crowded);
    replays(limits::dead_peers);
    replays(pool::crowded);
    replays(reconnect::through_partitions_and_restarts);
    replays(relay::both_ways);
    replays(requests::in_order);
    replays(shaping::whole);
    replays(shaping::in_a_hostile_network);
    replays(shutdown::races_with_everything);
    replays(shutdown::again_and_again);
    replays(switch::upgrade);
    replays(trouble::echo);
    replays(trouble::forwarded);
    replays(trouble::relayed);
}

/// Runs a scenario twice with each of some seeds, and compares all that happened.
#[track_caller]
fn replays(scenario: impl AsyncFn(SimNetwork)) {
    let mut before = None;
    for seed in 0..3 {
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

/// A network that is bad in a way of its own, but ends no connection.
fn weather(net: &SimNetwork) -> Conditions {
    Conditions::random(&mut net.rng()).without_ends()
}

async fn serve(net: &SimNetwork, name: &str, factory: impl Factory) -> Server {
    serve_with(net, name, Limits::default(), factory).await
}

async fn serve_with(net: &SimNetwork, name: &str, limits: Limits, factory: impl Factory) -> Server {
    let builder = Server::builder(net.checked(factory)).network(net.clone()).limits(limits);
    builder.listen(format!("sim://{name}")).unwrap().bind().await.unwrap()
}

/// Waits until the server has no connection any more.
async fn emptied(server: &Server) {
    while server.stats().live > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Bytes that tell where they belong.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8)) as u8).collect()
}

/// How many bytes are the same from the beginning.
fn same(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
