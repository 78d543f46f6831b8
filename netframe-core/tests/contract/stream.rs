//! `stream_fn`: straight-line async code over the same core.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::sync::mpsc;
use tokio::time::sleep;

use netframe_core::{CloseKind, Error, Handle, Limits, Side, Stream, TimeoutKind, stream_fn};

use crate::probe::{Probe, done, why};
use crate::world::{Net, World, limits, pattern};

on_every_transport! {
    a_stream_copies_both_ways,
    a_stream_sees_eof_and_answers_after_it,
    shutdown_flushes_and_sends_fin,
    returning_closes_and_flushes,
    an_error_ends_the_connection_with_it,
    a_stream_is_dropped_on_abort,
    a_stream_reads_only_what_it_asks_for,
    a_stream_waits_for_a_slow_reader,
    a_close_ends_a_stream_that_reads,
    the_halves_of_a_stream_work_in_two_tasks,
    two_streams_forward_to_each_other,
    a_drain_ends_the_input_of_an_idle_stream,
    a_drain_does_not_end_what_waits_unread,
    a_drain_waits_for_the_rest_of_a_request,
    a_stream_may_ignore_a_drain,
    a_handle_tells_of_a_drain,
    an_abort_resets,
    a_stream_that_is_connected_owns_its_connection,
    a_close_ends_a_stream_that_is_connected,
    a_stream_is_not_connected_to_datagrams,
}

on_transports_with_reset! {
    a_stream_is_dropped_on_reset,
    a_stream_that_is_connected_is_told_of_a_reset,
}

on_paused_clock! {
    a_silent_stream_ends_by_the_idle_timeout,
    a_silent_stream_that_is_connected_does_so_too,
    a_stream_that_waits_does_not_run,
    a_stream_that_waits_to_end_does_not_run,
}

async fn a_stream_copies_both_ways(net: Net) {
    let echo = stream_fn(|mut stream: Stream| async move {
        let mut buffer = vec![0; 10_000];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                len => stream.write_all(&buffer[..len]).await?,
            }
        }
    });
    let world = World::start(net, echo).await;
    let question = pattern(8 << 20);
    let (mut reader, mut writer) = split(world.connect().await);
    let (answer, ()) = tokio::join!(
        async {
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).await.unwrap();
            answer
        },
        async {
            writer.write_all(&question).await.unwrap();
            writer.shutdown().await.unwrap();
        }
    );
    assert!(answer == question);
    world.stop().await;
}

async fn a_stream_sees_eof_and_answers_after_it(net: Net) {
    let world = World::start(
        net,
        stream_fn(|mut stream: Stream| async move {
            let mut question = String::new();
            stream.read_to_string(&mut question).await?;
            assert_eq!(stream.read(&mut [0; 8]).await?, 0, "again");
            stream.write_all(question.to_uppercase().as_bytes()).await?;
            Ok(())
        }),
    )
    .await;
    let mut client = world.connect().await;
    client.send("question").await;
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"QUESTION");
    world.until(|stats| stats.closed(CloseKind::Eof) == 1).await;
    world.stop().await;
}

async fn shutdown_flushes_and_sends_fin(net: Net) {
    let world = World::narrow(
        net,
        Limits::default(),
        stream_fn(|mut stream: Stream| async move {
            stream.write_all(&pattern(1 << 20)).await?;
            stream.shutdown().await?;
            stream.write_all(b"too late").await.unwrap_err();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await?; // the other direction lives
            assert_eq!(heard, b"still heard");
            Ok(())
        }),
    )
    .await;
    let mut client = world.connect().await;
    assert!(client.receive_all().await == pattern(1 << 20));
    client.send("still heard").await;
    client.half_close().await;
    world.until(|stats| stats.closed(CloseKind::Eof) == 1).await;
    world.stop().await;
}

