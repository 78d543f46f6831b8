//! [`BoundSocket`]: a datagram socket that is bound, but not yet tied to a runtime.

use std::io;
use std::net::UdpSocket;
#[cfg(unix)]
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use super::{Channel, DatagramSocket};
use crate::addr::Addr;
use crate::below::Below;
use crate::connection::{Idle, Peer, Setup};
use crate::endpoint::Endpoint;
use crate::listener::Incoming;
use crate::protocol::Needs;
use crate::sessions::Bounds;
#[cfg(feature = "sim")]
use crate::testing::sim::SimSocket;
#[cfg(unix)]
use crate::transport::unix::SocketFile;

/// A socket, where it is, and the bounds of the sessions on it.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    raw: Raw,
    pub(crate) endpoint: Endpoint,
    pub(crate) bounds: Bounds,
}

#[derive(Debug)]
enum Raw {
    Udp(UdpSocket),
    #[cfg(unix)]
    Unix(Option<Arc<SocketFile>>, UnixDatagram),
    #[cfg(feature = "sim")]
    Sim(Arc<SimSocket>),
}

impl BoundSocket {
    /// A socket in non-blocking mode.
    pub(crate) fn udp(socket: UdpSocket, endpoint: Endpoint, bounds: Bounds) -> Self {
        Self::new(Raw::Udp(socket), endpoint, bounds)
    }

    /// A socket in non-blocking mode, and its file if that is ours.
    #[cfg(unix)]
    pub(crate) fn unix(
        socket: UnixDatagram,
        file: Option<SocketFile>,
        endpoint: Endpoint,
        bounds: Bounds,
    ) -> Self {
        Self::new(Raw::Unix(file.map(Arc::new), socket), endpoint, bounds)
    }

    /// A simulated one.
    #[cfg(feature = "sim")]
    pub(crate) fn sim(socket: SimSocket, endpoint: Endpoint, bounds: Bounds) -> Self {
        Self::new(Raw::Sim(Arc::new(socket)), endpoint, bounds)
    }

    fn new(raw: Raw, endpoint: Endpoint, bounds: Bounds) -> Self {
        Self { raw, endpoint, bounds }
    }

    /// The same socket again.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let raw = match &self.raw {
            Raw::Udp(socket) => Raw::Udp(socket.try_clone()?),
            #[cfg(unix)]
            Raw::Unix(file, socket) => Raw::Unix(file.clone(), socket.try_clone()?),
            #[cfg(feature = "sim")]
            Raw::Sim(socket) => Raw::Sim(Arc::clone(socket)),
        };
        Ok(Self { raw, endpoint: self.endpoint.clone(), bounds: self.bounds })
    }

    /// Ties it to the current runtime.
    pub(crate) fn start(self) -> io::Result<Arc<DatagramSocket>> {
        match self.raw {
            Raw::Udp(socket) => DatagramSocket::udp(socket),
            #[cfg(unix)]
            Raw::Unix(file, socket) => DatagramSocket::unix(socket, file),
            #[cfg(feature = "sim")]
            Raw::Sim(socket) => Ok(DatagramSocket::sim(socket)),
        }
        .map(Arc::new)
    }
}

/// All datagrams of a server's socket for one protocol.
pub(crate) fn whole(socket: &Arc<DatagramSocket>) -> Incoming {
    let local = socket.local().clone();
    incoming(socket, Peer::None, Idle::Never, true, Addr::UNNAMED, local)
}

/// A connected socket.
pub(crate) fn connected(socket: DatagramSocket, peer: Addr, needs: Needs) -> Incoming {
    let (socket, reports) = (Arc::new(socket), needs == Needs::Datagram);
    let local = socket.local().clone();
    incoming(&socket, Peer::Connected, Idle::Service, reports, peer, local)
}

fn incoming(
    socket: &Arc<DatagramSocket>,
    to: Peer,
    idle: Idle,
    reports: bool,
    peer: Addr,
    local: Addr,
) -> Incoming {
    let max_len = socket.max_send() as u32;
    let of = Some(Arc::clone(socket));
    let setup = Setup { socket: of, peer: to, max_len, idle, guarded: false, reports, fed: false };
    let channel = Channel::whole(Arc::clone(socket), setup);
    Incoming::over(Below::Datagrams(Box::new(channel)), peer, local)
}
