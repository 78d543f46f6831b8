//! [`Recorder`]: a transport that keeps what was written.

use std::any::{Any, TypeId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::addr::Addr;
use crate::below::Sent;
use crate::connection::{Blocked, Idle, Outgoing, Peer, Setup};
use crate::driver::Facade;
use crate::endpoint::EndpointKind;
use crate::factory::DynFactory;
use crate::handle::Handle;
use crate::home::Home;
use crate::info::{ConnectionInfo, Extensions};
use crate::io::Layer;
use crate::limits::Limits;
use crate::protocol::{Needs, Result};
use crate::service::Service;
use crate::shared::Shared;
use crate::transport::datagram::MAX_SEND_V4;
use crate::transport::{Datagrams, Residue, Spawned, Transport};

/// A transport that keeps what was written, for calling a protocol's callbacks by hand; it needs no
/// runtime.
///
/// It follows the same rules as a real connection, as the same core is behind it: watermarks, the
/// hard cap, what a close refuses.
///
/// ```
/// use netframe_core::{Transport, testing::Recorder};
///
/// let mut t = Recorder::new();
/// t.write(b"hello");
/// t.close_write();
/// t.write(b"too late");
/// assert_eq!(t.take_written(), b"hello"[..]);
/// assert!(t.is_write_closed());
/// assert!(!t.is_closed());
/// ```
pub struct Recorder {
    pub(super) facade: Facade,
    timeout: Option<Duration>,
    spawned: Vec<Spawned>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// A transport with default limits, as of a connection in memory.
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// A transport with other limits.
    pub fn with_limits(limits: Limits) -> Self {
        let info = ConnectionInfo::new(
            EndpointKind::Mem,
            Addr::named("mem://peer"),
            Addr::named("mem://recorder"),
        );
        Self::with_info(info, limits)
    }

    /// A transport of the given connection.
    pub fn with_info(info: ConnectionInfo, limits: Limits) -> Self {
        let home = Home::detached(Service::new("recorder", limits), None);
        let shared = Shared::new(info.id(), home);
        Self { facade: Facade::new(shared, info), timeout: None, spawned: Vec::new() }
    }

    /// A transport of datagrams, with default limits: of one peer's session, or of a whole socket
    /// for a [`DatagramProtocol`](crate::DatagramProtocol), as the protocol needs. The whole socket
    /// is connected, as a client's is, and takes what is sent to others too.
    pub fn datagrams(needs: Needs) -> Self {
        let whole = needs == Needs::Datagram;
        let peer = if whole { Addr::UNNAMED } else { peer() };
        let local = SocketAddr::from(([127, 0, 0, 1], 7007));
        let info = ConnectionInfo::new(EndpointKind::Udp, peer.clone(), local.into());
        let recorder = Self::with_info(info, Limits::default());
        recorder.facade.shared.lock().start_datagrams(Setup {
            socket: None,
            peer: if whole { Peer::Connected } else { Peer::Session(peer) },
            max_len: MAX_SEND_V4 as u32,
            idle: Idle::Service,
            guarded: !whole,
            reports: whole,
            fed: false,
        });
        recorder
    }

    /// Takes the datagrams that were sent since the last time. Those that wait until the peer has
    /// proved its address stay.
    pub fn take_sent(&mut self) -> Vec<SentDatagram> {
        take_sent(&self.facade.shared)
    }

    /// Adds a fact that a layer below would publish.
    pub fn publish(&mut self, extensions: Extensions) {
        self.facade.publish(extensions);
    }

    /// Takes what was written since the last time: the peer has read it.
    pub fn take_written(&mut self) -> BytesMut {
        take_written(&self.facade.shared)
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.facade.shared.lock().is_closing()
    }

    /// Whether `close_write` was called.
    pub fn is_write_closed(&self) -> bool {
        self.facade.shared.lock().is_fin_wanted()
    }

    /// Whether `abort` was called, or the hard cap was exceeded.
    pub fn is_aborted(&self) -> bool {
        let mut core = self.facade.shared.lock();
        // The driver's look at the core, by which an overflow takes effect.
        let _ = core.next_pending(Blocked { read: true, write: true, spent: false });
        core.is_aborted()
    }

    /// Whether reading is paused.
    pub fn is_paused(&self) -> bool {
        self.facade.shared.lock().is_paused()
    }

    /// The timeout as last set.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether a switch to another protocol was asked for.
    pub fn is_switching(&self) -> bool {
        self.facade.shared.lock().is_switching()
    }

    /// Takes the futures given to `spawn`, for the test to run.
    pub fn take_spawned(&mut self) -> Vec<Spawned> {
        std::mem::take(&mut self.spawned)
    }
}

pub(super) fn take_written(shared: &Shared) -> BytesMut {
    let mut core = shared.lock();
    let mut queue = core.start_flush();
    let written = queue.drain_all();
    let sent = Sent { taken: written.len(), all: true };
    let wakes = core.finish_flush(queue, &sent, false, shared.limits());
    drop(core);
    wakes.wake();
    written
}

pub(super) fn take_sent(shared: &Shared) -> Vec<SentDatagram> {
    let (mut sent, mut batch) = (Vec::new(), Vec::new());
    loop {
        let mut core = shared.lock();
        core.start_send(&mut batch);
        let count = batch.len();
        let wakes = core.sent(&mut batch, count, shared.limits());
        drop(core);
        wakes.wake();
        if count == 0 {
            return sent;
        }
        let taken = batch.drain(..).map(|Outgoing { data, to, .. }| SentDatagram { to, data });
        sent.extend(taken);
    }
}

/// Who sends to a protocol under test, unless said otherwise.
pub(super) fn peer() -> Addr {
    SocketAddr::from(([127, 0, 0, 1], 40_000)).into()
}

/// A datagram that a protocol sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentDatagram {
    /// To whom; `None` is the peer that the socket is connected to.
    pub to: Option<Addr>,
    /// Its bytes.
    pub data: Bytes,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.facade.shared.fmt(f)
    }
}

