//! [`World`]: a core, the socket below it, the driver and the protocol, with the model that they are
//! compared to.

use std::io;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::{Model, Op};
use crate::below::Sent;
use crate::close_reason::{Cause, CloseKind, Side, TimeoutKind};
use crate::connection::{Blocked, Core, Event, Leftover, Next, Switch, ticks};
use crate::datagram::SendError;
use crate::info::ConnectionInfo;
use crate::limits::{Limits, MAX_DELIVERY, Quota};
#[cfg(unix)]
use crate::poller::Readiness;
use crate::protocol::{Protocol, Result};
use crate::shaping::{Direction, Shaping};
use crate::transport::{Residue, Transport};
use crate::wheel::{TICK_MS, Tick};

/// Steps of the driver in one turn that are more than there can be to do.
const SPINS: usize = 1000;

/// Bytes in a second of a connection that is shaped: few of them are held back for long.
const READ_RATE: usize = 3000;
const WRITE_RATE: usize = 2000;

/// Bytes of the peer from which on it sends no more: enough for the limit of a linger.
const MAX_UNREAD: usize = 2_000_000;

/// A connection under test. Bytes say where in their stream they are, so that none is lost, twice or
/// out of order unnoticed.
pub(crate) struct World {
    core: Core,
    model: Model,
    limits: Limits,
    /// Whether the socket tells once when it is ready, rather than being asked.
    polled: bool,
    /// Whether the stream below holds back bytes until it is flushed.
    buffers: bool,
    /// What the socket has from the peer, and takes for it.
    to_read: usize,
    room: usize,
    peer_ended: bool,
    peer_reset: bool,
    /// The socket took less than it was offered, and tells when there is room.
    tells_room: bool,
    /// Writes of handles for the middle of the next flush.
    in_flush: Vec<usize>,
    /// What passes, and when each direction goes on that is held back by shaping.
    shaped: bool,
    started: Instant,
    now: Tick,
    held_back: [Option<Tick>; 2],
    /// Bytes that were read at the rate.
    read_at_rate: u64,
    handler: Option<Event>,
    pending: bool,
    data: BytesMut,
    offered: usize,
    fresh: bool,
}

impl World {
    /// A connection whose `connection_made` runs.
    pub(crate) fn new(polled: bool, buffers: bool, shaped: bool) -> Self {
        let mut limits = Limits::default();
        (limits.low_watermark, limits.high_watermark, limits.hard_cap) = (30, 120, 400);
        limits.max_pending = 90;
        let mut core = Core::default();
        let started = Instant::now();
        if shaped {
            (limits.read_rate, limits.write_rate) =
                (Quota::AtMost(READ_RATE), Quota::AtMost(WRITE_RATE));
            let shaping = Shaping::new(&limits).expect("there are rates");
            core.start_shaping(&shaping, started);
        }
        let polled = polled && cfg!(unix);
        #[cfg(unix)]
        if polled {
            core.start_polling();
        }
        Self {
            core,
            model: Model::default(),
            limits,
            polled,
            buffers,
            to_read: 0,
            room: 100,
            peer_ended: false,
            peer_reset: false,
            tells_room: false,
            in_flush: Vec::new(),
            shaped,
            started,
            now: 0,
            held_back: [None; 2],
            read_at_rate: 0,
            handler: Some(Event::Made),
            pending: false,
            data: BytesMut::new(),
            offered: 0,
            fresh: false,
        }
    }

    /// Does everything, and then sees the connection to its end.
    ///
    /// # Panics
    ///
    /// The core does what it must not.
    pub(crate) fn run(mut self, ops: impl IntoIterator<Item = Op>) {
        for op in ops {
            self.act(op);
            self.compare();
        }
        self.finish();
    }

    fn act(&mut self, op: Op) {
        let in_handler = self.handler.is_some();
        match op {
            Op::Pass(ticks) if self.shaped => self.pass(ticks),
            Op::Turn | Op::Pass(_) if !in_handler || self.pending => self.turn(),
            Op::Turn | Op::Pass(_) => {}
            op if in_handler => self.act_in_handler(op),
            op => self.act_outside(op),
        }
    }

