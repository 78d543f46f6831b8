//! The locks and atomics of what several threads share: those of std. Compiled with
//! `--cfg netframe_shuttle`, the tests have those of shuttle instead, by which a scheduler decides at
//! each of them which thread goes on, and tries many orders:
//!
//! ```text
//! RUSTFLAGS="--cfg netframe_shuttle" cargo test -p netframe-core --lib --target-dir target/shuttle schedules
//! ```
//!
//! Other locks must not be held where one of these is taken: the scheduler does not know of them.

#[cfg(all(test, netframe_shuttle))]
mod schedules;

#[cfg(not(all(test, netframe_shuttle)))]
pub(crate) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize},
    },
    thread_local,
};

#[cfg(all(test, netframe_shuttle))]
pub(crate) use shuttle::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize},
    },
    thread_local,
};
