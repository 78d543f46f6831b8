//! The simulated network itself, and what fails a run.

use std::io::ErrorKind::{AddrInUse, BrokenPipe, ConnectionRefused, ConnectionReset};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use netframe_core::testing::sim::{self, Conditions, Sim, SimNetwork, SimStream};
use netframe_core::{ConnectionInfo, Io, Limits, Listen, Server, Stream, stream_fn};

use crate::echo::Echo;
use crate::pattern;

const MS: Duration = Duration::from_millis(1);

#[test]
fn bytes_take_their_time_and_directions_end_apart() {
    sim::run(1, async |net| {
        let mut link = Conditions::default();
        link.latency = 30 * MS;
        net.set_link("client", "server", link);
        let start = Instant::now();
        let (mut a, mut b) = pair(&net).await;
        assert_eq!(start.elapsed(), 60 * MS, "there and back");
        a.write_all(b"question").await.unwrap();
        a.shutdown().await.unwrap();
        assert_eq!(a.write(b"x").await.unwrap_err().kind(), BrokenPipe);
        let mut text = String::new();
        b.read_to_string(&mut text).await.unwrap();
        assert_eq!((&*text, start.elapsed()), ("question", 90 * MS));
        b.write_all(b"answer").await.unwrap();
        drop(b);
        let mut text = String::new();
        a.read_to_string(&mut text).await.unwrap();
        assert_eq!((&*text, start.elapsed()), ("answer", 120 * MS));
    });
}

#[test]
fn a_full_direction_waits_for_its_reader_and_bandwidth_for_the_clock() {
    sim::run(1, async |net| {
        let mut conditions = Conditions::default();
        (conditions.capacity, conditions.bandwidth) = (1000, Some(1000));
        net.set_conditions(conditions);
        let (mut a, mut b) = pair(&net).await;
        let start = Instant::now();
        assert_eq!(a.write(&pattern(3000)).await.unwrap(), 1000);
        timeout(10_000 * MS, a.write(b"x")).await.expect_err("nobody reads");
        let mut got = vec![0; 1000];
        b.read_exact(&mut got).await.unwrap();
        assert_eq!(got, pattern(1000));
        assert_eq!(a.write(b"x").await.unwrap(), 1);
        assert_eq!(start.elapsed(), 10_000 * MS);
        let start = Instant::now();
        a.write_all(&pattern(999)).await.unwrap();
        b.read_exact(&mut got).await.unwrap();
        assert_eq!(start.elapsed(), 1001 * MS, "a second on the line, and the latency");
    });
}

#[test]
fn a_reset_destroys_what_is_unread_and_is_told() {
    sim::run(1, async |net| {
        for by_command in [false, true] {
            let (mut a, mut b) = pair(&net).await;
            b.write_all(b"lost").await.unwrap();
            sleep(5 * MS).await;
            if by_command {
                net.reset("client");
            } else {
                b.set_abort();
                drop(b);
            }
            a.reset().await;
            let read = a.read(&mut [0; 9]).await;
            assert_eq!(read.unwrap_err().kind(), ConnectionReset);
            assert_eq!(a.write(b"x").await.unwrap_err().kind(), ConnectionReset);
        }
        // Dropped with input unread, and written to after the end.
        let (mut a, b) = pair(&net).await;
        a.write_all(b"unread").await.unwrap();
        sleep(5 * MS).await;
        drop(b);
        a.reset().await;
        let (mut a, b) = pair(&net).await;
        drop(b);
        a.write_all(b"too late").await.unwrap();
        a.reset().await;
    });
}

#[test]
fn a_partition_holds_back_and_silence_loses() {
    sim::run(1, async |net| {
        let (mut a, mut b) = pair(&net).await;
        net.partition("client", "server");
        a.write_all(b"held").await.unwrap();
        a.shutdown().await.unwrap();
        let client = net.host("client");
        let start = Instant::now();
        let waits = tokio::spawn(async move { client.connect("server").await });
        timeout(1000 * MS, b.read(&mut [0])).await.expect_err("nothing arrives");
        net.heal("client", "server");
        let mut text = String::new();
        b.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "held");
        drop((a, b));
        assert_eq!(waits.await.unwrap().unwrap_err().kind(), ConnectionRefused);
        assert!(start.elapsed() < 3000 * MS);

        let (mut a, mut b) = pair(&net).await;
        net.silence("client");
        a.write_all(b"lost").await.unwrap();
        b.write_all(b"lost").await.unwrap();
        drop(a);
        timeout(Duration::from_secs(86_000), b.read(&mut [0])).await.expect_err("not even an end");
    });
}

#[test]
fn what_is_under_way_when_a_partition_ends_arrives() {
    sim::run(1, async |net| {
        let (mut a, mut b) = pair(&net).await;
        let mut conditions = Conditions::default();
        conditions.latency = 100 * MS;
        net.set_conditions(conditions);
        a.write_all(b"first").await.unwrap();
        net.partition("client", "server");
        sleep(50 * MS).await;
        a.write_all(b"second").await.unwrap();
        sleep(20 * MS).await;
        net.heal("client", "server");
        let start = Instant::now();
        b.read_exact(&mut [0; 11]).await.unwrap();
        assert_eq!(start.elapsed(), 100 * MS);
    });
}

