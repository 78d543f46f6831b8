//! [`Group`]: every policy at its bounds, the order of messages, and the memory of slow members.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::testing::Recorder;
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    Client, CloseKind, ConnectionInfo, Group, GroupLimits, Limits, Member, Message, Needs, Policy,
    Protocol, Reactor, Result, Server, Transport, Workers,
};
use proptest::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// What each message that waits costs beside its bytes.
const OVERHEAD: usize = 64;

/// A connection whose queue takes one message of a byte and no more, until it is read.
fn narrow() -> Recorder {
    let mut limits = Limits::default();
    (limits.high_watermark, limits.low_watermark) = (1, 1);
    let mut recorder = Recorder::with_limits(limits);
    recorder.write(b"--");
    recorder
}

/// A group in which so many messages of a byte may wait.
fn room_for(count: usize) -> Group {
    of_bytes(count * (1 + OVERHEAD))
}

fn of_bytes(max_backlog: usize) -> Group {
    let mut limits = GroupLimits::default();
    limits.max_backlog = max_backlog;
    Group::new(limits)
}

/// Everything that arrives once the peer reads.
fn read_all(recorder: &mut Recorder) -> String {
    let mut all = BytesMut::new();
    loop {
        let some = recorder.take_written();
        if some.is_empty() {
            return String::from_utf8(all.to_vec()).unwrap();
        }
        all.extend_from_slice(&some);
    }
}

const POLICIES: [Policy; 5] = [
    Policy::DropNewest,
    Policy::DropOldest,
    Policy::KeepLatest,
    Policy::Disconnect,
    Policy::Block(Duration::ZERO),
];

#[test]
fn a_member_that_reads_gets_everything_at_once() {
    let group = Group::default();
    let mut members: Vec<_> = (0..3).map(|_| Recorder::new()).collect();
    let joined: Vec<_> =
        members.iter_mut().map(|t| group.join(t.handle(), Policy::Disconnect)).collect();
    assert_eq!(group.try_send("one ").written, 3);
    assert_eq!(joined[1].send_to_others("two ").written, 2);
    assert_eq!(read_all(&mut members[0]), "one two ");
    assert_eq!(read_all(&mut members[1]), "one ");
    let stats = group.stats();
    assert_eq!((stats.members, stats.messages, stats.missed), (3, 2, 0));
    assert_eq!((stats.backlog, stats.highest_backlog), (0, 0), "nothing has waited");
}

#[test]
fn what_waits_arrives_in_order_once_there_is_room() {
    for policy in &POLICIES[1..] {
        let group = room_for(3);
        let mut t = narrow();
        let member = group.join(t.handle(), *policy);
        for message in ["a", "b", "c"] {
            assert_eq!(group.try_send(message).waiting, 1);
        }
        assert_eq!(read_all(&mut t), "--abc", "{policy:?}");
        assert_eq!(group.stats().backlog, 0);
        assert_eq!(group.try_send("d").written, 1, "and then everything as before");
        assert_eq!(read_all(&mut t), "d");
        assert_eq!((group.stats().missed, member.missed()), (0, 0));
    }
}

#[test]
fn each_policy_decides_about_the_message_that_is_too_much() {
    let check = |policy, want: &str, missed: u64, disconnected: u64| {
        let group = room_for(3);
        let mut t = narrow();
        let member = group.join(t.handle(), policy);
        for message in ["a", "b", "c", "d", "e"] {
            group.try_send(message);
        }
        assert_eq!(read_all(&mut t), want, "{policy:?}");
        let stats = group.stats();
        assert_eq!((member.missed(), stats.missed), (missed, missed), "{policy:?}");
        assert_eq!(stats.disconnected, disconnected);
        t
    };
    check(Policy::DropNewest, "--", 5, 0);
    check(Policy::DropOldest, "--cde", 2, 0);
    check(Policy::KeepLatest, "--cde", 2, 0);
    check(Policy::Block(Duration::ZERO), "--cde", 2, 0);
    assert!(check(Policy::Disconnect, "--", 1, 1).is_aborted());
}

#[test]
fn a_message_that_never_fits_is_dropped_and_the_next_one_is_not() {
    for policy in [Policy::DropOldest, Policy::KeepLatest, Policy::Block(Duration::ZERO)] {
        let group = room_for(2);
        let mut t = narrow();
        let member = group.join(t.handle(), policy);
        group.try_send(vec![b'!'; 500]);
        assert_eq!(group.try_send("a").waiting, 1);
        assert_eq!(read_all(&mut t), "--a", "{policy:?}");
        assert_eq!(member.missed(), 1);
    }
}

