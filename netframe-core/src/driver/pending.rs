//! What goes on while a handler waits: its writes leave, and a reset, an abort or a system timeout
//! ends it. One allocation per wait, so that a connection without one pays nothing.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::pump::{
    CALLS_PER_TURN, ask_broken, end_input, poll_fin, poll_flush, poll_flush_below, poll_read_ahead,
};
use super::{Conn, Verdict};
use crate::below::Below;
use crate::connection::{Blocked, Event, Next};
use crate::shared::Shared;

/// Runs a handler that was pending at its first poll.
pub(super) async fn pend(
    below: &mut Below,
    shared: &Arc<Shared>,
    event: Event,
    mut handler: Pin<&mut (dyn Future<Output = Verdict> + Send + '_)>,
) -> Verdict {
    let mut turn = 0;
    shared.lock().set_pending(true);
    let _pending = Pending(shared);
    loop {
        // With the stream at hand: everything that is to be moved now.
        let mut blocked = Blocked::default();
        let next = poll_fn(|cx| {
            loop {
                if turn >= CALLS_PER_TURN {
                    turn = 0;
                    blocked = Blocked::default(); // what wakes it may have come by the next poll
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let next = {
                    let mut core = shared.lock();
                    let next = core.next_pending(blocked);
                    shared.arm(&mut core);
                    next
                };
                match next {
                    Next::Flush => poll_flush(below, cx, shared, &mut blocked),
                    Next::FlushBelow => poll_flush_below(below, cx, shared, &mut blocked),
                    Next::Fin => poll_fin(below, cx, shared, &mut blocked),
                    Next::ReadAhead => {
                        turn += 1;
                        poll_read_ahead(below, cx, shared, &mut blocked);
                    }
                    Next::EndInput => end_input(shared),
                    Next::Broken => ask_broken(below, shared),
                    other => return Poll::Ready(other),
                }
            }
        })
        .await;
        let Next::Wait { watch_reset } = next else { return Verdict::Interrupted };

        // With the stream lent to the watch: the handler, until something else is to be done.
        let mut reset = pin!(below.reset());
        let mut woken = false;
        let verdict = poll_fn(|cx| {
            if woken {
                // Whatever woke this task, the stream may be ready: look there first.
                return Poll::Ready(None);
            }
            if watch_reset && reset.as_mut().poll(cx).is_ready() {
                let wakes = shared.lock().io_failed(io::ErrorKind::ConnectionReset.into());
                wakes.wake();
                return Poll::Ready(None);
            }
            let poll = || handler.as_mut().poll(cx);
            if let Poll::Ready(verdict) = shared.home.poll_callback(shared.id, event, poll) {
                return Poll::Ready(Some(verdict));
            }
            let mut core = shared.lock();
            if !core.may_park(blocked) {
                return Poll::Ready(None);
            }
            let charge = shared.park(&mut core, cx.waker());
            let trash = core.take_trash();
            drop(core);
            drop(trash);
            if charge && !shared.charge() {
                return Poll::Ready(None);
            }
            woken = true;
            turn = 0;
            Poll::Pending
        })
        .await;
        if let Some(verdict) = verdict {
            return verdict;
        }
    }
}

/// While it lives, a handler waits.
struct Pending<'a>(&'a Arc<Shared>);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.lock().set_pending(false);
    }
}

/// Waits, while neither a read nor a write is under way, for a reset or to be woken.
pub(super) async fn watch_reset(conn: &mut Conn) {
    let shared = &conn.shared;
    let mut reset = pin!(conn.below.reset());
    let mut woken = false;
    poll_fn(|cx| {
        if reset.as_mut().poll(cx).is_ready() {
            let wakes = shared.lock().io_failed(io::ErrorKind::ConnectionReset.into());
            wakes.wake();
            return Poll::Ready(());
        }
        if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
