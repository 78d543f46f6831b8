//! Requests and responses, with handlers that wait: responses come in order, one for each request.

use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use netframe_core::bytes::{Buf, BytesMut};
use netframe_core::testing::sim::{self, SimNetwork};
use netframe_core::{ConnectionInfo, Io, Limits, Protocol, Result, Transport};

use crate::{LONG, SEEDS, emptied, serve_with, weather};

#[test]
fn responses_come_in_order() {
    sim::seeds(SEEDS, in_order);
}

/// A request is a number; the response is as long as the number says, and made of it.
struct Slow {
    rng: Rng,
}

impl Protocol for Slow {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        while data.len() >= 2 && t.wants_data() {
            let number = data.get_u16();
            if self.rng.u8(0..3) == 0 {
                sleep(Duration::from_millis(self.rng.u64(0..100))).await;
            }
            t.write(&response(number));
            match self.rng.u8(0..10) {
                0 => t.drain().await?,
                1 => t.set_timeout(Some(Duration::from_millis(50))),
                _ => {}
            }
        }
        if self.rng.u8(0..10) == 0 {
            t.pause_reading();
            let handle = t.handle();
            t.spawn(async move {
                sleep(Duration::from_millis(20)).await;
                handle.notify();
            });
        }
        Ok(())
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        t.resume_reading();
        Ok(())
    }

    async fn timed_out(&mut self, _: &mut dyn Transport) -> Result {
        sleep(Duration::from_millis(10)).await;
        Ok(())
    }
}

fn response(number: u16) -> Vec<u8> {
    let mut response = number.to_be_bytes().to_vec();
    response.resize(2 + usize::from(number), number as u8);
    response
}

pub(crate) async fn in_order(net: SimNetwork) {
    net.set_conditions(weather(&net));
    let mut limits = Limits::default();
    (limits.high_watermark, limits.low_watermark, limits.hard_cap) = (4096, 1024, 8192);
    let slow = {
        let net = net.clone();
        move |_: &ConnectionInfo| Slow { rng: net.rng() }
    };
    let server = serve_with(&net, "slow", limits, slow).await;
    let mut peers = Vec::new();
    for number in 0..3 {
        let net = net.host(&format!("peer{number}"));
        peers.push(tokio::spawn(ask(net)));
    }
    for peer in peers {
        peer.await.unwrap();
    }
    emptied(&server).await;
    assert!(server.stats().highest_queue <= 4096 + 1000 + 2);
    server.shutdown(LONG).await;
}

async fn ask(net: SimNetwork) {
    let mut rng = net.rng();
    let numbers: Vec<_> = (0..30).map(|_| rng.u16(0..1000)).collect();
    let mut stream = net.connect("slow").await.unwrap();
    let gives_up = (rng.u8(0..4) == 0).then(|| rng.usize(0..30));
    let (mut input, mut output) = tokio::io::split(&mut stream);
    let send = async {
        for number in &numbers {
            output.write_all(&number.to_be_bytes()).await.unwrap();
            if rng.u8(0..5) == 0 {
                sleep(Duration::from_millis(30)).await;
            }
        }
        output.shutdown().await.unwrap();
    };
    let receive = async {
        for number in &numbers[..gives_up.unwrap_or(numbers.len())] {
            let mut got = vec![0; 2 + usize::from(*number)];
            input.read_exact(&mut got).await.unwrap();
            assert_eq!(got, response(*number));
        }
    };
    tokio::join!(biased; send, receive);
    if gives_up.is_none() {
        assert_eq!(input.read(&mut [0]).await.unwrap(), 0, "nothing but the end comes behind");
    } else if net.rng().bool() {
        stream.set_abort();
    }
}
