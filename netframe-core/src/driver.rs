//! The task driver: one task per connection, on any tokio runtime. It asks the connection core what
//! to do next, moves the bytes, and runs the protocol's callbacks.

mod facade;
mod pending;
mod pump;

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tracing::{debug, error};

pub(crate) use self::facade::Facade;
use self::pending::{pend, watch_reset};
use self::pump::Step;
use crate::close_reason::{Cause, CloseKind, CloseReason, Side};
use crate::connection::{Event, Leftover};
use crate::factory::{Erased, Factory};
use crate::home::Home;
use crate::info::{ConnectionInfo, Origin};
use crate::io::AnyIo;
use crate::listener::Incoming;
use crate::protocol::{Needs, Protocol, Result};
use crate::service::Counters;
use crate::shared::Shared;

/// A connection before and between protocols: the stream below, the core, and what was received
/// but not consumed. Dropping it ends the connection.
pub(crate) struct Conn {
    /// Taken out at the end, or when another protocol takes over.
    io: Option<AnyIo>,
    facade: Facade,
    shared: Arc<Shared>,
    data: BytesMut,
    /// `data` is a piece of the worker's read buffer, and must not be kept.
    borrowed: bool,
    /// `data` has bytes that no handler has seen.
    fresh: bool,
    /// Deliveries in this turn.
    turn: u8,
}

impl Conn {
    /// Starts a connection of `home`, whose permit the caller has taken.
    pub(crate) fn new(incoming: Incoming, origin: &Arc<Origin>, home: &Arc<Home>) -> Self {
        let origin = if incoming.extensions.is_empty() && incoming.local == origin.local {
            Arc::clone(origin)
        } else {
            let mut own = Origin::new(origin.kind, incoming.local);
            own.extensions = incoming.extensions;
            Arc::new(own)
        };
        let info = ConnectionInfo::with_origin(incoming.peer, origin);
        let shared = Shared::new(info.id, Arc::clone(home));
        home.register(&shared);
        Counters::add(&home.service.counters.accepted);
        debug!(
            service = %home.service.name, id = %info.id, peer = %info.peer(), local = %info.local(),
            "connection opened"
        );
        Self::over(incoming.io, Facade::new(Arc::clone(&shared), info), shared, BytesMut::new())
    }

