//! `tcp://host:port`: listening and connecting with the endpoint's options.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use async_trait::async_trait;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpSocket;

use crate::addr::Addr;
#[cfg(unix)]
use crate::below::{self, Below};
use crate::bind::bind_each;
#[cfg(unix)]
use crate::endpoint::EndpointKind;
use crate::endpoint::{Endpoint, TcpOptions};
use crate::error::Error;
use crate::happy_eyeballs::race;
use crate::listener::{Connect, Incoming, Listen};
use crate::resolve::{Resolve, resolve};

/// A bound and listening socket, not yet tied to a runtime: each worker takes its own acceptor.
pub(crate) struct Bound {
    endpoint: Endpoint,
    socket: StdListener,
}

/// Binds and listens at every address of `endpoint`.
pub(crate) async fn bind(endpoint: &Endpoint, resolver: &dyn Resolve) -> Result<Vec<Bound>, Error> {
    let options = options(endpoint);
    let bound = bind_each(endpoint, resolver, |addr| listen(addr, &options)).await?;
    Ok(bound.into_iter().map(|(socket, endpoint)| Bound { endpoint, socket }).collect())
}

/// A listening socket that was bound elsewhere, with default options for its connections.
#[cfg(unix)]
pub(crate) fn adopt(socket: StdListener) -> io::Result<Bound> {
    let endpoint = Endpoint::new(EndpointKind::Tcp, socket.local_addr()?.into());
    Ok(Bound { endpoint: endpoint.map_err(io::Error::other)?, socket })
}

fn listen(addr: SocketAddr, options: &TcpOptions) -> io::Result<(StdListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Else a restarted server could not bind while old connections are in TIME_WAIT. On Windows
    // the same option would let two servers share a port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(options.reuse_port)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    set_buffers(&socket, options)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    let socket = StdListener::from(socket);
    let addr = socket.local_addr()?;
    Ok((socket, addr))
}

impl Bound {
    /// The endpoint with the real port.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The same socket again.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { endpoint: self.endpoint.clone(), socket: self.socket.try_clone()? })
    }

    /// An acceptor that is tied to the current runtime.
    pub(crate) fn acceptor(&self) -> io::Result<TcpAcceptor> {
        Ok(TcpAcceptor {
            local: self.socket.local_addr()?,
            options: options(&self.endpoint),
            endpoint: self.endpoint.clone(),
            listener: listener(self.socket.try_clone()?)?,
        })
    }
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct TcpAcceptor {
    listener: Listener,
    local: SocketAddr,
    endpoint: Endpoint,
    options: TcpOptions,
}

/// The socket as the runtime watches it. Where there is a poller, a connection is not to be
/// registered with the runtime as it is accepted.
#[cfg(unix)]
type Listener = tokio::io::unix::AsyncFd<mio::net::TcpListener>;
#[cfg(not(unix))]
type Listener = tokio::net::TcpListener;

#[cfg(unix)]
fn listener(socket: StdListener) -> io::Result<Listener> {
    crate::poller::watch(mio::net::TcpListener::from_std(socket))
}
#[cfg(not(unix))]
fn listener(socket: StdListener) -> io::Result<Listener> {
    Listener::from_std(socket)
}

#[cfg(unix)]
impl TcpAcceptor {
    /// An error in here concerns this connection, whatever its number means for a listener.
    fn incoming(&self, (stream, peer): (mio::net::TcpStream, SocketAddr)) -> io::Result<Incoming> {
        self.prepare(stream, peer)
            .map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))
    }

    fn prepare(&self, stream: mio::net::TcpStream, peer: SocketAddr) -> io::Result<Incoming> {
        let any = self.local.ip().is_unspecified();
        let local = if any { stream.local_addr()? } else { self.local };
        set_options(&SockRef::from(&stream), peer, &self.options)?;
        Ok(Incoming::over(Below::Polled(below::Socket::Tcp(stream)), peer.into(), local.into()))
    }
}

