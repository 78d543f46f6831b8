//! [`ReconnectingClient`]: when it connects again, what counts as connected, and how it ends. Over
//! memory on a paused clock, in which time passes only while nothing can run; what is special about
//! sockets and threads is tested with them.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::collections::BTreeSet;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::{self, MemNetwork};
use netframe_core::{
    Addr, Backoff, CloseKind, CloseReason, Connect, ConnectionInfo, DatagramProtocol, Error,
    Factory, Handle, Incoming, Limits, Protocol, ReconnectError, ReconnectMonitor, ReconnectState,
    ReconnectingClient, ReconnectingClientBuilder, Resolve, Result, Server, Stopped, Timeout,
    Transport, datagrams, factory_fn,
};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

const AT: &str = "mem://there";

const SECOND: Duration = Duration::from_secs(1);

// When it connects again.

#[tokio::test(start_paused = true)]
async fn delays_grow_are_jittered_and_never_exceed_the_cap() {
    let net = Net::new();
    let client = net.client(quiet).connect(AT).unwrap();
    let mut monitor = client.monitor();
    let mut late = Vec::new();
    for failures in 0..60 {
        let delay = delay(&mut monitor).await;
        let longest = Duration::from_millis(100 << failures.min(20)).min(30 * SECOND);
        assert!(delay <= longest, "{delay:?} after {failures} failures");
        if failures >= 10 {
            late.push(delay);
        }
    }
    assert_eq!(late.iter().collect::<BTreeSet<_>>().len(), late.len(), "no two are alike");
    let mean = late.iter().sum::<Duration>() / 50;
    assert!((12 * SECOND..18 * SECOND).contains(&mean), "{mean:?}");
    assert_eq!(client.status().attempts, 60);
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_delays() {
    let delays = async |seed| {
        let client = Net::new().client(quiet).seed(seed).connect(AT).unwrap();
        let mut monitor = client.monitor();
        let mut delays = Vec::new();
        for _ in 0..10 {
            delays.push(delay(&mut monitor).await);
        }
        delays
    };
    assert_eq!(delays(1).await, delays(1).await);
    assert_ne!(delays(1).await, delays(2).await);
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_starts_when_the_delay_is_over() {
    let client = Net::new().client(quiet).connect(AT).unwrap();
    let mut monitor = client.monitor();
    let mut due = Instant::now() + delay(&mut monitor).await;
    for _ in 0..10 {
        // It fails at once, and is followed by the next delay.
        let delay = delay(&mut monitor).await;
        let late = Instant::now() - due;
        assert!(late <= Duration::from_millis(1), "tokio's timers tick in milliseconds: {late:?}");
        due = Instant::now() + delay;
    }
}

#[tokio::test(start_paused = true)]
async fn delays_start_again_after_a_connection_that_lasted() {
    let net = Net::new();
    let client = net.client(quiet).connect(AT).unwrap();
    let mut monitor = client.monitor();
    for _ in 0..12 {
        delay(&mut monitor).await;
    }
    for (lasts, longest) in [(9 * SECOND, 30 * SECOND), (10 * SECOND, SECOND / 10)] {
        let server = net.serve(quiet).await;
        client.when_connected().await.unwrap();
        sleep(lasts).await;
        drop(server);
        let delay = delay(&mut monitor).await;
        assert!(delay <= longest);
        assert_eq!(delay > SECOND / 10, longest > SECOND / 10, "{delay:?} after {lasts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drops_every_connection_is_not_hammered() {
    let net = Net::new();
    let (slam, _events) = probe(|t| t.abort());
    let server = net.serve(slam).await;
    let client = net.client(quiet).connect(AT).unwrap();
    sleep(3600 * SECOND).await;
    let attempts = client.status().attempts;
    assert!((200..300).contains(&attempts), "{attempts} in an hour; 15 s apart on average");
    assert_eq!(server.stats().accepted, attempts);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_the_connect_timeout() {
    let net = Net::new();
    let listener = net.0.listen(AT.parse().unwrap(), "there", 1).unwrap();
    let _fills_the_backlog = net.0.connect("there").await.unwrap();
    let mut limits = Limits::default();
    limits.connect_timeout = Timeout::from_secs(3);
    let client = net.client(quiet).limits(limits).connect(AT).unwrap();
    let mut monitor = client.monitor();
    for _ in 0..3 {
        loop {
            if let ReconnectState::Connecting = monitor.changed().await.unwrap().state {
                break;
            }
        }
        let started = Instant::now();
        delay(&mut monitor).await;
        assert_eq!(started.elapsed().as_secs(), 3);
        assert_eq!(
            last_error(&monitor),
            "mem://there did not answer within 3s; raise `connect_timeout` if it is that slow"
        );
    }
    drop(listener);
}

#[tokio::test(start_paused = true)]
async fn it_connects_again_however_the_connection_ended() {
    let net = Net::new();
    let server = net.serve(echo).await;
    let client = net.client(quiet).connect(AT).unwrap();
    let mut monitor = client.monitor();
    let ends: [fn(&Handle); 3] = [Handle::close, Handle::abort, Handle::close_write];
    for (end, reason) in
        ends.into_iter().zip(["closed by local", "aborted by local", "eof by peer"])
    {
        let handle = client.when_connected().await.unwrap();
        end(&handle);
        delay(&mut monitor).await;
        assert!(handle.is_closed());
        assert_eq!(last_error(&monitor), format!("connection lost: {reason}"));
    }
    client.when_connected().await.unwrap();
    assert_eq!(server.stats().live, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_is_found() {
    let net = Net::new();
    let client = net.client(quiet).connect(AT).unwrap();
    for _ in 0..5 {
        let server = net.serve(echo).await;
        let handle = client.when_connected().await.unwrap();
        server.shutdown(SECOND).await;
        handle.closed().await;
        assert!(client.handle().is_none());
        sleep(60 * SECOND).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_server_that_comes_back_at_its_port_is_found() {
    within(async {
        let mut server = Server::bind("tcp://127.0.0.1:0", echo).await.unwrap();
        let endpoint = server.endpoint().clone();
        let client = ReconnectingClient::builder(quiet).backoff(hasty());
        let client = client.connect(endpoint.clone()).unwrap();
        let mut ids = BTreeSet::new();
        for _ in 0..5 {
            let handle = client.when_connected().await.unwrap();
            assert!(ids.insert(handle.id()));
            server.shutdown(SECOND).await;
            handle.closed().await;
            server = Server::bind(endpoint.clone(), echo).await.unwrap();
        }
        assert_eq!(client.shutdown(SECOND).await.aborted, 0);
        assert_eq!(server.shutdown(SECOND).await.aborted, 0);
    })
    .await;
    nothing_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_one_connection_at_a_time() {
    within(async {
        let (slam, _events) = probe(|t| t.abort());
        let server = Server::bind("tcp://127.0.0.1:0", slam).await.unwrap();
        let mut limits = Limits::default();
        limits.max_connections = 1;
        let mut backoff = hasty();
        backoff.max = backoff.initial;
        let client = ReconnectingClient::builder(quiet).limits(limits).backoff(backoff);
        let client = client.connect(server.endpoint().clone()).unwrap();
        let mut monitor = client.monitor();
        while client.status().attempts < 300 {
            monitor.changed().await.unwrap();
        }
        client.shutdown(SECOND).await;
        server.shutdown(SECOND).await;
    })
    .await;
    nothing_left().await;
}

#[tokio::test]
async fn a_name_is_looked_up_for_each_attempt() {
    within(async {
        let names = Names::default();
        let client = ReconnectingClient::builder(quiet).backoff(hasty()).resolver(names.clone());
        let client = client.connect("tcp://moving.test:9").unwrap();
        let mut monitor = client.monitor();
        delay(&mut monitor).await;
        assert_eq!(
            last_error(&monitor),
            "cannot find an address for `tcp://moving.test:9`: \
             cannot look up `moving.test`: not known yet"
        );
        for round in 1..=3 {
            let server = Server::bind("tcp://127.0.0.1:0", echo).await.unwrap();
            let asked = names.moves_to(server.endpoint().address().socket_addr().unwrap());
            let handle = client.when_connected().await.unwrap();
            assert_eq!(server.stats().accepted, 1, "round {round}");
            assert!(names.asked() > asked);
            drop(server); // and its port with it
            handle.closed().await;
        }
    })
    .await;
}

// What counts as connected.

#[tokio::test(start_paused = true)]
async fn a_health_check_that_passes_makes_it_connected() {
    let net = Net::new();
    let (server, mut served) = probe(|_| ());
    let _server = net.serve(server).await;
    let client = net.client(quiet).healthy_when(|handle: Handle| async move {
        handle.write("how are you?").await?;
        sleep(SECOND).await;
        Ok(())
    });
    let client = client.connect(AT).unwrap();
    assert_eq!(served.next().await, "data how are you?");
    assert!(client.handle().is_none(), "not before the check is done");
    assert!(matches!(client.status().state, ReconnectState::Connecting));
    let handle = client.when_connected().await.unwrap();
    assert_eq!(client.handle().unwrap().id(), handle.id());
    assert!(client.status().last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_fails_ends_the_attempt() {
    let net = Net::new();
    let (server, mut served) = probe(|_| ());
    let _server = net.serve(server).await;
    let patience = Arc::new(AtomicUsize::new(0));
    let client = net.client(quiet).healthy_when(move |_| {
        let checks = patience.fetch_add(1, Ordering::Relaxed);
        async move { if checks < 3 { Err("it is too young".into()) } else { Ok(()) } }
    });
    let client = client.connect(AT).unwrap();
    let mut monitor = client.monitor();
    for _ in 0..3 {
        delay(&mut monitor).await;
        assert_eq!(last_error(&monitor), "the health check failed: it is too young");
        assert_eq!(served.next().await, "lost reset by peer", "it was aborted");
    }
    client.when_connected().await.unwrap();
    assert_eq!(client.status().attempts, 4);
    assert!(client.status().last_error.is_some(), "it is kept");
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_hangs_is_ended_at_its_deadline() {
    for (within, secs) in [(None, 10), (Some(2 * SECOND), 2)] {
        let net = Net::new();
        let (server, mut served) = probe(|_| ());
        let _server = net.serve(server).await;
        let mut client = net.client(quiet).healthy_when(|_| pending());
        if let Some(within) = within {
            client = client.healthy_within(within);
        }
        let client = client.connect(AT).unwrap();
        let started = Instant::now();
        delay(&mut client.monitor()).await;
        assert_eq!(started.elapsed().as_secs(), secs);
        assert_eq!(
            last_error(&client.monitor()),
            format!(
                "the health check was not done within {secs}s; \
                 raise `healthy_within` if it is that slow"
            )
        );
        assert_eq!(served.next().await, "lost reset by peer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_health_check_may_take_for_ever_if_that_is_said() {
    let net = Net::new();
    let _server = net.serve(echo).await;
    let client = net.client(quiet).limits(never_idle()).healthy_when(|_| pending());
    let client = client.healthy_within(Timeout::Never).connect(AT).unwrap();
    sleep(86_400 * SECOND).await;
    assert_eq!(client.status().attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_health_check_ends_with_its_connection() {
    let net = Net::new();
    let server = net.serve(echo).await;
    let client = net.client(quiet).healthy_when(|_| pending()).connect(AT).unwrap();
    sleep(SECOND).await;
    server.shutdown(SECOND).await;
    delay(&mut client.monitor()).await;
    assert_eq!(last_error(&client.monitor()), "connection lost: eof by peer");
}

#[tokio::test(start_paused = true)]
async fn a_factory_that_refuses_fails_the_attempt() {
    let net = Net::new();
    let _server = net.serve(echo).await;
    let checked = Arc::new(AtomicUsize::new(0));
    let checks = Arc::clone(&checked);
    let client =
        net.client(factory_fn(|_: &ConnectionInfo| None::<Quiet>)).healthy_when(move |_| {
            checks.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
    let client = client.connect(AT).unwrap();
    let mut monitor = client.monitor();
    for _ in 0..3 {
        delay(&mut monitor).await;
        assert_eq!(last_error(&monitor), "connection lost: closed by local");
    }
    assert_eq!(checked.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_the_attempt_only() {
    let net = Net::new();
    let _server = net.serve(echo).await;
    let attempt = Arc::new(AtomicUsize::new(0));
    let checks = Arc::clone(&attempt);
    let factory = move |_: &ConnectionInfo| {
        assert_ne!(attempt.fetch_add(1, Ordering::Relaxed), 0, "no protocol");
        Quiet
    };
    let client = net.client(factory).healthy_when(move |_| {
        let attempt = checks.load(Ordering::Relaxed);
        assert_ne!(attempt, 2, "no future");
        async move {
            sleep(SECOND).await;
            assert_ne!(attempt, 3, "no health");
            Ok(())
        }
    });
    let client = client.connect(AT).unwrap();
    let mut monitor = client.monitor();
    for (start, end) in [
        ("connection lost: panic by local: ", "no protocol"),
        ("the attempt panicked: ", "no future"),
        ("the attempt panicked: ", "no health"),
    ] {
        delay(&mut monitor).await;
        let error = last_error(&monitor);
        assert!(error.starts_with(start) && error.contains(end), "{error}");
    }
    client.when_connected().await.unwrap();
    assert_eq!(client.status().attempts, 4);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_resolver_ends_the_attempt_only() {
    struct Panics;

    #[async_trait]
    impl Resolve for Panics {
        async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            panic!("no name")
        }
    }

    let client = ReconnectingClient::builder(quiet).resolver(Panics);
    let client = client.connect("tcp://there.test:9").unwrap();
    let mut monitor = client.monitor();
    for _ in 0..3 {
        delay(&mut monitor).await;
        assert_eq!(last_error(&monitor), "the attempt panicked: no name");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connector_of_ones_own_is_asked_for_each_attempt() {
    /// Opens every other connection, to a peer that does nothing.
    #[derive(Default)]
    struct EveryOther(Mutex<(usize, Option<mem::MemStream>)>);

    #[async_trait]
    impl Connect for EveryOther {
        async fn connect(&self) -> io::Result<Incoming> {
            let (attempts, open) = &mut *self.0.lock().unwrap();
            *attempts += 1;
            if *attempts % 2 == 1 {
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            let (peer, stream) = mem::pair(1024);
            *open = Some(peer);
            Ok(Incoming::new(stream, Addr::named("nobody"), Addr::UNNAMED))
        }
    }

    let client = ReconnectingClient::builder(quiet);
    let client = client.connect_with("custom://own", EveryOther::default()).unwrap();
    let mut last = None;
    for _ in 0..3 {
        let handle = client.when_connected().await.unwrap();
        assert_ne!(last.replace(handle.id()), Some(handle.id()));
        handle.abort();
        handle.closed().await;
    }
    assert!(format!("{client:?}").contains("custom://own"));
}

// Who waits for it.

#[tokio::test(start_paused = true)]
async fn everybody_who_waits_gets_the_connection() {
    let net = Net::new();
    let client = Arc::new(net.client(quiet).connect(AT).unwrap());
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move { client.when_connected().await.unwrap().id() })
        })
        .collect();
    timeout(60 * SECOND, client.when_connected()).await.unwrap_err();
    let _server = net.serve(echo).await;
    let id = client.when_connected().await.unwrap().id();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), id);
    }
    assert_eq!(client.when_connected().await.unwrap().id(), id, "and those who come later");
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_a_connection_that_has_ended() {
    let net = Net::new();
    let _server = net.serve(echo).await;
    let client = net.client(quiet).connect(AT).unwrap();
    let first = client.when_connected().await.unwrap();
    first.abort();
    first.closed().await;
    assert!(client.handle().is_none());
    assert_ne!(client.when_connected().await.unwrap().id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_told_to_everybody() {
    let client = Net::new().client(quiet).connect(AT).unwrap();
    let mut monitor = client.monitor();
    let waiter = client.monitor();
    let waiting = tokio::spawn(async move { waiter.when_connected().await.unwrap_err() });
    sleep(SECOND).await;
    client.shutdown(SECOND).await;
    assert_eq!(waiting.await.unwrap(), Stopped);
    assert!(matches!(monitor.changed().await.unwrap().state, ReconnectState::Stopped));
    assert_eq!(monitor.changed().await.unwrap_err(), Stopped);
    assert_eq!(monitor.when_connected().await.unwrap_err(), Stopped);
    assert!(monitor.handle().is_none());
    assert_eq!(Stopped.to_string(), "the client was stopped");
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_what_happens() {
    let net = Net::new();
    let client = net.client(quiet).connect(AT).unwrap();
    let mut monitor = client.monitor();
    assert!(matches!(client.status().state, ReconnectState::Connecting));

    let status = monitor.changed().await.unwrap();
    assert!(matches!(status.state, ReconnectState::Waiting { .. }));
    assert_eq!(status.attempts, 1);
    assert_eq!(
        last_error(&monitor),
        "cannot connect to mem://there: nobody listens on mem://there"
    );

    let server = net.serve(echo).await;
    let status = monitor.changed().await.unwrap();
    let ReconnectState::Connected(handle) = status.state else { panic!("{status:?}") };
    assert_eq!(handle.id(), client.handle().unwrap().id());
    assert_eq!(status.attempts, 2);
    assert!(status.last_error.is_some(), "it is kept");

    server.shutdown(SECOND).await;
    let status = monitor.changed().await.unwrap();
    assert!(matches!(status.state, ReconnectState::Waiting { .. }));
    assert_eq!(status.attempts, 2);
    assert_eq!(last_error(&monitor), "connection lost: eof by peer");
}

// How it ends.

#[tokio::test(start_paused = true)]
async fn it_stops_at_once_while_it_waits() {
    let client = Net::new().client(quiet).connect(AT).unwrap();
    let mut monitor = client.monitor();
    while delay(&mut monitor).await < 10 * SECOND {}
    stops_at_once(client).await;
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_once_while_it_connects() {
    let (resolver, mut events) = hangs();
    let client = ReconnectingClient::builder(quiet).resolver(resolver);
    let client = client.connect("tcp://there.test:9").unwrap();
    assert_eq!(events.next().await, "asked");
    stops_at_once(client).await;
    assert_eq!(events.next().await, "dropped");
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_once_in_its_health_check() {
    let net = Net::new();
    let (server, mut served) = probe(|_| ());
    let server = net.serve(server).await;
    let client = net.client(quiet).healthy_when(|handle: Handle| async move {
        handle.write("x").await?;
        pending().await
    });
    let client = client.connect(AT).unwrap();
    assert_eq!(served.next().await, "data x");
    let started = Instant::now();
    assert_eq!(client.shutdown(60 * SECOND).await.aborted, 0);
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(served.next().await, "lost reset by peer");
    server.shutdown(SECOND).await;
    nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_flushes_what_is_queued() {
    let net = Net::new();
    let (server, mut served) = probe(|_| ());
    let server = net.serve(server).await;
    let (probe, mut seen) = probe(|_| ());
    let client = net.client(probe).connect(AT).unwrap();
    let handle = client.when_connected().await.unwrap();
    handle.try_write(vec![b'x'; 10]).unwrap();
    handle.try_write(vec![b'y'; 10]).unwrap();
    let report = client.shutdown(SECOND).await;
    assert_eq!((report.drained, report.aborted), (1, 0));
    assert_eq!(served.next().await, "data xxxxxxxxxxyyyyyyyyyy");
    assert_eq!(served.next().await, "lost eof by peer");
    assert_eq!(seen.next().await, "draining");
    assert_eq!(seen.next().await, "lost shutdown by system");
    server.shutdown(SECOND).await;
    nothing_left().await; // though a handle is kept
    drop(handle);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_end_is_aborted_at_the_deadline() {
    let net = Net::new();
    let (server, mut served) = probe(|t| t.pause_reading());
    let server = net.serve(server).await;
    let client = net.client(quiet).connect(AT).unwrap();
    let handle = client.when_connected().await.unwrap();
    handle.try_write(vec![0; 500_000]).unwrap();
    let started = Instant::now();
    let report = client.shutdown(5 * SECOND).await;
    assert_eq!((report.drained, report.aborted), (0, 1));
    assert_eq!(started.elapsed(), 5 * SECOND);
    assert!(handle.is_closed());
    assert_eq!(handle.closed().await.kind(), CloseKind::Shutdown);
    assert_eq!(served.next().await, "lost reset by peer");
    server.shutdown(SECOND).await;
    nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_dropped_aborts() {
    let net = Net::new();
    let (server, mut served) = probe(|t| t.pause_reading());
    let server = net.serve(server).await;
    let client = net.client(quiet).connect(AT).unwrap();
    client.when_connected().await.unwrap().try_write(vec![0; 500_000]).unwrap();
    timeout(SECOND, client.shutdown(60 * SECOND)).await.unwrap_err();
    assert_eq!(served.next().await, "lost reset by peer");
    server.shutdown(SECOND).await;
    nothing_left().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_leaves_nothing() {
    // Before its task has run.
    drop(Net::new().client(quiet).connect(AT).unwrap());
    nothing_left().await;

    // While it waits.
    let client = Net::new().client(quiet).connect(AT).unwrap();
    sleep(SECOND).await;
    drop(client);
    nothing_left().await;

    // While it connects.
    let (resolver, mut events) = hangs();
    let client = ReconnectingClient::builder(quiet).resolver(resolver);
    let client = client.connect("tcp://there.test:9").unwrap();
    assert_eq!(events.next().await, "asked");
    drop(client);
    assert_eq!(events.next().await, "dropped");
    nothing_left().await;

    // In its health check, and while it is connected.
    for healthy in [false, true] {
        let net = Net::new();
        let (server, mut served) = probe(|_| ());
        let server = net.serve(server).await;
        let client = net.client(quiet).healthy_when(move |handle: Handle| async move {
            handle.write("x").await?;
            if healthy { Ok(()) } else { pending().await }
        });
        let client = client.connect(AT).unwrap();
        assert_eq!(served.next().await, "data x");
        assert_eq!(client.handle().is_some(), healthy);
        let monitor = client.monitor();
        drop(client);
        assert_eq!(served.next().await, "lost reset by peer");
        assert_eq!(monitor.when_connected().await.unwrap_err(), Stopped);
        server.shutdown(SECOND).await;
        nothing_left().await;
    }
}

#[test]
fn a_client_outlives_its_runtime() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let net = Net::new();
    let client = runtime.block_on(async {
        let _server = net.serve(echo).await;
        let client = net.client(quiet).connect(AT).unwrap();
        client.when_connected().await.unwrap();
        client
    });
    drop(runtime);
    assert!(matches!(client.status().state, ReconnectState::Stopped));
    assert!(client.handle().is_none());
    drop(client);
}

// What is refused.

#[tokio::test]
async fn what_no_attempt_can_mend_is_an_error_at_once() {
    struct Datagrams;

    impl DatagramProtocol for Datagrams {
        async fn datagram_received(
            &mut self,
            _: &mut netframe_core::DatagramTransport<'_>,
            _: netframe_core::Datagram,
        ) -> Result {
            Ok(())
        }
    }

    let refused = |endpoint: &str| ReconnectingClient::connect(endpoint, quiet).unwrap_err();
    assert!(matches!(refused("nonsense"), Error::Endpoint(_)));
    assert!(matches!(refused("quic://127.0.0.1:9"), Error::Unsupported { .. }));
    assert_eq!(
        refused("stdio:").to_string(),
        "`stdio:` is one connection in the life of a process; use `Client`"
    );
    let datagrams = ReconnectingClient::connect("tcp://127.0.0.1:9", datagrams(|_| Datagrams));
    assert!(matches!(datagrams.unwrap_err(), Error::NeedsDatagrams { .. }));

    let mut limits = Limits::default();
    limits.max_pending = 0;
    let client = ReconnectingClient::builder(quiet).limits(limits).connect(AT);
    assert!(matches!(client.unwrap_err(), Error::Limits(_)));
    let mut backoff = Backoff::default();
    backoff.initial = Duration::ZERO;
    let client = ReconnectingClient::builder(quiet).backoff(backoff).connect(AT);
    assert!(matches!(client.unwrap_err(), Error::Backoff(_)));
    let client = ReconnectingClient::builder(quiet).healthy_within(Duration::ZERO).connect(AT);
    assert!(client.unwrap_err().to_string().starts_with("`healthy_within` is 0s"));
    nothing_left().await;
}

/// A memory network of its own.
struct Net(MemNetwork);

impl Net {
    fn new() -> Self {
        Self(MemNetwork::new())
    }

    async fn serve(&self, factory: impl Factory) -> Server {
        let server = Server::builder(factory).network(self.0.clone()).limits(never_idle());
        server.listen(AT).unwrap().bind().await.unwrap()
    }

    fn client(&self, factory: impl Factory) -> ReconnectingClientBuilder {
        ReconnectingClient::builder(factory).network(self.0.clone()).seed(42)
    }
}

fn never_idle() -> Limits {
    let mut limits = Limits::default();
    limits.idle_timeout = Timeout::Never;
    limits
}

/// For tests in real time.
fn hasty() -> Backoff {
    let mut backoff = Backoff::default();
    (backoff.initial, backoff.max) = (Duration::from_millis(1), Duration::from_millis(10));
    backoff
}

/// How long it waits for the next attempt, once it does.
async fn delay(monitor: &mut ReconnectMonitor) -> Duration {
    loop {
        if let ReconnectState::Waiting { until } = monitor.changed().await.unwrap().state {
            return until.saturating_duration_since(Instant::now());
        }
    }
}

/// With its sources.
fn last_error(monitor: &ReconnectMonitor) -> String {
    let error: Arc<ReconnectError> = monitor.status().last_error.unwrap();
    format!("{error:?}")
}

async fn stops_at_once(client: ReconnectingClient) {
    let started = Instant::now();
    let report = client.shutdown(60 * SECOND).await;
    assert_eq!((report.drained, report.aborted), (0, 0));
    assert_eq!(started.elapsed(), Duration::ZERO);
    nothing_left().await;
}

/// Waits until every task of the runtime has ended, for which no time needs to pass.
async fn nothing_left() {
    let alive = || runtime::Handle::current().metrics().num_alive_tasks();
    for _ in 0..100_000 {
        if alive() == 0 {
            return;
        }
        yield_now().await;
    }
    panic!("{} tasks are left", alive());
}

async fn within<T>(test: impl Future<Output = T>) -> T {
    timeout(60 * SECOND, test).await.expect("the test hangs")
}

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

struct Echo;

impl Protocol for Echo {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

fn echo(_: &ConnectionInfo) -> Echo {
    Echo
}

/// Does something to each new connection, and tells what happens to it.
#[derive(Clone)]
struct Probe {
    made: fn(&mut dyn Transport),
    log: Log,
}

fn probe(made: fn(&mut dyn Transport)) -> (Probe, Events) {
    let (log, events) = log();
    (Probe { made, log }, events)
}

impl Factory for Probe {
    type Protocol = Self;

    fn build_protocol(&self, _: &ConnectionInfo) -> Option<Self> {
        Some(self.clone())
    }
}

impl Protocol for Probe {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        (self.made)(t);
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.log.tell(format!("data {}", data.split().escape_ascii()));
        Ok(())
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        self.log.tell("draining".to_owned());
        t.close_when_idle();
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.log.tell(format!("lost {} by {}", reason.kind(), reason.by()));
    }
}

#[derive(Clone)]
struct Log(mpsc::UnboundedSender<String>);

impl Log {
    fn tell(&self, event: String) {
        // The test may have stopped to listen.
        let _ = self.0.send(event);
    }
}

struct Events(mpsc::UnboundedReceiver<String>);

impl Events {
    async fn next(&mut self) -> String {
        timeout(60 * SECOND, self.0.recv()).await.expect("nothing happens").unwrap()
    }
}

fn log() -> (Log, Events) {
    let (log, events) = mpsc::unbounded_channel();
    (Log(log), Events(events))
}

/// Finds nothing for ever, and tells when it is asked, and when it is given up.
struct Hangs(Log);

fn hangs() -> (Hangs, Events) {
    let (log, events) = log();
    (Hangs(log), events)
}

#[async_trait]
impl Resolve for Hangs {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        struct TellDrop<'a>(&'a Log);

        impl Drop for TellDrop<'_> {
            fn drop(&mut self) {
                self.0.tell("dropped".to_owned());
            }
        }

        let _guard = TellDrop(&self.0);
        self.0.tell("asked".to_owned());
        pending().await
    }
}

/// One name, whose address changes.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<(Option<SocketAddr>, usize)>>);

impl Names {
    /// Returns how many times it was asked before.
    fn moves_to(&self, addr: SocketAddr) -> usize {
        let mut names = self.0.lock().unwrap();
        names.0 = Some(addr);
        names.1
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let mut names = self.0.lock().unwrap();
        names.1 += 1;
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "not known yet");
        names.0.map(|addr| vec![addr]).ok_or_else(unknown)
    }
}
