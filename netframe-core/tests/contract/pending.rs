//! Rule 5: what a protocol leaves unconsumed comes back, and is bounded.

use netframe_core::bytes::BytesMut;
use netframe_core::{CloseKind, Limits, Protocol, Result, Side, Transport};

use crate::probe::{Probe, done, why};
use crate::world::{Net, World, limits};

on_every_transport! {
    rule5_a_leftover_comes_back_with_more_behind_it,
    rule5_a_leftover_refused_while_paused_comes_back_on_resume,
    rule5_a_leftover_refused_above_the_watermark_comes_back_below_it,
    rule5_a_leftover_refused_during_a_handler_comes_back,
    rule5_a_framer_that_tests_wants_data_loses_no_frame,
    rule5_a_leftover_within_max_pending_is_kept,
    rule5_a_leftover_above_max_pending_ends_the_connection,
    rule5_a_leftover_that_was_refused_is_no_offence,
}

on_paused_clock! {
    rule5_a_leftover_alone_is_not_offered_again,
}

async fn rule5_a_leftover_comes_back_with_more_behind_it(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|_, data| {
        done(if data.ends_with(b".") {
            data.clear();
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    for (part, whole) in [("one ", "one "), ("message", "one message"), (".", "one message.")] {
        client.send(part).await;
        seen.expect(&format!("data {whole}")).await;
    }
    client.send("next").await;
    seen.expect("data next").await;
    drop(client);
    world.stop().await;
}

async fn rule5_a_leftover_alone_is_not_offered_again(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, probe.on_data(|_, _| done(()))).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("part").await;
    seen.expect("data part").await;
    handle.notify();
    seen.expect("notified").await;
    // A minute of a paused clock passes only while nothing can run; the message timeout ends it.
    let late = CloseKind::Timeout(netframe_core::TimeoutKind::Message);
    assert_eq!(why(&seen.lost().await), (Side::Peer, late));
}

/// Takes one byte for one frame, as long as data is wanted.
fn frames(t: &mut dyn Transport, data: &mut BytesMut, mut each: impl FnMut(&mut dyn Transport)) {
    while t.wants_data() && !data.is_empty() {
        let _frame = data.split_to(1);
        each(t);
    }
}

async fn rule5_a_leftover_refused_while_paused_comes_back_on_resume(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe
        .on_data(|t, data| done(frames(t, data, |t| t.pause_reading())))
        .on_notified(|t| done(t.resume_reading()));
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("abc").await;
    seen.expect("data abc").await;
    for left in ["bc", "c"] {
        handle.notify();
        seen.expect("notified").await;
        seen.expect(&format!("data {left}")).await;
    }
    client.half_close().await;
    handle.notify();
    seen.expect("notified").await;
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn rule5_a_leftover_refused_above_the_watermark_comes_back_below_it(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe =
        probe.on_data(|t, data| done(frames(t, data, |t| t.write_bytes(vec![0; 1 << 20].into()))));
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("abc").await;
    seen.expect("data abc").await;
    client.receive(1 << 20).await;
    seen.expect("data bc").await;
    client.half_close().await;
    client.receive(1 << 20).await;
    seen.expect("data c").await;
    assert_eq!(client.receive_all().await.len(), 1 << 20);
    seen.expect("eof ").await;
    seen.expect("lost eof by peer").await;
    world.stop().await;
}

async fn rule5_a_leftover_refused_during_a_handler_comes_back(net: Net) {
    let (probe, mut seen) = Probe::new();
    // Data is refused in the middle of the handler, and wanted again when it returns.
    let probe = probe.on_data(|t, data| {
        frames(t, data, |t| t.pause_reading());
        done(t.resume_reading())
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    seen.made().await;
    client.send("abc").await;
    for left in ["abc", "bc", "c"] {
        seen.expect(&format!("data {left}")).await;
    }
    drop(client);
    world.stop().await;
}

/// Answers each byte with many, and waits for room in odd places.
struct Amplifier {
    taken: usize,
}

impl Protocol for Amplifier {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        while t.wants_data() && !data.is_empty() {
            let byte = data.split_to(1)[0];
            self.taken += 1;
            t.write(&[byte; 50_000]);
            match self.taken % 5 {
                0 => t.drain().await?,
                1 => tokio::task::yield_now().await,
                _ => {}
            }
        }
        Ok(())
    }
}

async fn rule5_a_framer_that_tests_wants_data_loses_no_frame(net: Net) {
    let amplifier = |_: &netframe_core::ConnectionInfo| Amplifier { taken: 0 };
    let world = World::narrow(net, Limits::default(), amplifier).await;
    let mut client = world.connect().await;
    let question: Vec<u8> = (0..100).collect();
    client.send(&question).await;
    client.half_close().await;
    let answer = client.receive_all().await;
    assert_eq!(answer.len(), 100 * 50_000);
    for (byte, part) in question.iter().zip(answer.chunks(50_000)) {
        assert!(part.iter().all(|b| b == byte));
    }
    world.stop().await;
}

async fn rule5_a_leftover_within_max_pending_is_kept(net: Net) {
    let (probe, mut seen) = Probe::new();
    let limits = limits(|l| l.max_pending = 1000);
    let probe = probe.on_data(|_, _| done(())).on_eof(|t, data| {
        t.write(data);
        done(t.close())
    });
    let world = World::with_limits(net, limits, probe).await;
    let mut client = world.connect().await;
    client.send([b'x'; 1000]).await;
    client.half_close().await;
    assert_eq!(client.receive_all().await, [b'x'; 1000]);
    assert_eq!(why(&seen.lost().await), (Side::Peer, CloseKind::Eof));
    world.stop().await;
}

async fn rule5_a_leftover_above_max_pending_ends_the_connection(net: Net) {
    let (probe, mut seen) = Probe::new();
    let limits = limits(|l| l.max_pending = 1000);
    let world = World::with_limits(net, limits, probe.on_data(|_, _| done(()))).await;
    let mut client = world.connect().await;
    client.send([b'x'; 1001]).await;
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    let (before, reason) = seen.until_lost().await;
    assert_eq!(before.iter().filter(|event| event.starts_with("eof")).count(), 0);
    assert_eq!(why(&reason), (Side::Peer, CloseKind::Limit));
    let text = reason.source().unwrap().to_string();
    assert!(text.contains("`max_pending` (1000)"), "{text}");
    world.stop().await;
}

async fn rule5_a_leftover_that_was_refused_is_no_offence(net: Net) {
    let (probe, mut seen) = Probe::new();
    let limits = limits(|l| l.max_pending = 10);
    let probe = probe
        .on_data(|t, data| done(if data.len() == 20 { t.pause_reading() } else { data.clear() }))
        .on_notified(|t| {
            t.set_timeout(None);
            done(())
        });
    let world = World::with_limits(net, limits, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send([b'x'; 20]).await;
    seen.expect("data xxxxxxxxxxxxxxxxxxxx").await;
    handle.notify();
    seen.expect("notified").await; // it lives
    handle.close();
    drop(client);
    assert_eq!(why(&seen.lost().await), (Side::Local, CloseKind::Closed));
    world.stop().await;
}
