//! [`Inner`]: the book of a pool behind its lock, and what carries out its effects.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::book::{Book, Effects, Grant, PlaceId, Refused, Ticket};
use super::checkout::Place;
use super::error::PoolError;
use super::limits::PoolLimits;
use super::status::{PoolStats, PoolStatus};
use super::{Connector, Pooled};
use crate::driver::{caught, panic_text};
use crate::endpoint::Endpoint;
use crate::handle::Handle;
use crate::home::ABORT_GRACE;
use crate::leaks::Leaks;
use crate::limits::deadline;
use crate::server::DrainReport;

type Granted<T> = oneshot::Sender<Place<T>>;
type Books<T> = Book<T, Handle, Granted<T>>;
type Fx<T> = Effects<T, Handle, Granted<T>>;

/// What all clones of a pool, its checkouts and its tasks share.
pub(super) struct Inner<T: Pooled> {
    pub(super) limits: PoolLimits,
    pub(super) connect: Connector<T>,
    /// Cancelled when the pool is closed.
    pub(super) closed: CancellationToken,
    /// Taken for a moment; no user code runs and nothing is woken under it.
    book: Mutex<Books<T>>,
    runtime: runtime::Handle,
    /// Wakes the timer.
    alarm: Notify,
    /// Wakes a shutdown.
    empty: Notify,
}

impl<T: Pooled> Inner<T> {
    /// The shared part of a pool, whose timer runs as a task of the current runtime.
    pub(super) fn start(limits: PoolLimits, connect: Connector<T>) -> Arc<Self> {
        let inner = Arc::new(Self {
            book: Mutex::new(Book::new(limits.clone())),
            limits,
            connect,
            closed: CancellationToken::new(),
            runtime: runtime::Handle::current(),
            alarm: Notify::new(),
            empty: Notify::new(),
        });
        tokio::spawn(Arc::clone(&inner).run_timer());
        inner
    }

