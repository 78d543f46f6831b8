//! `port-forward`, and a proxy by SOCKS 5, to a target across the same bad network.

use std::time::Duration;

use netframe_core::testing::sim::{self, SimNetwork};
use netframe_core::{Limits, Server, Timeout};
use netframe_protocols::socks5::{Socks5Options, socks5_to};
use netframe_protocols::{PortForward, echo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::{LONG, SEEDS, Talk, bytes, converse, serve};

#[test]
fn what_is_forwarded_is_whole_or_does_not_look_so() {
    sim::seeds(SEEDS, forwards);
}

#[test]
fn a_proxy_says_what_became_of_a_request() {
    sim::seeds(SEEDS, proxies);
}

#[test]
fn a_target_that_does_not_answer_ends_the_connection_in_time() {
    sim::seeds(SEEDS, gives_up);
}

pub(crate) async fn forwards(net: SimNetwork) {
    let target = target(&net).await;
    let forward = PortForward::to("sim://target".parse().unwrap()).network(net.host("server"));
    let talk = converse(&net, forward, |rng| {
        let len = rng.usize(0..10_000);
        bytes(rng, len)
    });
    let talk = talk.await;
    check(&talk, |sent, got| {
        // One whose target could not be reached has got nothing at all.
        let is_unreached = got.is_empty() && !talk.is_calm;
        (same(got, sent), got.len() == sent.len() || is_unreached)
    });
    talk.stop().await;
    target.shutdown(LONG).await;
}

/// What a client sends that asks for the target.
const ASKS: &[u8] = b"\x05\x01\x00\x05\x01\x00\x03\x06target\x00\x07";

pub(crate) async fn proxies(net: SimNetwork) {
    let target = target(&net).await;
    let mut options = Socks5Options::default();
    options.allow = vec!["target:7".into()];
    let find = |host: &str, _| format!("sim://{host}").parse();
    let proxy = socks5_to(options, net.host("server"), find).unwrap();
    let talk = converse(&net, proxy, |rng| {
        let len = rng.usize(0..10_000);
        [ASKS, &bytes(rng, len)].concat()
    });
    let talk = talk.await;
    check(&talk, |sent, got| {
        let Some((told, rest)) = got.split_at_checked(2 + 10) else {
            let begin = &b"\x05\x00\x05"[..got.len().min(3)];
            return (if got.starts_with(begin) { got.len() } else { 0 }, false);
        };
        assert_eq!((&told[..3], &told[4..6]), (&b"\x05\x00\x05"[..], &b"\x00\x01"[..]));
        let said = &sent[ASKS.len()..];
        match told[3] {
            0 => (told.len() + same(rest, said), rest.len() == said.len()),
            reply => {
                assert!([1, 4, 5].contains(&reply) && !talk.is_calm, "told {reply}");
                (told.len(), true)
            }
        }
    });
    talk.stop().await;
    target.shutdown(LONG).await;
}

/// Nobody ever hears of the target, while the client's side is a good network.
pub(crate) async fn gives_up(net: SimNetwork) {
    let target = target(&net).await;
    net.partition("server", "target");
    let patience = Duration::from_secs(net.rng().u64(1..20));
    let mut limits = Limits::default();
    limits.connect_timeout = Timeout::from_secs(patience.as_secs());
    let forward =
        PortForward::to("sim://target".parse().unwrap()).network(net.host("server")).limits(limits);
    let server = serve(&net, Limits::default(), forward).await;
    let mut stream = net.host("peer").connect("server").await.unwrap();
    let began = Instant::now();
    stream.write_all(b"anybody?").await.unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    let took = began.elapsed();
    assert_eq!(got, b"");
    assert!(patience <= took && took < patience + Duration::from_secs(5), "{took:?}");
    drop(stream);
    server.shutdown(LONG).await;
    target.shutdown(LONG).await;
}

async fn target(net: &SimNetwork) -> Server {
    let builder = Server::builder(net.checked(echo())).network(net.clone());
    builder.listen("sim://target").unwrap().bind().await.unwrap()
}

/// What each peer got is right to its last byte, and complete if its end was in order.
fn check(talk: &Talk, judge: impl Fn(&[u8], &[u8]) -> (usize, bool)) {
    for (sent, got) in &talk.said {
        let (len, is_complete) = judge(sent, &got.bytes);
        assert_eq!(len, got.bytes.len(), "other bytes come behind those that are right");
        assert!(!got.is_whole || is_complete, "{len} B, and then EOF");
        assert!(!talk.is_calm || got.is_whole, "{len} B came to no end");
    }
}

/// How far both begin with the same bytes.
fn same(got: &[u8], wanted: &[u8]) -> usize {
    got.iter().zip(wanted).take_while(|(got, wanted)| got == wanted).count()
}
