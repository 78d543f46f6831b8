//! [`Checkout`]: a connection that belongs to whoever asked for it, until it goes back.

use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread;

use tokio::time::Instant;

use super::Pooled;
use super::begun::Begun;
use super::book::{PlaceId, Rest};
use super::error::PoolError;
use super::inner::{Inner, by};
use crate::driver::{caught, caught_async, panic_text};
use crate::endpoint::Endpoint;
use crate::handle::Handle;

/// A connection from a [`Pool`](crate::Pool), for one user at a time.
///
/// Dropping it gives the connection back, to be used again. That is only right between two messages:
/// where a dialogue may be given up half-way, as when its future is dropped, the type of the
/// connection has to know ([`Pooled::is_reusable`]), or the checkout is [closed](Self::close). One
/// that is dropped by a panic is closed.
///
/// A connection that has ended, or whose peer has ended its side, is not used again whatever one
/// does. It may be in that state at once: a peer that ends it while it is being handed out cannot be
/// told from one that does so a moment later. So a request that may be repeated is best repeated, once.
#[must_use = "a checkout that is dropped goes back to its pool"]
pub struct Checkout<T: Pooled> {
    inner: Arc<Inner<T>>,
    id: PlaceId,
    connection: Option<T>,
}

impl<T: Pooled> Checkout<T> {
    /// Ends the connection in order, rather than giving it back. Its place is taken until it has
    /// ended.
    pub fn close(mut self) {
        self.let_go(|connection| connection.handle().close());
    }

    /// Ends the connection at once, with a reset.
    pub fn abort(mut self) {
        self.let_go(|connection| connection.handle().abort());
    }

    /// Takes the connection out: it will not go back. Its place is taken until it has ended, and a
    /// [shutdown](crate::Pool::shutdown) waits for it too.
    #[expect(clippy::missing_panics_doc, reason = "only a bug here could")]
    pub fn into_inner(mut self) -> T {
        self.connection.take().expect(TAKEN_LAST)
    }

    fn let_go(&mut self, end: impl FnOnce(&T)) {
        let connection = self.connection.take().expect(TAKEN_LAST);
        end(&connection);
        self.inner.change(|book, _, fx| book.let_go(self.id, connection, fx));
    }
}

const TAKEN_LAST: &str = "only what consumes the checkout takes the connection";

impl<T: Pooled> Deref for Checkout<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.connection.as_ref().expect(TAKEN_LAST)
    }
}

impl<T: Pooled> DerefMut for Checkout<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.connection.as_mut().expect(TAKEN_LAST)
    }
}

impl<T: Pooled> Drop for Checkout<T> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let reusable = !thread::panicking() && is_reusable(&connection);
        self.inner.change(|book, now, fx| {
            book.give_back(self.id, connection, reusable, None, now, fx);
        });
    }
}

impl<T: Pooled + fmt::Debug> fmt::Debug for Checkout<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checkout").field(&self.connection).finish()
    }
}

/// Whether a connection may be used by the next. From now on the end of its peer's side is looked for.
fn is_reusable<T: Pooled>(connection: &T) -> bool {
    caught(|| {
        let handle = connection.handle();
        handle.watch_eof();
        !handle.is_spent() && connection.is_reusable()
    })
    .unwrap_or(false)
}

/// A place on its way from the book to a checkout. However it goes away, the book gets back what was
/// granted.
pub(super) struct Place<T: Pooled> {
    inner: Arc<Inner<T>>,
    id: PlaceId,
    endpoint: Arc<Endpoint>,
    held: Held<T>,
}

enum Held<T> {
    /// A connection that was idle.
    Idle(T, Rest),
    /// One that was idle, and has to end before another is dialled in its place.
    Useless,
    /// None yet; what was opened on the way to it.
    Dialling(Begun),
    /// The checkout has it.
    Nothing,
}

impl<T: Pooled> Place<T> {
    pub(super) fn new(
        inner: &Arc<Inner<T>>,
        id: PlaceId,
        endpoint: Arc<Endpoint>,
        idle: Option<(T, Rest)>,
    ) -> Self {
        let held = match idle {
            Some((connection, rest)) => Held::Idle(connection, rest),
            None => Held::Dialling(Begun::default()),
        };
        Self { inner: Arc::clone(inner), id, endpoint, held }
    }

