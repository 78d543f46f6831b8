//! [`PoolStatus`]: what a pool has, who waits for it, and what it has done so far.

use crate::endpoint::Endpoint;

/// What a [`Pool`](crate::Pool) has now, and what it has done so far: a snapshot.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PoolStatus {
    /// Over all endpoints.
    pub total: PoolCounts,
    /// By endpoint, in the order of their texts; those alone that have a connection, or for which
    /// somebody waits.
    pub endpoints: Vec<(Endpoint, PoolCounts)>,
    /// What has been counted since the pool was built.
    pub stats: PoolStats,
}

/// How many connections a [`Pool`](crate::Pool) has, by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolCounts {
    /// Ready to be used.
    pub idle: usize,
    /// Checked out.
    pub in_use: usize,
    /// Being dialled, or being replaced as they turned out useless.
    pub dialling: usize,
    /// On their way to their end.
    pub closing: usize,
    /// Who waits for a connection.
    pub waiting: usize,
}

impl PoolCounts {
    /// Places that are taken: idle, in use, dialling and closing.
    pub fn connections(&self) -> usize {
        self.idle + self.in_use + self.dialling + self.closing
    }
}

/// What a [`Pool`](crate::Pool) has done since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Connections that were opened.
    pub dialled: u64,
    /// Attempts to open one that failed, panicked or took too long.
    pub failed: u64,
    /// Checkouts of a connection that had been used before.
    pub reused: u64,
    /// Connections that were idle for too long, or too old to be used again.
    pub expired: u64,
    /// Idle connections that were closed to make room for another endpoint.
    pub evicted: u64,
    /// Idle connections that ended, or turned out useless when somebody asked for one.
    pub found_dead: u64,
    /// Who did not get a connection in time, while waiting or dialling.
    pub timed_out: u64,
    /// Who was refused as too many waited.
    pub refused: u64,
}
