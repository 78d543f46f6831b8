//! [`Reactor`]: serves on worker threads of its own, one `current_thread` runtime each.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::factory::Factory;
use crate::home::Home;
use crate::inbox::Inbox;
use crate::server::{DRAIN_DEADLINE, DrainReport, ReadyServer, Server, ServerBuilder, ServerPart};
use crate::service::{Service, Stats};

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
    servers: Vec<ReadyServer>,
}

impl Reactor {
    /// A reactor with one worker per core, or as many as are asked for.
    pub fn builder() -> ReactorBuilder {
        ReactorBuilder { workers: Workers::PerCore }
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
        let ready = self.control.block_on(server.prepare())?;
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

    /// As [`run_until`](Self::run_until), with the counters at hand while it serves, and the
    /// deadline of the drain as the outcome of `control`. A future that `control` leaves behind in
    /// a task of its own is dropped with the reactor.
    ///
    /// # Errors
    ///
    /// As [`run_until`](Self::run_until).
    ///
    /// # Panics
    ///
    /// As [`run_until`](Self::run_until).
    pub fn run<Fut>(self, control: impl FnOnce(Monitor) -> Fut) -> Result<DrainReport, Error>
    where
        Fut: Future<Output = Instant>,
    {
        let Self { control: runtime, workers, servers } = self;
        let (failed, mut failures) = mpsc::channel(1);
        let servers: Vec<_> = servers.into_iter().map(Arc::new).collect();
        let mut parts = Vec::new();
        for worker in &workers {
            for server in &servers {
                parts.push((Arc::clone(&server.service), worker.start(server, &failed)?));
            }
        }
        let monitor = Monitor {
            services: servers
                .iter()
                .map(|server| {
                    let homes =
                        parts.iter().filter(|(service, _)| Arc::ptr_eq(service, &server.service));
                    let homes = homes.map(|(_, part)| Arc::clone(part.home())).collect();
                    (Arc::clone(&server.service), homes)
                })
                .collect(),
        };
        drop(servers); // with its acceptors a listener closes
        runtime.block_on(async {
            let (deadline, failure) = tokio::select! {
                biased;
                deadline = control(monitor) => (deadline, None),
                Some(failure) = failures.recv() => (Instant::now() + DRAIN_DEADLINE, Some(failure)),
                () = exhausted(&mut parts) => (Instant::now(), None),
            };
            // Nothing is accepted any more, on any worker, before a connection is asked to finish.
            for (_, part) in &mut parts {
                part.stop_accepting().await;
            }
            let mut drains: JoinSet<_> =
                parts.into_iter().map(|(_, part)| part.drain(deadline)).collect();
            let mut report = DrainReport { failure, ..DrainReport::default() };
            while let Some(drained) = drains.join_next().await {
                report.merge(drained.unwrap_or_default());
            }
            report.failure = report.failure.or_else(|| failures.try_recv().ok());
            Ok(report)
        })
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reactor").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// The counters of a running reactor.
#[derive(Clone, Debug)]
pub struct Monitor {
    services: Vec<(Arc<Service>, Vec<Arc<Home>>)>,
}

impl Monitor {
    /// What each service has seen so far, by its name.
    pub fn stats(&self) -> Vec<(String, Stats)> {
        let stats = |(service, homes): &(Arc<Service>, Vec<Arc<Home>>)| {
            let live = homes.iter().map(|home| home.live_traffic());
            (service.name.clone(), Stats::new(service, live))
        };
        self.services.iter().map(stats).collect()
    }
}

/// Builds a [`Reactor`].
#[derive(Clone, Debug)]
pub struct ReactorBuilder {
    workers: Workers,
}

impl ReactorBuilder {
    /// How many worker threads there are.
    pub fn workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    ///
    /// The operating system refused a thread or a descriptor.
    pub fn build(self) -> Result<Reactor, Error> {
        let failed = |source| Error::Worker { source };
        let count = match self.workers {
            Workers::PerCore => thread::available_parallelism().map_or(1, NonZeroUsize::get),
            Workers::Count(count) => count.get(),
        };
        let control = runtime().map_err(failed)?;
        let workers = (0..count).map(Worker::spawn).collect::<io::Result<_>>().map_err(failed)?;
        Ok(Reactor { control, workers, servers: Vec::new() })
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

/// One thread with its runtime; it ends when it is dropped.
struct Worker {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker does for the reactor, inside of its runtime.
type Job = Box<dyn FnOnce() + Send>;

impl Worker {
    fn spawn(index: usize) -> io::Result<Self> {
        let runtime = runtime()?;
        let inbox = Arc::new(Inbox::default());
        let (jobs, mut todo) = mpsc::unbounded_channel::<Job>();
        let reader = Arc::clone(&inbox);
        let thread = thread::Builder::new().name(format!("netframe-{index}")).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(reader.run());
                while let Some(job) = todo.recv().await {
                    job();
                }
            });
        })?;
        Ok(Self { jobs: Some(jobs), inbox, thread: Some(thread) })
    }

    /// Starts a server's part on this worker.
    fn start(
        &self,
        server: &Arc<ReadyServer>,
        failed: &mpsc::Sender<io::Error>,
    ) -> Result<ServerPart, Error> {
        let (done, started) = std_mpsc::channel();
        let (server, failed, inbox) = (Arc::clone(server), failed.clone(), Arc::clone(&self.inbox));
        let job: Job = Box::new(move || {
            // Nobody listens only when the reactor has given up already.
            let _ = done.send(server.start(Some(inbox), &failed));
        });
        let gone = || Error::Worker { source: io::ErrorKind::BrokenPipe.into() };
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())?;
        started.recv().map_err(|_| gone())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // An error is a panic of the thread, which has been printed.
            let _ = thread.join();
        }
    }
}

/// Waits until every part is exhausted; one that is stays so.
async fn exhausted(parts: &mut [(Arc<Service>, ServerPart)]) {
    for (_, part) in parts {
        part.exhausted().await;
    }
}

fn runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}
