//! A simulated network: servers and clients as they are, over a network that delays, cuts and breaks
//! what it carries, in simulated time, driven by one seed. It needs the feature `sim`.
//!
//! [`run`] and [`seeds`] call a scenario with a [`SimNetwork`], which is given to the builders of
//! servers and clients, by `network`; their endpoints are `sim://name`, and for datagrams
//! `udp://name:port`. [`Conditions`] say how bad the
//! network is, for all of it or [between two hosts](SimNetwork::set_link), and may change at any
//! time. Time is tokio's paused clock: it passes only while nothing can run, so that an hour takes
//! milliseconds.
//!
//! The same seed gives the same run, to the byte, and the same [`Trace`] of it, if the scenario keeps
//! to one thread, to tokio's clock, to [`SimNetwork::rng`] or `fastrand` for its random numbers, and
//! away from what has a random order: a `HashMap`, or a `select!` that is not `biased`. A run that
//! fails prints its seed and the end of its trace; `NETFRAME_SEED` has [`seeds`] run this one again,
//! and `NETFRAME_SEEDS` tells it how many to run.
//!
//! # Examples
//!
//! ```
//! # use std::time::Duration;
//! # use netframe_core::{ConnectionInfo, Protocol, Result, Transport, bytes::BytesMut};
//! # struct Echo;
//! # impl Protocol for Echo {
//! #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
//! #         t.write_bytes(d.split().freeze());
//! #         Ok(())
//! #     }
//! # }
//! use netframe_core::Server;
//! use netframe_core::testing::sim::{self, Conditions};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! sim::seeds(20, async |net| {
//!     net.set_conditions(Conditions::rough());
//!     let server = Server::builder(net.checked(|_: &ConnectionInfo| Echo)).network(net.clone());
//!     let server = server.listen("sim://echo").unwrap().bind().await.unwrap();
//!
//!     let mut peer = net.host("peer").connect("echo").await.unwrap();
//!     peer.write_all(b"hello").await.unwrap();
//!     peer.shutdown().await.unwrap();
//!     let mut answer = String::new();
//!     peer.read_to_string(&mut answer).await.unwrap();
//!     assert_eq!(answer, "hello", "in whatever pieces it came");
//!     drop(peer);
//!
//!     let report = server.shutdown(Duration::from_secs(10)).await;
//!     assert_eq!(report.aborted, 0);
//! });
//! ```

mod checked;
mod conditions;
mod ledger;
mod left;
mod listener;
mod run;
mod socket;
mod stream;
mod trace;
mod trouble;
mod world;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use fastrand::Rng;

use crate::endpoint::Endpoint;
use crate::service::Service;
use crate::transport::mem::MemNetwork;

pub use self::checked::{Checked, CheckedFactory};
pub use self::conditions::Conditions;
pub use self::listener::{SimConnector, SimListener};
pub use self::run::{Sim, Simulated, run, seeds};
pub(crate) use self::socket::SimSocket;
pub use self::stream::SimStream;
pub use self::trace::Trace;
use self::world::World;

/// A simulated network, as one of its hosts sees it. Clones are the same network.
///
/// What listens on `sim://name` or `sim://name:port` is on the host `name`; what connects is on the
/// host that the network was taken from, by [`host`](Self::host). The first one is `sim`. A name in
/// `udp://name:port` is that of a host, which has an address of its own.
#[derive(Clone)]
pub struct SimNetwork {
    world: Arc<World>,
    mem: MemNetwork,
    host: Arc<str>,
}

impl SimNetwork {
    fn new(world: Arc<World>) -> Self {
        Self { world, mem: MemNetwork::new(), host: "sim".into() }
    }

    /// The same network, for what connects from the host `name`.
    pub fn host(&self, name: &str) -> Self {
        Self { host: name.into(), ..self.clone() }
    }

    /// How bad the network is from now on, where nothing else holds between two hosts.
    pub fn set_conditions(&self, conditions: Conditions) {
        let mut state = self.world.lock();
        state.note(format_args!("conditions are {conditions:?}"));
        state.conditions = conditions;
    }

