//! [`Listen`] and [`Connect`]: where connections come from. A transport of one's own plugs in here.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use tokio::task::coop;

use crate::addr::Addr;
use crate::below::Below;
use crate::endpoint::Endpoint;
use crate::info::Extensions;
use crate::io::Io;

/// A bound listener of stream connections.
#[async_trait]
pub trait Listen: Send + 'static {
    /// The next connection.
    ///
    /// # Errors
    ///
    /// Sorted by the acceptor: some concern one connection, some a lack of resources, some the
    /// listener itself.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost: one that had arrived waits for the next call.
    async fn accept(&mut self) -> io::Result<Incoming>;

    /// A connection that has arrived already, without waiting for one.
    ///
    /// A server that stops asks for these until there are none: a peer that was let in by the
    /// operating system shall be served.
    fn try_accept(&mut self) -> Option<io::Result<Incoming>> {
        let mut accept = pin!(coop::unconstrained(self.accept()));
        match accept.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(accepted) => Some(accepted),
            Poll::Pending => None,
        }
    }

    /// Whether there will never be another connection, as with standard input and output, which are
    /// one. Asked before each [`accept`](Self::accept), which is not called any more once it is true.
    ///
    /// A server ends by itself when all its listeners are exhausted and its last connection has
    /// ended.
    fn is_exhausted(&self) -> bool {
        false
    }

    /// The endpoint as bound, with the real port.
    fn endpoint(&self) -> &Endpoint;

    /// This end of its connections, as far as they have it in common.
    fn local_addr(&self) -> Addr {
        Addr::named(self.endpoint().to_string())
    }

    /// A second acceptor of the same listener for another worker, where the transport has one.
    ///
    /// # Errors
    ///
    /// The operating system refused.
    fn try_clone(&self) -> io::Result<Option<Box<dyn Listen>>> {
        Ok(None)
    }
}

/// Opens connections, one for each call.
///
/// One of one's own is given to [`ClientBuilder::connect_with`](crate::ClientBuilder::connect_with),
/// or to a [`ReconnectingClient`](crate::ReconnectingClient), which calls it again and again.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// The peer or the operating system refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up; the connect timeout does so.
    async fn connect(&self) -> io::Result<Incoming>;
}

/// A connection that has just been opened, before it has a protocol.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) below: Below,
    pub(crate) peer: Addr,
    pub(crate) local: Addr,
    pub(crate) extensions: Extensions,
}

impl Incoming {
    /// A connection over `io`, with the addresses of its two ends; [`AnyIo`](crate::AnyIo) makes an
    /// `Io` of any tokio stream.
    pub fn new(io: impl Io, peer: Addr, local: Addr) -> Self {
        Self::over(Below::Io(Box::new(io)), peer, local)
    }

    pub(crate) fn over(below: Below, peer: Addr, local: Addr) -> Self {
        Self { below, peer, local, extensions: Extensions::default() }
    }

    /// Adds a fact for [`Transport::extension`](crate::Transport::extension).
    pub fn publish<T: std::any::Any + Send + Sync>(&mut self, fact: T) {
        self.extensions.insert(fact);
    }

    /// The stream alone, for a listener or a test of one's own.
    ///
    /// # Errors
    ///
    /// The current runtime cannot take the socket.
    pub fn into_io(self) -> io::Result<Box<dyn Io>> {
        self.below.into_io()
    }

    /// The other end.
    pub fn peer(&self) -> &Addr {
        &self.peer
    }

    /// This end.
    pub fn local(&self) -> &Addr {
        &self.local
    }
}
