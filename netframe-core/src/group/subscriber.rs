//! [`Subscriber`]: one member of a group, and how far it has come.

use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use super::backlog::{Backlog, Log, Sending};
use super::{Inner, Message, Policy};
use crate::close_reason::{Cause, CloseKind, Side};
use crate::connection::{Awaited, Core};
use crate::datagram::SendError;
use crate::handle::Handle;
use crate::inbox::Inbox;
use crate::shared::Shared;
use crate::sync::{Mutex, MutexGuard};

/// A member of a group. It is what its connection wakes when there is room in the queue.
///
/// Locks are taken in the order members, subscriber, then backlog or core.
pub(super) struct Subscriber {
    pub(super) number: u64,
    group: Arc<Inner>,
    handle: Handle,
    policy: Policy,
    state: Mutex<State>,
}

/// Invariant: while it is behind, or is to be notified, the subscriber is registered with its
/// connection or is being woken by it. While it is not behind, it has, or has missed, everything
/// that was offered to it.
struct State {
    /// Number of the message that it needs next.
    next: u64,
    /// Messages wait for it.
    behind: bool,
    /// Under which it is registered with its connection.
    room: Option<u64>,
    /// It has left the group, or its connection takes no more.
    gone: bool,
    missed: u64,
    /// It has missed messages, and its protocol is notified once it has caught up.
    notify: bool,
    /// Senders that wait for it to go on.
    senders: Vec<Waker>,
}

/// What became of a message for one member.
pub(super) enum Offered {
    Written,
    Waits,
    Dropped,
    /// It is not for this member.
    Excepted,
    Disconnected,
    Gone,
}

impl Subscriber {
    pub(super) fn new(number: u64, group: Arc<Inner>, handle: Handle, policy: Policy) -> Self {
        let next = group.backlog.next();
        let state = Mutex::new(State {
            next,
            behind: false,
            room: None,
            gone: false,
            missed: 0,
            notify: false,
            senders: Vec::new(),
        });
        Self { number, group, handle, policy, state }
    }

    pub(super) fn keeps_latest(&self) -> bool {
        self.policy == Policy::KeepLatest
    }

    pub(super) fn blocks(&self) -> Option<Duration> {
        match self.policy {
            Policy::Block(patience) => Some(patience),
            _ => None,
        }
    }

    fn log(&self) -> Log {
        if self.keeps_latest() { Log::Latest } else { Log::All }
    }

    fn backlog(&self) -> &Backlog {
        &self.group.backlog
    }

    /// Writes the message, or does what the policy says.
    pub(super) fn offer(
        self: &Arc<Self>,
        message: &Message,
        sending: &Sending,
        wakers: &mut Wakers,
    ) -> Offered {
        let mut state = self.state();
        if state.gone {
            return Offered::Gone;
        }
        if state.next > sending.number {
            return Offered::Written; // taken from the backlog already
        }
        let excepted = message.except == Some(self.number);
        let shared = self.handle.shared();
        if !state.behind {
            state.next = sending.number + 1;
            if excepted {
                return Offered::Excepted;
            }
            let mut core = shared.lock();
            match core.write_from_handle(message.data(), shared.limits()) {
                Ok(unused) => {
                    let waker = core.unpark();
                    drop(core);
                    drop(unused);
                    wakers.add(shared, waker);
                    return Offered::Written;
                }
                Err((_, SendError::Full)) => {
                    self.await_room(&mut core, &mut state);
                    drop(core);
                    if self.policy == Policy::DropNewest {
                        self.miss(&mut state, 1);
                        return Offered::Dropped;
                    }
                    state.next = sending.number;
                    state.behind = true;
                    self.backlog().fall_behind();
                }
                Err((_, SendError::Closed)) => {
                    state.gone = true;
                    return Offered::Gone;
                }
                Err(_) => {
                    drop(core);
                    self.miss(&mut state, 1);
                    return Offered::Dropped;
                }
            }
        } else if !shared.lock().is_writable() {
            drop(state);
            self.end();
            return Offered::Gone;
        }
        if self.log() == Log::All && state.next < sending.first {
            let lost = sending.first - state.next;
            state.next = sending.first;
            self.miss(&mut state, lost);
            if self.policy == Policy::Disconnect {
                drop(state);
                self.end();
                let mut core = shared.lock();
                core.abort(fell_behind());
                let waker = core.unpark();
                drop(core);
                wakers.add(shared, waker);
                return Offered::Disconnected;
            }
            if state.next > sending.number {
                return Offered::Dropped; // alone it is more than may wait
            }
        }
        if excepted { Offered::Excepted } else { Offered::Waits }
    }

    /// Is woken when there is room in the connection's queue, or never will be.
    fn await_room(self: &Arc<Self>, core: &mut Core, state: &mut State) {
        core.register(&mut state.room, &Waker::from(Arc::clone(self)), Awaited::Room);
    }

