//! `netframe check`: what a configuration file comes to.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};

use toml::Value;

use super::args::{Check, Process};
use super::config::{Config, FromFile, ProcessSettings};
use super::failure::Failure;
use super::host::process;
use super::protocols::table;
use super::registry::Registry;
use super::run::wrong;
use super::service::{Planned, written};
use crate::endpoint::UdpOptions;
use crate::{DRAIN_DEADLINE, Endpoint, EndpointKind, Limits, Needs, Reactor, Workers};

/// Bytes of a connection that is idle: its task, its state machine and its timer, rounded up.
const CONNECTION: usize = 1024;

/// Bytes of one delivery, and datagrams that may wait for one session: 16 while its handler waits,
/// and 64 before it has had its turn.
const DELIVERY: usize = 64 * 1024;
const WAITING_DATAGRAMS: usize = 64;

/// Checks a file and prints what it comes to.
pub(super) fn check(args: &Check, registry: &Registry) -> Result<(), Failure> {
    let config = Config::read(&args.config).map_err(wrong)?;
    let planned = config.plan(registry).map_err(wrong)?;
    let process = process(&args.process, &config.process);
    let text = tell(&config, &planned, &args.process, &process);
    if args.bind {
        bind(&config, planned)?;
    }
    io::stdout().write_all(text.as_bytes()).map_err(|source| Failure::Stdout { source })
}

/// Binds every endpoint, and lets go of it.
fn bind(config: &Config, planned: Vec<Planned>) -> Result<(), Failure> {
    let one = Workers::Count(std::num::NonZeroUsize::MIN);
    let mut reactor = Reactor::builder().workers(one).build()?;
    for (service, planned) in config.services.iter().zip(planned) {
        reactor = reactor.serve(planned.server).map_err(|error| Failure::Located {
            problem: config.locate(service, &error).to_string(),
            source: Box::new(error),
        })?;
    }
    drop(reactor);
    Ok(())
}

fn tell(config: &Config, planned: &[Planned], args: &Process, process: &ProcessSettings) -> String {
    let mut text = String::new();
    for (service, planned) in config.services.iter().zip(planned) {
        tell_service(&mut text, service, planned);
    }
    let origin = |by_argument: bool, in_file: bool| match (by_argument, in_file) {
        (true, _) => "argument",
        (_, true) => "file",
        _ => "default",
    };
    let file = &config.process;
    let drain = process.drain.unwrap_or(DRAIN_DEADLINE);
    let rows = [
        [
            "workers".to_owned(),
            process.workers.map_or_else(|| "one per core".to_owned(), |count| count.to_string()),
            origin(args.workers.is_some(), file.workers.is_some()).to_owned(),
        ],
        [
            "drain".to_owned(),
            format!("{drain:?}"),
            origin(args.drain.is_some(), file.drain.is_some()).to_owned(),
        ],
        [
            "max_connections".to_owned(),
            process.max_connections.map_or_else(|| "unlimited".to_owned(), |max| max.to_string()),
            origin(false, file.max_connections.is_some()).to_owned(),
        ],
        [
            "max_queued".to_owned(),
            process.max_queued.map_or_else(|| "unlimited".to_owned(), |max| bytes(max.get())),
            origin(false, file.max_queued.is_some()).to_owned(),
        ],
    ];
    text += "process\n";
    text += &indented(&table(["setting", "value", "origin"], &rows));
    let worst: Vec<_> = config.services.iter().zip(planned).map(worst_case).collect();
    let get = std::num::NonZeroUsize::get;
    let max_connections = process.max_connections.map(get);
    text.push('\n');
    let needed = descriptors(config, planned, &worst, max_connections);
    if let Some(max) = max_descriptors().filter(|max| *max <= needed) {
        writeln!(
            text,
            "descriptors: {max} here, but {needed} for all connections at worst; raise `ulimit -n` \
             (`LimitNOFILE` of a unit), or lower `max_connections`"
        )
        .expect("a String takes everything");
    }
    let total = total(&worst, max_connections, process.max_queued.map(get));
    writeln!(text, "memory at worst: {}", bytes(total)).expect("a String takes everything");
    text
}

