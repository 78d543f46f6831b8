//! [`Calls`]: the calls of a client, from when they are made to their answers, without any I/O.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use netframe_core::{CloseReason, Handle};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::{CallError, RequestOptions};

/// The calls of a client. Callers and the connection share it.
#[derive(Debug)]
pub(super) struct Calls<Q, A> {
    /// One for each request that may be in flight.
    room: Semaphore,
    max_id: u64,
    in_order: bool,
    state: Mutex<State<Q, A>>,
}

#[derive(Debug)]
struct State<Q, A> {
    /// Of each call that was not given up.
    slots: HashMap<u64, Slot<A>>,
    /// What is to be written, the oldest first. Each has its slot.
    queued: VecDeque<(u64, Q)>,
    /// In order: ids of the requests whose answers are due, the next one first. Those that were
    /// given up have no slot.
    due: VecDeque<u64>,
    last_id: u64,
    /// A connection is there, or about to be.
    is_claimed: bool,
    /// The connection, from when it is made to its end.
    handle: Option<Handle>,
    /// There will be no other connection.
    is_last: bool,
}

/// Where a call is.
#[derive(Debug)]
enum Slot<A> {
    Waiting { waker: Waker, is_sent: bool },
    Done(Result<A, CallError>),
}

/// An answer that belongs to no request.
#[derive(Debug, thiserror::Error)]
#[error("an answer came, and no request waits for one")]
pub(super) struct Unasked;

