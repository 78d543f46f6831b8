//! [`ReconnectingClient`]: stays connected to a server, through restarts and failures, until it is
//! stopped.

mod backoff;
mod status;

pub use self::backoff::{Backoff, BackoffError};
pub use self::status::{
    ReconnectError, ReconnectMonitor, ReconnectState, ReconnectStatus, Stopped,
};

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use self::backoff::Delays;
use self::status::Publisher;
use crate::client::{Client, ClientBuilder, Dialer};
use crate::driver::{caught_async, panic_text};
use crate::endpoint::{Endpoint, EndpointKind};
use crate::error::Error;
use crate::factory::Factory;
use crate::handle::Handle;
use crate::home::Home;
use crate::io::BoxFuture;
use crate::limits::{self, LimitError, Limits, Timeout};
use crate::listener::Connect;
use crate::network::Network;
use crate::protocol;
use crate::resolve::Resolve;
use crate::server::DrainReport;

/// A client that connects again whenever its connection ends, until it is stopped.
///
/// It connects in the background, and runs a new protocol of its factory on every connection. When
/// an attempt fails, or a connection ends, whoever ended it, it waits for a random time that grows
/// with each failure ([`Backoff`]) and tries again; a name is looked up anew. There is at most one
/// connection at a time, and no end to the attempts.
///
/// Bytes that are queued when a connection is lost are lost with it, and nothing tells how much of
/// what was sent had been read: what must not be lost is for the protocol to say again. A
/// connection that is idle ends too ([`Limits::idle_timeout`], 5 min), and is made again. Over
/// datagrams connecting says nothing of the peer, but a
/// [health check](ReconnectingClientBuilder::healthy_when) does.
///
/// Dropping the client stops it and aborts its connection; [`shutdown`](Self::shutdown) ends it in
/// order. Beside its connection a client costs two tasks and about 3 KiB.
///
/// A loss is logged with its reason as `info`. Of the attempts that fail until a connection has
/// lasted for [`Backoff::reset_after`], the first is logged as `warn`, and the others, like
/// success, as `debug`.
///
/// # Examples
///
/// ```
/// # use std::time::Duration;
/// # use netframe_core::{ConnectionInfo, Protocol, ReconnectingClient, Result, Server, Transport};
/// # use netframe_core::bytes::BytesMut;
/// # struct Quiet;
/// # impl Protocol for Quiet {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
/// #         d.clear();
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// # let factory = |_: &ConnectionInfo| Quiet;
/// let client = ReconnectingClient::connect("mem://log", factory)?; // nobody listens yet
/// let server = Server::bind("mem://log", factory).await?;
/// let first = client.when_connected().await?;
/// first.write("hello").await?;
///
/// server.shutdown(Duration::from_secs(1)).await;
/// first.closed().await;
/// let server = Server::bind("mem://log", factory).await?;
/// let second = client.when_connected().await?;
/// assert_ne!(first.id(), second.id());
///
/// let report = client.shutdown(Duration::from_secs(1)).await;
/// assert_eq!(report.aborted, 0);
/// # server.shutdown(Duration::from_secs(1)).await;
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a client stops it"]
pub struct ReconnectingClient {
    monitor: ReconnectMonitor,
    attempts: JoinHandle<()>,
    home: Arc<Home>,
}

