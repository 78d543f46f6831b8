//! [`Running`]: what a reactor serves, to be looked at and changed while it runs.

use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::info;

use super::worker::Link;
use crate::budget::{Budget, Process};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::limits::deadline;
use crate::server::{DrainReport, ReadyServer, ServerBuilder, ServerPart, stopped};
use crate::service::{Service, Stats};

/// A running reactor: its services, to be looked at and changed. Cheap to clone, and harmless once
/// the reactor has ended.
#[derive(Clone)]
pub struct Running {
    state: Arc<State>,
}

struct State {
    /// The reactor's own runtime: what it began there goes on whoever asked for it.
    control: Handle,
    workers: Vec<Link>,
    process: Arc<Process>,
    failed: mpsc::Sender<io::Error>,
    services: Mutex<Services>,
    /// Held during a change, so that two of them do not mix.
    change: AsyncMutex<()>,
    /// The list of services is another one.
    changed: Notify,
}

#[derive(Default)]
struct Services {
    all: Vec<Arc<RunningService>>,
    /// The reactor stops: there will be no others.
    over: bool,
}

/// A service on all its workers.
struct RunningService {
    id: ServiceId,
    service: Arc<Service>,
    endpoints: Vec<Endpoint>,
    parts: Vec<Arc<ServerPart>>,
    /// Keeps the listeners, for a successor. With the last of its acceptors a listener closes.
    ready: Mutex<Option<Arc<ReadyServer>>>,
    stopping: AtomicBool,
}

/// Number of a service, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceId(u64);

/// A service of a running reactor, as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// What [`Running::replace`] knows it by.
    pub id: ServiceId,
    /// Its name.
    pub name: String,
    /// All its endpoints, with the real ports.
    pub endpoints: Vec<Endpoint>,
    /// It accepts no more, and its connections are asked to finish.
    pub stopping: bool,
    /// What it has seen so far.
    pub stats: Stats,
}

impl Running {
    pub(super) fn new(
        control: Handle,
        workers: Vec<Link>,
        process: Arc<Process>,
        failed: mpsc::Sender<io::Error>,
    ) -> Self {
        Self {
            state: Arc::new(State {
                control,
                workers,
                process,
                failed,
                services: Mutex::default(),
                change: AsyncMutex::default(),
                changed: Notify::new(),
            }),
        }
    }

    /// Every service as it is now, those that are being stopped included.
    pub fn services(&self) -> Vec<ServiceStatus> {
        self.snapshot().iter().map(|service| service.status()).collect()
    }

    /// Bytes that wait in queues, as [`max_queued`](super::ReactorBuilder::max_queued) counts them;
    /// 0 where that has not been called.
    pub fn queued(&self) -> usize {
        self.state.process.queued.as_ref().map_or(0, Budget::used)
    }

