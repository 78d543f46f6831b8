//! [`Transport`]: what a protocol writes to and closes. The same trait stands before sockets,
//! memory and the [`Recorder`](crate::testing::Recorder) of a test.

pub(crate) mod datagram;
pub mod mem;
pub(crate) mod stdio;
pub mod tcp;
pub(crate) mod udp;
#[cfg(unix)]
pub mod unix;
#[cfg(unix)]
pub(crate) mod unixgram;

use std::any::{Any, TypeId};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use self::datagram::DatagramSocket;
use crate::addr::Addr;
use crate::connection::Arrival;
use crate::datagram::SendError;
use crate::factory::{self, DynFactory};
use crate::handle::Handle;
use crate::info::ConnectionInfo;
use crate::input::Input;
use crate::io::Layer;
use crate::protocol::{Protocol, Result};

/// A boxed future that a connection runs beside its callbacks.
pub type Spawned = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a protocol writes to and closes.
///
/// Every method returns at once: writes are queued, and leave in one send when the handler returns
/// or awaits. Handlers get it as `&mut dyn Transport`, which also offers
/// [`drain`](trait.Transport.html#method.drain), `get`, `spawn` and `switch_to`.
pub trait Transport: Send {
    /// Queues a copy of `data`; right for small pieces, which leave together in one send. Over
    /// datagrams what a handler writes is one datagram, which leaves when the handler returns or
    /// drains; an empty write alone makes an empty one.
    ///
    /// Bytes leave in call order. A write begun at or below the high watermark is taken whole. One
    /// begun above it is taken while the queue stays within the hard cap; otherwise it is dropped,
    /// counted as unsent, and the connection ends with `Overflow` when the handler next returns or
    /// awaits. To stay below, stop producing at [`queued`](Self::queued) or await `drain`.
    ///
    /// After `close`, `close_write` or `abort` nothing is queued: the bytes count as unsent in the
    /// close reason.
    fn write(&mut self, data: &[u8]);

    /// Queues a copy of all `parts` as one [`write`](Self::write): a message and its delimiter are
    /// taken, or refused, together.
    fn write_vectored(&mut self, parts: &[&[u8]]);

    /// Queues `data`, by reference from 16 KiB up; below, a copy is cheaper than to keep the
    /// whole allocation behind it alive. Limits as [`write`](Self::write).
    fn write_bytes(&mut self, data: Bytes);

    /// Lets `f` encode into an empty buffer that the thread keeps, and queues what it appended when it
    /// returns: by reference from 16 KiB up, below as a copy. Limits as [`write`](Self::write).
    fn with_buffer(&mut self, f: &mut dyn FnMut(&mut BytesMut));

    /// Bytes queued and not yet taken by the transport below.
    fn queued(&self) -> usize;

    /// Ready once the queue is at or below the low watermark; the waiting form of it is
    /// `t.drain().await`.
    ///
    /// # Errors
    ///
    /// The connection ended, so that the queue will never drain.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result>;

    /// Whether the protocol may be handed more data now: false after `close`, `abort` or `switch`,
    /// while reading is paused, and while the queue is above the high watermark.
    ///
    /// A framer tests it before each frame. What it then leaves in `data` is delivered again, by
    /// itself, once this turns true.
    fn wants_data(&self) -> bool;

    /// Ends the connection in order: delivers nothing more, flushes the queue, sends FIN, then
    /// reads and drops input until the peer's FIN, so that no answer is destroyed by unread input.
    ///
    /// Bounded by the close timeout and 1 MiB of dropped input; then it is reset.
    fn close(&mut self);

    /// Closes as soon as there is nothing to do: no byte queued, left over, or waiting to be read.
    fn close_when_idle(&mut self);

    /// Ends the connection at once: drops the queue and resets it.
    fn abort(&mut self);

    /// Ends our sending side (FIN) once the queue is flushed; reading goes on.
    fn close_write(&mut self);

    /// Stops the delivery of data and of EOF, and with it, soon, the peer.
    fn pause_reading(&mut self);

    /// Undoes [`pause_reading`](Self::pause_reading).
    fn resume_reading(&mut self);

    /// Whether reading waits while the queue is above the high watermark; true at first.
    ///
    /// Right for a protocol that answers what it reads. A forwarder, which reads for another
    /// connection, switches it off and gates each direction by itself. It overrides
    /// [`Protocol::draining`] too, which by default may end it between two pieces.
    fn set_coupled(&mut self, coupled: bool);

