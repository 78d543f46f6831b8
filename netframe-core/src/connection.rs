//! The connection core: one connection's life as a state machine that does no I/O. Protocols and
//! handles ask it to write and close; a driver asks it what to do next, does that, and says how it
//! went. It follows the contract in `docs/contract.md`, whose rules are cited by number.

mod deadlines;
mod flags;
mod waiters;
mod write_queue;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;

use crate::close_reason::{Cause, CloseKind, CloseReason, Side};
use crate::factory::DynFactory;
use crate::io::{Layer, Sent};
use crate::limits::{Limits, MAX_DELIVERY, MAX_LINGER};
use crate::protocol::Result;
use crate::transport::Residue;
use crate::wheel;

pub(crate) use self::deadlines::{Deadlines, Patience, ticks};
use self::flags::Flags;
use self::waiters::Waiters;
pub(crate) use self::write_queue::WriteQueue;

/// The state machine of one connection. It is kept small, as every idle connection has one: what
/// only some need, or only for a moment, is behind `rare` and `queue`.
///
/// Invariant: `queued` counts the bytes in `queue` and those a driver has taken out for a send.
#[derive(Debug, Default)]
pub(crate) struct Core {
    flags: Flags,
    queued: usize,
    queue: Option<Box<WriteQueue>>,
    rare: Option<Box<Rare>>,
    /// The driver's task.
    waker: Option<Waker>,
    bytes_in: u64,
    bytes_out: u64,
    pub(crate) deadlines: Deadlines,
    /// Where the timer wheel keeps this connection.
    pub(crate) wheel_key: wheel::Key,
}

/// What most connections do not need most of the time.
#[derive(Debug, Default)]
struct Rare {
    cause: Option<Cause>,
    reason: Option<CloseReason>,
    unsent: u64,
    lingered: u64,
    waiters: Waiters,
    drain_waker: Option<Waker>,
    pull_waker: Option<Waker>,
    /// Bytes read before the protocol could take them: for a pulling stream, or in search of EOF.
    inbound: BytesMut,
    switch: Option<Switch>,
    tasks: Option<JoinSet<()>>,
}

/// A requested change of protocol.
pub(crate) struct Switch {
    pub(crate) to: Arc<dyn DynFactory>,
    pub(crate) residue: Residue,
    pub(crate) layer: Option<Box<dyn Layer>>,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch").field("residue", &self.residue).finish_non_exhaustive()
    }
}

/// A callback to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Made,
    Data,
    Eof,
    Notified,
    TimedOut,
    Draining,
}

/// What the driver does next while no handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run a callback.
    Call(Event),
    /// Send from the queue.
    Flush,
    /// Flush the layer below, which may hold back bytes that it took.
    FlushBelow,
    /// End the sending side.
    Fin,
    /// Read, and deliver.
    Read,
    /// Read into `inbound`.
    ReadAhead,
    /// Read, and throw away.
    Discard,
    /// Hand the connection to another protocol.
    Switch,
    /// The connection is over.
    End,
    /// Nothing until woken; `watch_reset` if no read or write would show a reset.
    Wait { watch_reset: bool },
}

/// Which directions the transport below has said to wait for, in this turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Blocked {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// Wakers to wake once the lock is released.
#[must_use]
#[derive(Debug, Default)]
pub(crate) struct Wakes(Vec<(u64, Waker)>, [Option<Waker>; 2]);

impl Wakes {
    pub(crate) fn wake(self) {
        for (_, waker) in self.0 {
            waker.wake();
        }
        for waker in self.1.into_iter().flatten() {
            waker.wake();
        }
    }
}

/// What a protocol or a handle asks for.
impl Core {
    /// Room for a write of `len` bytes (rule 6). If there is none the bytes count as unsent.
    fn admit(&mut self, len: usize, limits: &Limits) -> bool {
        let closed = Flags::CLOSING | Flags::ABORTED | Flags::FIN_WANTED | Flags::OVERFLOW;
        let admitted = if self.flags.any(closed) {
            false
        } else if self.queued <= limits.high_watermark
            || self.queued.saturating_add(len) <= limits.hard_cap
        {
            true
        } else {
            self.flags.set(Flags::OVERFLOW);
            false
        };
        if !admitted {
            self.rare().unsent += len as u64;
        }
        admitted
    }

