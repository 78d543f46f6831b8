//! Writes from other tasks, to peers that read slowly.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::sleep;

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, SimNetwork};
use netframe_core::{ConnectionInfo, Handle, Limits, Protocol, Result, Transport};

use crate::{LONG, SEEDS, emptied, pattern, serve_with, weather};

#[test]
fn a_slow_reader_gets_all_of_it_and_costs_no_more_than_its_queue() {
    sim::seeds(SEEDS, slow_reader);
}

struct Tells(mpsc::UnboundedSender<Handle>);

impl Protocol for Tells {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.0.send(t.handle())?;
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

pub(crate) async fn slow_reader(net: SimNetwork) {
    net.set_conditions(weather(&net));
    let mut rng = net.rng();
    let mut limits = Limits::default();
    (limits.high_watermark, limits.low_watermark, limits.hard_cap) = (4096, 1024, 10_000);
    let (told, mut handles) = mpsc::unbounded_channel();
    let tells = move |_: &ConnectionInfo| Tells(told.clone());
    let server = serve_with(&net, "teller", limits, tells).await;
    let reader = tokio::spawn({
        let net = net.host("reader");
        async move {
            let mut rng = net.rng();
            let mut stream = net.connect("teller").await.unwrap();
            let (mut got, mut buf) = (Vec::new(), [0; 3000]);
            loop {
                match stream.read(&mut buf).await.unwrap() {
                    0 => return got,
                    len => got.extend_from_slice(&buf[..len]),
                }
                sleep(Duration::from_millis(rng.u64(0..200))).await;
            }
        }
    });
    let handle = handles.recv().await.unwrap();
    let sent = pattern(60_000);
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rng.usize(1..=rest.len().min(5000)));
        match rng.u8(0..4) {
            0 if handle.try_write(now.to_vec()).is_err() => {
                sleep(Duration::from_millis(5)).await;
                continue;
            }
            0 => {}
            _ => handle.write(now.to_vec()).await.unwrap(),
        }
        assert!(handle.queued() <= 10_000);
        rest = later;
    }
    if rng.bool() {
        handle.close()
    } else {
        handle.close_write()
    }
    assert!(reader.await.unwrap() == sent);
    emptied(&server).await;
    let reason = handle.closed().await;
    assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (60_000, 0));
    server.shutdown(LONG).await;
}
