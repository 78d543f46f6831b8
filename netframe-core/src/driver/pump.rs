//! Moves bytes between the connection core and the stream below while no handler runs.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tracing::debug;

use super::Conn;
use crate::acceptor::{AcceptError, sort};
use crate::addr::Addr;
use crate::below::{Below, Sent};
use crate::connection::{Arrival, Blocked, Event, Next, Outgoing, Wakes};
use crate::limits::MAX_DELIVERY;
use crate::service::Counters;
use crate::shaping::Direction;
use crate::shared::Shared;
use crate::transport::datagram::Channel;

/// Callbacks and reads in one turn of a task, so that one busy peer cannot starve the others of its
/// worker.
pub(super) const CALLS_PER_TURN: u8 = 16;

/// The read buffer is started anew once it has less room than this, so that each piece of it that
/// is kept for long pins little more than itself.
const MIN_READ: usize = 16 * 1024;

/// What the driver does next.
#[derive(Debug)]
pub(super) enum Step {
    Call(Event),
    WatchReset,
    Switch,
    End,
}

impl Conn {
    /// Moves bytes until there is a callback to run or something else to do.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let below = &mut self.below;
        let mut blocked = Blocked::default();
        loop {
            if self.turn >= CALLS_PER_TURN {
                self.turn = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let next = {
                let mut core = self.shared.lock();
                let next = core.next(blocked, self.data.len());
                let charge =
                    matches!(next, Next::Wait { .. }) && self.shared.park(&mut core, cx.waker());
                self.shared.arm(&mut core);
                let trash = core.take_trash();
                drop(core);
                drop(trash);
                if charge && !self.shared.charge() {
                    continue;
                }
                next
            };
            match next {
                Next::Call(event) => {
                    self.turn += 1;
                    if event == Event::Data {
                        self.fresh = self.shared.lock().take_delivery(&mut self.data);
                    }
                    return Poll::Ready(Step::Call(event));
                }
                Next::Flush => poll_flush(below, cx, &self.shared, &mut blocked),
                Next::FlushBelow => poll_flush_below(below, cx, &self.shared, &mut blocked),
                Next::Fin => poll_fin(below, cx, &self.shared, &mut blocked),
                Next::Read => {
                    if let Below::Datagrams(channel) = below {
                        self.turn += 1;
                        poll_receive(channel, cx, &self.shared, &mut blocked);
                    } else if let Some(chunk) =
                        poll_read(below, cx, &self.shared, &mut blocked, MAX_DELIVERY)
                    {
                        self.turn += 1;
                        self.fresh = true;
                        self.shared.lock().received(chunk.len());
                        if self.data.is_empty() {
                            self.data = chunk;
                            self.borrowed = true;
                        } else {
                            self.data.extend_from_slice(&chunk);
                        }
                        return Poll::Ready(Step::Call(Event::Data));
                    }
                }
                Next::ReadAhead => {
                    self.turn += 1;
                    poll_read_ahead(below, cx, &self.shared, &mut blocked);
                }
                Next::Discard => {
                    if let Some(chunk) =
                        poll_read(below, cx, &self.shared, &mut blocked, MAX_DELIVERY)
                    {
                        self.turn += 1;
                        self.shared.lock().discarded(chunk.len());
                    }
                }
                Next::Switch => return Poll::Ready(Step::Switch),
                Next::Broken => ask_broken(below, &self.shared),
                Next::End => return Poll::Ready(Step::End),
                Next::EndInput => end_input(&self.shared),
                Next::Wait { watch_reset } => {
                    self.turn = 0;
                    return if watch_reset { Poll::Ready(Step::WatchReset) } else { Poll::Pending };
                }
            }
        }
    }
}

