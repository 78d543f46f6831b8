//! The transports under test behind one type: a [`World`] is a server on one of them, a [`Raw`] is
//! a client's bare stream to it.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use netframe_core::endpoint::Address;
use netframe_core::transport::mem::{MemNetwork, MemStream};
use netframe_core::{DrainReport, Endpoint, Factory, Io, Limits, Server, Stats};

/// A transport under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    Tcp,
    Unix,
    Mem,
}

impl Net {
    /// Where to listen; `name` is only that of a memory endpoint.
    pub(crate) fn endpoint(self, name: &str) -> Endpoint {
        let text = match self {
            Self::Tcp => "tcp://127.0.0.1:0".to_owned(),
            Self::Unix => format!("unix://{}", socket_path()),
            Self::Mem => format!("mem://{name}"),
        };
        text.parse().unwrap()
    }
}

impl Net {
    /// How connecting fails where a server was: with a Unix socket its file goes.
    pub(crate) fn refusal(self) -> io::ErrorKind {
        match self {
            Self::Tcp | Self::Mem => io::ErrorKind::ConnectionRefused,
            Self::Unix => io::ErrorKind::NotFound,
        }
    }
}

/// A path for a socket, which no other test uses. The file goes with its server.
pub(crate) fn socket_path() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("netframe-{}-{number}.sock", std::process::id());
    std::env::temp_dir().join(name).to_str().unwrap().to_owned()
}

/// A server on one transport, in a memory network of its own.
pub(crate) struct World {
    pub(crate) server: Server,
    dialer: Dialer,
}

impl World {
    pub(crate) async fn start(net: Net, factory: impl Factory) -> Self {
        Self::with_limits(net, Limits::default(), factory).await
    }

    pub(crate) async fn with_limits(net: Net, limits: Limits, factory: impl Factory) -> Self {
        Self::listen(net.endpoint("world"), limits, factory, false).await
    }

    /// Little room on the way, so that a peer which does not read is felt soon.
    pub(crate) async fn narrow(net: Net, limits: Limits, factory: impl Factory) -> Self {
        let endpoint = match net {
            Net::Tcp => "tcp://127.0.0.1:0?send_buffer=16KiB".parse().unwrap(),
            Net::Unix => net.endpoint("world"), // the system's buffers are what they are
            Net::Mem => "mem://world?capacity=16KiB".parse().unwrap(),
        };
        Self::listen(endpoint, limits, factory, true).await
    }

    async fn listen(at: Endpoint, limits: Limits, factory: impl Factory, narrow: bool) -> Self {
        let network = MemNetwork::new();
        let server = Server::builder(factory)
            .limits(limits)
            .network(network.clone())
            .listen(at)
            .unwrap()
            .bind()
            .await
            .unwrap();
        let dialer = Dialer { network, endpoint: server.endpoint().clone(), narrow };
        Self { server, dialer }
    }

    pub(crate) async fn connect(&self) -> Raw {
        self.dialer.connect().await.unwrap()
    }

    /// Connects from other tasks, and after the server has gone.
    pub(crate) fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.server.stats()
    }

    /// Waits until the counters are as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Stats) -> bool) {
        until(|| wanted(&self.stats())).await;
    }

    /// Ends the server; every connection is expected to end by itself, and all to be given back.
    pub(crate) async fn stop(self) -> DrainReport {
        let report = self.server.shutdown(Duration::from_secs(30)).await;
        assert_eq!(report.aborted, 0, "{report}");
        assert!(report.leaks.is_empty(), "{report}");
        report
    }
}

/// Opens bare streams to a world.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) network: MemNetwork,
    pub(crate) endpoint: Endpoint,
    narrow: bool,
}

impl Dialer {
    pub(crate) fn new(network: MemNetwork, endpoint: Endpoint) -> Self {
        Self { network, endpoint, narrow: false }
    }