    fn enqueued(&mut self, len: usize, limits: &Limits) {
        self.queued += len;
        if self.queued > limits.high_watermark {
            self.flags.set(Flags::HELD);
        }
    }

    /// Queues a copy of all `parts`, or none.
    pub(crate) fn write(&mut self, parts: &[&[u8]], limits: &Limits) {
        let len = parts.iter().map(|part| part.len()).sum();
        if self.admit(len, limits) && len > 0 {
            let queue = self.queue();
            for part in parts {
                queue.push(part);
            }
            self.enqueued(len, limits);
        }
    }

    pub(crate) fn write_bytes(&mut self, data: Bytes, limits: &Limits) {
        if self.admit(data.len(), limits) && !data.is_empty() {
            let len = data.len();
            self.queue().push_bytes(data);
            self.enqueued(len, limits);
        }
    }

    /// Takes the out buffer, so that user code can append to it without the lock.
    pub(crate) fn lend_buffer(&mut self) -> Box<WriteQueue> {
        self.start_flush()
    }

    /// Takes it back. Bytes behind `len` are new; if there is no room for them they are dropped.
    pub(crate) fn return_buffer(
        &mut self,
        mut queue: Box<WriteQueue>,
        len: usize,
        limits: &Limits,
    ) {
        let appended = queue.tail_mut().len().saturating_sub(len);
        if self.admit(appended, limits) {
            self.enqueued(appended, limits);
        } else {
            queue.tail_mut().truncate(len);
        }
        self.restore(queue);
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Whether writes are still taken.
    pub(crate) fn is_writable(&self) -> bool {
        !self.flags.any(Flags::CLOSING | Flags::ABORTED | Flags::FIN_WANTED | Flags::OVERFLOW)
    }

    /// Whether the queue went above the high watermark and is not yet at the low one.
    pub(crate) fn is_held(&self) -> bool {
        self.flags.any(Flags::HELD)
    }

    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>, limits: &Limits) -> Poll<Result> {
        if self.flags.any(Flags::ABORTED | Flags::OVERFLOW) {
            let error = io::Error::new(io::ErrorKind::BrokenPipe, "the connection ended");
            return Poll::Ready(Err(error.into()));
        }
        if self.queued <= limits.low_watermark {
            return Poll::Ready(Ok(()));
        }
        self.rare().drain_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn wants_data(&self) -> bool {
        let stop =
            Flags::CLOSING | Flags::ABORTED | Flags::SWITCHING | Flags::OVERFLOW | Flags::PAUSED;
        !self.flags.any(stop) && (!self.flags.any(Flags::HELD) || self.flags.any(Flags::UNCOUPLED))
    }

    /// `wants_data` as a framer asks it: a refusal is remembered, as what it then leaves over must
    /// be delivered again (rule 5).
    pub(crate) fn ask_wants_data(&mut self) -> bool {
        let wants = self.wants_data();
        if !wants {
            self.flags.set(Flags::REFUSED);
        }
        wants
    }

    pub(crate) fn close(&mut self) {
        let cause = if self.flags.any(Flags::EOF_SEEN) {
            Cause::new(Side::Peer, CloseKind::Eof)
        } else {
            Cause::new(Side::Local, CloseKind::Closed)
        };
        self.close_because(cause);
    }

    fn close_because(&mut self, cause: Cause) {
        if !self.flags.any(Flags::CLOSING | Flags::ABORTED) {
            self.set_cause(cause);
            self.flags.set(Flags::CLOSING | Flags::ARM);
        }
    }

    pub(crate) fn close_when_idle(&mut self) {
        self.flags.set(Flags::IDLE_CLOSE);
    }

    /// Drops the queue and ends the connection; the cause counts if it is the first.
    pub(crate) fn abort(&mut self, cause: Cause) {
        if self.flags.any(Flags::ABORTED) {
            return;
        }
        self.set_cause(cause);
        self.flags.set(Flags::ABORTED);
        if let Some(mut queue) = self.queue.take() {
            let dropped = queue.drain_all().len();
            queue.recycle();
            self.queued -= dropped;
            self.rare().unsent += dropped as u64;
        }
    }

    pub(crate) fn close_write(&mut self) {
        self.flags.set(Flags::FIN_WANTED);
    }

    pub(crate) fn pause_reading(&mut self) {
        self.flags.set(Flags::PAUSED);
    }

    pub(crate) fn resume_reading(&mut self) {
        if self.flags.take(Flags::PAUSED) {
            self.flags.set(Flags::REDELIVER);
        }
    }

    pub(crate) fn set_coupled(&mut self, coupled: bool) {
        self.flags.put(Flags::UNCOUPLED, !coupled);
    }

    pub(crate) fn switch(&mut self, switch: Switch) {
        self.flags.set(Flags::SWITCHING);
        self.rare().switch = Some(switch);
    }

    pub(crate) fn notify(&mut self) {
        self.flags.set(Flags::NOTIFIED);
    }

    /// The service drains (rule 9).
    pub(crate) fn drain(&mut self) {
        if !self.flags.any(Flags::DRAINED) {
            self.flags.set(Flags::DRAINED | Flags::DRAINING);
            self.flags.unset(Flags::MOVED);
        }
    }

    /// Runs `future` beside the connection. Finished ones are let go of here.
    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        let tasks = self.rare().tasks.get_or_insert_default();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(future);
    }

