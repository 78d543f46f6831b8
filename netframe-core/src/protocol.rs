//! [`Protocol`]: what happens on one connection. It never touches a socket: it is given bytes and a
//! [`Transport`], so that it runs on every endpoint and in a test without a network.

use std::fmt;
use std::future::{Future, ready};

use async_trait::async_trait;
use bytes::BytesMut;

use crate::close_reason::CloseReason;
use crate::transport::Transport;

/// Any error a handler returns; `?` turns every error type into it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a handler returns: `Ok(())` to go on, an error to close the connection.
pub type Result<T = (), E = BoxError> = std::result::Result<T, E>;

/// Reacts to the events of one connection.
///
/// Implementors write plain `async fn`s; only [`data_received`](Self::data_received) is required.
/// A handler may await anything: meanwhile no other callback of this connection runs, what it
/// wrote before the await leaves, and the peer feels backpressure.
///
/// # Order of calls
///
/// `connection_made` once and first; then any number of the others, never two at a time; then
/// [`connection_lost`](Self::connection_lost) exactly once and last, whatever happened, a panic
/// included. Nothing is delivered after `close`, `abort` or loss, nor while reading is paused.
///
/// # Cancellation
///
/// A handler that is waiting at an `.await` is dropped there when the peer resets the connection,
/// on `abort`, when an idle, close or write-stall timeout passes, and when the deadline of a drain
/// passes. A peer that only ends its sending side (FIN) does not cancel it.
///
/// # Errors
///
/// An `Err` from any callback closes the connection as [`Transport::close`] does (what is queued
/// still leaves) and becomes the source of the [`CloseReason`]. A panic aborts it. Both end this
/// connection only.
///
/// # Examples
///
/// ```
/// use netframe_core::{Protocol, Result, Transport};
/// use netframe_core::bytes::BytesMut;
///
/// struct Shout;
///
/// impl Protocol for Shout {
///     async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
///         t.write(data.to_ascii_uppercase().as_slice());
///         data.clear(); // consumed: what stays in `data` comes back with more behind it
///         Ok(())
///     }
/// }
/// ```
pub trait Protocol: Send + 'static {
    /// Which transports fit. Serving a stream-only protocol on a datagram endpoint is an error at
    /// start-up.
    const NEEDS: Needs = Needs::Any;

    /// The connection is open; nothing has been read yet.
    fn connection_made(&mut self, t: &mut dyn Transport) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// Bytes arrived, at most 64 KiB behind what the last call left in `data`.
    ///
    /// Consume what is complete (`split_to`, `advance`, `clear`); the rest stays in `data` and
    /// comes back with more bytes behind it. More than `max_pending` left over ends the connection.
    /// On a stream the bytes of a message may arrive in any pieces; on a datagram transport `data`
    /// is one datagram and what is left of it is dropped.
    fn data_received(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send;

    /// The peer will send nothing more (FIN); `data` holds what was never consumed.
    ///
    /// By default everything queued is delivered, then the connection closes. A protocol that goes
    /// on answering must end the connection itself.
    fn eof_received(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        let _ = data;
        t.close();
        ready(Ok(()))
    }

    /// [`Handle::notify`](crate::Handle::notify) was called since the last time, once or more.
    fn notified(&mut self, t: &mut dyn Transport) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// The time set by [`Transport::set_timeout`] passed. By default the connection closes.
    fn timed_out(&mut self, t: &mut dyn Transport) -> impl Future<Output = Result> + Send {
        t.close();
        ready(Ok(()))
    }

    /// The server drains: it accepts no more and waits, up to a deadline, for open connections. A
    /// [`ReconnectingClient`](crate::ReconnectingClient) that is shut down does so too.
    ///
    /// By default the connection closes once nothing is queued, unread or left over. Override it
    /// to finish longer business first, or to say goodbye. A protocol that takes its input in pieces
    /// without keeping them, as a forwarder or an upload does, must override it: between two pieces
    /// it has nothing left over, and what is cut off there looks complete to whoever gets it.
    fn draining(&mut self, t: &mut dyn Transport) -> impl Future<Output = Result> + Send {
        t.close_when_idle();
        ready(Ok(()))
    }

    /// The connection is over; called exactly once, last, and never waits.
    ///
    /// A panic in here is caught and logged.
    fn connection_lost(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}

/// The transports a protocol can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Ordered bytes without message borders: TCP, Unix streams, memory.
    Stream,
    /// Streams and datagrams alike.
    Any,
    /// Datagrams of one socket, whoever sends them: what a
    /// [`DatagramProtocol`](crate::DatagramProtocol) needs.
    Datagram,
}

impl Needs {
    /// Whether datagrams, or else a stream, are what is needed.
    pub(crate) fn fit(self, datagrams: bool) -> bool {
        self == Self::Any || (self == Self::Datagram) == datagrams
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "stream",
            Self::Any => "stream or datagram",
            Self::Datagram => "datagram",
        })
    }
}

/// [`Protocol`] as an object-safe trait, for a factory that picks one of several protocols at run
/// time: return `Box<dyn BoxProtocol>`, which is a [`Protocol`] itself.
///
/// Each callback costs one allocation more than [`Protocol`]'s. The contract is the same.
#[async_trait]
#[expect(missing_docs, reason = "each method is documented at Protocol")]
pub trait BoxProtocol: Send + 'static {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        let _ = t;
        Ok(())
    }
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result;
    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let _ = data;
        t.close();
        Ok(())
    }
    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        let _ = t;
        Ok(())
    }
    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        t.close();
        Ok(())
    }
    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        t.close_when_idle();
        Ok(())
    }
    fn connection_lost(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}

impl Protocol for Box<dyn BoxProtocol> {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        (**self).connection_made(t).await
    }
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        (**self).data_received(t, data).await
    }
    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        (**self).eof_received(t, data).await
    }
    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        (**self).notified(t).await
    }
    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        (**self).timed_out(t).await
    }
    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        (**self).draining(t).await
    }
    fn connection_lost(&mut self, reason: &CloseReason) {
        (**self).connection_lost(reason);
    }
}
