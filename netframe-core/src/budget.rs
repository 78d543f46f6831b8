//! [`Process`]: what all services of a process share: one count of connections, and one budget of
//! bytes that wait in their queues.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::leaks::Leaks;
use crate::service::Count;

/// The limits of a process, over all its services.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) connections: Option<Count>,
    pub(crate) queued: Option<Budget>,
}

impl Process {
    /// Adds what is still taken though every service has ended. While a connection lives that is its own.
    pub(crate) fn look(&self, leaks: &mut Leaks) {
        if leaks.connections > 0 || leaks.listeners > 0 {
            return;
        }
        let before = *leaks;
        leaks.permits += self.connections.as_ref().map_or(0, Count::taken);
        leaks.queued += self.queued.as_ref().map_or(0, Budget::used);
        if *leaks != before {
            leaks.report("all services");
        }
    }
}

/// Bytes that wait in queues because peers do not take them.
///
/// What a turn writes and sends is never counted: only what is left when its connection waits.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, used: AtomicUsize::new(0) }
    }

    /// A queue that was counted with `before` bytes has `now`. False if there is no room for that.
    pub(crate) fn change(&self, before: usize, now: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                let used = used - before + now;
                (now <= before || used <= self.max).then_some(used)
            })
            .is_ok()
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}