/// Sends from the queue once.
pub(super) fn poll_flush(
    below: &mut Below,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    if let Below::Datagrams(channel) = below {
        return poll_send(channel, cx, shared, blocked);
    }
    let Some(max) = shared.allow(Direction::Write, usize::MAX) else { return };
    let mut queue = shared.lock().start_flush();
    let (sent, error) = match below.poll_write(cx, &queue, max) {
        Poll::Ready(Ok(Sent { taken: 0, .. })) => {
            (Sent::NOTHING, Some(io::ErrorKind::WriteZero.into()))
        }
        Poll::Ready(Ok(sent)) => (sent, None),
        Poll::Ready(Err(error)) => (Sent::NOTHING, Some(error)),
        Poll::Pending => {
            blocked.write = true;
            (Sent::NOTHING, None)
        }
    };
    queue.advance(sent.taken);
    let mut core = shared.lock();
    let drained = core.finish_flush(queue, &sent, below.holds_back(), shared.limits());
    let failed = error.map(|error| core.io_failed(error));
    shared.arm(&mut core);
    let more = sent.taken == max && core.queued() > 0;
    drop(core);
    shared.moved(Direction::Write, sent.taken, more);
    drained.wake();
    failed.unwrap_or_default().wake();
}

thread_local! {
    /// Datagrams that are being sent.
    static SENDING: Cell<Vec<Outgoing>> = const { Cell::new(Vec::new()) };
}

/// Sends the next datagrams, as many as one system call takes.
fn poll_send(
    channel: &mut Channel,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    let mut batch = SENDING.take();
    shared.lock().start_send(&mut batch);
    let Some(first) = batch.first() else { return SENDING.set(batch) };
    let mut polled = channel.poll_send(cx, &batch);
    if let Poll::Ready(Err(error)) = &polled
        && error.kind() == io::ErrorKind::ConnectionRefused
        && channel.is_refused_later()
    {
        // It was told now, but it is an earlier datagram that was refused.
        let refused = std::mem::replace(&mut polled, channel.poll_send(cx, &batch));
        report(shared, refused.map_ok(drop), first.to.as_ref());
    }
    let to = if let Poll::Ready(Err(_)) = &polled { first.to.clone() } else { None };
    let mut core = shared.lock();
    let wakes = match &polled {
        Poll::Pending => {
            blocked.write = true;
            core.unsend(&mut batch);
            shared.arm(&mut core);
            None
        }
        Poll::Ready(Ok(count)) => Some(core.sent(&mut batch, *count, shared.limits())),
        Poll::Ready(Err(_)) => Some(core.send_failed(&mut batch, shared.limits())),
    };
    drop(core);
    wakes.unwrap_or_default().wake();
    batch.clear();
    SENDING.set(batch);
    report(shared, polled.map_ok(drop), to.as_ref());
}

/// Receives what there is.
fn poll_receive(
    channel: &mut Channel,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    if let Poll::Ready(error) = channel.poll_error(cx) {
        return report(shared, Poll::Ready(Err(error)), None);
    }
    let mut arrivals = Arrivals { channel, shared };
    if shared.lock().take_read_now() {
        // An error comes again with the next receive.
        if channel.receive_now(&mut arrivals).unwrap_or(false) {
            shared.lock().read_now();
        }
        return;
    }
    match channel.poll_receive(cx, &mut arrivals) {
        Poll::Ready(Ok(())) => {}
        Poll::Pending => {
            blocked.read = true;
            blocked.spent = !tokio::task::coop::has_budget_remaining();
        }
        Poll::Ready(Err(error)) if sort(&error) == AcceptError::Fatal => fail(shared, error),
        failed => report(shared, failed, None),
    }
}

/// Takes what comes from a socket that one connection has to itself.
struct Arrivals<'a> {
    channel: &'a Channel,
    shared: &'a Arc<Shared>,
}

impl Extend<Arrival> for Arrivals<'_> {
    fn extend<T: IntoIterator<Item = Arrival>>(&mut self, arrivals: T) {
        let counters = &self.shared.home.service.counters.datagrams;
        for arrival in arrivals {
            if self.channel.is_own(&arrival) {
                Counters::add(&counters.own);
            } else if self.channel.is_unfit(&arrival) {
                Counters::add(&counters.truncated);
            } else if !self.shared.lock().arrive(arrival) {
                Counters::add(&counters.waiting);
            }
        }
    }
}

