//! [`Home`]: where the connections of one service live on one worker: the timer wheel, which is
//! also the list of them, and the inbox for wake-ups from other threads.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::connection::{Core, Event, Patience};
use crate::inbox::Inbox;
use crate::info::ConnectionId;
use crate::leaks::Leaks;
#[cfg(unix)]
use crate::poller::{Name, Poller, Readiness};
use crate::server::DrainReport;
use crate::service::{Service, Traffic};
use crate::shared::Shared;
use crate::wheel::{Key, TICK_MS, Tick, Wheel};

/// Time for aborted connections to run their `connection_lost`. Only a handler that blocks its
/// thread needs longer.
pub(crate) const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Time for a connection that has to make way to end. Only a handler that blocks its thread needs
/// longer.
pub(crate) const EVICTION: Duration = Duration::from_millis(100);

/// Connections that may be due at once without an allocation each time.
const FEW: usize = 1024;

/// The connections of one service on one worker.
pub(crate) struct Home {
    pub(crate) service: Arc<Service>,
    pub(crate) patience: Patience,
    pub(crate) inbox: Option<Arc<Inbox>>,
    base: Instant,
    timers: Mutex<Timers>,
    #[cfg(unix)]
    pub(crate) poller: Poller,
    /// Wakes the timer task: an earlier deadline was set, or this home is closed or gone.
    alarm: Arc<Notify>,
    /// Wakes a drain: the last connection ended.
    empty: Notify,
    draining: AtomicBool,
    closed: AtomicBool,
    /// Cancelled when what holds a socket beyond the last connection has let go of it.
    lingering: Mutex<Vec<CancellationToken>>,
}

struct Timers {
    wheel: Wheel<Arc<Shared>>,
    /// When the timer task wakes up by itself.
    wakes_at: Option<Tick>,
}

impl Home {
    /// A home whose timers run as a task of the current runtime.
    pub(crate) fn start(service: Arc<Service>, inbox: Option<Arc<Inbox>>) -> Arc<Self> {
        let home = Self::detached(service, inbox);
        tokio::spawn(run_timers(Arc::downgrade(&home), Arc::clone(&home.alarm)));
        home
    }

    /// A home without timers, for a recorder.
    pub(crate) fn detached(service: Arc<Service>, inbox: Option<Arc<Inbox>>) -> Arc<Self> {
        Arc::new(Self {
            patience: Patience::from(&service.limits),
            service,
            inbox,
            base: Instant::now(),
            timers: Mutex::new(Timers { wheel: Wheel::new(), wakes_at: None }),
            #[cfg(unix)]
            poller: Poller::default(),
            alarm: Arc::new(Notify::new()),
            empty: Notify::new(),
            draining: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            lingering: Mutex::default(),
        })
    }

    /// The time in ticks.
    pub(crate) fn now(&self) -> Tick {
        let ticks = self.base.elapsed().as_millis() / u128::from(TICK_MS);
        ticks as Tick // wraps around, as ticks do
    }

    /// Takes a connection in and starts its clocks.
    pub(crate) fn register(&self, shared: &Arc<Shared>) {
        let mut core = shared.lock();
        let now = self.now();
        let first = core.start_clock(now, &self.patience);
        {
            let mut timers = self.timers();
            core.wheel_key = timers.wheel.insert(Arc::clone(shared), first.unwrap_or(now), now);
            self.alarm_if_earlier(&mut timers, first, now);
        }
        if self.draining.load(Ordering::SeqCst) {
            core.drain();
        }
        if self.closed.load(Ordering::SeqCst) {
            core.shut_down();
        }
    }

    /// Lets a connection go, after its `connection_lost`.
    pub(crate) fn unregister(&self, key: Key) {
        let mut timers = self.timers();
        timers.wheel.remove(key);
        let empty = timers.wheel.is_empty();
        drop(timers);
        if empty {
            self.empty.notify_waiters();
        }
    }

    /// Has the wheel look at a connection at `tick`.
    pub(crate) fn rearm(&self, key: Key, tick: Tick, now: Tick) {
        if key.is_none() {
            return; // a recorder has no timers
        }
        let mut timers = self.timers();
        timers.wheel.rearm(key, tick, now);
        self.alarm_if_earlier(&mut timers, Some(tick), now);
    }

    /// Tells connections that their sockets are ready.
    #[cfg(unix)]
    pub(crate) fn ready(&self, events: &[(Name, Readiness)]) {
        for (name, readiness) in events {
            let shared = self.timers().wheel.get(name.key()).cloned();
            if let Some(shared) = shared.filter(|shared| name.is_of(shared.id)) {
                shared.ready(*readiness);
            }
        }
    }

    /// Polls a callback, and has the worker's watch see it.
    pub(crate) fn poll_callback<R>(
        &self,
        id: ConnectionId,
        event: Event,
        poll: impl FnOnce() -> R,
    ) -> R {
        let Some(inbox) = &self.inbox else { return poll() };
        inbox.activity.begin(id, event);
        let polled = poll();
        if let Some(time) = inbox.activity.end() {
            let (service, callback) = (&self.service.name, event.callback());
            warn!(%service, %id, "`{callback}` blocked its worker for about {time:?}");
        }
        polled
    }

