//! [`SimSocket`]: a datagram socket in a simulated network, as UDP has them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::task::coop;

use super::SimNetwork;
use super::world::{State, World, park};
use crate::addr::Addr;
use crate::connection::{Arrival, MAX_BATCH, Outgoing};
use crate::datagram::Datagram;
use crate::endpoint::{Address, Endpoint, Host};
use crate::listener::{Connect, Incoming};
use crate::protocol::Needs;
use crate::transport::datagram::{BoundSocket, DatagramSocket, connected};
use crate::transport::udp::bounds_of;

/// The first port that is given to who asks for none.
const FIRST_PORT: u16 = 49_152;

/// What one socket has received.
pub(super) struct Mailbox {
    pub(super) input: VecDeque<(SocketAddr, Bytes)>,
    /// Bytes of `input`.
    pub(super) len: usize,
    /// The only one that it takes datagrams from.
    pub(super) peer: Option<SocketAddr>,
    /// Its peer does not listen.
    pub(super) is_refused: bool,
    pub(super) reader: Option<Waker>,
}

/// A datagram under way.
pub(super) struct Flying {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) data: Bytes,
}

/// A bound socket. Sending never waits: what there is no room for is lost.
pub(crate) struct SimSocket {
    world: Arc<World>,
    local: SocketAddr,
    peer: Option<SocketAddr>,
}

impl SimSocket {
    fn bind(
        world: &Arc<World>,
        mut local: SocketAddr,
        peer: Option<SocketAddr>,
    ) -> io::Result<Self> {
        let mut state = world.lock();
        if local.port() == 0 {
            let is_free =
                |port: &u16| !state.sockets.contains_key(&SocketAddr::new(local.ip(), *port));
            let port = (FIRST_PORT..=u16::MAX).find(is_free);
            local.set_port(port.ok_or(io::ErrorKind::AddrInUse)?);
        }
        if state.sockets.contains_key(&local) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (input, reader) = (VecDeque::new(), None);
        let mailbox = Mailbox { input, len: 0, peer, is_refused: false, reader };
        state.sockets.insert(local, mailbox);
        state.note(format_args!("{local} is bound"));
        drop(state);
        Ok(Self { world: Arc::clone(world), local, peer })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let budget = ready!(coop::poll_proceed(cx));
        let _replaced;
        let mut state = self.world.lock();
        if !state.step() {
            return Poll::Pending;
        }
        let mailbox = self.mailbox(&mut state);
        if mailbox.input.is_empty() && !mailbox.is_refused {
            _replaced = park(&mut mailbox.reader, cx);
            return Poll::Pending;
        }
        budget.made_progress();
        Poll::Ready(())
    }

    /// Receives at least one datagram and at most a batch; says whether there may be more.
    pub(crate) fn receive(&self, out: &mut impl Extend<Arrival>) -> io::Result<bool> {
        let mut state = self.world.lock();
        let mailbox = self.mailbox(&mut state);
        if std::mem::take(&mut mailbox.is_refused) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if mailbox.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = mailbox.input.len().min(MAX_BATCH);
        let batch: Vec<_> = mailbox.input.drain(..count).collect();
        mailbox.len -= batch.iter().map(|(_, data)| data.len()).sum::<usize>();
        drop(state);
        out.extend(batch.into_iter().map(|(from, data)| {
            let (from, data) = (from.into(), BytesMut::from(data));
            Arrival::Datagram(Datagram { data, from, to: None, truncated: false })
        }));
        Ok(count == MAX_BATCH)
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, Outgoing { data, to, .. }: &Outgoing) -> io::Result<()> {
        let to = to.as_ref().and_then(Addr::socket).or(self.peer);
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        let mut state = self.world.lock();
        if state.step() {
            state.send_datagram(self.local, to, data);
        }
        Ok(())
    }

    fn mailbox<'a>(&self, state: &'a mut State) -> &'a mut Mailbox {
        let mailbox = state.sockets.get_mut(&self.local);
        mailbox.expect("an address is bound as long as its socket lives")
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let mut state = self.world.lock();
        let mailbox = state.sockets.remove(&self.local);
        state.note(format_args!("{} is free", self.local));
        drop(state);
        drop(mailbox); // its waker is not dropped under the lock
    }
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimSocket").field(&self.local).finish()
    }
}

impl SimNetwork {
    /// Binds a `udp://` endpoint; no address is that of this host.
    pub(crate) fn bind_datagrams(&self, endpoint: &Endpoint) -> io::Result<BoundSocket> {
        let socket = SimSocket::bind(&self.world, self.socket_addr(endpoint)?, None)?;
        let bound = endpoint.with_socket_addr(socket.local());
        Ok(BoundSocket::sim(socket, bound, bounds_of(endpoint)))
    }

    /// Connects to a `udp://` endpoint.
    pub(crate) fn datagram_connector(&self, endpoint: Endpoint, needs: Needs) -> impl Connect {
        DatagramConnector { network: self.clone(), endpoint, needs }
    }

    fn socket_addr(&self, endpoint: &Endpoint) -> io::Result<SocketAddr> {
        let mut state = self.world.lock();
        match endpoint.address() {
            Address::Inet { host: Host::Name(name), port } => {
                Ok(SocketAddr::new(state.ip_of(name), *port))
            }
            Address::Inet { host: Host::Ip(ip), port } if ip.is_unspecified() => {
                Ok(SocketAddr::new(state.ip_of(&self.host), *port))
            }
            other => other.socket_addr().ok_or_else(|| io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// Opens datagram sockets that are connected to one peer.
struct DatagramConnector {
    network: SimNetwork,
    endpoint: Endpoint,
    needs: Needs,
}

#[async_trait]
impl Connect for DatagramConnector {
    async fn connect(&self) -> io::Result<Incoming> {
        let peer = self.network.socket_addr(&self.endpoint)?;
        let local = SocketAddr::new(self.network.ip(&self.network.host), 0);
        let socket = Arc::new(SimSocket::bind(&self.network.world, local, Some(peer))?);
        Ok(connected(DatagramSocket::sim(socket), peer.into(), self.needs))
    }
}