    /// The connection for this place: the idle one that was granted, if it is good, or a new one.
    pub(super) async fn fill(mut self, until: Option<Instant>) -> Result<Checkout<T>, PoolError> {
        match mem::replace(&mut self.held, Held::Nothing) {
            Held::Idle(connection, _) if is_reusable(&connection) => {
                self.inner.change(|book, now, fx| book.taken(self.id, now, fx));
                return Ok(self.checkout(connection));
            }
            Held::Idle(useless, _) => {
                self.held = Held::Useless;
                self.replace(useless, until).await?;
            }
            other => self.held = other,
        }
        self.dial(until).await
    }

    /// Ends a connection of no use, and keeps its place for another.
    async fn replace(&mut self, useless: T, until: Option<Instant>) -> Result<(), PoolError> {
        let handles = self.inner.change(|book, _, _| book.handles_of(self.id));
        handles.iter().for_each(Handle::abort);
        let ended = async {
            for handle in &handles {
                handle.closed().await;
            }
        };
        if by(until, ended).await.is_none() {
            return Err(self.timed_out());
        }
        drop(useless);
        self.id = self.inner.change(|book, _, _| book.replaced(self.id));
        self.held = Held::Dialling(Begun::default());
        Ok(())
    }

    async fn dial(mut self, until: Option<Instant>) -> Result<Checkout<T>, PoolError> {
        let Held::Dialling(begun) = &self.held else {
            return Err(PoolError::Closed); // `fill` has seen to it that this is not so
        };
        let inner = Arc::clone(&self.inner);
        let attempt = async {
            let connection = (inner.connect)(Endpoint::clone(&self.endpoint)).await?;
            let handle = connection.handle();
            Ok((connection, handle))
        };
        let dialled = tokio::select! {
            biased; // a pool that was closed opens nothing
            () = inner.closed.cancelled() => return Err(PoolError::Closed),
            dialled = by(until, begun.during(caught_async(attempt))) => dialled,
        };
        let endpoint = || Endpoint::clone(&self.endpoint);
        let opened = match dialled {
            Some(Ok(Ok(opened))) => Ok(opened),
            Some(Ok(Err(source))) => Err(PoolError::Connect { endpoint: endpoint(), source }),
            Some(Err(panic)) => {
                Err(PoolError::Panic { endpoint: endpoint(), text: panic_text(&*panic) })
            }
            None => Err(self.timed_out()),
        };
        let (connection, handle) =
            opened.inspect_err(|_| inner.count(|stats| stats.failed += 1))?;
        let mut others = begun.take();
        others.retain(|other| other.id() != handle.id());
        let handles = [handle.clone()].into_iter().chain(others.iter().cloned()).collect();
        inner.change(|book, now, _| book.dialled(self.id, handles, now));
        self.held = Held::Nothing;
        inner.watch(self.id, handle, others);
        Ok(self.checkout(connection))
    }

    fn timed_out(&self) -> PoolError {
        let endpoint = Endpoint::clone(&self.endpoint);
        PoolError::DialTimeout { endpoint, after: self.inner.timed_out() }
    }

    fn checkout(&self, connection: T) -> Checkout<T> {
        Checkout { inner: Arc::clone(&self.inner), id: self.id, connection: Some(connection) }
    }
}

impl<T: Pooled> Drop for Place<T> {
    fn drop(&mut self) {
        let (inner, id) = (&self.inner, self.id);
        match mem::replace(&mut self.held, Held::Nothing) {
            Held::Idle(connection, rest) => inner.change(|book, now, fx| {
                book.give_back(id, connection, true, Some(rest), now, fx);
            }),
            Held::Useless => inner.change(|book, now, fx| book.declined(id, now, fx)),
            Held::Dialling(begun) => {
                let left = begun.take();
                inner.change(|book, now, fx| book.undialled(id, left.clone(), now, fx));
                if !left.is_empty() {
                    inner.linger(id, left);
                }
            }
            Held::Nothing => {}
        }
    }
}