    /// The connection on which no byte has moved for the longest time, as far as the wheel knows; none
    /// that is closing already.
    pub(crate) fn longest_idle(&self) -> Option<Arc<Shared>> {
        let now = self.now();
        let idle = |shared: &Arc<Shared>| shared.lock().idle_time(now);
        let idle =
            self.connections().into_iter().filter_map(|shared| Some((idle(&shared)?, shared)));
        idle.max_by_key(|(time, _)| *time).map(|(_, shared)| shared)
    }

    /// How many connections live here.
    pub(crate) fn live(&self) -> usize {
        self.timers().wheel.len()
    }

    /// What the connections that live here have moved so far.
    pub(crate) fn live_traffic(&self) -> Traffic {
        let connections = self.connections();
        let mut traffic = Traffic { live: connections.len(), ..Traffic::default() };
        for shared in connections {
            let core = shared.lock();
            let (bytes_in, bytes_out) = core.bytes();
            traffic.queued += core.queued();
            drop(core);
            traffic.bytes_in += bytes_in;
            traffic.bytes_out += bytes_out;
        }
        traffic
    }

    /// Asks every connection, those to come included, to finish.
    fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        for shared in self.connections() {
            let wakes = shared.change(|core| {
                core.drain();
                core.wake_all()
            });
            wakes.wake();
        }
    }

    /// Asks every connection to finish, waits for them until `deadline`, aborts the rest, and
    /// reports; what the service leaks is not looked at yet.
    pub(crate) async fn drain_until(&self, deadline: Instant) -> DrainReport {
        let open = self.live();
        self.drain();
        let in_time = timeout_at(deadline, self.emptied()).await.is_ok();
        let rest = if in_time { 0 } else { self.shut_down() };
        if rest > 0 {
            warn!(service = %self.service.name, rest, "drain deadline passed; aborting");
            // An error means that a handler blocks its thread: it is reported as aborted.
            let _ = timeout(ABORT_GRACE, self.emptied()).await;
        }
        let mut leaks = Leaks::default();
        let lingering = std::mem::take(&mut *self.lingering());
        for gone in lingering {
            // Likewise.
            leaks.sockets += usize::from(timeout(ABORT_GRACE, gone.cancelled()).await.is_err());
        }
        leaks.connections = self.live();
        let drained = open - rest.min(open);
        let report = DrainReport { drained, aborted: rest, failure: None, leaks };
        debug!(service = %self.service.name, %report, "stopped");
        report
    }

    /// Something that holds a socket goes on until the last connection has ended; a drain waits until
    /// the guard is dropped, so that the address is free once it is done.
    pub(crate) fn lingers(&self) -> DropGuard {
        let gone = CancellationToken::new();
        self.lingering().push(gone.clone());
        gone.drop_guard()
    }

    fn lingering(&self) -> MutexGuard<'_, Vec<CancellationToken>> {
        self.lingering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Aborts every connection, those to come included; returns how many there were.
    pub(crate) fn shut_down(&self) -> usize {
        self.closed.store(true, Ordering::SeqCst);
        self.alarm.notify_one();
        let connections = self.connections();
        for shared in &connections {
            shared.change(Core::shut_down);
        }
        connections.len()
    }

    /// Every connection that lives here now.
    pub(crate) fn connections(&self) -> Vec<Arc<Shared>> {
        self.timers().wheel.iter().cloned().collect()
    }

    /// Waits until no connection lives here.
    pub(crate) async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            if self.live() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Looks at the connections that are due; returns when the next one is. `due` is empty, and kept so that
    /// it is allocated once.
    fn expire(&self, due: &mut Vec<(Key, Arc<Shared>)>) -> Option<Instant> {
        let now = self.now();
        self.timers().wheel.expire(now, due);
        for (_, shared) in due.drain(..) {
            shared.look(now);
        }
        due.shrink_to(FEW); // a crowd may have been due at once
        let mut timers = self.timers();
        timers.wakes_at = timers.wheel.next_tick(now);
        let ticks_left = timers.wakes_at?.wrapping_sub(now);
        let now_in_ms = self.base.elapsed().as_millis() as u64 / TICK_MS * TICK_MS;
        Some(self.base + Duration::from_millis(now_in_ms + u64::from(ticks_left) * TICK_MS))
    }

    fn alarm_if_earlier(&self, timers: &mut Timers, tick: Option<Tick>, now: Tick) {
        let Some(tick) = tick else { return };
        let earlier = timers
            .wakes_at
            .is_none_or(|wakes_at| tick.wrapping_sub(now) < wakes_at.wrapping_sub(now));
        if earlier {
            timers.wakes_at = Some(tick);
            self.alarm.notify_one();
        }
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.alarm.notify_one();
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home").field("service", &self.service.name).finish_non_exhaustive()
    }
}

/// The timer task: sleeps until the next deadline of any connection, and for ever if there is none.
/// It ends with its home, or when that closes: whoever keeps a handle to a connection of long ago
/// keeps the home, but there is nothing to be timed any more.
async fn run_timers(home: Weak<Home>, alarm: Arc<Notify>) {
    let open = |home: &Arc<Home>| !home.closed.load(Ordering::SeqCst);
    let mut due = Vec::new();
    while let Some(next) = home.upgrade().filter(open).map(|home| home.expire(&mut due)) {
        let woken = alarm.notified();
        match next {
            None => woken.await,
            Some(next) => tokio::select! {
                biased;
                () = woken => {}
                () = sleep_until(next) => {}
            },
        }
    }
}
