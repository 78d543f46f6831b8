//! `unix:///path` and `unix://@abstract`: stream sockets within this machine, with the credentials of
//! the peer. [`PeerCredentials`] is their extension.

mod file;

use std::io;
#[cfg(target_os = "android")]
use std::os::android::net::SocketAddrExt as _;
use std::os::fd::AsFd;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mio::net::UnixListener;
#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::sys::socket::{getsockopt, sockopt};
use socket2::{SockAddr, Type};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use tokio::time::sleep;

pub(crate) use self::file::{SocketFile, bind_socket};
use crate::addr::Addr;
use crate::below::{Below, Socket};
use crate::endpoint::{Address, Endpoint, EndpointKind};
use crate::error::Error;
use crate::listener::{Connect, Incoming, Listen};

/// Connections that wait to be accepted; the kernel lowers it to its own maximum.
const BACKLOG: i32 = 1024;

/// Time between attempts to connect while the backlog is full; the connect timeout bounds them.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Who is at the other end of a Unix socket, as the kernel knows it: from when the peer connected
/// or listened, and not to be forged.
///
/// ```
/// use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
/// use netframe_core::transport::unix::PeerCredentials;
///
/// struct RootOnly;
///
/// impl Protocol for RootOnly {
///     async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
///         match t.get::<PeerCredentials>() {
///             Some(peer) if peer.uid == 0 => Ok(()),
///             _ => Err("only root may do this".into()),
///         }
///     }
///
///     async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
///         data.clear();
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// Process, where the system tells.
    pub pid: Option<u32>,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

impl PeerCredentials {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn of(socket: &impl AsFd) -> io::Result<Self> {
        let peer = getsockopt(socket, sockopt::PeerCredentials)?;
        let pid = u32::try_from(peer.pid()).ok().filter(|&pid| pid != 0);
        Ok(Self { pid, uid: peer.uid(), gid: peer.gid() })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn of(socket: &impl AsFd) -> io::Result<Self> {
        let (uid, gid) = nix::unistd::getpeereid(socket)?;
        Ok(Self { pid: None, uid: uid.as_raw(), gid: gid.as_raw() })
    }
}

/// A bound and listening socket, not yet tied to a runtime: each worker takes its own acceptor.
pub(crate) struct Bound {
    endpoint: Endpoint,
    /// Removed with the last acceptor; an inherited one is not ours to remove. It is dropped before
    /// the socket, as a file without one is free for others to replace.
    file: Option<Arc<SocketFile>>,
    socket: StdListener,
}

/// Binds and listens. A socket file is replaced if nobody listens on it any more.
pub(crate) async fn bind(endpoint: &Endpoint) -> Result<Bound, Error> {
    let listen = async {
        let (socket, file) = bind_socket(endpoint, Type::STREAM).await?;
        socket.listen(BACKLOG)?;
        Ok(Bound { endpoint: endpoint.clone(), socket: socket.into(), file: file.map(Arc::new) })
    };
    listen.await.map_err(|source| Error::Listen { endpoint: Box::new(endpoint.clone()), source })
}

/// Takes over a non-blocking socket that somebody else has bound, and whose file is theirs.
/// `named` is used where the name of the socket cannot be written as an endpoint.
pub(crate) fn adopt(socket: StdListener, named: &Endpoint) -> io::Result<Bound> {
    let endpoint = endpoint_of(EndpointKind::Unix, &socket.local_addr()?, named);
    Ok(Bound { endpoint, socket, file: None })
}

/// The endpoint of a bound socket; `named` if it has no name that an endpoint can have.
pub(crate) fn endpoint_of(
    kind: EndpointKind,
    addr: &std::os::unix::net::SocketAddr,
    named: &Endpoint,
) -> Endpoint {
    let address = match (addr.as_pathname(), addr_of(addr).name()) {
        (Some(path), _) => Some(Address::Path(path.to_owned())),
        (None, Some(name)) => name.strip_prefix('@').map(|name| Address::Abstract(name.to_owned())),
        (None, None) => None,
    };
    let endpoint = address.and_then(|address| Endpoint::new(kind, address).ok());
    endpoint.unwrap_or_else(|| named.clone())
}

impl Bound {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The same socket again.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let (endpoint, file) = (self.endpoint.clone(), self.file.clone());
        Ok(Self { endpoint, file, socket: self.socket.try_clone()? })
    }