    /// Bytes for a stream that reads by itself; none at the end of input.
    pub(crate) fn poll_pull(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<io::Result<Bytes>> {
        if let Some(rare) = &mut self.rare
            && !rare.inbound.is_empty()
        {
            let len = rare.inbound.len().min(max);
            let bytes = rare.inbound.split_to(len).freeze();
            if rare.inbound.is_empty() {
                rare.inbound = BytesMut::new();
            }
            return Poll::Ready(Ok(bytes));
        }
        if self.flags.any(Flags::EOF_SEEN) {
            return Poll::Ready(Ok(Bytes::new()));
        }
        if self.flags.any(Flags::ABORTED | Flags::CLOSING) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.flags.set(Flags::PULL);
        self.rare().pull_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes a write of a stream, once the queue is below its watermarks.
    pub(crate) fn poll_push(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        limits: &Limits,
    ) -> Poll<io::Result<usize>> {
        if !self.is_writable() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.is_held() {
            self.rare().drain_waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.write(&[data], limits);
        Poll::Ready(Ok(data.len()))
    }

    /// Asks for our FIN, and is ready when it has left.
    pub(crate) fn poll_close_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close_write();
        if self.flags.any(Flags::FIN_SENT) {
            return Poll::Ready(Ok(()));
        }
        if self.flags.any(Flags::ABORTED) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.rare().drain_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// From now on the peer's FIN is looked for even while the protocol takes no data, by reading
    /// up to 64 KiB ahead.
    pub(crate) fn watch_eof(&mut self) {
        self.flags.set(Flags::WATCH_EOF);
    }

    /// Whether nothing more can come from the peer.
    pub(crate) fn is_input_over(&self) -> bool {
        self.flags.any(Flags::EOF_SEEN | Flags::ABORTED)
    }

    /// Registers a future that waits for any change of this connection.
    pub(crate) fn register(&mut self, id: &mut Option<u64>, waker: &Waker) {
        self.rare().waiters.register(id, waker);
    }

    pub(crate) fn unregister(&mut self, id: u64) {
        if let Some(rare) = &mut self.rare {
            rare.waiters.remove(id);
        }
    }

    /// Why the connection ended, once it has.
    pub(crate) fn reason(&self) -> Option<&CloseReason> {
        self.rare.as_ref()?.reason.as_ref()
    }

    /// As if the protocol's own timer had passed.
    pub(crate) fn time_out(&mut self) {
        self.flags.set(Flags::TIMED_OUT);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.flags.any(Flags::CLOSING)
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.flags.any(Flags::ABORTED)
    }

    /// Whether nothing waits for a handler any more.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.flags.any(Flags::ABORTED | Flags::INTERRUPT)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.flags.any(Flags::PAUSED)
    }

    pub(crate) fn is_switching(&self) -> bool {
        self.flags.any(Flags::SWITCHING)
    }

    /// Whether our FIN has left, or nothing can leave any more.
    pub(crate) fn is_send_side_done(&self) -> bool {
        self.flags.any(Flags::FIN_SENT | Flags::ABORTED)
    }

    pub(crate) fn is_abort_local(&self) -> bool {
        self.flags.any(Flags::ABORTED) && !self.flags.any(Flags::IO_FAILED)
    }

    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }
}

/// What a driver asks and says.
impl Core {
    /// What to do next while no handler runs; `leftover` is what the protocol left unconsumed.
    /// Events are handed out once.
    pub(crate) fn next(&mut self, blocked: Blocked, leftover: usize) -> Next {
        let next = self.next_idle(self.look_at_readiness(blocked), leftover);
        self.use_up(next)
    }