async fn returning_closes_and_flushes(net: Net) {
    let world = World::narrow(
        net,
        Limits::default(),
        stream_fn(|mut stream: Stream| async move {
            stream.write_all(&pattern(1 << 20)).await?;
            Ok(())
        }),
    )
    .await;
    let mut client = world.connect().await;
    client.send("unread").await;
    assert!(client.receive_all().await == pattern(1 << 20));
    drop(client);
    world.until(|stats| stats.closed(CloseKind::Closed) == 1).await;
    world.stop().await;
}

/// Serves a stream function, and tells of the handle of each connection.
async fn world<Fut>(net: Net, f: fn(Stream) -> Fut) -> (World, mpsc::UnboundedReceiver<Handle>)
where
    Fut: Future<Output = netframe_core::Result> + Send + 'static,
{
    let (handles, receiver) = mpsc::unbounded_channel();
    let factory = stream_fn(move |stream: Stream| {
        handles.send(stream.handle()).unwrap();
        f(stream)
    });
    (World::start(net, factory).await, receiver)
}

async fn an_error_ends_the_connection_with_it(net: Net) {
    let (world, mut handles) = world(net, |mut stream| async move {
        stream.write_all(b"last words").await?;
        Err("no disk".into())
    })
    .await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await, b"last words");
    drop(client);
    let reason = handles.recv().await.unwrap().closed().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Error));
    world.stop().await;
}

async fn a_stream_is_dropped_on_reset(net: Net) {
    let (world, mut handles) = world(net, |mut stream| async move {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        if byte[0] == b'r' {
            stream.read_exact(&mut byte).await?; // waits in a read
        }
        std::future::pending().await // waits elsewhere
    })
    .await;
    for wait in ["r", "x"] {
        let mut client = world.connect().await;
        client.send(wait).await;
        let handle = handles.recv().await.unwrap();
        world.until(|stats| stats.bytes_in > 0).await;
        client.reset();
        assert_eq!(why(&handle.closed().await), (Side::Peer, CloseKind::Reset));
    }
    world.stop().await;
}

async fn a_stream_is_dropped_on_abort(net: Net) {
    let (world, mut handles) = world(net, |mut stream| async move {
        stream.read_u8().await?;
        Ok(())
    })
    .await;
    let mut client = world.connect().await;
    let handle = handles.recv().await.unwrap();
    handle.abort();
    assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Aborted));
    client.receive_reset().await;
    world.stop().await;
}

async fn a_stream_reads_only_what_it_asks_for(net: Net) {
    let (world, mut handles) = world(net, |mut stream| async move {
        let mut two = [0; 2];
        loop {
            stream.read_exact(&mut two).await?;
            stream.write_all(&two).await?;
        }
    })
    .await;
    let mut client = world.connect().await;
    for _ in 0..100 {
        client.send("abc").await;
        assert_eq!(client.receive(2).await, b"ab");
        client.send("d").await;
        assert_eq!(client.receive(2).await, b"cd");
    }
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"");
    let reason = handles.recv().await.unwrap().closed().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Error), "read_exact met the end");
    world.stop().await;
}

async fn a_stream_waits_for_a_slow_reader(net: Net) {
    let world = World::narrow(
        net,
        Limits::default(),
        stream_fn(|mut stream: Stream| async move {
            let handle = stream.handle();
            for _ in 0..1000 {
                stream.write_all(&[7; 10_000]).await?;
                assert!(handle.queued() <= 64 * 1024 + 10_000);
            }
            Ok(())
        }),
    )
    .await;
    let mut client = world.connect().await;
    for _ in 0..1000 {
        assert_eq!(client.receive(10_000).await, [7; 10_000]);
        tokio::task::yield_now().await;
    }
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    world.until(|stats| stats.closed(CloseKind::Closed) == 1).await;
    world.stop().await;
}

async fn a_close_ends_a_stream_that_reads(net: Net) {
    let (world, mut handles) = world(net, |mut stream| async move {
        stream.read_u8().await.unwrap_err();
        Ok(())
    })
    .await;
    let mut client = world.connect().await;
    let handle = handles.recv().await.unwrap();
    handle.close();
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Closed));
    world.stop().await;
}