    fn over(io: AnyIo, facade: Facade, shared: Arc<Shared>, data: BytesMut) -> Self {
        Self { io: Some(io), facade, shared, data, borrowed: false, fresh: false, turn: 0 }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Takes in what a handler made of its event.
    fn settle(&mut self, event: Event, offered: usize, verdict: Verdict) {
        let data = match event {
            Event::Data => {
                let fresh = std::mem::take(&mut self.fresh);
                Some(Leftover { offered, left: self.data.len(), fresh })
            }
            Event::Eof => {
                self.data.clear();
                None
            }
            _ => None,
        };
        self.keep_leftover();
        let mut core = self.shared.lock();
        match verdict {
            Verdict::Returned(result) => core.handler_returned(result, data, self.shared.limits()),
            Verdict::Panicked(panic) => core.handler_panicked(panic_text(&*panic)),
            Verdict::Interrupted => {}
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

    /// Hands the connection to the next protocol, in a task of its own.
    fn switch(mut self, lost: impl FnOnce(&CloseReason)) {
        let switch = self.shared.lock().take_switch(&mut self.data);
        self.keep_leftover();
        let cause = Cause::new(Side::Local, CloseKind::Switched);
        let reason = self.shared.lock().reason_so_far(cause);
        lost(&reason);
        let Some(layer) = switch.layer else {
            switch.to.spawn(self);
            return;
        };
        tokio::spawn(async move {
            let (Some(io), residue) = (self.io.take(), std::mem::take(&mut self.data)) else {
                return;
            };
            match layer.wrap(io, residue).await {
                Ok(layered) => {
                    self.io = Some(layered.io);
                    self.facade.publish(layered.extensions);
                    switch.to.spawn(self);
                }
                Err(error) => self.shared.lock().io_failed(error).wake(),
            }
        });
    }

    /// Ends the connection; `lost` is the protocol's `connection_lost`.
    fn end(&mut self, lost: impl FnOnce(&CloseReason)) {
        let Some(mut io) = self.io.take() else { return };
        let mut core = self.shared.lock();
        let abort = core.is_abort_local() || !core.is_send_side_done();
        let reason = core.end();
        drop(core);
        if abort {
            io.set_abort();
        }
        drop(io);
        let home = &self.shared.home;
        debug!(service = %home.service.name, id = %self.shared.id, %reason, "connection closed");
        if let Err(panic) = caught(|| lost(&reason)) {
            error!(id = %self.shared.id, panic = panic_text(&*panic), "connection_lost panicked");
        }
        home.service.counters.closed(&reason);
        let mut core = self.shared.lock();
        let key = std::mem::take(&mut core.wheel_key);
        let wakes = core.publish(reason);
        drop(core);
        home.service.permits.release();
        home.unregister(key);
        wakes.wake();
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
    conn: Option<Conn>,
}

impl<P: Protocol> Drop for Running<P> {
    fn drop(&mut self) {
        if let Some(mut conn) = self.conn.take() {
            conn.end(|reason| self.protocol.connection_lost(reason));
        }
    }
}

/// How a callback ended.
enum Verdict {
    Returned(Result),
    Panicked(Box<dyn Any + Send>),
    /// It was dropped while it was pending.
    Interrupted,
}

/// Polls a handler once, the panic it may end with included.
fn poll_handler<F>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Verdict>
where
    F: Future<Output = Result> + ?Sized,
{
    match caught(|| future.poll(cx)) {
        Ok(Poll::Ready(result)) => Poll::Ready(Verdict::Returned(result)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Verdict::Panicked(panic)),
    }
}

/// Runs one connection under one protocol to its end or its switch.
///
/// This future is what an idle connection costs: locals that live across an await are kept few,
/// and what only a waiting handler needs is behind a pointer.
///
/// Written as a block, as an `async fn` would hold its argument twice.
fn drive<P: Protocol>(mut running: Running<P>) -> impl Future<Output = ()> + Send {
    async move {
        let mut event = Event::Made;
        loop {
            let Some(conn) = &mut running.conn else { return };
            let offered = conn.data.len();
            /// Runs one callback. Most return at the first poll, and then nothing is allocated.
            macro_rules! call {
                ($handler:expr) => {
                    match caught(|| $handler) {
                        Ok(handler) => {
                            let mut handler = pin!(handler);
                            let first =
                                poll_fn(|cx| Poll::Ready(poll_handler(handler.as_mut(), cx))).await;
                            match first {
                                Poll::Ready(verdict) => verdict,
                                Poll::Pending => {
                                    Box::pin(pend(&mut conn.io, &conn.shared, handler)).await
                                }
                            }
                        }
                        Err(panic) => Verdict::Panicked(panic),
                    }
                };
            }
            let (protocol, t, data) = (&mut running.protocol, &mut conn.facade, &mut conn.data);
            let verdict = match event {
                Event::Made => call!(protocol.connection_made(t)),
                Event::Data => call!(protocol.data_received(t, data)),
                Event::Eof => call!(protocol.eof_received(t, data)),
                Event::Notified => call!(protocol.notified(t)),
                Event::TimedOut => call!(protocol.timed_out(t)),
                Event::Draining => call!(protocol.draining(t)),
            };
            conn.settle(event, offered, verdict);
            event = loop {
                match poll_fn(|cx| conn.poll_next(cx)).await {
                    Step::Call(event) => break event,
                    Step::WatchReset => Box::pin(watch_reset(&mut conn.io, &conn.shared)).await,
                    Step::Switch => {
                        if let Some(conn) = running.conn.take() {
                            conn.switch(|reason| running.protocol.connection_lost(reason));
                        }
                        return;
                    }
                    Step::End => return,
                }
            };
        }
    }
}

impl<F: Factory> Erased for F {
    fn needs(&self) -> Needs {
        F::Protocol::NEEDS
    }

    fn spawn(&self, conn: Conn) {
        match caught(|| self.build_protocol(&conn.facade.info)) {
            Ok(Some(protocol)) => {
                tokio::spawn(drive(Running { protocol, conn: Some(conn) }));
            }
            Ok(None) => {
                Counters::add(&conn.shared.home.service.counters.refused);
                conn.shared.lock().close();
            }
            Err(panic) => conn.shared.lock().handler_panicked(panic_text(&*panic)),
        }
    }
}

/// Runs user code, and returns the panic that it may end with. What a panic leaves half changed is
/// the user's own, and is dropped with its connection.
fn caught<R>(code: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(code))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