#[async_trait]
impl Listen for TcpAcceptor {
    #[cfg(unix)]
    async fn accept(&mut self) -> io::Result<Incoming> {
        loop {
            let mut ready = self.listener.readable().await?;
            if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
                return self.incoming(accepted?);
            }
        }
    }

    /// Asks the kernel itself, as the runtime may not have heard of the latest ones.
    #[cfg(unix)]
    fn try_accept(&mut self) -> Option<io::Result<Incoming>> {
        match self.listener.get_ref().accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            accepted => Some(accepted.and_then(|accepted| self.incoming(accepted))),
        }
    }

    #[cfg(not(unix))]
    async fn accept(&mut self) -> io::Result<Incoming> {
        let (stream, peer) = self.listener.accept().await?;
        let local = stream.local_addr()?;
        set_options(&SockRef::from(&stream), peer, &self.options)?;
        Ok(Incoming::new(stream, peer.into(), local.into()))
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn local_addr(&self) -> Addr {
        self.local.into()
    }
}

/// Opens TCP connections. Of a name with several addresses, attempts are staggered and the first
/// that succeeds is taken (Happy Eyeballs, RFC 8305).
pub struct TcpConnector {
    endpoint: Endpoint,
    resolver: Arc<dyn Resolve>,
}

impl TcpConnector {
    pub(crate) fn new(endpoint: Endpoint, resolver: Arc<dyn Resolve>) -> Self {
        Self { endpoint, resolver }
    }
}

#[async_trait]
impl Connect for TcpConnector {
    async fn connect(&self) -> io::Result<Incoming> {
        let addrs = resolve(&self.endpoint, &*self.resolver).await?;
        let options = options(&self.endpoint);
        race(addrs, |addr| connect(addr, options)).await
    }
}

impl fmt::Debug for TcpConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpConnector").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

async fn connect(addr: SocketAddr, options: TcpOptions) -> io::Result<Incoming> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    set_buffers(&SockRef::from(&socket), &options)?;
    let stream = socket.connect(addr).await?;
    let local = stream.local_addr()?;
    set_options(&SockRef::from(&stream), addr, &options)?;
    Ok(Incoming::new(stream, addr.into(), local.into()))
}

/// Sets what the endpoint asks of each connection.
fn set_options(socket: &Socket, peer: SocketAddr, options: &TcpOptions) -> io::Result<()> {
    if options.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(idle) = options.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    if let Some(ttl) = options.ttl {
        // An IPv4 peer of a dual-stack socket is reached by IPv4 packets.
        if peer.ip().to_canonical().is_ipv4() {
            socket.set_ttl_v4(ttl)?;
        } else {
            socket.set_unicast_hops_v6(ttl)?;
        }
    }
    #[cfg(target_os = "linux")]
    if let Some(timeout) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    Ok(())
}

/// Buffer sizes are set before the handshake, as they decide the window scale.
fn set_buffers(socket: &Socket, options: &TcpOptions) -> io::Result<()> {
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = options.recv_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    Ok(())
}

fn options(endpoint: &Endpoint) -> TcpOptions {
    endpoint.tcp().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as StdStream;

    use super::*;

    #[test]
    fn ttl_is_set_for_the_family_of_the_packets() {
        let options = TcpOptions { ttl: Some(9), ..TcpOptions::default() };
        for host in ["127.0.0.1", "[::]"] {
            let Ok((socket, addr)) = listen(format!("{host}:0").parse().unwrap(), &options) else {
                assert_eq!(host, "[::]", "there may be no IPv6");
                continue;
            };
            let _peer = StdStream::connect(("127.0.0.1", addr.port())).unwrap();
            let (stream, peer) = socket.accept().unwrap();
            set_options(&SockRef::from(&stream), peer, &options).unwrap();
            assert_eq!(SockRef::from(&stream).ttl_v4().unwrap(), 9, "{peer}");
        }
    }
}
