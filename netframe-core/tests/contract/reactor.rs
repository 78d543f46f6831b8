//! [`Reactor`](netframe_core::Reactor): the same rules on worker threads of its own.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::Instant;

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    CloseKind, ConnectionInfo, DrainReport, Endpoint, Factory, Handle, Protocol, Reactor, Result,
    Server, Timeout, Transport, Workers, factory_fn,
};

use crate::accept::Single;
use crate::probe::{Probe, done, echo};
use crate::world::{Dialer, Gate, Net, limits, until, within};

macro_rules! on_a_reactor {
    ($($name:ident,)*) => {$(
        mod $name {
            #[test]
            fn tcp() {
                super::$name(crate::world::Net::Tcp);
            }

            #[test]
            fn unix() {
                super::$name(crate::world::Net::Unix);
            }

            #[test]
            fn mem() {
                super::$name(crate::world::Net::Mem);
            }
        }
    )*};
}

on_a_reactor! {
    a_reactor_serves_on_all_its_workers,
    writes_from_another_thread_arrive_in_order,
    handles_work_across_workers,
    the_connection_limit_is_exact_over_all_workers,
    a_reactor_drains,
    nothing_is_accepted_while_a_reactor_drains,
    a_reactor_aborts_at_the_deadline,
    reactors_start_and_stop_many_times,
    a_reactor_ends_with_the_last_connection_of_an_exhausted_listener,
    services_are_replaced_without_losing_a_connection,
    a_change_that_fails_changes_nothing,
    the_connection_limit_of_a_process_is_exact_over_all_services,
    the_queues_of_a_process_stay_within_its_budget,
}

const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

fn reactor(net: Net, factory: impl Factory, max: usize) -> (Reactor, Dialer) {
    let network = MemNetwork::new();
    let workers = Workers::Count(TWO);
    let server = Server::builder(factory)
        .limits(limits(|l| l.max_connections = max))
        .network(network.clone())
        .listen(net.endpoint("reactor"))
        .unwrap();
    let reactor = Reactor::builder().workers(workers).build().unwrap().serve(server).unwrap();
    let endpoint = reactor.endpoints().next().unwrap().clone();
    (reactor, Dialer::new(network, endpoint))
}

fn run(reactor: Reactor, test: impl Future<Output = ()>) -> DrainReport {
    let report = reactor.run_until(within(test)).unwrap();
    assert!(report.leaks.is_empty(), "{report}");
    report
}

fn a_reactor_serves_on_all_its_workers(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (names, mut workers) = mpsc::unbounded_channel();
    let probe = probe.on_made(move |_| {
        let name = std::thread::current().name().map(str::to_owned);
        done(names.send(name.unwrap()).unwrap())
    });
    let (reactor, dialer) = reactor(net, probe, 1000);
    let report = run(reactor, async {
        let mut used = std::collections::BTreeSet::new();
        while used.len() < 2 {
            drop(dialer.connect().await.unwrap());
            used.insert(workers.recv().await.unwrap());
            seen.lost().await;
        }
        assert!(used.iter().map(String::as_str).eq(["netframe-0", "netframe-1"]), "{used:?}");
    });
    assert_eq!(report.aborted, 0);
}

fn writes_from_another_thread_arrive_in_order(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (reactor, dialer) = reactor(net, probe, 1000);
    run(reactor, async {
        let mut client = dialer.connect().await.unwrap();
        let handle = seen.made().await;
        let writer = std::thread::spawn(move || {
            for n in 0..10_000_u32 {
                let mut data = Bytes::copy_from_slice(&n.to_be_bytes());
                while let Err(refused) = handle.try_write(data) {
                    data = refused.into_data();
                    std::thread::yield_now();
                }
            }
            handle.close();
        });
        let got = client.receive_all().await;
        assert!(got.chunks(4).map(|n| u32::from_be_bytes(n.try_into().unwrap())).eq(0..10_000));
        writer.join().unwrap();
    });
}