    /// Calls `timed_out` after `after`, once, in place of any earlier setting; `None` unsets it.
    ///
    /// Coarse: never early, and late by at most an eighth of the duration or 100 ms, whichever is
    /// more.
    fn set_timeout(&mut self, after: Option<Duration>);

    /// How long no byte has moved in either direction, as far as the coarse timer knows: never more
    /// than it is. Zero once the connection closes.
    ///
    /// A protocol that may be silent for some time, and no longer, sets a timeout; when it passes, it
    /// ends or sets another one for what is left. So the time of a busy connection costs nothing.
    fn idle(&self) -> Duration;

    /// Whether the server drains: [`draining`](Protocol::draining) was called, or is once the running
    /// handler has returned.
    fn is_draining(&self) -> bool;

    /// Who is connected, and how.
    fn info(&self) -> &ConnectionInfo;

    /// A handle to this connection for other tasks and threads.
    fn handle(&mut self) -> Handle;

    /// Hands the connection to the protocol that `to` builds, when the running handler returns
    /// `Ok`. Earlier bytes leave first; a `close` or an error wins; the last call wins.
    fn switch(&mut self, to: Arc<dyn DynFactory>, residue: Residue);

    /// As [`switch`](Self::switch), with a byte layer (such as TLS) put below the new protocol.
    /// The residue goes into the layer.
    fn switch_layer(&mut self, layer: Box<dyn Layer>, to: Arc<dyn DynFactory>, residue: Residue);

    /// Runs `future` beside the connection; it is cancelled with it. `t.spawn(…)` boxes it.
    fn spawn_boxed(&mut self, future: Spawned);

    /// A fact that a layer below published, by its type; `t.get::<T>()` is the typed form.
    fn extension(&self, id: TypeId) -> Option<&(dyn Any + Send + Sync)>;

    /// What only a transport of datagrams can do; `None` of a stream. It is what
    /// [`DatagramTransport`](crate::DatagramTransport) stands on.
    fn datagrams(&mut self) -> Option<&mut dyn Datagrams> {
        None
    }
}

/// The datagram side of a [`Transport`]; its methods are those of
/// [`DatagramTransport`](crate::DatagramTransport).
#[expect(private_bounds, reason = "sealed: netframe's own transports have it")]
pub trait Datagrams: DatagramSide {}

/// What [`DatagramTransport`](crate::DatagramTransport) needs of a transport.
pub(crate) trait DatagramSide: Send {
    /// What is being handled, but for its bytes.
    fn take_current(&mut self) -> Option<Arrival>;

    /// Queues a datagram; to the connected peer, if none is named.
    fn send(
        &mut self,
        data: &[u8],
        to: Option<&Addr>,
        source: Option<IpAddr>,
    ) -> Result<(), SendError>;

    /// The socket, for its options.
    fn socket(&self) -> io::Result<Arc<DatagramSocket>>;

    /// A handler failed on a datagram.
    fn count_error(&self);
}

impl dyn Transport + '_ {
    /// Waits until the queue is at or below the low watermark.
    ///
    /// # Errors
    ///
    /// The connection ended, so that the queue will never drain.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing.
    pub async fn drain(&mut self) -> Result {
        poll_fn(|cx| self.poll_drain(cx)).await
    }

    /// What the peer sends, to be read in this handler; see [`Input`].
    pub fn input(&mut self) -> Input {
        Input::new(self.handle())
    }

    /// A fact of type `T` that a layer below published.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.extension(TypeId::of::<T>())?.downcast_ref()
    }

    /// Runs `future` beside the connection, as a task of the same runtime; it is cancelled when
    /// the connection ends. A panic in it ends the connection as a panic in a callback does.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn_boxed(Box::pin(future));
    }

    /// As [`switch`](Transport::switch), to a protocol that is built already: its state moves in.
    pub fn switch_to(&mut self, protocol: impl Protocol, residue: Residue) {
        self.switch(factory::once(protocol), residue);
    }
}

impl fmt::Debug for dyn Transport + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("info", self.info()).finish_non_exhaustive()
    }
}

/// What happens on a switch to the bytes that the old protocol left unconsumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residue {
    /// The new protocol gets them first.
    Feed,
    /// They must not exist: if there are any, the peer broke the protocol. Right for STARTTLS,
    /// where bytes sent ahead of the handshake are an injection.
    Reject,
    /// They are dropped.
    Discard,
}
