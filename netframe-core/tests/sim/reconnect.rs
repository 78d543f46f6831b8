//! A client that stays connected, through partitions, resets, silence and restarts of its server.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{ConnectionInfo, Limits, ReconnectingClient};

use crate::echo::Echo;
use crate::{SEEDS, serve};

#[test]
fn it_stays_connected() {
    sim::seeds(SEEDS, through_partitions_and_restarts);
}

pub(crate) async fn through_partitions_and_restarts(net: SimNetwork) {
    let mut rng = net.rng();
    let mut conditions = [Conditions::rough(), Conditions::hostile()][rng.usize(0..2)].clone();
    conditions.bandwidth = rng.bool().then_some(500);
    net.set_conditions(conditions);
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_secs(20).into();
    let client = ReconnectingClient::builder(net.checked(|_: &ConnectionInfo| Echo))
        .network(net.host("client"))
        .limits(limits)
        .connect("sim://server")
        .unwrap();
    let mut server = None;
    for _ in 0..8 {
        match rng.u8(0..7) {
            0 => net.partition("client", "server"),
            1 => net.heal("client", "server"),
            2 => net.reset("client"),
            3 => net.silence("client"),
            4 => net.fail_accept("server", [libc::EMFILE, libc::ECONNABORTED][rng.usize(0..2)]),
            _ => match server.take() {
                None => server = Some(serve(&net, "server", |_: &ConnectionInfo| Echo).await),
                Some(server) if rng.bool() => {
                    drop(server);
                    sleep(Duration::from_millis(1)).await; // its tasks are dropped in their turn
                }
                Some(server) => {
                    server.shutdown(Duration::from_secs(rng.u64(0..3))).await;
                }
            },
        }
        sleep(Duration::from_millis(rng.u64(0..40_000))).await;
        if let Some(handle) = client.handle() {
            // It may be one whose peer is gone for long.
            let _ = handle.try_write("hello");
        }
    }
    net.heal("client", "server");
    let server = match server {
        Some(server) => server,
        None => serve(&net, "server", |_: &ConnectionInfo| Echo).await,
    };
    let attempts = client.status().attempts;
    let started = Instant::now();
    // Idle ends a silent one in 22.5 s, a SYN is sent again within 64 s or the attempt is over in
    // 10 s, the longest pause is 30 s, and two attempts in a row are not lost.
    loop {
        let handle = timeout(Duration::from_secs(120), client.when_connected()).await;
        let handle = handle.expect("it connects").unwrap();
        if server.stats().live > 0 && !handle.is_closed() {
            break;
        }
        let _ = timeout(Duration::from_secs(30), handle.closed()).await;
        assert!(started.elapsed() < Duration::from_secs(300));
    }
    let tries = client.status().attempts - attempts;
    assert!(tries <= 60, "{tries} attempts in {:?}", started.elapsed());
    client.shutdown(Duration::from_secs(5)).await;
    server.shutdown(Duration::from_secs(40)).await;
}