/// Tells the protocol, if it wants to know, and the counters of an error that a datagram had.
fn report(shared: &Arc<Shared>, polled: Poll<io::Result<()>>, peer: Option<&Addr>) {
    let Poll::Ready(Err(error)) = polled else { return };
    let counters = &shared.home.service.counters.datagrams;
    if error.kind() == io::ErrorKind::ConnectionRefused {
        Counters::add(&counters.refused);
    } else {
        Counters::add(&counters.unsent);
    }
    debug!(id = %shared.id, %error, "a datagram could not be delivered");
    shared.lock().arrive(Arrival::Failed { error, peer: peer.cloned() });
}

/// Flushes a layer that buffers what it takes.
pub(super) fn poll_flush_below(
    below: &mut Below,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    match below.poll_flush(cx) {
        Poll::Ready(Ok(())) => shared.lock().flushed_below(),
        Poll::Ready(Err(error)) => fail(shared, error),
        Poll::Pending => blocked.write = true,
    }
}

/// Ends the sending side.
pub(super) fn poll_fin(
    below: &mut Below,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    match below.poll_shutdown(cx) {
        Poll::Ready(Ok(())) => {
            let wakes = shared.lock().fin_sent(below.lingers());
            wakes.wake();
        }
        Poll::Ready(Err(error)) => fail(shared, error),
        Poll::Pending => blocked.write = true,
    }
}

/// A stream reads EOF, as the service drains.
pub(super) fn end_input(shared: &Arc<Shared>) {
    let wakes = shared.lock().end_input();
    wakes.wake();
}

/// The socket is broken: its own error says how.
pub(super) fn ask_broken(below: &Below, shared: &Arc<Shared>) {
    fail(shared, below.take_error());
}

/// Reads before the protocol can take it.
pub(super) fn poll_read_ahead(
    below: &mut Below,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    let room = shared.lock().room_ahead();
    if let Some(chunk) = poll_read(below, cx, shared, blocked, room) {
        let wakes = shared.lock().received_ahead(chunk);
        wakes.wake();
    }
}

/// Reads up to `max` bytes once, into the worker's buffer. EOF and errors go to the core; `None` then, and when
/// there is nothing to read.
fn poll_read(
    below: &mut Below,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
    max: usize,
) -> Option<BytesMut> {
    let max = shared.allow(Direction::Read, max)?;
    let polled = poll_chunk(below, cx, max);
    let len = if let Poll::Ready(Ok((chunk, _))) = &polled { chunk.len() } else { 0 };
    shared.moved(Direction::Read, len, len == max);
    match polled {
        Poll::Ready(Ok((chunk, _))) if chunk.is_empty() => {
            let wakes = shared.lock().received_eof();
            wakes.wake();
            None
        }
        Poll::Ready(Ok((chunk, more))) => {
            if more {
                shared.lock().may_read_more();
            }
            Some(chunk)
        }
        Poll::Ready(Err(error)) => {
            fail(shared, error);
            None
        }
        Poll::Pending => {
            blocked.read = true;
            blocked.spent = !tokio::task::coop::has_budget_remaining();
            None
        }
    }
}

fn fail(shared: &Arc<Shared>, error: io::Error) {
    let wakes: Wakes = shared.lock().io_failed(error);
    wakes.wake();
}

thread_local! {
    /// Initialized bytes to read into.
    static READ_BUFFER: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Has this thread begin with a new buffer, as what a read takes at most depends on the pieces that
/// were split off before.
#[cfg(feature = "sim")]
pub(crate) fn forget_read_buffer() {
    drop(READ_BUFFER.take());
}

/// Reads into the buffer of this thread and splits off what came: no copy, and no allocation as
/// long as earlier pieces have been dropped. The flag says that there may be more.
fn poll_chunk(
    below: &mut Below,
    cx: &mut Context<'_>,
    max: usize,
) -> Poll<io::Result<(BytesMut, bool)>> {
    let mut buffer = READ_BUFFER.take();
    if buffer.len() < MIN_READ {
        buffer.clear();
        if buffer.try_reclaim(MAX_DELIVERY) {
            buffer.resize(MAX_DELIVERY, 0);
        } else {
            buffer = BytesMut::zeroed(MAX_DELIVERY);
        }
    }
    let max = max.min(buffer.len());
    let polled =
        below.poll_read(cx, &mut buffer[..max]).map_ok(|len| (buffer.split_to(len), len == max));
    READ_BUFFER.set(buffer);
    polled
}