impl<Q, A> Calls<Q, A> {
    pub(super) fn new(in_order: bool, options: &RequestOptions) -> Self {
        let ids = usize::try_from(options.max_id).unwrap_or(usize::MAX).saturating_add(1);
        let max = options.max_in_flight.get().min(Semaphore::MAX_PERMITS);
        Self {
            room: Semaphore::new(if in_order { max } else { max.min(ids) }),
            max_id: if in_order { u64::MAX } else { options.max_id },
            in_order,
            state: Mutex::new(State {
                slots: HashMap::new(),
                queued: VecDeque::new(),
                due: VecDeque::new(),
                last_id: 0,
                is_claimed: false,
                handle: None,
                is_last: false,
            }),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn call(&self, request: Q, after: Duration) -> Result<A, CallError> {
        let mut call = Call { calls: self, request: Some(request), id: None, place: None };
        match timeout(after, call.run()).await {
            Ok(outcome) => outcome,
            Err(_) => call.late(after),
        }
    }

    /// A connection is to be made; false if there is one already. It is to be
    /// [released](Self::release).
    pub(super) fn claim(&self) -> bool {
        !mem::replace(&mut self.lock().is_claimed, true)
    }

    /// The connection was made.
    pub(super) fn connected(&self, handle: Handle) {
        self.lock().handle = Some(handle);
    }

    /// The next request to write, with its id. It counts as written.
    pub(super) fn next_request(&self) -> Option<(u64, Q)> {
        let mut state = self.lock();
        let (id, request) = state.queued.pop_front()?;
        if let Some(Slot::Waiting { is_sent, .. }) = state.slots.get_mut(&id) {
            *is_sent = true;
        }
        if self.in_order {
            state.due.push_back(id);
        }
        Some((id, request))
    }

    /// The request that was taken last could not be written.
    pub(super) fn refuse(&self, id: u64, error: CallError) {
        let mut state = self.lock();
        if self.in_order {
            state.due.pop_back();
        }
        self.end_sent(state, id, Err(error));
    }

    /// An answer came, maybe of a call that was given up.
    pub(super) fn answered(&self, id: u64, answer: A) -> Result<(), Unasked> {
        let mut state = self.lock();
        let id = if self.in_order { state.due.pop_front().ok_or(Unasked)? } else { id };
        self.end_sent(state, id, Ok(answer));
        Ok(())
    }

    /// Ends a request that was sent, whose call may have been given up.
    fn end_sent(
        &self,
        mut state: MutexGuard<'_, State<Q, A>>,
        id: u64,
        outcome: Result<A, CallError>,
    ) {
        let is_due = state.slots.get(&id).is_some_and(Slot::is_due);
        let waker = if is_due { state.finish(id, outcome) } else { None };
        drop(state);
        if self.in_order && !is_due {
            self.room.add_permits(1); // see `Call::drop`
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether no answer is due.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.due.is_empty() && !state.slots.values().any(Slot::is_due)
    }

    /// The connection has ended: answers that were due will not come.
    pub(super) fn lost(&self, reason: &CloseReason) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        state.handle = None;
        let given_up = state.due.iter().filter(|id| !state.slots.contains_key(id)).count();
        state.due.clear();
        for slot in state.slots.values_mut() {
            if slot.is_due() {
                let lost = CallError::Lost { reason: reason.clone() };
                wakers.extend(mem::replace(slot, Slot::Done(Err(lost))).into_waker());
            }
        }
        drop(state);
        self.room.add_permits(given_up);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The connection is no more.
    pub(super) fn release(&self) {
        let mut state = self.lock();
        state.is_claimed = false;
        let is_last = state.is_last;
        drop(state);
        if is_last {
            self.end();
        }
    }

    /// There will be no other connection than the one that there is.
    pub(super) fn no_other_connection(&self) {
        let mut state = self.lock();
        state.is_last = true;
        let is_claimed = state.is_claimed;
        drop(state);
        if !is_claimed {
            self.end();
        }
    }

    /// There is no connection, and there will be none.
    fn end(&self) {
        self.room.close();
        let mut state = self.lock();
        let queued = mem::take(&mut state.queued);
        let unsent = |(id, _): &(u64, Q)| state.finish(*id, Err(CallError::NotConnected));
        let wakers: Vec<_> = queued.iter().filter_map(unsent).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State<Q, A>> {
        // No code of users runs under the lock: not even a request or an answer is dropped.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q, A> State<Q, A> {
    /// An id that no other call has.
    fn next_id(&mut self, max_id: u64) -> u64 {
        loop {
            self.last_id = if self.last_id < max_id { self.last_id + 1 } else { 0 };
            if !self.slots.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Has a call end so; returns who waits for it.
    fn finish(&mut self, id: u64, outcome: Result<A, CallError>) -> Option<Waker> {
        let slot = self.slots.get_mut(&id)?;
        mem::replace(slot, Slot::Done(outcome)).into_waker()
    }
}

impl<A> Slot<A> {
    /// Whether its request was sent, and its answer has not come.
    fn is_due(&self) -> bool {
        matches!(self, Self::Waiting { is_sent: true, .. })
    }

    fn into_waker(self) -> Option<Waker> {
        match self {
            Self::Waiting { waker, .. } => Some(waker),
            Self::Done(_) => None,
        }
    }
}

/// A call until it has its answer, or is given up.
struct Call<'a, Q, A> {
    calls: &'a Calls<Q, A>,
    /// Until it is queued.
    request: Option<Q>,
    /// While it is queued or sent.
    id: Option<u64>,
    /// Its place among those in flight.
    place: Option<SemaphorePermit<'a>>,
}

impl<Q, A> Call<'_, Q, A> {
    async fn run(&mut self) -> Result<A, CallError> {
        let Ok(place) = self.calls.room.acquire().await else {
            return Err(CallError::NotConnected);
        };
        self.place = Some(place);
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<A, CallError>> {
        if let Some(request) = self.request.take() {
            return self.queue(request, cx);
        }
        let mut state = self.calls.lock();
        if let Some(outcome) = self.outcome(&mut state) {
            return Poll::Ready(outcome);
        }
        let slot = self.id.and_then(|id| state.slots.get_mut(&id));
        if let Some(Slot::Waiting { waker, .. }) = slot {
            waker.clone_from(cx.waker());
        }
        Poll::Pending
    }

    /// How it ended, once it has.
    fn outcome(&mut self, state: &mut State<Q, A>) -> Option<Result<A, CallError>> {
        let id = self.id?;
        let Slot::Done(_) = state.slots.get(&id)? else { return None };
        self.id = None;
        match state.slots.remove(&id)? {
            Slot::Done(outcome) => Some(outcome),
            Slot::Waiting { .. } => None, // it was done a line ago
        }
    }

    fn queue(&mut self, request: Q, cx: &mut Context<'_>) -> Poll<Result<A, CallError>> {
        let mut state = self.calls.lock();
        if state.is_last && !state.is_claimed {
            drop(state);
            return Poll::Ready(Err(CallError::NotConnected));
        }
        let id = state.next_id(self.calls.max_id);
        self.id = Some(id);
        state.slots.insert(id, Slot::Waiting { waker: cx.waker().clone(), is_sent: false });
        state.queued.push_back((id, request));
        // Whoever is told writes all that is queued by then.
        let told = state.handle.clone().filter(|_| state.queued.len() == 1);
        drop(state);
        if let Some(handle) = told {
            handle.notify();
        }
        Poll::Pending
    }

    /// The time is over. An outcome that came since the call was polled counts nevertheless.
    fn late(&mut self, after: Duration) -> Result<A, CallError> {
        let mut state = self.calls.lock();
        if let Some(outcome) = self.outcome(&mut state) {
            return outcome;
        }
        let slot = self.id.and_then(|id| state.slots.get(&id));
        let is_sent = slot.is_some_and(Slot::is_due);
        let handle = state.handle.clone().filter(|_| is_sent && self.calls.in_order);
        drop(state);
        if let Some(handle) = handle {
            handle.abort(); // what is behind would be late too
        }
        Err(CallError::Late { after, is_sent })
    }
}

impl<Q, A> Drop for Call<'_, Q, A> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let (slot, request);
        let mut state = self.calls.lock();
        slot = state.slots.remove(&id);
        let place = state.queued.iter().position(|(queued, _)| *queued == id);
        request = place.and_then(|place| state.queued.remove(place));
        let handle = state.handle.clone();
        drop(state);
        drop(request);
        if !slot.as_ref().is_some_and(Slot::is_due) {
            return;
        }
        if self.calls.in_order {
            // Its answer will come, and must not be taken for that of another: it keeps its place.
            self.place.take().into_iter().for_each(SemaphorePermit::forget);
        } else if let Some(handle) = handle {
            handle.notify(); // a drain may have waited for this answer only
        }
    }
}

#[cfg(test)]
mod tests {
    use netframe_core::testing::Recorder;
    use netframe_core::{BoxError, Transport};

    use super::*;

    fn calls(in_order: bool, max_id: u64) -> Calls<&'static str, &'static str> {
        let options = RequestOptions { max_id, ..RequestOptions::default() };
        let calls = Calls::new(in_order, &options);
        assert!(calls.claim());
        calls.connected(Recorder::new().handle());
        calls
    }

    impl<Q, A> Calls<Q, A> {
        fn begin(&self, request: Q) -> Call<'_, Q, A> {
            let place = self.room.try_acquire().ok();
            let mut call = Call { calls: self, request: Some(request), id: None, place };
            assert!(poll(&mut call).is_pending());
            call
        }
    }

    fn poll<Q, A>(call: &mut Call<'_, Q, A>) -> Poll<Result<A, CallError>> {
        call.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_answer_that_comes_as_the_time_ends_counts() {
        let calls = calls(false, u64::MAX);
        let mut call = calls.begin("a");
        let (id, _) = calls.next_request().unwrap();
        calls.answered(id, "A").unwrap();
        assert_eq!(call.late(Duration::ZERO).unwrap(), "A");

        let mut call = calls.begin("b");
        calls.next_request().unwrap();
        assert!(call.late(Duration::ZERO).unwrap_err().is_sent());
    }

    #[test]
    fn in_order_there_is_no_greatest_id() {
        let calls = calls(true, 0);
        let given_up = calls.begin("a");
        calls.next_request().unwrap();
        drop(given_up);
        let mut call = calls.begin("b");
        calls.next_request().unwrap();
        calls.answered(0, "A").unwrap();
        assert!(poll(&mut call).is_pending(), "this answer is not its own");
        calls.answered(0, "B").unwrap();
        assert!(matches!(poll(&mut call), Poll::Ready(Ok("B"))));
    }

    #[test]
    fn an_answer_to_what_was_not_asked_yet_or_is_answered_already_is_dropped() {
        let calls = calls(false, u64::MAX);
        let mut call = calls.begin("a");
        calls.answered(1, "too early").unwrap();
        assert!(poll(&mut call).is_pending());
        let (id, _) = calls.next_request().unwrap();
        calls.answered(id, "A").unwrap();
        calls.answered(id, "too late").unwrap();
        assert!(matches!(poll(&mut call), Poll::Ready(Ok("A"))));
    }

    #[test]
    fn a_request_given_up_while_it_is_encoded_in_vain_frees_its_place() {
        let calls = calls(true, u64::MAX);
        let places = calls.room.available_permits();
        let call = calls.begin("a");
        let (id, _) = calls.next_request().unwrap();
        drop(call);
        assert_eq!(calls.room.available_permits(), places - 1);
        calls.refuse(id, CallError::Encode(BoxError::from("no")));
        assert_eq!(calls.room.available_permits(), places);
    }
}
