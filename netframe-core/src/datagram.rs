//! [`DatagramProtocol`]: for protocols that think in datagrams. One of them owns a whole socket and
//! sees who sent what; a [`Protocol`] on the same endpoint is built once for each peer instead.

use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bytes::BytesMut;
use tracing::warn;

use crate::addr::Addr;
use crate::close_reason::CloseReason;
use crate::connection::Arrival;
use crate::factory::Factory;
use crate::handle::Handle;
use crate::info::ConnectionInfo;
use crate::protocol::{Needs, Protocol, Result};
use crate::transport::{Datagrams, Transport};

/// Reacts to the datagrams of one socket, whoever sends them.
///
/// On a server's endpoint one protocol sees the datagrams of all peers, and lives as long as the
/// server; with [`Client::connect`](crate::Client::connect) its socket is connected to one peer.
/// [`datagrams`] makes a factory of it. Order of calls, cancellation and panics are those of
/// [`Protocol`]; what differs is said at the callbacks.
///
/// # Examples
///
/// ```
/// use netframe_core::{Datagram, DatagramProtocol, DatagramTransport, Result};
///
/// /// Tells everybody their own address.
/// struct WhoAmI;
///
/// impl DatagramProtocol for WhoAmI {
///     async fn datagram_received(
///         &mut self,
///         t: &mut DatagramTransport<'_>,
///         datagram: Datagram,
///     ) -> Result {
///         t.reply(&datagram, datagram.from.to_string().as_bytes())?;
///         Ok(())
///     }
/// }
/// ```
pub trait DatagramProtocol: Send + 'static {
    /// The socket is open; nothing has been received yet.
    fn connection_made(
        &mut self,
        t: &mut DatagramTransport<'_>,
    ) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// A datagram arrived. It may be empty.
    ///
    /// # Errors
    ///
    /// An error concerns this datagram only: it is logged and counted, and the socket stays open,
    /// as one bad datagram must not end the service for everybody.
    fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> impl Future<Output = Result> + Send;

    /// The network or the operating system could not deliver an earlier datagram, such as
    /// `ConnectionRefused` where a connected peer has nobody on that port (ICMP). `peer` is whom it
    /// was for, where that is known.
    ///
    /// The socket stays usable; by default nothing happens. Of many that come before they can be
    /// told, the first ones are.
    fn error_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        error: io::Error,
        peer: Option<Addr>,
    ) -> impl Future<Output = Result> + Send {
        let _ = (t, error, peer);
        ready(Ok(()))
    }

    /// [`Handle::notify`] was called since the last time, once or more.
    fn notified(&mut self, t: &mut DatagramTransport<'_>) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// The time set by [`DatagramTransport::set_timeout`] passed. By default nothing happens.
    fn timed_out(&mut self, t: &mut DatagramTransport<'_>) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// The server drains. By default the socket closes once what is queued has left.
    fn draining(&mut self, t: &mut DatagramTransport<'_>) -> impl Future<Output = Result> + Send {
        t.close_when_idle();
        ready(Ok(()))
    }

    /// The socket is closed; called exactly once, last.
    fn connection_lost(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}

/// One datagram that arrived.
#[derive(Debug)]
#[non_exhaustive]
pub struct Datagram {
    /// Its bytes; there may be none.
    pub data: BytesMut,
    /// Who sent it; [`Addr::UNNAMED`] for a Unix socket without a name, which cannot be answered.
    pub from: Addr,
    /// Our address that it was sent to, where the socket has several and the system tells.
    pub to: Option<IpAddr>,
    /// Whether it was longer than 64 KiB, and `data` is only the beginning. A UDP datagram cannot
    /// be; one over a Unix socket can.
    pub truncated: bool,
}

impl Datagram {
    /// A datagram for tests of a protocol.
    pub fn new(from: Addr, data: impl AsRef<[u8]>) -> Self {
        Self { data: BytesMut::from(data.as_ref()), from, to: None, truncated: false }
    }
}

/// Why a datagram is not sent, or a write not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing or closed.
    #[error("the connection takes no more writes")]
    Closed,
    /// More is queued than the limits allow; the datagram is dropped, as a network would.
    #[error("the queue is above the high watermark")]
    Full,
    /// No datagram can be that long.
    #[error("a datagram of {len} bytes is too long; the most is {max}")]
    TooLong {
        /// Its length, bytes.
        len: usize,
        /// The most it may have, bytes.
        max: usize,
    },
    /// The socket is not connected and no receiver was named, or it has no name to be reached by.
    #[error("there is no address to send the datagram to")]
    NoPeer,
}

/// What a [`DatagramProtocol`] sends through and closes.
///
/// Every method returns at once: datagrams are queued, and leave when the handler returns or awaits,
/// each in a send of its own and in order.
pub struct DatagramTransport<'a> {
    t: &'a mut dyn Transport,
}