impl ReconnectingClient {
    /// Connects to `endpoint` and stays connected, with default limits and the default backoff.
    ///
    /// It returns at once; the attempts, each as [`Client::connect`] makes it, run in a task of the
    /// current runtime.
    ///
    /// # Errors
    ///
    /// What no further attempt can mend: the endpoint is malformed, of a kind that is not built,
    /// does not fit the protocol, or can be connected to only once.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect<E>(endpoint: E, factory: impl Factory) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        Self::builder(factory).connect(endpoint)
    }

    /// A client with limits, a network, a resolver, a backoff or a health check of its own.
    pub fn builder(factory: impl Factory) -> ReconnectingClientBuilder {
        ReconnectingClientBuilder {
            client: Client::builder(factory),
            backoff: Backoff::default(),
            check: None,
            check_timeout: None,
            rng: Rng::new(),
        }
    }

    /// The current connection, or the next healthy one, as [`ReconnectMonitor::when_connected`].
    ///
    /// # Errors
    ///
    /// The client's runtime was stopped.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing: the connection belongs to the client.
    pub async fn when_connected(&self) -> Result<Handle, Stopped> {
        self.monitor.when_connected().await
    }

    /// The current connection; `None` while there is no healthy one.
    pub fn handle(&self) -> Option<Handle> {
        self.monitor.handle()
    }

    /// What the client is doing.
    pub fn status(&self) -> ReconnectStatus {
        self.monitor.status()
    }

    /// The client for other tasks and threads, which does not stop it when dropped.
    pub fn monitor(&self) -> ReconnectMonitor {
        self.monitor.clone()
    }

    /// Gives up connecting at once, asks the connection to finish, waits for it up to `deadline`,
    /// and aborts it then.
    ///
    /// The connection is asked as a server asks its own, through
    /// [`Protocol::draining`](crate::Protocol::draining): by default it closes once everything
    /// queued is sent. One that is still in its health check is aborted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the client: a connection that is still open is aborted.
    pub async fn shutdown(mut self, deadline: Duration) -> DrainReport {
        let deadline = limits::deadline(deadline);
        self.attempts.abort();
        // The error tells that it was cancelled.
        let _ = (&mut self.attempts).await;
        let mut report = self.home.drain_until(deadline).await;
        self.home.service.end(&mut report.leaks, deadline).await;
        report
    }
}

impl Drop for ReconnectingClient {
    fn drop(&mut self) {
        self.attempts.abort();
        self.home.shut_down();
    }
}

impl fmt::Debug for ReconnectingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingClient")
            .field("endpoint", &self.home.service.name)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Says whether a new connection is healthy.
type Check = Box<dyn Fn(Handle) -> BoxFuture<'static, protocol::Result> + Send + Sync>;

/// Builds a [`ReconnectingClient`].
pub struct ReconnectingClientBuilder {
    client: ClientBuilder,
    backoff: Backoff,
    check: Option<Check>,
    /// The connect timeout where none is given.
    check_timeout: Option<Timeout>,
    rng: Rng,
}

