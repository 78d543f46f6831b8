//! `mem://name`: connections inside the process, over the same core as sockets. Names belong to a
//! [`MemNetwork`]; the streams themselves also come in a [`pair`] without any name.

mod stream;

pub use stream::{DEFAULT_CAPACITY, MemStream, pair};

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};

use crate::addr::Addr;
use crate::endpoint::Endpoint;
use crate::listener::{Connect, Incoming, Listen};

/// Connections that wait to be accepted, unless said otherwise: 1024, as for a socket.
pub const BACKLOG: usize = 1024;

/// Names and who listens on them. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemNetwork(Arc<Names>);

#[derive(Default)]
struct Names {
    listeners: Mutex<BTreeMap<String, Listening>>,
    /// Numbers the connecting ends.
    connected: AtomicU64,
}

/// What connecting to a name takes.
#[derive(Clone)]
struct Listening {
    /// Streams that nobody accepted reset their connection on drop.
    backlog: mpsc::Sender<(MemStream, Addr)>,
    capacity: usize,
    addr: Addr,
}

impl MemNetwork {
    /// A network of its own, such as for one test.
    pub fn new() -> Self {
        Self::default()
    }

    /// The default network of the process.
    pub fn global() -> Self {
        static GLOBAL: LazyLock<MemNetwork> = LazyLock::new(MemNetwork::new);
        GLOBAL.clone()
    }

    /// Listens on `name`, which is taken until the last acceptor is dropped.
    ///
    /// At most `backlog` connections (at least one) wait to be accepted; who comes later waits
    /// inside [`connect`](Self::connect). `endpoint` is what the listener says it is bound to; its
    /// option `capacity` bounds the bytes under way in each direction.
    ///
    /// # Errors
    ///
    /// `AddrInUse`: somebody listens on `name`.
    pub fn listen(
        &self,
        endpoint: Endpoint,
        name: &str,
        backlog: usize,
    ) -> io::Result<MemListener> {
        let capacity = endpoint.mem().map_or(DEFAULT_CAPACITY, |options| options.capacity);
        let (backlog, arrivals) = mpsc::channel(backlog.clamp(1, Semaphore::MAX_PERMITS));
        let addr = Addr::named(format!("mem://{name}"));
        match self.names().entry(name.to_owned()) {
            Entry::Vacant(free) => {
                free.insert(Listening { backlog, capacity, addr: addr.clone() });
            }
            Entry::Occupied(_) => {
                let text = format!("{addr} has a listener already");
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
        }
        Ok(MemListener(Arc::new(Bound {
            network: self.clone(),
            name: name.to_owned(),
            endpoint,
            addr,
            arrivals: AsyncMutex::new(arrivals),
        })))
    }

    /// Connects to the listener on `name`; waits while its backlog is full.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused`: nobody listens on `name`, or no longer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up; the listener never hears of it.
    pub async fn connect(&self, name: &str) -> io::Result<MemStream> {
        let (stream, _) = self.open(name).await?;
        Ok(stream)
    }

    /// Connects to whoever listens on `name` at the time of an attempt.
    pub fn connector(&self, name: impl Into<String>) -> MemConnector {
        MemConnector { network: self.clone(), name: name.into() }
    }

    /// Connects, and tells the addresses of peer and local end.
    async fn open(&self, name: &str) -> io::Result<(MemStream, [Addr; 2])> {
        let refused = || {
            let text = format!("nobody listens on mem://{name}");
            io::Error::new(io::ErrorKind::ConnectionRefused, text)
        };
        let found = self.names().get(name).cloned();
        let Listening { backlog, capacity, addr } = found.ok_or_else(refused)?;
        let place = backlog.reserve().await.map_err(|_| refused())?;
        let number = self.0.connected.fetch_add(1, Ordering::Relaxed) + 1;
        let local = Addr::named(format!("{addr}#{number}"));
        let (ours, mut theirs) = pair(capacity);
        theirs.abort = true;
        place.send((theirs, local.clone()));
        Ok((ours, [addr, local]))
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Listening>> {
        // Each change of the map is a single call, so that it is whole after any panic.
        self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemNetwork").field(&self.names().keys()).finish()
    }
}

/// A name that is listened on, from [`MemNetwork::listen`]; as an acceptor, one of several.
///
/// With the last acceptor the name becomes free, and connections not yet accepted are reset.
pub struct MemListener(Arc<Bound>);

/// What the acceptors of a name share.
struct Bound {
    network: MemNetwork,
    name: String,
    endpoint: Endpoint,
    addr: Addr,
    /// Held by the acceptor that waits for the next connection.
    arrivals: AsyncMutex<mpsc::Receiver<(MemStream, Addr)>>,
}

#[async_trait]
impl Listen for MemListener {
    async fn accept(&mut self) -> io::Result<Incoming> {
        let arrived = self.0.arrivals.lock().await.recv().await;
        let (mut stream, peer) = arrived.expect("the network keeps a sender until we are dropped");
        stream.abort = false;
        Ok(Incoming::new(stream, peer, self.0.addr.clone()))
    }

    fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    fn try_clone(&self) -> io::Result<Option<Box<dyn Listen>>> {
        Ok(Some(Box::new(Self(Arc::clone(&self.0)))))
    }
}

impl fmt::Debug for MemListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemListener").field(&self.0.addr).finish()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let listening = self.network.names().remove(&self.name);
        drop(listening); // outside the lock; the receiver, dropped next, resets what is left
    }
}

