//! `unixgram:///path` and `unixgram://@abstract`: datagram sockets within this machine.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use async_trait::async_trait;
#[cfg(target_os = "linux")]
use socket2::SockAddr;
use socket2::{Domain, Socket, Type};

use super::datagram::{BoundSocket, DatagramSocket, connected};
use super::unix::{bind_socket, endpoint_of, name, sock_addr};
use crate::endpoint::{Endpoint, EndpointKind};
use crate::error::Error;
use crate::listener::{Connect, Incoming};
use crate::protocol::Needs;
use crate::sessions::Bounds;

/// Bounds of the sessions on one socket: those that `udp` has unless told otherwise.
pub(crate) const BOUNDS: Bounds = Bounds { max: 10_000, idle: Duration::from_secs(60) };

/// Binds. A socket file is replaced if its socket is gone.
pub(crate) async fn bind(endpoint: &Endpoint) -> Result<BoundSocket, Error> {
    match bind_socket(endpoint, Type::DGRAM).await {
        Ok((socket, file)) => Ok(BoundSocket::unix(socket.into(), file, endpoint.clone(), BOUNDS)),
        Err(source) => Err(Error::Listen { endpoint: Box::new(endpoint.clone()), source }),
    }
}

/// Takes over a non-blocking socket that somebody else has bound, and whose file is theirs.
pub(crate) fn adopt(socket: UnixDatagram, named: &Endpoint) -> io::Result<BoundSocket> {
    let endpoint = endpoint_of(EndpointKind::UnixDatagram, &socket.local_addr()?, named);
    Ok(BoundSocket::unix(socket, None, endpoint, BOUNDS))
}

/// Opens sockets that are connected to one peer.
#[derive(Debug)]
pub(crate) struct UnixgramConnector {
    endpoint: Endpoint,
    needs: Needs,
}

impl UnixgramConnector {
    pub(crate) fn new(endpoint: Endpoint, needs: Needs) -> Self {
        Self { endpoint, needs }
    }
}

#[async_trait]
impl Connect for UnixgramConnector {
    async fn connect(&self) -> io::Result<Incoming> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        // Linux gives the socket a free abstract name, without which it could not be answered.
        #[cfg(target_os = "linux")]
        socket.bind(&SockAddr::unix("")?)?;
        socket.connect(&sock_addr(self.endpoint.address())?)?;
        let socket = DatagramSocket::unix(socket.into(), None)?;
        Ok(connected(socket, name(self.endpoint.address()), self.needs))
    }
}
