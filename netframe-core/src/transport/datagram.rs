//! [`DatagramSocket`]: a UDP or Unix datagram socket as connections use it: received in batches,
//! with the address that was asked, and sent from there.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod batch;
mod bound;
mod channel;
#[cfg(unix)]
mod local;
mod multicast;
#[cfg(any(test, not(any(target_os = "linux", target_os = "android"))))]
mod single;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket as StdUdpSocket};
#[cfg(unix)]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::net::UdpSocket;
#[cfg(unix)]
use tokio::net::UnixDatagram;

pub(crate) use self::bound::{BoundSocket, connected, whole};
pub(crate) use self::channel::Channel;
pub(crate) use self::multicast::Multicast;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use self::single as batch;
use crate::addr::Addr;
use crate::connection::{Arrival, Outgoing};
use crate::sessions::Number;
#[cfg(feature = "sim")]
use crate::testing::sim::SimSocket;
#[cfg(unix)]
use crate::transport::unix::{SocketFile, addr_of};

/// Bytes of the longest datagram that is received whole; more than UDP has.
pub(crate) const MAX_RECEIVE: usize = 64 * 1024;

/// Bytes of the longest UDP datagram: 65 535 less the headers of IPv4 and UDP (RFC 768), or less the
/// header of UDP alone, as the length of an IPv6 packet leaves its own header out (RFC 8200,
/// section 3).
pub(crate) const MAX_SEND_V4: usize = 65_507;
const MAX_SEND_V6: usize = 65_527;

/// A buffer is started anew once a datagram of any length might not fit, so that most are handed
/// out without a copy.
const BUFFER: usize = 2 * MAX_RECEIVE;

/// A socket that receives and sends datagrams, tied to a runtime; shared by the sessions on it.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    raw: Raw,
    local: Addr,
    /// Whether each datagram tells which of our addresses it was sent to.
    any: bool,
    senders: Mutex<Senders>,
}

/// Who waits until the socket takes datagrams again.
#[derive(Debug, Default)]
struct Senders {
    /// By their session, which may ask again before it is woken.
    waiting: HashMap<Number, Waker>,
    /// The task that looks whether it does.
    watcher: Option<Waker>,
}

#[derive(Debug)]
enum Raw {
    Udp(UdpSocket),
    /// The file is dropped before the socket: without one it is free for others to replace.
    #[cfg(unix)]
    Unix(#[expect(dead_code, reason = "held")] Option<Arc<SocketFile>>, UnixDatagram),
    #[cfg(feature = "sim")]
    Sim(Arc<SimSocket>),
}

impl DatagramSocket {
    /// Takes a bound socket, in non-blocking mode, into the current runtime.
    pub(crate) fn udp(socket: StdUdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        // A connected socket has one address of its own.
        let any = local.ip().is_unspecified() && batch::ask_for_destination(&socket, local)?;
        let raw = Raw::Udp(UdpSocket::from_std(socket)?);
        Ok(Self { raw, local: local.into(), any, senders: Mutex::default() })
    }

    /// As [`udp`](Self::udp); the socket's file, if it is ours, is removed with it.
    #[cfg(unix)]
    pub(crate) fn unix(
        socket: std::os::unix::net::UnixDatagram,
        file: Option<Arc<SocketFile>>,
    ) -> io::Result<Self> {
        let local = addr_of(&socket.local_addr()?);
        let raw = Raw::Unix(file, UnixDatagram::from_std(socket)?);
        Ok(Self { raw, local, any: false, senders: Mutex::default() })
    }

    /// A socket of a simulated network.
    #[cfg(feature = "sim")]
    pub(crate) fn sim(socket: Arc<SimSocket>) -> Self {
        let local = socket.local().into();
        Self { raw: Raw::Sim(socket), local, any: false, senders: Mutex::default() }
    }

    pub(crate) fn local(&self) -> &Addr {
        &self.local
    }

    /// This end as the sender of a datagram knows it.
    pub(crate) fn local_for(&self, asked: Option<IpAddr>) -> Addr {
        match (asked, self.local.socket()) {
            (Some(ip), Some(local)) => SocketAddr::new(ip, local.port()).into(),
            _ => self.local.clone(),
        }
    }

    /// Whether it is one of a network, where senders may be forged and refusals take their time.
    pub(crate) fn is_udp(&self) -> bool {
        match &self.raw {
            Raw::Udp(_) => true,
            #[cfg(unix)]
            Raw::Unix(..) => false,
            #[cfg(feature = "sim")]
            Raw::Sim(_) => true,
        }
    }

    /// Bytes of the longest datagram that can be sent.
    pub(crate) fn max_send(&self) -> usize {
        match self.local.socket() {
            Some(SocketAddr::V4(_)) => MAX_SEND_V4,
            Some(SocketAddr::V6(_)) => MAX_SEND_V6,
            None => MAX_RECEIVE,
        }
    }