    fn act_in_handler(&mut self, op: Op) {
        match op {
            Op::Write(len) => {
                let data = self.output(len);
                self.model.write(len, &self.limits);
                self.core.write(&[&data], &self.limits);
            }
            Op::WriteTwo(len) => {
                let data = self.output(len);
                self.model.write(len, &self.limits);
                let (first, second) = data.split_at(len / 3);
                self.core.write(&[first, second], &self.limits);
            }
            Op::WriteBytes(len) => {
                let data = self.output(len);
                self.model.write(len, &self.limits);
                drop(self.core.write_bytes(data.into(), &self.limits));
            }
            Op::PollDrain => {
                let mut cx = Context::from_waker(Waker::noop());
                let model = &self.model;
                match self.core.poll_drain(&mut cx, &self.limits) {
                    Poll::Ready(Err(_)) => assert!(model.aborted || model.overflow),
                    Poll::Ready(Ok(())) => assert!(model.queued <= self.limits.low_watermark),
                    Poll::Pending => assert!(model.queued > self.limits.low_watermark),
                }
            }
            Op::AskWantsData => {
                let wants = self.core.ask_wants_data();
                self.model.refused |= !wants;
                assert_eq!(wants, self.model.wants_data());
            }
            Op::Close => {
                self.core.close();
                self.model.close();
            }
            Op::CloseWhenIdle => {
                self.core.close_when_idle();
                self.model.idle_close = true;
            }
            Op::Abort => self.abort(Side::Local, CloseKind::Aborted),
            Op::CloseWrite => {
                self.core.close_write();
                self.model.fin_wanted = true;
            }
            Op::Pause => {
                self.core.pause_reading();
                self.model.paused = true;
            }
            Op::Resume => {
                self.core.resume_reading();
                self.model.owed |= self.model.paused;
                self.model.paused = false;
            }
            Op::SetCoupled(coupled) => {
                self.core.set_coupled(coupled);
                self.model.uncoupled = !coupled;
            }
            Op::Switch(residue) => {
                let to = Arc::new(|_: &ConnectionInfo| Nothing);
                drop(self.core.switch(Switch { to, residue, layer: None }));
                self.model.switching = Some(residue);
            }
            Op::Await => {
                self.pending = true;
                self.core.set_pending(true);
                self.turn();
            }
            Op::Return { leaves, fails } => self.leave(leaves, Some(fails)),
            Op::Panic => self.leave(usize::MAX, None),
            op => self.act_outside(op),
        }
    }

    /// What others do, whatever the handler does.
    fn act_outside(&mut self, op: Op) {
        match op {
            Op::HandleWrite(len) => {
                let data = self.output(len);
                let written = self.core.write_from_handle(data.into(), &self.limits);
                let error = written.err().map(|(back, error)| {
                    assert_eq!(back.len(), len, "it comes back");
                    error
                });
                if !self.model.is_writable() || self.model.ended {
                    assert_eq!(error, Some(SendError::Closed));
                } else if self.model.held {
                    assert_eq!(error, Some(SendError::Full));
                } else {
                    assert_eq!(error, None);
                    assert!(self.model.write(len, &self.limits), "there was room");
                }
            }
            Op::HandleWriteInFlush(len) => self.in_flush.push(len),
            Op::HandleClose => {
                self.core.close();
                self.model.close();
            }
            Op::HandleCloseWrite => {
                self.core.close_write();
                self.model.fin_wanted = true;
            }
            Op::HandleAbort => self.abort(Side::Local, CloseKind::Aborted),
            Op::Notify => {
                self.core.notify();
                self.model.notified = true;
            }
            Op::WatchEof => {
                self.core.watch_eof();
                self.model.watch_eof = true;
            }
            Op::TimeOut => {
                self.core.time_out();
                self.model.timed_out = true;
            }
            Op::IdleTimeout if !self.model.closing => {
                let kind = CloseKind::Timeout(TimeoutKind::Idle);
                self.core.interrupt(Cause::new(Side::System, kind));
                self.model.close_because((Side::System, kind));
                self.model.interrupted = true;
            }
            Op::WriteStalls => {
                self.abort(Side::System, CloseKind::Timeout(TimeoutKind::WriteStall));
            }
            Op::Drain => {
                self.core.drain();
                self.model.draining |= !self.model.drained;
                self.model.drained = true;
            }
            Op::ShutDown => {
                self.core.shut_down();
                self.model.abort((Side::System, CloseKind::Shutdown));
            }
            Op::PeerSends(len) if len > 0 && self.to_read < MAX_UNREAD => {
                if self.peer_ended || self.peer_reset {
                    return;
                }
                self.to_read += len;
                self.tell(false);
            }
            Op::PeerEnds if !self.peer_ended && !self.peer_reset => {
                self.peer_ended = true;
                self.tell(false);
            }
            Op::PeerResets => {
                self.peer_reset = true;
                self.tell(false);
            }
            Op::PeerReads(len) => {
                self.room += len;
                if len > 0 && std::mem::take(&mut self.tells_room) {
                    self.tell(true);
                }
            }
            Op::PeerStalls => self.room = 0,
            _ => {} // a handler's, and none runs
        }
    }