    /// Changes the book, and then does what is to be done about it.
    pub(super) fn change<R>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Books<T>, Instant, &mut Fx<T>) -> R,
    ) -> R {
        let (mut fx, now) = (Effects::default(), Instant::now());
        let result = change(&mut self.book(), now, &mut fx);
        self.carry_out(fx);
        result
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut PoolStats)) {
        count(&mut self.book().stats);
    }

    pub(super) fn status(&self) -> PoolStatus {
        self.book().status()
    }

    /// Waits for a place, in the order of asking.
    pub(super) async fn place(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        until: Option<Instant>,
    ) -> Result<Place<T>, PoolError> {
        let (to, mut granted) = oneshot::channel();
        let joined = self.change(|book, now, fx| book.join(endpoint, to, now, fx));
        let ticket = joined.map_err(|refused| match refused {
            Refused::Closed => PoolError::Closed,
            Refused::TooManyWaiting => {
                PoolError::TooManyWaiting { max_waiting: self.limits.max_waiting }
            }
        })?;
        // Dropped before `granted`, with which a grant that came meanwhile is given back.
        let _queued = Queued { inner: self, ticket };
        match by(until, &mut granted).await {
            Some(granted) => granted.map_err(|_| PoolError::Closed),
            None => Err(PoolError::WaitTimeout {
                endpoint: Endpoint::clone(endpoint),
                after: self.timed_out(),
            }),
        }
    }

    /// Somebody did not get a connection in time; returns how long that was.
    pub(super) fn timed_out(&self) -> Duration {
        self.count(|stats| stats.timed_out += 1);
        self.limits.get_timeout.duration().unwrap_or(Duration::MAX)
    }

    /// Watches a connection: notes when it is spent, and frees its place when it has ended, with the
    /// others that were opened on the way to it.
    pub(super) fn watch(self: &Arc<Self>, id: PlaceId, connection: Handle, others: Vec<Handle>) {
        let ends = Ends { inner: Arc::clone(self), id };
        self.runtime.spawn(async move {
            connection.spent().await;
            ends.inner.change(|book, _, fx| book.spent(id, fx));
            connection.closed().await;
            ends.wait_for(others).await;
        });
    }

    /// Frees a place once the connections that were opened for it have ended.
    pub(super) fn linger(self: &Arc<Self>, id: PlaceId, connections: Vec<Handle>) {
        let ends = Ends { inner: Arc::clone(self), id };
        self.runtime.spawn(ends.wait_for(connections));
    }

    /// Closes the pool; returns how many places are taken.
    pub(super) fn close(self: &Arc<Self>) -> usize {
        let taken = self.change(|book, _, fx| {
            if !book.is_closed() {
                book.shut(fx);
            }
            book.size()
        });
        self.closed.cancel();
        taken
    }

    /// Closes the pool, waits until no place is taken, and aborts what is left at the deadline.
    pub(super) async fn shutdown(self: &Arc<Self>, after: Duration) -> DrainReport {
        let deadline = deadline(after);
        let open = self.close();
        let mut aborted = 0;
        if timeout_at(deadline, self.emptied()).await.is_err() {
            let handles = {
                let book = self.book();
                aborted = book.size();
                book.handles()
            };
            warn!(aborted, "the deadline of a pool passed; aborting what is left");
            handles.iter().for_each(Handle::abort);
            // An error means that a handler blocks its thread: it is reported.
            let _ = timeout(ABORT_GRACE, self.emptied()).await;
        }
        let leaks = Leaks { connections: self.book().size(), ..Leaks::default() };
        DrainReport { drained: open - aborted.min(open), aborted, failure: None, leaks }
    }

    async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            if self.book().size() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// The one timer of the pool, until that is closed.
    async fn run_timer(self: Arc<Self>) {
        // If its runtime goes, so do those of the connections' watches.
        let _closes = Closes(&self);
        loop {
            let woken = self.alarm.notified();
            let next = self.change(|book, now, fx| book.next_expiry(now, fx));
            let expired = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.closed.cancelled() => return,
                () = woken => {}
                () = expired => {}
            }
        }
    }

    fn carry_out(self: &Arc<Self>, fx: Fx<T>) {
        let Effects { grants, close, dropped, dismissed, alarm, empty } = fx;
        for (handle, hurried) in close {
            handle.close();
            if hurried {
                self.runtime.spawn(hurry(handle));
            }
        }
        for Grant { to, id, endpoint, idle } in grants {
            // One that nobody waits for any more goes back as it is dropped.
            let _ = to.send(Place::new(self, id, endpoint, idle));
        }
        drop(dismissed);
        for connection in dropped {
            if let Err(panic) = caught(|| drop(connection)) {
                error!(panic = panic_text(&*panic), "the drop of a pooled connection panicked");
            }
        }
        if alarm {
            self.alarm.notify_one();
        }
        if empty {
            self.empty.notify_waiters();
        }
    }

    fn book(&self) -> MutexGuard<'_, Books<T>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time for a connection that was idle to close in order: a round trip to almost anywhere.
const CLOSE_GRACE: Duration = Duration::from_millis(100);

/// Ends a connection that was idle, whose place somebody may want: in order, but without the patience
/// that a peer has who is still to read something.
async fn hurry(handle: Handle) {
    if timeout(CLOSE_GRACE, handle.closed()).await.is_err() && handle.queued() == 0 {
        handle.abort();
    }
}

/// Waits up to a time; `None` if that passes first.
pub(super) async fn by<F: Future>(until: Option<Instant>, future: F) -> Option<F::Output> {
    match until {
        Some(until) => timeout_at(until, future).await.ok(),
        None => Some(future.await),
    }
}

/// One that waits, until it does not.
struct Queued<'a, T: Pooled> {
    inner: &'a Arc<Inner<T>>,
    ticket: Ticket,
}

impl<T: Pooled> Drop for Queued<'_, T> {
    fn drop(&mut self) {
        drop(self.inner.change(|book, _, _| book.leave(self.ticket)));
    }
}

/// Frees a place when it is dropped: its connection has ended, or nobody is there to see that.
struct Ends<T: Pooled> {
    inner: Arc<Inner<T>>,
    id: PlaceId,
}

impl<T: Pooled> Ends<T> {
    async fn wait_for(self, connections: Vec<Handle>) {
        for connection in connections {
            connection.closed().await;
        }
    }
}

impl<T: Pooled> Drop for Ends<T> {
    fn drop(&mut self) {
        self.inner.change(|book, now, fx| book.ended(self.id, now, fx));
    }
}

/// Closes the pool when it is dropped.
struct Closes<'a, T: Pooled>(&'a Arc<Inner<T>>);

impl<T: Pooled> Drop for Closes<'_, T> {
    fn drop(&mut self) {
        self.0.close();
    }
}
