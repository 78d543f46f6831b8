//! [`Memory`]: what waits in a group, bounded as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Bytes that one message, or one place in the backlog of a member, costs beside its content.
pub(super) const OVERHEAD: usize = 64;

/// Bytes that wait in one group.
#[derive(Debug)]
pub(super) struct Memory {
    max: usize,
    used: AtomicUsize,
    highest: AtomicUsize,
}

impl Memory {
    pub(super) fn new(max: usize) -> Self {
        Self { max, used: AtomicUsize::new(0), highest: AtomicUsize::new(0) }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn highest(&self) -> usize {
        self.highest.load(Ordering::Relaxed)
    }

    /// Takes `len` bytes, if there is room or a sender waits for them.
    pub(super) fn take(self: &Arc<Self>, len: usize, over: bool) -> Option<Taken> {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let used = used.saturating_add(len);
            (over || used <= self.max).then_some(used)
        });
        let used = taken.ok()?.saturating_add(len);
        self.highest.fetch_max(used, Ordering::Relaxed);
        Some(Taken { memory: Arc::clone(self), len })
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(super::GroupLimits::default().max_memory)
    }
}

/// Bytes taken, which are given back on drop.
#[derive(Debug)]
pub(super) struct Taken {
    memory: Arc<Memory>,
    len: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// A message that waits, for whichever members.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) data: Bytes,
    _taken: Taken,
}

impl Waiting {
    pub(super) fn new(data: Bytes, memory: &Arc<Memory>, over: bool) -> Option<Arc<Self>> {
        let taken = memory.take(data.len() + OVERHEAD, over)?;
        Some(Arc::new(Self { data, _taken: taken }))
    }

    /// The bytes, if nobody else waits for them.
    pub(super) fn into_data(this: Arc<Self>) -> Option<Bytes> {
        Arc::into_inner(this).map(|waiting| waiting.data)
    }
}