fn handles_work_across_workers(net: Net) {
    // A chat of ten: each byte goes to all, whatever worker they live on.
    let (probe, mut seen) = Probe::new();
    let (all, handles) = (std::sync::Arc::new(std::sync::Mutex::new(Vec::<Handle>::new())), 10);
    let listed = std::sync::Arc::clone(&all);
    let joined = std::sync::Arc::clone(&all);
    let probe = probe.on_made(move |t| done(joined.lock().unwrap().push(t.handle()))).on_data(
        move |_, data| {
            let data = data.split().freeze();
            let members = listed.lock().unwrap().clone();
            Box::pin(async move {
                for member in members {
                    member.write(data.clone()).await?;
                }
                Ok(())
            })
        },
    );
    let (reactor, dialer) = reactor(net, probe, 1000);
    run(reactor, async {
        let mut clients = Vec::new();
        for _ in 0..handles {
            clients.push(dialer.connect().await.unwrap());
            seen.made().await;
            // The handler has begun; its handle is listed when it is done.
            while all.lock().unwrap().len() < clients.len() {
                yield_now().await;
            }
        }
        for n in 0..handles {
            for _ in 0..10 {
                clients[n].send([n as u8]).await;
            }
            for client in &mut clients {
                assert_eq!(client.receive(10).await, [n as u8; 10]);
            }
        }
    });
}

fn the_connection_limit_is_exact_over_all_workers(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (reactor, dialer) = reactor(net, probe, 3);
    run(reactor, async {
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(dialer.connect().await.unwrap());
        }
        for _ in 0..3 {
            seen.made().await;
        }
        for _ in 0..3 {
            assert_eq!(seen.rest(), [""; 0]);
            drop(clients.remove(0));
            let mut events = [
                seen.next().await.to_string(),
                seen.next().await.to_string(),
                seen.next().await.to_string(),
            ];
            events.sort();
            assert_eq!(events, ["eof ", "lost eof by peer", "made"]);
        }
    });
}

fn a_reactor_drains(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (gate, ready) = (Gate::new(), Gate::new());
    let (door, signal) = (gate.clone(), ready.clone());
    let probe = probe.on_data(move |t, data| {
        let (door, question) = (door.clone(), data.split());
        Box::pin(async move {
            door.pass().await;
            t.write(&question);
            Ok(())
        })
    });
    let (reactor, dialer) = reactor(net, probe, 1000);
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(within(async {
            let mut busy = dialer.connect().await.unwrap();
            seen.made().await;
            busy.send("question").await;
            seen.expect("data question").await;
            let mut idle = dialer.connect().await.unwrap();
            seen.made().await;
            ready.open();
            assert_eq!(idle.receive_all().await, b""); // the drain has begun
            drop(idle);
            gate.open();
            assert_eq!(busy.receive_all().await, b"question");
        }));
    });
    let report = run(reactor, async move { signal.pass().await });
    client.join().unwrap();
    assert_eq!((report.drained, report.aborted), (2, 0));
}

fn nothing_is_accepted_while_a_reactor_drains(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let (door, stop) = (gate.clone(), Gate::new());
    let probe = probe.on_draining(move |t| {
        let door = door.clone();
        Box::pin(async move {
            door.pass().await;
            t.close();
            Ok(())
        })
    });
    let (reactor, dialer) = reactor(net, probe, 1000);
    let signal = stop.clone();
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(within(async {
            let kept = dialer.connect().await.unwrap();
            seen.made().await;
            stop.open();
            seen.expect("draining").await;
            let late = dialer.connect().await;
            gate.open();
            drop(kept);
            late.err().expect("nobody listens any more")
        }))
    });
    run(reactor, async move { signal.pass().await });
    assert_eq!(client.join().unwrap().kind(), net.refusal());
}

fn a_reactor_aborts_at_the_deadline(net: Net) {
    let (probe, mut seen) = Probe::new();
    let (reactor, dialer) = reactor(net, probe.on_draining(|_| done(())), 1000);
    let mut kept = Vec::new();
    let report = reactor.run(|running| {
        let kept = &mut kept;
        async move {
            for _ in 0..4 {
                kept.push(dialer.connect().await.unwrap());
                seen.made().await;
            }
            until(|| running.services()[0].stats.live == 4).await;
            Instant::now() + Duration::from_millis(1)
        }
    });
    let report = report.unwrap();
    assert_eq!((report.drained, report.aborted), (0, 4));
}

