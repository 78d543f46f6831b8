//! Changes of a running reactor that come from elsewhere, or at a bad time; what a change does is
//! tested in `tests/contract/reactor.rs`.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    ConnectionInfo, Endpoint, Error, Factory, Incoming, Listen, Protocol, Reactor,
    ReconnectingClient, Resolve, Result, Running, Server, ServerBuilder, ServiceId, Transport,
    Workers,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

const TIME: Duration = Duration::from_secs(30);

struct Quiet;

impl Protocol for Quiet {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

fn quiet(_: &ConnectionInfo) -> Quiet {
    Quiet
}

fn builder(factory: impl Factory, network: &MemNetwork) -> ServerBuilder {
    Server::builder(factory).network(network.clone())
}

/// A reactor with two workers that serves one endpoint.
fn reactor(server: ServerBuilder) -> Reactor {
    let workers = Workers::Count(NonZeroUsize::new(2).unwrap());
    Reactor::builder().workers(workers).build().unwrap().serve(server).unwrap()
}

/// The service that is not being stopped.
fn current(running: &Running) -> ServiceId {
    running.services().into_iter().find(|service| !service.stopping).unwrap().id
}

async fn within<T>(test: impl Future<Output = T>) -> T {
    timeout(TIME, test).await.expect("the test hangs")
}

#[test]
fn a_change_goes_on_without_the_runtime_that_asked_for_it() {
    let network = MemNetwork::new();
    let server = || builder(quiet, &network).listen("mem://x").unwrap();
    let report = reactor(server()).run(|running| {
        within(async move {
            let (old, elsewhere, new) = (current(&running), running.clone(), server());
            let asked = tokio::task::spawn_blocking(move || {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(elsewhere.replace(&[old], vec![new], TIME))
            });
            let (asked, ended) = tokio::join!(asked, running.ended(old));
            assert_eq!(asked.unwrap().unwrap().len(), 1);
            assert!(ended.is_some_and(|service| service.id == old && service.stopping));
            assert_eq!(running.services().len(), 1);
            assert!(running.ended(old).await.is_none(), "it is known no more");
            Instant::now()
        })
    });
    assert!(report.unwrap().failure.is_none());
}

#[test]
fn a_reactor_outlives_changes_that_others_make() {
    let network = MemNetwork::new();
    let server = || builder(quiet, &network).listen("mem://x").unwrap();
    let (done, all_done) = oneshot::channel();
    let report = reactor(server()).run(|running| {
        let changes: Vec<_> = (0..500).map(|_| server()).collect();
        let made = tokio::spawn(async move {
            for new in changes {
                running.replace(&[current(&running)], vec![new], TIME).await.unwrap();
            }
        });
        async move {
            made.await.unwrap();
            done.send(()).unwrap();
            Instant::now()
        }
    });
    assert!(report.unwrap().failure.is_none());
    all_done.blocking_recv().expect("the reactor has ended too early");
}

/// Knows every name, once it is told to.
struct Slow {
    asked: Notify,
    answer: Notify,
}

#[async_trait]
impl Resolve for Slow {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.notify_one();
        self.answer.notified().await;
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

/// Keeps a drain going until it is told to end.
struct Lingers {
    draining: Arc<Notify>,
    end: Arc<Notify>,
}

impl Protocol for Lingers {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        self.draining.notify_one();
        self.end.notified().await;
        t.close();
        Ok(())
    }
}

#[test]
fn nothing_is_started_any_more_while_a_reactor_stops() {
    let (draining, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let lingers = {
        let (draining, end) = (Arc::clone(&draining), Arc::clone(&end));
        move |_: &ConnectionInfo| Lingers { draining: Arc::clone(&draining), end: Arc::clone(&end) }
    };
    let slow = Arc::new(Slow { asked: Notify::new(), answer: Notify::new() });
    let network = MemNetwork::new();
    let reactor = reactor(builder(lingers, &network).listen("tcp://127.0.0.1:0").unwrap());
    let to = reactor.endpoints().next().unwrap().address().socket_addr().unwrap();
    let late = builder(quiet, &network).resolver(Arc::clone(&slow)).listen("tcp://late:0").unwrap();
    let (told, outcome) = oneshot::channel();
    let report = reactor.run(|running| {
        let asked = Arc::clone(&slow);
        within(async move {
            let mut peer = TcpStream::connect(to).await.unwrap();
            while running.services()[0].stats.live == 0 {
                tokio::task::yield_now().await;
            }
            tokio::spawn(async move {
                let changed = running.replace(&[], vec![late], TIME).await;
                told.send((changed.err(), running.services().len())).unwrap();
                end.notify_one();
                peer.read(&mut [0]).await
            });
            asked.asked.notified().await;
            tokio::spawn(async move {
                draining.notified().await;
                slow.answer.notify_one();
            });
            Instant::now() + TIME
        })
    });
    assert_eq!(report.unwrap().aborted, 0);
    let (error, services) = outcome.blocking_recv().unwrap();
    assert!(matches!(error, Some(Error::Worker { .. })), "{error:?}");
    assert_eq!(services, 1);
}

#[test]
fn a_listener_is_taken_over_once() {
    let network = MemNetwork::new();
    let any = |server: ServerBuilder| server.listen("tcp://127.0.0.1:0").unwrap();
    let network = &network;
    let server = || any(any(builder(quiet, network))).listen("mem://x").unwrap();
    let report = reactor(server()).run(|running| {
        within(async move {
            let endpoints = running.services()[0].endpoints.clone();
            for _ in 0..3 {
                running.replace(&[current(&running)], vec![server()], TIME).await.unwrap();
                let now = running.services().into_iter().find(|service| !service.stopping);
                assert_eq!(now.unwrap().endpoints, endpoints);
            }
            let old = current(&running);
            let twice = vec![server(), builder(quiet, network).listen("mem://x").unwrap()];
            let error = running.replace(&[old], twice, TIME).await.unwrap_err();
            assert!(matches!(error, Error::Listen { .. }), "{error}");
            assert_eq!(current(&running), old);
            Instant::now()
        })
    });
    assert!(report.unwrap().failure.is_none());
}

/// A listener of which one worker gets an acceptor, and another an error.
struct Flaky {
    endpoint: Endpoint,
    clones: AtomicUsize,
    /// Is told of every call of `accept`.
    accepts: mpsc::Sender<()>,
    accepted: Mutex<mpsc::Receiver<()>>,
}

impl Flaky {
    fn new() -> Self {
        let (accepts, accepted) = mpsc::channel();
        let endpoint = "mem://flaky".parse().unwrap();
        Self { endpoint, clones: AtomicUsize::new(0), accepts, accepted: Mutex::new(accepted) }
    }
}

#[async_trait]
impl Listen for Flaky {
    async fn accept(&mut self) -> io::Result<Incoming> {
        self.accepts.send(()).unwrap();
        std::future::pending().await
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn try_clone(&self) -> io::Result<Option<Box<dyn Listen>>> {
        if self.clones.fetch_add(1, Ordering::SeqCst) == 0 {
            let accepts = self.accepts.clone();
            return Ok(Some(Box::new(Self { accepts, ..Self::new() })));
        }
        let accepted = self.accepted.lock().unwrap().recv_timeout(Duration::from_millis(200));
        Err(io::Error::other(if accepted.is_ok() { "too late" } else { "no descriptors" }))
    }
}

#[test]
fn nothing_is_accepted_by_a_service_that_does_not_start_on_all_workers() {
    let network = MemNetwork::new();
    let report = reactor(builder(quiet, &network).listen("mem://x").unwrap()).run(|running| {
        within(async move {
            let flaky = builder(quiet, &network).listen_on(Flaky::new());
            let error = running.replace(&[], vec![flaky], TIME).await.unwrap_err();
            let Error::Listen { source, .. } = error else { panic!("{error}") };
            assert_eq!(source.to_string(), "no descriptors");
            Instant::now()
        })
    });
    assert!(report.unwrap().failure.is_none());
}

#[test]
fn a_drain_may_take_for_ever() {
    let network = MemNetwork::new();
    let network = &network;
    let server = |name: &str| builder(quiet, network).listen(name).unwrap();
    let report = reactor(server("mem://x")).run(|running| {
        within(async move {
            let (old, new) = (current(&running), server("mem://x"));
            running.replace(&[old], vec![new], Duration::MAX).await.unwrap();
            while running.services().len() > 1 {
                tokio::task::yield_now().await;
            }
            server("mem://y").bind().await.unwrap().shutdown(Duration::MAX).await;
            let client = ReconnectingClient::builder(quiet).network(network.clone());
            client.connect("mem://x").unwrap().shutdown(Duration::MAX).await;
            Instant::now()
        })
    });
    assert!(report.unwrap().failure.is_none());
}

#[test]
fn a_reactor_may_be_without_services_for_a_time() {
    let network = MemNetwork::new();
    let workers = Workers::Count(NonZeroUsize::new(2).unwrap());
    let reactor = Reactor::builder().workers(workers).build().unwrap();
    let (done, all_done) = oneshot::channel();
    let report = reactor.run(|running| {
        within(async move {
            for _ in 0..3 {
                let new = vec![builder(quiet, &network).listen("mem://x").unwrap()];
                let ids = running.replace(&[], new, TIME).await.unwrap();
                running.replace(&ids, Vec::new(), TIME).await.unwrap();
                while !running.services().is_empty() {
                    tokio::task::yield_now().await;
                }
            }
            done.send(()).unwrap();
            Instant::now()
        })
    });
    assert!(report.unwrap().failure.is_none());
    all_done.blocking_recv().expect("the reactor has ended too early");
}