    /// Stops some services and starts others, or changes nothing.
    ///
    /// First everything new is bound; where a service that stops has the same endpoint, its
    /// listener is taken over, so that no connection in the queue is lost. Only if all of it
    /// succeeds, the new services start to accept, and the old ones stop: their connections are
    /// asked to finish, and aborted after `drain`. The others are not touched. A reactor whose last
    /// service was stopped goes on, and waits for others.
    ///
    /// Returns when the new services accept, with their numbers; the old ones then still drain.
    ///
    /// UDP sessions of a service whose socket is taken over may still answer, but receive no more:
    /// the next datagram of their peer begins a session of the new service. A protocol that has the
    /// whole socket receives no more either.
    ///
    /// # Errors
    ///
    /// As [`ServerBuilder::bind`]; or the reactor stops.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has changed nothing, or all.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn replace(
        &self,
        stop: &[ServiceId],
        start: Vec<ServerBuilder>,
        drain: Duration,
    ) -> Result<Vec<ServiceId>, Error> {
        let _one_at_a_time = self.state.change.lock().await;
        let mut old = self.snapshot();
        old.retain(|service| stop.contains(&service.id) && !service.is_stopping());
        let held: Vec<_> = old.iter().filter_map(|service| service.ready().clone()).collect();
        let mut heritage = held.iter().flat_map(|server| &server.places).collect();
        let mut ready = Vec::new();
        for server in start {
            let process = Arc::clone(&self.state.process);
            ready.push(server.prepare(&mut heritage, process).await?);
        }
        let mut new = Vec::new();
        for server in ready {
            new.push(self.start(server).await?);
        }
        {
            let mut services = self.state.services();
            if services.over {
                return Err(Error::Worker { source: io::ErrorKind::BrokenPipe.into() });
            }
            services.all.extend(new.iter().cloned());
        }
        for server in new.iter().filter_map(|service| service.ready().clone()) {
            server.take_over();
            server.accept();
        }
        drop(held);
        for service in &old {
            service.stopping.store(true, Ordering::SeqCst);
            let (state, service) = (Arc::clone(&self.state), Arc::clone(service));
            self.state.control.spawn(async move {
                service.stop();
                stopped(service.accepted()).await;
                let report = service.drain(deadline(drain)).await;
                info!(name = service.service.name, "service stopped: {report}");
                let mut services = state.services();
                // When the reactor stops, its list is that of what it stopped.
                if !services.over {
                    services.all.retain(|other| other.id != service.id);
                }
                drop(services);
                state.changed.notify_waiters();
            });
        }
        self.state.changed.notify_waiters();
        Ok(new.iter().map(|service| service.id).collect())
    }

    /// Waits until a service that [`replace`](Self::replace) stops has ended, and returns what it has
    /// seen; `None` if it has ended already, or there never was one of this number.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the next call waits on.
    pub async fn ended(&self, id: ServiceId) -> Option<ServiceStatus> {
        let service = self.snapshot().into_iter().find(|service| service.id == id)?;
        loop {
            let changed = self.state.changed.notified();
            if !self.snapshot().iter().any(|other| other.id == id) {
                return Some(service.status());
            }
            changed.await;
        }
    }

    /// Starts the services that a reactor begins with.
    pub(super) async fn start_all(&self, servers: Vec<ReadyServer>) -> Result<(), Error> {
        let mut services = Vec::new();
        for server in servers {
            services.push(self.start(server).await?);
        }
        for server in services.iter().filter_map(|service| service.ready().clone()) {
            server.accept();
        }
        self.state.services().all.extend(services);
        Ok(())
    }

    /// Starts a service on every worker; it does not accept yet.
    async fn start(&self, server: ReadyServer) -> Result<Arc<RunningService>, Error> {
        static LAST_ID: AtomicU64 = AtomicU64::new(0);
        let server = Arc::new(server);
        let mut parts = Vec::new();
        for worker in &self.state.workers {
            parts.push(Arc::new(worker.start(&server, &self.state.failed).await?));
        }
        Ok(Arc::new(RunningService {
            id: ServiceId(LAST_ID.fetch_add(1, Ordering::Relaxed)),
            service: Arc::clone(&server.service),
            endpoints: server.endpoints.clone(),
            parts,
            ready: Mutex::new(Some(server)),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Waits until no listener accepts any more and the last connection has ended, though nobody has
    /// stopped them.
    pub(super) async fn exhausted(&self) {
        loop {
            let mut changed = pin!(self.state.changed.notified());
            let services = self.snapshot();
            let all = async {
                for part in services.iter().flat_map(|service| &service.parts) {
                    part.exhausted().await;
                }
            };
            tokio::select! {
                biased;
                () = all => {}
                () = &mut changed => continue,
            }
            // Those that a change has stopped may have ended before anybody heard of the change.
            let same = |(one, other)| Arc::ptr_eq(one, other);
            let now = self.snapshot();
            let is_changed = now.len() != services.len() || !now.iter().zip(&services).all(same);
            let is_stopped = services.iter().all(|service| service.is_stopping());
            if !is_changed && !is_stopped {
                return;
            }
            changed.await;
        }
    }

    /// Stops every service. Nothing is accepted any more, by any of them, before a connection is
    /// asked to finish.
    pub(super) async fn stop_all(&self, deadline: Instant) -> DrainReport {
        let services = {
            let mut services = self.state.services();
            services.over = true;
            services.all.clone()
        };
        services.iter().for_each(|service| service.stop());
        let accepted = async {
            for service in &services {
                service.accepted().await;
            }
        };
        stopped(accepted).await;
        let drains =
            services.into_iter().map(|service| async move { service.drain(deadline).await });
        let mut report = side_by_side(drains).await;
        self.state.process.look(&mut report.leaks);
        report
    }

    fn snapshot(&self) -> Vec<Arc<RunningService>> {
        self.state.services().all.clone()
    }
}

impl State {
    fn services(&self) -> MutexGuard<'_, Services> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunningService {
    fn status(&self) -> ServiceStatus {
        let live = self.parts.iter().map(|part| part.home().live_traffic());
        ServiceStatus {
            id: self.id,
            name: self.service.name.clone(),
            endpoints: self.endpoints.clone(),
            stopping: self.is_stopping(),
            stats: Stats::new(&self.service, live),
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn ready(&self) -> MutexGuard<'_, Option<Arc<ReadyServer>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drains all its parts until `deadline`, and aborts the rest.
    async fn drain(&self, deadline: Instant) -> DrainReport {
        let parts = self.parts.clone().into_iter();
        let drains = parts.map(|part| async move { part.drain(deadline).await });
        let mut report = side_by_side(drains).await;
        self.service.end(&mut report.leaks, deadline).await;
        report
    }

    /// It shall accept no more.
    fn stop(&self) {
        drop(self.ready().take());
        self.parts.iter().for_each(|part| part.stop());
    }

    /// Waits until it accepts no more.
    async fn accepted(&self) {
        for part in &self.parts {
            part.accepted().await;
        }
    }
}

/// Lets them drain, and adds up what they report.
async fn side_by_side<D>(drains: impl Iterator<Item = D>) -> DrainReport
where
    D: Future<Output = DrainReport> + Send + 'static,
{
    let mut drains: JoinSet<_> = drains.collect();
    let mut report = DrainReport::default();
    while let Some(drained) = drains.join_next().await {
        report.merge(match drained {
            Ok(drained) => drained,
            Err(failed) if failed.is_panic() => resume_unwind(failed.into_panic()),
            Err(_) => DrainReport::default(), // its runtime is gone
        });
    }
    report
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.snapshot().iter().map(|s| s.service.name.clone()).collect();
        f.debug_struct("Running").field("services", &names).finish_non_exhaustive()
    }
}
