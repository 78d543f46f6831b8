//! Shaping: the rates of connections and of services, over memory on a paused clock, so that they are
//! exact; and over several workers. That nothing is lost over sockets is in the contract suite.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::{MemNetwork, MemStream};
use netframe_core::{
    Client, CloseKind, ConnectionInfo, Error, Factory, Io, Limits, MinRate, Protocol, Quota,
    Reactor, Result, Server, Stream, TimeoutKind, Transport, Workers, stream_fn,
};

const SECOND: Duration = Duration::from_secs(1);

/// Late by at most so much is a timer of a second or more.
const LATE: u32 = 8;

/// Sends without end, as its peer takes it.
struct Source;

impl Protocol for Source {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        loop {
            t.write(&[7; 10_000]);
            t.drain().await?;
        }
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

fn source(_: &ConnectionInfo) -> Source {
    Source
}

/// Counts what it is sent.
#[derive(Clone, Default)]
struct Sink(Arc<AtomicUsize>);

impl Protocol for Sink {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.0.fetch_add(data.len(), Ordering::SeqCst);
        data.clear();
        Ok(())
    }
}

impl Sink {
    fn factory(&self) -> impl Factory + use<> {
        let sink = self.clone();
        move |_: &ConnectionInfo| sink.clone()
    }

    /// Bytes that come from now on, until the time is over.
    async fn counted(&self, time: Duration) -> usize {
        let before = self.0.load(Ordering::SeqCst);
        sleep(time).await;
        self.0.load(Ordering::SeqCst) - before
    }
}

/// Answers the first byte with so many, and closes.
struct Answer(usize);

impl Protocol for Answer {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        t.write(&pattern(self.0));
        t.close();
        Ok(())
    }
}

/// A message is complete at its newline; each is answered.
struct Lines;

impl Protocol for Lines {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            t.write(&data.split_to(end + 1));
        }
        Ok(())
    }
}

/// A server in a memory network of its own.
struct Memory {
    server: Server,
    network: MemNetwork,
}

impl Memory {
    async fn serve(limits: Limits, factory: impl Factory) -> Self {
        let network = MemNetwork::new();
        let builder = Server::builder(factory).limits(limits).network(network.clone());
        let server = builder.listen("mem://shaped").unwrap().bind().await.unwrap();
        Self { server, network }
    }

    async fn connect(&self) -> MemStream {
        self.network.connect("shaped").await.unwrap()
    }

    /// Why the only connection ended, once it has.
    async fn ended(&self) -> CloseKind {
        while self.server.stats().accepted == 0 {
            tokio::task::yield_now().await;
        }
        while self.server.stats().live > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        let kinds: Vec<_> = self.server.stats().closed_by_kind().collect();
        assert_eq!(kinds.len(), 1, "{kinds:?}");
        kinds[0].0
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits);
    limits
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8)) as u8).collect()
}

/// Bytes that come from now on, until the time is over.
async fn received(stream: &mut MemStream, time: Duration) -> usize {
    let deadline = Instant::now() + time;
    let (mut count, mut buf) = (0, vec![0; 1 << 20]);
    while let Ok(read) = timeout_at(deadline, stream.read(&mut buf)).await {
        count += read.unwrap();
    }
    count
}

/// Sends without end.
fn flood(mut stream: MemStream) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { while stream.write_all(&[7; 10_000]).await.is_ok() {} })
}

/// Within 2 %, or one byte of a rate of few.
#[track_caller]
fn about(bytes: usize, wanted: usize) {
    assert!(bytes.abs_diff(wanted) <= 1 + wanted / 50, "{bytes} bytes, which are not {wanted}");
}

const RATES: [usize; 6] = [1, 10, 1000, 12_345, 1 << 20, 5 << 20];