async fn the_halves_of_a_stream_work_in_two_tasks(net: Net) {
    let world = World::narrow(
        net,
        Limits::default(),
        stream_fn(|stream: Stream| async move {
            let (mut reader, mut writer) = split(stream);
            let reading = tokio::spawn(async move {
                let mut all = Vec::new();
                reader.read_to_end(&mut all).await.map(|_| all)
            });
            let writing = tokio::spawn(async move {
                writer.write_all(&pattern(2 << 20)).await?;
                writer.shutdown().await
            });
            writing.await??;
            assert!(reading.await?? == pattern(3 << 20));
            Ok(())
        }),
    )
    .await;
    let (mut reader, mut writer) = split(world.connect().await);
    let mut got = Vec::new();
    let (read, ()) = tokio::join!(reader.read_to_end(&mut got), async {
        writer.write_all(&pattern(3 << 20)).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    read.unwrap();
    assert!(got == pattern(2 << 20));
    world.until(|stats| stats.closed(CloseKind::Eof) == 1).await;
    world.stop().await;
}

async fn two_streams_forward_to_each_other(net: Net) {
    let (streams, mut receiver) = mpsc::unbounded_channel();
    let world = World::start(
        net,
        stream_fn(move |stream: Stream| {
            let streams = streams.clone();
            async move {
                let handle = stream.handle();
                streams.send(stream).unwrap();
                handle.closed().await;
                Ok(())
            }
        }),
    )
    .await;
    let (mut a, mut b) = (world.connect().await, world.connect().await);
    let (mut from_a, mut to_a) = split(receiver.recv().await.unwrap());
    let (mut from_b, mut to_b) = split(receiver.recv().await.unwrap());
    let forward = tokio::spawn(async move {
        let there = async {
            copy(&mut from_a, &mut to_b).await.unwrap();
            to_b.shutdown().await.unwrap();
        };
        let back = async {
            copy(&mut from_b, &mut to_a).await.unwrap();
            to_a.shutdown().await.unwrap();
        };
        tokio::join!(there, back);
    });
    a.send(&pattern(50_000)).await;
    assert!(b.receive(50_000).await == pattern(50_000));
    a.half_close().await;
    assert_eq!(b.receive_all().await, b"");
    b.send("answer").await;
    b.half_close().await;
    assert_eq!(a.receive_all().await, b"answer");
    forward.await.unwrap();
    drop((a, b));
    drop(world);
}

/// Answers every three bytes.
async fn in_threes(mut stream: Stream) -> netframe_core::Result {
    let mut three = [0; 3];
    while stream.read(&mut three[..1]).await? > 0 {
        stream.read_exact(&mut three[1..]).await?;
        stream.write_all(&three).await?;
    }
    Ok(())
}

async fn a_drain_ends_the_input_of_an_idle_stream(net: Net) {
    let (world, mut handles) = world(net, in_threes).await;
    let (mut silent, mut answered) = (world.connect().await, world.connect().await);
    answered.ping(b"abcdef").await;
    world.until(|stats| stats.bytes_out == 6).await;
    let report = world.stop().await;
    assert_eq!((report.drained, report.aborted), (2, 0));
    assert_eq!(silent.receive_all().await, b"");
    assert_eq!(answered.receive_all().await, b"");
    for _ in 0..2 {
        let reason = handles.recv().await.unwrap().closed().await;
        assert_eq!(why(&reason), (Side::System, CloseKind::Shutdown));
    }
}

async fn a_drain_does_not_end_what_waits_unread(net: Net) {
    let world = World::start(net, stream_fn(in_threes)).await;
    // What waits unread when the drain begins is answered before the end.
    let mut client = world.dialer().connect_unseen(b"abcdef").await;
    let stopping = tokio::spawn(world.stop());
    assert_eq!(client.receive_all().await, b"abcdef");
    drop(client);
    stopping.await.unwrap();
}

async fn a_drain_waits_for_the_rest_of_a_request(net: Net) {
    let world = World::start(net, stream_fn(in_threes)).await;
    let mut client = world.connect().await;
    client.ping(b"abc").await;
    client.send("de").await;
    world.until(|stats| stats.bytes_in == 5).await;
    let stopping = tokio::spawn(world.stop());
    sleep(Duration::from_millis(20)).await;
    assert!(!stopping.is_finished());
    client.send("f").await;
    assert_eq!(client.receive_all().await, b"def");
    drop(client);
    stopping.await.unwrap();
}

async fn a_stream_may_ignore_a_drain(net: Net) {
    let (world, _handles) = world(net, |stream| {
        stream.ignore_drain();
        in_threes(stream)
    })
    .await;
    let mut client = world.connect().await;
    client.ping(b"abc").await;
    let stopping = tokio::spawn(world.stop());
    sleep(Duration::from_millis(20)).await;
    client.ping(b"def").await;
    assert!(!stopping.is_finished());
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    stopping.await.unwrap();
}

async fn a_handle_tells_of_a_drain(net: Net) {
    let (world, mut handles) = world(net, |mut stream| async move {
        let handle = stream.handle();
        stream.write_all(b"hello").await?;
        handle.draining().await;
        stream.write_all(b", goodbye").await?;
        Ok(())
    })
    .await;
    let mut client = world.connect().await;
    assert_eq!(client.receive(5).await, b"hello");
    let stopping = tokio::spawn(world.stop());
    assert_eq!(client.receive_all().await, b", goodbye");
    drop(client);
    assert_eq!(stopping.await.unwrap().drained, 1);
    handles.recv().await.unwrap().draining().await; // so does the end
}

async fn an_abort_resets(net: Net) {
    let (world, mut handles) = world(net, |mut stream| async move {
        stream.read_u8().await?;
        stream.write_all(b"last words").await?;
        stream.abort();
        std::future::pending().await
    })
    .await;
    let mut client = world.connect().await;
    client.send("?").await;
    assert_eq!(client.receive_reset().await, b"");
    let reason = handles.recv().await.unwrap().closed().await;
    assert_eq!(why(&reason), (Side::Local, CloseKind::Aborted));
    assert_eq!(reason.bytes_unsent(), 10);
    world.stop().await;
}

async fn a_silent_stream_ends_by_the_idle_timeout(net: Net) {
    let idle = limits(|l| l.idle_timeout = Duration::from_secs(10).into());
    let world = World::with_limits(
        net,
        idle,
        stream_fn(|mut stream: Stream| async move {
            stream.read_u8().await?;
            Ok(())
        }),
    )
    .await;
    let mut client = world.connect().await;
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    let idle = CloseKind::Timeout(TimeoutKind::Idle);
    world.until(|stats| stats.closed(idle) == 1).await;
}

async fn connected(world: &World) -> Stream {
    let dialer = world.dialer();
    Stream::builder().network(dialer.network).connect(dialer.endpoint).await.unwrap()
}

async fn a_stream_that_is_connected_owns_its_connection(net: Net) {
    let (server, mut seen) = Probe::new();
    let server = server.on_data(|t, data| done(t.write(&data.split())));
    let world = World::start(net, server).await;
    let mut stream = connected(&world).await;
    assert_eq!(stream.info().kind(), world.server.endpoint().kind());
    seen.made().await;
    for _ in 0..3 {
        stream.write_all(b"ping").await.unwrap();
        seen.expect("data ping").await;
        let mut pong = [0; 4];
        stream.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"ping");
    }
    let handle = stream.handle();
    stream.write_all(b"last").await.unwrap();
    drop(stream);
    for event in ["data last", "eof ", "lost eof by peer"] {
        seen.expect(event).await;
    }
    assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Closed));
    world.stop().await;
}

