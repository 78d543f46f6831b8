//! [`Sessions`]: gives each peer of a datagram socket a connection of its own, so that any
//! [`Protocol`](crate::Protocol) runs over datagrams. It reads the socket for all of them.

mod table;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::error;

pub(crate) use self::table::Number;
use self::table::Table;
use crate::acceptor::{Failures, Next};
use crate::addr::Addr;
use crate::below::Below;
use crate::connection::{Arrival, Core, Idle, MAX_BATCH, Peer, Setup, ticks};
use crate::datagram::Datagram;
use crate::driver::Conn;
use crate::endpoint::Endpoint;
use crate::factory::DynFactory;
use crate::handle::Handle;
use crate::home::{EVICTION, Home};
use crate::info::Origin;
use crate::listener::Incoming;
use crate::server::PassedOn;
use crate::service::Counters;
use crate::shared::Shared;
use crate::transport::datagram::{BoundSocket, Channel, DatagramSocket};

/// Batches received after the stop, at most: what a buffer of 16 MiB holds of the smallest datagrams.
/// A flood must not put the end of the server off.
const MAX_LAST: usize = 2048;

/// The sessions on one socket.
pub(crate) struct Sessions {
    socket: Arc<DatagramSocket>,
    endpoint: Endpoint,
    factory: Arc<dyn DynFactory>,
    home: Arc<Home>,
    origin: Arc<Origin>,
    table: Arc<Table<Arc<Shared>>>,
    bounds: Bounds,
    /// No peer gets a new session any more.
    stopped: bool,
    failures: Failures,
}

/// How many sessions a socket has at most, and how long a silent one lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) max: usize,
    pub(crate) idle: Duration,
}

/// The place of a session in the table, which it leaves when it ends.
pub(crate) struct Place {
    table: Arc<Table<Arc<Shared>>>,
    peer: Addr,
    number: Number,
}

impl Place {
    /// What tells the session apart from the others on its socket.
    pub(crate) fn number(&self) -> Number {
        self.number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.remove(&self.peer, self.number);
    }
}

impl Sessions {
    /// The sessions on a bound socket, which is tied to the current runtime.
    pub(crate) fn start(
        bound: BoundSocket,
        factory: Arc<dyn DynFactory>,
        home: Arc<Home>,
    ) -> io::Result<Self> {
        let (endpoint, bounds) = (bound.endpoint.clone(), bound.bounds);
        let socket = bound.start()?;
        Ok(Self {
            origin: Arc::new(Origin::new(endpoint.kind(), socket.local().clone())),
            table: Arc::new(Table::new()),
            stopped: false,
            failures: Failures::new("receiving"),
            socket,
            endpoint,
            factory,
            home,
            bounds,
        })
    }

    /// Receives for all sessions, and starts new ones, until `stop`. Those that live then are
    /// served to their end by a task of their own; they receive no more if the socket was passed on.
    ///
    /// # Errors
    ///
    /// The socket is broken; receiving again cannot help.
    pub(crate) async fn run(
        mut self,
        stop: CancellationToken,
        passed_on: PassedOn,
    ) -> io::Result<()> {
        self.receive_until(stop.cancelled()).await?;
        let table = Arc::clone(&self.table);
        let gone = self.home.lingers();
        if passed_on.get() {
            tokio::spawn(async move {
                self.send_until(table.emptied()).await;
                drop((self, gone));
            });
            return Ok(());
        }
        let mut batch = VecDeque::new();
        for _ in 0..MAX_LAST {
            let more = self.socket.receive_now(&mut batch).unwrap_or(false);
            self.hand_out(&mut batch).await;
            if !more {
                break;
            }
            yield_now().await; // as in `receive_until`
        }
        self.stopped = true;
        tokio::spawn(async move {
            if let Err(error) = self.receive_until(table.emptied()).await {
                error!(endpoint = %self.endpoint, %error, "the socket broke while it drained");
            }
            drop((self, gone)); // and with it the socket
        });
        Ok(())
    }

