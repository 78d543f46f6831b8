//! A change of protocol in the middle of a stream: each byte is for one of the two.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, SimNetwork};
use netframe_core::{ConnectionInfo, Protocol, Residue, Result, Transport};

use crate::echo::Echo;
use crate::{LONG, SEEDS, pattern, serve, weather};

#[test]
fn each_byte_is_for_one_protocol() {
    sim::seeds(SEEDS, upgrade);
}

/// Counts what comes up to a line's end, tells how much it was, and becomes an echo.
struct Counts {
    net: SimNetwork,
    count: usize,
}

impl Protocol for Counts {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
            self.count += data.split().len();
            return Ok(());
        };
        self.count += data.split_to(end + 1).len();
        t.write(format!("{}\n", self.count).as_bytes());
        if self.net.rng().bool() {
            t.drain().await?;
        }
        let echo = self.net.checked(|_: &ConnectionInfo| Echo);
        t.switch(std::sync::Arc::new(echo), Residue::Feed);
        Ok(())
    }
}

pub(crate) async fn upgrade(net: SimNetwork) {
    net.set_conditions(weather(&net));
    let counts = {
        let net = net.clone();
        move |_: &ConnectionInfo| Counts { net: net.clone(), count: 0 }
    };
    let server = serve(&net, "server", counts).await;
    let mut rng = net.rng();
    let head = rng.usize(0..3000);
    let mut sent = vec![b'x'; head];
    sent.push(b'\n');
    let tail = pattern(rng.usize(0..5000));
    sent.extend_from_slice(&tail);
    let mut stream = net.host("peer").connect("server").await.unwrap();
    let (mut input, mut output) = tokio::io::split(&mut stream);
    let send = async {
        output.write_all(&sent).await.unwrap();
        output.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let ((), read) = tokio::join!(biased; send, input.read_to_end(&mut got));
    read.unwrap();
    let mut wanted = format!("{}\n", head + 1).into_bytes();
    wanted.extend_from_slice(&tail);
    assert!(got == wanted, "{} of {}", got.len(), wanted.len());
    assert_eq!(server.shutdown(LONG).await.aborted, 0);
}
