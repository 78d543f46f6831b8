//! The task driver: one task per connection, on any tokio runtime. It asks the connection core what
//! to do next, moves the bytes, and runs the protocol's callbacks.

mod facade;
mod handler;
mod pending;
mod pump;

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, debug_span, error, warn};

pub(crate) use self::facade::Facade;
use self::handler::{Verdict, handle};
pub(crate) use self::handler::{caught, caught_async, panic_text};
use self::pending::{pend, watch_reset};
use self::pump::Step;
#[cfg(feature = "sim")]
pub(crate) use self::pump::forget_read_buffer;
use crate::below::Below;
use crate::close_reason::{Cause, CloseKind, CloseReason, Side};
use crate::connection::{Event, Leftover, Switch};
use crate::factory::{Erased, Factory};
use crate::home::Home;
use crate::info::{ConnectionInfo, Origin};
use crate::io::{Io, Layer};
use crate::listener::Incoming;
#[cfg(unix)]
use crate::poller::Name;
use crate::protocol::{Needs, Protocol, Result};
use crate::service::Counters;
use crate::shared::Shared;
use crate::transport::Transport;

/// A connection under whatever protocol: the stream below, the core, and what was received but not
/// consumed. Dropping it ends the connection.
pub(crate) struct Conn {
    below: Below,
    facade: Facade,
    shared: Arc<Shared>,
    data: BytesMut,
    /// `data` is a piece of the worker's read buffer, and must not be kept.
    borrowed: bool,
    /// `data` has bytes that no handler has seen.
    fresh: bool,
    /// It ended, or another protocol has taken it over.
    over: bool,
    /// Deliveries in this turn.
    turn: u8,
}

impl Conn {
    /// Starts a connection of `home`, whose permit the caller has taken.
    pub(crate) fn start(incoming: Incoming, origin: &Arc<Origin>, home: &Arc<Home>) -> Self {
        let origin = if incoming.extensions.is_empty() && incoming.local == origin.local {
            Arc::clone(origin)
        } else {
            let mut own = Origin::new(origin.kind, incoming.local);
            own.extensions = incoming.extensions;
            Arc::new(own)
        };
        let info = ConnectionInfo::with_origin(incoming.peer, origin);
        let shared = Shared::new(info.id, Arc::clone(home));
        if let Below::Datagrams(channel) = &incoming.below {
            shared.lock().start_datagrams(channel.setup());
        } else if let Some(shaping) = &home.service.shaping {
            shared.lock().start_shaping(shaping, Instant::now());
        }
        home.register(&shared);
        Counters::add(&home.service.counters.accepted);
        debug!(
            service = %home.service.name, id = %info.id, peer = %info.peer(), local = %info.local(),
            "connection opened"
        );
        let mut conn = Self::new(incoming.below, Facade::new(Arc::clone(&shared), info), shared);
        if let Err(error) = conn.start_polling() {
            warn!(service = %home.service.name, id = %conn.shared.id, %error, "cannot poll a socket");
            conn.shared.lock().io_failed(error).wake();
        }
        conn
    }

    fn new(below: Below, facade: Facade, shared: Arc<Shared>) -> Self {
        let (data, borrowed, fresh, over, turn) = (BytesMut::new(), false, false, false, 0);
        Self { below, facade, shared, data, borrowed, fresh, over, turn }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.facade.info
    }

    /// What its protocol logs belongs to this connection, if anybody listens at this level.
    fn span(&self) -> Span {
        let info = &self.facade.info;
        let service = &self.shared.home.service.name;
        debug_span!("connection", %service, id = %info.id, peer = %info.peer(), local = %info.local())
    }

    /// Has the home tell the core when the socket is ready.
    fn start_polling(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        if let Below::Polled(socket) = &mut self.below {
            let key = {
                let mut core = self.shared.lock();
                core.start_polling();
                core.wheel_key
            };
            let name = Name::new(key, self.shared.id);
            self.shared.home.poller.register(socket, name, &self.shared.home)?;
        }
        Ok(())
    }

    /// The stream as one that reads and writes by itself, for a layer above it.
    fn take_io(&mut self) -> io::Result<Box<dyn Io>> {
        #[cfg(unix)]
        if let Below::Polled(socket) = &mut self.below {
            self.shared.home.poller.deregister(socket)?;
            self.shared.lock().stop_polling();
        }
        mem::replace(&mut self.below, Below::nothing()).into_io()
    }

