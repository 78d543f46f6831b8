//! [`Server`]: serves one factory on one or more endpoints, inside the caller's runtime.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::acceptor::Acceptor;
use crate::bind::{self, Bound, Open, bind};
use crate::budget::Process;
use crate::driver::{caught_async, panic_text};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::factory::{DynFactory, Factory};
use crate::home::{ABORT_GRACE, Home};
use crate::inbox::Inbox;
use crate::io::BoxFuture;
use crate::leaks::Leaks;
use crate::limits::{self, Limits};
use crate::listener::Listen;
use crate::network::Network;
use crate::owner::own;
use crate::protocol::Needs;
use crate::resolve::{Resolve, SystemResolver};
use crate::service::{Counters, Service, Stats};
use crate::sessions::Sessions;

/// Time that a drain takes at most where no other is given.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// A running server: accepts connections and runs a protocol on each.
///
/// Dropping it stops accepting and aborts its connections; [`shutdown`](Self::shutdown) and
/// [`run_until`](Self::run_until) end it in order.
///
/// # Examples
///
/// ```
/// # use netframe_core::{Client, ConnectionInfo, Protocol, Result, Server, Transport};
/// # use netframe_core::bytes::BytesMut;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
/// #         t.write_bytes(d.split().freeze());
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// let server = Server::bind("tcp://127.0.0.1:0", |_: &ConnectionInfo| Echo).await?;
/// println!("listening on {}", server.endpoint()); // with the real port
/// let report = server.run_until(async { /* ctrl_c().await */ }).await;
/// assert_eq!(report.aborted, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a server stops it"]
#[derive(Debug)]
pub struct Server {
    service: Arc<Service>,
    endpoints: Vec<Endpoint>,
    part: ServerPart,
    failures: mpsc::Receiver<io::Error>,
}

impl Server {
    /// Serves `factory` on one endpoint, with default limits.
    ///
    /// Of a name, every address that this machine has is listened on, at the same port.
    ///
    /// # Errors
    ///
    /// The endpoint is malformed, does not fit the protocol, its name has no address, or it cannot
    /// be listened on.
    pub async fn bind<E>(endpoint: E, factory: impl Factory) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        Self::builder(factory).listen(endpoint)?.bind().await
    }

    /// A server with limits, a name, a resolver, or several endpoints.
    pub fn builder(factory: impl Factory) -> ServerBuilder {
        ServerBuilder::new(Arc::new(factory))
    }

    /// The first endpoint, with the real port; of a name it is the first address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoints[0]
    }

    /// All endpoints, in the order they were given, with the real ports. A name with several
    /// addresses is replaced by all of them.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        Stats::new(&self.service, [self.part.home.live_traffic()])
    }

    /// Serves until `signal` is ready or a listener breaks, then drains for up to
    /// [`DRAIN_DEADLINE`]; or until its listeners are [exhausted](Listen::is_exhausted) and its last
    /// connection has ended.
    pub async fn run_until<T>(mut self, signal: impl Future<Output = T>) -> DrainReport {
        let failure = tokio::select! {
            biased;
            _ = signal => None,
            Some(failure) = self.failures.recv() => Some(failure),
            () = self.part.exhausted() => None,
        };
        let mut report = self.shutdown(DRAIN_DEADLINE).await;
        report.failure = failure.or(report.failure);
        report
    }

    /// Stops accepting, asks every connection to finish, waits for them up to `deadline`, and
    /// aborts the rest.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server: connections that are still open are aborted.
    pub async fn shutdown(mut self, deadline: Duration) -> DrainReport {
        self.part.stop();
        stopped(self.part.accepted()).await;
        let deadline = limits::deadline(deadline);
        let mut report = self.part.drain(deadline).await;
        self.service.end(&mut report.leaks, deadline).await;
        // The acceptors have ended, so that whatever broke one of them has been told.
        report.failure = self.failures.try_recv().ok();
        report
    }
}

/// How a server ended.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that were open and ended by themselves in time.
    pub drained: usize,
    /// Connections that were aborted at the deadline.
    pub aborted: usize,
    /// The error of the listener whose failure ended the server, if that is why.
    pub failure: Option<io::Error>,
    /// What has not been given back.
    pub leaks: Leaks,
}

