//! The datagram transports under test behind one type: a [`GramWorld`] is a server on one of them, a
//! [`GramPeer`] a bare socket of a peer.

use std::time::Duration;

use netframe_core::endpoint::Address;
use netframe_core::{Addr, DrainReport, Endpoint, Factory, Limits, Server};
use socket2::SockRef;
use tokio::net::{UdpSocket, UnixDatagram};

use crate::world::socket_path;

/// A datagram transport under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gram {
    Udp,
    Unix,
}

impl Gram {
    /// Bytes of the longest datagram.
    pub(crate) fn max_len(self) -> usize {
        match self {
            Self::Udp => 65_507,
            Self::Unix => 65_536,
        }
    }

    /// Datagrams that wait in a socket's buffer, at least.
    pub(crate) fn backlog(self) -> usize {
        match self {
            Self::Udp => 50,
            Self::Unix => 5,
        }
    }

    /// A place where nobody listens.
    pub(crate) fn nobody(self) -> Endpoint {
        let text = match self {
            Self::Udp => {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                format!("udp://{}", socket.local_addr().unwrap())
            }
            Self::Unix => format!("unixgram://{}", socket_path()),
        };
        text.parse().unwrap()
    }

    /// Whether nobody can be connected to.
    pub(crate) fn connects_to_nobody(self) -> bool {
        self == Self::Udp
    }
}

/// A server on a datagram transport.
pub(crate) struct GramWorld {
    pub(crate) server: Server,
}

impl GramWorld {
    pub(crate) async fn start(gram: Gram, factory: impl Factory) -> Self {
        Self::with_limits(gram, Limits::default(), factory).await
    }

    pub(crate) async fn with_limits(gram: Gram, limits: Limits, factory: impl Factory) -> Self {
        let endpoint: Endpoint = match gram {
            Gram::Udp => "udp://127.0.0.1:0".parse().unwrap(),
            Gram::Unix => gram.nobody(),
        };
        let server = Server::builder(factory).limits(limits).listen(endpoint).unwrap();
        Self { server: server.bind().await.unwrap() }
    }

    pub(crate) async fn at(endpoint: Endpoint, factory: impl Factory) -> Self {
        Self { server: Server::bind(endpoint, factory).await.unwrap() }
    }

    pub(crate) async fn peer(&self) -> GramPeer {
        match self.server.endpoint().address() {
            Address::Path(path) => {
                let socket = UnixDatagram::bind(socket_path()).unwrap();
                socket.connect(path).unwrap();
                GramPeer::Unix(socket)
            }
            address => {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                socket.connect(address.socket_addr().unwrap()).await.unwrap();
                GramPeer::Udp(socket)
            }
        }
    }

    /// Ends the server; every session is expected to end by itself.
    pub(crate) async fn stop(self) -> DrainReport {
        let report = self.server.shutdown(Duration::from_secs(30)).await;
        assert_eq!(report.aborted, 0, "{report}");
        assert!(report.leaks.is_empty(), "{report}");
        report
    }
}

/// A peer of a datagram server.
pub(crate) enum GramPeer {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl GramPeer {
    pub(crate) fn addr(&self) -> Addr {
        match self {
            Self::Udp(udp) => udp.local_addr().unwrap().into(),
            Self::Unix(unix) => {
                Addr::named(unix.local_addr().unwrap().as_pathname().unwrap().to_str().unwrap())
            }
        }
    }

    pub(crate) async fn send(&self, bytes: &[u8]) {
        let sent = match self {
            Self::Udp(udp) => udp.send(bytes).await,
            Self::Unix(unix) => unix.send(bytes).await,
        };
        assert_eq!(sent.unwrap(), bytes.len());
    }

    pub(crate) async fn receive(&self) -> Vec<u8> {
        let mut bytes = vec![0; 70_000];
        let len = match self {
            Self::Udp(udp) => udp.recv(&mut bytes).await,
            Self::Unix(unix) => unix.recv(&mut bytes).await,
        };
        bytes.truncate(len.unwrap());
        bytes
    }

    /// Sends and expects the same back.
    pub(crate) async fn ping(&self, bytes: &[u8]) {
        self.send(bytes).await;
        assert_eq!(self.receive().await, bytes);
    }

    /// Sends twice, so that its address counts as its own.
    pub(crate) async fn prove(&self) {
        self.send(b"1").await;
        self.send(b"2").await;
    }

    /// Sends in one go: no task runs meanwhile.
    pub(crate) fn send_unseen(&self, bytes: &[u8]) {
        let sent = match self {
            Self::Udp(udp) => SockRef::from(udp).send(bytes),
            Self::Unix(unix) => SockRef::from(unix).send(bytes),
        };
        assert_eq!(sent.unwrap(), bytes.len());
    }
}

impl Drop for GramPeer {
    fn drop(&mut self) {
        if let Self::Unix(unix) = self {
            let addr = unix.local_addr().unwrap();
            // An error means that the test has removed it.
            let _ = std::fs::remove_file(addr.as_pathname().unwrap());
        }
    }
}