    /// Takes in what a handler made of its event.
    fn settle(&mut self, event: Event, offered: usize, verdict: Verdict) {
        if event == Event::Eof {
            self.data.clear();
        }
        if matches!(self.below, Below::Datagrams(_)) && !self.data.is_empty() {
            // The next datagram is another message.
            self.data.clear();
            Counters::add(&self.shared.home.service.counters.datagrams.leftover);
        }
        let delivered = event == Event::Data;
        let fresh = mem::take(&mut self.fresh);
        let leftover = Leftover { offered, left: self.data.len(), fresh };
        self.keep_leftover();
        match verdict {
            Verdict::Returned(result) => {
                // A clone is kept, so that the error, if it is not the first cause, is not dropped
                // under the lock: it is the user's.
                let result = result.map_err(Cause::from_handler);
                let _kept = result.clone();
                let mut core = self.shared.lock();
                core.handler_returned(result, delivered, leftover, self.shared.limits());
                drop(core);
            }
            Verdict::Panicked(panic) => {
                let text = panic_text(&*panic);
                self.shared.lock().handler_panicked(text);
            }
            Verdict::Interrupted => {
                let mut core = self.shared.lock();
                core.unwrite();
                // Parts of a stream may be in other tasks, which are not dropped.
                let wakes = core.wake_all();
                drop(core);
                wakes.wake();
            }
        }
    }

    /// Moves the leftover out of the worker's buffer, into one of its own size.
    fn keep_leftover(&mut self) {
        let oversized = self.data.capacity() > 4096 && self.data.len() < self.data.capacity() / 4;
        if self.data.is_empty() {
            self.data = BytesMut::new();
        } else if self.borrowed || oversized {
            self.data = BytesMut::from(&self.data[..]);
        }
        self.borrowed = false;
    }

    /// Hands the connection to the next protocol, in a task of its own, unless it was closed
    /// meanwhile. `lost` is the old protocol's `connection_lost`.
    fn switch(&mut self, lost: impl FnOnce(&CloseReason)) {
        let Some(switch) = self.shared.lock().take_switch(&mut self.data) else { return };
        let Switch { to, layer, .. } = *switch;
        let cause = Cause::new(Side::Local, CloseKind::Switched);
        let reason = self.shared.lock().reason_so_far(cause);
        self.lost(&reason, lost);

        self.over = true;
        let facade = Facade::new(Arc::clone(&self.shared), self.facade.info.clone());
        let below = mem::replace(&mut self.below, Below::nothing());
        let mut next = Self::new(below, facade, Arc::clone(&self.shared));
        next.data = mem::take(&mut self.data);
        next.borrowed = self.borrowed;
        next.keep_leftover();
        let datagrams = matches!(next.below, Below::Datagrams(_));
        if !to.needs().fit(datagrams) {
            let carried = if datagrams { "datagrams" } else { "a stream" };
            let text = format!("the next protocol needs a {}, not {carried}", to.needs());
            let cause = Cause::with_source(Side::Local, CloseKind::Error, text);
            next.shared.lock().abort(cause);
            return;
        }
        match layer {
            None => to.spawn(next),
            Some(layer) => {
                tokio::spawn(async move {
                    if let Err(error) = next.put_layer(layer).await {
                        next.shared.lock().io_failed(error).wake();
                    }
                    if !next.shared.lock().is_aborted() {
                        to.spawn(next);
                    }
                });
            }
        }
    }

    /// Puts a layer between the stream and the next protocol.
    async fn put_layer(&mut self, layer: Box<dyn Layer>) -> io::Result<()> {
        let (io, residue) = (self.take_io()?, mem::take(&mut self.data));
        let layered = tokio::select! {
            biased;
            () = self.shared.ended() => return Err(io::ErrorKind::ConnectionAborted.into()),
            layered = caught_async(layer.wrap(io, residue)) => layered,
        };
        let layered = match layered {
            Ok(layered) => layered?,
            Err(panic) => {
                self.shared.lock().handler_panicked(panic_text(&*panic));
                return Ok(());
            }
        };
        self.below = Below::Io(layered.io);
        self.facade.publish(layered.extensions);
        Ok(())
    }

