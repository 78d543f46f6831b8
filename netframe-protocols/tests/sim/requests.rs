//! Requests: every call has its own answer, or an error, whatever the network does, and whoever gives
//! calls up.

use std::time::Duration;

use netframe_core::bytes::Bytes;
use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{Backoff, ConnectionInfo, Limits, ReconnectingClient, Result};
use netframe_protocols::codec::{FrameCodec, Raw};
use netframe_protocols::frame::{Endian, Int, Prefixed};
use netframe_protocols::requests::{
    CallError, RequestClient, RequestOptions, RequestServer, WithId,
};
use tokio::time::{sleep, timeout};

use crate::{LONG, SEEDS, bytes, serve};

#[test]
fn each_call_by_id_has_its_own_answer() {
    sim::seeds(SEEDS, by_id);
}

#[test]
fn each_call_in_order_has_its_own_answer() {
    sim::seeds(SEEDS, in_order);
}

pub(crate) async fn by_id(net: SimNetwork) {
    let codec = || FrameCodec::new(framer(), WithId(Raw));
    let rng = net.rng();
    let answer = move |request| answer(rng.clone(), request);
    let server = move |_: &ConnectionInfo| RequestServer::by_id(codec(), answer.clone());
    let (client, connections) = RequestClient::by_id(codec, options(&net));
    converse(&net, server, client, connections).await;
}

pub(crate) async fn in_order(net: SimNetwork) {
    let codec = || FrameCodec::new(framer(), Raw);
    let mut rng = net.rng();
    let max = rng.usize(1..8).try_into().unwrap();
    let answer = move |request| answer(rng.clone(), request);
    let server = move |_: &ConnectionInfo| {
        RequestServer::in_order(codec(), answer.clone()).max_in_flight(max)
    };
    let (client, connections) = RequestClient::in_order(codec, options(&net));
    converse(&net, server, client, connections).await;
}

fn framer() -> Prefixed<Int> {
    Prefixed::int32(Endian::Big)
}

fn options(net: &SimNetwork) -> RequestOptions {
    let mut rng = net.rng();
    let mut options = RequestOptions::default();
    options.max_in_flight = rng.usize(1..8).try_into().unwrap();
    options
}

/// The request itself, some time later.
async fn answer(mut rng: fastrand::Rng, request: Bytes) -> Result<Bytes> {
    let number = request.first().copied().unwrap_or(0);
    for _ in 0..number {
        rng.u8(..);
    }
    sleep(Duration::from_millis(rng.u64(0..50))).await;
    Ok(request)
}

/// Has several tasks call, give up, and call again, in a network that is bad in a way of its own.
async fn converse(
    net: &SimNetwork,
    server: impl netframe_core::Factory,
    client: RequestClient<Bytes, Bytes>,
    connections: impl netframe_core::Factory,
) {
    let mut rng = net.rng();
    let is_calm = rng.u8(0..3) == 0;
    let conditions = Conditions::random(&mut rng);
    net.set_conditions(if is_calm { conditions.without_ends() } else { conditions });
    let server = serve(net, Limits::default(), server).await;
    let host = net.host("client");
    let reconnecting = ReconnectingClient::builder(net.checked(connections)).network(host);
    let mut backoff = Backoff::default();
    backoff.max = Duration::from_secs(1);
    let reconnecting = reconnecting.backoff(backoff).seed(rng.u64(..));
    let reconnecting = reconnecting.connect("sim://server").unwrap();
    let callers: Vec<_> = (0..4_u8)
        .map(|_| {
            let (client, mut rng) = (client.clone(), net.rng());
            tokio::spawn(async move {
                for _ in 0..rng.usize(0..20) {
                    let len = if rng.bool() { rng.usize(0..100) } else { rng.usize(0..30_000) };
                    let asked = Bytes::from(bytes(&mut rng, len));
                    let is_patient = is_calm || rng.bool();
                    let deadline = if is_patient { 3600 } else { rng.u64(1..20) };
                    let call = client.call_within(Duration::from_secs(deadline), asked.clone());
                    let gives_up = rng.u8(0..5) == 0;
                    let patience = if gives_up { rng.u64(0..60) } else { u64::MAX >> 20 };
                    match timeout(Duration::from_millis(patience), call).await {
                        Ok(Ok(answer)) => assert_eq!(answer, asked),
                        Ok(Err(CallError::Lost { .. } | CallError::Late { .. })) => {
                            assert!(!is_calm, "neither the network nor anybody ended a connection");
                        }
                        Ok(Err(error)) => panic!("{error}"),
                        Err(_) => {} // given up
                    }
                    sleep(Duration::from_millis(rng.u64(0..30))).await;
                }
            })
        })
        .collect();
    net.trouble("server", &["client"], if is_calm { 0 } else { rng.u32(0..10) }).await;
    for caller in callers {
        caller.await.unwrap();
    }
    // All has an end: whoever was given up has left nothing behind.
    let report = reconnecting.shutdown(LONG).await;
    assert!(!is_calm || report.aborted == 0);
    let report = server.shutdown(LONG).await;
    assert!(report.failure.is_none(), "{report}");
}
