//! What all connections of a cache share.

use std::sync::atomic::{AtomicU64, Ordering};

use super::MemcachedOptions;
use super::store::Store;

/// What all connections of a cache share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) options: MemcachedOptions,
    pub(super) store: Store,
    accepted: AtomicU64,
    ended: AtomicU64,
}

impl Service {
    /// The options have been checked.
    pub(super) fn new(options: MemcachedOptions) -> Self {
        let store = Store::new(&options);
        Self { options, store, accepted: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    /// A connection begins.
    pub(super) fn enter(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that began has ended.
    pub(super) fn leave(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections there were.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many there are now.
    pub(super) fn live(&self) -> u64 {
        let ended = self.ended.load(Ordering::Relaxed);
        self.accepted().saturating_sub(ended)
    }
}