fn reactors_start_and_stop_many_times(net: Net) {
    for _ in 0..20 {
        let (reactor, dialer) = reactor(net, echo, 1000);
        let report = run(reactor, async {
            dialer.connect().await.unwrap().ping(b"ping").await;
        });
        assert_eq!(report.aborted, 0);
    }
}

fn a_reactor_ends_with_the_last_connection_of_an_exhausted_listener(net: Net) {
    let workers = Workers::Count(TWO);
    // It listens in a runtime of its own, which has to go on.
    let outside = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (listener, dialer) = outside.block_on(Single::new(net));
    let server = Server::builder(echo).listen_on(listener);
    let reactor = Reactor::builder().workers(workers).build().unwrap().serve(server).unwrap();
    let client = outside.spawn(within(async move {
        dialer.connect().await.unwrap().ping(b"ping").await;
    }));
    let report = reactor.run_until(within(std::future::pending::<()>())).unwrap();
    outside.block_on(client).unwrap();
    assert_eq!((report.drained, report.aborted), (0, 0));
}

fn services_are_replaced_without_losing_a_connection(net: Net) {
    const CHANGES: usize = 50;
    let network = MemNetwork::new();
    let (replaced, kept) = (net.endpoint("replaced"), net.endpoint("kept"));
    let server = |endpoint: &Endpoint| {
        Server::builder(echo).network(network.clone()).listen(endpoint.clone()).unwrap()
    };
    let reactor = Reactor::builder().workers(Workers::Count(TWO)).build().unwrap();
    let reactor = reactor.serve(server(&replaced)).unwrap().serve(server(&kept)).unwrap();
    let dialers: Vec<_> =
        reactor.endpoints().map(|at| Dialer::new(network.clone(), at.clone())).collect();
    let report = reactor.run(|running| {
        within(async move {
            let mut untouched = dialers[1].connect().await.unwrap();
            let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
            let clients = async {
                while !done.load(Ordering::SeqCst) {
                    let mut client = dialers[0].connect().await.unwrap();
                    client.send(b"ping").await;
                    client.half_close().await;
                    let got = client.receive_all().await;
                    // One that had said nothing when its service stopped was closed in order.
                    assert!(got == b"ping" || got.is_empty(), "{got:?}");
                    served.fetch_add(got.len() / 4, Ordering::SeqCst);
                }
            };
            let changes = async {
                for _ in 0..CHANGES {
                    let old = running
                        .services()
                        .into_iter()
                        .find(|one| !one.stopping && one.endpoints[0] == dialers[0].endpoint);
                    let new = vec![server(&replaced)];
                    let drain = Duration::from_secs(30);
                    running.replace(&[old.unwrap().id], new, drain).await.unwrap();
                    untouched.ping(b"still here").await;
                }
                while served.load(Ordering::SeqCst) < CHANGES {
                    yield_now().await;
                }
                done.store(true, Ordering::SeqCst);
            };
            tokio::join!(clients, changes);
            until(|| running.services().len() == 2).await;
            Instant::now() + Duration::from_secs(30)
        })
    });
    assert_eq!(report.unwrap().aborted, 0);
}

fn a_change_that_fails_changes_nothing(net: Net) {
    let network = MemNetwork::new();
    let server = |endpoint: Endpoint| {
        Server::builder(echo).network(network.clone()).listen(endpoint).unwrap()
    };
    let reactor = Reactor::builder().workers(Workers::Count(TWO)).build().unwrap();
    let reactor = reactor.serve(server(net.endpoint("first"))).unwrap();
    let dialer = Dialer::new(network.clone(), reactor.endpoints().next().unwrap().clone());
    reactor
        .run(|running| {
            within(async move {
                let mut client = dialer.connect().await.unwrap();
                let other = net.endpoint("second");
                // Its port, path or name is that of the first one.
                let taken = server(dialer.endpoint.clone());
                let before = running.services();
                let refused = running
                    .replace(&[], vec![server(other.clone()), taken], Duration::from_secs(1))
                    .await;
                assert!(matches!(refused.unwrap_err(), netframe_core::Error::Listen { .. }));
                let after = running.services();
                assert_eq!(after.len(), 1);
                assert_eq!((after[0].id, after[0].stopping), (before[0].id, false));
                client.ping(b"still here").await;
                let ids = running.replace(&[], vec![server(other)], Duration::from_secs(1)).await;
                assert_eq!(ids.unwrap().len(), 1, "nothing of the failed attempt is in the way");
                Instant::now() + Duration::from_secs(30)
            })
        })
        .unwrap();
}

