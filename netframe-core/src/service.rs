//! [`Service`]: what all connections of one service share: its limits, its exact count of
//! connections, and its counters.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::time::Instant;

use crate::acceptor::Refusals;
use crate::addr::Addr;
use crate::admission::{Admission, Pace, Refusal};
use crate::budget::{Budget, Process};
use crate::close_reason::{CloseKind, CloseReason, Side};
use crate::leaks::Leaks;
use crate::limits::Limits;
use crate::shaping::{Direction, Shaping};
use crate::sync::{AtomicUsize, Mutex};

/// One service, over all its endpoints and workers.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) permits: Permits,
    pub(crate) admission: Option<Admission>,
    pub(crate) pace: Pace,
    /// `None` if no rate is limited.
    pub(crate) shaping: Option<Shaping>,
    pub(crate) refusals: Refusals,
    pub(crate) counters: Counters,
}

impl Service {
    pub(crate) fn new(name: impl Into<String>, limits: Limits) -> Arc<Self> {
        Self::of_process(name, limits, Bytes::new(), Arc::default())
    }

    /// One of several services, whose connections `process` counts together.
    pub(crate) fn of_process(
        name: impl Into<String>,
        limits: Limits,
        refusal: Bytes,
        process: Arc<Process>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            permits: Permits { own: Count::new(limits.max_connections), process },
            admission: Admission::new(&limits),
            pace: Pace::new(limits.accept_rate),
            shaping: Shaping::new(&limits),
            refusals: Refusals::new(refusal),
            limits,
            counters: Counters::default(),
        })
    }
}

impl Service {
    /// Counts a connection of this peer; false, and counted by its cause, if there may be none.
    pub(crate) fn admit(&self, peer: &Addr) -> bool {
        match self.admission.as_ref().map_or(Ok(()), |admission| admission.admit(peer)) {
            Ok(()) => true,
            Err(Refusal::TooMany) => {
                Counters::add(&self.counters.refused_per_peer);
                false
            }
            Err(Refusal::TooFast) => {
                Counters::add(&self.counters.refused_too_fast);
                false
            }
        }
    }

    /// Ends what goes on when the last connection has ended, at the latest at `deadline`, and looks at what
    /// has not been given back.
    pub(crate) async fn end(&self, leaks: &mut Leaks, deadline: Instant) {
        leaks.refusals += self.refusals.end(deadline).await;
        leaks.look(self);
        leaks.report(&self.name);
    }

    /// A connection of this peer, which was admitted, has ended.
    pub(crate) fn leave(&self, peer: &Addr) {
        if let Some(admission) = &self.admission {
            admission.leave(peer);
        }
    }
}

/// Exact counts of connections: of the service, and of the process if that has a limit.
#[derive(Debug)]
pub(crate) struct Permits {
    own: Count,
    process: Arc<Process>,
}

/// An exact count of connections, and the acceptors that wait for room.
#[derive(Debug)]
pub(crate) struct Count {
    max: usize,
    live: AtomicUsize,
    parked: Mutex<Vec<Waker>>,
}

impl Count {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, live: AtomicUsize::new(0), parked: Mutex::default() }
    }

    pub(crate) fn taken(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    fn try_acquire(&self) -> bool {
        self.live
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |live| {
                (live < self.max).then_some(live + 1)
            })
            .is_ok()
    }

    /// Has `cx` woken when there may be room.
    fn park(&self, cx: &Context<'_>) {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if !parked.iter().any(|waker| waker.will_wake(cx.waker())) {
            parked.push(cx.waker().clone());
        }
    }

    fn release(&self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
        let parked =
            std::mem::take(&mut *self.parked.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in parked {
            waker.wake();
        }
    }
}

impl Permits {
    /// Permits of the service that are taken now.
    pub(crate) fn taken(&self) -> usize {
        self.own.taken()
    }

    /// The budget of queued bytes, if the process has one.
    pub(crate) fn budget(&self) -> Option<&Budget> {
        self.process.queued.as_ref()
    }

    /// Takes a permit if there is one.
    pub(crate) fn try_acquire(&self) -> bool {
        self.acquire().is_ok()
    }

    /// Takes a permit, or says which count is full.
    fn acquire(&self) -> Result<(), &Count> {
        if !self.own.try_acquire() {
            return Err(&self.own);
        }
        match &self.process.connections {
            Some(process) if !process.try_acquire() => {
                self.own.release();
                Err(process)
            }
            _ => Ok(()),
        }
    }

