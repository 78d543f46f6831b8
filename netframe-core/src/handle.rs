//! [`Handle`]: a connection for other tasks and threads.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;

use crate::close_reason::{Cause, CloseKind, CloseReason, Side};
use crate::connection::{Awaited, Core};
use crate::datagram::SendError;
use crate::info::ConnectionId;
use crate::shared::Shared;

/// A connection for other tasks and threads: cheap to clone, and harmless once it has ended.
///
/// A handle does not keep the connection open. From [`Transport::handle`](crate::Transport::handle).
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Number of the connection, unique in this process.
    pub fn id(&self) -> ConnectionId {
        self.shared.id
    }

    /// Queues `data` behind what is queued already; over datagrams it becomes one of its own.
    ///
    /// # Errors
    ///
    /// The queue is above the high watermark, the connection takes no more writes, or `data` cannot
    /// be a datagram. It comes back with the error.
    pub fn try_write(&self, data: impl Into<Bytes>) -> Result<(), TryWriteError> {
        let data = data.into();
        let limits = self.shared.limits();
        let written = self.shared.change(|core| core.write_from_handle(data, limits));
        written.map(drop).map_err(|(data, error)| TryWriteError { data, error })
    }

    /// Queues `data` once the queue is at or below its watermarks.
    ///
    /// # Errors
    ///
    /// The connection takes no more writes; `data` comes back with the error.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has queued nothing.
    pub async fn write(&self, data: impl Into<Bytes>) -> Result<(), TryWriteError> {
        let mut data = data.into();
        loop {
            match self.try_write(data) {
                Err(refused) if !refused.is_closed() => data = refused.data,
                done => return done,
            }
            self.wait(Awaited::Room, |core| {
                if core.is_held() && core.is_writable() { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        }
    }

    /// Has [`Protocol::notified`](crate::Protocol::notified) called soon; calls in between count
    /// as one.
    pub fn notify(&self) {
        self.shared.change(Core::notify);
    }

    /// A waker that [`notify`](Self::notify)s: a protocol polls futures of its own with it in a
    /// callback, and again in `notified`, without a task for any of them. It costs no allocation.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.shared))
    }

    /// Ends our sending side (FIN) once the queue is flushed; reading goes on.
    pub fn close_write(&self) {
        self.shared.change(Core::close_write);
    }

    /// Ends the connection in order, as [`Transport::close`](crate::Transport::close) does.
    pub fn close(&self) {
        let wakes = self.shared.change(|core| {
            core.close();
            core.wake_all()
        });
        wakes.wake();
    }

    /// Ends the connection at once; a pending handler is dropped.
    pub fn abort(&self) {
        self.shared.change(|core| core.abort(Cause::new(Side::Local, CloseKind::Aborted)));
    }

    /// Bytes queued and not yet taken by the transport below.
    pub fn queued(&self) -> usize {
        self.shared.lock().queued()
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.lock().reason().is_some()
    }

    /// Waits for the end of the connection, after `connection_lost` was called.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing.
    pub async fn closed(&self) -> CloseReason {
        self.wait(Awaited::Change, |core| match core.reason() {
            Some(reason) => Poll::Ready(reason.clone()),
            None => Poll::Pending,
        })
        .await
    }

    /// Waits until the peer ends its sending side, or the connection ends. It works while a handler
    /// is pending: up to 64 KiB are then read ahead in search of the end.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing.
    pub async fn peer_eof(&self) {
        self.watch_eof();
        self.wait(Awaited::Change, |core| {
            if core.is_input_over() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until the server of the connection drains, or the connection ends: for who runs beside
    /// the protocol, or in a [`Stream`](crate::Stream). A protocol is told by
    /// [`draining`](crate::Protocol::draining).
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing.
    pub async fn draining(&self) {
        self.wait(Awaited::Change, |core| {
            if core.is_drained() || core.reason().is_some() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Waits until a handle closes the connection.
    pub(crate) async fn closing(&self) {
        self.wait(
            Awaited::Change,
            |core| {
                if core.is_closing() { Poll::Ready(()) } else { Poll::Pending }
            },
        )
        .await;
    }

    /// Waits until the connection cannot be used for another exchange.
    pub(crate) async fn spent(&self) {
        self.wait(
            Awaited::Change,
            |core| {
                if core.is_spent() { Poll::Ready(()) } else { Poll::Pending }
            },
        )
        .await;
    }

    /// Whether it ends, or one of its sides has.
    pub(crate) fn is_spent(&self) -> bool {
        self.shared.lock().is_spent()
    }

    /// From now on the peer's FIN is looked for, as [`peer_eof`](Self::peer_eof) does.
    pub(crate) fn watch_eof(&self) {
        self.shared.change(Core::watch_eof);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits until `ready` is, looking again whenever what is awaited may have happened.
    async fn wait<T>(&self, awaited: Awaited, mut ready: impl FnMut(&mut Core) -> Poll<T>) -> T {
        let mut waiter = Waiter { shared: &self.shared, id: None };
        poll_fn(|cx| {
            let mut core = self.shared.lock();
            let polled = ready(&mut core);
            if polled.is_pending() {
                core.register(&mut waiter.id, cx.waker(), awaited);
            }
            polled
        })
        .await
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.shared.id)
    }
}

/// A registration that ends with its future.
struct Waiter<'a> {
    shared: &'a Shared,
    id: Option<u64>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.lock().unregister(id);
        }
    }
}

/// A write that was not taken, with its bytes.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct TryWriteError {
    data: Bytes,
    error: SendError,
}

impl TryWriteError {
    /// The bytes that were to be written.
    pub fn into_data(self) -> Bytes {
        self.data
    }

    /// Whether a later attempt cannot succeed either: there is more than a full queue in the way.
    pub fn is_closed(&self) -> bool {
        self.error != SendError::Full
    }
}