#[test]
fn names_are_free_or_taken() {
    sim::run(1, async |net| {
        assert_eq!(net.connect("server").await.unwrap_err().kind(), ConnectionRefused);
        let listener = net.listen("sim://server".parse().unwrap(), "server").unwrap();
        let again = net.listen("sim://server".parse().unwrap(), "server");
        assert_eq!(again.unwrap_err().kind(), AddrInUse);
        let mut waits = net.connect("server").await.unwrap();
        drop(listener);
        waits.reset().await;
        net.listen("sim://server".parse().unwrap(), "server").unwrap();
    });
}

#[test]
fn accepts_fail_on_command_and_by_chance() {
    sim::run(1, async |net| {
        let mut listener = net.listen("sim://server".parse().unwrap(), "server").unwrap();
        net.fail_accept("server", libc::EMFILE);
        let error = listener.accept().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        let mut conditions = Conditions::default();
        conditions.accept_errors = 1.0;
        net.set_conditions(conditions);
        let mut client = net.connect("server").await.unwrap();
        listener.accept().await.unwrap_err();
        client.reset().await;
    });
}

#[test]
fn a_run_does_not_depend_on_those_before_it() {
    let run = |len| {
        Sim::new(1).run(async |net| {
            let server = crate::serve(&net, "echo", |_: &ConnectionInfo| Echo).await;
            let mut client = net.connect("echo").await.unwrap();
            for _ in 0..5 {
                client.write_all(&pattern(len)).await.unwrap();
                client.read_exact(&mut vec![0; len]).await.unwrap();
            }
            drop(client);
            server.shutdown(1000 * MS).await;
        })
    };
    let first = run(30_000).trace;
    run(5000);
    let again = run(30_000).trace;
    assert!(first.lines().eq(again.lines()));
}

#[test]
fn a_run_fails_for_what_is_wrong() {
    let fails =
        |sim: Sim, scenario: &dyn Fn(SimNetwork) -> netframe_core::BoxFuture<'static, ()>| {
            let run = || sim.run(async |net| scenario(net).await);
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            panic.downcast_ref::<String>().unwrap().clone()
        };
    let sim = || Sim::new(1).time(Duration::from_secs(3600)).steps(1000);
    let text = fails(sim(), &|net| Box::pin(async move { net.violation("no good") }));
    assert_eq!(text, "no good");
    let text = fails(sim(), &|_| Box::pin(sleep(Duration::from_secs(4000))));
    assert_eq!(text, "it is not over after 3600s of simulated time");
    let text =
        fails(sim(), &|_| Box::pin(async { drop(tokio::spawn(std::future::pending::<()>())) }));
    assert_eq!(text, "1 tasks and 0 streams are left behind");
    let text = fails(sim(), &|net| {
        Box::pin(async move {
            let (mut a, mut b) = pair(&net).await;
            loop {
                a.write_all(b"x").await.unwrap();
                b.read_u8().await.unwrap();
            }
        })
    });
    assert_eq!(text, "it takes too many steps");
    let text = fails(sim(), &|net| {
        Box::pin(async move {
            let keeps = stream_fn(async |stream: Stream| {
                std::mem::forget(stream.handle());
                Ok(())
            });
            let server = Server::builder(keeps).network(net.clone());
            let server = server.listen("sim://server").unwrap().bind().await.unwrap();
            drop(net.connect("server").await.unwrap());
            sleep(1000 * MS).await;
            server.shutdown(1000 * MS).await;
        })
    });
    assert_eq!(text, "sim://server is over, but 1 still hold it");
    let text = fails(sim(), &|net| {
        Box::pin(async move {
            let mut limits = Limits::default();
            (limits.high_watermark, limits.low_watermark, limits.hard_cap) = (100, 50, 200);
            let says = stream_fn(|mut stream: Stream| async move {
                stream.write_all(&[0; 70_000]).await?;
                Ok(())
            });
            let server = Server::builder(says).network(net.clone()).limits(limits);
            let server = server.listen("sim://server").unwrap().bind().await.unwrap();
            let mut client = net.connect("server").await.unwrap();
            sleep(1000 * MS).await;
            client.read_to_end(&mut Vec::new()).await.unwrap();
            drop(client);
            server.shutdown(1000 * MS).await;
        })
    });
    assert_eq!(text, "4464 B were queued by sim://server, above its cap of 200 B");
    // A panic in a callback ends only its connection, but the run too if it is checked.
    let text = fails(sim(), &|net| {
        Box::pin(async move {
            let factory = net.checked(stream_fn(|_| async { panic!("oh") }));
            let server = Server::builder(factory).network(net.clone());
            let server = server.listen("sim://server").unwrap().bind().await.unwrap();
            let mut client = net.connect("server").await.unwrap();
            client.reset().await;
            drop(server);
        })
    });
    assert!(text.contains("panic by local"), "{text}");
}

/// Both ends of a new connection between the hosts `client` and `server`.
async fn pair(net: &SimNetwork) -> (SimStream, Box<dyn Io>) {
    let mut listener = net.listen("sim://server".parse().unwrap(), "server").unwrap();
    let client = net.host("client").connect("server").await.unwrap();
    (client, listener.accept().await.unwrap().into_io().unwrap())
}
