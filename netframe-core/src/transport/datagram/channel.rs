//! [`Channel`]: a datagram socket as the transport below one connection: all of it, or the part
//! that concerns one peer.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::DatagramSocket;
use crate::addr::Addr;
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
    /// What was found out last about a named Unix peer whose buffer is full.
    late: Option<Box<Late>>,
}

/// A Unix peer whose buffer is full.
enum Late {
    Waits(Full),
    /// It was full for too long, and is not waited for again.
    GivenUp(Addr),
}

/// Time that a Unix peer with a full buffer may hold up what others are to get from a protocol that
/// has the whole socket.
const PATIENCE: Duration = Duration::from_millis(100);

/// Time before the first and the last attempts to send to a Unix peer with a full buffer, each of
/// which costs two system calls.
const FIRST_RETRY: Duration = Duration::from_millis(1);
const LAST_RETRY: Duration = Duration::from_millis(256);

/// Attempts to send to a Unix peer with a full buffer. Nothing tells that it has room: the socket is
/// said to take datagrams all the time, as it takes those to others, and each failed attempt even
/// makes that an event.
struct Full {
    since: Instant,
    delay: Duration,
    retry: Pin<Box<Sleep>>,
}

impl Full {
    fn new() -> Self {
        let retry = Box::pin(sleep(FIRST_RETRY));
        Self { since: Instant::now(), delay: FIRST_RETRY, retry }
    }

    /// Waits for the next attempt.
    fn poll_retry(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.retry.as_mut().poll(cx));
        self.delay = (self.delay * 2).min(LAST_RETRY);
        self.retry.as_mut().reset(Instant::now() + self.delay);
        Poll::Ready(())
    }
}

impl Channel {
    /// The whole socket.
    pub(crate) fn whole(socket: Arc<DatagramSocket>, setup: Setup) -> Self {
        Self { socket, setup, place: None, error: None, late: None }
    }

    /// One peer of the socket.
    pub(crate) fn session(socket: Arc<DatagramSocket>, setup: Setup, place: Place) -> Self {
        Self { socket, setup, place: Some(place), error: None, late: None }
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
        &mut self,
        cx: &mut Context<'_>,
        batch: &[Outgoing],
    ) -> Poll<io::Result<usize>> {
        if !self.socket.is_udp() && !matches!(self.setup.peer, Peer::Connected) {
            self.poll_send_named(cx, batch)
        } else if let Some(place) = &self.place {
            self.socket.poll_send_shared(cx, place.number(), batch)
        } else {
            self.socket.poll_send(cx, batch)
        }
    }

    /// Sends to a Unix peer by its name. A session waits for its peer; a whole socket does so for a
    /// moment, and then drops what is for that peer, as others wait behind it.
    fn poll_send_named(
        &mut self,
        cx: &mut Context<'_>,
        batch: &[Outgoing],
    ) -> Poll<io::Result<usize>> {
        let to = batch.first().and_then(|outgoing| outgoing.to.as_ref());
        loop {
            let sent = self.socket.send_now(batch);
            let is_full = matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            match self.late.as_deref_mut() {
                Some(Late::GivenUp(peer)) if (Some(&*peer) == to) == is_full => {
                    return Poll::Ready(sent); // it is as late as before
                }
                _ if !is_full => {
                    self.late = None;
                    return Poll::Ready(sent);
                }
                Some(Late::Waits(full)) => {
                    if self.place.is_none() && full.since.elapsed() >= PATIENCE {
                        self.late = to.cloned().map(|peer| Box::new(Late::GivenUp(peer)));
                        return Poll::Ready(sent);
                    }
                    ready!(full.poll_retry(cx));
                }
                _ => self.late = Some(Box::new(Late::Waits(Full::new()))),
            }
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use bytes::Bytes;
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;
    use crate::connection::Idle;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_clock_wakes_who_waits_for_a_full_peer() {
        let name = format!("netframe-full-{}", std::process::id());
        let peer = SocketAddr::from_abstract_name(&name).unwrap();
        let _peer = UnixDatagram::bind_addr(&peer).unwrap();
        let own = UnixDatagram::unbound().unwrap();
        own.set_nonblocking(true).unwrap();
        while own.send_to_addr(b"full", &peer).is_ok() {}
        let socket = Arc::new(DatagramSocket::unix(own, None).unwrap());
        let setup = Setup {
            socket: None,
            peer: Peer::None,
            max_len: 100,
            idle: Idle::Never,
            guarded: false,
            reports: true,
            fed: false,
        };
        let mut channel = Channel::whole(socket, setup);
        let to = Some(Addr::named(format!("@{name}")));
        let batch = [Outgoing { data: Bytes::from_static(b"!"), to, source: None }];
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(channel.poll_send(&mut Context::from_waker(&waker), &batch).is_pending());
        for _ in 0..1000 {
            yield_now().await; // the runtime looks at its sockets from time to time
        }
        assert_eq!(woken.0.load(Ordering::SeqCst), 0, "it would spin");
        advance(FIRST_RETRY * 2).await;
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }
}