/// Descriptors that all connections together take at worst: those of services that need the most of
/// them come first, where the process has a bound of its own.
fn descriptors(
    config: &Config,
    planned: &[Planned],
    worst: &[Worst],
    max_connections: Option<usize>,
) -> usize {
    let of_one = |(service, planned): (&FromFile, &Planned)| {
        usize::from(has_streams(service)) + planned.descriptors
    };
    let each = config.services.iter().zip(planned).map(of_one);
    let mut each: Vec<_> = each.zip(worst.iter().map(|worst| worst.connections)).collect();
    each.sort_unstable_by_key(|(descriptors, _)| std::cmp::Reverse(*descriptors));
    let (mut left, mut needed) = (max_connections.unwrap_or(usize::MAX), 0usize);
    for (descriptors, connections) in each {
        let connections = connections.min(left);
        left -= connections;
        needed = needed.saturating_add(connections.saturating_mul(descriptors));
    }
    needed
}

/// Whether there are connections with descriptors of their own, which the sessions on a socket have
/// not.
fn has_streams(service: &FromFile) -> bool {
    service.settings.endpoints.iter().any(|endpoint| !endpoint.kind().is_datagram())
}

/// The descriptors that this process may have, where the system tells.
fn max_descriptors() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    limit.split_whitespace().next()?.parse().ok()
}

fn tell_service(text: &mut String, service: &FromFile, planned: &Planned) {
    let settings = &service.settings;
    let named = if settings.name == settings.protocol {
        String::new()
    } else {
        format!(" ({})", settings.protocol)
    };
    writeln!(text, "service {}{named}", settings.name).expect("a String takes everything");
    for endpoint in &settings.endpoints {
        writeln!(text, "  listen {endpoint}").expect("a String takes everything");
        if let Some(options) = sessions(endpoint, planned.needs) {
            tell_sessions(text, &options);
        }
    }
    for (option, value) in &settings.options {
        let value = match planned.secrets.contains(&option.as_str()) {
            true => "(not shown)".to_owned(),
            false => value.to_string(),
        };
        writeln!(text, "  option {option} = {value}").expect("a String takes everything");
    }
    let rows: Vec<_> = written(&planned.limits)
        .into_iter()
        .map(|(name, value)| {
            let origin = if settings.limits.contains_key(&name) {
                "file"
            } else if planned.raised.contains(&name) {
                "protocol"
            } else {
                "default"
            };
            let value = match value {
                Value::String(value) => value,
                value => value.to_string(),
            };
            [name, value, origin.to_owned()]
        })
        .collect();
    *text += &indented(&table(["limit", "value", "origin"], &rows));
    let worst = worst_case((service, planned));
    let Worst { connections, queue, pending, protocol, shared } = worst;
    writeln!(
        text,
        "  memory at worst: {connections} connections x (queue {} + pending {} + protocol {}) + \
         shared {} = {}\n",
        bytes(queue),
        bytes(pending),
        bytes(protocol),
        bytes(shared),
        bytes(connections.saturating_mul(worst.of_one()).saturating_add(shared)),
    )
    .expect("a String takes everything");
}

/// What bounds the sessions on an endpoint, if it has any; of an inherited socket, itself will tell.
fn sessions(endpoint: &Endpoint, needs: Needs) -> Option<UdpOptions> {
    match endpoint.kind() {
        _ if needs == Needs::Datagram => None, // the protocol has the whole socket
        EndpointKind::UnixDatagram => Some(UdpOptions::default()),
        _ => endpoint.udp().copied(),
    }
}

