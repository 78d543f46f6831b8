//! What a `DatagramProtocol` is promised: it owns a whole socket, on a server and in a client.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netframe_core::bytes::Bytes;
use netframe_core::{
    Addr, Client, CloseKind, CloseReason, Datagram, DatagramProtocol, DatagramTransport, Error,
    Handle, Result, SendError, Side, datagrams,
};
use tokio::sync::mpsc;

use crate::gram::{Gram, GramWorld};
use crate::world::until;

on_every_datagram_transport! {
    it_sees_who_sent_what_and_replies,
    it_outlives_errors_and_panics_of_its_handlers,
    it_hears_of_its_end_once,
    it_ends_its_server_by_closing,
    it_is_drained_at_once,
    a_handler_that_waits_holds_the_next_datagram,
    a_paused_socket_loses_nothing_that_fits_its_buffer,
    sending_is_bounded,
    a_datagram_that_is_too_long_is_refused_at_the_call,
    a_connected_client_talks_to_its_peer,
    a_connected_client_is_told_of_a_refusal_and_goes_on,
    a_plain_protocol_survives_a_refusal,
    timers_and_notifications_work,
}

/// Answers everything with its length, and logs.
#[derive(Clone)]
struct Counter(mpsc::UnboundedSender<Seen>);

#[derive(Debug)]
enum Seen {
    Made(Handle),
    Datagram(Datagram),
    Failed(io::Error),
    Note(&'static str),
    Lost(CloseReason),
}

impl Counter {
    fn new() -> (Self, mpsc::UnboundedReceiver<Seen>) {
        let (log, seen) = mpsc::unbounded_channel();
        (Self(log), seen)
    }

    fn log(&self, seen: Seen) {
        let _ = self.0.send(seen);
    }
}

impl DatagramProtocol for Counter {
    async fn connection_made(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        self.log(Seen::Made(t.handle()));
        t.set_timeout(None);
        Ok(())
    }

    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        match &datagram.data[..] {
            b"err" => return Err("no good".into()),
            b"panic" => panic!("on purpose"),
            b"close" => t.close(),
            b"timeout" => t.set_timeout(Some(Duration::from_millis(1))),
            b"pause" => t.pause_reading(),
            b"long" => {
                let error = t.reply(&datagram, &vec![0; 70_000]).unwrap_err();
                t.reply(&datagram, error.to_string().as_bytes())?;
            }
            data => t.reply(&datagram, data.len().to_string().as_bytes())?,
        }
        self.log(Seen::Datagram(datagram));
        Ok(())
    }

    async fn error_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        error: io::Error,
        _: Option<Addr>,
    ) -> Result {
        self.log(Seen::Failed(error));
        Ok(())
    }

    async fn notified(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        t.resume_reading();
        self.log(Seen::Note("notified"));
        Ok(())
    }

    async fn timed_out(&mut self, _: &mut DatagramTransport<'_>) -> Result {
        self.log(Seen::Note("timed out"));
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.log(Seen::Lost(reason.clone()));
    }
}

async fn it_sees_who_sent_what_and_replies(gram: Gram) {
    let (counter, mut seen) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    assert!(matches!(seen.recv().await, Some(Seen::Made(_))));
    let (one, two) = (world.peer().await, world.peer().await);
    one.send(b"one").await;
    two.send(b"").await;
    assert_eq!(one.receive().await, b"3");
    assert_eq!(two.receive().await, b"0");
    for (peer, data) in [(&one, &b"one"[..]), (&two, b"")] {
        let Some(Seen::Datagram(datagram)) = seen.recv().await else { panic!("a datagram") };
        assert_eq!((&datagram.from, &datagram.data[..]), (&peer.addr(), data));
        assert!(!datagram.truncated);
    }
    let stats = world.server.stats();
    assert_eq!((stats.live, stats.accepted), (1, 1), "the socket is the connection");
}

async fn it_outlives_errors_and_panics_of_its_handlers(gram: Gram) {
    let (counter, mut seen) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    let peer = world.peer().await;
    peer.send(b"err").await;
    peer.send(b"four").await;
    assert_eq!(peer.receive().await, b"4");
    assert_eq!(world.server.stats().datagrams.errors, 1);
    assert_eq!(world.server.stats().accepted, 1);

    peer.send(b"panic").await;
    loop {
        if let Some(Seen::Lost(reason)) = seen.recv().await {
            assert_eq!(reason.kind(), CloseKind::Panic);
            break;
        }
    }
    peer.send(b"12345").await;
    assert_eq!(peer.receive().await, b"5", "another one was built");
    assert_eq!(world.server.stats().accepted, 2);
}

