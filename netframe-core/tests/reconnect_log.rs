//! What [`ReconnectingClient`] logs. It has a process of its own: whether anybody listens to an event
//! is remembered for all threads, and must not be asked by a test beside it.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{ConnectionInfo, Protocol, ReconnectingClient, Result, Server, Transport};
use tokio::time::sleep;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

#[tokio::test(start_paused = true)]
async fn one_attempt_of_a_series_of_failures_is_warned_of() {
    let log = Log::default();
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

/// Keeps the level and the text of each event of the module under test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "netframe_core::reconnect"
    }

    fn event(&self, event: &Event<'_>) {
        struct Text(String);

        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }

        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push(format!("{} {}", event.metadata().level(), text.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Log {
    fn take(&self) -> Vec<String> {
        mem::take(&mut self.0.lock().unwrap())
    }
}