#[test]
fn a_message_that_is_no_datagram_is_missed_whether_it_waited_or_not() {
    let group = of_bytes(1 << 20);
    let mut t = Recorder::datagrams(Needs::Datagram);
    let handle = t.handle();
    let member = group.join(handle.clone(), Policy::DropOldest);
    assert_eq!(group.try_send(vec![0; 70_000]).dropped, 1);
    assert_eq!(member.missed(), 1);
    while handle.try_write(vec![0; 65_000]).is_ok() {}
    assert_eq!(group.try_send(vec![0; 70_000]).waiting, 1);
    t.take_sent();
    assert_eq!((member.missed(), group.stats().backlog), (2, 0));
}

#[test]
fn of_each_key_only_the_latest_message_waits() {
    let group = room_for(6);
    let (mut latest, mut all) = (narrow(), narrow());
    let keeps_latest = group.join(latest.handle(), Policy::KeepLatest);
    let keeps_all = group.join(all.handle(), Policy::DropOldest);
    for (key, data) in [(1, "a"), (2, "b"), (1, "A"), (3, "c"), (1, "@"), (2, "B")] {
        group.try_send(Message::new(data).keyed(key));
    }
    group.try_send("-");
    assert_eq!(read_all(&mut latest), "--c@B-");
    assert_eq!(read_all(&mut all), "--bAc@B-");
    assert_eq!((keeps_latest.missed(), keeps_all.missed()), (3, 1));
    group.try_send(Message::new("d").keyed(1));
    assert_eq!(read_all(&mut latest), "d", "nothing of what has left is in the way");
}

#[test]
fn a_key_keeps_its_latest_message_however_many_others_have_come() {
    let group = room_for(10);
    let mut t = narrow();
    let _member = group.join(t.handle(), Policy::KeepLatest);
    group.try_send(Message::new("r").keyed(0)); // rare
    for n in 0..1000_u64 {
        group.try_send(Message::new(vec![b'0' + (n % 9) as u8]).keyed(1 + n % 9));
    }
    let got = read_all(&mut t);
    assert!(got.starts_with("--r") && got.len() == 2 + 10, "{got}");
}

#[test]
fn memory_does_not_grow_with_the_number_of_slow_members() {
    let group = of_bytes(10_000);
    let mut slow: Vec<_> = (0..100).map(|_| narrow()).collect();
    let members: Vec<Member> =
        slow.iter_mut().enumerate().map(|(i, t)| group.join(t.handle(), POLICIES[i % 4])).collect();
    let mut reader = Recorder::new();
    let _reader = group.join(reader.handle(), Policy::Disconnect);
    let mut read = 0;
    for _ in 0..1000 {
        group.try_send(vec![b'x'; 100]);
        assert!(group.stats().backlog <= 2 * 10_000, "one log for all, and one for the latest");
        read += reader.take_written().len();
    }
    assert_eq!(read, 1000 * 100, "one that reads does not notice");
    let stats = group.stats();
    assert!(stats.highest_backlog > 19_000, "{stats:?}");
    assert_eq!((stats.disconnected, stats.members), (25, 76));
    drop(members);
    assert_eq!(group.stats().backlog, 0);
}

#[test]
fn who_leaves_or_ends_gets_nothing_more() {
    let group = Group::default();
    let (mut leaves, mut closes) = (narrow(), narrow());
    let member = group.join(leaves.handle(), Policy::DropOldest);
    let _other = group.join(closes.handle(), Policy::DropOldest);
    group.try_send("a");
    drop(member);
    closes.close();
    assert_eq!(group.try_send("b"), netframe_core::Delivery::default());
    assert_eq!(read_all(&mut leaves), "--");
    assert_eq!(read_all(&mut closes), "--");
    assert!(group.is_empty());
    assert_eq!(group.stats().backlog, 0);
}

/// A payload whose drop uses the group that it was sent to.
struct Reentrant(Group, Arc<AtomicUsize>);

