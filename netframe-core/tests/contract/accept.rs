//! Rule 10: accept errors are sorted; a listener never ends silently, and never spins.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use netframe_core::endpoint::Address;
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{Addr, Endpoint, Incoming, Limits, Listen, Server};

use crate::probe::{Probe, echo};
use crate::world::{Dialer, Net, until};

on_every_transport! {
    rule10_an_error_of_one_connection_is_passed_over,
    rule10_a_fatal_error_is_reported,
    rule10_a_fatal_error_is_in_the_report_of_shutdown,
    rule10_out_of_descriptors_sheds_a_connection,
    rule10_a_listener_that_always_fails_leaves_time_to_others,
    rule10_a_server_ends_with_the_last_connection_of_an_exhausted_listener,
    rule10_a_server_with_another_listener_goes_on,
}

on_paused_clock! {
    rule10_out_of_resources_backs_off,
    rule10_a_stop_does_not_wait_for_the_backoff,
}

/// A listener that fails as its script says before it asks the one behind it.
struct Scripted {
    script: VecDeque<io::Error>,
    behind: Box<dyn Listen>,
    calls: Arc<AtomicUsize>,
}

#[async_trait]
impl Listen for Scripted {
    async fn accept(&mut self) -> io::Result<Incoming> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.script.pop_front() {
            Some(error) => Err(error),
            None => self.behind.accept().await,
        }
    }

    fn endpoint(&self) -> &Endpoint {
        self.behind.endpoint()
    }
}

/// A listener of which one connection comes, and never another.
pub(crate) struct Single {
    behind: Box<dyn Listen>,
    exhausted: bool,
}

impl Single {
    pub(crate) async fn new(net: Net) -> (Self, Dialer) {
        let (scripted, dialer) = scripted(net, &[]).await;
        (Self { behind: scripted.behind, exhausted: false }, dialer)
    }
}

#[async_trait]
impl Listen for Single {
    async fn accept(&mut self) -> io::Result<Incoming> {
        assert!(!self.exhausted, "nobody asks an exhausted listener");
        let incoming = self.behind.accept().await?;
        self.exhausted = true;
        Ok(incoming)
    }

    fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn endpoint(&self) -> &Endpoint {
        self.behind.endpoint()
    }
}

/// A bare TCP listener, as a user might bring one.
struct Tcp(tokio::net::TcpListener, Endpoint);

#[async_trait]
impl Listen for Tcp {
    async fn accept(&mut self) -> io::Result<Incoming> {
        let (stream, peer) = self.0.accept().await?;
        let local = stream.local_addr()?;
        Ok(Incoming::new(stream, peer.into(), local.into()))
    }

    fn endpoint(&self) -> &Endpoint {
        &self.1
    }
}

/// As [`Tcp`].
struct Unix(tokio::net::UnixListener, Endpoint);

#[async_trait]
impl Listen for Unix {
    async fn accept(&mut self) -> io::Result<Incoming> {
        let (stream, _) = self.0.accept().await?;
        Ok(Incoming::new(stream, Addr::UNNAMED, Addr::UNNAMED))
    }

    fn endpoint(&self) -> &Endpoint {
        &self.1
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        let Address::Path(path) = self.1.address() else { return };
        std::fs::remove_file(path).unwrap();
    }
}

async fn scripted(net: Net, errnos: &[i32]) -> (Scripted, Dialer) {
    let network = MemNetwork::new();
    let (behind, endpoint): (Box<dyn Listen>, _) = match net {
        Net::Tcp => {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint: Endpoint =
                format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
            (Box::new(Tcp(listener, endpoint.clone())), endpoint)
        }
        Net::Unix => {
            let endpoint = net.endpoint("");
            let Address::Path(path) = endpoint.address() else { panic!("{endpoint}") };
            let listener = tokio::net::UnixListener::bind(path).unwrap();
            (Box::new(Unix(listener, endpoint.clone())), endpoint)
        }
        Net::Mem => {
            let endpoint = net.endpoint("scripted");
            (Box::new(network.listen(endpoint.clone(), "scripted", 100).unwrap()), endpoint)
        }
    };
    let script = errnos.iter().copied().map(io::Error::from_raw_os_error).collect();
    let scripted = Scripted { script, behind, calls: Arc::default() };
    (scripted, Dialer::new(network, endpoint))
}

async fn serve(listener: Scripted) -> Server {
    Server::builder(echo).limits(Limits::default()).listen_on(listener).bind().await.unwrap()
}

/// See accept(2), "error handling".
const ONE_CONNECTION: [i32; 11] = [
    libc::ECONNABORTED,
    libc::EINTR,
    libc::EPROTO,
    libc::EPERM,
    libc::ETIMEDOUT,
    libc::ENETDOWN,
    libc::ENETUNREACH,
    libc::EHOSTUNREACH,
    libc::ENOPROTOOPT,
    libc::EOPNOTSUPP,
    libc::ECONNRESET,
];

async fn rule10_an_error_of_one_connection_is_passed_over(net: Net) {
    let (listener, dialer) = scripted(net, &ONE_CONNECTION).await;
    let server = serve(listener).await;
    dialer.connect().await.unwrap().ping(b"served").await;
    assert_eq!(server.stats().accept_errors, ONE_CONNECTION.len() as u64);
    assert_eq!(server.stats().accept_pauses, 0);
    assert_eq!(server.shutdown(Duration::from_secs(30)).await.aborted, 0);
}