    fn next_idle(&mut self, blocked: Blocked, leftover: usize) -> Next {
        if self.flags.any(Flags::ABORTED) {
            return Next::End;
        }
        if self.flags.any(Flags::CLOSING) {
            return self.next_closing(blocked);
        }
        if self.queued > 0 && !blocked.write {
            return Next::Flush;
        }
        if self.flags.any(Flags::UNFLUSHED) && !blocked.write {
            return Next::FlushBelow;
        }
        if self.flags.any(Flags::SWITCHING) {
            if self.queued > 0 || self.flags.any(Flags::UNFLUSHED) {
                return Next::Wait { watch_reset: false };
            }
            if self.is_residue_accepted(leftover) {
                return Next::Switch;
            }
            let text = "bytes arrived ahead of a change of protocol";
            self.close_because(Cause::with_source(Side::Peer, CloseKind::ProtocolError, text));
            return self.next_closing(blocked);
        }
        if self.wants_fin() && !blocked.write {
            return Next::Fin;
        }
        if self.flags.all(Flags::FIN_SENT | Flags::EOF_DONE) {
            self.set_cause(Cause::new(Side::Peer, CloseKind::Eof));
            self.flags.set(Flags::CLOSING);
            return Next::End;
        }
        self.flags.unset(Flags::REFUSED);
        for (flag, event) in [
            (Flags::DRAINING, Event::Draining),
            (Flags::TIMED_OUT, Event::TimedOut),
            (Flags::NOTIFIED, Event::Notified),
        ] {
            if self.flags.take(flag) {
                return Next::Call(event);
            }
        }
        if self.wants_data() {
            let redeliver = self.flags.take(Flags::REDELIVER) && leftover > 0;
            if redeliver || self.has_inbound() {
                return Next::Call(Event::Data);
            }
            if self.flags.any(Flags::EOF_SEEN) {
                if !self.flags.any(Flags::EOF_DONE) {
                    self.flags.set(Flags::EOF_DONE);
                    return Next::Call(Event::Eof);
                }
            } else if !blocked.read {
                return Next::Read;
            }
        } else if self.wants_read_ahead() && !blocked.read {
            return Next::ReadAhead;
        }
        if self.flags.any(Flags::IDLE_CLOSE)
            && self.queued == 0
            && leftover == 0
            && !self.has_inbound()
        {
            let shutdown = self.flags.any(Flags::DRAINED) && !self.flags.any(Flags::EOF_SEEN);
            if shutdown {
                self.close_because(Cause::new(Side::System, CloseKind::Shutdown));
            } else {
                self.close();
            }
            return self.next_closing(blocked);
        }
        // A blocked read or write shows a reset by itself.
        let reading = self.wants_data() && !self.flags.any(Flags::EOF_SEEN);
        self.wait(!reading && self.queued == 0)
    }

    /// Nothing to do; a reset that no read or write would show has to be watched for.
    fn wait(&mut self, unseen_reset: bool) -> Next {
        if unseen_reset && self.flags.any(Flags::BROKEN) {
            self.flags.set(Flags::IO_FAILED);
            self.abort(Cause::from_io(io::ErrorKind::ConnectionReset.into()));
            return Next::End;
        }
        Next::Wait { watch_reset: unseen_reset && !self.flags.any(Flags::POLLED) }
    }

    /// Rule 3: flush, FIN, then read and drop until the peer's FIN. While the flush waits, input is
    /// dropped too, as a peer that sends before it reads would otherwise never take the queue.
    fn next_closing(&mut self, blocked: Blocked) -> Next {
        if self.queued > 0 && !blocked.write {
            return Next::Flush;
        }
        if self.queued == 0 && !self.flags.any(Flags::FIN_SENT) && !blocked.write {
            return Next::Fin;
        }
        let eof = self.flags.any(Flags::EOF_SEEN | Flags::LINGERED);
        if eof && self.flags.any(Flags::FIN_SENT) {
            return Next::End;
        }
        if !eof && !blocked.read {
            return Next::Discard;
        }
        Next::Wait { watch_reset: false }
    }