    /// The socket tells of an edge.
    fn tell(&mut self, writable: bool) {
        #[cfg(unix)]
        if self.polled {
            self.core.ready(Readiness {
                readable: !writable || self.peer_reset,
                writable: writable || self.peer_reset,
                read_closed: self.peer_ended || self.peer_reset,
                error: self.peer_reset,
            });
        }
        let _ = writable;
    }

    fn abort(&mut self, by: Side, kind: CloseKind) {
        self.core.abort(Cause::new(by, kind));
        self.model.abort((by, kind));
    }

    fn reset(&mut self) {
        self.core.io_failed(io::ErrorKind::ConnectionReset.into()).wake();
        self.model.abort((Side::Peer, CloseKind::Reset));
    }

    /// The next bytes of the output, if they are taken.
    fn output(&self, len: usize) -> Vec<u8> {
        stream(self.model.accepted, len).to_vec()
    }

    fn enter(&mut self, event: Event) {
        let model = &mut self.model;
        assert!(!model.ended && !model.closing && !model.aborted, "{event:?} after the end");
        assert!(self.handler.is_none() && !self.pending, "two handlers at once");
        model.refused = false;
        model.noted = event == Event::Notified;
        let expected = model.received - model.ahead - model.consumed;
        assert_eq!(self.data.len() as u64, expected, "{event:?}: bytes are lost or twice there");
        assert!(self.data == stream(model.consumed, self.data.len()));
        self.offered = self.data.len();
        self.handler = Some(event);
    }

    /// The handler is done: it returns, fails, or panics if that is `None`.
    fn leave(&mut self, leaves: usize, fails: Option<bool>) {
        let Some(event) = self.handler.take() else { return };
        if std::mem::take(&mut self.pending) {
            self.core.set_pending(false);
        }
        let left = match event {
            Event::Eof => 0,
            Event::Data => self.data.len().min(leaves),
            _ => self.data.len(),
        };
        let consumed = self.data.len() - left;
        drop(self.data.split_to(consumed));
        self.model.consumed += consumed as u64;
        let fresh = std::mem::take(&mut self.fresh);
        let Some(fails) = fails else {
            self.core.handler_panicked("a panic".into());
            return self.model.abort((Side::Local, CloseKind::Panic));
        };
        let delivered = event == Event::Data;
        self.model.returned(fails, delivered, (self.offered, left, fresh), &self.limits);
        let result = if fails { Err(Cause::from_handler("an error".into())) } else { Ok(()) };
        let leftover = Leftover { offered: self.offered, left, fresh };
        self.core.handler_returned(result, delivered, leftover, &self.limits);
    }

