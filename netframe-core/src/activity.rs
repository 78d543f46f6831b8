//! [`Activity`]: which callback a worker runs. A watch tells of one that blocks its worker, while it
//! still does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::connection::Event;
use crate::inbox::Inbox;
use crate::info::ConnectionId;

/// Looks while blocked is this part of the time after which a callback counts as blocking.
const LOOKS: u32 = 2;

/// Time between looks while nothing happens.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// What one worker does now. Two stores for a callback are all it costs.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Goes up by one when a callback begins, and when it returns: odd while one runs.
    turn: AtomicU64,
    /// The connection's number and the callback's.
    what: AtomicU64,
    /// The turn that was told to be blocked, and when it was first seen.
    blocked: AtomicU64,
    since: Mutex<Option<Instant>>,
}

impl Activity {
    pub(crate) fn begin(&self, id: ConnectionId, event: Event) {
        self.what.store(id.get() << 8 | event as u64, Ordering::Relaxed);
        self.turn.store(self.turn.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The callback returned. If it was told to be blocked: for how long about.
    pub(crate) fn end(&self) -> Option<Duration> {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Release);
        if self.blocked.load(Ordering::Relaxed) != turn {
            return None;
        }
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner).take();
        since.map(|since| since.elapsed())
    }

    fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    /// The connection and the callback of a turn that still runs.
    fn what(&self) -> (u64, &'static str) {
        let what = self.what.load(Ordering::Relaxed);
        let events = [
            Event::Made,
            Event::Data,
            Event::Eof,
            Event::Notified,
            Event::TimedOut,
            Event::Draining,
        ];
        let event = events.into_iter().find(|event| *event as u64 == what & 0xff);
        (what >> 8, event.map_or("a callback", Event::callback))
    }

    fn report(&self, turn: u64, since: Instant) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(since);
        self.blocked.store(turn, Ordering::Relaxed);
    }
}

/// Warns of callbacks that block one of these workers for longer than `after`, until it is dropped.
pub(crate) async fn watch(workers: Vec<Arc<Inbox>>, after: Duration) {
    let mut seen: Vec<_> = workers.iter().map(|_| (0, Instant::now())).collect();
    loop {
        let mut quiet = true;
        for (number, (worker, (turn, since))) in workers.iter().zip(&mut seen).enumerate() {
            let activity = &worker.activity;
            let now = activity.turn();
            quiet &= now == *turn && now.is_multiple_of(2);
            if now != *turn {
                (*turn, *since) = (now, Instant::now());
            } else if !now.is_multiple_of(2)
                && since.elapsed() >= after
                && activity.blocked.load(Ordering::Relaxed) != now
            {
                activity.report(now, *since);
                let (id, callback) = activity.what();
                warn!(
                    id,
                    "`{callback}` blocks the worker netframe-{number} for {:?} now, and all \
                     connections on it; await what takes long, or use spawn_blocking",
                    since.elapsed()
                );
            }
        }
        sleep(if quiet { IDLE_LOOK.max(after / LOOKS) } else { after / LOOKS }).await;
    }
}
