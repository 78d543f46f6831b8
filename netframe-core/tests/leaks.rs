//! What a server has not given back at its end is in its report; and what goes on beside its connections
//! ends with it.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::{MemNetwork, MemStream};
use netframe_core::{
    AtLimit, ConnectionInfo, Factory, Limits, Protocol, Result, Server, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::Instant;

/// Blocks until the test lets it go.
struct Blocks(Arc<Mutex<Receiver<()>>>);

impl Protocol for Blocks {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        self.0.lock().unwrap().recv()?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_blocks_beyond_the_deadline_is_told_of() {
    let (go_on, blocked) = channel();
    let blocked = Arc::new(Mutex::new(blocked));
    let network = MemNetwork::new();
    let blocks = move |_: &ConnectionInfo| Blocks(Arc::clone(&blocked));
    let server = serve(&network, Limits::default(), blocks).await;
    let mut client = network.connect("there").await.unwrap();
    client.write_all(b"question").await.unwrap();
    while server.stats().bytes_in == 0 {
        yield_now().await;
    }
    let report = server.shutdown(Duration::ZERO).await;
    assert_eq!((report.aborted, report.leaks.connections), (1, 1));
    assert_eq!(report.to_string(), "0 drained, 1 aborted, not given back: connections: 1");
    go_on.send(()).unwrap();
    client.read_to_end(&mut Vec::new()).await.unwrap_err(); // and then it is given back
}

#[tokio::test(start_paused = true)]
async fn a_refusal_under_way_at_the_stop_arrives_whole() {
    let (server, _kept, mut refused) = full().await;
    let peer = async {
        let mut told = Vec::new();
        refused.read_to_end(&mut told).await.unwrap();
        drop(refused);
        told
    };
    let started = Instant::now();
    let (report, told) = tokio::join!(server.shutdown(Duration::from_secs(30)), peer);
    assert_eq!(told, REFUSAL);
    assert!(report.leaks.is_empty(), "{report}");
    assert!(started.elapsed() < Duration::from_millis(100), "nothing is waited for any more");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_not_heard_ends_with_its_server() {
    for (deadline, ends_after) in [(100, 100), (30_000, 1000)] {
        let (server, kept, refused) = full().await;
        drop(kept);
        let started = Instant::now();
        let report = server.shutdown(Duration::from_millis(deadline)).await;
        assert!(report.leaks.is_empty(), "{report}");
        let took = started.elapsed().as_millis();
        assert!((ends_after..ends_after + 10).contains(&took), "{took} ms");
        drop(refused);
    }
}

const REFUSAL: [u8; 100] = [b'x'; 100];

/// A server with one connection, which is all it may have, and with one that it is refusing: there is
/// less room on the way than it has to say.
async fn full() -> (Server, MemStream, MemStream) {
    let network = MemNetwork::new();
    let mut limits = Limits::default();
    (limits.max_connections, limits.at_limit) = (1, AtLimit::Refuse);
    let server = serve(&network, limits, |_: &ConnectionInfo| Quiet).await;
    let kept = network.connect("there").await.unwrap();
    while server.stats().live == 0 {
        yield_now().await;
    }
    let refused = network.connect("there").await.unwrap();
    while server.stats().refused_full == 0 {
        yield_now().await;
    }
    (server, kept, refused)
}

struct Quiet;

impl Protocol for Quiet {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

async fn serve(network: &MemNetwork, limits: Limits, factory: impl Factory) -> Server {
    let server = Server::builder(factory).limits(limits).network(network.clone());
    let server = server.refusal(REFUSAL.to_vec()).listen("mem://there?capacity=16").unwrap();
    server.bind().await.unwrap()
}