    /// The driver does what it is told, until a handler runs or there is nothing to do.
    fn turn(&mut self) {
        let mut blocked = Blocked::default();
        for _ in 0..SPINS {
            if self.model.ended {
                return;
            }
            if self.pending && self.model.overflow {
                self.model.abort((Side::Local, CloseKind::Overflow));
            }
            let next = if self.pending {
                self.core.next_pending(blocked)
            } else {
                self.core.next(blocked, self.data.len())
            };
            if self.core.is_closing() && !self.model.closing {
                assert!(!self.pending);
                self.model.closes_by_itself(self.data.len(), self.is_held_back(Direction::Read));
            }
            match next {
                Next::Call(event) => return self.call(event),
                Next::Flush => self.flush(&mut blocked),
                Next::FlushBelow => {
                    assert!(std::mem::take(&mut self.model.unflushed), "nothing is held back");
                    self.core.flushed_below();
                }
                Next::Fin => {
                    let model = &mut self.model;
                    assert!(model.fin_wanted || model.closing, "nobody wants a FIN");
                    assert!(model.queued == 0 && !model.aborted, "the FIN is not behind all");
                    assert!(!std::mem::replace(&mut model.fin_sent, true), "a FIN is sent twice");
                    self.core.fin_sent(true).wake();
                }
                Next::Read => {
                    assert!(self.model.wants_data() && self.model.ahead == 0 && !self.pending);
                    if let Some(len) = self.read(MAX_DELIVERY, &mut blocked) {
                        self.core.received(len);
                        self.data.extend_from_slice(stream(self.model.received, len));
                        self.model.received += len as u64;
                        self.fresh = true;
                        return self.enter(Event::Data);
                    }
                }
                Next::ReadAhead => {
                    assert!(self.model.watch_eof && !self.model.closing);
                    assert!(self.pending || !self.model.wants_data(), "the protocol takes it");
                    if let Some(len) = self.read(self.core.room_ahead(), &mut blocked) {
                        let bytes = stream(self.model.received, len).into();
                        self.core.received_ahead(bytes).wake();
                        self.model.received += len as u64;
                        self.model.ahead += len as u64;
                        assert!(self.model.ahead <= MAX_DELIVERY as u64);
                    }
                }
                Next::Discard => {
                    assert!(self.model.closing, "input is thrown away before the close");
                    if let Some(len) = self.read(MAX_DELIVERY, &mut blocked) {
                        self.core.discarded(len);
                        self.model.discard(len);
                    }
                }
                Next::EndInput => panic!("no stream reads"),
                Next::Switch => return self.switch(),
                Next::Broken => {
                    assert!(self.peer_reset && self.polled);
                    self.reset();
                }
                Next::End if self.pending => {
                    assert!(self.model.aborted || self.model.interrupted, "a handler is dropped");
                    self.core.unwrite();
                    self.core.wake_all().wake();
                    self.core.set_pending(false);
                    (self.pending, self.handler, self.fresh) = (false, None, false);
                }
                Next::End => return self.end(),
                Next::Wait { watch_reset } => {
                    if watch_reset && self.peer_reset && !self.model.aborted {
                        self.reset();
                        continue;
                    }
                    return self.waits(blocked);
                }
            }
        }
        panic!("the driver spins");
    }

    fn call(&mut self, event: Event) {
        let read_later = self.is_held_back(Direction::Read);
        let model = &mut self.model;
        match event {
            Event::Made => panic!("it is made already"),
            Event::Data => {
                assert!(model.wants_data(), "data that nobody wants");
                self.fresh = self.core.take_delivery(&mut self.data);
                assert_eq!(self.fresh, model.ahead > 0);
                (model.ahead, model.owed) = (0, false);
                assert!(!self.data.is_empty(), "nothing is delivered");
            }
            Event::Eof => {
                assert!(model.wants_data() && model.eof_seen && model.ahead == 0);
                assert!(!std::mem::replace(&mut model.eof_done, true), "EOF comes twice");
                assert!(!model.owed || self.data.is_empty(), "EOF comes before data");
            }
            Event::Notified => {
                assert!(std::mem::take(&mut model.notified));
                let input = (self.to_read > 0 && !read_later) || model.ahead > 0;
                assert!(!(model.noted && input && model.wants_data()), "input starves");
            }
            Event::TimedOut => assert!(std::mem::take(&mut model.timed_out)),
            Event::Draining => assert!(std::mem::take(&mut model.draining)),
        }
        assert_eq!(self.model.switching, None, "{event:?} after a switch");
        self.enter(event);
    }

    fn flush(&mut self, blocked: &mut Blocked) {
        assert!(self.model.queued > 0 && !self.model.aborted, "there is nothing to flush");
        let Some(max) = self.allow(Direction::Write, usize::MAX) else { return };
        let mut queue = self.core.start_flush();
        let offered: Vec<u8> = queue
            .with_slices(max, |slices| slices.iter().map(|s| &**s).collect::<Vec<_>>().concat());
        let taken = offered.len().min(self.room);
        assert!(!offered.is_empty(), "the queue is not where it is counted");
        for len in std::mem::take(&mut self.in_flush) {
            self.act_outside(Op::HandleWrite(len));
        }
        if self.peer_reset {
            self.core.finish_flush(queue, &Sent::NOTHING, false, &self.limits).wake();
            return self.reset();
        }
        assert!(*stream(self.model.sent, taken) == offered[..taken], "{offered:?}");
        self.room -= taken;
        self.tells_room |= taken < offered.len();
        blocked.write |= taken == 0;
        queue.advance(taken);
        let sent = Sent { taken, all: taken == offered.len() };
        self.core.finish_flush(queue, &sent, self.buffers, &self.limits).wake();
        self.core.moved(Direction::Write, taken, taken == max && self.core.queued() > 0);
        self.model.flushed(taken, &self.limits);
        self.model.unflushed |= self.buffers && taken > 0;
    }