#[tokio::test(start_paused = true)]
async fn a_connection_sends_at_its_rate_after_a_second_s_worth() {
    for rate in RATES {
        let limits = limits(|l| l.write_rate = Quota::AtMost(rate));
        let memory = Memory::serve(limits, source).await;
        let mut peer = memory.connect().await;
        assert_eq!(received(&mut peer, Duration::from_millis(1)).await, rate, "at first");
        for seconds in [10, 100] {
            about(received(&mut peer, seconds * SECOND).await, rate * seconds as usize);
        }
        let stats = memory.server.stats();
        assert!(stats.writes_held_back > 0 && stats.reads_held_back == 0);
        assert!(stats.highest_queue <= 16 * 1024 + 10_000, "{}", stats.highest_queue);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_read_at_its_rate_after_a_second_s_worth() {
    for rate in RATES {
        let limits = limits(|l| l.read_rate = Quota::AtMost(rate));
        let sink = Sink::default();
        let memory = Memory::serve(limits, sink.factory()).await;
        let peer = flood(memory.connect().await);
        assert_eq!(sink.counted(Duration::from_millis(1)).await, rate, "at first");
        for seconds in [10, 100] {
            about(sink.counted(seconds * SECOND).await, rate * seconds as usize);
        }
        let stats = memory.server.stats();
        assert!(stats.reads_held_back > 0 && stats.writes_held_back == 0);
        peer.abort();
    }
}

/// It moves at least ten times in a second, so that nobody sees it in jerks.
#[tokio::test(start_paused = true)]
async fn a_rate_is_smooth() {
    let memory = Memory::serve(limits(|l| l.write_rate = Quota::AtMost(100_000)), source).await;
    let mut peer = memory.connect().await;
    assert_eq!(received(&mut peer, Duration::from_millis(1)).await, 100_000);
    for _ in 0..100 {
        let bytes = received(&mut peer, Duration::from_millis(100)).await;
        assert!((3_000..=17_000).contains(&bytes), "{bytes} bytes in 100 ms");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_share_what_their_service_sends() {
    for (rate, count) in [(1000, 10), (100_000, 10), (1 << 20, 10), (100_000, 100)] {
        let limits = limits(|l| l.service_write_rate = Quota::AtMost(rate));
        let memory = Memory::serve(limits, source).await;
        let mut peers = JoinSet::new();
        for _ in 0..count {
            let mut peer = memory.connect().await;
            peers.spawn(async move {
                received(&mut peer, 10 * SECOND).await; // the first second's worth, too
                received(&mut peer, 60 * SECOND).await
            });
        }
        let shares = peers.join_all().await;
        about(shares.iter().sum(), 60 * rate);
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(*most <= 2 * least, "{least} and {most} of {rate} B/s for {count}");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_share_what_their_service_reads() {
    let limits = limits(|l| l.service_read_rate = Quota::AtMost(100_000));
    let sinks = Arc::new(std::sync::Mutex::new(Vec::<Sink>::new()));
    let factory = {
        let sinks = Arc::clone(&sinks);
        move |_: &ConnectionInfo| {
            let sink = Sink::default();
            sinks.lock().unwrap().push(sink.clone());
            sink
        }
    };
    let memory = Memory::serve(limits, factory).await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(flood(memory.connect().await));
    }
    sleep(10 * SECOND).await;
    let sinks = std::mem::take(&mut *sinks.lock().unwrap());
    let counts: Vec<_> = sinks.iter().map(|sink| sink.0.swap(0, Ordering::SeqCst)).collect();
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    sleep(60 * SECOND).await;
    let shares: Vec<_> = sinks.iter().map(|sink| sink.0.swap(0, Ordering::SeqCst)).collect();
    about(shares.iter().sum(), 60 * 100_000);
    assert!(shares.iter().max() <= shares.iter().map(|share| 2 * share).min().as_ref());

    // Half of them stop, and the others have it all.
    for peer in peers.drain(..5) {
        peer.abort();
    }
    sleep(SECOND).await;
    for sink in &sinks {
        sink.0.store(0, Ordering::SeqCst);
    }
    sleep(60 * SECOND).await;
    about(sinks.iter().map(|sink| sink.0.load(Ordering::SeqCst)).sum(), 60 * 100_000);
}

/// Who says little is answered among those that take all they can get.
#[tokio::test(start_paused = true)]
async fn a_modest_connection_is_served_beside_greedy_ones() {
    struct Either;

    impl Protocol for Either {
        async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
            let greedy = data.starts_with(b"all");
            t.write(&data.split());
            if greedy {
                Source.connection_made(t).await?;
            }
            Ok(())
        }
    }

    let limits = limits(|l| l.service_write_rate = Quota::AtMost(100_000));
    let memory = Memory::serve(limits, |_: &ConnectionInfo| Either).await;
    let mut greedy = JoinSet::new();
    for _ in 0..9 {
        let mut peer = memory.connect().await;
        greedy.spawn(async move {
            peer.write_all(b"all").await.unwrap();
            received(&mut peer, 1000 * SECOND).await
        });
    }
    sleep(10 * SECOND).await;
    let mut modest = memory.connect().await;
    for _ in 0..100 {
        sleep(Duration::from_millis(300)).await;
        let asked = Instant::now();
        modest.write_all(b"a short question").await.unwrap();
        modest.read_exact(&mut [0; 16]).await.unwrap();
        assert!(asked.elapsed() <= SECOND / 4, "{:?}", asked.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn the_lower_of_both_rates_holds() {
    for (own, service) in [(1000, 10_000), (10_000, 1000)] {
        let limits = limits(|l| {
            l.write_rate = Quota::AtMost(own);
            l.service_write_rate = Quota::AtMost(service);
        });
        let memory = Memory::serve(limits, source).await;
        let mut peer = memory.connect().await;
        received(&mut peer, 10 * SECOND).await;
        about(received(&mut peer, 60 * SECOND).await, 60_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_and_a_client_are_shaped_too() {
    let limits = limits(|l| {
        l.read_rate = Quota::AtMost(1000);
        l.write_rate = Quota::AtMost(500);
    });
    let echo = || {
        stream_fn(|stream: Stream| async move {
            let (mut input, mut output) = tokio::io::split(stream);
            tokio::io::copy(&mut input, &mut output).await?;
            Ok(output.shutdown().await?)
        })
    };
    for (server, client) in [(limits.clone(), Limits::default()), (Limits::default(), limits)] {
        let memory = Memory::serve(server, echo()).await;
        let builder = Stream::builder().limits(client).network(memory.network.clone());
        let stream = builder.connect("mem://shaped").await.unwrap();
        let (sent, began) = (pattern(10_500), Instant::now());
        let (mut input, mut output) = tokio::io::split(stream);
        let send = async {
            output.write_all(&sent).await.unwrap();
            output.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let ((), read) = tokio::join!(send, input.read_to_end(&mut got));
        read.unwrap();
        assert_eq!(got, sent);
        let took = began.elapsed();
        assert!((20 * SECOND..21 * SECOND).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_idle_timeout_does_not_blame_who_is_held_back() {
    let idle = 2 * SECOND;
    for (read, write) in
        [(Quota::AtMost(1), Quota::Unlimited), (Quota::Unlimited, Quota::AtMost(1))]
    {
        // Ten share a byte in a second.
        let limits = limits(|l| {
            l.idle_timeout = idle.into();
            (l.service_read_rate, l.service_write_rate) = (read, write);
        });
        let sink = Sink::default();
        let memory = match write {
            Quota::Unlimited => Memory::serve(limits, sink.factory()).await,
            Quota::AtMost(_) => Memory::serve(limits, source).await,
        };
        let mut peers = Vec::new();
        for _ in 0..10 {
            let mut peer = memory.connect().await;
            peer.write_all(&[7; 1000]).await.unwrap();
            peers.push(peer);
        }
        sleep(100 * SECOND).await;
        assert_eq!(memory.server.stats().live, 10);
    }

    // And one that has nothing to say is idle all the same.
    let limits = limits(|l| {
        l.idle_timeout = idle.into();
        l.read_rate = Quota::AtMost(1000);
    });
    let memory = Memory::serve(limits, Sink::default().factory()).await;
    let mut peer = memory.connect().await;
    peer.write_all(&[7; 1000]).await.unwrap();
    let began = Instant::now();
    peer.read_to_end(&mut Vec::new()).await.unwrap();
    let took = began.elapsed();
    assert!((idle..=idle + idle / LATE + Duration::from_millis(100)).contains(&took), "{took:?}");
    drop(peer);
    assert_eq!(memory.ended().await, CloseKind::Timeout(TimeoutKind::Idle));
}

#[tokio::test(start_paused = true)]
async fn the_message_timeout_does_not_blame_who_is_held_back() {
    let limits = limits(|l| {
        l.message_timeout = (2 * SECOND).into();
        l.min_message_rate = MinRate::AtLeast(1000);
        l.read_rate = Quota::AtMost(100);
    });
    let memory = Memory::serve(limits.clone(), |_: &ConnectionInfo| Lines).await;
    let mut peer = memory.connect().await;
    let mut line = vec![b'.'; 2999];
    line.push(b'\n');
    let began = Instant::now();
    peer.write_all(&line).await.unwrap();
    peer.read_exact(&mut line).await.unwrap();
    let took = began.elapsed();
    assert!((29 * SECOND..30 * SECOND).contains(&took), "{took:?}");

    // A trickle is one all the same, though its rate is that of the connection.
    let memory = Memory::serve(limits, |_: &ConnectionInfo| Lines).await;
    let mut peer = memory.connect().await;
    let began = Instant::now();
    while timeout(Duration::from_millis(100), peer.read(&mut [0; 10])).await.is_err() {
        peer.write_all(b".").await.unwrap();
    }
    let took = began.elapsed();
    assert!((2 * SECOND..=5 * SECOND / 2).contains(&took), "{took:?}");
    drop(peer);
    assert_eq!(memory.ended().await, CloseKind::Timeout(TimeoutKind::Message));
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_late_however_many_share() {
    let limits = limits(|l| {
        l.message_timeout = (10 * SECOND).into();
        l.service_read_rate = Quota::AtMost(1000);
    });
    let memory = Memory::serve(limits, |_: &ConnectionInfo| Lines).await;
    let mut greedy = JoinSet::new();
    for _ in 0..4 {
        let mut peer = memory.connect().await;
        greedy.spawn(async move {
            let (mut input, mut output) = tokio::io::split(&mut peer);
            let line = [&[b'.'; 99][..], b"\n"].concat();
            let send = async { while output.write_all(&line).await.is_ok() {} };
            let receive =
                async { while input.read(&mut [0; 1000]).await.is_ok_and(|len| len > 0) {} };
            tokio::join!(send, receive);
        });
    }
    sleep(10 * SECOND).await;
    let mut trickle = memory.connect().await;
    let began = Instant::now();
    while timeout(SECOND, trickle.read(&mut [0; 10])).await.is_err() {
        trickle.write_all(b".").await.unwrap();
    }
    // The time until its turn does not count; over memory even to look for a byte takes a turn.
    let took = began.elapsed();
    assert!((10 * SECOND..200 * SECOND).contains(&took), "{took:?}");
    assert_eq!(memory.server.stats().live, 5, "it lingers, and the others are served");
}

#[tokio::test(start_paused = true)]
async fn the_write_stall_timeout_does_not_blame_who_is_held_back() {
    let stall = SECOND / 2;
    let limits = limits(|l| {
        l.write_stall_timeout = stall.into();
        l.write_rate = Quota::AtMost(1);
    });
    let memory = Memory::serve(limits, source).await;
    let mut peer = memory.connect().await;
    about(received(&mut peer, 100 * SECOND).await, 100);
    assert_eq!(memory.server.stats().live, 1);

    // A peer that reads nothing stalls all the same, once the way is full.
    let limits = self::limits(|l| {
        l.write_stall_timeout = (4 * SECOND).into();
        l.write_rate = Quota::AtMost(10_000);
    });
    let memory = Memory::serve(limits, source).await;
    let peer = memory.connect().await;
    let began = Instant::now();
    assert_eq!(memory.ended().await, CloseKind::Timeout(TimeoutKind::WriteStall));
    // 64 KiB are on the way after 5.5 s.
    let took = began.elapsed();
    assert!((9 * SECOND..=11 * SECOND).contains(&took), "{took:?}");
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_close_flushes_at_the_rate_however_short_its_timeout() {
    let limits = limits(|l| {
        l.close_timeout = (SECOND / 2).into();
        l.write_rate = Quota::AtMost(1000);
    });
    let memory = Memory::serve(limits.clone(), |_: &ConnectionInfo| Answer(60_000)).await;
    let mut peer = memory.connect().await;
    peer.write_all(b"?").await.unwrap();
    let (began, mut got) = (Instant::now(), Vec::new());
    peer.read_to_end(&mut got).await.unwrap();
    let took = began.elapsed();
    assert!((59 * SECOND..60 * SECOND).contains(&took), "{took:?}");
    assert_eq!(got, pattern(60_000));
    drop(peer);
    assert_eq!(memory.ended().await, CloseKind::Closed);
    assert_eq!(memory.server.stats().close_timeouts, 0);

    // A peer that takes nothing is given up in time: what it had room for has left.
    let memory = Memory::serve(limits, |_: &ConnectionInfo| Answer(100_000)).await;
    let mut peer = memory.connect().await;
    peer.write_all(b"?").await.unwrap();
    let began = Instant::now();
    memory.ended().await;
    let took = began.elapsed();
    assert!((65 * SECOND..67 * SECOND).contains(&took), "{took:?}");
    assert_eq!(memory.server.stats().close_timeouts, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_close_throws_away_is_not_held_back_after_the_fin() {
    for held_back in [false, true] {
        let limits = limits(|l| {
            l.read_rate = Quota::AtMost(1000);
            if held_back {
                l.write_rate = Quota::AtMost(1000); // the FIN comes late
            }
        });
        let memory = Memory::serve(limits, |_: &ConnectionInfo| Answer(5000)).await;
        let mut peer = memory.connect().await;
        let (mut input, mut output) = tokio::io::split(&mut peer);
        let (began, mut got) = (Instant::now(), Vec::new());
        let send = async {
            output.write_all(&[7; 500_000]).await.unwrap();
            output.shutdown().await.unwrap();
        };
        let ((), read) = tokio::join!(send, input.read_to_end(&mut got));
        read.unwrap();
        assert_eq!(got, pattern(5000), "no reset destroys the answer");
        assert!(began.elapsed() < 6 * SECOND, "{:?}", began.elapsed());
        drop(peer);
        assert_eq!(memory.ended().await, CloseKind::Closed);
    }
}

/// Before the FIN a peer may send as long as it likes, and is slowed as before the close.
#[tokio::test(start_paused = true)]
async fn what_a_close_throws_away_before_the_fin_is_shaped() {
    let limits = limits(|l| {
        l.read_rate = Quota::AtMost(1000);
        l.write_rate = Quota::AtMost(1000);
    });
    let memory = Memory::serve(limits, |_: &ConnectionInfo| Answer(60_000)).await;
    let mut peer = memory.connect().await;
    peer.write_all(b"?").await.unwrap();
    let (mut input, mut output) = tokio::io::split(peer);
    let flood = async { while output.write_all(&[7; 1000]).await.is_ok() {} };
    let read = async { input.read_exact(&mut [0; 50_000]).await.unwrap() };
    tokio::pin!(flood);
    tokio::select! {
        () = &mut flood => panic!("it is reset"),
        _ = read => {}
    }
    let bytes_in = memory.server.stats().bytes_in;
    assert!((49_000..51_500).contains(&bytes_in), "{bytes_in} bytes in 49 s");
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_drain_is_kept() {
    let limits = limits(|l| l.write_rate = Quota::AtMost(1000));
    let memory = Memory::serve(limits, |_: &ConnectionInfo| Answer(60_000)).await;
    let mut peer = memory.connect().await;
    peer.write_all(b"?").await.unwrap();
    let reader = tokio::spawn(async move {
        let mut got = Vec::new();
        peer.read_to_end(&mut got).await.map(|_| got.len())
    });
    sleep(SECOND).await;
    let began = Instant::now();
    let report = memory.server.shutdown(5 * SECOND).await;
    assert_eq!((report.drained, report.aborted), (0, 1));
    let took = began.elapsed();
    assert!((5 * SECOND..6 * SECOND).contains(&took), "{took:?}");
    reader.await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_held_back_is_answered_by_a_drain() {
    let limits = limits(|l| l.read_rate = Quota::AtMost(100));
    let memory = Memory::serve(limits, |_: &ConnectionInfo| Lines).await;
    let mut peer = memory.connect().await;
    let mut lines = [&[b'.'; 99][..], b"\n"].concat().repeat(10);
    peer.write_all(&lines).await.unwrap();
    sleep(SECOND / 2).await; // the first one is answered, and the next is held back
    let client = async {
        peer.read_exact(&mut lines).await.unwrap();
        assert_eq!(peer.read(&mut [0; 10]).await.unwrap(), 0);
    };
    let (report, ()) = tokio::join!(memory.server.shutdown(60 * SECOND), client);
    assert_eq!((report.drained, report.aborted), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_seen_while_a_connection_is_held_back() {
    for reads in [false, true] {
        let rate = Quota::AtMost(1);
        let limits = limits(|l| if reads { l.read_rate = rate } else { l.write_rate = rate });
        let memory = match reads {
            true => Memory::serve(limits, Sink::default().factory()).await,
            false => Memory::serve(limits, source).await,
        };
        let mut peer = memory.connect().await;
        peer.write_all(&[7; 1000]).await.unwrap();
        sleep(SECOND / 10).await;
        let began = Instant::now();
        peer.set_abort();
        drop(peer);
        assert_eq!(memory.ended().await, CloseKind::Reset);
        assert!(began.elapsed() <= SECOND, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_ends_while_it_waits_leaves_its_share_to_others() {
    let limits = limits(|l| l.service_write_rate = Quota::AtMost(10_000));
    let memory = Memory::serve(limits, source).await;
    let mut stays = memory.connect().await;
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(memory.connect().await);
    }
    received(&mut stays, 10 * SECOND).await;
    drop(others);
    received(&mut stays, 2 * SECOND).await;
    about(received(&mut stays, 60 * SECOND).await, 600_000);
}

/// Rates that are never reached cost no wait and no count.
#[tokio::test(start_paused = true)]
async fn below_its_rate_nothing_is_held_back() {
    let limits = limits(|l| {
        let rates = [&mut l.read_rate, &mut l.write_rate];
        rates.into_iter().for_each(|rate| *rate = Quota::AtMost(1000));
        (l.service_read_rate, l.service_write_rate) = (Quota::AtMost(2000), Quota::AtMost(2000));
    });
    let memory = Memory::serve(limits, |_: &ConnectionInfo| Lines).await;
    let mut peer = memory.connect().await;
    let began = Instant::now();
    for _ in 0..100 {
        sleep(SECOND).await;
        let mut line = [&[b'.'; 899][..], b"\n"].concat();
        peer.write_all(&line).await.unwrap();
        peer.read_exact(&mut line).await.unwrap();
    }
    assert_eq!(began.elapsed().as_secs(), 100);
    let stats = memory.server.stats();
    assert_eq!((stats.reads_held_back, stats.writes_held_back), (0, 0));
}

#[tokio::test]
async fn datagrams_are_not_shaped() {
    type Set = fn(&mut Limits);
    let rates: [(&str, Set); 4] = [
        ("read_rate", |l| l.read_rate = Quota::AtMost(1000)),
        ("write_rate", |l| l.write_rate = Quota::AtMost(1000)),
        ("service_read_rate", |l| l.service_read_rate = Quota::AtMost(1000)),
        ("service_write_rate", |l| l.service_write_rate = Quota::AtMost(1000)),
    ];
    for (name, set) in rates {
        for at in ["udp://127.0.0.1:0", "unixgram:///tmp/netframe-not-shaped"] {
            let limits = limits(set);
            let builder = Server::builder(source).limits(limits.clone());
            let error = builder.listen(at).unwrap().bind().await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "`{at}` carries datagrams, and `{name}` shapes streams only, as a datagram that \
                     waits would be dropped in the end; leave the limit out, or use tcp://"
                )
            );
            assert_eq!(error.endpoint().unwrap().to_string(), at);
            let client = Client::builder(source).limits(limits).connect("udp://127.0.0.1:7").await;
            assert!(matches!(client.unwrap_err(), Error::ShapesStreams { .. }));
        }
    }
}

/// Two workers have one bucket: together they send no more than it allows, and what they send is
/// whole. (Time is real, so that only the least that it takes can be told.)
#[test]
fn workers_share_the_rate_of_a_service() {
    const RATE: usize = 2 << 20;
    const ALL: usize = RATE * 3 / 2;
    let limits = limits(|l| l.service_write_rate = Quota::AtMost(RATE));
    let builder = Server::builder(|_: &ConnectionInfo| Answer(ALL / 12)).limits(limits);
    let builder = builder.listen("tcp://127.0.0.1:0").unwrap();
    let two = Workers::Count(2.try_into().unwrap());
    let reactor = Reactor::builder().workers(two).build().unwrap().serve(builder).unwrap();
    let at = reactor.endpoints().next().unwrap().address().socket_addr().unwrap();
    let began = std::time::Instant::now();
    let signal = async move {
        let mut peers = JoinSet::new();
        for _ in 0..12 {
            peers.spawn(async move {
                let mut peer = TcpStream::connect(at).await.unwrap();
                peer.write_all(b"?").await.unwrap();
                let mut got = Vec::new();
                peer.read_to_end(&mut got).await.unwrap();
                assert_eq!(got, pattern(ALL / 12));
            });
        }
        peers.join_all().await;
    };
    reactor.run_until(signal).unwrap();
    let least = Duration::from_secs_f64((ALL - RATE) as f64 / RATE as f64);
    assert!(began.elapsed() >= least, "{:?} for {least:?}", began.elapsed());
}
