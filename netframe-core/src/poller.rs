//! [`Poller`]: the readiness of the sockets of one home, from one more epoll (or kqueue) that is
//! itself watched by the runtime.
//!
//! A socket registered with the runtime costs 256 bytes there. Here it costs none: an event names
//! the connection by its key in the timer wheel, and its core keeps the readiness in flags. The
//! price is one more system call for each batch of events; `docs/decisions` has the figures.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token};
use tokio::io::unix::AsyncFd;
use tokio::task::{AbortHandle, yield_now};
use tracing::error;

use crate::below::Socket;
use crate::home::Home;
use crate::info::ConnectionId;
use crate::wheel::Key;

/// Events taken at once. More only means more system calls when a thousand sockets are ready.
const BATCH: usize = 256;

/// What happened to a socket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer's FIN or reset is among what can be read.
    pub(crate) read_closed: bool,
    /// The connection is broken.
    pub(crate) error: bool,
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        Self {
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            error: event.is_error(),
        }
    }
}

/// A connection in an event: its key in the timer wheel, and part of its id, as an event may be
/// older than the connection that has the key now. (Where pointers have 32 bits the part is empty.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name(u64);

impl Name {
    const ID: u64 = (usize::MAX as u64) >> 32;

    pub(crate) fn new(key: Key, id: ConnectionId) -> Self {
        Self((id.get() & Self::ID) << 32 | key.index() as u64)
    }

    pub(crate) fn key(self) -> Key {
        Key::new((self.0 & 0xffff_ffff) as usize)
    }

    /// Whether the connection `id` is meant.
    pub(crate) fn is_of(self, id: ConnectionId) -> bool {
        self.0 >> 32 == id.get() & Self::ID
    }
}

impl From<Token> for Name {
    fn from(token: Token) -> Self {
        Self(token.0 as u64)
    }
}

impl From<Name> for Token {
    fn from(name: Name) -> Self {
        Self(name.0 as usize)
    }
}

/// The sockets of one home.
#[derive(Debug, Default)]
pub(crate) struct Poller {
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    registry: Registry,
    task: AbortHandle,
}

impl Poller {
    /// Watches `socket` for the connection `name`, in the current runtime. Closing the socket ends
    /// it.
    pub(crate) fn register(
        &self,
        socket: &mut Socket,
        name: Name,
        home: &Arc<Home>,
    ) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match &mut *running {
            Some(running) => running,
            none => none.insert(Running::start(home)?),
        };
        running.registry.register(socket, name.into(), Interest::READABLE | Interest::WRITABLE)
    }

    /// Watches `socket` no more, as another one will.
    pub(crate) fn deregister(&self, socket: &mut Socket) -> io::Result<()> {
        match &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(running) => running.registry.deregister(socket),
            None => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    fn start(home: &Arc<Home>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let poll = watch(poll)?;
        let task = tokio::spawn(run(poll, Arc::downgrade(home))).abort_handle();
        Ok(Self { registry, task })
    }
}

/// Has the current runtime tell when `fd` is readable.
pub(crate) fn watch<T: AsRawFd>(fd: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "the newer one is unsafe for the sake of types whose `as_raw_fd` lies; mio's do not"
    )]
    AsyncFd::with_interest(fd, tokio::io::Interest::READABLE)
}

/// Hands events to the connections, until the home is gone.
async fn run(mut poll: AsyncFd<Poll>, home: Weak<Home>) {
    let mut events = Events::with_capacity(BATCH);
    let mut ready = Vec::with_capacity(BATCH);
    loop {
        let Ok(mut guard) = poll.readable_mut().await else { return };
        if let Err(error) = guard.get_inner_mut().poll(&mut events, Some(Duration::ZERO)) {
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            // Nothing can be read any more; timeouts end the connections.
            error!(%error, "cannot poll sockets");
            return;
        }
        ready.clear();
        ready.extend(events.iter().map(|event| (event.token().into(), event.into())));
        let full = ready.len() >= BATCH;
        if !full {
            guard.clear_ready(); // all were taken; the next one sets it again
        }
        let Some(home) = home.upgrade() else { return };
        home.ready(&ready);
        drop(home);
        if full {
            yield_now().await; // so that those who are ready have their turn
        }
    }
}