    /// Reads from the socket; `None` if no bytes came.
    fn read(&mut self, max: usize, blocked: &mut Blocked) -> Option<usize> {
        assert!(!self.model.eof_seen && !self.model.aborted, "a read behind the end");
        let max = self.allow(Direction::Read, max)?;
        if self.peer_reset {
            self.reset();
            return None;
        }
        let len = self.to_read.min(max);
        self.to_read -= len;
        self.core.moved(Direction::Read, len, len == max);
        if !(self.model.closing && self.model.fin_sent) {
            self.read_at_rate += len as u64;
        }
        if len > 0 {
            if len == max {
                self.core.may_read_more();
            }
            return Some(len);
        }
        if self.peer_ended {
            self.core.received_eof().wake();
            self.model.eof_seen = true;
        } else {
            blocked.read = true;
        }
        None
    }

    fn switch(&mut self) {
        let model = &mut self.model;
        assert!(model.queued == 0 && !model.unflushed, "earlier bytes leave first");
        assert!(!model.closing && !model.aborted, "a close wins");
        let residue = model.switching.expect("a switch was asked for");
        assert!(self.core.take_switch(&mut self.data).is_some());
        model.ahead = 0;
        if residue == Residue::Discard {
            model.consumed = model.received;
        }
        assert!(residue != Residue::Reject || self.data.is_empty());
        model.switched();
        self.enter(Event::Made);
    }

    /// The driver waits: there must be nothing that it could do.
    fn waits(&mut self, blocked: Blocked) {
        let model = &self.model;
        assert!(!model.aborted, "an end is missed");
        assert!(!self.pending || !model.interrupted, "a handler is not dropped");
        let read_later = self.is_held_back(Direction::Read);
        let write_later = self.is_held_back(Direction::Write);
        let later = read_later || write_later;
        assert!(!self.peer_reset || self.to_read > 0 || later, "a reset is missed");
        assert!(model.queued == 0 || self.room == 0 || write_later, "output is missed");
        assert!(!model.unflushed || model.closing || blocked.write || self.polled);
        let fin_due = model.queued == 0 && (model.fin_wanted || model.closing);
        let input = (self.to_read > 0 || (self.peer_ended && !model.eof_seen)) && !read_later;
        if model.closing && !self.pending {
            assert!(!fin_due || model.fin_sent, "a FIN is missed");
            assert!(!input || self.blocks_write(blocked), "input is not thrown away");
            assert!(!(model.fin_sent && model.eof_seen), "the end of a close is missed");
            return;
        }
        if model.switching.is_some() && !self.pending {
            return assert!(model.queued > 0 || model.unflushed, "a switch is missed");
        }
        assert!(!fin_due || model.fin_sent || blocked.write, "a FIN is missed");
        let ahead = model.watch_eof && model.ahead < MAX_DELIVERY as u64 && !model.closing;
        if self.pending {
            return assert!(!input || !ahead, "input is not read ahead");
        }
        assert!(!model.draining && !model.timed_out && !model.notified, "an event is missed");
        assert!(!(model.fin_sent && model.eof_done), "the end is missed");
        if model.wants_data() {
            assert!(!input && model.ahead == 0, "input is missed");
            assert!(!model.owed || self.data.is_empty(), "a leftover is not delivered again");
            assert!(!model.eof_seen || model.eof_done, "EOF is missed");
        } else {
            assert!(!input || !ahead, "input is not read ahead");
        }
        let idle = model.queued == 0 && model.ahead == 0 && self.data.is_empty();
        assert!(!model.idle_close || !idle || read_later, "a close is missed");
    }

    fn blocks_write(&self, blocked: Blocked) -> bool {
        blocked.write && self.model.eof_seen
    }

    /// Time passes, and the timer wheel looks.
    fn pass(&mut self, ticks: usize) {
        self.now += ticks as Tick;
        self.core.let_go(self.now);
        for until in &mut self.held_back {
            *until = until.filter(|until| *until > self.now);
        }
    }

