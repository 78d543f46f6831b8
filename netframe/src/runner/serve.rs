//! `netframe serve`: one protocol on its endpoints, until a signal.

use std::io::{self, Write};
use std::time::Duration;

use netframe::{DatagramStats, Endpoint, EndpointKind, Reactor, Running, Stats, Workers};
use sd_notify::NotifyState;
use tokio::time::Instant;
use tracing::{info, warn};

use super::args::Serve;
use super::failure::Failure;
use super::{log, setting, signals};

/// Serves until a signal, then drains.
pub(super) fn serve(args: Serve) -> Result<(), Failure> {
    let name = args.protocol.name;
    let mut server = args.protocol.server(setting::table(args.settings)?)?.name(name);
    for endpoint in args.endpoints {
        server = server.listen(endpoint)?;
    }
    log::start(args.log);
    let workers = args.workers.unwrap_or(Workers::PerCore);
    let reactor = Reactor::builder().workers(workers).build()?.serve(server)?;
    // Before anything is announced: whoever reads that may send a signal at once.
    let asked = signals::watch().map_err(|source| Failure::Signals { source })?;
    let endpoints: Vec<_> = reactor.endpoints().cloned().collect();
    let mut services = None;
    let report = reactor.run(|running| {
        services = Some(running.clone());
        async move {
            if let Err(error) = announce(name, &endpoints) {
                warn!(%error, "cannot tell what is ready");
            }
            tell_manager(NotifyState::Ready);
            if let Ok(signal) = asked.await {
                tell_manager(NotifyState::Stopping);
                let open: usize = running.services().iter().map(|service| service.stats.live).sum();
                let time = args.drain;
                info!(open, "{signal}: draining for up to {time} s; a second signal stops at once");
            }
            Instant::now() + Duration::from_secs(args.drain)
        }
    })?;
    for service in services.iter().flat_map(Running::services) {
        let (name, stats) = (service.name, service.stats);
        let Stats { accepted, bytes_in, bytes_out, .. } = stats;
        info!(name, accepted, bytes_in, bytes_out, "stopped: {report}");
        if stats.datagrams != DatagramStats::default() {
            info!(name, "of single datagrams: {:?}", stats.datagrams);
        }
    }
    report.failure.map_or(Ok(()), |source| Err(Failure::Listener { source }))
}

/// Tells whoever waits for it that the endpoints are ready: on stdout, unless that is one of them.
fn announce(protocol: &str, endpoints: &[Endpoint]) -> io::Result<()> {
    let taken = endpoints.iter().any(|endpoint| endpoint.kind() == EndpointKind::Stdio);
    let mut out: Box<dyn Write> =
        if taken { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    for endpoint in endpoints {
        writeln!(out, "listening {protocol} {endpoint}")?;
    }
    out.flush()
}

/// Tells the service manager, if one has started the program and wants to know: sd_notify(3).
fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot tell the service manager how things stand");
    }
}
