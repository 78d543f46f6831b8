//! The [`Transport`] that a protocol is given on a real connection.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{caught_async, panic_text};
use crate::addr::Addr;
use crate::close_reason::{Cause, CloseKind, Side};
use crate::connection::{Arrival, BY_REFERENCE, Switch, ticks};
use crate::datagram::SendError;
use crate::factory::DynFactory;
use crate::handle::Handle;
use crate::info::{ConnectionInfo, Extensions};
use crate::io::Layer;
use crate::service::Counters;
use crate::shared::Shared;
use crate::transport::datagram::DatagramSocket;
use crate::transport::{DatagramSide, Datagrams, Residue, Spawned, Transport};
use crate::wheel::TICK_MS;

/// The largest buffer that a thread keeps for its encoders.
const MAX_KEPT: usize = 64 * 1024;

thread_local! {
    /// What an encoder appends to: a copy into the queue costs less than to lend it the queue.
    static ENCODED: Cell<BytesMut> = Cell::default();
}

/// A connection as its protocol sees it. The driver runs in the same task, so nothing done here
/// has to wake it.
pub(crate) struct Facade {
    pub(crate) shared: Arc<Shared>,
    pub(crate) info: ConnectionInfo,
}

impl Facade {
    pub(crate) fn new(shared: Arc<Shared>, info: ConnectionInfo) -> Self {
        Self { shared, info }
    }

    /// Adds what a layer knows about the connection.
    pub(crate) fn publish(&mut self, extensions: Extensions) {
        if !extensions.is_empty() {
            Arc::make_mut(&mut self.info.origin).extensions.merge(extensions);
        }
    }
}

impl Transport for Facade {
    fn write(&mut self, data: &[u8]) {
        self.write_vectored(&[data]);
    }

    fn write_vectored(&mut self, parts: &[&[u8]]) {
        self.shared.lock().write(parts, self.shared.limits());
    }

    fn write_bytes(&mut self, data: Bytes) {
        let unused = self.shared.lock().write_bytes(data, self.shared.limits());
        drop(unused);
    }

    fn with_buffer(&mut self, f: &mut dyn FnMut(&mut BytesMut)) {
        let mut part = ENCODED.take(); // an empty one stays, should `f` come here too
        f(&mut part);
        // Before the split: what that leaves holds on to the whole allocation.
        let kept = part.capacity() <= MAX_KEPT;
        if part.len() >= BY_REFERENCE {
            self.write_bytes(part.split().freeze());
        } else if !part.is_empty() {
            self.write(&part);
        }
        if kept {
            part.clear();
            ENCODED.set(part);
        }
    }

    fn queued(&self) -> usize {
        self.shared.lock().queued()
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<crate::Result> {
        self.shared.lock().poll_drain(cx, self.shared.limits())
    }

    fn wants_data(&self) -> bool {
        self.shared.lock().ask_wants_data()
    }

    fn close(&mut self) {
        self.shared.lock().close();
    }

    fn close_when_idle(&mut self) {
        self.shared.lock().close_when_idle();
    }

    fn abort(&mut self) {
        self.shared.lock().abort(Cause::new(Side::Local, CloseKind::Aborted));
    }

    fn close_write(&mut self) {
        self.shared.lock().close_write();
    }

    fn pause_reading(&mut self) {
        self.shared.lock().pause_reading();
    }

    fn resume_reading(&mut self) {
        self.shared.lock().resume_reading();
    }

    fn set_coupled(&mut self, coupled: bool) {
        self.shared.lock().set_coupled(coupled);
    }

    fn set_timeout(&mut self, after: Option<Duration>) {
        let home = &self.shared.home;
        let now = home.now();
        let tick = after.map(|after| now.wrapping_add(ticks(after)));
        let mut core = self.shared.lock();
        if core.set_timeout(tick, now)
            && let Some(tick) = tick
        {
            home.rearm(core.wheel_key, tick, now);
        }
    }

    fn idle(&self) -> Duration {
        let now = self.shared.home.now();
        let ticks = self.shared.lock().idle_time(now).unwrap_or(0);
        Duration::from_millis(u64::from(ticks) * TICK_MS)
    }

    fn is_draining(&self) -> bool {
        self.shared.lock().is_drained()
    }

    fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    fn handle(&mut self) -> Handle {
        Handle::new(Arc::clone(&self.shared))
    }

    fn switch(&mut self, to: Arc<dyn DynFactory>, residue: Residue) {
        let overridden = self.shared.lock().switch(Switch { to, residue, layer: None });
        drop(overridden);
    }

    fn switch_layer(&mut self, layer: Box<dyn Layer>, to: Arc<dyn DynFactory>, residue: Residue) {
        let layer = Some(layer);
        let overridden = self.shared.lock().switch(Switch { to, residue, layer });
        drop(overridden);
    }

    fn spawn_boxed(&mut self, future: Spawned) {
        let shared = Arc::downgrade(&self.shared);
        let guarded = async move {
            let outcome = caught_async(future).await;
            if let (Err(panic), Some(shared)) = (outcome, shared.upgrade()) {
                shared.change(|core| core.handler_panicked(panic_text(&*panic)));
            }
        };
        let mut tasks = self.shared.lock().take_tasks();
        while tasks.try_join_next().is_some() {} // lets go of finished ones
        tasks.spawn(guarded);
        self.shared.lock().put_tasks(tasks);
    }

    fn extension(&self, id: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        self.info.extension(id)
    }

    fn datagrams(&mut self) -> Option<&mut dyn Datagrams> {
        self.info.is_datagram().then_some(self)
    }
}

impl Datagrams for Facade {}

impl DatagramSide for Facade {
    fn take_current(&mut self) -> Option<Arrival> {
        self.shared.lock().take_current()
    }

    fn send(
        &mut self,
        data: &[u8],
        to: Option<&Addr>,
        source: Option<IpAddr>,
    ) -> Result<(), SendError> {
        let (mut core, limits) = (self.shared.lock(), self.shared.limits());
        core.check_send(data.len(), to, limits)?;
        core.send_copy(data, to.cloned(), source, limits);
        Ok(())
    }

    fn socket(&self) -> io::Result<Arc<DatagramSocket>> {
        let socket = self.shared.lock().datagram_socket();
        socket.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "there is no socket"))
    }

    fn count_error(&self) {
        Counters::add(&self.shared.home.service.counters.datagrams.errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn no_thread_keeps_the_buffer_of_a_large_message() {
        const LARGE: usize = 4 * MAX_KEPT;
        let mut t = Recorder::new();
        t.with_buffer(&mut |out| {
            out.reserve(LARGE);
            out.resize(out.capacity() - 10, b'x');
        });
        drop(t);
        Recorder::new().with_buffer(&mut |out| assert!(!out.try_reclaim(LARGE / 2)));
    }
}
