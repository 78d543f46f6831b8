//! [`Input`]: a handler that reads by itself.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::{CloseKind, Input, Limits, MinRate, Result, Side, Timeout, Transport};

use crate::probe::{Probe, done, why};
use crate::world::{Net, World, limits, pattern};

on_every_transport! {
    input_has_what_comes_behind_the_data,
    input_ends_at_the_fin,
    input_can_be_read_in_a_task,
    input_that_is_not_read_goes_to_the_next_callback,
    input_goes_on_in_a_drain,
}

on_paused_clock! {
    input_that_stops_is_told,
    input_may_take_longer,
    input_that_trickles_is_told,
    idle_tells_how_long_nothing_has_moved,
}

/// All that comes until there are `len` bytes behind `data`, or to the end.
async fn read(input: &mut Input, data: &mut BytesMut, len: usize) -> io::Result<()> {
    while data.len() < len {
        let bytes = input.read().await?;
        if bytes.is_empty() {
            break;
        }
        data.extend_from_slice(&bytes);
    }
    Ok(())
}

async fn input_has_what_comes_behind_the_data(net: Net) {
    const LEN: usize = 300_000;
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        Box::pin(async move {
            let mut got = data.split();
            read(&mut t.input(), &mut got, LEN).await?;
            let behind = got.split_off(LEN);
            data.extend_from_slice(&behind);
            assert!(got == pattern(LEN), "it is another one");
            t.write(b"done");
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    for _ in 0..3 {
        client.send(&pattern(LEN)).await;
        assert_eq!(client.receive(4).await, b"done");
    }
    drop(client);
    world.stop().await;
}

async fn input_ends_at_the_fin(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        Box::pin(async move {
            let mut input = t.input();
            read(&mut input, data, usize::MAX).await?;
            assert_eq!(input.read().await?, Bytes::new(), "and again");
            t.write(&data.split());
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("one").await;
    seen.expect("data one").await;
    client.send(" two").await;
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"one two");
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn input_can_be_read_in_a_task(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        Box::pin(async move {
            let (mut input, mut got) = (t.input(), data.split());
            let task = tokio::spawn(async move {
                read(&mut input, &mut got, 6).await?;
                io::Result::Ok(got)
            });
            t.write(&task.await??);
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("one").await;
    seen.expect("data one").await;
    client.send("two").await;
    assert_eq!(client.receive(6).await, b"onetwo");
    drop(client);
    world.stop().await;
}

async fn input_that_is_not_read_goes_to_the_next_callback(net: Net) {
    let (probe, mut seen) = Probe::new();
    let kept = Arc::new(Mutex::new(None));
    let probe = probe.on_data(move |t, data| {
        let (kept, first) = (Arc::clone(&kept), data.starts_with(b"one"));
        Box::pin(async move {
            data.clear();
            let mut input = t.input();
            if first {
                let polled = is_pending(&mut input).await;
                assert!(polled, "nothing has come");
                t.write(b"!");
                *kept.lock().unwrap() = Some(input);
            }
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("one").await;
    seen.expect("data one").await;
    assert_eq!(client.receive(1).await, b"!");
    for text in ["two", "three"] {
        client.send(text).await;
        seen.expect(&format!("data {text}")).await;
    }
    drop(client);
    assert_eq!(seen.lost().await.kind(), CloseKind::Eof);
    world.stop().await;
}

/// Whether a read that is given up at once was pending.
async fn is_pending(input: &mut Input) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(input.poll_read(cx).is_pending())).await
}

async fn input_goes_on_in_a_drain(net: Net) {
    let (probe, mut seen) = Probe::new();
    let log = probe.log();
    let probe = probe.on_data(move |t, data| {
        let log = log.clone();
        Box::pin(async move {
            assert!(!t.is_draining());
            log.note("reads");
            read(&mut t.input(), data, 6).await?;
            assert!(t.is_draining());
            log.note("read");
            t.write(&data.split());
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("one").await;
    seen.expect("data one").await;
    seen.expect("reads").await;
    let stopped = tokio::spawn(world.stop());
    handle.draining().await;
    client.send("two").await;
    assert_eq!(client.receive_all().await, b"onetwo");
    drop(client);
    seen.expect("read").await;
    seen.expect("draining").await;
    seen.expect("lost shutdown by system").await;
    assert_eq!(stopped.await.unwrap().aborted, 0);
}

/// Takes all, and answers why it ended.
fn takes_all(probe: Probe) -> Probe {
    probe.on_data(|t, data| Box::pin(answer_why(t, data)))
}

async fn answer_why(t: &mut dyn Transport, data: &mut BytesMut) -> Result {
    data.clear();
    let mut input = t.input();
    loop {
        match input.read().await {
            Ok(bytes) if bytes.is_empty() => return Ok(t.write(b"end")),
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                t.write(b"late");
                t.close();
                return Ok(());
            }
        }
    }
}

/// Sends `bytes` so many times, `every` so often; what is answered then, if anything is.
async fn trickle(net: Net, limits: Limits, bytes: &[u8], every: Duration, times: u32) -> Vec<u8> {
    let (probe, mut seen) = Probe::new();
    let world = World::with_limits(net, limits, takes_all(probe)).await;
    let mut client = world.connect().await;
    seen.made().await;
    for _ in 0..times {
        client.send(bytes).await;
        sleep(every).await;
    }
    client.half_close().await;
    let answer = client.receive_all().await;
    let reason = seen.lost().await;
    let kind = if answer == b"late" { CloseKind::Closed } else { CloseKind::Eof };
    assert_eq!(reason.kind(), kind);
    answer
}

fn patient(change: impl FnOnce(&mut Limits)) -> Limits {
    limits(|l| {
        l.idle_timeout = Timeout::Never;
        l.message_timeout = Timeout::from_secs(10);
        change(l);
    })
}

async fn input_that_stops_is_told(net: Net) {
    for (wait, answer) in [(9, "end"), (13, "late")] {
        let wait = Duration::from_secs(wait);
        assert_eq!(trickle(net, patient(|_| ()), b"x", wait, 1).await, answer.as_bytes());
    }
}

async fn input_may_take_longer(net: Net) {
    let rate = |l: &mut Limits| l.min_message_rate = MinRate::AtLeast(100);
    for limits in [patient(|_| ()), patient(rate)] {
        let answer = trickle(net, limits, &[b'x'; 600], Duration::from_secs(5), 100).await;
        assert_eq!(answer, b"end");
    }
}

async fn input_that_trickles_is_told(net: Net) {
    for (bytes, answer) in [(60, "end"), (40, "late")] {
        let limits = patient(|l| l.min_message_rate = MinRate::AtLeast(100));
        let every = Duration::from_millis(500);
        assert_eq!(trickle(net, limits, &vec![b'x'; bytes], every, 20).await, answer.as_bytes());
    }
}

async fn idle_tells_how_long_nothing_has_moved(net: Net) {
    const SECOND: Duration = Duration::from_secs(1);
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|t| done(t.set_timeout(Some(10 * SECOND)))).on_timed_out(|t| {
        let idle = t.idle();
        done(if idle < 10 * SECOND {
            t.set_timeout(Some(10 * SECOND - idle));
        } else {
            assert!(idle <= 13 * SECOND, "{idle:?}");
            t.close();
        })
    });
    let world =
        World::with_limits(net, patient(|l| l.idle_timeout = Timeout::from_secs(30)), probe);
    let world = world.await;
    let mut client = world.connect().await;
    seen.made().await;
    for _ in 0..20 {
        sleep(7 * SECOND).await;
        client.send("x").await;
    }
    let since = tokio::time::Instant::now();
    assert_eq!(client.receive_all().await, b"");
    let took = since.elapsed();
    assert!(took >= 10 * SECOND && took < 13 * SECOND, "{took:?}");
    drop(client);
    assert_eq!(why(&seen.until_lost().await.1), (Side::Local, CloseKind::Closed));
}
