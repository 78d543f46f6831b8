//! [`Channel`]: a datagram socket as the transport below one connection: all of it, or the part
//! that concerns one peer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::DatagramSocket;
use crate::connection::{Arrival, Outgoing, Peer, Setup};
use crate::io::BoxFuture;
use crate::sessions::Place;

/// What a connection over datagrams has below it.
pub(crate) struct Channel {
    socket: Arc<DatagramSocket>,
    setup: Setup,
    /// Of a session, its place among the others.
    place: Option<Place>,
    /// Waits for an error that the network reports: no readiness to receive tells of it.
    error: Option<BoxFuture<'static, io::Error>>,
}

impl Channel {
    /// The whole socket.
    pub(crate) fn whole(socket: Arc<DatagramSocket>, setup: Setup) -> Self {
        Self { socket, setup, place: None, error: None }
    }

    /// One peer of the socket.
    pub(crate) fn session(socket: Arc<DatagramSocket>, setup: Setup, place: Place) -> Self {
        Self { socket, setup, place: Some(place), error: None }
    }

    /// What the connection core is to know.
    pub(crate) fn setup(&self) -> Setup {
        self.setup.clone()
    }

    /// Receives what is there; for a session somebody else does.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        out: &mut impl Extend<Arrival>,
    ) -> Poll<io::Result<()>> {
        if self.place.is_some() {
            return Poll::Pending;
        }
        self.socket.poll_receive(cx, out)
    }

    /// An error that the network reports, where the protocol wants to know.
    pub(crate) fn poll_error(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.setup.reports || !matches!(self.setup.peer, Peer::Connected) {
            return Poll::Pending; // a socket that is not connected hears of none
        }
        let socket = &self.socket;
        let waiting = self.error.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            Box::pin(async move { socket.error().await })
        });
        let error = ready!(waiting.as_mut().poll(cx));
        self.error = None;
        Poll::Ready(error)
    }

    /// As [`poll_receive`](Self::poll_receive), asked of the system itself.
    pub(crate) fn receive_now(&self, out: &mut impl Extend<Arrival>) -> io::Result<bool> {
        self.socket.receive_now(out)
    }

    /// Whether it came from this socket itself: an echo of it would run in circles.
    pub(crate) fn is_own(&self, arrival: &Arrival) -> bool {
        match arrival {
            Arrival::Datagram(datagram) => self.socket.is_own(&datagram.from, datagram.to),
            Arrival::Failed { .. } => false,
        }
    }

    /// Whether it is only the beginning of a datagram, for a protocol that cannot tell.
    pub(crate) fn is_unfit(&self, arrival: &Arrival) -> bool {
        let truncated = matches!(arrival, Arrival::Datagram(datagram) if datagram.truncated);
        truncated && !self.setup.reports
    }

    /// Whether a refusal that a send tells is one of an earlier datagram.
    pub(crate) fn is_refused_later(&self) -> bool {
        self.socket.is_udp()
    }

    /// Sends at least the first datagram of a batch; says how many.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        batch: &[Outgoing],
    ) -> Poll<io::Result<usize>> {
        if self.place.is_some() {
            self.socket.poll_send_shared(cx, batch)
        } else {
            self.socket.poll_send(cx, batch)
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}
