//! [`Subscriber`]: one member of a group, with what waits for it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::Policy;
use super::backlog::{Backlog, Entry};
use super::memory::{Memory, OVERHEAD, Waiting};
use crate::close_reason::{Cause, CloseKind, Side};
use crate::connection::{Awaited, Core};
use crate::datagram::SendError;
use crate::handle::Handle;
use crate::inbox::Inbox;
use crate::shared::Shared;

/// A member of a group. It is what its connection wakes when there is room in the queue.
///
/// Locks are taken in the order group, subscriber, core.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) number: u64,
    handle: Handle,
    policy: Policy,
    max_backlog: usize,
    state: Mutex<State>,
}

/// Invariant: while something waits, the subscriber is registered with its connection, or is being
/// woken by it.
#[derive(Debug, Default)]
struct State {
    backlog: Backlog,
    /// Under which it is registered with its connection.
    room: Option<u64>,
    /// It has left the group, or its connection takes no more.
    gone: bool,
    missed: u64,
    /// Senders that wait until there is room.
    senders: Vec<Waker>,
}

/// A message on its way to the members, made to wait for those that need it.
pub(super) struct Outgoing<'a> {
    data: Bytes,
    key: Option<u64>,
    memory: &'a Arc<Memory>,
    waiting: Option<Arc<Waiting>>,
    /// To be dropped without a lock.
    trash: Vec<Bytes>,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(data: Bytes, key: Option<u64>, memory: &'a Arc<Memory>) -> Self {
        Self { data, key, memory, waiting: None, trash: Vec::new() }
    }

    /// The message as one that waits, if there is memory for it.
    fn waiting(&mut self, over: bool) -> Option<Arc<Waiting>> {
        if self.waiting.is_none() {
            self.waiting = Waiting::new(self.data.clone(), self.memory, over);
        }
        self.waiting.clone()
    }

    fn entry(&mut self, over: bool) -> Option<Entry> {
        let message = self.waiting(over)?;
        let place = self.memory.take(OVERHEAD, over)?;
        Some(Entry::new(message, self.key, place))
    }
}

/// What became of a message for one member. `dropped` and `older` count what made room for it.
pub(super) enum Offered {
    Written,
    Waits {
        dropped: u64,
    },
    Replaced {
        dropped: u64,
    },
    /// It waits, and its sender is to do so too.
    Full {
        patience: Duration,
    },
    Dropped {
        older: u64,
    },
    Disconnected,
    Gone,
}

impl Subscriber {
    pub(super) fn new(number: u64, handle: Handle, policy: Policy, max_backlog: usize) -> Self {
        Self { number, handle, policy, max_backlog, state: Mutex::default() }
    }

    /// Writes the message, or does what the policy says.
    pub(super) fn offer(
        self: &Arc<Self>,
        outgoing: &mut Outgoing<'_>,
        can_wait: bool,
        wakers: &mut Wakers,
    ) -> Offered {
        let mut state = self.state();
        if state.gone {
            return Offered::Gone;
        }
        if state.backlog.is_empty() {
            let shared = self.handle.shared();
            let mut core = shared.lock();
            match core.write_from_handle(outgoing.data.clone(), shared.limits()) {
                Ok(unused) => {
                    let waker = core.unpark();
                    drop(core);
                    drop(unused);
                    wakers.add(shared, waker);
                    return Offered::Written;
                }
                Err((data, error)) => {
                    if error == SendError::Full {
                        self.await_room(&mut core, &mut state);
                    }
                    drop(core);
                    drop(data);
                    if !matches!(error, SendError::Full | SendError::Closed) {
                        state.missed += 1; // no datagram can be that long
                        return Offered::Dropped { older: 0 };
                    }
                }
            }
        }
        if !self.handle.shared().lock().is_writable() {
            state.gone = true;
            for entry in state.backlog.take() {
                entry.discard(&mut outgoing.trash);
            }
            return Offered::Gone;
        }
        let offered = self.keep(&mut state, outgoing, can_wait);
        if state.backlog.is_empty()
            && let Some(id) = state.room.take()
        {
            self.handle.shared().lock().unregister(id);
        }
        if matches!(offered, Offered::Disconnected) {
            state.gone = true;
            for entry in state.backlog.take() {
                entry.discard(&mut outgoing.trash);
            }
            drop(state);
            let shared = self.handle.shared();
            let mut core = shared.lock();
            core.abort(fell_behind());
            let waker = core.unpark();
            drop(core);
            wakers.add(shared, waker);
        }
        offered
    }