impl DrainReport {
    pub(crate) fn merge(&mut self, other: Self) {
        self.drained += other.drained;
        self.aborted += other.aborted;
        self.failure = self.failure.take().or(other.failure);
        self.leaks.merge(other.leaks);
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} drained, {} aborted", self.drained, self.aborted)?;
        if let Some(failure) = &self.failure {
            write!(f, ", ended by a broken listener: {failure}")?;
        }
        if !self.leaks.is_empty() {
            write!(f, ", not given back: {}", self.leaks)?;
        }
        Ok(())
    }
}

/// Builds a [`Server`].
pub struct ServerBuilder {
    factory: Arc<dyn DynFactory>,
    name: Option<String>,
    limits: Limits,
    refusal: Bytes,
    network: Network,
    resolver: Arc<dyn Resolve>,
    places: Vec<Place>,
}

/// Where a server is to listen.
enum Place {
    Endpoint(Endpoint),
    Listener(Box<dyn Listen>),
}

impl ServerBuilder {
    pub(crate) fn new(factory: Arc<dyn DynFactory>) -> Self {
        Self {
            factory,
            name: None,
            limits: Limits::default(),
            refusal: Bytes::new(),
            network: Network::default(),
            resolver: Arc::new(SystemResolver),
            places: Vec::new(),
        }
    }

    /// Adds an endpoint.
    ///
    /// # Errors
    ///
    /// The endpoint is malformed.
    pub fn listen<E>(mut self, endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        self.places.push(Place::Endpoint(endpoint.try_into()?));
        Ok(self)
    }

    /// Adds a listener of one's own.
    pub fn listen_on(mut self, listener: impl Listen) -> Self {
        self.places.push(Place::Listener(Box::new(listener)));
        self
    }

    /// Name of the service in logs; the first endpoint where none is given.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The limits of the service and of each of its connections.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What a connection is sent before it is closed because there may be none: the service is full
    /// and [refuses](crate::AtLimit::Refuse), or the peer has enough connections. Nothing where it is
    /// not called. Over datagrams nobody is told.
    pub fn refusal(mut self, bytes: impl Into<Bytes>) -> Self {
        self.refusal = bytes.into();
        self
    }

    /// The network in which names such as those of `mem://` live; the process's own where none is given.
    pub fn network(mut self, network: impl Into<Network>) -> Self {
        self.network = network.into();
        self
    }

    /// Who is asked for the addresses of a name; the operating system where none is given.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Checks what can be without the network: that the limits make sense, and that every endpoint
    /// is one that the protocol fits.
    ///
    /// # Errors
    ///
    /// The first that does not. What only the network can tell, such as a port in use, is the error
    /// of [`bind`](Self::bind).
    pub fn validate(&self) -> Result<(), Error> {
        self.limits.validate()?;
        for place in &self.places {
            if let Place::Endpoint(endpoint) = place {
                bind::check(endpoint, self.factory.needs())?;
                bind::can_shape(endpoint, endpoint.kind().is_datagram(), &self.limits)?;
            }
        }
        Ok(())
    }

    /// Binds every endpoint and starts to accept. If one fails, none is left open.
    ///
    /// # Errors
    ///
    /// An endpoint does not fit the protocol or cannot be listened on, or a limit cannot be.
    pub async fn bind(self) -> Result<Server, Error> {
        let ready = self.prepare(&mut Vec::new(), Arc::default()).await?;
        let (failed, failures) = mpsc::channel(1);
        let part = ready.start(None, &failed)?;
        ready.accept();
        Ok(Server { service: ready.service, endpoints: ready.endpoints, part, failures })
    }