    /// Takes a permit, or has `cx` woken when one may be free.
    fn poll_acquire(&self, cx: &Context<'_>) -> Poll<()> {
        let mut parked = [false; 2];
        loop {
            let Err(full) = self.acquire() else { return Poll::Ready(()) };
            let parked = &mut parked[usize::from(std::ptr::eq(full, &self.own))];
            if *parked {
                return Poll::Pending;
            }
            // And looks again: a permit freed before the waker was parked woke nobody.
            full.park(cx);
            *parked = true;
        }
    }

    /// Runs `attempt` only while there is a permit, and holds it only while `attempt` is polled:
    /// an acceptor that waits for the network keeps none from the others. The permit is the
    /// caller's once the future is ready.
    ///
    /// # Cancel safety
    ///
    /// As safe as `attempt`; no permit is lost.
    pub(crate) async fn with_permit<T>(&self, attempt: impl Future<Output = T>) -> T {
        let mut attempt = std::pin::pin!(attempt);
        poll_fn(|cx| {
            std::task::ready!(self.poll_acquire(cx));
            let polled = attempt.as_mut().poll(cx);
            if polled.is_pending() {
                self.release();
            }
            polled
        })
        .await
    }

    /// Gives a permit back and wakes every acceptor that waits for one.
    pub(crate) fn release(&self) {
        if let Some(process) = &self.process.connections {
            process.release();
        }
        self.own.release();
    }
}

/// What a service has seen so far. Bytes are added when a connection ends.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    refused_per_peer: AtomicU64,
    refused_too_fast: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) accept_pauses: AtomicU64,
    pub(crate) no_descriptors: AtomicU64,
    pub(crate) no_resources: AtomicU64,
    pub(crate) broken_listeners: AtomicU64,
    pub(crate) shed: AtomicU64,
    pub(crate) missed: AtomicU64,
    highest_queue: AtomicUsize,
    /// By direction.
    pub(crate) held_back: [AtomicU64; 2],
    pub(crate) datagrams: DatagramCounters,
    closed: [[AtomicU64; Side::ALL.len()]; CloseKind::COUNT],
    close_timeouts: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes wait because the peer does not take them.
    pub(crate) fn waiting(&self, queued: usize) {
        if queued > self.highest_queue.load(Ordering::Relaxed) {
            self.highest_queue.fetch_max(queued, Ordering::Relaxed);
        }
    }

    pub(crate) fn closed(&self, reason: &CloseReason) {
        Self::add(&self.closed[reason.kind().index()][reason.by() as usize]);
        if reason.close_timed_out {
            Self::add(&self.close_timeouts);
        }
        self.bytes_in.fetch_add(reason.bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(reason.bytes_out, Ordering::Relaxed);
    }

    /// How many that were accepted have not been counted as ended, beyond those that were `live`, which
    /// may have ended since; or how many more ended than were accepted.
    pub(crate) fn uncounted(&self, live: usize) -> u64 {
        let accepted = self.accepted.load(Ordering::Relaxed);
        let closed = self.closed.iter().flatten().map(|count| count.load(Ordering::Relaxed)).sum();
        accepted.abs_diff(accepted.clamp(closed, closed + live as u64))
    }
}

/// What a service has seen so far: a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections open now.
    pub live: usize,
    /// Permits of `max_connections` taken now: one for each that is open, and for each that is being
    /// accepted.
    pub permits: usize,
    /// Bytes in the queues of those that are open.
    pub queued: usize,
    /// Connections accepted or opened.
    pub accepted: u64,
    /// Connections that the factory refused.
    pub refused: u64,
    /// Connections refused because the service, or the process, was full.
    pub refused_full: u64,
    /// Connections refused because their peer had as many as it may.
    pub refused_per_peer: u64,
    /// Connections refused because their peer's came faster than they may.
    pub refused_too_fast: u64,
    /// Connections that failed before they could be accepted.
    pub accept_errors: u64,
    /// Times that accepting paused: for a lack of descriptors or of other resources, or because
    /// connection after connection failed.
    pub accept_pauses: u64,
    /// Of these, times for a lack of descriptors.
    pub no_descriptors: u64,
    /// Of these, times for a lack of memory or buffers, or for an error that is not known and may pass.
    pub no_resources: u64,
    /// Listeners and datagram sockets that broke for good, on each worker by itself.
    pub broken_listeners: u64,
    /// Connections accepted only to be closed, for a lack of descriptors.
    pub shed: u64,
    /// Connections whose close ran into the close timeout.
    pub close_timeouts: u64,
    /// Bytes received, by connections that live and by those that ended.
    pub bytes_in: u64,
    /// Bytes sent, likewise.
    pub bytes_out: u64,
    /// The most bytes that waited in one connection's queue, because its peer did not take them or a
    /// rate held them back.
    pub highest_queue: usize,
    /// Times that a connection was not read from for up to half a second, as `read_rate` or
    /// `service_read_rate` had been used up.
    pub reads_held_back: u64,
    /// Times that a queue was not sent from, likewise, by `write_rate` or `service_write_rate`.
    pub writes_held_back: u64,
    /// Messages of a [`Group`](crate::Group) that a connection did not get because its peer was too
    /// slow for them.
    pub missed: u64,
    /// What happened to single datagrams.
    pub datagrams: DatagramStats,
    closed: [[u64; Side::ALL.len()]; CloseKind::COUNT],
}

