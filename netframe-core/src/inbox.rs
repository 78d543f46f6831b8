//! [`Inbox`]: what of a worker other threads know. Wake-ups for the connections of one worker thread from other threads. Waking a task
//! of another thread costs a system call; through an inbox a whole batch costs one.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};

use crate::activity::Activity;
use crate::sync::{Mutex, MutexGuard, thread_local};

thread_local! {
    /// Address of the inbox that belongs to this thread, or zero.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// Wakers of connections that live on one thread.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) activity: Activity,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    wakers: Vec<Waker>,
    /// The task of [`Inbox::run`], while it waits.
    reader: Option<Waker>,
}

impl Inbox {
    /// Wakes a connection of this worker: at once on its own thread, else with the next batch.
    pub(crate) fn wake(self: &Arc<Self>, waker: Waker) {
        if CURRENT.with(Cell::get) == Arc::as_ptr(self) as usize {
            waker.wake();
            return;
        }
        let mut state = self.state();
        state.wakers.push(waker);
        // Only the first of a batch finds the reader waiting, and pays for waking its thread.
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Wakes several connections of this worker, and its thread once at most.
    pub(crate) fn wake_all(self: &Arc<Self>, wakers: &mut Vec<Waker>) {
        if CURRENT.with(Cell::get) == Arc::as_ptr(self) as usize {
            wakers.drain(..).for_each(Waker::wake);
        } else if !wakers.is_empty() {
            let mut state = self.state();
            state.wakers.append(wakers);
            let reader = state.reader.take();
            drop(state);
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }

    /// Hands out the batches, on the worker's own thread, until the task is dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        CURRENT.with(|current| current.set(Arc::as_ptr(&self) as usize));
        let mut batch = Vec::new();
        loop {
            poll_fn(|cx| {
                let mut state = self.state();
                if state.wakers.is_empty() {
                    state.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                std::mem::swap(&mut batch, &mut state.wakers);
                Poll::Ready(())
            })
            .await;
            for waker in batch.drain(..) {
                waker.wake();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
