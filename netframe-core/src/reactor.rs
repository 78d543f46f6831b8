//! [`Reactor`]: serves on worker threads of its own, one `current_thread` runtime each.

mod running;
mod worker;

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::running::{Running, ServiceId, ServiceStatus};
use self::worker::{Worker, runtime};
use crate::activity::watch;
use crate::budget::{Budget, Process};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::factory::Factory;
use crate::limits::{LimitError, Timeout};
use crate::server::{DRAIN_DEADLINE, DrainReport, ReadyServer, Server, ServerBuilder};
use crate::service::Count;

/// Time after which a callback that has not come to an `.await` is told of, where no other is given.
/// A human notices it, and it is far above what a busy machine takes from a thread.
const BLOCKED_AFTER: Duration = Duration::from_millis(250);

/// Serves on worker threads of its own, one single-threaded runtime each: a connection never
/// leaves its worker, and nothing on its path is shared with the others.
///
/// To serve inside a runtime that exists already, use [`Server`].
///
/// # Examples
///
/// ```
/// # use netframe_core::{ConnectionInfo, Protocol, Reactor, Result, Transport, Workers};
/// # use netframe_core::bytes::BytesMut;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
/// #         t.write_bytes(d.split().freeze());
/// #         Ok(())
/// #     }
/// # }
/// # fn main() -> Result {
/// let report = Reactor::builder()
///     .workers(Workers::PerCore)
///     .build()?
///     .listen("tcp://127.0.0.1:0", |_: &ConnectionInfo| Echo)?
///     .listen("mem://echo", |_: &ConnectionInfo| Echo)?
///     .run_until(async { /* ctrl_c().await */ })?;
/// assert_eq!(report.aborted, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a reactor serves nothing before `run_until`"]
pub struct Reactor {
    control: runtime::Runtime,
    workers: Vec<Worker>,
    process: Arc<Process>,
    blocked_after: Timeout,
    servers: Vec<ReadyServer>,
}

impl Reactor {
    /// A reactor with one worker per core, or as many as are asked for.
    pub fn builder() -> ReactorBuilder {
        ReactorBuilder {
            workers: Workers::PerCore,
            max_connections: None,
            max_queued: None,
            blocked_after: BLOCKED_AFTER.into(),
        }
    }