    fn time(&self) -> Instant {
        self.started + Duration::from_millis(u64::from(self.now) * TICK_MS)
    }

    /// How much may move, as the driver asks for it; `None` if that is held back.
    fn allow(&mut self, direction: Direction, max: usize) -> Option<usize> {
        assert!(!self.is_held_back(direction), "{direction:?} goes on too early");
        match self.core.allow(direction, max, self.time()) {
            Ok(bytes) => Some(bytes),
            Err(wait) => {
                assert!(self.shaped && self.held_back[direction as usize].is_none());
                let until = self.now + ticks(wait);
                self.held_back[direction as usize] = Some(until);
                self.core.hold_back(direction, until, self.now);
                None
            }
        }
    }

    fn is_held_back(&self, direction: Direction) -> bool {
        let lingers = self.model.closing && self.model.fin_sent;
        self.held_back[direction as usize].is_some() && !(direction == Direction::Read && lingers)
    }

    fn end(&mut self) {
        let (reason, remains) = self.core.end();
        drop(remains);
        let model = &mut self.model;
        let closed = model.closing && model.queued == 0 && model.fin_sent && model.eof_seen;
        assert!(model.aborted || closed, "it ends too early");
        let cause = model.cause.unwrap_or((Side::Local, CloseKind::Aborted));
        assert_eq!((reason.by(), reason.kind()), cause, "the first cause wins");
        assert_eq!(reason.bytes_in(), model.received + model.discarded);
        assert_eq!(reason.bytes_out(), model.sent);
        assert_eq!(reason.bytes_unsent(), model.unsent + model.queued as u64);
        assert_eq!(model.accepted, model.sent + model.queued as u64);
        self.core.publish(reason).wake();
        model.queued = 0;
        model.aborted = true;
        model.ended = true;
    }

    /// What can be seen of both is the same.
    fn compare(&self) {
        let (core, model) = (&self.core, &self.model);
        assert_eq!(core.queued(), model.queued);
        assert_eq!(core.is_aborted(), model.aborted);
        assert_eq!(core.is_closing(), model.closing);
        assert_eq!(core.wants_data(), model.wants_data());
        assert_eq!(core.is_writable(), model.is_writable());
        assert_eq!(core.is_held(), model.held);
        assert_eq!(core.is_paused(), model.paused);
        assert_eq!(core.is_switching(), model.switching.is_some());
        assert_eq!(core.bytes(), (model.received + model.discarded, model.sent));
        assert!(model.ended == core.reason().is_some());
        if self.shaped {
            let millis = 1000 + u64::from(self.now) * TICK_MS;
            assert!(self.read_at_rate * 1000 <= READ_RATE as u64 * millis, "it is read too fast");
            assert!(model.sent * 1000 <= WRITE_RATE as u64 * millis, "it is sent too fast");
        }
    }

    /// Once the peer reads and ends, and everybody returns, the connection ends.
    fn finish(&mut self) {
        // What waits is read at its rate, a second's worth in two rounds.
        let rounds = if self.shaped { 2000 } else { 160 };
        for round in 0..rounds {
            if self.model.ended {
                self.act(Op::HandleWrite(1)); // and is refused
                return self.compare();
            }
            if self.handler.is_some() {
                self.act(Op::Return { leaves: 0, fails: false });
            } else {
                self.act(Op::PeerReads(1_000_000));
                self.act(Op::PeerEnds);
                if round == rounds - 40 {
                    self.act(Op::HandleClose);
                }
                self.act(Op::Turn);
                for _ in 0..SPINS {
                    if self.held_back == [None; 2] {
                        break;
                    }
                    self.act(Op::Pass(31));
                    self.act(Op::Turn);
                }
            }
            self.compare();
        }
        panic!("it does not end: {:?}", self.core);
    }
}

/// Bytes of a stream from its `start`th on, which say where they are.
fn stream(start: u64, len: usize) -> &'static [u8] {
    const PERIOD: usize = 251;
    // More than anything that is asked for at once.
    static BYTES: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0..MAX_UNREAD).map(|at| (at % PERIOD) as u8).collect());
    let start = (start % PERIOD as u64) as usize;
    &BYTES[start..start + len]
}

/// What takes over.
struct Nothing;

impl Protocol for Nothing {
    async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        Ok(())
    }
}