impl<'a> DatagramTransport<'a> {
    /// The datagram side of a transport; `None` if it is a stream.
    pub fn new(t: &'a mut dyn Transport) -> Option<Self> {
        t.datagrams()?;
        Some(Self { t })
    }

    /// Sends a copy of `data` to `to`.
    ///
    /// # Errors
    ///
    /// It cannot be sent, or more is queued than the limits allow: above the high watermark a
    /// datagram is taken only within the hard cap. What counts is its length and a fixed overhead.
    pub fn send_to(&mut self, data: &[u8], to: &Addr) -> Result<(), SendError> {
        self.datagrams().send(data, Some(to), None)
    }

    /// Sends a copy of `data` to whoever sent `datagram`, from the address that it was sent to: a
    /// peer drops an answer that comes from elsewhere.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn reply(&mut self, datagram: &Datagram, data: &[u8]) -> Result<(), SendError> {
        self.datagrams().send(data, Some(&datagram.from), datagram.to)
    }

    /// Sends a copy of `data` to the peer that the socket is connected to, as a client's is.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to).
    pub fn send(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.datagrams().send(data, None, None)
    }

    /// Bytes queued and not yet taken by the socket, with a fixed overhead for each datagram.
    pub fn queued(&self) -> usize {
        self.t.queued()
    }

    /// Waits until the queue is at or below the low watermark.
    ///
    /// # Errors
    ///
    /// The socket was closed.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing.
    pub async fn drain(&mut self) -> Result {
        self.t.drain().await
    }

    /// Receives nothing more, sends what is queued, and closes the socket.
    pub fn close(&mut self) {
        self.t.close();
    }

    /// Closes as soon as nothing is queued or waiting to be received.
    pub fn close_when_idle(&mut self) {
        self.t.close_when_idle();
    }

    /// Closes the socket at once; what is queued is dropped.
    pub fn abort(&mut self) {
        self.t.abort();
    }

    /// Receives nothing until [`resume_reading`](Self::resume_reading): what comes waits in the
    /// kernel's buffer, and is dropped there once that is full.
    pub fn pause_reading(&mut self) {
        self.t.pause_reading();
    }

    /// Undoes [`pause_reading`](Self::pause_reading).
    pub fn resume_reading(&mut self) {
        self.t.resume_reading();
    }

    /// Calls `timed_out` after `after`, once, in place of any earlier setting; `None` unsets it.
    /// Coarse, as [`Transport::set_timeout`].
    pub fn set_timeout(&mut self, after: Option<Duration>) {
        self.t.set_timeout(after);
    }

    /// The socket's own address, and its peer's if it is connected.
    pub fn info(&self) -> &ConnectionInfo {
        self.t.info()
    }

    /// A handle for other tasks and threads. Its writes are datagrams to the connected peer.
    pub fn handle(&mut self) -> Handle {
        self.t.handle()
    }

    /// Runs `future` beside the socket; it is cancelled when that closes.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.t.spawn(future);
    }

    /// Receives what is sent to the multicast group too, on one interface, or on the one that the
    /// system chooses.
    ///
    /// # Errors
    ///
    /// The system refused: not a group, a family that the socket does not have, no such interface.
    pub fn join_multicast(&mut self, group: IpAddr, interface: Option<u32>) -> io::Result<()> {
        self.datagrams().socket()?.multicast()?.join(group, interface)
    }

    /// Undoes [`join_multicast`](Self::join_multicast).
    ///
    /// # Errors
    ///
    /// The group was not joined.
    pub fn leave_multicast(&mut self, group: IpAddr, interface: Option<u32>) -> io::Result<()> {
        self.datagrams().socket()?.multicast()?.leave(group, interface)
    }

    /// Hops that a multicast datagram may take; 1, which stays within the network, at first.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn set_multicast_ttl(&mut self, hops: u8) -> io::Result<()> {
        self.datagrams().socket()?.multicast()?.set_hops(hops)
    }

    /// Whether what is sent to a group comes back to members on this machine; true at first.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn set_multicast_loop(&mut self, on: bool) -> io::Result<()> {
        self.datagrams().socket()?.multicast()?.set_loop(on)
    }

    /// The interface, by its number, that multicast datagrams leave from.
    ///
    /// # Errors
    ///
    /// There is no such interface.
    pub fn set_multicast_interface(&mut self, interface: u32) -> io::Result<()> {
        self.datagrams().socket()?.multicast()?.set_interface(interface)
    }

    /// Whether datagrams may be sent to broadcast addresses; false at first.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn set_broadcast(&mut self, on: bool) -> io::Result<()> {
        self.datagrams().socket()?.multicast()?.set_broadcast(on)
    }

    fn datagrams(&mut self) -> &mut dyn Datagrams {
        self.t.datagrams().expect("`new` has asked for it")
    }
}