    /// What to do while a handler is pending: `End` means to drop the handler.
    pub(crate) fn next_pending(&mut self, blocked: Blocked) -> Next {
        let next = self.next_while_pending(self.look_at_readiness(blocked));
        self.use_up(next)
    }

    fn next_while_pending(&mut self, blocked: Blocked) -> Next {
        if self.flags.any(Flags::OVERFLOW) {
            self.abort(Cause::new(Side::Local, CloseKind::Overflow));
        }
        if self.flags.any(Flags::ABORTED | Flags::INTERRUPT) {
            return Next::End;
        }
        if self.queued > 0 && !blocked.write {
            return Next::Flush;
        }
        if self.flags.any(Flags::UNFLUSHED) && !blocked.write {
            return Next::FlushBelow;
        }
        if self.wants_fin() && !blocked.write {
            return Next::Fin;
        }
        let pull = self.flags.any(Flags::PULL) && !self.flags.any(Flags::EOF_SEEN);
        if (pull || self.wants_read_ahead()) && !blocked.read {
            return Next::ReadAhead;
        }
        self.wait(!pull && self.queued == 0)
    }

    fn wants_fin(&self) -> bool {
        self.queued == 0
            && !self.flags.any(Flags::FIN_SENT)
            && self.flags.any(Flags::FIN_WANTED | Flags::CLOSING)
    }

    fn wants_read_ahead(&self) -> bool {
        self.flags.any(Flags::WATCH_EOF)
            && !self.flags.any(Flags::EOF_SEEN | Flags::CLOSING)
            && self.rare.as_ref().is_none_or(|rare| rare.inbound.len() < MAX_DELIVERY)
    }

    fn has_inbound(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.inbound.is_empty())
    }

    /// Moves what was read ahead behind the leftover; says whether there was anything.
    pub(crate) fn take_inbound(&mut self, data: &mut BytesMut) -> bool {
        if !self.has_inbound() {
            return false;
        }
        let inbound = std::mem::take(&mut self.rare().inbound);
        if data.is_empty() {
            *data = inbound;
        } else {
            data.extend_from_slice(&inbound);
        }
        true
    }