    /// How bad it is from now on between two hosts.
    pub fn set_link(&self, one: &str, other: &str, conditions: Conditions) {
        self.world.lock().set_link(&one.into(), &other.into(), conditions);
    }

    /// Lets nothing arrive between two hosts, until they are [healed](Self::heal). What is sent
    /// meanwhile waits; who connects tries again, after 1 s, 2 s, 4 s …
    pub fn partition(&self, one: &str, other: &str) {
        self.world.lock().partition(&one.into(), &other.into());
    }

    /// Ends a partition.
    pub fn heal(&self, one: &str, other: &str) {
        self.world.lock().heal(&one.into(), &other.into());
    }

    /// Lets the connections that a host has now go silent for ever, as if it lost power: nothing
    /// arrives any more, no end and no reset. New ones can be made.
    pub fn silence(&self, host: &str) {
        let mut state = self.world.lock();
        for number in state.find(|one, other| &**one == host || &**other == host) {
            state.silence(number);
        }
    }

    /// Resets the connections that a host has now, for both sides and at once.
    pub fn reset(&self, host: &str) {
        let mut woken = Vec::new();
        let mut state = self.world.lock();
        for number in state.find(|one, other| &**one == host || &**other == host) {
            state.note(format_args!("#{number} is reset"));
            state.reset(number, &mut woken);
        }
        drop(state);
        woken.into_iter().for_each(std::task::Waker::wake);
    }

    /// Lets the next accept on `name` fail with this error of the system, such as `libc::EMFILE`.
    /// If it is called several times, that many accepts fail.
    pub fn fail_accept(&self, name: &str, errno: i32) {
        let acceptors = self.world.lock().fail_accept(name, errno);
        acceptors.into_iter().for_each(std::task::Waker::wake);
    }

    /// Listens on `name`; `endpoint` is what the listener says it is bound to. Servers do so by
    /// themselves.
    ///
    /// # Errors
    ///
    /// `AddrInUse`: somebody listens on `name`.
    pub fn listen(&self, endpoint: Endpoint, name: &str) -> io::Result<SimListener> {
        SimListener::bind(self, endpoint, name)
    }

    /// Connects to whoever listens on `name`, for a bare stream; a peer that does what it likes.
    ///
    /// # Errors
    ///
    /// `ConnectionRefused`: nobody listens on `name`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up; a connection that is half open is reset.
    pub async fn connect(&self, name: &str) -> io::Result<SimStream> {
        let (stream, _) = self.connector(name).open().await?;
        Ok(stream)
    }

    /// Connects to whoever listens on `name` at the time of an attempt.
    pub fn connector(&self, name: impl Into<String>) -> SimConnector {
        SimConnector { network: self.clone(), name: name.into() }
    }

    /// The address that a host has in this network, for datagrams.
    pub fn ip(&self, host: &str) -> IpAddr {
        self.world.lock().ip_of(host)
    }

    /// Random numbers of the scenario's own, which its seed decides.
    pub fn rng(&self) -> Rng {
        self.world.lock().rng.fork()
    }

    /// Adds a line to the trace.
    pub fn note(&self, text: impl fmt::Display) {
        self.world.lock().note(format_args!("{text}"));
    }

    /// Lets the run fail, once its scenario is over. In callbacks, where a panic only ends their
    /// connection.
    pub fn violation(&self, text: impl fmt::Display) {
        self.world.lock().violation(text.to_string());
    }

    /// What has happened so far.
    pub fn trace(&self) -> Trace {
        self.world.lock().trace.clone()
    }

    /// Streams and datagram sockets that somebody holds now; of a connection there are two.
    pub fn open_streams(&self) -> usize {
        self.world.lock().open_streams()
    }

    pub(crate) fn watch(&self, service: &Arc<Service>) {
        self.world.lock().services.push(Arc::clone(service));
    }

    pub(crate) fn mem(&self) -> MemNetwork {
        self.mem.clone()
    }
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNetwork").field("host", &self.host).finish_non_exhaustive()
    }
}