    /// Writes what waits, as long as there is room.
    fn pump(self: &Arc<Self>) {
        let shared = self.handle.shared();
        let mut state = self.state();
        let mut written = Vec::new();
        while state.behind && !state.gone {
            let (number, message) = match self.backlog().read(self.log(), state.next) {
                Ok(found) => found,
                Err(next) => {
                    // Whoever sends now finds it here, and not behind.
                    let lost = next - state.next;
                    self.miss(&mut state, lost);
                    (state.next, state.behind) = (next, false);
                    self.backlog().catch_up();
                    break;
                }
            };
            let lost = number - state.next;
            self.miss(&mut state, lost);
            state.next = number;
            if message.except != Some(self.number) {
                let mut core = shared.lock();
                match core.write_from_handle(message.data(), shared.limits()) {
                    Ok(_) => {}
                    Err((_, SendError::Full)) => {
                        self.await_room(&mut core, &mut state);
                        break;
                    }
                    Err((_, SendError::Closed)) => {
                        state.gone = true;
                        state.behind = false;
                        self.backlog().catch_up();
                        break;
                    }
                    Err(_) => self.miss(&mut state, 1), // no datagram can be that long
                }
            }
            state.next += 1;
            written.push(message); // to be dropped without a lock
        }
        let caught_up = !state.behind;
        if caught_up && state.notify && !state.gone {
            let mut core = shared.lock();
            if core.is_held() {
                self.await_room(&mut core, &mut state);
            } else {
                state.notify = false;
                core.notify();
            }
        }
        let senders = std::mem::take(&mut state.senders);
        drop(state);
        drop(written);
        if caught_up {
            self.backlog().clear_if_unneeded();
        }
        let waker = shared.lock().unpark();
        shared.wake_driver(waker);
        for sender in senders {
            sender.wake();
        }
    }

    /// Where it stands, if a sender of the message should wait for it to go on.
    pub(super) fn holds_up(&self, message: &Message) -> Option<u64> {
        let state = self.state();
        let waits = state.behind && !state.gone && self.backlog().would_evict(state.next, message);
        waits.then_some(state.next)
    }

    /// Waits until it has gone on from where it stood, or is gone.
    pub(super) async fn goes_on(&self, from: u64) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.gone || !state.behind || state.next != from {
                return Poll::Ready(());
            }
            if !state.senders.iter().any(|sender| sender.will_wake(cx.waker())) {
                state.senders.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Ends the connection, unless the member is gone already.
    pub(super) fn disconnect(&self) -> bool {
        let was_here = self.end();
        if was_here {
            self.handle.shared().change(|core| core.abort(fell_behind()));
        }
        was_here
    }

    /// Nothing waits for it any more, and nobody for it. Returns whether it was still there.
    pub(super) fn end(&self) -> bool {
        let mut state = self.state();
        let was_here = !std::mem::replace(&mut state.gone, true);
        if std::mem::take(&mut state.behind) {
            self.backlog().catch_up();
        }
        let (room, senders) = (state.room.take(), std::mem::take(&mut state.senders));
        drop(state);
        if let Some(room) = room {
            self.handle.shared().lock().unregister(room);
        }
        for sender in senders {
            sender.wake();
        }
        was_here
    }

    /// The member does not get so many messages; its group and its service count them too.
    fn miss(&self, state: &mut State, count: u64) {
        if count > 0 {
            state.missed += count;
            state.notify = true;
            self.group.counters.missed.fetch_add(count, Ordering::Relaxed);
            let counters = &self.handle.shared().home.service.counters;
            counters.missed.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn missed(&self) -> u64 {
        self.state().missed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Subscriber {
    fn wake(self: Arc<Self>) {
        self.pump();
    }
}

fn fell_behind() -> Cause {
    Cause::with_source(Side::Local, CloseKind::Overflow, "too slow for the messages of its group")
}

/// Connections to be woken, by their worker.
#[derive(Default)]
pub(super) struct Wakers {
    apart: Vec<Waker>,
    of_workers: Vec<(Arc<Inbox>, Vec<Waker>)>,
}

impl Wakers {
    fn add(&mut self, shared: &Shared, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        let Some(inbox) = &shared.home.inbox else { return self.apart.push(waker) };
        match self.of_workers.iter_mut().find(|(other, _)| Arc::ptr_eq(other, inbox)) {
            Some((_, wakers)) => wakers.push(waker),
            None => self.of_workers.push((Arc::clone(inbox), vec![waker])),
        }
    }

    /// Wakes them all, the threads of other workers once each.
    pub(super) fn wake(&mut self) {
        for waker in self.apart.drain(..) {
            waker.wake();
        }
        for (inbox, wakers) in &mut self.of_workers {
            inbox.wake_all(wakers);
        }
    }
}
