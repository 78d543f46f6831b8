//! What a service has seen, as one event of the log. It passes any filter but `off`: whoever asks
//! for it wants to see it.

use std::fmt::Write;

use tracing::info;

use crate::{DatagramStats, ServiceStatus};

/// The target of these events.
pub(super) const TARGET: &str = "netframe::report";

/// When a service has ended.
pub(super) const IN_ALL: &str = "in all";

/// Tells what a service has seen; `when` says at which moment.
pub(super) fn log(service: &ServiceStatus, when: &str) {
    let ServiceStatus { name, stats, .. } = service;
    let mut closed = String::new();
    for (kind, count) in stats.closed_by_kind() {
        let comma = if closed.is_empty() { "" } else { ", " };
        write!(closed, "{comma}{kind}: {count}").expect("a String takes everything");
    }
    let datagrams = if stats.datagrams == DatagramStats::default() {
        String::new()
    } else {
        datagrams(&stats.datagrams)
    };
    info!(
        target: TARGET,
        name,
        live = stats.live,
        accepted = stats.accepted,
        refused = stats.refused,
        accept_errors = stats.accept_errors,
        accept_pauses = stats.accept_pauses,
        shed = stats.shed,
        bytes_in = stats.bytes_in,
        bytes_out = stats.bytes_out,
        highest_queue = stats.highest_queue,
        missed = stats.missed,
        closed,
        datagrams,
        "{when}"
    );
}

/// What happened to single datagrams, but for what never did.
fn datagrams(stats: &DatagramStats) -> String {
    let counts = stats.counts().filter(|(_, count)| *count > 0);
    counts.map(|(name, count)| format!("{name}: {count}")).collect::<Vec<_>>().join(", ")
}
