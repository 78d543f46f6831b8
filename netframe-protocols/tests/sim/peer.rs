//! A peer that sends, half-closes, and reads to the end.

use std::time::Duration;

use netframe_core::testing::sim::SimNetwork;
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::time::{sleep, timeout};

/// What a peer waits for the next byte, or room for one, before it gives up: longer than any timeout
/// of the server.
pub(crate) const PATIENCE: Duration = Duration::from_secs(400);

/// What a peer got.
#[derive(Default)]
pub(crate) struct Got {
    pub(crate) bytes: Vec<u8>,
    /// EOF came behind it.
    pub(crate) is_whole: bool,
}

/// Sends all of `sent` in pieces, half-closes, and reads to the end, some peers slowly.
pub(crate) async fn talk(net: SimNetwork, sent: Vec<u8>) -> Got {
    let mut rng = net.rng();
    sleep(Duration::from_millis(rng.u64(0..300))).await;
    let mut got = Got::default();
    let Ok(mut stream) = net.connect("server").await else { return got };
    let (mut input, mut output) = split(&mut stream);
    let (piece, pause) = (rng.usize(1..3000), rng.u64(0..20));
    let send = async {
        for piece in sent.chunks(piece) {
            // An error is told by the read, too.
            let Ok(Ok(())) = timeout(PATIENCE, output.write_all(piece)).await else { return };
            sleep(Duration::from_millis(pause)).await;
        }
        let _ = output.shutdown().await;
    };
    let (mut buf, slow) = (vec![0; rng.usize(100..4000)], rng.bool());
    let receive = async {
        while let Ok(Ok(len)) = timeout(PATIENCE, input.read(&mut buf)).await {
            if len == 0 {
                got.is_whole = true;
                return;
            }
            got.bytes.extend_from_slice(&buf[..len]);
            if slow {
                sleep(Duration::from_millis(rng.u64(0..50))).await;
            }
        }
    };
    tokio::join!(biased; send, receive);
    got
}
