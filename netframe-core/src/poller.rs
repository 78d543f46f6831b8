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
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;
use tracing::error;

use crate::home::Home;
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
    /// Watches `socket` for the connection `key`, in the current runtime. Closing the socket ends
    /// it.
    pub(crate) fn register(
        &self,
        socket: &mut TcpStream,
        key: Key,
        home: &Arc<Home>,
    ) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match &mut *running {
            Some(running) => running,
            none => none.insert(Running::start(home)?),
        };
        running.registry.register(
            socket,
            Token(key.index()),
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// Watches `socket` no more, as another one will.
    pub(crate) fn deregister(&self, socket: &mut TcpStream) -> io::Result<()> {
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
        ready.extend(events.iter().map(|event| (Key::new(event.token().0), event.into())));
        if ready.len() < BATCH {
            guard.clear_ready(); // all were taken; the next one sets it again
        }
        let Some(home) = home.upgrade() else { return };
        home.ready(&ready);
    }
}
