//! What a service has seen, as one event of the log. It passes any filter but `off`: whoever asks
//! for it wants to see it.

use std::fmt::Display;

use tracing::info;

use crate::{CloseKind, ServiceStatus, Side};

/// The target of these events.
pub(super) const TARGET: &str = "netframe::report";

/// When a service has ended.
pub(super) const IN_ALL: &str = "in all";

/// Tells what a service has seen; `when` says at which moment.
pub(super) fn log(service: &ServiceStatus, when: &str) {
    let ServiceStatus { name, stats, .. } = service;
    let refused = [
        ("by the factory", stats.refused),
        ("full", stats.refused_full),
        ("per peer", stats.refused_per_peer),
        ("too fast", stats.refused_too_fast),
        ("shed", stats.shed),
    ];
    let held_back = [("reads", stats.reads_held_back), ("writes", stats.writes_held_back)];
    info!(
        target: TARGET,
        name,
        live = stats.live,
        accepted = stats.accepted,
        refused = counts(refused),
        accept_errors = stats.accept_errors,
        accept_pauses = stats.accept_pauses,
        no_descriptors = stats.no_descriptors,
        no_resources = stats.no_resources,
        broken_listeners = stats.broken_listeners,
        bytes_in = stats.bytes_in,
        bytes_out = stats.bytes_out,
        permits = stats.permits,
        queued = stats.queued,
        highest_queue = stats.highest_queue,
        held_back = counts(held_back),
        missed = stats.missed,
        closed = counts(stats.closed_by_cause().map(by_side)),
        datagrams = counts(stats.datagrams.counts()),
        "{when}"
    );
}

fn by_side((kind, side, count): (CloseKind, Side, u64)) -> (String, u64) {
    (format!("{kind} by {side}"), count)
}

/// Counters by their causes, but for those of what never happened.
fn counts<T: Display>(counts: impl IntoIterator<Item = (T, u64)>) -> String {
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    counts.map(|(cause, count)| format!("{cause}: {count}")).collect::<Vec<_>>().join(", ")
}