impl fmt::Debug for DatagramTransport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport").field("info", self.info()).finish_non_exhaustive()
    }
}

/// A factory of a [`DatagramProtocol`].
///
/// It fits `udp://` and `unixgram://`; a stream endpoint refuses it at start-up.
///
/// ```
/// # use netframe_core::{Datagram, DatagramProtocol, DatagramTransport, Result};
/// # struct WhoAmI;
/// # impl DatagramProtocol for WhoAmI {
/// #     async fn datagram_received(
/// #         &mut self,
/// #         t: &mut DatagramTransport<'_>,
/// #         datagram: Datagram,
/// #     ) -> Result {
/// #         t.reply(&datagram, datagram.from.to_string().as_bytes())?;
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// use netframe_core::{Server, datagrams};
///
/// let server = Server::bind("udp://127.0.0.1:0", datagrams(|_| WhoAmI)).await?;
///
/// let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
/// socket.send_to(b"?", server.endpoint().address().socket_addr().unwrap()).await?;
/// let mut answer = [0; 64];
/// let len = socket.recv(&mut answer).await?;
/// assert_eq!(answer[..len], *socket.local_addr()?.to_string().as_bytes());
/// # Ok(())
/// # }
/// ```
pub fn datagrams<F, D>(f: F) -> DatagramFactory<F>
where
    F: Fn(&ConnectionInfo) -> D + Send + Sync + 'static,
    D: DatagramProtocol,
{
    DatagramFactory(f)
}

/// What [`datagrams`] returns.
#[derive(Clone, Copy)]
pub struct DatagramFactory<F>(F);

impl<F, D> Factory for DatagramFactory<F>
where
    F: Fn(&ConnectionInfo) -> D + Send + Sync + 'static,
    D: DatagramProtocol,
{
    type Protocol = DatagramAdapter<D>;

    fn build_protocol(&self, info: &ConnectionInfo) -> Option<Self::Protocol> {
        Some(DatagramAdapter(self.0(info)))
    }
}

impl<F> fmt::Debug for DatagramFactory<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatagramFactory")
    }
}

/// A [`DatagramProtocol`] as the [`Protocol`] of its whole socket; also for a
/// [`Harness`](crate::testing::Harness).
#[derive(Debug)]
pub struct DatagramAdapter<D>(pub D);

impl<D: DatagramProtocol> Protocol for DatagramAdapter<D> {
    const NEEDS: Needs = Needs::Datagram;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.0.connection_made(&mut side(t)?).await
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let mut side = side(t)?;
        match side.datagrams().take_current() {
            Some(Arrival::Datagram(datagram)) => {
                let from = datagram.from.clone();
                let datagram = Datagram { data: std::mem::take(data), ..datagram };
                if let Err(error) = self.0.datagram_received(&mut side, datagram).await {
                    warn!(id = %side.info().id(), peer = %from, %error, "a datagram was not handled");
                    side.datagrams().count_error();
                }
                Ok(())
            }
            Some(Arrival::Failed { error, peer }) => {
                self.0.error_received(&mut side, error, peer).await
            }
            None => Ok(()),
        }
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        self.0.notified(&mut side(t)?).await
    }

    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        self.0.timed_out(&mut side(t)?).await
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        self.0.draining(&mut side(t)?).await
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.0.connection_lost(reason);
    }
}

/// The datagram side, which there is: a stream endpoint has refused the protocol before. Only a
/// switch from a stream can still bring it here.
fn side(t: &mut dyn Transport) -> Result<DatagramTransport<'_>> {
    DatagramTransport::new(t)
        .ok_or_else(|| "the protocol needs datagrams, and this is a stream".into())
}