impl ReconnectingClientBuilder {
    /// The limits of each connection.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.client = self.client.limits(limits);
        self
    }

    /// The network in which names such as those of `mem://` live; the process's own where none is given.
    pub fn network(mut self, network: impl Into<Network>) -> Self {
        self.client = self.client.network(network);
        self
    }

    /// Who is asked for the addresses of a name, in each attempt; the operating system where none
    /// is given.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.client = self.client.resolver(resolver);
        self
    }

    /// How long to wait before the next attempt.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Checks every new connection before it counts as connected.
    ///
    /// The check runs beside the protocol, which may not have seen `connection_made` yet. It can
    /// write to the connection, and learn of an answer through whatever the factory shares with it.
    /// If it returns an error, panics, or takes longer than
    /// [`healthy_within`](Self::healthy_within), the connection is aborted and the attempt has
    /// failed. If the connection ends first, the check is dropped.
    pub fn healthy_when<F>(mut self, check: impl Fn(Handle) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = protocol::Result> + Send + 'static,
    {
        self.check = Some(Box::new(move |handle| Box::pin(check(handle))));
        self
    }

    /// Time that the health check may take, after connecting; as long as connecting itself
    /// ([`Limits::connect_timeout`], 10 s) where none is given.
    pub fn healthy_within(mut self, timeout: impl Into<Timeout>) -> Self {
        self.check_timeout = Some(timeout.into());
        self
    }

    /// Makes the delays the same in every run, for tests and simulations.
    pub fn seed(mut self, seed: u64) -> Self {
        self.rng = Rng::with_seed(seed);
        self
    }

    /// Connects and stays connected, as [`ReconnectingClient::connect`].
    ///
    /// # Errors
    ///
    /// As [`ReconnectingClient::connect`]; or a limit or the backoff cannot be.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect<E>(self, endpoint: E) -> Result<ReconnectingClient, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        let endpoint = endpoint.try_into()?;
        if endpoint.kind() == EndpointKind::Stdio {
            return Err(Error::ConnectsOnce { endpoint: Box::new(endpoint) });
        }
        self.start(|client| client.dialer(endpoint))
    }

    /// Connects by a connector of one's own and stays connected, as [`connect`](Self::connect);
    /// `endpoint` and the rest are as for [`ClientBuilder::connect_with`].
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect_with`], but for those of an attempt; or the backoff cannot be.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn connect_with<E>(
        self,
        endpoint: E,
        connector: impl Connect,
    ) -> Result<ReconnectingClient, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        let endpoint = endpoint.try_into()?;
        self.start(|client| client.dialer_with(endpoint, connector))
    }

    fn start(
        self,
        dialer: impl FnOnce(ClientBuilder) -> Result<Dialer, Error>,
    ) -> Result<ReconnectingClient, Error> {
        let dialer = dialer(self.client)?;
        self.backoff.validate()?;
        let check_timeout = self.check_timeout.unwrap_or(dialer.limits.connect_timeout);
        if check_timeout == Timeout::After(Duration::ZERO) {
            return Err(LimitError::ZeroTimeout { name: "healthy_within" }.into());
        }
        let home = dialer.home();
        let (publisher, monitor) = Publisher::new();
        let attempts = Attempts {
            dialer,
            home: Arc::clone(&home),
            check: self.check,
            check_timeout,
            delays: Delays::new(self.backoff, self.rng),
            publisher,
            warned: false,
        };
        Ok(ReconnectingClient { monitor, attempts: tokio::spawn(attempts.run()), home })
    }
}

impl fmt::Debug for ReconnectingClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReconnectingClientBuilder")
            .field("client", &self.client)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

/// The task of a client; cancelling it stops the client.
struct Attempts {
    dialer: Dialer,
    home: Arc<Home>,
    check: Option<Check>,
    check_timeout: Timeout,
    delays: Delays,
    publisher: Publisher,
    /// Whether this series of failures was warned of.
    warned: bool,
}

impl Attempts {
    async fn run(mut self) {
        loop {
            self.publisher.connecting();
            let attempted = caught_async(self.attempt())
                .await
                .unwrap_or_else(|panic| Err(ReconnectError::Panic { text: panic_text(&*panic) }));
            let (delay, why) = match attempted {
                Ok(handle) => self.stay(handle).await,
                Err(error) => (self.failed(&error), error),
            };
            // There is one connection at a time, and an aborted one lives until its handler stops.
            self.home.emptied().await;
            let pause = sleep(delay);
            self.publisher.waiting(pause.deadline(), why);
            pause.await;
        }
    }

    /// Opens a connection and checks it.
    async fn attempt(&self) -> Result<Handle, ReconnectError> {
        let incoming = self.dialer.dial().await.map_err(ReconnectError::Connect)?;
        let unchecked = Unchecked(Some(self.dialer.start(incoming, &self.home).0));
        tokio::select! {
            biased; // one that the factory refused is not checked
            reason = unchecked.handle().closed() => return Err(ReconnectError::Lost(reason)),
            checked = self.check(unchecked.handle().clone()) => checked?,
        }
        Ok(unchecked.keep())
    }

    async fn check(&self, handle: Handle) -> Result<(), ReconnectError> {
        let Some(check) = &self.check else { return Ok(()) };
        let checked = match self.check_timeout.duration() {
            None => check(handle).await,
            Some(after) => timeout(after, check(handle))
                .await
                .map_err(|_| ReconnectError::UnhealthyTimeout { after })?,
        };
        checked.map_err(|source| ReconnectError::Unhealthy { source })
    }

    /// Waits for the end of a connection; returns how long to wait then, and why it ended.
    async fn stay(&mut self, handle: Handle) -> (Duration, ReconnectError) {
        let (service, since) = (&self.home.service.name, Instant::now());
        debug!(%service, id = %handle.id(), "connected");
        self.publisher.connected(handle.clone());
        let reason = handle.closed().await;
        if since.elapsed() >= self.delays.backoff.reset_after {
            self.delays.reset();
            self.warned = false;
        }
        let delay = self.delays.after_failure();
        info!(%service, id = %handle.id(), %reason, ?delay, "connection lost; connecting again");
        (delay, ReconnectError::Lost(reason))
    }

    /// Logs a failed attempt; returns how long to wait then.
    fn failed(&mut self, error: &ReconnectError) -> Duration {
        let (service, delay) = (&self.home.service.name, self.delays.after_failure());
        if mem::replace(&mut self.warned, true) {
            debug!(%service, ?error, ?delay, "cannot connect");
        } else {
            warn!(%service, ?error, ?delay, "cannot connect; trying until it works");
        }
        delay
    }
}

/// A connection that is aborted unless it is kept: its attempt may fail, or be given up.
struct Unchecked(Option<Handle>);

impl Unchecked {
    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("only `keep` takes it")
    }

    fn keep(mut self) -> Handle {
        self.0.take().expect("only `keep` takes it")
    }
}

impl Drop for Unchecked {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}
