//! Hosts services: from a plan to running listeners, through signals, to the last report.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::args::Process;
use super::config::{Config, ProcessSettings};
use super::failure::{Chain, Failure};
use super::registry::Registry;
use super::report;
use super::service::{Planned, ServiceSettings};
use super::signals::{self, Signal};
use crate::endpoint::Address;
use crate::{
    DRAIN_DEADLINE, Endpoint, EndpointKind, Error, Reactor, Running, ServiceId, ServiceStatus,
    Workers,
};

/// A service to be hosted, with what its settings were.
pub(super) struct Hosted {
    pub(super) settings: ServiceSettings,
    pub(super) planned: Planned,
}

/// A file that is read again when that is asked for.
pub(super) struct Reload<'a> {
    pub(super) path: &'a Path,
    pub(super) registry: &'a Registry,
    /// What the file said of the whole process, which does not change.
    pub(super) process: ProcessSettings,
}

/// What concerns the whole process: arguments win over the file.
pub(super) fn process(args: &Process, file: &ProcessSettings) -> ProcessSettings {
    ProcessSettings {
        workers: args.workers.or(file.workers),
        drain: args.drain.or(file.drain),
        max_connections: file.max_connections,
        max_queued: file.max_queued,
    }
}

/// Hosts services until a signal, then drains. `locate` says which of them an error is about.
pub(super) fn host(
    process: &ProcessSettings,
    services: Vec<Hosted>,
    reload: Option<&Reload<'_>>,
    locate: impl Fn(usize, Error) -> Failure,
) -> Result<(), Failure> {
    let mut builder = Reactor::builder();
    builder = builder.workers(process.workers.map_or(Workers::PerCore, Workers::Count));
    if let Some(max) = process.max_connections {
        builder = builder.max_connections(max);
    }
    if let Some(max) = process.max_queued {
        builder = builder.max_queued(max);
    }
    let mut reactor = builder.build()?;
    let mut settings = Vec::new();
    for (index, service) in services.into_iter().enumerate() {
        reactor = reactor.serve(service.planned.server).map_err(|error| locate(index, error))?;
        settings.push(service.settings);
    }
    // Before anything is announced: whoever reads that may send a signal at once.
    let signals = signals::watch(&signals::OF_SERVERS);
    let mut signals = signals.map_err(|source| Failure::Signals { source })?;
    let drain = process.drain.unwrap_or(DRAIN_DEADLINE);
    let mut services = None;
    let report = reactor.run(|running| {
        services = Some(running.clone());
        async move {
            let now = running.services();
            let current = settings.into_iter().zip(now.iter().map(|service| service.id)).collect();
            announce(&now, |_| true);
            tell_manager(&[NotifyState::Ready]);
            let mut host = Host { running, current, drain, reload };
            host.serve(&mut signals).await;
            tokio::spawn(serve_drain(host.running, signals));
            Instant::now() + drain
        }
    })?;
    info!(target: report::TARGET, "stopped: {report}");
    for service in services.iter().flat_map(Running::services) {
        report::log(&service, report::IN_ALL);
    }
    match report.failure {
        Some(source) => Err(Failure::Listener { source }),
        None if !report.leaks.is_empty() => Err(Failure::Leaked { leaks: report.leaks }),
        None => Ok(()),
    }
}

/// What is hosted now.
struct Host<'a> {
    running: Running,
    current: Vec<(ServiceSettings, ServiceId)>,
    drain: Duration,
    reload: Option<&'a Reload<'a>>,
}