impl Transport for Recorder {
    fn write(&mut self, data: &[u8]) {
        self.facade.write(data);
    }

    fn write_vectored(&mut self, parts: &[&[u8]]) {
        self.facade.write_vectored(parts);
    }

    fn write_bytes(&mut self, data: Bytes) {
        self.facade.write_bytes(data);
    }

    fn with_buffer(&mut self, f: &mut dyn FnMut(&mut BytesMut)) {
        self.facade.with_buffer(f);
    }

    fn queued(&self) -> usize {
        self.facade.queued()
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result> {
        self.facade.poll_drain(cx)
    }

    fn wants_data(&self) -> bool {
        self.facade.wants_data()
    }

    fn close(&mut self) {
        self.facade.close();
    }

    fn close_when_idle(&mut self) {
        self.facade.close_when_idle();
    }

    fn abort(&mut self) {
        self.facade.abort();
    }

    fn close_write(&mut self) {
        self.facade.close_write();
    }

    fn pause_reading(&mut self) {
        self.facade.pause_reading();
    }

    fn resume_reading(&mut self) {
        self.facade.resume_reading();
    }

    fn set_coupled(&mut self, coupled: bool) {
        self.facade.set_coupled(coupled);
    }

    fn set_timeout(&mut self, after: Option<Duration>) {
        self.timeout = after;
    }

    fn idle(&self) -> Duration {
        self.facade.idle()
    }

    fn is_draining(&self) -> bool {
        self.facade.is_draining()
    }

    fn info(&self) -> &ConnectionInfo {
        self.facade.info()
    }

    fn handle(&mut self) -> Handle {
        self.facade.handle()
    }

    fn switch(&mut self, to: Arc<dyn DynFactory>, residue: Residue) {
        self.facade.switch(to, residue);
    }

    fn switch_layer(&mut self, layer: Box<dyn Layer>, to: Arc<dyn DynFactory>, residue: Residue) {
        self.facade.switch_layer(layer, to, residue);
    }

    fn spawn_boxed(&mut self, future: Spawned) {
        self.spawned.push(future);
    }

    fn extension(&self, id: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        self.facade.extension(id)
    }

    fn datagrams(&mut self) -> Option<&mut dyn Datagrams> {
        self.facade.datagrams()
    }
}