    /// Remembers the driver's task, to be woken at the next change from outside.
    pub(crate) fn park(&mut self, waker: &Waker) {
        self.flags.set(Flags::PARKED);
        match &mut self.waker {
            Some(old) if old.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
    }

    /// The driver's waker, if it is parked.
    pub(crate) fn unpark(&mut self) -> Option<Waker> {
        if self.flags.take(Flags::PARKED) { self.waker.clone() } else { None }
    }

    /// A handler returned. `delivered` says whether it was given the bytes of which `leftover` are
    /// left (rule 5).
    pub(crate) fn handler_returned(
        &mut self,
        result: Result,
        delivered: bool,
        leftover: Leftover,
        limits: &Limits,
    ) {
        if self.flags.any(Flags::OVERFLOW) {
            self.abort(Cause::new(Side::Local, CloseKind::Overflow));
        }
        if let Err(error) = result {
            self.close_because(Cause::from_handler(error));
            return;
        }
        let Leftover { offered, left, fresh } = leftover;
        let wants = self.wants_data();
        if !delivered {
            self.flags.put_if(Flags::REDELIVER, left > 0 && !wants);
            return;
        }
        let progress = fresh || left < offered;
        let refused = self.flags.any(Flags::REFUSED) && progress;
        self.flags.put(Flags::REDELIVER, left > 0 && (!wants || refused));
        if wants && !refused && left > limits.max_pending {
            let text = format!(
                "{left} bytes of an unfinished message exceed `max_pending` ({})",
                limits.max_pending
            );
            self.close_because(Cause::with_source(Side::Peer, CloseKind::Limit, text));
        }
    }

    pub(crate) fn handler_panicked(&mut self, text: String) {
        self.abort(Cause::with_source(Side::Local, CloseKind::Panic, text));
    }

    /// Takes the queue out for a send, so that no system call happens under the lock.
    pub(crate) fn start_flush(&mut self) -> Box<WriteQueue> {
        self.queue.take().unwrap_or_else(WriteQueue::take)
    }

    /// Puts the rest of the queue back before what was written meanwhile.
    pub(crate) fn finish_flush(
        &mut self,
        mut queue: Box<WriteQueue>,
        sent: &Sent,
        buffers_below: bool,
        limits: &Limits,
    ) -> Wakes {
        let Sent { taken: sent, all } = *sent;
        if all {
            self.flags.set(Flags::WRITABLE);
        }
        self.bytes_out += sent as u64;
        self.queued -= sent;
        if sent > 0 {
            self.flags.set(Flags::ACTIVE | Flags::MOVED | Flags::PROGRESS);
            self.flags.put(Flags::UNFLUSHED, buffers_below);
        }
        if self.flags.any(Flags::ABORTED) {
            let dropped = queue.drain_all().len();
            self.queued -= dropped;
            self.rare().unsent += dropped as u64;
        }
        if let Some(mut later) = self.queue.take() {
            queue.append(&mut later);
            later.recycle();
        }
        self.restore(queue);
        if self.queued == 0 {
            self.flags.unset(Flags::STALLED);
        } else if !self.flags.any(Flags::STALLED) {
            self.flags.set(Flags::STALLED | Flags::ARM);
        }
        self.drained(limits)
    }

    /// After bytes left: opens the gate at the low watermark (rule 6).
    fn drained(&mut self, limits: &Limits) -> Wakes {
        if self.queued > limits.low_watermark {
            return Wakes::default();
        }
        self.flags.unset(Flags::HELD);
        match &mut self.rare {
            Some(rare) => Wakes(rare.waiters.take_all(), [rare.drain_waker.take(), None]),
            None => Wakes::default(),
        }
    }

    pub(crate) fn flushed_below(&mut self) {
        self.flags.unset(Flags::UNFLUSHED);
    }

    pub(crate) fn fin_sent(&mut self) -> Wakes {
        self.flags.set(Flags::FIN_SENT | Flags::ARM);
        self.wake_all()
    }

    /// The home polls the socket from now on. At first it takes output; input is told.
    #[cfg(unix)]
    pub(crate) fn start_polling(&mut self) {
        self.flags.set(Flags::POLLED | Flags::WRITABLE);
    }

    /// The home polls it no more.
    #[cfg(unix)]
    pub(crate) fn stop_polling(&mut self) {
        self.flags.unset(Flags::POLLED);
    }

    /// What the home has heard of the socket.
    #[cfg(unix)]
    pub(crate) fn ready(&mut self, readiness: crate::poller::Readiness) {
        self.flags.put_if(Flags::READABLE, readiness.readable);
        self.flags.put_if(Flags::WRITABLE, readiness.writable);
        self.flags.put_if(Flags::READ_CLOSED, readiness.read_closed);
        self.flags.put_if(Flags::BROKEN, readiness.error);
    }

    /// The last read filled its buffer, so there may be more.
    pub(crate) fn may_read_more(&mut self) {
        self.flags.set(Flags::READABLE);
    }

    /// Adds to what is blocked in this turn the directions in which a polled socket is not ready.
    fn look_at_readiness(&self, blocked: Blocked) -> Blocked {
        let polled = self.flags.any(Flags::POLLED);
        Blocked {
            read: blocked.read || polled && !self.flags.any(Flags::READABLE | Flags::READ_CLOSED),
            write: blocked.write || polled && !self.flags.any(Flags::WRITABLE),
        }
    }

    /// Notes, before the system call, that the readiness is used up: an event that comes meanwhile
    /// sets it again and is not lost.
    fn use_up(&mut self, next: Next) -> Next {
        match next {
            Next::Read | Next::ReadAhead | Next::Discard => self.flags.unset(Flags::READABLE),
            Next::Flush => self.flags.unset(Flags::WRITABLE),
            _ => {}
        }
        next
    }

    /// Bytes came in and go to the protocol.
    pub(crate) fn received(&mut self, len: usize) {
        self.bytes_in += len as u64;
        self.flags.set(Flags::ACTIVE | Flags::MOVED);
    }

    /// Bytes came in before the protocol can take them.
    pub(crate) fn received_ahead(&mut self, bytes: BytesMut) -> Wakes {
        self.received(bytes.len());
        self.flags.unset(Flags::PULL);
        let rare = self.rare();
        if rare.inbound.is_empty() {
            rare.inbound = bytes;
        } else {
            rare.inbound.extend_from_slice(&bytes);
        }
        Wakes(Vec::new(), [rare.pull_waker.take(), None])
    }

    /// Bytes came in after the close and were dropped.
    pub(crate) fn discarded(&mut self, len: usize) {
        self.bytes_in += len as u64;
        if self.flags.any(Flags::FIN_SENT) {
            self.rare().lingered += len as u64;
            if self.rare().lingered > MAX_LINGER {
                self.abort(Cause::new(Side::Local, CloseKind::Aborted));
            }
        }
    }

    pub(crate) fn received_eof(&mut self) -> Wakes {
        self.flags.set(Flags::EOF_SEEN);
        self.flags.unset(Flags::PULL);
        self.wake_all()
    }

    /// The transport below failed: nothing moves any more.
    pub(crate) fn io_failed(&mut self, error: io::Error) -> Wakes {
        self.flags.set(Flags::IO_FAILED);
        self.abort(Cause::from_io(error));
        self.wake_all()
    }

    /// A timer or the service ends the connection without waiting for a handler.
    pub(crate) fn interrupt(&mut self, cause: Cause) {
        self.close_because(cause);
        self.flags.set(Flags::INTERRUPT);
    }

    fn is_residue_accepted(&self, leftover: usize) -> bool {
        let switch = self.rare.as_ref().and_then(|rare| rare.switch.as_ref());
        let reject = switch.is_some_and(|switch| switch.residue == Residue::Reject);
        !(reject && (leftover > 0 || self.has_inbound()))
    }

    /// The switch to carry out; `data` becomes what the new protocol gets first. The core is then
    /// as new, but for its counts and what is true of the stream.
    pub(crate) fn take_switch(&mut self, data: &mut BytesMut) -> Switch {
        self.take_inbound(data);
        let switch = self.rare().switch.take().expect("SWITCHING is set only with a switch");
        if switch.residue == Residue::Discard {
            data.clear();
        }
        let of_the_stream = Flags::EOF_SEEN | Flags::FIN_WANTED | Flags::FIN_SENT;
        let of_the_socket = Flags::POLLED | Flags::READABLE | Flags::WRITABLE | Flags::READ_CLOSED;
        self.flags.keep(
            of_the_stream
                | of_the_socket
                | Flags::BROKEN
                | Flags::ACTIVE
                | Flags::MOVED
                | Flags::DRAINED,
        );
        self.flags.set(Flags::REDELIVER);
        self.flags.put(Flags::DRAINING, self.flags.any(Flags::DRAINED));
        self.unset_timeout();
        switch
    }

    /// Ends the connection, lets go of everything, and returns the reason.
    pub(crate) fn end(&mut self) -> CloseReason {
        self.abort(Cause::new(Side::Local, CloseKind::Aborted));
        let rare = self.rare();
        rare.inbound = BytesMut::new();
        rare.switch = None;
        rare.tasks = None;
        let cause = rare.cause.clone().expect("abort has set one if there was none");
        self.reason_so_far(cause)
    }

    /// Makes the reason known to those who wait for the end.
    pub(crate) fn publish(&mut self, reason: CloseReason) -> Wakes {
        self.rare().reason = Some(reason);
        self.waker = None;
        self.wake_all()
    }

    /// A reason with the counts so far.
    pub(crate) fn reason_so_far(&self, cause: Cause) -> CloseReason {
        let unsent = self.rare.as_ref().map_or(0, |rare| rare.unsent);
        CloseReason {
            cause,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            bytes_unsent: unsent,
        }
    }

    pub(crate) fn wake_all(&mut self) -> Wakes {
        match &mut self.rare {
            Some(rare) => {
                Wakes(rare.waiters.take_all(), [rare.drain_waker.take(), rare.pull_waker.take()])
            }
            None => Wakes::default(),
        }
    }

    fn set_cause(&mut self, cause: Cause) {
        self.rare().cause.get_or_insert(cause);
    }

    fn queue(&mut self) -> &mut WriteQueue {
        self.queue.get_or_insert_with(WriteQueue::take)
    }

    /// Puts a queue back, or into the pool if it is empty.
    fn restore(&mut self, queue: Box<WriteQueue>) {
        if queue.is_empty() {
            queue.recycle();
        } else {
            self.queue = Some(queue);
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

/// What there is to deliver, before and after a handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leftover {
    pub(crate) offered: usize,
    pub(crate) left: usize,
    pub(crate) fresh: bool,
}