    /// Receives what is there, at least one and at most a batch.
    ///
    /// # Errors
    ///
    /// One that is told as the outcome of a receive, though it may concern an earlier send.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        out: &mut impl Extend<Arrival>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &self.raw {
                Raw::Udp(udp) => ready!(udp.poll_recv_ready(cx))?,
                #[cfg(unix)]
                Raw::Unix(_, unix) => ready!(unix.poll_recv_ready(cx))?,
                #[cfg(feature = "sim")]
                Raw::Sim(sim) => ready!(sim.poll_recv_ready(cx)),
            }
            match self.try_receive(out) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// The next error that the network reports for this socket.
    pub(crate) async fn error(&self) -> io::Error {
        let udp = match &self.raw {
            Raw::Udp(udp) => udp,
            #[cfg(unix)]
            Raw::Unix(..) => return std::future::pending().await,
            #[cfg(feature = "sim")]
            Raw::Sim(_) => return std::future::pending().await, // receiving tells it
        };
        loop {
            if udp.ready(Interest::ERROR).await.is_err() {
                std::future::pending::<()>().await; // the runtime is shutting down
            }
            let error = udp.take_error().ok().flatten();
            // What comes from now on makes it ready again.
            let _ = udp.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            if let Some(error) = error {
                return error;
            }
        }
    }

    /// What is there, asked of the system itself, as the runtime may not have heard of the latest;
    /// says whether there may be more.
    pub(crate) fn receive_now(&self, out: &mut impl Extend<Arrival>) -> io::Result<bool> {
        match &self.raw {
            Raw::Udp(udp) => {
                let form = batch::Form { is_v6: self.is_v6(), tells_destination: self.any };
                batch::receive_udp(udp, form, out)
            }
            #[cfg(unix)]
            Raw::Unix(_, unix) => local::receive(unix, out),
            #[cfg(feature = "sim")]
            Raw::Sim(sim) => sim.receive(out),
        }
    }

    fn try_receive(&self, out: &mut impl Extend<Arrival>) -> io::Result<()> {
        let mut received = false;
        let receive = || {
            let more = self.receive_now(out)?;
            received = true;
            // All were taken: this makes the runtime wait for the next one, without a system call
            // that finds nothing.
            if more { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        };
        let outcome = match &self.raw {
            Raw::Udp(udp) => udp.try_io(Interest::READABLE, receive),
            #[cfg(unix)]
            Raw::Unix(_, unix) => unix.try_io(Interest::READABLE, receive),
            #[cfg(feature = "sim")]
            Raw::Sim(_) => {
                let mut receive = receive;
                receive()
            }
        };
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && received => Ok(()),
            outcome => outcome,
        }
    }

    /// Sends at least the first datagram of a batch, if the socket takes it now; says how many.
    fn try_send(&self, batch: &[Outgoing]) -> io::Result<usize> {
        let [first, rest @ ..] = batch else { return Ok(0) };
        match &self.raw {
            Raw::Udp(udp) => {
                let source = first.source.filter(|_| self.any);
                let alike = |other: &&Outgoing| !self.any || other.source == first.source;
                let count = 1 + rest.iter().take_while(alike).count();
                if source.is_none() && count == 1 {
                    return match &first.to {
                        None => udp.try_send(&first.data),
                        Some(to) => udp.try_send_to(&first.data, self.reachable(to)?),
                    }
                    .map(|_| 1);
                }
                let send = |source| {
                    udp.try_io(Interest::WRITABLE, || {
                        batch::send_udp(udp, self.is_v6(), &batch[..count], source, |to| {
                            self.reachable(to)
                        })
                    })
                };
                match send(source) {
                    Err(error) if source.is_some() && is_of_source(&error) => send(None),
                    sent => sent,
                }
            }
            #[cfg(unix)]
            Raw::Unix(_, unix) => {
                unix.try_io(Interest::WRITABLE, || local::send(unix, &first.data, None)).map(|_| 1)
            }
            #[cfg(feature = "sim")]
            Raw::Sim(sim) => sim.send(first).map(|()| 1),
        }
    }

    /// Sends the first datagram of a batch to a Unix socket by its name, if that takes it now; asks
    /// the system itself, as the runtime knows nothing of other sockets' buffers.
    pub(crate) fn send_now(&self, batch: &[Outgoing]) -> io::Result<usize> {
        let Some(first) = batch.first() else { return Ok(0) };
        match &self.raw {
            Raw::Udp(_) => Err(wrong_family()),
            #[cfg(feature = "sim")]
            Raw::Sim(_) => Err(wrong_family()),
            #[cfg(unix)]
            Raw::Unix(_, unix) => {
                let to = first.to.as_ref().and_then(Addr::name).ok_or_else(wrong_family)?;
                local::send(unix, &first.data, Some(to)).map(|_| 1)
            }
        }
    }

