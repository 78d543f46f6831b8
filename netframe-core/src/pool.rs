//! [`Pool`]: connections that are kept for the next user, so many and no more.

mod begun;
mod book;
mod checkout;
mod error;
mod inner;
mod limits;
mod status;

pub(crate) use self::begun::begins;
pub use self::checkout::Checkout;
pub use self::error::PoolError;
pub use self::limits::PoolLimits;
pub use self::status::{PoolCounts, PoolStats, PoolStatus};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::inner::Inner;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::handle::Handle;
use crate::io::BoxFuture;
use crate::limits::{LimitError, deadline};
use crate::protocol::BoxError;
use crate::server::DrainReport;
use crate::stream::Stream;

/// Connections to any number of endpoints that are used again, and of which there are never more
/// than its [limits](PoolLimits) say.
///
/// [`get`](Self::get) gives an idle connection to the endpoint, the latest that came back first, or
/// opens one by the pool's connect function. The [`Checkout`] gives it back when it is dropped. Cheap
/// to clone; all clones are the same pool.
///
/// **Bounds.** A connection counts from before it is dialled until it has really ended, whatever
/// becomes of its user: one that closes still counts. So does every connection of netframe that the
/// connect function opens, also if it fails or is dropped half-way; only what it opens in other tasks
/// is not seen. A name with several addresses may be tried at two of them at once, as for
/// [`Client::connect`].
///
/// **Order.** Who finds no connection and no place waits. Each connection that comes back, and each
/// place, goes to who has waited longest of those to whom it is of use. If all that somebody lacks is
/// a place in total, the connection to another endpoint that has been idle longest is closed for it,
/// even if others wait for that endpoint too, but not as long: a busy endpoint does not starve another.
/// An idle connection is closed in order, and reset if that takes more than 100 ms with nothing left
/// to send.
///
/// **Dead connections.** One whose peer sends FIN or a reset while it is idle is closed at once, and
/// not handed out. For that up to 64 KiB are read ahead, from the first time it was given back.
///
/// **Names.** Each connection is dialled anew, hence its name looked up anew; none is used again after
/// [`PoolLimits::max_lifetime`]. An endpoint is the same if its text is.
///
/// Dropping the last clone, or the end of the runtime that the pool was built in, closes it as
/// [`close`](Self::close) does.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use netframe_core::{ConnectionInfo, Protocol, Result, Server, Transport, bytes::BytesMut};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
/// #         t.write_bytes(data.split().freeze());
/// #         Ok(())
/// #     }
/// # }
/// use netframe_core::{Endpoint, Pool, Stream};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// # let server = Server::bind("mem://pooled-echo", |_: &ConnectionInfo| Echo).await?;
/// let pool = Pool::new(|endpoint: Endpoint| Stream::connect(endpoint));
/// for question in ["one", "two"] {
///     let mut stream = pool.get("mem://pooled-echo").await?;
///     stream.write_all(question.as_bytes()).await?;
///     let mut answer = [0; 3];
///     stream.read_exact(&mut answer).await?;
///     assert_eq!(answer, question.as_bytes());
/// }
/// let stats = pool.status().stats;
/// assert_eq!((stats.dialled, stats.reused), (1, 1));
///
/// let report = pool.shutdown(Duration::from_secs(1)).await;
/// assert_eq!(report.aborted, 0);
/// # server.shutdown(Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
pub struct Pool<T: Pooled> {
    inner: Arc<Inner<T>>,
    _closes: Arc<Closes<T>>,
}