    /// Ends the connection, if it has not. `lost` is the protocol's `connection_lost`.
    fn end(&mut self, lost: impl FnOnce(&CloseReason)) {
        if mem::replace(&mut self.over, true) {
            return;
        }
        let mut core = self.shared.lock();
        let abort = core.is_abort_local() || !core.is_send_side_done();
        if let Some(budget) = self.shared.home.service.permits.budget() {
            budget.give_back(core.set_charged(0));
        }
        let (reason, remains) = core.end();
        drop(core);
        // Bytes, factories and streams of the user's own go with it.
        let dropped = caught(|| {
            drop(remains);
            if abort {
                self.below.set_abort();
            }
        });
        let below = mem::replace(&mut self.below, Below::nothing());
        for panic in [dropped.err(), caught(|| drop(below)).err()].into_iter().flatten() {
            error!(id = %self.shared.id, panic = panic_text(&*panic), "a drop panicked");
        }
        let home = &self.shared.home;
        debug!(service = %home.service.name, id = %self.shared.id, %reason, "connection closed");
        self.lost(&reason, lost);
        home.service.counters.closed(&reason);
        let mut core = self.shared.lock();
        let key = mem::take(&mut core.wheel_key);
        let wakes = core.publish(reason);
        drop(core);
        home.service.permits.release();
        home.service.leave(self.facade.info.peer());
        home.unregister(key);
        wakes.wake();
    }

    fn lost(&self, reason: &CloseReason, lost: impl FnOnce(&CloseReason)) {
        if let Err(panic) = caught(|| lost(reason)) {
            error!(id = %self.shared.id, panic = panic_text(&*panic), "connection_lost panicked");
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.end(|_| {});
    }
}

/// A protocol on its connection. However this goes away, `connection_lost` is called.
struct Running<P: Protocol> {
    protocol: P,
    conn: Conn,
}

impl<P: Protocol> Drop for Running<P> {
    fn drop(&mut self) {
        self.conn.end(|reason| self.protocol.connection_lost(reason));
    }
}

/// Runs one connection under one protocol to its end or its switch.
///
/// This future is what an idle connection costs: locals that live across an await are few, and what
/// only a waiting handler needs is behind a pointer.
#[expect(clippy::manual_async_fn, reason = "an `async fn` would hold its argument twice")]
fn drive<P: Protocol>(mut running: Running<P>) -> impl Future<Output = ()> + Send {
    async move {
        let mut event = Event::Made;
        loop {
            let offered = running.conn.data.len();
            let verdict = {
                let conn = &mut running.conn;
                let t = &mut conn.facade;
                let mut handler = pin!(handle(event, &mut running.protocol, t, &mut conn.data));
                // Most handlers are done at the first poll, and then nothing is allocated.
                let shared = &conn.shared;
                let first = poll_fn(|cx| {
                    let poll = || handler.as_mut().poll(cx);
                    Poll::Ready(shared.home.poll_callback(shared.id, event, poll))
                });
                match first.await {
                    Poll::Ready(verdict) => verdict,
                    Poll::Pending => Box::pin(pend(&mut conn.below, shared, event, handler)).await,
                }
            };
            running.conn.settle(event, offered, verdict);
            event = loop {
                match poll_fn(|cx| running.conn.poll_next(cx)).await {
                    Step::Call(event) => break event,
                    Step::WatchReset => Box::pin(watch_reset(&mut running.conn)).await,
                    Step::Switch => {
                        let Running { protocol, conn } = &mut running;
                        conn.switch(|reason| protocol.connection_lost(reason));
                        if conn.over {
                            return;
                        }
                    }
                    Step::End => return,
                }
            };
        }
    }
}

/// The protocol of a connection that was refused: it sees to the close in order.
struct Refused;

impl Protocol for Refused {
    async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        Ok(())
    }
}

impl<F: Factory> Erased for F {
    fn needs(&self) -> Needs {
        F::Protocol::NEEDS
    }

    fn spawn(&self, conn: Conn) {
        match caught(|| self.build_protocol(&conn.facade.info)) {
            Ok(Some(protocol)) => {
                let span = conn.span();
                let task = drive(Running { protocol, conn });
                if span.is_disabled() {
                    tokio::spawn(task); // a span would make every idle connection larger
                } else {
                    tokio::spawn(task.instrument(span));
                }
            }
            Ok(None) => {
                Counters::add(&conn.shared.home.service.counters.refused);
                let mut core = conn.shared.lock();
                core.close();
                // After a switch there may be an answer under way, which a reset would destroy.
                let in_order = core.bytes().1 > 0;
                drop(core);
                if in_order {
                    tokio::spawn(drive(Running { protocol: Refused, conn }));
                }
            }
            Err(panic) => conn.shared.lock().handler_panicked(panic_text(&*panic)),
        }
    }
}
