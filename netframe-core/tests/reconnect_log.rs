//! What [`ReconnectingClient`] logs.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

mod log;

use std::time::Duration;

use log::Log;

use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{ConnectionInfo, Protocol, ReconnectingClient, Result, Server, Transport};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn one_attempt_of_a_series_of_failures_is_warned_of() {
    let log = Log::of(&["netframe_core::reconnect"]);
    let _guard = tracing::subscriber::set_default(log.clone());
    let network = MemNetwork::new();
    let client = ReconnectingClient::builder(quiet).network(network.clone()).seed(42);
    let client = client.connect("mem://there").unwrap();

    sleep(SECOND).await;
    let failed = log.take();
    assert_eq!(failed[0], "WARN cannot connect; trying until it works");
    assert!(failed.len() > 2, "{failed:?}");
    assert!(failed[1..].iter().all(|event| event == "DEBUG cannot connect"), "{failed:?}");

    // A short connection does not end the series, and a long one does.
    for (lasts, then) in [
        (SECOND, "DEBUG cannot connect"),
        (10 * SECOND, "WARN cannot connect; trying until it works"),
    ] {
        let server = Server::builder(quiet).network(network.clone());
        let server = server.listen("mem://there").unwrap().bind().await.unwrap();
        client.when_connected().await.unwrap();
        sleep(lasts).await;
        drop(server);
        sleep(60 * SECOND).await;
        let mut logged = log.take();
        logged.retain(|event| event != "DEBUG cannot connect" || event == then);
        logged.dedup();
        assert_eq!(logged, ["DEBUG connected", "INFO connection lost; connecting again", then]);
    }
}

const SECOND: Duration = Duration::from_secs(1);

struct Quiet;

impl Protocol for Quiet {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

fn quiet(_: &ConnectionInfo) -> Quiet {
    Quiet
}