async fn a_close_ends_a_stream_that_is_connected(net: Net) {
    let (server, _seen) = Probe::new();
    let world = World::start(net, server).await;
    let mut stream = connected(&world).await;
    let handle = stream.handle();
    let reading = tokio::spawn(async move { stream.read_u8().await.unwrap_err().kind() });
    tokio::task::yield_now().await;
    handle.close();
    assert_eq!(reading.await.unwrap(), std::io::ErrorKind::ConnectionAborted);
    world.stop().await;
}

async fn a_stream_is_not_connected_to_datagrams(_: Net) {
    let error = Stream::connect("udp://127.0.0.1:9").await.unwrap_err();
    assert!(matches!(error, Error::NeedsStream { .. }), "{error}");
}

async fn a_stream_that_is_connected_is_told_of_a_reset(net: Net) {
    let (server, mut seen) = Probe::new();
    let world = World::start(net, server).await;
    let mut stream = connected(&world).await;
    seen.made().await.abort();
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(stream.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    world.stop().await;
}

async fn a_silent_stream_that_is_connected_does_so_too(net: Net) {
    let world = World::start(net, stream_fn(in_threes)).await;
    let dialer = world.dialer();
    let idle = limits(|l| l.idle_timeout = Duration::from_secs(10).into());
    let stream = Stream::builder().limits(idle).network(dialer.network).connect(dialer.endpoint);
    let mut stream = stream.await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    let idle = CloseKind::Timeout(TimeoutKind::Idle);
    assert_eq!(why(&stream.handle().closed().await), (Side::System, idle));
}

async fn a_stream_that_waits_does_not_run(net: Net) {
    let polls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&polls);
    let echo = stream_fn(move |mut stream: Stream| {
        let polls = Arc::clone(&count);
        async move {
            let mut buffer = [0; 100];
            loop {
                let mut read = pin!(stream.read(&mut buffer));
                // Whatever wakes it: a timer of its own, or what it reads.
                let mut timer = pin!(sleep(Duration::from_millis(10)));
                let len = poll_fn(|cx| {
                    let polls = polls.fetch_add(1, Ordering::SeqCst);
                    assert!(polls < 1000, "it spins");
                    if timer.as_mut().poll(cx).is_ready() {
                        timer.set(sleep(Duration::from_secs(60)));
                        assert!(timer.as_mut().poll(cx).is_pending());
                    }
                    read.as_mut().poll(cx)
                });
                match len.await? {
                    0 => return Ok(()),
                    len => stream.write_all(&buffer[..len]).await?,
                }
            }
        }
    });
    let world = World::start(net, echo).await;
    let mut client = world.connect().await;
    for _ in 0..5 {
        client.ping(b"hello").await;
        sleep(Duration::from_secs(100)).await;
    }
    let polls = polls.load(Ordering::SeqCst);
    assert!(polls < 100, "{polls} polls");
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"");
    world.stop().await;
}

async fn a_stream_that_waits_to_end_does_not_run(net: Net) {
    let polls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&polls);
    let talk = stream_fn(move |mut stream: Stream| {
        let polls = Arc::clone(&count);
        async move {
            stream.write_all(&pattern(20_000)).await?; // less than a queue, more than is on the way
            let mut shutdown = pin!(stream.shutdown());
            poll_fn(|cx| {
                assert!(polls.fetch_add(1, Ordering::SeqCst) < 1000, "it spins");
                shutdown.as_mut().poll(cx)
            })
            .await?;
            Ok(())
        }
    });
    let world = World::narrow(net, Limits::default(), talk).await;
    let mut client = world.connect().await;
    sleep(Duration::from_secs(10)).await; // its peer does not read
    let polls = polls.load(Ordering::SeqCst);
    assert!(polls < 100, "{polls} polls");
    assert_eq!(client.receive_all().await, pattern(20_000));
    drop(client);
    world.stop().await;
}
