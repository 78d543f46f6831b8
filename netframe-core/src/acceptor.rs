//! The accept loop: takes connections from a listener while there is room, sorts its errors, and
//! never ends silently or spins.

mod backoff;
mod failures;
mod refuse;
mod reserve;
mod sort;

use std::io;
use std::sync::Arc;

use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use self::backoff::Backoff;
pub(crate) use self::failures::{Failures, Lack, Next};
pub(crate) use self::refuse::Refusals;
use self::reserve::Reserve;
pub(crate) use self::sort::{AcceptError, sort};
use crate::connection::Core;
use crate::driver::Conn;
use crate::factory::DynFactory;
use crate::handle::Handle;
use crate::home::{EVICTION, Home};
use crate::info::Origin;
use crate::limits::AtLimit;
use crate::listener::{Incoming, Listen};
use crate::server::PassedOn;
use crate::service::Counters;

/// Connections taken from the accept queue after the stop, at most: the largest usual backlog.
const MAX_LAST: usize = 65_536;

/// Connections shed in one go: the largest usual backlog.
const MAX_SHED: usize = 4096;

/// One listener on one worker.
pub(crate) struct Acceptor {
    listener: Box<dyn Listen>,
    factory: Arc<dyn DynFactory>,
    home: Arc<Home>,
    origin: Arc<Origin>,
    failures: Failures,
    reserve: Reserve,
}

impl Acceptor {
    pub(crate) fn new(
        listener: Box<dyn Listen>,
        factory: Arc<dyn DynFactory>,
        home: Arc<Home>,
    ) -> Self {
        let endpoint = listener.endpoint();
        let origin = Arc::new(Origin::new(endpoint.kind(), listener.local_addr()));
        Self {
            listener,
            factory,
            home,
            origin,
            failures: Failures::new("accepting"),
            reserve: Reserve::new(),
        }
    }

    /// Accepts until `stop`, then empties the accept queue once, unless that was `passed_on`; or until
    /// the listener is exhausted.
    ///
    /// # Errors
    ///
    /// The listener is broken; accepting again cannot help.
    pub(crate) async fn run(
        mut self,
        stop: CancellationToken,
        passed_on: PassedOn,
    ) -> io::Result<()> {
        while !self.listener.is_exhausted() {
            let service = Arc::clone(&self.home.service);
            let next = async {
                while let Some(time) = service.pace.wait() {
                    sleep(time).await;
                }
                match service.limits.at_limit {
                    AtLimit::Wait => {
                        (true, service.permits.with_permit(self.listener.accept()).await)
                    }
                    AtLimit::Refuse | AtLimit::EndIdle => (false, self.listener.accept().await),
                }
            };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = next => accepted,
            };
            match accepted {
                (has_permit, Ok(incoming)) if !self.reserve.regain() => {
                    // It has taken the last descriptor. Served, it would leave all behind it in the
                    // queue without an answer.
                    drop(incoming);
                    Counters::add(&service.counters.shed);
                    self.reserve.regain();
                    if has_permit {
                        service.permits.release();
                    }
                }
                (has_permit, Ok(incoming)) => {
                    service.pace.spend();
                    if has_permit || make_room(&self.home).await {
                        self.start(incoming);
                    } else {
                        Counters::add(&service.counters.refused_full);
                        debug!(service = %service.name, peer = %incoming.peer(), "refused: it is full");
                        service.refusals.refuse(incoming);
                    }
                }
                (has_permit, Err(error)) => {
                    if has_permit {
                        service.permits.release();
                    }
                    self.failed(error, &stop).await?;
                }
            }
        }
        if passed_on.get() {
            return Ok(()); // here they would be asked to finish before they have said anything
        }
        self.empty_queue()
    }

    /// Accepts what waits in the queue when the server stops.
    fn empty_queue(&mut self) -> io::Result<()> {
        let service = Arc::clone(&self.home.service);
        for _ in 0..MAX_LAST {
            if self.listener.is_exhausted() || !service.permits.try_acquire() {
                break;
            }
            let error = match self.listener.try_accept() {
                Some(Ok(incoming)) => {
                    self.start(incoming);
                    continue;
                }
                waits => {
                    service.permits.release();
                    let Some(Err(error)) = waits else { break };
                    error
                }
            };
            match self.failures.take(error, &service, self.listener.endpoint())? {
                Next::GoOn | Next::Pause(_, Lack::Nothing) => {}
                Next::Pause(_, Lack::Descriptors) => {
                    self.shed();
                    break;
                }
                Next::Pause(_, Lack::Resources) => break,
            }
        }
        Ok(())
    }

    fn start(&mut self, incoming: Incoming) {
        self.failures.reset();
        let service = &self.home.service;
        if !service.admit(incoming.peer()) {
            debug!(service = %service.name, peer = %incoming.peer(), "a peer has enough connections");
            service.permits.release();
            service.refusals.refuse(incoming);
            return;
        }
        self.factory.spawn(Conn::start(incoming, &self.origin, &self.home));
    }

    async fn failed(&mut self, error: io::Error, stop: &CancellationToken) -> io::Result<()> {
        match self.failures.take(error, &self.home.service, self.listener.endpoint())? {
            Next::GoOn => yield_now().await,
            Next::Pause(time, lack) => {
                if lack == Lack::Descriptors {
                    self.shed();
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = sleep(time) => {}
                }
            }
        }
        Ok(())
    }

    /// Out of descriptors: gives the reserve up to accept those that wait, one after the other, and
    /// close them, so that their peers learn of it now rather than in a timeout of their own.
    fn shed(&mut self) {
        self.reserve.give_up();
        for _ in 0..MAX_SHED {
            let Some(Ok(_incoming)) = self.listener.try_accept() else { break };
            Counters::add(&self.home.service.counters.shed);
        }
        self.reserve.regain();
    }
}

