//! A forwarder of callbacks: what one connection gets is written to the other through its handle,
//! and a peer that gives up is noticed while a handler waits.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::sleep;

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, SimNetwork};
use netframe_core::{
    Client, CloseReason, ConnectionInfo, Factory, Handle, Protocol, Result, Transport,
};

use crate::echo::Echo;
use crate::{LONG, SEEDS, pattern, same, serve, weather};

#[test]
fn callbacks_forward_both_ways() {
    sim::seeds(SEEDS, by_callbacks);
}

#[test]
fn a_peer_that_is_done_is_noticed_while_a_handler_waits() {
    sim::seeds(SEEDS, done_while_pending);
}

/// One side of a forwarder: it waits for room on the other before it takes more.
struct Half {
    net: SimNetwork,
    other: Option<Handle>,
}

impl Protocol for Half {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        t.set_coupled(false);
        if self.other.is_none() {
            let back = t.handle();
            let net = self.net.clone();
            let half =
                move |_: &ConnectionInfo| Self { net: net.clone(), other: Some(back.clone()) };
            let client = Client::builder(self.net.checked(half)).network(self.net.clone());
            self.other = Some(client.connect("sim://echo").await?.detach());
        }
        Ok(())
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let Some(other) = &self.other else { return Ok(()) };
        if other.write(data.split().freeze()).await.is_err() {
            t.close();
        }
        Ok(())
    }

    async fn eof_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        if let Some(other) = &self.other {
            other.close_write();
        }
        Ok(())
    }

    async fn draining(&mut self, _: &mut dyn Transport) -> Result {
        Ok(())
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        if let Some(other) = &self.other {
            other.close();
        }
    }
}

/// Forwards to `echo`, from the host `relay`.
pub(crate) fn factory(net: &SimNetwork) -> impl Factory {
    let net = net.host("relay");
    move |_: &ConnectionInfo| Half { net: net.clone(), other: None }
}

pub(crate) async fn by_callbacks(net: SimNetwork) {
    net.set_conditions(weather(&net));
    let target = serve(&net, "echo", |_: &ConnectionInfo| Echo).await;
    let relay = serve(&net, "relay", factory(&net)).await;
    let mut peers = Vec::new();
    for number in 0..3 {
        let net = net.host(&format!("peer{number}"));
        peers.push(tokio::spawn(async move {
            let mut rng = net.rng();
            let sent = pattern(rng.usize(0..12_000));
            let mut stream = net.connect("relay").await.unwrap();
            let (mut input, mut output) = tokio::io::split(&mut stream);
            let send = async {
                for piece in sent.chunks(rng.usize(1..5000)) {
                    output.write_all(piece).await.unwrap();
                    sleep(Duration::from_millis(rng.u64(0..20))).await;
                }
                output.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let ((), read) = tokio::join!(biased; send, input.read_to_end(&mut got));
            read.unwrap();
            assert_eq!((same(&got, &sent), got.len()), (sent.len(), sent.len()));
        }));
    }
    for peer in peers {
        peer.await.unwrap();
    }
    assert_eq!(relay.shutdown(LONG).await.aborted, 0);
    assert_eq!(target.shutdown(LONG).await.aborted, 0);
}

/// Works until its peer has ended its side, then answers with all that came.
struct Works {
    seen: Vec<u8>,
    dropped: Option<oneshot::Sender<()>>,
}

impl Protocol for Works {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.seen.extend_from_slice(&data.split());
        let handle = t.handle();
        tokio::select! {
            biased;
            () = handle.peer_eof() => {}
            () = sleep(Duration::from_secs(100)) => {}
        }
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, _: &mut BytesMut) -> Result {
        t.write(&self.seen);
        t.close();
        Ok(())
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        drop(self.dropped.take());
    }
}

pub(crate) async fn done_while_pending(net: SimNetwork) {
    net.set_conditions(weather(&net));
    let mut rng = net.rng();
    let works = |_: &ConnectionInfo| Works { seen: Vec::new(), dropped: None };
    let server = serve(&net, "server", works).await;
    let mut stream = net.host("peer").connect("server").await.unwrap();
    let sent = pattern(rng.usize(1..20_000));
    stream.write_all(&sent).await.unwrap();
    sleep(Duration::from_millis(rng.u64(0..200))).await;
    let start = tokio::time::Instant::now();
    let resets = rng.u8(0..4) == 0;
    if resets {
        net.reset("peer");
        drop(stream);
    } else {
        stream.shutdown().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert!(got == sent, "{} of {}", got.len(), sent.len());
    }
    while server.stats().live > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    server.shutdown(LONG).await;
}