    /// Binds an endpoint for `factory`, with default limits. Clients may connect from now on; they
    /// are accepted by [`run_until`](Self::run_until).
    ///
    /// # Errors
    ///
    /// The endpoint is malformed, does not fit the protocol, or cannot be listened on.
    ///
    /// # Panics
    ///
    /// Inside of an async context, where blocking is not allowed: use [`Server`] there.
    pub fn listen<E>(self, endpoint: E, factory: impl Factory) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        self.serve(Server::builder(factory).listen(endpoint)?)
    }

    /// Binds a server with limits, a name, or several endpoints.
    ///
    /// # Errors
    ///
    /// As [`ServerBuilder::bind`].
    ///
    /// # Panics
    ///
    /// Inside of an async context, where blocking is not allowed: use [`Server`] there.
    pub fn serve(mut self, server: ServerBuilder) -> Result<Self, Error> {
        let process = Arc::clone(&self.process);
        let ready = self.control.block_on(server.prepare(&mut Vec::new(), process))?;
        self.servers.push(ready);
        Ok(self)
    }

    /// All endpoints, in the order they were given, with the real ports. A name with several
    /// addresses is replaced by all of them.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.servers.iter().flat_map(|server| &server.endpoints)
    }

    /// Serves until `signal` is ready or a listener breaks, then drains for up to
    /// [`DRAIN_DEADLINE`]; or until all listeners are [exhausted](crate::Listen::is_exhausted) and
    /// the last connection has ended. `signal` is polled on the calling thread, in a runtime of its
    /// own.
    ///
    /// # Errors
    ///
    /// A listener could not be handed to its workers; then nothing was accepted.
    ///
    /// # Panics
    ///
    /// Inside of an async context, where blocking is not allowed: use [`Server`] there.
    pub fn run_until<T>(self, signal: impl Future<Output = T>) -> Result<DrainReport, Error> {
        self.run(|_| async {
            signal.await;
            Instant::now() + DRAIN_DEADLINE
        })
    }

    /// As [`run_until`](Self::run_until), with the services at hand while they run, and the
    /// deadline of the drain as the outcome of `control`. It may begin without any service. A future
    /// that `control` leaves behind in a task of its own is dropped with the reactor.
    ///
    /// # Errors
    ///
    /// As [`run_until`](Self::run_until).
    ///
    /// # Panics
    ///
    /// As [`run_until`](Self::run_until).
    pub fn run<Fut>(self, control: impl FnOnce(Running) -> Fut) -> Result<DrainReport, Error>
    where
        Fut: Future<Output = Instant>,
    {
        let Self { control: runtime, workers, process, blocked_after, servers } = self;
        let (failed, mut failures) = mpsc::channel(1);
        let links = workers.iter().map(Worker::link).collect();
        let running = Running::new(runtime.handle().clone(), links, process, failed);
        let inboxes = workers.iter().map(Worker::inbox).collect();
        runtime.block_on(async {
            if let Some(after) = blocked_after.duration() {
                tokio::spawn(watch(inboxes, after));
            }
            running.start_all(servers).await?;
            let (deadline, failure) = tokio::select! {
                biased;
                deadline = control(running.clone()) => (deadline, None),
                Some(failure) = failures.recv() => (Instant::now() + DRAIN_DEADLINE, Some(failure)),
                () = running.exhausted() => (Instant::now(), None),
            };
            let mut report = running.stop_all(deadline).await;
            report.failure = failure.or_else(|| failures.try_recv().ok());
            Ok(report)
        })
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// Builds a [`Reactor`].
#[derive(Clone, Debug)]
pub struct ReactorBuilder {
    workers: Workers,
    max_connections: Option<NonZeroUsize>,
    max_queued: Option<NonZeroUsize>,
    blocked_after: Timeout,
}

impl ReactorBuilder {
    /// How many worker threads there are.
    pub fn workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Connections at once of all services together, exact, besides the limit that each has for
    /// itself. At the limit none of them accepts. Unlimited where it is not called.
    pub fn max_connections(mut self, count: NonZeroUsize) -> Self {
        self.max_connections = Some(count);
        self
    }

    /// Bytes that may wait in the queues of all connections together because their peers do not take
    /// them. When there is no room for more, the connection with the longest queue among those of
    /// the same service and worker ends with [`CloseKind::Overflow`](crate::CloseKind::Overflow).
    /// Unlimited where it is not called.
    pub fn max_queued(mut self, bytes: NonZeroUsize) -> Self {
        self.max_queued = Some(bytes);
        self
    }

    /// Time that a callback may run without an `.await` before a warning is logged: it blocks its
    /// worker, and every connection on it. Default 250 ms. A longer one is seen within half of that
    /// time, one that runs right after a quiet second within a second.
    pub fn blocked_after(mut self, after: Timeout) -> Self {
        self.blocked_after = after;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// The operating system refused a thread or a descriptor; or `blocked_after` is zero.
    pub fn build(self) -> Result<Reactor, Error> {
        if self.blocked_after == Timeout::After(Duration::ZERO) {
            return Err(LimitError::ZeroTimeout { name: "blocked_after" }.into());
        }
        let failed = |source| Error::Worker { source };
        let count = match self.workers {
            Workers::PerCore => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Workers::Count(count) => count.get(),
        };
        let control = runtime().map_err(failed)?;
        let workers = (0..count).map(Worker::spawn).collect::<io::Result<_>>().map_err(failed)?;
        let process = Arc::new(Process {
            connections: self.max_connections.map(|max| Count::new(max.get())),
            queued: self.max_queued.map(|max| Budget::new(max.get())),
        });
        let blocked_after = self.blocked_after;
        Ok(Reactor { control, workers, process, blocked_after, servers: Vec::new() })
    }
}

/// How many worker threads a reactor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One per core that the process may use.
    PerCore,
    /// This many.
    Count(NonZeroUsize),
}