    async fn receive_until(&mut self, end: impl Future<Output = ()>) -> io::Result<()> {
        let mut end = pin!(end);
        let mut batch = VecDeque::new();
        loop {
            let received = poll_fn(|cx| {
                if end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                self.socket.poll_wake_senders(cx);
                self.socket.poll_receive(cx, &mut batch).map(Some)
            });
            match received.await {
                None => return Ok(()),
                Some(Ok(())) => {
                    self.failures.reset();
                    let full = batch.len() >= MAX_BATCH;
                    self.hand_out(&mut batch).await;
                    if full {
                        yield_now().await; // the sessions have their turn before there is more
                    }
                }
                Some(Err(error)) => tokio::select! {
                    biased;
                    () = &mut end => return Ok(()), // which does not wait for the pause
                    failed = self.failed(error) => failed?,
                },
            }
        }
    }

    /// Wakes those who wait to send, and receives nothing.
    async fn send_until(&self, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        poll_fn(|cx| {
            self.socket.poll_wake_senders(cx);
            end.as_mut().poll(cx)
        })
        .await;
    }

    async fn hand_out(&mut self, batch: &mut VecDeque<Arrival>) {
        for arrival in batch.drain(..) {
            if let Arrival::Datagram(datagram) = arrival {
                self.receive(datagram).await;
            }
        }
    }

    async fn receive(&self, datagram: Datagram) {
        let counters = &self.home.service.counters.datagrams;
        if self.socket.is_own(&datagram.from, datagram.to) {
            Counters::add(&counters.own);
        } else if datagram.truncated {
            Counters::add(&counters.truncated);
        } else if let Some(shared) = self.table.again(&datagram.from) {
            if !shared.change(|core| core.arrive(Arrival::Datagram(datagram))) {
                Counters::add(&counters.waiting);
            }
        } else {
            self.receive_from_newcomer(datagram).await;
        }
    }

    async fn receive_from_newcomer(&self, datagram: Datagram) {
        let service = &self.home.service;
        if !self.stopped && service.pace.wait().is_none() {
            if !service.admit(&datagram.from) {
                return; // it is counted there
            }
            if self.make_room().await {
                service.pace.spend();
                return self.start_session(datagram);
            }
            service.leave(&datagram.from);
        }
        Counters::add(&service.counters.datagrams.no_room);
    }

    /// Takes a permit for another session, in place of one whose peer has sent only once if need
    /// be.
    async fn make_room(&self) -> bool {
        let permits = &self.home.service.permits;
        if self.table.len() < self.bounds.max && permits.try_acquire() {
            return true;
        }
        let Some(given_up) = self.table.take_oldest_once() else { return false };
        Counters::add(&self.home.service.counters.datagrams.evicted);
        given_up.change(Core::evict);
        let given_up = Handle::new(given_up);
        let ended = timeout(EVICTION, given_up.closed());
        ended.await.is_ok() && permits.try_acquire()
    }

    /// Starts the session of a newcomer.
    fn start_session(&self, datagram: Datagram) {
        let peer = datagram.from.clone();
        let number = self.table.number();
        let place = Place { table: Arc::clone(&self.table), peer: peer.clone(), number };
        let setup = Setup {
            socket: Some(Arc::clone(&self.socket)),
            peer: Peer::Session(peer.clone()),
            max_len: self.socket.max_send() as u32,
            idle: Idle::After(ticks(self.bounds.idle)),
            guarded: self.socket.is_udp(), // elsewhere nobody forges an address
            reports: false,
            fed: true,
        };
        let channel = Channel::session(Arc::clone(&self.socket), setup, place);
        let local = self.socket.local_for(datagram.to);
        let incoming = Incoming::over(Below::Datagrams(Box::new(channel)), peer.clone(), local);
        let conn = Conn::start(incoming, &self.origin, &self.home);
        let shared = Arc::clone(conn.shared());
        shared.lock().arrive(Arrival::Datagram(datagram));
        self.table.insert(peer, number, shared);
        self.factory.spawn(conn);
    }

    async fn failed(&mut self, error: io::Error) -> io::Result<()> {
        let service = &self.home.service;
        if error.kind() == io::ErrorKind::ConnectionRefused {
            Counters::add(&service.counters.datagrams.refused);
            return Ok(());
        }
        match self.failures.take(error, service, &self.endpoint)? {
            Next::GoOn => yield_now().await,
            Next::Pause(time, _) => sleep(time).await,
        }
        Ok(())
    }
}
