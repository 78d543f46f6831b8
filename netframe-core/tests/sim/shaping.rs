//! Shaping in a bad network: all bytes arrive once and in order, and never faster than the rates allow.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{ConnectionInfo, Limits, Quota, Server};

use crate::echo::Echo;
use crate::{LONG, SEEDS, pattern, same, serve_with, weather};

#[test]
fn every_byte_comes_back_in_its_time() {
    sim::seeds(SEEDS / 2, whole);
}

#[test]
fn resets_leave_the_rate_to_others() {
    sim::seeds(SEEDS / 2, in_a_hostile_network);
}

/// Some of the rates, some of them small.
fn rates(net: &SimNetwork) -> Limits {
    let mut rng = net.rng();
    let mut limits = Limits::default();
    let Limits { read_rate, write_rate, service_read_rate, service_write_rate, .. } = &mut limits;
    for rate in [read_rate, write_rate, service_read_rate, service_write_rate] {
        *rate = match rng.u8(0..4) {
            0 => Quota::Unlimited,
            1 => Quota::AtMost(rng.usize(200..1000)),
            _ => Quota::AtMost(rng.usize(1000..10_000)),
        };
    }
    limits
}

pub(crate) async fn whole(net: SimNetwork) {
    net.set_conditions(weather(&net));
    talk(net, true).await;
}

pub(crate) async fn in_a_hostile_network(net: SimNetwork) {
    net.set_conditions(Conditions::hostile());
    talk(net, false).await;
}

async fn talk(net: SimNetwork, all: bool) {
    let limits = rates(&net);
    let server = serve_with(&net, "echo", limits.clone(), |_: &ConnectionInfo| Echo).await;
    let began = Instant::now();
    let mut peers = Vec::new();
    for number in 0..4 {
        let (net, own) = (net.host(&format!("peer{number}")), limits.write_rate);
        peers.push(tokio::spawn(async move {
            let sent = pattern(net.rng().usize(0..4000));
            let began = Instant::now();
            let mut stream = net.connect("echo").await.unwrap();
            let (mut input, mut output) = tokio::io::split(&mut stream);
            let send = async {
                output.write_all(&sent).await?;
                output.shutdown().await
            };
            let receive = async {
                let (mut got, mut buf) = (Vec::new(), [0; 1000]);
                loop {
                    match input.read(&mut buf).await? {
                        0 => return std::io::Result::Ok(got),
                        len => got.extend_from_slice(&buf[..len]),
                    }
                    within(got.len() as u64, own, began);
                }
            };
            let (written, read) = tokio::join!(biased; send, receive);
            if let Ok(got) = &read {
                assert_eq!(same(got, &sent), got.len());
            }
            if all || (written.is_ok() && read.is_ok()) {
                written.unwrap();
                assert_eq!(read.unwrap().len(), sent.len());
            }
        }));
    }
    while !peers.iter().all(|peer| peer.is_finished()) {
        sleep(Duration::from_millis(100)).await;
        in_time(&server, &limits, began);
    }
    for peer in peers {
        peer.await.unwrap();
    }
    let report = server.shutdown(LONG).await;
    assert_eq!(report.aborted, 0);
}

/// No more bytes have moved than the rates of the service allow.
fn in_time(server: &Server, limits: &Limits, began: Instant) {
    let stats = server.stats();
    within(stats.bytes_in, limits.service_read_rate, began);
    within(stats.bytes_out, limits.service_write_rate, began);
}

fn within(bytes: u64, rate: Quota, began: Instant) {
    if let Quota::AtMost(rate) = rate {
        let most = rate as f64 * (1.0 + began.elapsed().as_secs_f64());
        assert!(bytes as f64 <= most, "{bytes} bytes of {most} after {:?}", began.elapsed());
    }
}