    /// Makes the message wait, as far as the policy allows.
    fn keep(&self, state: &mut State, outgoing: &mut Outgoing<'_>, can_wait: bool) -> Offered {
        let cost = outgoing.data.len() + OVERHEAD;
        let max = self.max_backlog;
        let fits = |backlog: &Backlog| backlog.bytes() + cost <= max;
        let mut dropped = 0;
        match self.policy {
            Policy::DropNewest => {
                if fits(&state.backlog)
                    && let Some(entry) = outgoing.entry(false)
                {
                    state.backlog.push(entry);
                    return Offered::Waits { dropped };
                }
                state.missed += 1;
                Offered::Dropped { older: 0 }
            }
            Policy::DropOldest | Policy::KeepLatest => {
                if self.policy == Policy::KeepLatest
                    && let Some(key) = outgoing.key
                    && let Some(message) = outgoing.waiting(false)
                    && let Ok(replaced) = state.backlog.replace(key, message)
                {
                    outgoing.trash.extend(Waiting::into_data(replaced));
                    state.missed += 1;
                    // It may be longer than the one it replaced.
                    while state.backlog.bytes() > max
                        && let Some(oldest) = state.backlog.pop()
                    {
                        oldest.discard(&mut outgoing.trash);
                        dropped += 1;
                    }
                    state.missed += dropped;
                    return Offered::Replaced { dropped };
                }
                loop {
                    if fits(&state.backlog)
                        && let Some(entry) = outgoing.entry(false)
                    {
                        state.backlog.push(entry);
                        state.missed += dropped;
                        return Offered::Waits { dropped };
                    }
                    let Some(oldest) = state.backlog.pop() else {
                        state.missed += dropped + 1;
                        return Offered::Dropped { older: dropped };
                    };
                    oldest.discard(&mut outgoing.trash);
                    dropped += 1;
                }
            }
            Policy::Disconnect => match fits(&state.backlog).then(|| outgoing.entry(false)) {
                Some(Some(entry)) => {
                    state.backlog.push(entry);
                    Offered::Waits { dropped }
                }
                _ => Offered::Disconnected,
            },
            Policy::Block(patience) => {
                let fits = fits(&state.backlog);
                // A sender that waits has the bytes anyway.
                match if fits || can_wait { outgoing.entry(can_wait) } else { None } {
                    Some(entry) => {
                        state.backlog.push(entry);
                        if fits { Offered::Waits { dropped } } else { Offered::Full { patience } }
                    }
                    None => {
                        state.missed += 1;
                        Offered::Dropped { older: 0 }
                    }
                }
            }
        }
    }

    /// Is woken when there is room in the connection's queue, or never will be.
    fn await_room(self: &Arc<Self>, core: &mut Core, state: &mut State) {
        core.register(&mut state.room, &Waker::from(Arc::clone(self)), Awaited::Room);
    }

    /// Writes what waits, as long as there is room.
    fn pump(self: &Arc<Self>) {
        let shared = self.handle.shared();
        let mut written = Vec::new();
        let mut state = self.state();
        let mut core = shared.lock();
        while let Some(front) = state.backlog.front() {
            match core.write_from_handle(front.message.data.clone(), shared.limits()) {
                Err((_, SendError::Full)) => {
                    self.await_room(&mut core, &mut state);
                    break;
                }
                Err((_, SendError::Closed)) => {
                    state.gone = true;
                    written.extend(state.backlog.take());
                }
                Ok(_) => written.extend(state.backlog.pop()),
                Err(_) => {
                    state.missed += 1; // no datagram can be that long
                    written.extend(state.backlog.pop());
                }
            }
        }
        let waker = core.unpark();
        drop(core);
        let senders = self.take_senders(&mut state);
        drop(state);
        drop(written);
        shared.wake(waker);
        for sender in senders {
            sender.wake();
        }
    }

    /// The senders that need not wait any more.
    fn take_senders(&self, state: &mut State) -> Vec<Waker> {
        if state.gone || state.backlog.bytes() <= self.max_backlog {
            std::mem::take(&mut state.senders)
        } else {
            Vec::new()
        }
    }

    /// Waits until no more waits than may, or the member is gone.
    pub(super) async fn has_room(&self) {
        poll_fn(|cx| {
            let mut state = self.state();
            if state.gone || state.backlog.bytes() <= self.max_backlog {
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

    /// The member leaves the group.
    pub(super) fn leave(&self) {
        self.end();
        let room = self.state().room.take();
        if let Some(room) = room {
            self.handle.shared().lock().unregister(room);
        }
    }

    /// Lets go of what waits, and of who waits. Returns whether the member was still there.
    fn end(&self) -> bool {
        let mut state = self.state();
        let was_here = !std::mem::replace(&mut state.gone, true);
        let waiting = state.backlog.take();
        let senders = std::mem::take(&mut state.senders);
        drop(state);
        drop(waiting);
        for sender in senders {
            sender.wake();
        }
        was_here
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

    /// Keeps the room of one that has been used up.
    pub(super) fn put_back(&mut self, used: Self) {
        debug_assert!(used.apart.is_empty());
        *self = used;
    }
}