impl Host<'_> {
    /// Obeys signals until one of them ends the program.
    async fn serve(&mut self, signals: &mut UnboundedReceiver<Signal>) {
        while let Some(signal) = signals.recv().await {
            match signal {
                Signal::Report => report_all(&self.running),
                Signal::Hangup => match self.reload {
                    Some(reload) => self.read_again(reload).await,
                    None => info!("SIGHUP: there is no configuration file to read again"),
                },
                Signal::Interrupt | Signal::Terminate => {
                    tell_manager(&[NotifyState::Stopping]);
                    let live = |service: &ServiceStatus| service.stats.live;
                    let open: usize = self.running.services().iter().map(live).sum();
                    let time = self.drain;
                    info!(
                        open,
                        "{signal}: draining for up to {time:?}; a second signal stops at once"
                    );
                    return;
                }
            }
        }
    }

    /// Makes what is hosted what the file asks for now, or changes nothing.
    async fn read_again(&mut self, reload: &Reload<'_>) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell_manager(&[NotifyState::Reloading, now]);
        }
        if let Err(problems) = self.try_read_again(reload).await {
            for problem in problems {
                error!("{problem}");
            }
            error!("the configuration is wrong; nothing has changed");
        }
        tell_manager(&[NotifyState::Ready]);
    }

    async fn try_read_again(&mut self, reload: &Reload<'_>) -> Result<(), Vec<String>> {
        let told = |problems: Vec<_>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let config = Config::read(reload.path).map_err(told)?;
        let planned = config.plan(reload.registry).map_err(told)?;
        if config.process != reload.process {
            warn!("`workers`, `drain` and `[limits]` change only with a restart");
        }
        let mut old = std::mem::take(&mut self.current);
        let (mut kept, mut fresh, mut start) = (Vec::new(), Vec::new(), Vec::new());
        for (service, planned) in config.services.iter().zip(planned) {
            match old.iter().position(|(settings, _)| *settings == service.settings) {
                Some(same) => kept.push(old.swap_remove(same)),
                None => {
                    fresh.push(service.settings.clone());
                    start.push(planned.server);
                }
            }
        }
        let stop: Vec<_> = old.iter().map(|(_, id)| *id).collect();
        let ids = match self.running.replace(&stop, start, self.drain).await {
            Ok(ids) => ids,
            Err(error) => {
                let about = config.services.iter().find(|service| {
                    service.settings.place_of(error.endpoint()) != super::service::At::Service
                });
                let mut problems = vec![match about {
                    Some(service) => config.locate(service, &error).to_string(),
                    None => Chain(&error).to_string(),
                }];
                let mut held = old.iter().flat_map(|(service, _)| &service.endpoints);
                if let Some(held) = held.find(|held| is_in_the_way(held, &error)) {
                    problems.push(format!(
                        "what listens there is this program, by `{held}`; an endpoint that is \
                         written in another way needs a restart, or a reload without it first"
                    ));
                }
                self.current = kept;
                self.current.append(&mut old);
                return Err(problems);
            }
        };
        for id in &stop {
            let (running, id) = (self.running.clone(), *id);
            tokio::spawn(async move {
                if let Some(service) = running.ended(id).await {
                    report::log(&service, report::IN_ALL);
                }
            });
        }
        let (started, stopped, same) = (ids.len(), stop.len(), kept.len());
        announce(&self.running.services(), |service| ids.contains(&service.id));
        self.current = kept;
        self.current.extend(fresh.into_iter().zip(ids));
        info!(started, stopped, same, "the configuration was read again");
        Ok(())
    }
}

/// Whether `error` tells of a place that is in use, and `held` may be what uses it, written in another
/// way: only an endpoint that is the same is taken over.
fn is_in_the_way(held: &Endpoint, error: &Error) -> bool {
    let Error::Listen { endpoint, source } = error else { return false };
    source.kind() == io::ErrorKind::AddrInUse
        && held != &**endpoint
        && held.kind() == endpoint.kind()
        && match (held.address(), endpoint.address()) {
            (Address::Inet { port: held, .. }, Address::Inet { port, .. }) => held == port,
            (held, address) => held == address,
        }
}

/// Obeys the signals that do not end the program while it drains.
async fn serve_drain(running: Running, mut signals: UnboundedReceiver<Signal>) {
    while let Some(signal) = signals.recv().await {
        match signal {
            Signal::Report => report_all(&running),
            Signal::Hangup => info!("SIGHUP: nothing is read again, as the program ends"),
            Signal::Interrupt | Signal::Terminate => {} // the second of them ends the process
        }
    }
}

fn report_all(running: &Running) {
    for service in running.services() {
        report::log(&service, "so far");
    }
}

/// Tells whoever waits for it that the endpoints of some services are ready: on stdout, unless that
/// is an endpoint of any.
fn announce(services: &[ServiceStatus], is_new: impl Fn(&ServiceStatus) -> bool) {
    let is_stdio = |endpoint: &Endpoint| endpoint.kind() == EndpointKind::Stdio;
    let taken = services.iter().flat_map(|service| &service.endpoints).any(is_stdio);
    let mut out: Box<dyn Write> =
        if taken { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let mut tell = || {
        for service in services.iter().filter(|service| is_new(service)) {
            for endpoint in &service.endpoints {
                writeln!(out, "listening {} {endpoint}", service.name)?;
            }
        }
        out.flush()
    };
    if let Err(error) = tell() {
        warn!(%error, "cannot tell what is ready");
    }
}

/// Tells the service manager, if one has started the program and wants to know: sd_notify(3).
fn tell_manager(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot tell the service manager how things stand");
    }
}
