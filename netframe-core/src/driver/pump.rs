//! Moves bytes between the connection core and the stream below while no handler runs.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::Conn;
use crate::connection::{Blocked, Event, Next, Wakes};
use crate::io::AnyIo;
use crate::limits::MAX_DELIVERY;
use crate::shared::Shared;

/// Deliveries in one turn of a task, so that one busy peer cannot starve the others of its worker.
const DELIVERIES_PER_TURN: u8 = 16;

/// A read buffer of which a piece is still in use is read into as long as it has this much room.
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
        let Some(io) = &mut self.io else { return Poll::Ready(Step::End) };
        let mut blocked = Blocked::default();
        loop {
            let next = {
                let mut core = self.shared.lock();
                let next = core.next(blocked, self.data.len());
                if let Next::Wait { .. } = next {
                    core.park(cx.waker());
                }
                self.shared.arm(&mut core);
                next
            };
            match next {
                Next::Call(event) => {
                    if event == Event::Data {
                        self.fresh = self.shared.lock().take_inbound(&mut self.data);
                    }
                    return Poll::Ready(Step::Call(event));
                }
                Next::Flush => poll_flush(io, cx, &self.shared, &mut blocked),
                Next::FlushBelow => poll_flush_below(io, cx, &self.shared, &mut blocked),
                Next::Fin => poll_fin(io, cx, &self.shared, &mut blocked),
                Next::Read | Next::ReadAhead | Next::Discard
                    if self.turn >= DELIVERIES_PER_TURN =>
                {
                    self.turn = 0;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Next::Read => {
                    if let Some(chunk) = poll_read(io, cx, &self.shared, &mut blocked) {
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
                    poll_read_ahead(io, cx, &self.shared, &mut blocked);
                }
                Next::Discard => {
                    if let Some(chunk) = poll_read(io, cx, &self.shared, &mut blocked) {
                        self.turn += 1;
                        self.shared.lock().discarded(chunk.len());
                    }
                }
                Next::Switch => return Poll::Ready(Step::Switch),
                Next::End => return Poll::Ready(Step::End),
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
    io: &mut AnyIo,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    let mut queue = shared.lock().start_flush();
    let mut io = Pin::new(io);
    let polled = if let Some(slice) = queue.as_single() {
        io.as_mut().poll_write(cx, slice)
    } else {
        queue.with_slices(|slices| io.as_mut().poll_write_vectored(cx, slices))
    };
    let (sent, error) = match polled {
        Poll::Ready(Ok(0)) => (0, Some(io::ErrorKind::WriteZero.into())),
        Poll::Ready(Ok(sent)) => (sent, None),
        Poll::Ready(Err(error)) => (0, Some(error)),
        Poll::Pending => {
            blocked.write = true;
            (0, None)
        }
    };
    queue.advance(sent);
    let mut core = shared.lock();
    let drained = core.finish_flush(queue, sent, io.holds_back(), shared.limits());
    let failed = error.map(|error| core.io_failed(error));
    shared.arm(&mut core);
    drop(core);
    drained.wake();
    failed.unwrap_or_default().wake();
}

/// Flushes a layer that buffers what it takes.
pub(super) fn poll_flush_below(
    io: &mut AnyIo,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    match Pin::new(io).poll_flush(cx) {
        Poll::Ready(Ok(())) => shared.lock().flushed_below(),
        Poll::Ready(Err(error)) => fail(shared, error),
        Poll::Pending => blocked.write = true,
    }
}

/// Ends the sending side.
pub(super) fn poll_fin(
    io: &mut AnyIo,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    match Pin::new(io).poll_shutdown(cx) {
        Poll::Ready(Ok(())) => {
            let wakes = shared.lock().fin_sent();
            wakes.wake();
        }
        Poll::Ready(Err(error)) => fail(shared, error),
        Poll::Pending => blocked.write = true,
    }
}

/// Reads before the protocol can take it.
pub(super) fn poll_read_ahead(
    io: &mut AnyIo,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) {
    if let Some(chunk) = poll_read(io, cx, shared, blocked) {
        let wakes = shared.lock().received_ahead(chunk);
        wakes.wake();
    }
}

/// Reads once, into the worker's buffer. EOF and errors go to the core; `None` then, and when
/// there is nothing to read.
fn poll_read(
    io: &mut AnyIo,
    cx: &mut Context<'_>,
    shared: &Arc<Shared>,
    blocked: &mut Blocked,
) -> Option<BytesMut> {
    match poll_chunk(io, cx) {
        Poll::Ready(Ok(chunk)) if chunk.is_empty() => {
            let wakes = shared.lock().received_eof();
            wakes.wake();
            None
        }
        Poll::Ready(Ok(chunk)) => Some(chunk),
        Poll::Ready(Err(error)) => {
            fail(shared, error);
            None
        }
        Poll::Pending => {
            blocked.read = true;
            None
        }
    }
}

fn fail(shared: &Arc<Shared>, error: io::Error) {
    let wakes: Wakes = shared.lock().io_failed(error);
    wakes.wake();
}

thread_local! {
    static READ_BUFFER: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Reads into the buffer of this thread and splits off what came: no copy, and no allocation as
/// long as earlier pieces have been dropped.
fn poll_chunk(io: &mut AnyIo, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
    let mut buffer = READ_BUFFER.take();
    if !buffer.try_reclaim(MAX_DELIVERY) && buffer.capacity() < MIN_READ {
        buffer = BytesMut::with_capacity(MAX_DELIVERY);
    }
    let polled = poll_read_buf(Pin::new(io), cx, &mut buffer).map_ok(|len| buffer.split_to(len));
    READ_BUFFER.set(buffer);
    polled
}
