//! The ready protocols over the simulated network, as they are: scenarios, each with many seeds. A seed
//! that fails is run again with `NETFRAME_SEED=17 cargo test -p netframe-protocols --test sim NAME`.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

mod chat;
mod datagrams;
mod forward;
mod frames;
#[cfg(feature = "http")]
mod http;
mod lines;
#[cfg(feature = "memcached")]
mod memcached;
mod peer;
mod requests;
mod simple;
mod telnet;

use std::time::Duration;

use netframe_core::testing::sim::{Conditions, Sim, SimNetwork};
use netframe_core::{Factory, Limits, Server};

use crate::peer::{Got, talk};

/// Seeds of each scenario, unless `NETFRAME_SEEDS` says otherwise; CI goes on from there.
const SEEDS: u64 = 50;

/// Longer than anything takes that does not wait for a deadline.
const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_seed_tells_all_that_happens() {
    replays(chat::room);
    replays(datagrams::echoes);
    replays(forward::forwards);
    replays(forward::proxies);
    replays(forward::gives_up);
    replays(frames::answered);
    #[cfg(feature = "http")]
    replays(http::answered);
    replays(lines::answered);
    #[cfg(feature = "memcached")]
    replays(memcached::kept);
    replays(requests::by_id);
    replays(requests::in_order);
    replays(simple::echoes);
    replays(simple::discards);
    replays(simple::greets);
    replays(telnet::answered);
}

/// Runs a scenario twice with each of some seeds, and compares all that happened.
#[track_caller]
fn replays(scenario: impl AsyncFn(SimNetwork)) {
    for seed in 0..3 {
        let [one, other] = [(); 2].map(|()| Sim::new(seed).run(&scenario).trace);
        assert!(one.count() > 10);
        let lines = one.lines().zip(other.lines());
        let differ = lines.enumerate().find(|(_, (one, other))| one != other);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(one, other);
    }
}

/// A server, what its peers send and got, and how the network was.
struct Talk {
    server: Server,
    /// Neither the network nor anybody ended a connection.
    is_calm: bool,
    said: Vec<(Vec<u8>, Got)>,
}

/// Has four peers talk to a server, in a network that is bad in a way of its own, and most often with
/// trouble meanwhile. What each sends is made from its random numbers.
async fn converse(
    net: &SimNetwork,
    factory: impl Factory,
    make: impl Fn(&mut fastrand::Rng) -> Vec<u8>,
) -> Talk {
    let mut rng = net.rng();
    let is_calm = rng.u8(0..3) == 0;
    let conditions = Conditions::random(&mut rng);
    net.set_conditions(if is_calm { conditions.without_ends() } else { conditions });
    let server = serve(net, Limits::default(), factory).await;
    let names = ["peer0", "peer1", "peer2", "peer3"];
    let mut peers = Vec::new();
    for name in names {
        let sent = make(&mut rng);
        peers.push((sent.clone(), tokio::spawn(talk(net.host(name), sent))));
    }
    net.trouble("server", &names, if is_calm { 0 } else { rng.u32(0..10) }).await;
    let mut said = Vec::new();
    for (sent, peer) in peers {
        said.push((sent, peer.await.unwrap()));
    }
    Talk { server, is_calm, said }
}

impl Talk {
    /// Every peer got the beginning of what it was to get, and all of it if its connection ended in
    /// order; a connection that was shed did so before it began.
    #[track_caller]
    fn check(&self, answer: impl Fn(&[u8]) -> Vec<u8>) {
        let sheds = self.server.stats().shed > 0;
        for (sent, got) in &self.said {
            let wanted = answer(sent);
            let (len, most) = (got.bytes.len(), wanted.len());
            assert!(wanted.starts_with(&got.bytes), "{len} B of {most} are not the right ones");
            assert!(!self.is_calm || got.is_whole, "{len} B of {most} came to no end");
            let is_complete = len == most || sheds && len == 0;
            assert!(!got.is_whole || is_complete, "{len} B of {most}, and then EOF");
        }
    }

    /// Nobody is left after this; who was cut off for ever is not waited for.
    async fn stop(self) {
        let report = self.server.shutdown(LONG).await;
        assert!(!self.is_calm || report.aborted == 0, "{report}");
        assert!(report.failure.is_none(), "{report}");
    }
}

async fn serve(net: &SimNetwork, limits: Limits, factory: impl Factory) -> Server {
    let builder = Server::builder(net.checked(factory)).network(net.clone()).limits(limits);
    builder.listen("sim://server").unwrap().bind().await.unwrap()
}

/// Random bytes.
fn bytes(rng: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(&mut bytes);
    bytes
}
