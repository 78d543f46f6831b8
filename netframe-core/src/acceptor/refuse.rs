//! What a connection is told that cannot be served: a few bytes, and the end in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::home::ABORT_GRACE;
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
    under_way: Arc<UnderWay>,
}

/// Those that have not ended.
#[derive(Debug, Default)]
struct UnderWay {
    count: AtomicUsize,
    /// Wakes who waits for the last.
    emptied: Notify,
    /// They are given up.
    give_up: CancellationToken,
}

impl Refusals {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, under_way: Arc::default() }
    }

    /// Tells the peer, in a task of its own, and closes.
    pub(super) fn refuse(&self, incoming: Incoming) {
        if self.bytes.is_empty() || self.under_way.count() >= MAX_REFUSALS {
            return;
        }
        let Ok(io) = incoming.into_io() else { return };
        let (bytes, one) = (self.bytes.clone(), One::start(&self.under_way));
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(io);
            let tell = async {
                writer.write_all(&bytes).await?;
                writer.shutdown().await?;
                let mut rest = (&mut reader).take(MAX_READ);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
            };
            // Whether it has heard or not: it is over.
            let _ = one.0.give_up.run_until_cancelled(timeout(PATIENCE, tell)).await;
            drop((reader, writer)); // before anybody hears that it is over
        });
    }

    /// Waits for those under way, at the latest until `deadline`, when they are given up. Returns how
    /// many there still are, which takes a stream whose `poll` blocks.
    pub(crate) async fn end(&self, deadline: Instant) -> usize {
        if timeout_at(deadline, self.under_way.emptied()).await.is_err() {
            self.under_way.give_up.cancel();
            // The count tells how it went.
            let _ = timeout(ABORT_GRACE, self.under_way.emptied()).await;
        }
        self.under_way.count()
    }
}

impl UnderWay {
    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

/// One of them.
struct One(Arc<UnderWay>);

impl One {
    fn start(under_way: &Arc<UnderWay>) -> Self {
        under_way.count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(under_way))
    }
}

impl Drop for One {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}