    pub(crate) async fn connect(&self) -> io::Result<Raw> {
        if let Address::Path(path) = self.endpoint.address() {
            return Ok(Raw::Unix(UnixStream::connect(path).await?));
        }
        let Some(addr) = self.endpoint.address().socket_addr() else {
            let name = self.endpoint.address().to_string();
            return Ok(Raw::Mem(self.network.connect(&name).await?));
        };
        let socket = TcpSocket::new_v4()?;
        if self.narrow {
            socket.set_recv_buffer_size(16 * 1024)?;
        }
        Ok(Raw::Tcp(socket.connect(addr).await?))
    }
}

impl Dialer {
    /// Connects and sends in one go: no task runs meanwhile, so that nobody accepts it yet.
    pub(crate) async fn connect_unseen(&self, bytes: &[u8]) -> Raw {
        if let Address::Path(path) = self.endpoint.address() {
            let mut unix = std::os::unix::net::UnixStream::connect(path).unwrap();
            unix.write_all(bytes).unwrap();
            unix.set_nonblocking(true).unwrap();
            return Raw::Unix(UnixStream::from_std(unix).unwrap());
        }
        let Some(addr) = self.endpoint.address().socket_addr() else {
            let mut client = self.connect().await.unwrap();
            client.send(bytes).await;
            return client;
        };
        let mut tcp = std::net::TcpStream::connect(addr).unwrap();
        tcp.write_all(bytes).unwrap();
        tcp.set_nonblocking(true).unwrap();
        Raw::Tcp(TcpStream::from_std(tcp).unwrap())
    }
}

/// A bare stream, as a client has it.
pub(crate) enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
    Mem(MemStream),
}

impl Raw {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Ends our sending side (FIN).
    pub(crate) async fn half_close(&mut self) {
        self.shutdown().await.unwrap();
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        match self {
            Self::Tcp(tcp) => tcp.set_zero_linger().unwrap(),
            Self::Unix(_) => panic!("a Unix socket cannot"),
            Self::Mem(mut mem) => mem.set_abort(),
        }
    }

    pub(crate) async fn receive(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Everything up to the peer's FIN.
    pub(crate) async fn receive_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    /// Reads until the peer's reset, and returns what came before. Over a Unix socket a reset looks
    /// like the end of the stream, unless there was input that our side had not read.
    pub(crate) async fn receive_reset(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = self.read_to_end(&mut bytes).await;
        if matches!(self, Self::Unix(_)) && end.is_ok() {
            return bytes;
        }
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        bytes
    }

    pub(crate) fn into_io(self) -> Box<dyn Io> {
        match self {
            Self::Tcp(tcp) => Box::new(tcp),
            Self::Unix(unix) => Box::new(unix),
            Self::Mem(mem) => Box::new(mem),
        }
    }

    /// Sends and expects the same back.
    pub(crate) async fn ping(&mut self, bytes: &[u8]) {
        self.send(bytes).await;
        assert_eq!(self.receive(bytes.len()).await, bytes);
    }
}

impl AsyncRead for Raw {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Self::Mem(mem) => Pin::new(mem).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Raw {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, data),
            Self::Unix(unix) => Pin::new(unix).poll_write(cx, data),
            Self::Mem(mem) => Pin::new(mem).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Self::Mem(mem) => Pin::new(mem).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Self::Mem(mem) => Pin::new(mem).poll_shutdown(cx),
        }
    }
}

/// A door between a test and its protocol: each `open` lets one `pass` through.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn open(&self) {
        self.0.add_permits(1);
    }

    pub(crate) fn try_pass(&self) -> bool {
        self.0.try_acquire().is_ok_and(|permit| {
            permit.forget();
            true
        })
    }

    pub(crate) async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// Default limits with a change.
pub(crate) fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

/// Bytes of which no two neighbours and no two blocks look alike.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&(state >> 16).to_le_bytes()[..6]);
    }
    bytes.truncate(len);
    bytes
}

/// Lets other tasks run until `condition` holds: for what has no event of its own.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// A bound on every wait of a test, so that nothing hangs.
pub(crate) async fn within<T>(test: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), test).await.expect("the test hangs")
}

/// As `within`, on a paused clock: thirty years pass at once when nothing is left to happen.
pub(crate) async fn within_years<T>(test: impl Future<Output = T>) -> T {
    let years = Duration::from_secs(30 * 365 * 86_400);
    timeout(years, test).await.expect("the test waits for what never happens")
}