fn the_connection_limit_of_a_process_is_exact_over_all_services(net: Net) {
    let network = MemNetwork::new();
    let (probe, mut seen) = Probe::new();
    let probe = std::sync::Arc::new(probe);
    let server = |name| {
        let probe = std::sync::Arc::clone(&probe);
        Server::builder(factory_fn(move |info: &ConnectionInfo| probe.build_protocol(info)))
            .network(network.clone())
            .listen(net.endpoint(name))
            .unwrap()
    };
    let reactor = Reactor::builder().workers(Workers::Count(TWO)).max_connections(TWO);
    let reactor = reactor.build().unwrap();
    let reactor = reactor.serve(server("first")).unwrap().serve(server("second")).unwrap();
    let dialers: Vec<_> =
        reactor.endpoints().map(|at| Dialer::new(network.clone(), at.clone())).collect();
    let report = run(reactor, async {
        let mut clients = std::collections::VecDeque::new();
        for dialer in &dialers {
            clients.push_back(dialer.connect().await.unwrap());
            seen.made().await;
        }
        for round in 0..20 {
            // It waits in the queue until another one goes, of whichever service.
            clients.push_back(dialers[round % 2].connect().await.unwrap());
            assert!(seen.rest().is_empty(), "a third connection was accepted");
            drop(clients.pop_front());
            seen.lost().await;
            seen.made().await;
        }
    });
    assert_eq!(report.aborted, 0);
}

fn the_queues_of_a_process_stay_within_its_budget(net: Net) {
    const BUDGET: usize = 1 << 20;
    let network = MemNetwork::new();
    let never = limits(|l| {
        (l.write_stall_timeout, l.idle_timeout) = (Timeout::Never, Timeout::Never);
    });
    let endpoint = match net {
        Net::Tcp => "tcp://127.0.0.1:0?send_buffer=16KiB".parse().unwrap(),
        _ => net.endpoint("budget"),
    };
    let server = Server::builder(|_: &ConnectionInfo| Endless)
        .network(network.clone())
        .limits(never)
        .listen(endpoint)
        .unwrap();
    let reactor = Reactor::builder()
        .workers(Workers::Count(TWO))
        .max_queued(NonZeroUsize::new(BUDGET).unwrap())
        .build()
        .unwrap()
        .serve(server)
        .unwrap();
    let dialer = Dialer::new(network, reactor.endpoints().next().unwrap().clone());
    let report = reactor.run(|running| {
        within(async move {
            let stats = || running.services().remove(0).stats;
            let mut clients = Vec::new();
            for _ in 0..100 {
                // None of them reads; some may be ended as soon as they are there.
                clients.push(dialer.connect().await);
            }
            until(|| stats().accepted == 100).await;
            let mut highest = 0;
            until(|| {
                highest = highest.max(running.queued());
                stats().closed(CloseKind::Overflow) >= 30
            })
            .await;
            assert!(highest <= BUDGET, "{highest}");
            drop(clients);
            until(|| stats().live == 0).await;
            dialer.connect().await.unwrap().receive(10 << 20).await; // one that reads is served
            until(|| stats().live == 0).await;
            assert_eq!(running.queued(), 0);
            Instant::now()
        })
    });
    assert_eq!(report.unwrap().aborted, 0);
}

/// Writes as long as its peer reads.
struct Endless;

impl Protocol for Endless {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        loop {
            t.write(&[b'.'; 100_000]);
            t.drain().await?;
        }
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}
