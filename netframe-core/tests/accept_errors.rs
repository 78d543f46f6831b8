//! Every error that accept(2) documents: whom it concerns, which counter goes up, what is logged, and
//! what comes next; and that no flood of them fills a log.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "this is all test code")]

mod log;

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use log::Log;
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{Endpoint, Incoming, Listen, Server, stream_fn};

/// Whom an error concerns.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    /// One connection, which is passed over.
    Connection,
    /// The process, which has no descriptors left.
    Descriptors,
    /// The process, which has no memory left.
    Memory,
    /// The listener, which is of no use any more.
    Listener,
}
use Class::{Connection, Descriptors, Listener, Memory};

const ERRORS: [(&str, i32, Class); 25] = [
    // "Errors"
    ("EAGAIN", libc::EAGAIN, Connection),
    ("EWOULDBLOCK", libc::EWOULDBLOCK, Connection),
    ("EBADF", libc::EBADF, Listener),
    ("ECONNABORTED", libc::ECONNABORTED, Connection),
    ("EFAULT", libc::EFAULT, Listener),
    ("EINTR", libc::EINTR, Connection),
    ("EINVAL", libc::EINVAL, Listener),
    ("EMFILE", libc::EMFILE, Descriptors),
    ("ENFILE", libc::ENFILE, Descriptors),
    ("ENOBUFS", libc::ENOBUFS, Memory),
    ("ENOMEM", libc::ENOMEM, Memory),
    ("ENOTSOCK", libc::ENOTSOCK, Listener),
    ("EPERM", libc::EPERM, Connection),
    ("EPROTO", libc::EPROTO, Connection),
    // "various Linux kernels can return other errors"
    ("ENOSR", libc::ENOSR, Connection),
    ("ESOCKTNOSUPPORT", libc::ESOCKTNOSUPPORT, Connection),
    ("EPROTONOSUPPORT", libc::EPROTONOSUPPORT, Connection),
    ("ETIMEDOUT", libc::ETIMEDOUT, Connection),
    // "Error handling": errors that are pending on the network, but for EPROTO, which is above
    ("ENETDOWN", libc::ENETDOWN, Connection),
    ("ENOPROTOOPT", libc::ENOPROTOOPT, Connection),
    ("EHOSTDOWN", libc::EHOSTDOWN, Connection),
    ("ENONET", libc::ENONET, Connection),
    ("EHOSTUNREACH", libc::EHOSTUNREACH, Connection),
    ("ENETUNREACH", libc::ENETUNREACH, Connection),
    // Also what a socket says that cannot listen: that one pauses, as all does that goes on failing.
    ("EOPNOTSUPP", libc::EOPNOTSUPP, Connection),
];

/// One test, as the events of others must not be in the log.
#[tokio::test(start_paused = true)]
async fn every_error_is_sorted_counted_and_told_without_filling_the_log() {
    let log = Log::of(&["netframe_core::acceptor", "netframe_core::server"]);
    let _guard = tracing::subscriber::set_default(log.clone());
    for (name, errno, class) in ERRORS {
        if class == Listener {
            ends_the_server(name, errno, &log).await;
        } else {
            is_followed_by_service(name, errno, class, &log).await;
        }
    }
    // Each of these fails some hundred thousand times in a day, at the pace that is kept.
    for (errno, class) in [
        (libc::ECONNABORTED, Connection),
        (libc::EOPNOTSUPP, Connection),
        (libc::EMFILE, Descriptors),
        (libc::ENOMEM, Memory),
    ] {
        a_lasting_failure_is_told_now_and_then(errno, class, &log).await;
    }
    one_that_comes_and_goes_is_told_now_and_then(&log).await;
    // At a stop, what waits is asked for until there is nothing, or no use in it: without descriptors
    // once more, to shed.
    for (errno, asked, failed) in [
        (libc::ENOMEM, 1, false),
        (libc::EMFILE, 2, false),
        (libc::EBADF, 1, true),
        (libc::ECONNABORTED, 65_536, false),
    ] {
        a_stop_asks_a_listener_that_fails(errno, asked, failed).await;
    }
}

/// The error comes once; the client that comes next is served.
async fn is_followed_by_service(name: &str, errno: i32, class: Class, log: &Log) {
    let started = Instant::now();
    let (server, network) = serve(move |call| (call == 0).then_some(errno)).await;
    while server.stats().accept_errors + server.stats().accept_pauses == 0 {
        yield_now().await;
    }
    ping(&network).await;
    let took = started.elapsed();
    let stats = server.stats();
    let counted = [
        stats.accept_errors,
        stats.accept_pauses,
        stats.no_descriptors,
        stats.no_resources,
        stats.broken_listeners,
    ];
    let (expected, event, pause) = match class {
        Connection => ([1, 0, 0, 0, 0], "DEBUG accepting failed", 0),
        Descriptors => ([0, 1, 1, 0, 0], "WARN accepting pauses", 50),
        Memory => ([0, 1, 0, 1, 0], "WARN accepting pauses", 50),
        Listener => unreachable!("it is not followed by service"),
    };
    assert_eq!(counted, expected, "{name}");
    assert_eq!(stats.accepted, 1, "{name}");
    assert_eq!(log.take(), [event], "{name}");
    let pause = Duration::from_millis(pause);
    assert!(took >= pause && took <= pause + Duration::from_millis(1), "{name}: {took:?}");
    let report = server.shutdown(Duration::from_secs(30)).await;
    assert_eq!(report.to_string(), "0 drained, 0 aborted", "{name}");
}

