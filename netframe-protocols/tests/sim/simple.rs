//! Echo, discard and hello.

use netframe_core::testing::sim::{self, SimNetwork};
use netframe_protocols::{GREETING, discard, echo, hello};

use crate::{SEEDS, bytes, converse};

#[test]
fn an_echo_is_what_was_sent() {
    sim::seeds(SEEDS, echoes);
}

#[test]
fn what_is_discarded_is_read_and_not_answered() {
    sim::seeds(SEEDS, discards);
}

#[test]
fn a_greeting_arrives_whatever_else_is_sent() {
    sim::seeds(SEEDS, greets);
}

pub(crate) async fn echoes(net: SimNetwork) {
    let talk = converse(&net, echo(), |rng| {
        let len = rng.usize(0..15_000);
        bytes(rng, len)
    });
    let talk = talk.await;
    talk.check(<[u8]>::to_vec);
    talk.stop().await;
}

pub(crate) async fn discards(net: SimNetwork) {
    let talk = converse(&net, discard(), |rng| {
        let len = rng.usize(0..30_000);
        bytes(rng, len)
    });
    let talk = talk.await;
    talk.check(|_| Vec::new());
    if talk.is_calm {
        let sent: usize = talk.said.iter().map(|(sent, _)| sent.len()).sum();
        assert_eq!(talk.server.stats().bytes_in, sent as u64);
    }
    talk.stop().await;
}

pub(crate) async fn greets(net: SimNetwork) {
    let talk = converse(&net, hello(), |rng| {
        let len = [0, 1, rng.usize(0..20_000)][rng.usize(0..3)];
        bytes(rng, len)
    });
    let talk = talk.await;
    talk.check(|sent| if sent.is_empty() { Vec::new() } else { GREETING.into() });
    talk.stop().await;
}