    /// An acceptor that is tied to the current runtime.
    pub(crate) fn acceptor(&self) -> io::Result<UnixAcceptor> {
        let listener = UnixListener::from_std(self.socket.try_clone()?);
        Ok(UnixAcceptor {
            listener: crate::poller::watch(listener)?,
            local: name(self.endpoint.address()),
            endpoint: self.endpoint.clone(),
            _file: self.file.clone(),
        })
    }
}

/// A listening Unix socket.
#[derive(Debug)]
pub(crate) struct UnixAcceptor {
    /// Dropped before the listener: see [`Bound`].
    _file: Option<Arc<SocketFile>>,
    listener: AsyncFd<UnixListener>,
    local: Addr,
    endpoint: Endpoint,
}

impl UnixAcceptor {
    fn incoming(&self, stream: mio::net::UnixStream) -> io::Result<Incoming> {
        let credentials = PeerCredentials::of(&stream)
            .map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))?;
        let peer = stream.peer_addr().map_or(Addr::UNNAMED, |addr| addr_of(&addr));
        let below = Below::Polled(Socket::Unix(stream));
        let mut incoming = Incoming::over(below, peer, self.local.clone());
        incoming.publish(credentials);
        Ok(incoming)
    }
}

#[async_trait]
impl Listen for UnixAcceptor {
    async fn accept(&mut self) -> io::Result<Incoming> {
        loop {
            let mut ready = self.listener.readable().await?;
            if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
                return self.incoming(accepted?.0);
            }
        }
    }

    /// Asks the kernel itself, as the runtime may not have heard of the latest ones.
    fn try_accept(&mut self) -> Option<io::Result<Incoming>> {
        match self.listener.get_ref().accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            accepted => Some(accepted.and_then(|(stream, _)| self.incoming(stream))),
        }
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn local_addr(&self) -> Addr {
        self.local.clone()
    }
}

/// Opens Unix connections.
#[derive(Debug)]
pub(crate) struct UnixConnector {
    endpoint: Endpoint,
}

impl UnixConnector {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint }
    }
}

#[async_trait]
impl Connect for UnixConnector {
    async fn connect(&self) -> io::Result<Incoming> {
        let addr = sock_addr(self.endpoint.address())?;
        let socket = socket2::Socket::new(socket2::Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // It is done at once, unless the backlog is full; nothing tells when there is room.
        while let Err(error) = socket.connect(&addr) {
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error);
            }
            sleep(FULL_PAUSE).await;
        }
        let stream = UnixStream::from_std(socket.into())?;
        let (credentials, peer) = (PeerCredentials::of(&stream)?, name(self.endpoint.address()));
        let mut incoming = Incoming::new(stream, peer, Addr::UNNAMED);
        incoming.publish(credentials);
        Ok(incoming)
    }
}

/// The address for the system.
pub(crate) fn sock_addr(address: &Address) -> io::Result<SockAddr> {
    match address {
        Address::Path(path) => SockAddr::unix(path),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Address::Abstract(name) => SockAddr::unix(format!("\0{name}")),
        _ => {
            let text = "abstract names are known to Linux only; use a path";
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

/// The name of an end: a path, or `@` and an abstract name.
pub(crate) fn name(address: &Address) -> Addr {
    match address {
        Address::Path(path) => Addr::named(path.to_string_lossy()),
        Address::Abstract(name) => Addr::named(format!("@{name}")),
        _ => Addr::UNNAMED,
    }
}

pub(crate) fn addr_of(addr: &std::os::unix::net::SocketAddr) -> Addr {
    if let Some(path) = addr.as_pathname() {
        return Addr::named(path.to_string_lossy());
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract_name() {
        return Addr::named(format!("@{}", String::from_utf8_lossy(name)));
    }
    Addr::UNNAMED
}