/// Takes a permit for a connection that was accepted without one, in place of one that has been idle
/// if that is what is to be done.
async fn make_room(home: &Home) -> bool {
    let service = &home.service;
    if service.permits.try_acquire() {
        return true;
    }
    if service.limits.at_limit != AtLimit::EndIdle {
        return false;
    }
    let Some(idle) = home.longest_idle() else { return false };
    idle.change(Core::make_way);
    let idle = Handle::new(idle);
    timeout(EVICTION, idle.closed()).await.is_ok() && service.permits.try_acquire()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::limits::Limits;
    use crate::service::Service;
    use crate::stream::stream_fn;
    use crate::transport::mem::MemNetwork;

    #[tokio::test]
    async fn a_newcomer_that_has_the_last_descriptor_makes_way_for_the_reserve() {
        static OPENED: AtomicUsize = AtomicUsize::new(0);
        /// There is one at first; then others are faster, twice; then a newcomer has made way.
        fn open() -> io::Result<File> {
            match OPENED.fetch_add(1, Ordering::Relaxed) {
                1 | 2 => Err(io::Error::from_raw_os_error(libc::EMFILE)),
                _ => File::open("/dev/null"),
            }
        }
        let network = MemNetwork::new();
        let listener = network.listen("mem://x".parse().unwrap(), "x", 8).unwrap();
        let limits = Limits { max_connections: 1, ..Limits::default() };
        let home = Home::start(Service::new("x", limits), None);
        let factory = Arc::new(stream_fn(|mut stream: crate::Stream| async move {
            stream.write_all(b"served").await?;
            Ok(())
        }));
        let mut acceptor = Acceptor::new(Box::new(listener), factory, Arc::clone(&home));
        acceptor.reserve = Reserve::of(open);
        acceptor.shed(); // for nobody, and the reserve is gone
        let stop = CancellationToken::new();
        tokio::spawn(acceptor.run(stop.clone(), PassedOn::default()));
        let mut told = Vec::new();
        for _ in 0..2 {
            let mut text = String::new();
            network.connect("x").await.unwrap().read_to_string(&mut text).await.unwrap();
            told.push(text);
        }
        assert_eq!(told, ["", "served"]);
        assert_eq!(home.service.counters.shed.load(Ordering::Relaxed), 1);
        stop.cancel();
    }

    #[tokio::test]
    async fn a_queue_is_emptied_at_the_stop_unless_it_was_passed_on() {
        for is_passed_on in [false, true] {
            let network = MemNetwork::new();
            let listener = network.listen("mem://x".parse().unwrap(), "x", 8).unwrap();
            let mut other = listener.try_clone().unwrap().unwrap();
            let _waits = network.connect("x").await.unwrap();
            let home = Home::start(Service::new("x", Limits::default()), None);
            let factory = Arc::new(stream_fn(|_| async { Ok(()) }));
            let (stop, passed_on) = (CancellationToken::new(), PassedOn::default());
            stop.cancel();
            if is_passed_on {
                passed_on.set();
            }
            let acceptor = Acceptor::new(Box::new(listener), factory, home);
            acceptor.run(stop, passed_on).await.unwrap();
            assert_eq!(other.try_accept().is_some(), is_passed_on);
        }
    }
}
