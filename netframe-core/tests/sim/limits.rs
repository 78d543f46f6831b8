//! Limits that hold whatever happens: of connections, and of the time that a dead peer is waited for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{
    CloseReason, ConnectionInfo, Io, Limits, Protocol, Result, Timeout, Transport,
};

use crate::echo::Echo;
use crate::{LONG, SEEDS, emptied, serve_with};

#[test]
fn the_limit_of_connections_is_exact_and_nobody_starves() {
    sim::seeds(SEEDS, crowded);
}

#[test]
fn a_dead_peer_is_given_up_in_time() {
    sim::seeds(SEEDS, dead_peers);
}

pub(crate) async fn crowded(net: SimNetwork) {
    let mut rng = net.rng();
    net.set_conditions(if rng.bool() { Conditions::hostile() } else { Conditions::rough() });
    let mut limits = Limits::default();
    limits.max_connections = 3;
    let server = serve_with(&net, "server", limits, |_: &ConnectionInfo| Echo).await;
    let mut peers = Vec::new();
    for number in 0..12 {
        let net = net.host(&format!("peer{number}"));
        peers.push(tokio::spawn(async move {
            let mut rng = net.rng();
            sleep(Duration::from_millis(rng.u64(0..300))).await;
            let mut stream = net.connect("server").await.unwrap();
            if stream.write_all(b"hello").await.is_ok() {
                let mut got = [0; 5];
                let read = timeout(Duration::from_secs(500), stream.read_exact(&mut got)).await;
                assert!(read.is_ok(), "it is never served");
            }
            sleep(Duration::from_millis(rng.u64(0..100))).await;
            if rng.bool() {
                stream.set_abort();
            }
        }));
    }
    for _ in 0..200 {
        assert!(server.stats().live <= 3);
        if rng.u8(0..50) == 0 {
            net.fail_accept("server", [libc::EMFILE, libc::ECONNABORTED][rng.usize(0..2)]);
        }
        sleep(Duration::from_millis(5)).await;
    }
    for peer in peers {
        peer.await.unwrap();
    }
    emptied(&server).await;
    // All permits are back: as many as may be here are here at once, once an error of `accept` that
    // is still to come has been told, and those that wait with it have been shed.
    net.set_conditions(Conditions::default());
    drop(net.host("last").connect("server").await.unwrap());
    sleep(Duration::from_secs(3)).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(net.host("last").connect("server").await.unwrap());
    }
    sleep(Duration::from_secs(3)).await;
    assert_eq!(server.stats().live, 3);
    drop(all);
    server.shutdown(LONG).await;
}

/// Writes much, and closes or not.
struct Talks {
    len: usize,
    closes: bool,
    made: Instant,
    ended: Arc<Mutex<Vec<(Duration, CloseReason)>>>,
}

impl Protocol for Talks {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.made = Instant::now();
        t.write(&vec![7; self.len]);
        if self.closes {
            t.close();
        }
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.ended.lock().unwrap().push((self.made.elapsed(), reason.clone()));
    }
}

pub(crate) async fn dead_peers(net: SimNetwork) {
    let mut rng = net.rng();
    let mut conditions = Conditions::rough();
    conditions.capacity = 2000;
    net.set_conditions(conditions);
    let mut limits = Limits::default();
    let timeouts = [(); 3].map(|()| Timeout::After(Duration::from_secs(rng.u64(5..50))));
    [limits.idle_timeout, limits.close_timeout, limits.write_stall_timeout] = timeouts;
    let ended = Arc::new(Mutex::new(Vec::new()));
    let (len, closes) = (rng.usize(0..30_000), rng.bool());
    let talks = {
        let ended = Arc::clone(&ended);
        move |_: &ConnectionInfo| Talks {
            len,
            closes,
            made: Instant::now(),
            ended: Arc::clone(&ended),
        }
    };
    let server = serve_with(&net, "server", limits, talks).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(net.host("peer").connect("server").await.unwrap());
    }
    sleep(Duration::from_millis(rng.u64(0..100))).await;
    net.silence("peer");
    emptied(&server).await;
    let [idle, close, stall] = timeouts.map(|timeout| timeout.duration().unwrap());
    // Who is idle is closed in order, which the dead peer does not answer either.
    let longest = match (closes, len > 2000) {
        (true, _) => close,
        (false, true) if stall <= idle => stall,
        (false, _) => idle + close,
    };
    // What still arrived before the silence counts as progress; timers are late by an eighth.
    let most = longest + longest / 8 + Duration::from_secs(3);
    for (took, reason) in ended.lock().unwrap().iter() {
        assert!(*took <= most, "{took:?} of {most:?}: {reason}, {idle:?} {close:?} {stall:?}");
    }
    assert_eq!(ended.lock().unwrap().len(), 3);
    drop(streams);
    server.shutdown(LONG).await;
}