async fn it_hears_of_its_end_once(gram: Gram) {
    let (counter, mut seen) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    assert!(matches!(seen.recv().await, Some(Seen::Made(_))));
    drop(world);
    let Some(Seen::Lost(reason)) = seen.recv().await else { panic!("an end") };
    assert_eq!((reason.by(), reason.kind()), (Side::System, CloseKind::Shutdown));
    assert!(seen.recv().await.is_none());
}

async fn it_ends_its_server_by_closing(gram: Gram) {
    let (counter, _seen) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    let peer = world.peer().await;
    peer.send(b"close").await;
    let report = world.server.run_until(std::future::pending::<()>()).await;
    assert!(report.failure.is_none(), "{report}");
}

async fn it_is_drained_at_once(gram: Gram) {
    let (counter, mut seen) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    assert!(matches!(seen.recv().await, Some(Seen::Made(_))));
    let peer = world.peer().await;
    for _ in 0..gram.backlog() {
        peer.send_unseen(b"unread");
    }
    let report = world.stop().await;
    assert_eq!(report.drained, 1);
    for _ in 0..gram.backlog() {
        assert_eq!(peer.receive().await, b"6", "what waited in the socket was answered");
    }
}

/// Waits in its handler, and counts how many there are at once.
struct Slow(Arc<Mutex<(usize, Vec<Vec<u8>>)>>);

impl DatagramProtocol for Slow {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        self.0.lock().unwrap().0 += 1;
        tokio::task::yield_now().await;
        t.reply(&datagram, &datagram.data)?;
        let mut state = self.0.lock().unwrap();
        assert_eq!(state.0, 1, "handlers of one socket never overlap");
        state.0 = 0;
        state.1.push(datagram.data.to_vec());
        Ok(())
    }
}

async fn a_handler_that_waits_holds_the_next_datagram(gram: Gram) {
    let state = Arc::new(Mutex::default());
    let shared = Arc::clone(&state);
    let world = GramWorld::start(gram, datagrams(move |_| Slow(Arc::clone(&shared)))).await;
    let peer = world.peer().await;
    for i in 0..40_u8 {
        peer.send(&[i]).await;
    }
    for i in 0..40_u8 {
        assert_eq!(peer.receive().await, [i]);
    }
    let got = std::mem::take(&mut state.lock().unwrap().1);
    assert_eq!(got, (0..40_u8).map(|i| vec![i]).collect::<Vec<_>>(), "in order, none lost");
}

async fn a_paused_socket_loses_nothing_that_fits_its_buffer(gram: Gram) {
    let (counter, mut seen) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    let Some(Seen::Made(handle)) = seen.recv().await else { panic!("a socket") };
    let peer = world.peer().await;
    peer.send(b"pause").await;
    assert!(matches!(seen.recv().await, Some(Seen::Datagram(_))));
    for _ in 0..gram.backlog() {
        peer.send(b"x").await;
    }
    handle.notify();
    for _ in 0..gram.backlog() {
        assert_eq!(peer.receive().await, b"1");
    }
    assert_eq!(world.server.stats().datagrams.waiting, 0);
}

/// Sends to its peer until it is refused, before anything can leave.
struct Flood(mpsc::UnboundedSender<(usize, SendError)>);

impl DatagramProtocol for Flood {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        let len: usize = str::from_utf8(&datagram.data)?.parse()?;
        let mut count = 0;
        let refused = loop {
            match t.reply(&datagram, &vec![0; len]) {
                Ok(()) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(t.queued() <= 1024 * 1024);
        self.0.send((count, refused))?;
        t.abort();
        Ok(())
    }
}

async fn sending_is_bounded(gram: Gram) {
    for (len, least, most) in [(0, 5_000, 20_000), (1_000, 900, 1_000), (60_000, 16, 17)] {
        let (log, mut seen) = mpsc::unbounded_channel();
        let world = GramWorld::start(gram, datagrams(move |_| Flood(log.clone()))).await;
        world.peer().await.send(len.to_string().as_bytes()).await;
        let (count, refused) = seen.recv().await.unwrap();
        assert_eq!(refused, SendError::Full);
        assert!((least..=most).contains(&count), "{count} of {len} bytes");
    }
}

async fn a_datagram_that_is_too_long_is_refused_at_the_call(gram: Gram) {
    let (counter, _seen) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    let peer = world.peer().await;
    peer.send(b"long").await;
    let max = gram.max_len();
    let text = format!("a datagram of 70000 bytes is too long; the most is {max}");
    assert_eq!(peer.receive().await, text.as_bytes());
}

/// Sends a question, and logs.
struct Asker(mpsc::UnboundedSender<Seen>);

impl DatagramProtocol for Asker {
    async fn connection_made(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        t.send(b"question")?;
        let _ = self.0.send(Seen::Made(t.handle()));
        Ok(())
    }