impl<T: Pooled> Pool<T> {
    /// A pool of what `connect` opens, with default limits.
    ///
    /// `connect` is called once for each connection, without a lock, and is dropped where it waits if
    /// whoever asked is, or the time is over. What it does after the connect, such as a login, is part
    /// of it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new<C, F, E>(connect: C) -> Self
    where
        C: Fn(Endpoint) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self::builder(connect).start()
    }

    /// A pool with limits of its own.
    pub fn builder<C, F, E>(connect: C) -> PoolBuilder<T>
    where
        C: Fn(Endpoint) -> F + Send + Sync + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let connect = Arc::new(connect);
        let connect = move |endpoint| -> BoxFuture<'static, Result<T, BoxError>> {
            // The function itself may panic, which is to happen where it is caught.
            let connect = Arc::clone(&connect);
            Box::pin(async move { connect(endpoint).await.map_err(Into::into) })
        };
        PoolBuilder { connect: Box::new(connect), limits: PoolLimits::default() }
    }

    /// A connection to `endpoint`: one that is idle, or a new one.
    ///
    /// It takes at most [`PoolLimits::get_timeout`], waiting and dialling together.
    ///
    /// # Errors
    ///
    /// The endpoint is malformed; the connect function fails or panics; the time is over, and the error
    /// tells while doing what; too many wait already; or the pool was closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back what it was granted, and leaves the others in their order. A
    /// connection that it was dialling is given up.
    pub async fn get<E>(&self, endpoint: E) -> Result<Checkout<T>, PoolError>
    where
        E: TryInto<Endpoint>,
        PoolError: From<E::Error>,
    {
        let endpoint = Arc::new(endpoint.try_into()?);
        let until = self.inner.limits.get_timeout.duration().map(deadline);
        self.inner.place(&endpoint, until).await?.fill(until).await
    }

    /// What there is now, and what was counted so far. It takes time in proportion to the connections.
    pub fn status(&self) -> PoolStatus {
        self.inner.status()
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.inner.closed.is_cancelled()
    }

    /// Gives no more connections: who waits or dials gets [`PoolError::Closed`], and idle connections
    /// are closed. Those that are checked out are closed when they come back.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Closes the pool, waits up to `deadline` for all connections to end, and aborts the rest then.
    ///
    /// The report counts the connections, those that were closing already included.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts nothing; the pool stays closed.
    pub async fn shutdown(&self, deadline: Duration) -> DrainReport {
        self.inner.shutdown(deadline).await
    }
}

impl<T: Pooled> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), _closes: Arc::clone(&self._closes) }
    }
}

impl<T: Pooled> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("limits", &self.inner.limits)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Closes the pool with the last of its clones.
struct Closes<T: Pooled>(Arc<Inner<T>>);

impl<T: Pooled> Drop for Closes<T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Opens a connection.
type Connector<T> = Box<dyn Fn(Endpoint) -> BoxFuture<'static, Result<T, BoxError>> + Send + Sync>;

/// Builds a [`Pool`]; from [`Pool::builder`].
pub struct PoolBuilder<T: Pooled> {
    connect: Connector<T>,
    limits: PoolLimits,
}

impl<T: Pooled> PoolBuilder<T> {
    /// The bounds of the pool.
    pub fn limits(mut self, limits: PoolLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The pool. Nothing is dialled before somebody asks.
    ///
    /// # Errors
    ///
    /// A limit cannot be.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<Pool<T>, LimitError> {
        self.limits.validate()?;
        Ok(self.start())
    }

    fn start(self) -> Pool<T> {
        let inner = Inner::start(self.limits, self.connect);
        Pool { _closes: Arc::new(Closes(Arc::clone(&inner))), inner }
    }
}

impl<T: Pooled> fmt::Debug for PoolBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What a [`Pool`] can keep: something that uses one connection.
///
/// # Examples
///
/// A connection that knows whether it is between two messages, so that one that was given up in the
/// middle is not used again:
///
/// ```
/// use netframe_core::{Handle, Pooled, Stream};
///
/// struct Questions {
///     stream: Stream,
///     /// Answers that are still to come.
///     pending: usize,
/// }
///
/// impl Pooled for Questions {
///     fn handle(&self) -> Handle {
///         self.stream.handle()
///     }
///
///     fn is_reusable(&self) -> bool {
///         self.pending == 0 && self.stream.is_reusable()
///     }
/// }
/// ```
pub trait Pooled: Send + 'static {
    /// The connection: always the same. Through it the pool closes the connection and learns of its
    /// end; the value is dropped after that, unless it is checked out.
    fn handle(&self) -> Handle;

    /// Whether it may be used again, apart from what the pool sees by itself: that the connection
    /// ends, or that one of its sides has.
    ///
    /// It is asked when the connection is given back, and again before it is handed out, as bytes may
    /// have come while it was idle. It is not called under a lock, and must not wait. One that panics
    /// says no.
    fn is_reusable(&self) -> bool {
        true
    }
}

impl Pooled for Client {
    fn handle(&self) -> Handle {
        self.handle()
    }
}

/// What speaks over a client's connection, such as a client of requests, and that client.
impl<T: Send + 'static> Pooled for (T, Client) {
    fn handle(&self) -> Handle {
        self.1.handle()
    }
}

/// One that has bytes nobody has read is not used again: they belong to an exchange that is over.
impl Pooled for Stream {
    fn handle(&self) -> Handle {
        self.handle()
    }

    fn is_reusable(&self) -> bool {
        !self.has_unread()
    }
}