fn tell_sessions(text: &mut String, options: &UdpOptions) {
    let default = UdpOptions::default();
    let origin = |is_default| if is_default { "default" } else { "file" };
    let UdpOptions { max_sessions, session_idle, .. } = *options;
    writeln!(
        text,
        "    max_sessions {max_sessions} ({}), session_idle {session_idle:?} ({})",
        origin(max_sessions == default.max_sessions),
        origin(session_idle == default.session_idle),
    )
    .expect("a String takes everything");
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The memory that a service's limits allow.
#[derive(Clone, Copy)]
struct Worst {
    connections: usize,
    queue: usize,
    pending: usize,
    protocol: usize,
    shared: usize,
}

impl Worst {
    fn of_one(&self) -> usize {
        self.queue.saturating_add(self.pending).saturating_add(self.protocol)
    }
}

fn worst_case((service, planned): (&FromFile, &Planned)) -> Worst {
    let Limits { max_connections, hard_cap, max_pending, .. } = planned.limits;
    let datagrams =
        service.settings.endpoints.iter().map(Endpoint::kind).any(|kind| {
            kind.is_datagram() || matches!(kind, EndpointKind::Fd | EndpointKind::Systemd)
        });
    Worst {
        connections: max_connections,
        queue: hard_cap,
        pending: pending(max_pending, datagrams),
        protocol: planned.memory.per_connection.saturating_add(CONNECTION),
        shared: planned.memory.shared,
    }
}

fn pending(max_pending: usize, datagrams: bool) -> usize {
    // One more is with the handler.
    let waiting = if datagrams { (WAITING_DATAGRAMS + 1) * DELIVERY } else { 0 };
    max_pending.saturating_add(DELIVERY).max(waiting)
}

/// The memory that a connection with default limits allows: of a protocol that opens one for each of
/// its own.
pub(super) fn another(datagrams: bool) -> usize {
    let Limits { hard_cap, max_pending, .. } = Limits::default();
    hard_cap + pending(max_pending, datagrams) + CONNECTION
}

/// What all services need together, if the process has at most `max_connections`, which are those
/// that cost most, and their queues at most `max_queued` bytes.
fn total(services: &[Worst], max_connections: Option<usize>, max_queued: Option<usize>) -> usize {
    let mut services = services.to_vec();
    if max_queued.is_some() {
        for worst in &mut services {
            worst.queue = 0;
        }
    }
    services.sort_by_key(|worst| std::cmp::Reverse(worst.of_one()));
    let mut left = max_connections.unwrap_or(usize::MAX);
    services.iter().fold(max_queued.unwrap_or(0), |total, worst| {
        let connections = worst.connections.min(left);
        left -= connections;
        total
            .saturating_add(worst.shared)
            .saturating_add(connections.saturating_mul(worst.of_one()))
    })
}

/// As people read it, rounded up.
fn bytes(bytes: usize) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in units {
        if bytes >= 1 << shift {
            let tenths = (bytes as u128 * 10).div_ceil(1 << shift);
            return match tenths % 10 {
                0 => format!("{} {unit}", tenths / 10),
                fraction => format!("{}.{fraction} {unit}", tenths / 10),
            };
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_up() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1 KiB");
        assert_eq!(bytes(1025), "1.1 KiB");
        assert_eq!(bytes(64 << 30), "64 GiB");
    }

    #[test]
    fn a_limit_of_the_process_goes_to_the_dearest_services_first() {
        let worst =
            |connections, queue| Worst { connections, queue, pending: 1, protocol: 1, shared: 100 };
        let services = [worst(10, 8), worst(10, 98)];
        assert_eq!(total(&services, None, None), 10 * 10 + 10 * 100 + 200);
        assert_eq!(total(&services, Some(15), None), 5 * 10 + 10 * 100 + 200);
        assert_eq!(total(&services, Some(5), None), 5 * 100 + 200);
        assert_eq!(total(&services, None, Some(50)), 10 * 2 + 10 * 2 + 50 + 200);
    }
}
