//! What a connection is told that cannot be served: a few bytes, and the end in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::listener::Incoming;

/// Refusals of a service under way at once; the next ones are closed without a word, as each holds
/// a descriptor and a task.
const MAX_REFUSALS: usize = 64;

/// Time that one of them may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of the peer's that are read and thrown away, so that no reset destroys the refusal.
const MAX_READ: u64 = 64 * 1024;

/// How a service refuses.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    bytes: Bytes,
    under_way: Arc<AtomicUsize>,
}

impl Refusals {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, under_way: Arc::default() }
    }

    /// Tells the peer, in a task of its own, and closes.
    pub(super) fn refuse(&self, incoming: Incoming) {
        if self.bytes.is_empty() || self.under_way.load(Ordering::Relaxed) >= MAX_REFUSALS {
            return;
        }
        let Ok(io) = incoming.into_io() else { return };
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let (bytes, under_way) = (self.bytes.clone(), UnderWay(Arc::clone(&self.under_way)));
        tokio::spawn(async move {
            let _under_way = under_way;
            let (mut reader, mut writer) = tokio::io::split(io);
            let tell = async {
                writer.write_all(&bytes).await?;
                writer.shutdown().await?;
                let mut rest = (&mut reader).take(MAX_READ);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
            };
            // Whether it has heard or not: it is over.
            let _ = timeout(PATIENCE, tell).await;
        });
    }
}

/// One refusal that has not ended.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