/// Connects to a name, from [`MemNetwork::connector`].
#[derive(Clone, Debug)]
pub struct MemConnector {
    network: MemNetwork,
    name: String,
}

#[async_trait]
impl Connect for MemConnector {
    async fn connect(&self) -> io::Result<Incoming> {
        let (stream, [peer, local]) = self.network.open(&self.name).await?;
        Ok(Incoming::new(stream, peer, local))
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::ErrorKind::{AddrInUse, ConnectionRefused, ConnectionReset};
    use std::pin::pin;
    use std::task::Poll;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn both_ends_know_their_names_and_talk() {
        let network = MemNetwork::new();
        let mut listener = listen(&network, 8);
        assert_eq!(listener.endpoint().to_string(), "mem://x");
        for number in 1..3 {
            let ours = network.connector("x").connect().await.unwrap();
            let theirs = listener.accept().await.unwrap();
            assert_eq!((&ours.peer, &ours.local), (&theirs.local, &theirs.peer));
            assert_eq!(theirs.local.to_string(), "mem://x");
            assert_eq!(theirs.peer.to_string(), format!("mem://x#{number}"));
            let (mut ours, mut theirs) = (ours.into_io().unwrap(), theirs.into_io().unwrap());
            ours.write_all(b"question").await.unwrap();
            theirs.write_all(b"answer").await.unwrap();
            let mut text = [0; 8];
            theirs.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"question");
            drop(theirs);
            let mut text = String::new();
            ours.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "answer");
        }
    }

    #[tokio::test]
    async fn a_name_is_taken_until_the_last_acceptor_is_dropped() {
        let network = MemNetwork::new();
        assert_eq!(network.connect("x").await.unwrap_err().kind(), ConnectionRefused);
        let listener = listen(&network, 8);
        let second = listener.try_clone().unwrap().unwrap();
        drop(listener);
        let taken = network.clone().listen(endpoint("x"), "x", 8).unwrap_err();
        assert_eq!(taken.kind(), AddrInUse);
        assert_eq!(taken.to_string(), "mem://x has a listener already");
        listen(&MemNetwork::new(), 8); // another network has its own names
        drop(second);
        assert_eq!(network.connect("x").await.unwrap_err().kind(), ConnectionRefused);
        listen(&network, 8);
    }

    #[tokio::test]
    async fn the_endpoint_sets_the_capacity() {
        let network = MemNetwork::new();
        let endpoint = "mem://x?capacity=3".parse().unwrap();
        let mut listener = network.listen(endpoint, "x", 8).unwrap();
        let mut ours = network.connect("x").await.unwrap();
        let mut theirs = listener.accept().await.unwrap().into_io().unwrap();
        assert_eq!(ours.write(b"12345").await.unwrap(), 3);
        assert_eq!(theirs.write(b"12345").await.unwrap(), 3);
    }

    #[test]
    fn the_default_network_is_one() {
        let name = "the-default-network-is-one";
        let _listener = MemNetwork::global().listen(endpoint(name), name, 8).unwrap();
        assert!(MemNetwork::global().listen(endpoint(name), name, 8).is_err());
    }

    #[tokio::test]
    async fn what_nobody_accepted_is_reset_with_the_listener() {
        let network = MemNetwork::new();
        let listener = listen(&network, 1);
        let mut accepted_never = network.connect("x").await.unwrap();
        let (refused, ()) = tokio::join!(biased; network.connect("x"), async { drop(listener) });
        assert_eq!(refused.unwrap_err().kind(), ConnectionRefused);
        assert_eq!(accepted_never.read_u8().await.unwrap_err().kind(), ConnectionReset);
    }

    #[tokio::test]
    async fn connect_waits_while_the_backlog_is_full() {
        for backlog in [0, 1, 2] {
            let network = MemNetwork::new();
            let mut listener = listen(&network, backlog);
            for _ in 0..backlog.max(1) {
                network.connect("x").await.unwrap();
            }
            {
                let mut given_up = pin!(network.connect("x"));
                assert!(poll_once(given_up.as_mut()).await.is_none());
            }
            let mut waiting = pin!(network.connect("x"));
            assert!(poll_once(waiting.as_mut()).await.is_none());
            listener.accept().await.unwrap();
            waiting.await.unwrap();
            for _ in 0..backlog.max(1) {
                listener.accept().await.unwrap();
            }
            let none = poll_once(listener.accept()).await;
            assert!(none.is_none(), "who gave up never arrives");
        }
    }

    #[tokio::test]
    async fn a_cancelled_accept_leaves_the_connection_to_the_next() {
        let network = MemNetwork::new();
        let mut first = listen(&network, 8);
        let mut second = first.try_clone().unwrap().unwrap();
        let mut waiting = second.accept();
        {
            let mut cancelled = first.accept();
            assert!(poll_once(cancelled.as_mut()).await.is_none());
            assert!(poll_once(waiting.as_mut()).await.is_none());
            network.connect("x").await.unwrap();
        }
        assert_eq!(waiting.await.unwrap().peer.to_string(), "mem://x#1");
    }

    #[tokio::test]
    async fn acceptors_share_what_arrives() {
        let network = MemNetwork::new();
        let first = listen(&network, 8);
        let second = first.try_clone().unwrap().unwrap();
        let mut acceptors: [Box<dyn Listen>; 2] = [Box::new(first), second];
        let [one, two] = &mut acceptors;
        let connect = async {
            network.connect("x").await.unwrap();
            network.connect("x").await.unwrap();
        };
        let (one, two, ()) = tokio::join!(biased; one.accept(), two.accept(), connect);
        assert_ne!(one.unwrap().peer, two.unwrap().peer);
    }

    fn endpoint(name: &str) -> Endpoint {
        format!("mem://{name}").parse().unwrap()
    }

    fn listen(network: &MemNetwork, backlog: usize) -> MemListener {
        network.listen(endpoint("x"), "x", backlog).unwrap()
    }

    /// Polls once; what is not pinned by the caller is dropped if it was not ready.
    async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        match std::future::poll_fn(|cx| Poll::Ready(pin!(&mut future).poll(cx))).await {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}