    /// As [`try_send`](Self::try_send), waiting until the socket takes it; for the only user of the
    /// socket.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        batch: &[Outgoing],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_send(batch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            ready!(self.poll_send_ready(cx))?;
        }
    }

    /// As [`poll_send`](Self::poll_send), for one of several sessions: woken by
    /// [`poll_wake_senders`](Self::poll_wake_senders).
    pub(crate) fn poll_send_shared(
        &self,
        cx: &Context<'_>,
        session: Number,
        batch: &[Outgoing],
    ) -> Poll<io::Result<usize>> {
        match self.try_send(batch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut senders = self.senders();
                senders.waiting.insert(session, cx.waker().clone());
                let watcher = senders.watcher.take();
                drop(senders);
                if let Some(watcher) = watcher {
                    watcher.wake();
                }
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }

    /// Wakes those who wait to send, once the socket takes datagrams again. `cx` is that of the one
    /// task which looks after it.
    pub(crate) fn poll_wake_senders(&self, cx: &mut Context<'_>) {
        loop {
            let mut senders = self.senders();
            if senders.waiting.is_empty() {
                match &mut senders.watcher {
                    Some(old) if old.will_wake(cx.waker()) => {}
                    watcher => *watcher = Some(cx.waker().clone()),
                }
                return;
            }
            drop(senders);
            if self.poll_send_ready(cx).is_pending() {
                return;
            }
            let waiting = std::mem::take(&mut self.senders().waiting);
            waiting.into_values().for_each(Waker::wake);
        }
    }

    fn senders(&self) -> MutexGuard<'_, Senders> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.raw {
            Raw::Udp(udp) => udp.poll_send_ready(cx),
            #[cfg(unix)]
            Raw::Unix(_, unix) => unix.poll_send_ready(cx),
            #[cfg(feature = "sim")]
            Raw::Sim(_) => Poll::Ready(Ok(())), // what has no room is lost
        }
    }

    /// An address as this socket reaches it: IPv4 through a socket of both families is mapped.
    fn reachable(&self, to: &Addr) -> io::Result<SocketAddr> {
        Ok(match to.socket().ok_or_else(wrong_family)? {
            SocketAddr::V4(v4) if self.is_v6() => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            to => to,
        })
    }

    fn is_v6(&self) -> bool {
        matches!(self.local.socket(), Some(SocketAddr::V6(_)))
    }

    /// Whether a datagram came from this socket: an echo of it would run in circles. Of an address
    /// that is good for one link only, the sender's has the interface, but what was asked has not.
    pub(crate) fn is_own(&self, from: &Addr, asked: Option<IpAddr>) -> bool {
        let own = self.local_for(asked);
        match (from.socket(), own.socket()) {
            (Some(from), Some(own)) => (from.ip(), from.port()) == (own.ip(), own.port()),
            _ => *from != Addr::UNNAMED && *from == own,
        }
    }

    /// Multicast and broadcast options of a UDP socket.
    pub(crate) fn multicast(&self) -> io::Result<Multicast<'_>> {
        match &self.raw {
            Raw::Udp(udp) => Ok(Multicast::of(udp, self.local.socket())),
            #[cfg(unix)]
            Raw::Unix(..) => Err(wrong_family()),
            #[cfg(feature = "sim")]
            Raw::Sim(_) => Err(wrong_family()),
        }
    }
}

/// Whether a send may have failed for the address that it was to leave from. What a datagram was sent
/// to is not always one: over a socket of both families the system tells that of an IPv4 broadcast.
fn is_of_source(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, InvalidInput, NetworkUnreachable};
    matches!(error.kind(), AddrNotAvailable | InvalidInput | NetworkUnreachable)
}

fn wrong_family() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the address is not of the socket's family")
}

/// Has a buffer take a datagram of any length.
fn make_room(buffer: &mut BytesMut) {
    if buffer.len() <= MAX_RECEIVE {
        buffer.clear();
        if buffer.try_reclaim(BUFFER) {
            buffer.resize(BUFFER, 0);
        } else {
            *buffer = BytesMut::zeroed(BUFFER);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[cfg(unix)]
    #[tokio::test]
    async fn a_session_that_asks_again_waits_once() {
        use std::os::unix::net::UnixDatagram;
        let (own, _peer) = UnixDatagram::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        while own.send(b"full").is_ok() {}
        let socket = DatagramSocket::unix(own, None).unwrap();
        let batch = [Outgoing { data: Bytes::from_static(b"!"), to: None, source: None }];
        let cx = Context::from_waker(Waker::noop());
        for session in [1, 2, 1, 1] {
            assert!(socket.poll_send_shared(&cx, session, &batch).is_pending());
        }
        assert_eq!(socket.senders().waiting.len(), 2);
    }

    #[tokio::test]
    async fn an_address_of_one_link_is_known_as_its_own() {
        let Ok(socket) = StdUdpSocket::bind("[::]:0") else { return }; // there may be no IPv6
        socket.set_nonblocking(true).unwrap();
        let socket = DatagramSocket::udp(socket).unwrap();
        let port = socket.local().socket().unwrap().port();
        let ip = "fe80::1".parse().unwrap();
        let from = |port| Addr::from(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, 7)));
        assert!(socket.is_own(&from(port), Some(ip.into())));
        assert!(!socket.is_own(&from(port ^ 1), Some(ip.into())));
        assert!(!socket.is_own(&from(port), Some("fe80::2".parse().unwrap())));
    }
}