    /// Binds every endpoint, but for those that are in `heritage`, which are taken from there;
    /// nothing is accepted yet. `process` has the limits of all services together.
    pub(crate) async fn prepare(
        self,
        heritage: &mut Vec<&BoundPlace>,
        process: Arc<Process>,
    ) -> Result<ReadyServer, Error> {
        self.validate()?;
        let needs = self.factory.needs();
        let mut places = Vec::new();
        for place in self.places {
            places.push(match place {
                Place::Endpoint(endpoint) => match take_over(&endpoint, heritage)? {
                    Some(taken) => taken,
                    None => {
                        let bound = bind(&endpoint, needs, &self.network, &*self.resolver).await?;
                        BoundPlace::new(Some(endpoint), bound)
                    }
                },
                Place::Listener(listener) => BoundPlace::new(None, vec![Bound::custom(listener)]),
            });
        }
        for place in &places {
            if let Some(asked) = &place.asked {
                // An inherited socket has told by now what it carries.
                let is_datagram = place.bound.iter().any(Bound::is_datagram);
                bind::can_shape(asked, is_datagram, &self.limits)?;
            }
        }
        let bound = || places.iter().flat_map(|place| &place.bound);
        let endpoints: Vec<_> = bound().map(Bound::endpoint).collect();
        let name = self.name.unwrap_or_else(|| {
            endpoints.first().map_or_else(|| "server".to_owned(), Endpoint::to_string)
        });
        let service = Service::of_process(name, self.limits, self.refusal, process);
        self.network.watch(&service);
        let open = CancellationToken::new();
        Ok(ReadyServer { service, endpoints, factory: self.factory, places, open })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A server whose endpoints are bound, to be started on one or more workers.
pub(crate) struct ReadyServer {
    pub(crate) service: Arc<Service>,
    pub(crate) endpoints: Vec<Endpoint>,
    factory: Arc<dyn DynFactory>,
    pub(crate) places: Vec<BoundPlace>,
    /// Cancelled when its parts may accept.
    open: CancellationToken,
}

/// What is bound for an endpoint that was asked for, or for a listener of the user's own.
pub(crate) struct BoundPlace {
    asked: Option<Endpoint>,
    bound: Vec<Bound>,
    passed_on: PassedOn,
    /// That of the service this one is to take over from.
    predecessor: Option<PassedOn>,
}

/// Whether another service serves now what comes to a listener or socket, and what waits there.
#[derive(Clone, Debug, Default)]
pub(crate) struct PassedOn(Arc<AtomicBool>);

impl PassedOn {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl BoundPlace {
    fn new(asked: Option<Endpoint>, bound: Vec<Bound>) -> Self {
        Self { asked, bound, passed_on: PassedOn::default(), predecessor: None }
    }
}

/// What of `heritage` is bound for `endpoint`, if it can be shared. It is taken once: whoever asks
/// for the same endpoint again is to be told that it is in use.
fn take_over(
    endpoint: &Endpoint,
    heritage: &mut Vec<&BoundPlace>,
) -> Result<Option<BoundPlace>, Error> {
    let same = heritage.iter().position(|place| place.asked.as_ref() == Some(endpoint));
    let Some(same) = same else { return Ok(None) };
    let old = heritage.remove(same);
    let clones = old.bound.iter().filter_map(|bound| bound.try_clone().transpose());
    let bound = clones
        .collect::<io::Result<Vec<_>>>()
        .map_err(|source| Error::Listen { endpoint: Box::new(endpoint.clone()), source })?;
    Ok((!bound.is_empty()).then(|| BoundPlace {
        predecessor: Some(old.passed_on.clone()),
        ..BoundPlace::new(Some(endpoint.clone()), bound)
    }))
}

impl ReadyServer {
    /// It has what it took over to itself from now on.
    pub(crate) fn take_over(&self) {
        let predecessors = self.places.iter().filter_map(|place| place.predecessor.as_ref());
        predecessors.for_each(PassedOn::set);
    }

    /// All its parts accept from now on.
    pub(crate) fn accept(&self) {
        self.open.cancel();
    }

    /// Starts the part of the current runtime, which is one worker of the server. It accepts nothing
    /// before [`accept`](Self::accept): should another part not start, no connection is lost.
    pub(crate) fn start(
        &self,
        inbox: Option<Arc<Inbox>>,
        failed: &mpsc::Sender<io::Error>,
    ) -> Result<ServerPart, Error> {
        let home = Home::start(Arc::clone(&self.service), inbox);
        let stop = CancellationToken::new();
        let mut runs = Vec::new();
        let places = self.places.iter();
        for (place, bound) in places.flat_map(|place| place.bound.iter().map(move |b| (place, b))) {
            let run = bound.open().and_then(|open| {
                let passed_on = place.passed_on.clone();
                open.map(|open| self.serve(open, passed_on, &home, stop.clone())).transpose()
            });
            let listen = |source| Error::Listen { endpoint: Box::new(bound.endpoint()), source };
            runs.extend(run.map_err(listen)?.map(|run| (bound.endpoint(), run)));
        }
        let mut acceptors = Vec::new();
        for (endpoint, run) in runs {
            let (service, failed) = (Arc::clone(&self.service), failed.clone());
            let ended = CancellationToken::new();
            let end = ended.clone().drop_guard();
            let open = self.open.clone();
            let task = tokio::spawn(async move {
                let _end = end;
                open.cancelled().await;
                let error = match caught_async(run).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => error,
                    Err(panic) => io::Error::other(format!("it panicked: {}", panic_text(&*panic))),
                };
                Counters::add(&service.counters.broken_listeners);
                error!(service = %service.name, %endpoint, %error, "the listener is broken");
                // A failure that was told already is in the way only of another one.
                let _ = failed.try_send(error);
            });
            acceptors.push((task.abort_handle(), ended));
        }
        Ok(ServerPart { home, stop, acceptors })
    }

    /// What serves one endpoint on one worker until `stop`.
    fn serve(
        &self,
        open: Open,
        passed_on: PassedOn,
        home: &Arc<Home>,
        stop: CancellationToken,
    ) -> io::Result<BoxFuture<'static, io::Result<()>>> {
        let (factory, home) = (Arc::clone(&self.factory), Arc::clone(home));
        Ok(match open {
            Open::Listener(listener) => {
                Box::pin(Acceptor::new(listener, factory, home).run(stop, passed_on))
            }
            Open::Datagrams(bound) => {
                if factory.needs() == Needs::Datagram {
                    let endpoint = bound.endpoint.clone();
                    Box::pin(own(bound.start()?, passed_on, endpoint, factory, home, stop))
                } else {
                    Box::pin(Sessions::start(*bound, factory, home)?.run(stop, passed_on))
                }
            }
        })
    }
}

/// Waits until what was stopped accepts no more. Only a callback that blocks its thread makes that take
/// long: then the drain begins nevertheless, which asks to finish whoever is accepted yet.
pub(crate) async fn stopped(accepted: impl Future<Output = ()>) {
    // The drain's report tells what did not stop.
    let _ = timeout(ABORT_GRACE, accepted).await;
}

/// What of a server runs on one worker. Dropping it stops accepting and aborts.
pub(crate) struct ServerPart {
    home: Arc<Home>,
    stop: CancellationToken,
    /// The tasks that accept, each with a token that is cancelled when it has ended.
    acceptors: Vec<(AbortHandle, CancellationToken)>,
}

impl ServerPart {
    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Waits until no listener accepts any more and the last connection has ended.
    pub(crate) async fn exhausted(&self) {
        self.accepted().await;
        self.home.emptied().await;
    }

    /// Waits until no listener accepts any more.
    pub(crate) async fn accepted(&self) {
        for (_, ended) in &self.acceptors {
            ended.cancelled().await;
        }
    }

    /// Its listeners shall accept no more.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Drains until `deadline`, aborts the rest, and reports; what the service leaks is not looked at
    /// yet. Nothing is accepted any more.
    pub(crate) async fn drain(&self, deadline: Instant) -> DrainReport {
        let mut report = self.home.drain_until(deadline).await;
        let stuck = self.acceptors.iter().filter(|(_, ended)| !ended.is_cancelled());
        report.leaks.listeners = stuck.count();
        report
    }
}

impl Drop for ServerPart {
    fn drop(&mut self) {
        self.stop.cancel();
        self.acceptors.iter().for_each(|(task, _)| task.abort());
        self.home.shut_down();
    }
}

impl fmt::Debug for ServerPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.home.fmt(f)
    }
}