async fn rule10_out_of_resources_backs_off(net: Net) {
    let none_left =
        [libc::ENOBUFS, libc::ENOMEM, libc::ENFILE, libc::EMFILE, libc::EXDEV, libc::ENOMEM];
    let (listener, dialer) = scripted(net, &none_left).await;
    let calls = Arc::clone(&listener.calls);
    let started = Instant::now();
    let server = serve(listener).await;
    until(|| calls.load(Ordering::SeqCst) > 0).await;
    // 50, 100, 200, 400 and 800 ms; at ENFILE the acceptor asks once more, to shed, and meets EMFILE.
    dialer.connect().await.unwrap().ping(b"served").await;
    let (took, pauses) = (started.elapsed().as_millis(), server.stats().accept_pauses);
    assert_eq!(pauses, 5);
    assert!((1550..1600).contains(&took), "{took} ms");
    server.shutdown(Duration::from_secs(30)).await;
}

async fn rule10_a_stop_does_not_wait_for_the_backoff(net: Net) {
    let (listener, _) = scripted(net, &[libc::ENOMEM; 100]).await;
    let server = serve(listener).await;
    until(|| server.stats().accept_pauses > 0).await;
    let started = Instant::now();
    server.shutdown(Duration::from_secs(30)).await;
    assert!(started.elapsed() < Duration::from_millis(1));
}

async fn rule10_out_of_descriptors_sheds_a_connection(net: Net) {
    let (listener, dialer) = scripted(net, &[libc::EMFILE]).await;
    let mut shed = dialer.connect().await.unwrap();
    let server = serve(listener).await;
    assert_eq!(shed.receive_all().await, b"", "told at once, and politely");
    // What comes before the listener has seen that nobody waits any more is shed too.
    let mut shed_count = 1;
    let mut answer = [0; 12];
    while answer != *b"served later" {
        let mut later = dialer.connect().await.unwrap();
        let asked = later.write_all(b"served later").await;
        if asked.is_err() || later.read_exact(&mut answer).await.is_err() {
            shed_count += 1;
        }
        assert!(shed_count < 100, "it sheds for ever");
    }
    let stats = server.stats();
    assert_eq!((stats.shed, stats.accept_pauses, stats.accepted), (shed_count, 1, 1));
    server.shutdown(Duration::from_secs(30)).await;
}

async fn rule10_a_fatal_error_is_reported(net: Net) {
    for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
        let (listener, dialer) = scripted(net, &[errno]).await;
        let report = serve(listener).await.run_until(std::future::pending::<()>()).await;
        assert_eq!(report.failure.as_ref().unwrap().raw_os_error(), Some(errno));
        assert!(report.to_string().contains("ended by a broken listener"), "{report}");
        dialer.connect().await.err().expect("the listener is gone");
    }
}

async fn rule10_a_fatal_error_is_in_the_report_of_shutdown(net: Net) {
    let (listener, dialer) = scripted(net, &[libc::EBADF]).await;
    let server = serve(listener).await;
    while dialer.connect().await.is_ok() {} // it has broken
    let report = server.shutdown(Duration::from_secs(30)).await;
    assert_eq!(report.failure.unwrap().raw_os_error(), Some(libc::EBADF));
}

async fn rule10_a_listener_that_always_fails_leaves_time_to_others(net: Net) {
    /// Fails at once for ever, and tells how often in a row nobody else could run.
    struct Failing {
        endpoint: Endpoint,
        others: Arc<AtomicUsize>,
        last_seen: usize,
        in_a_row: usize,
        verdict: mpsc::UnboundedSender<usize>,
    }

    #[async_trait]
    impl Listen for Failing {
        async fn accept(&mut self) -> io::Result<Incoming> {
            let others = self.others.load(Ordering::SeqCst);
            self.in_a_row = if others == self.last_seen { self.in_a_row + 1 } else { 0 };
            self.last_seen = others;
            if self.in_a_row == 100_000 {
                let _ = self.verdict.send(self.in_a_row);
                return Err(io::Error::from_raw_os_error(libc::EBADF)); // else the test would hang
            }
            Err(io::Error::from_raw_os_error(libc::ECONNABORTED))
        }

        fn endpoint(&self) -> &Endpoint {
            &self.endpoint
        }
    }

    let (verdict, mut verdicts) = mpsc::unbounded_channel();
    let others = Arc::new(AtomicUsize::new(0));
    let listener = Failing {
        endpoint: net.endpoint("failing"),
        others: Arc::clone(&others),
        last_seen: 0,
        in_a_row: 0,
        verdict,
    };
    let server = Server::builder(echo).listen_on(listener).bind().await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
        others.fetch_add(1, Ordering::SeqCst);
    }
    server.shutdown(Duration::from_secs(30)).await;
    assert!(verdicts.try_recv().is_err(), "it kept the thread to itself");
}

async fn rule10_a_server_ends_with_the_last_connection_of_an_exhausted_listener(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (listener, dialer) = Single::new(net).await;
    let server = Server::builder(probe).listen_on(listener).bind().await.unwrap();
    let client = async {
        let client = dialer.connect().await.unwrap();
        seen.made().await;
        while dialer.connect().await.is_ok() {} // the listener has gone
        drop(client);
    };
    let (report, ()) = tokio::join!(server.run_until(std::future::pending::<()>()), client);
    seen.until_lost().await;
    assert_eq!((report.drained, report.aborted), (0, 0));
    assert!(report.failure.is_none(), "{report}");
}

async fn rule10_a_server_with_another_listener_goes_on(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (single, once) = Single::new(net).await;
    let (other, dialer) = scripted(net, &[]).await;
    let server = Server::builder(probe).listen_on(single).listen_on(other).bind().await.unwrap();
    let clients = async {
        drop(once.connect().await.unwrap());
        seen.until_lost().await;
        drop(dialer.connect().await.unwrap());
        seen.until_lost().await;
    };
    let report = server.run_until(clients).await;
    assert!(report.failure.is_none(), "{report}");
}