impl AsRef<[u8]> for Reentrant {
    fn as_ref(&self) -> &[u8] {
        b"!"
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        self.0.try_send("again");
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn payloads_are_dropped_without_a_lock() {
    for policy in [Policy::DropNewest, Policy::DropOldest, Policy::KeepLatest, Policy::Disconnect] {
        let group = room_for(2);
        let mut t = narrow();
        let member = group.join(t.handle(), policy);
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..5 {
            let payload = Reentrant(group.clone(), Arc::clone(&dropped));
            group.try_send(Message::new(Bytes::from_owner(payload)).keyed(1));
        }
        read_all(&mut t);
        drop(member);
        assert_eq!(dropped.load(Ordering::SeqCst), 5);
    }
}

proptest! {
    /// Whatever happens in whatever order: what a member has got, and what it has missed, is what
    /// was sent.
    #[test]
    fn nothing_is_lost_twice_or_silently(
        ops in prop::collection::vec((0..4_u8, 0..4_usize, 1..200_usize), 1..200),
        max_backlog in 100..4_000_usize,
    ) {
        let group = of_bytes(max_backlog);
        let policies =
            [Policy::DropNewest, Policy::DropOldest, Policy::KeepLatest, Policy::Block(Duration::ZERO)];
        let mut ts: Vec<_> = policies.iter().map(|_| narrow()).collect();
        let members: Vec<_> =
            ts.iter_mut().zip(policies).map(|(t, policy)| group.join(t.handle(), policy)).collect();
        let mut got = [const { Vec::new() }; 4];
        let mut read = |ts: &mut [Recorder], who: usize| {
            got[who].extend_from_slice(&ts[who].take_written());
            got[who].len()
        };
        let mut sent = 0_u32;
        for (op, who, len) in ops {
            if op == 0 {
                read(&mut ts, who);
            } else {
                let mut message = sent.to_be_bytes().to_vec();
                message.extend_from_slice(&(len as u32).to_be_bytes());
                message.resize(8 + len, b'.');
                group.try_send(Message::new(message).keyed(u64::from(sent) % 3));
                sent += 1;
            }
            prop_assert!(group.stats().backlog <= 2 * max_backlog);
        }
        for who in 0..4 {
            let mut before = 0;
            loop {
                let now = read(&mut ts, who);
                if now == before {
                    break;
                }
                before = now;
            }
        }
        let mut missed = 0;
        for (bytes, member) in got.iter().zip(&members) {
            let mut rest = bytes.strip_prefix(b"--").unwrap();
            let mut numbers = Vec::new();
            while !rest.is_empty() {
                let field = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
                let len = field(4) as usize;
                numbers.push(field(0));
                rest = &rest[8 + len..];
            }
            prop_assert_eq!(numbers.len() as u64 + member.missed(), u64::from(sent));
            prop_assert!(numbers.is_sorted(), "{:?}", numbers);
            missed += member.missed();
        }
        let stats = group.stats();
        prop_assert_eq!((stats.missed, stats.backlog), (missed, 0));
    }
}

/// Joins a group; what it hears is what its peer reads. It says nothing.
struct Listener {
    group: Group,
    policy: Policy,
    joined: mpsc::UnboundedSender<netframe_core::Handle>,
    member: Option<Member>,
}

impl Protocol for Listener {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.member = Some(self.group.join(t.handle(), self.policy));
        self.joined.send(t.handle())?;
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

/// A server of listeners in memory, with room for 1000 bytes on the way to each.
async fn server(
    group: &Group,
    policy: Policy,
) -> (Server, MemNetwork, mpsc::UnboundedReceiver<netframe_core::Handle>) {
    let network = MemNetwork::new();
    let (joined, handles) = mpsc::unbounded_channel();
    let group = group.clone();
    let listener = move |_: &ConnectionInfo| Listener {
        group: group.clone(),
        policy,
        joined: joined.clone(),
        member: None,
    };
    let mut limits = Limits::default();
    (limits.high_watermark, limits.low_watermark) = (1000, 500);
    let server = Server::builder(listener)
        .network(network.clone())
        .limits(limits)
        .listen("mem://group?capacity=1000")
        .unwrap();
    (server.bind().await.unwrap(), network, handles)
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_for_a_member_that_blocks_and_disconnects_it_at_its_deadline() {
    let group = of_bytes(2_000);
    let patience = Duration::from_secs(5);
    let (server, network, mut handles) = server(&group, Policy::Block(patience)).await;
    let mut reader = network.connect("group").await.unwrap();
    let slow = network.connect("group").await.unwrap();
    let handle = {
        handles.recv().await.unwrap();
        handles.recv().await.unwrap()
    };
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        all
    });
    let started = Instant::now();
    let mut sent = 0;
    let delivery = loop {
        let delivery = group.send(vec![b'.'; 100]).await;
        sent += 1;
        if delivery.disconnected > 0 {
            break delivery;
        }
        assert!(sent < 100, "{delivery:?}");
        tokio::task::yield_now().await; // the reader reads
    };
    assert_eq!(started.elapsed(), patience, "it waited once, and for as long as it may");
    assert_eq!((delivery.written, delivery.disconnected), (1, 1));
    let reason = handle.closed().await;
    assert_eq!(reason.kind(), CloseKind::Overflow);
    assert!(reason.to_string().contains("too slow for the messages of its group"), "{reason}");
    assert_eq!(group.stats().disconnected, 1);
    server.shutdown(patience).await;
    assert_eq!(reading.await.unwrap().len(), sent * 100);
    drop(slow);
}

#[tokio::test]
async fn a_service_counts_what_its_members_miss() {
    let group = room_for(10);
    let (server, network, mut handles) = server(&group, Policy::DropNewest).await;
    let peer = network.connect("group").await.unwrap();
    handles.recv().await.unwrap();
    let mut dropped = 0;
    for _ in 0..100 {
        dropped += group.send(vec![b'.'; 100]).await.dropped;
    }
    assert!(dropped > 50, "{dropped}");
    assert_eq!(server.stats().missed, dropped as u64);
    drop(peer);
    server.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_goes_on_as_soon_as_a_member_that_blocks_has_room() {
    let group = of_bytes(2_000);
    let (server, network, mut handles) = server(&group, Policy::Block(Duration::MAX)).await;
    let mut peer = network.connect("group").await.unwrap();
    handles.recv().await.unwrap();
    let messages: usize = 200;
    let sender = tokio::spawn({
        let group = group.clone();
        async move {
            for number in 0..messages {
                let message = Bytes::from(format!("{number:04}{}", ".".repeat(96)));
                // A dropped future has sent nothing.
                while timeout(Duration::ZERO, group.send(message.clone())).await.is_err() {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let mut line = [0; 100];
    for number in 0..messages {
        peer.read_exact(&mut line).await.unwrap();
        assert_eq!(&line[..4], format!("{number:04}").as_bytes());
    }
    sender.await.unwrap();
    assert_eq!((group.stats().missed, group.stats().disconnected), (0, 0));
    server.shutdown(Duration::from_secs(5)).await;
}

#[test]
fn members_on_all_workers_get_everything_in_one_order() {
    /// Says aloud what it hears.
    struct Voice {
        group: Group,
        member: Option<Member>,
    }

    impl Protocol for Voice {
        async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
            self.member = Some(self.group.join(t.handle(), Policy::Disconnect));
            t.write(b"here\n");
            Ok(())
        }

        async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
            while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
                self.group.send(data.split_to(end + 1).freeze()).await;
            }
            Ok(())
        }
    }

    const VOICES: usize = 20;
    const LINES: usize = 200;
    let group = Group::default();
    let room = group.clone();
    let reactor = Reactor::builder()
        .workers(Workers::Count(NonZeroUsize::new(2).unwrap()))
        .build()
        .unwrap()
        .listen("tcp://127.0.0.1:0", move |_: &ConnectionInfo| Voice {
            group: room.clone(),
            member: None,
        })
        .unwrap();
    let addr = reactor.endpoints().next().unwrap().address().socket_addr().unwrap();
    let talk = async {
        let mut voices = Vec::new();
        for _ in 0..VOICES {
            let mut voice = BufReader::new(TcpStream::connect(addr).await.unwrap());
            assert_eq!(voice.read_line(&mut String::new()).await.unwrap(), 5);
            voices.push(voice);
        }
        let mut heard = tokio::task::JoinSet::new();
        for (number, voice) in voices.into_iter().enumerate() {
            heard.spawn(async move {
                let (reader, mut writer) = tokio::io::split(voice);
                let mut reader = BufReader::new(reader);
                let say = async {
                    for line in 0..LINES {
                        writer.write_all(format!("{number} {line}\n").as_bytes()).await.unwrap();
                    }
                };
                let hear = async {
                    let mut lines = Vec::new();
                    for _ in 0..VOICES * LINES {
                        let mut line = String::new();
                        reader.read_line(&mut line).await.unwrap();
                        lines.push(line);
                    }
                    lines
                };
                tokio::join!(say, hear).1
            });
        }
        let heard = heard.join_all().await;
        assert!(heard.windows(2).all(|two| two[0] == two[1]), "all hear the same");
        for number in 0..VOICES {
            let said = heard[0].iter().filter(|line| line.starts_with(&format!("{number} ")));
            assert!(said.eq(&(0..LINES).map(|n| format!("{number} {n}\n")).collect::<Vec<_>>()));
        }
    };
    let talk = async { timeout(Duration::from_secs(60), talk).await.unwrap() };
    reactor.run_until(talk).unwrap();
    assert_eq!(group.stats().messages, (VOICES * LINES) as u64);
    assert!(group.is_empty());
}

#[tokio::test]
async fn a_client_can_be_a_member() {
    let group = Group::default();
    let (server, network, mut handles) = server(&group, Policy::DropOldest).await;
    let (joined, mut own) = mpsc::unbounded_channel();
    let room = Group::default();
    let listener = {
        let room = room.clone();
        move |_: &ConnectionInfo| Listener {
            group: room.clone(),
            policy: Policy::DropOldest,
            joined: joined.clone(),
            member: None,
        }
    };
    let client = Client::builder(listener).network(network).connect("mem://group").await.unwrap();
    handles.recv().await.unwrap();
    own.recv().await.unwrap();
    assert_eq!(room.send("to the server").await.written, 1);
    server.shutdown(Duration::from_secs(5)).await;
    assert_eq!(client.closed().await.bytes_out(), 13);
    let mut empty = VecDeque::from([room, group]);
    assert!(empty.drain(..).all(|group| group.is_empty()));
}
