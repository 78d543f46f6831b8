//! [`Shared`]: the connection core behind its lock, as its driver, its protocol, its handles and
//! the timer wheel all know it.

use std::sync::{Arc, PoisonError};
use std::task::{Wake, Waker};

use tokio::time::Instant;

use crate::connection::{Core, ticks};
use crate::home::Home;
use crate::info::ConnectionId;
use crate::limits::Limits;
use crate::service::Counters;
use crate::shaping::Direction;
use crate::sync::{Mutex, MutexGuard};
use crate::wheel::Tick;

/// One connection, for everybody who holds a pointer to it.
///
/// Locks are taken in the order core, then wheel; nothing is woken and no system call is made
/// while one is held.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: ConnectionId,
    pub(crate) home: Arc<Home>,
    core: Mutex<Core>,
}

impl Shared {
    pub(crate) fn new(id: ConnectionId, home: Arc<Home>) -> Arc<Self> {
        Arc::new(Self { id, home, core: Mutex::default() })
    }

    /// The core. No user code runs under this lock, so that a panic cannot leave it half changed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.home.service.limits
    }

    /// Waits until the connection is aborted or times out; for a time without a driver.
    pub(crate) async fn ended(&self) {
        std::future::poll_fn(|cx| {
            let mut core = self.lock();
            core.park(cx.waker());
            self.arm(&mut core); // there is no driver that would
            if core.is_interrupted() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }

    /// The driver waits, with what its peer does not take still in the queue. Returns whether the
    /// process's budget has to be asked for it, by [`charge`](Self::charge).
    pub(crate) fn park(&self, core: &mut Core, waker: &Waker) -> bool {
        if core.queued() > 0 {
            self.home.service.counters.waiting(core.queued());
        }
        core.park(waker);
        self.home.service.permits.budget().is_some() && core.queued() != core.charged()
    }

    /// Counts the queue to the process's budget. If there is no room, the longest queue of this home
    /// goes; false if that is this one.
    pub(crate) fn charge(&self) -> bool {
        let Some(budget) = self.home.service.permits.budget() else { return true };
        loop {
            let mut core = self.lock();
            let (before, now) = (core.charged(), core.queued());
            if budget.change(before, now) {
                core.set_charged(now);
                return true;
            }
            drop(core);
            let others = self.home.connections();
            let longest = others.iter().max_by_key(|shared| shared.lock().charged());
            match longest.filter(|longest| longest.id != self.id) {
                Some(longest) if longest.lock().charged() >= now => longest.change(|core| {
                    core.overcharged();
                    // Its bytes are gone as soon as its driver runs.
                    budget.give_back(core.set_charged(0));
                }),
                _ => {
                    self.lock().overcharged();
                    return false;
                }
            }
        }
    }

    /// How many bytes the driver may move now: of `max` that are to be read, or of the queue. `None` if
    /// shaping holds the direction back.
    pub(crate) fn allow(&self, direction: Direction, max: usize) -> Option<usize> {
        let service = &self.home.service;
        if service.shaping.is_none() {
            return Some(max);
        }
        let mut core = self.lock();
        match core.allow(direction, max, Instant::now()) {
            Ok(bytes) => Some(bytes),
            Err(wait) => {
                let now = self.home.now();
                let tick = now.wrapping_add(ticks(wait));
                if core.hold_back(direction, tick, now) {
                    self.home.rearm(core.wheel_key, tick, now);
                }
                Counters::add(&service.counters.held_back[direction as usize]);
                None
            }
        }
    }

    /// So many of the bytes that were allowed have moved. `more` says whether more would have.
    pub(crate) fn moved(&self, direction: Direction, bytes: usize, more: bool) {
        if self.home.service.shaping.is_some() {
            self.lock().moved(direction, bytes, more);
        }
    }

    /// Changes the core from outside of its driver, and wakes the driver.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = self.lock();
        let result = change(&mut core);
        let waker = core.unpark();
        drop(core);
        self.wake_driver(waker);
        result
    }

    /// Sets or moves the deadlines that the core asks for.
    pub(crate) fn arm(&self, core: &mut Core) {
        if core.needs_arm() {
            let now = self.home.now();
            if let Some(look) = core.arm(now, &self.home.patience) {
                self.home.rearm(core.wheel_key, look, now);
            }
        }
    }

    /// The wheel looks at the deadlines.
    pub(crate) fn look(&self, now: Tick) {
        let mut core = self.lock();
        if core.wheel_key.is_none() {
            return; // it ended meanwhile
        }
        let (next, wake) = core.look(now, &self.home.patience);
        if let Some(next) = next {
            self.home.rearm(core.wheel_key, next, now);
        }
        self.arm(&mut core);
        let waker = if wake { core.unpark() } else { None };
        let reader = core.take_late_reader();
        drop(core);
        self.wake_driver(waker);
        self.wake_driver(reader);
    }

    /// The socket is ready. Called on the worker itself.
    #[cfg(unix)]
    pub(crate) fn ready(&self, readiness: crate::poller::Readiness) {
        let mut core = self.lock();
        core.ready(readiness);
        let waker = core.unpark();
        drop(core);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes the driver, through its worker's inbox when this is another thread.
    pub(crate) fn wake_driver(&self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            match &self.home.inbox {
                Some(inbox) => inbox.wake(waker),
                None => waker.wake(),
            }
        }
    }
}

/// As the waker of a [`Handle`](crate::Handle).
impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.change(Core::notify);
    }
}