macro_rules! datagram_counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Datagrams that were dropped, by cause, and what else concerns one datagram.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct DatagramStats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl DatagramStats {
            /// All counters with their names.
            pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct DatagramCounters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl DatagramCounters {
            fn read(&self) -> DatagramStats {
                DatagramStats { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

datagram_counters! {
    /// Of a new peer, while there was no room for another session.
    no_room,
    /// Sessions ended to make room for another peer's.
    evicted,
    /// Of a session that was paused, or whose handler was pending, and had enough waiting.
    waiting,
    /// Handled with bytes left over, which are dropped.
    leftover,
    /// Longer than 64 KiB, for a protocol that cannot tell.
    truncated,
    /// From the socket's own address.
    own,
    /// Reported undeliverable by the network (ICMP), or by the receiver's machine.
    refused,
    /// Not sent, because the system refused.
    unsent,
    /// Whose handler failed, of a [`DatagramProtocol`](crate::DatagramProtocol).
    errors,
}

/// Connections that live, and the bytes they have moved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) live: usize,
    pub(crate) queued: usize,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Stats {
    pub(crate) fn new(service: &Service, live: impl IntoIterator<Item = Traffic>) -> Self {
        let live = live.into_iter().fold(Traffic::default(), |all, one| Traffic {
            live: all.live + one.live,
            queued: all.queued + one.queued,
            bytes_in: all.bytes_in + one.bytes_in,
            bytes_out: all.bytes_out + one.bytes_out,
        });
        let counters = &service.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            live: live.live,
            permits: service.permits.taken(),
            queued: live.queued,
            accepted: read(&counters.accepted),
            refused: read(&counters.refused),
            refused_full: read(&counters.refused_full),
            refused_per_peer: read(&counters.refused_per_peer),
            refused_too_fast: read(&counters.refused_too_fast),
            accept_errors: read(&counters.accept_errors),
            accept_pauses: read(&counters.accept_pauses),
            no_descriptors: read(&counters.no_descriptors),
            no_resources: read(&counters.no_resources),
            broken_listeners: read(&counters.broken_listeners),
            shed: read(&counters.shed),
            close_timeouts: read(&counters.close_timeouts),
            bytes_in: read(&counters.bytes_in) + live.bytes_in,
            bytes_out: read(&counters.bytes_out) + live.bytes_out,
            highest_queue: counters.highest_queue.load(Ordering::Relaxed),
            reads_held_back: read(&counters.held_back[Direction::Read as usize]),
            writes_held_back: read(&counters.held_back[Direction::Write as usize]),
            missed: read(&counters.missed),
            datagrams: counters.datagrams.read(),
            closed: counters.closed.each_ref().map(|sides| sides.each_ref().map(read)),
        }
    }

    /// How many connections ended for this reason.
    pub fn closed(&self, kind: CloseKind) -> u64 {
        self.closed[kind.index()].iter().sum()
    }

    /// How many connections ended for each reason that occurred.
    pub fn closed_by_kind(&self) -> impl Iterator<Item = (CloseKind, u64)> {
        CloseKind::ALL.into_iter().map(|kind| (kind, self.closed(kind))).filter(|(_, n)| *n > 0)
    }

    /// The same, with who ended them.
    pub fn closed_by_cause(&self) -> impl Iterator<Item = (CloseKind, Side, u64)> {
        let sides = |(kind, counts): (_, [u64; Side::ALL.len()])| {
            Side::ALL.into_iter().zip(counts).map(move |(side, count)| (kind, side, count))
        };
        let all = CloseKind::ALL.into_iter().zip(self.closed).flat_map(sides);
        all.filter(|(_, _, count)| *count > 0)
    }
}
