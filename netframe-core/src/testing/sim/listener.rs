//! [`SimListener`] and [`SimConnector`]: names in a simulated network.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use super::SimNetwork;
use super::conditions::hits;
use super::stream::SimStream;
use crate::addr::Addr;
use crate::endpoint::Endpoint;
use crate::listener::{Connect, Incoming, Listen};

/// Connections that wait to be accepted at most.
const BACKLOG: usize = 128;

/// Time before the second attempt to open a connection that nobody answered; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// A name that is listened on.
#[derive(Default)]
pub(super) struct Listening {
    backlog: VecDeque<(SimStream, Addr)>,
    /// What the next accepts fail with.
    errors: VecDeque<i32>,
    acceptors: Vec<Waker>,
}

/// What came of an attempt to open a connection.
enum Attempt {
    Opened(SimStream, Addr),
    Refused,
    /// Nobody answers.
    Lost,
}

/// Listens on a name of a simulated network, from [`SimNetwork::listen`]; as an acceptor, one of
/// several.
pub struct SimListener(Arc<Bound>);

struct Bound {
    network: SimNetwork,
    name: String,
    host: Arc<str>,
    endpoint: Endpoint,
    addr: Addr,
}

impl SimListener {
    pub(super) fn bind(network: &SimNetwork, endpoint: Endpoint, name: &str) -> io::Result<Self> {
        let addr = Addr::named(format!("sim://{name}"));
        let mut state = network.world.lock();
        if state.listeners.contains_key(name) {
            let text = format!("{addr} has a listener already");
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        state.listeners.insert(name.to_owned(), Listening::default());
        state.note(format_args!("{name} listens"));
        drop(state);
        let (network, name, host) = (network.clone(), name.to_owned(), host_of(name));
        Ok(Self(Arc::new(Bound { network, name, host, endpoint, addr })))
    }
}

#[async_trait]
impl Listen for SimListener {
    async fn accept(&mut self) -> io::Result<Incoming> {
        let Bound { network, name, host, addr, .. } = &*self.0;
        poll_fn(|cx| {
            let refused; // dropped without the lock
            let mut state = network.world.lock();
            let accept_errors = state.conditions.accept_errors;
            if let Some(errno) = state.listening(name).errors.pop_front() {
                state.note(format_args!("{name} fails to accept: errno {errno}"));
                return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
            }
            let listening = state.listening(name);
            let Some((mut stream, peer)) = listening.backlog.pop_front() else {
                if !listening.acceptors.iter().any(|waker| waker.will_wake(cx.waker())) {
                    listening.acceptors.push(cx.waker().clone());
                }
                return Poll::Pending;
            };
            if hits(accept_errors, &mut state.rng) {
                state.note(format_args!("{name} fails to accept {peer}"));
                refused = stream;
                drop(state);
                drop(refused);
                return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNABORTED)));
            }
            state.note(format_args!("{host} accepts {peer}"));
            stream.give_up(false);
            Poll::Ready(Ok(Incoming::new(stream, peer, addr.clone())))
        })
        .await
    }

    fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    fn local_addr(&self) -> Addr {
        self.0.addr.clone()
    }

    fn try_clone(&self) -> io::Result<Option<Box<dyn Listen>>> {
        Ok(Some(Box::new(Self(Arc::clone(&self.0)))))
    }
}

impl super::world::State {
    /// Has the next accept on `name` fail; returns who is to be woken.
    pub(super) fn fail_accept(&mut self, name: &str, errno: i32) -> Vec<Waker> {
        let Some(listening) = self.listeners.get_mut(name) else { return Vec::new() };
        listening.errors.push_back(errno);
        std::mem::take(&mut listening.acceptors)
    }

    fn listening(&mut self, name: &str) -> &mut Listening {
        self.listeners.get_mut(name).expect("a name is listened on as long as its listener lives")
    }
}

impl fmt::Debug for SimListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimListener").field(&self.0.addr).finish()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let mut state = self.network.world.lock();
        let listening = state.listeners.remove(&self.name);
        state.note(format_args!("{} listens no more", self.name));
        drop(state);
        drop(listening); // without the lock, as it resets what was not accepted
    }
}

/// Connects to a name of a simulated network, from [`SimNetwork::connector`].
#[derive(Clone, Debug)]
pub struct SimConnector {
    pub(super) network: SimNetwork,
    pub(super) name: String,
}

#[async_trait]
impl Connect for SimConnector {
    async fn connect(&self) -> io::Result<Incoming> {
        let (stream, local) = self.open().await?;
        Ok(Incoming::new(stream, Addr::named(format!("sim://{}", self.name)), local))
    }
}

impl SimConnector {
    /// Connects; as nobody may answer, it may take for ever.
    pub(super) async fn open(&self) -> io::Result<(SimStream, Addr)> {
        let mut retry = FIRST_RETRY;
        loop {
            sleep(self.trip()).await;
            match self.attempt() {
                Attempt::Opened(mut stream, local) => {
                    stream.give_up(true); // until it is known here
                    sleep(self.trip()).await;
                    stream.give_up(false);
                    return Ok((stream, local));
                }
                Attempt::Refused => {
                    sleep(self.trip()).await;
                    let text = format!("nobody listens on sim://{}", self.name);
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
                }
                Attempt::Lost => sleep(retry).await,
            }
            retry *= 2;
        }
    }

    /// Time to the other host, or back.
    fn trip(&self) -> Duration {
        let mut state = self.network.world.lock();
        let conditions = state.between(&self.network.host, &host_of(&self.name)).clone();
        conditions.delay(&mut state.rng)
    }

    /// A request to connect arrives.
    fn attempt(&self) -> Attempt {
        let Self { network, name } = self;
        let (host, to) = (&network.host, host_of(name));
        let mut state = network.world.lock();
        if !state.step() || state.is_partitioned(host, &to) {
            state.note(format_args!("{host} does not reach {name}"));
            return Attempt::Lost;
        }
        let Some(listening) = state.listeners.get(name) else {
            state.note(format_args!("{name} refuses {host}"));
            return Attempt::Refused;
        };
        if listening.backlog.len() >= BACKLOG {
            state.note(format_args!("{name} is full for {host}"));
            return Attempt::Lost;
        }
        let number = state.open(host, &to);
        let local = Addr::named(format!("sim://{host}#{number}"));
        let ours = SimStream::new(&network.world, number, 0);
        let mut theirs = SimStream::new(&network.world, number, 1);
        theirs.give_up(true);
        let listening = state.listening(name);
        listening.backlog.push_back((theirs, local.clone()));
        let acceptors = std::mem::take(&mut listening.acceptors);
        drop(state);
        acceptors.into_iter().for_each(Waker::wake);
        Attempt::Opened(ours, local)
    }
}

/// The host of `host:port`, or of a name alone.
pub(super) fn host_of(name: &str) -> Arc<str> {
    name.split_once(':').map_or(name, |(host, _)| host).into()
}