/// The error comes while a client is served; the server drains, and reports it.
async fn ends_the_server(name: &str, errno: i32, log: &Log) {
    let (server, network) = serve(move |call| (call == 1).then_some(errno)).await;
    let mut client = network.connect("there").await.unwrap();
    client.write_all(b"ping").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"ping", "{name}");
    while server.stats().broken_listeners == 0 {
        yield_now().await;
    }
    assert_eq!((server.stats().accept_errors, server.stats().accept_pauses), (0, 0), "{name}");
    let report = server.run_until(pending::<()>()).await;
    assert_eq!(report.failure.unwrap().raw_os_error(), Some(errno), "{name}");
    assert_eq!(log.take(), ["ERROR the listener is broken"], "{name}");
    assert!(network.connect("there").await.is_err(), "{name}");
}

async fn a_lasting_failure_is_told_now_and_then(errno: i32, class: Class, log: &Log) {
    let (server, _network) = serve(move |_| Some(errno)).await;
    let time = Duration::from_secs(1000);
    sleep(time).await;
    let (stats, events) = (server.stats(), log.take());
    // At first some more, before the pauses are a second.
    assert!((1000..1010).contains(&stats.accept_pauses), "{stats:?}");
    let failed = if class == Connection { 64 * stats.accept_pauses } else { 0 };
    assert!(stats.accept_errors.abs_diff(failed) < 64, "{stats:?}");
    only_some_are_warnings(&events, time);
    server.shutdown(Duration::ZERO).await;
    log.take();
}

/// A descriptor is free now and then: each success starts the pauses over.
async fn one_that_comes_and_goes_is_told_now_and_then(log: &Log) {
    let started = Instant::now();
    let (server, network) = serve(|call| (call % 2 == 0).then_some(libc::ENOMEM)).await;
    for _ in 0..1000 {
        ping(&network).await;
    }
    assert!(server.stats().accept_pauses >= 1000);
    only_some_are_warnings(&log.take(), started.elapsed());
    server.shutdown(Duration::ZERO).await;
}

async fn a_stop_asks_a_listener_that_fails(errno: i32, asked: usize, failed: bool) {
    struct Stuck(Endpoint, i32, Arc<AtomicUsize>);

    #[async_trait]
    impl Listen for Stuck {
        async fn accept(&mut self) -> io::Result<Incoming> {
            pending().await
        }

        fn try_accept(&mut self) -> Option<io::Result<Incoming>> {
            self.2.fetch_add(1, Ordering::SeqCst);
            Some(Err(io::Error::from_raw_os_error(self.1)))
        }

        fn endpoint(&self) -> &Endpoint {
            &self.0
        }
    }

    let calls = Arc::new(AtomicUsize::new(0));
    let stuck = Stuck("mem://there".parse().unwrap(), errno, Arc::clone(&calls));
    let idle = stream_fn(|_| async { Ok(()) });
    let server = Server::builder(idle).listen_on(stuck).bind().await.unwrap();
    let report = server.shutdown(Duration::from_secs(30)).await;
    assert_eq!(calls.load(Ordering::SeqCst), asked, "{errno}");
    assert_eq!(report.failure.and_then(|error| error.raw_os_error()), failed.then_some(errno));
}

/// One in ten seconds is a warning, and all others are told only to those who debug.
#[track_caller]
fn only_some_are_warnings(events: &[String], time: Duration) {
    let warnings = events.iter().filter(|event| *event == "WARN accepting pauses").count();
    let others = ["DEBUG accepting pauses again", "DEBUG accepting failed"];
    let known = events.iter().filter(|event| others.contains(&event.as_str())).count();
    assert_eq!(warnings + known, events.len());
    let most = 1 + time.as_secs() as usize / 10;
    assert!((most / 2..=most).contains(&warnings), "{warnings} in {time:?}");
}

/// An echo whose listener fails at those calls for which `fails` has an error.
async fn serve(fails: impl FnMut(usize) -> Option<i32> + Send + 'static) -> (Server, MemNetwork) {
    let network = MemNetwork::new();
    let endpoint = "mem://there".parse().unwrap();
    let behind = Box::new(network.listen(endpoint, "there", 100).unwrap());
    let echo = stream_fn(|mut stream| async move {
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        tokio::io::copy(&mut reader, &mut writer).await?;
        Ok(())
    });
    let failing = Failing { behind, calls: 0, fails: Box::new(fails) };
    let server = Server::builder(echo).listen_on(failing).bind().await.unwrap();
    (server, network)
}

async fn ping(network: &MemNetwork) {
    let mut client = network.connect("there").await.unwrap();
    client.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut answer).await.unwrap(), 0);
}

struct Failing {
    behind: Box<dyn Listen>,
    calls: usize,
    fails: Box<dyn FnMut(usize) -> Option<i32> + Send>,
}

#[async_trait]
impl Listen for Failing {
    async fn accept(&mut self) -> io::Result<Incoming> {
        let call = self.calls;
        self.calls += 1;
        match (self.fails)(call) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => self.behind.accept().await,
        }
    }

    // As the system has it, whose shedding asks for what waits.
    fn try_accept(&mut self) -> Option<io::Result<Incoming>> {
        self.behind.try_accept()
    }

    fn endpoint(&self) -> &Endpoint {
        self.behind.endpoint()
    }
}