    async fn datagram_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        let _ = self.0.send(Seen::Datagram(datagram));
        Ok(())
    }

    async fn error_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        error: io::Error,
        _: Option<Addr>,
    ) -> Result {
        let _ = self.0.send(Seen::Failed(error));
        Ok(())
    }
}

async fn a_connected_client_talks_to_its_peer(gram: Gram) {
    let (counter, _) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    let (log, mut seen) = mpsc::unbounded_channel();
    let factory = datagrams(move |_| Asker(log.clone()));
    let client = Client::connect(world.server.endpoint(), factory).await.unwrap();
    let Some(Seen::Made(handle)) = seen.recv().await else { panic!("a socket") };
    let Some(Seen::Datagram(answer)) = seen.recv().await else { panic!("an answer") };
    assert_eq!(answer.data[..], *b"8");
    handle.try_write(&b"four"[..]).unwrap();
    let Some(Seen::Datagram(answer)) = seen.recv().await else { panic!("an answer") };
    assert_eq!(answer.data[..], *b"4");
    handle.close();
    assert_eq!(client.closed().await.kind(), CloseKind::Closed);
}

async fn a_connected_client_is_told_of_a_refusal_and_goes_on(gram: Gram) {
    let nobody = gram.nobody();
    let (log, mut seen) = mpsc::unbounded_channel();
    let factory = datagrams(move |_| Asker(log.clone()));
    let client = match Client::connect(&nobody, factory).await {
        Ok(client) => client,
        // Where the system knows it at once, connecting fails.
        Err(Error::Connect { source, .. }) if !gram.connects_to_nobody() => {
            assert_eq!(source.kind(), io::ErrorKind::NotFound);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let Some(Seen::Made(handle)) = seen.recv().await else { panic!("a socket") };
    let Some(Seen::Failed(error)) = seen.recv().await else { panic!("a refusal") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

    let (counter, _) = Counter::new();
    let world = GramWorld::at(nobody, datagrams(move |_| counter.clone())).await;
    handle.try_write(&b"again"[..]).unwrap();
    loop {
        if let Some(Seen::Datagram(answer)) = seen.recv().await {
            assert_eq!(answer.data[..], *b"5");
            break;
        }
    }
    drop((world, client));
}

async fn a_plain_protocol_survives_a_refusal(gram: Gram) {
    let (probe, mut events) = crate::probe::Probe::new();
    let nobody = gram.nobody();
    let Ok(client) = Client::connect(&nobody, probe).await else {
        assert!(!gram.connects_to_nobody());
        return;
    };
    let handle = events.made().await;
    handle.try_write(&b"1"[..]).unwrap();
    until(|| handle.queued() == 0).await;
    let world = GramWorld::at(nobody, crate::probe::echo).await;
    handle.try_write(&b"2"[..]).unwrap();
    events.expect("data 2").await;
    drop((world, client));
}

async fn timers_and_notifications_work(gram: Gram) {
    let (counter, mut seen) = Counter::new();
    let world = GramWorld::start(gram, datagrams(move |_| counter.clone())).await;
    let Some(Seen::Made(handle)) = seen.recv().await else { panic!("a socket") };
    handle.notify();
    assert!(matches!(seen.recv().await, Some(Seen::Note("notified"))));
    world.peer().await.send(b"timeout").await;
    assert!(matches!(seen.recv().await, Some(Seen::Datagram(_))));
    assert!(matches!(seen.recv().await, Some(Seen::Note("timed out"))));
    let refused = handle.try_write(Bytes::from_static(b"to whom?")).unwrap_err();
    assert_eq!(refused.to_string(), "there is no address to send the datagram to");
}
