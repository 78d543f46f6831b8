//! [`Leaks`]: what a server has not given back at its end.

use std::fmt;

use tracing::error;

use crate::service::Service;

/// What a server has not given back when its drain was over: all 0 when all is well.
///
/// A callback that blocks its thread keeps its connection beyond the deadline, and all else that needs
/// the thread to end: other connections, listeners, sockets, refusals. Anything without these is a bug of
/// netframe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaks {
    /// Connections that have not ended.
    pub connections: usize,
    /// Permits of `max_connections` beyond those of these connections.
    pub permits: usize,
    /// Connections that count for their peer (`max_connections_per_peer`), beyond these.
    pub per_peer: usize,
    /// Listeners that have not heard of the stop yet.
    pub listeners: usize,
    /// Sockets of datagrams that still serve sessions.
    pub sockets: usize,
    /// Connections that are still being told that they are refused.
    pub refusals: usize,
    /// Bytes that count for `max_queued` though their connections have ended.
    pub queued: usize,
    /// Connections that were accepted, do not live, and have not been counted with a close reason; or
    /// that were counted more than once.
    pub uncounted: u64,
}

impl Leaks {
    /// Whether everything has been given back.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every count with its name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("connections", self.connections as u64),
            ("permits", self.permits as u64),
            ("per peer", self.per_peer as u64),
            ("listeners", self.listeners as u64),
            ("sockets", self.sockets as u64),
            ("refusals", self.refusals as u64),
            ("queued bytes", self.queued as u64),
            ("uncounted", self.uncounted),
        ]
        .into_iter()
    }

    /// Adds what `service` holds beyond the connections that are here already.
    pub(crate) fn look(&mut self, service: &Service) {
        let live = self.connections;
        self.permits += service.permits.taken().saturating_sub(live);
        let admitted = service.admission.as_ref().map_or(0, |admission| admission.live());
        self.per_peer += admitted.saturating_sub(live);
        self.uncounted += service.counters.uncounted(live);
    }

    /// Tells of what there is.
    pub(crate) fn report(&self, service: &str) {
        if !self.is_empty() {
            error!(service, "not everything was given back: {self}");
        }
        debug_assert!(self.is_empty() || self.is_stuck(), "{service} leaks: {self}");
    }

    /// Whether something may only wait for a thread, which a callback blocks.
    fn is_stuck(&self) -> bool {
        self.connections + self.listeners + self.sockets + self.refusals > 0
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.connections += other.connections;
        self.permits += other.permits;
        self.per_peer += other.per_peer;
        self.listeners += other.listeners;
        self.sockets += other.sockets;
        self.refusals += other.refusals;
        self.queued += other.queued;
        self.uncounted += other.uncounted;
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = self.counts().filter(|(_, count)| *count > 0);
        let Some((name, count)) = counts.next() else { return f.write_str("nothing") };
        write!(f, "{name}: {count}")?;
        counts.try_for_each(|(name, count)| write!(f, ", {name}: {count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close_reason::{CloseKind, CloseReason, Side};
    use crate::limits::{Limits, Quota};
    use crate::service::Counters;

    #[test]
    fn each_thing_that_is_not_given_back_is_seen() {
        let peer = "127.0.0.1:1".parse::<std::net::SocketAddr>().unwrap().into();
        let limits = Limits { max_connections_per_peer: Quota::AtMost(9), ..Limits::default() };
        let service = Service::new("x", limits);
        let seen = |live| {
            let mut leaks = Leaks { connections: live, ..Leaks::default() };
            leaks.look(&service);
            leaks
        };
        assert!(seen(0).is_empty());
        assert!(service.permits.try_acquire());
        assert_eq!(seen(0).to_string(), "permits: 1");
        assert!(service.admit(&peer));
        assert_eq!(seen(0).to_string(), "permits: 1, per peer: 1");
        Counters::add(&service.counters.accepted);
        assert_eq!(seen(0).to_string(), "permits: 1, per peer: 1, uncounted: 1");
        // All of that belongs to a connection that lives.
        assert_eq!(seen(1).to_string(), "connections: 1");
        let reason = CloseReason::new(Side::Peer, CloseKind::Eof);
        service.counters.closed(&reason);
        service.permits.release();
        service.leave(&peer);
        assert!(seen(0).is_empty());
        service.counters.closed(&reason);
        assert_eq!(seen(0).to_string(), "uncounted: 1");
    }
}
