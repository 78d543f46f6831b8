//! [`ReconnectStatus`]: what a reconnecting client is doing, for whoever wants to know, or waits
//! for a connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::close_reason::CloseReason;
use crate::error::{Error, with_sources};
use crate::handle::Handle;
use crate::protocol::BoxError;

/// What a [`ReconnectingClient`](crate::ReconnectingClient) is doing: a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReconnectStatus {
    /// What it is doing.
    pub state: ReconnectState,
    /// Attempts to connect so far, one that is under way included.
    pub attempts: u64,
    /// Why the latest failed attempt failed, or the latest lost connection was lost. It is kept
    /// while the next connection lives.
    pub last_error: Option<Arc<ReconnectError>>,
}

impl ReconnectStatus {
    /// The connection, if there is one that has not ended.
    fn connection(&self) -> Option<&Handle> {
        match &self.state {
            ReconnectState::Connected(handle) if !handle.is_closed() => Some(handle),
            _ => None,
        }
    }
}

/// What a [`ReconnectingClient`](crate::ReconnectingClient) is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReconnectState {
    /// An attempt is under way: a lookup, a connect, or a health check.
    Connecting,
    /// There is a healthy connection.
    Connected(Handle),
    /// An attempt failed or a connection was lost, and the next attempt is not due yet.
    Waiting {
        /// When the next attempt starts; tokio's time, which tests can pause.
        until: Instant,
    },
    /// The client was stopped, or its runtime was: it will not connect again.
    Stopped,
}

/// Why a [`ReconnectingClient`](crate::ReconnectingClient) is not connected.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ReconnectError {
    /// No connection could be opened.
    #[error(transparent)]
    Connect(Error),
    /// The connection ended, whoever ended it. One that the factory refused was closed by the local
    /// side.
    #[error("connection lost: {0}")]
    Lost(CloseReason),
    /// The health check refused the connection.
    #[error("the health check failed")]
    Unhealthy {
        /// What the check said.
        source: BoxError,
    },
    /// The health check was not done in time.
    #[error(
        "the health check was not done within {after:?}; raise `healthy_within` if it is that slow"
    )]
    UnhealthyTimeout {
        /// The time it was given.
        after: Duration,
    },
    /// The health check, the resolver or the transport panicked.
    #[error("the attempt panicked: {text}")]
    Panic {
        /// What the panic said.
        text: String,
    },
}

/// As it is shown, with its sources.
impl fmt::Debug for ReconnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_sources(self, f)
    }
}

/// The client was stopped: there will be no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client was stopped")]
pub struct Stopped;

/// A [`ReconnectingClient`](crate::ReconnectingClient) for other tasks and threads: cheap to clone,
/// and harmless once the client was stopped. It does not keep the client running.
///
/// From [`ReconnectingClient::monitor`](crate::ReconnectingClient::monitor).
#[derive(Clone, Debug)]
pub struct ReconnectMonitor(watch::Receiver<ReconnectStatus>);

impl ReconnectMonitor {
    /// The current connection, or the next healthy one. Any number of tasks may wait.
    ///
    /// Like every connection, it may end at any time after that.
    ///
    /// # Errors
    ///
    /// The client was stopped, before the call or during it.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing: the connection belongs to the client.
    pub async fn when_connected(&self) -> Result<Handle, Stopped> {
        let mut told = self.0.clone();
        let settled = told.wait_for(|status| {
            status.connection().is_some() || matches!(status.state, ReconnectState::Stopped)
        });
        match &settled.await.map_err(|_| Stopped)?.state {
            ReconnectState::Connected(handle) => Ok(handle.clone()),
            _ => Err(Stopped),
        }
    }

    /// The current connection; `None` while there is no healthy one.
    pub fn handle(&self) -> Option<Handle> {
        self.0.borrow().connection().cloned()
    }

    /// What the client is doing.
    pub fn status(&self) -> ReconnectStatus {
        self.0.borrow().clone()
    }

    /// Waits until the status is another than the one that `changed` told last, and tells it. What
    /// came and went between two calls is left out. A clone starts where it was cloned.
    ///
    /// # Errors
    ///
    /// The client was stopped, and this was told.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing: the change is told by the next call.
    pub async fn changed(&mut self) -> Result<ReconnectStatus, Stopped> {
        self.0.changed().await.map_err(|_| Stopped)?;
        Ok(self.0.borrow_and_update().clone())
    }
}

/// The side of a client that tells its status. Dropping it tells that the client was stopped.
pub(super) struct Publisher {
    status: ReconnectStatus,
    told: watch::Sender<ReconnectStatus>,
}

impl Publisher {
    pub(super) fn new() -> (Self, ReconnectMonitor) {
        let state = ReconnectState::Connecting;
        let status = ReconnectStatus { state, attempts: 0, last_error: None };
        let (told, monitor) = watch::channel(status.clone());
        (Self { status, told }, ReconnectMonitor(monitor))
    }

    pub(super) fn connecting(&mut self) {
        self.status.attempts += 1;
        self.tell(ReconnectState::Connecting);
    }

    pub(super) fn connected(&mut self, handle: Handle) {
        self.tell(ReconnectState::Connected(handle));
    }

    pub(super) fn waiting(&mut self, until: Instant, why: ReconnectError) {
        self.status.last_error = Some(Arc::new(why));
        self.tell(ReconnectState::Waiting { until });
    }

    fn tell(&mut self, state: ReconnectState) {
        self.status.state = state;
        // What it replaces is dropped outside of the lock: an error of the user's may be in it.
        self.told.send_replace(self.status.clone());
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.tell(ReconnectState::Stopped);
    }
}
