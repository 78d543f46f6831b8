//! Shaping: the rates of connections and of services, over memory on a paused clock, so that they are
//! exact; and over sockets, where all bytes must arrive.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::{MemNetwork, MemStream};
use netframe_core::{
    ConnectionInfo, Factory, Limits, Protocol, Quota, Result, Server, Timeout, Transport,
};

/// Sends without end, as its peer takes it.
struct Source;

impl Protocol for Source {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        loop {
            t.write(&[7; 10_000]);
            t.drain().await?;
        }
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

/// A server in a memory network of its own.
struct Memory {
    server: Server,
    network: MemNetwork,
}

impl Memory {
    async fn serve(limits: Limits, factory: impl Factory) -> Self {
        let network = MemNetwork::new();
        let builder = Server::builder(factory).limits(limits).network(network.clone());
        let server = builder.listen("mem://shaped").unwrap().bind().await.unwrap();
        Self { server, network }
    }

    async fn connect(&self) -> MemStream {
        self.network.connect("shaped").await.unwrap()
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Bytes that come from now on, until the time is over.
async fn received(stream: &mut MemStream, time: Duration) -> usize {
    let deadline = Instant::now() + time;
    let (mut count, mut buf) = (0, vec![0; 1 << 20]);
    while let Ok(read) = timeout_at(deadline, stream.read(&mut buf)).await {
        count += read.unwrap();
    }
    count
}

const SECOND: Duration = Duration::from_secs(1);

#[track_caller]
fn about(bytes: usize, wanted: usize) {
    assert!(bytes.abs_diff(wanted) <= 1 + wanted / 50, "{bytes} bytes, which are not {wanted}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_sends_at_its_rate_after_a_second_s_worth() {
    for rate in [1, 10, 1000, 12_345, 1 << 20, 5 << 20] {
        let limits = limits(|l| l.write_rate = Quota::AtMost(rate));
        let memory = Memory::serve(limits, |_: &ConnectionInfo| Source).await;
        let mut peer = memory.connect().await;
        assert_eq!(received(&mut peer, Duration::from_millis(1)).await, rate, "the burst");
        let mut last = 0;
        for seconds in [10, 100] {
            let bytes = received(&mut peer, seconds * SECOND).await;
            about(bytes, rate * seconds as usize);
            last = bytes;
        }
        assert!(last > 0 && memory.server.stats().writes_held_back > 0);
    }
}
