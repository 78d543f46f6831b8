//! `udp://host:port`: binding and connecting with the endpoint's options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use async_trait::async_trait;
use socket2::{Domain, Protocol, Socket, Type};

use super::datagram::{BoundSocket, DatagramSocket, Multicast, connected};
use crate::addr_errors::AddrErrors;
use crate::bind::bind_each;
#[cfg(unix)]
use crate::endpoint::EndpointKind;
use crate::endpoint::{Endpoint, UdpOptions};
use crate::error::Error;
use crate::listener::{Connect, Incoming};
use crate::protocol::Needs;
use crate::resolve::{Resolve, resolve};
use crate::sessions::Bounds;

/// Binds at every address of `endpoint`, and joins its group.
pub(crate) async fn bind(
    endpoint: &Endpoint,
    resolver: &dyn Resolve,
) -> Result<Vec<BoundSocket>, Error> {
    let options = options(endpoint);
    let bound = bind_each(endpoint, resolver, |addr| bind_addr(addr, &options)).await?;
    let bounds = bounds(&options);
    let socket = |(socket, endpoint)| BoundSocket::udp(socket, endpoint, bounds);
    Ok(bound.into_iter().map(socket).collect())
}

fn bind_addr(addr: SocketAddr, options: &UdpOptions) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = open(addr, options)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    if options.multicast.is_some() {
        socket.set_reuse_address(true)?; // the members of a group share its port
    }
    socket.bind(&addr.into())?;
    if let Some(group) = options.multicast {
        Multicast::of(&socket, Some(addr)).join(group, options.interface)?;
    }
    let socket = UdpSocket::from(socket);
    let addr = socket.local_addr()?;
    Ok((socket, addr))
}

fn open(addr: SocketAddr, options: &UdpOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if let Some(size) = options.recv_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(interface) = options.interface {
        Multicast::of(&socket, Some(addr)).set_interface(interface)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Takes over a non-blocking socket that somebody else has bound.
#[cfg(unix)]
pub(crate) fn adopt(socket: UdpSocket) -> io::Result<BoundSocket> {
    let address = socket.local_addr()?.into();
    let endpoint = Endpoint::new(EndpointKind::Udp, address).map_err(io::Error::other)?;
    let bounds = bounds(&options(&endpoint));
    Ok(BoundSocket::udp(socket, endpoint, bounds))
}

/// The bounds that an endpoint gives.
#[cfg(feature = "sim")]
pub(crate) fn bounds_of(endpoint: &Endpoint) -> Bounds {
    bounds(&options(endpoint))
}

fn bounds(options: &UdpOptions) -> Bounds {
    Bounds { max: options.max_sessions, idle: options.session_idle }
}

/// Opens UDP sockets that are connected to one peer.
pub(crate) struct UdpConnector {
    endpoint: Endpoint,
    needs: Needs,
    resolver: Arc<dyn Resolve>,
}

impl UdpConnector {
    pub(crate) fn new(endpoint: Endpoint, needs: Needs, resolver: Arc<dyn Resolve>) -> Self {
        Self { endpoint, needs, resolver }
    }
}

#[async_trait]
impl Connect for UdpConnector {
    /// Takes the first address that can be sent to at all: nothing tells which of them answer.
    async fn connect(&self) -> io::Result<Incoming> {
        let options = options(&self.endpoint);
        let addrs = resolve(&self.endpoint, &*self.resolver).await?;
        let mut refused = Vec::new();
        for &addr in &addrs {
            match connect(addr, &options) {
                Ok(socket) => return Ok(connected(socket, addr.into(), self.needs)),
                Err(error) => refused.push((addr, error)),
            }
        }
        Err(AddrErrors::into_io(refused, addrs.len()))
    }
}

/// Sends nothing yet: the socket takes datagrams from this peer only, and hears of refusals.
fn connect(addr: SocketAddr, options: &UdpOptions) -> io::Result<DatagramSocket> {
    let socket = open(addr, options)?;
    let any: IpAddr =
        if addr.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    socket.bind(&SocketAddr::new(any, 0).into())?;
    socket.connect(&addr.into())?;
    DatagramSocket::udp(socket.into())
}

fn options(endpoint: &Endpoint) -> UdpOptions {
    endpoint.udp().copied().unwrap_or_default()
}
