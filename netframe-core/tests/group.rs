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
    Client, CloseKind, ConnectionInfo, Group, GroupLimits, GroupStats, Limits, Member, Message,
    Needs, Policy, Protocol, Reactor, Result, Server, Transport, Workers,
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

/// Room for `count` messages of a byte for each member.
fn room_for(count: usize) -> Group {
    let mut limits = GroupLimits::default();
    limits.max_backlog = count * (1 + OVERHEAD);
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

fn counts(stats: GroupStats) -> [u64; 4] {
    [stats.dropped_newest, stats.dropped_oldest, stats.replaced, stats.disconnected]
}

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
    assert_eq!((stats.members, stats.messages, stats.highest_memory), (3, 2, 0));
}

#[test]
fn what_waits_arrives_in_order_once_there_is_room() {
    for policy in [
        Policy::DropNewest,
        Policy::DropOldest,
        Policy::KeepLatest,
        Policy::Disconnect,
        Policy::Block(Duration::ZERO),
    ] {
        let group = room_for(3);
        let mut t = narrow();
        let member = group.join(t.handle(), policy);
        for message in ["a", "b", "c"] {
            assert_eq!(group.try_send(message).waiting, 1);
        }
        assert_eq!(group.stats().memory, 3 * (1 + 2 * OVERHEAD));
        assert_eq!(read_all(&mut t), "--abc", "{policy:?}");
        assert_eq!(group.stats().memory, 0);
        assert_eq!(group.try_send("d").written, 1, "and then everything as before");
        assert_eq!(read_all(&mut t), "d");
        assert_eq!((counts(group.stats()), member.missed()), ([0; 4], 0));
    }
}

#[test]
fn each_policy_decides_about_the_message_that_is_too_much() {
    let check = |policy, want: &str, want_counts: [u64; 4], missed: u64| {
        let group = room_for(3);
        let mut t = narrow();
        let member = group.join(t.handle(), policy);
        for message in ["a", "b", "c", "d", "e"] {
            group.try_send(message);
        }
        assert_eq!(read_all(&mut t), want, "{policy:?}");
        assert_eq!((counts(group.stats()), member.missed()), (want_counts, missed), "{policy:?}");
        t
    };
    check(Policy::DropNewest, "--abc", [2, 0, 0, 0], 2);
    check(Policy::DropOldest, "--cde", [0, 2, 0, 0], 2);
    check(Policy::KeepLatest, "--cde", [0, 2, 0, 0], 2);
    check(Policy::Block(Duration::ZERO), "--abc", [2, 0, 0, 0], 2);
    assert!(check(Policy::Disconnect, "--", [0, 0, 0, 1], 0).is_aborted());
}

#[test]
fn a_message_that_never_fits_is_dropped_and_the_next_one_is_not() {
    for policy in [Policy::DropNewest, Policy::DropOldest, Policy::KeepLatest] {
        let group = room_for(2);
        let mut t = narrow();
        let _member = group.join(t.handle(), policy);
        assert_eq!(group.try_send(vec![b'!'; 500]).dropped, 1, "{policy:?}");
        assert_eq!(group.try_send("a").waiting, 1);
        assert_eq!(read_all(&mut t), "--a");
    }
}

#[test]
fn a_message_that_is_no_datagram_is_missed_whether_it_waited_or_not() {
    let mut limits = GroupLimits::default();
    limits.max_backlog = 1 << 20;
    let group = Group::new(limits);
    let mut t = Recorder::datagrams(Needs::Datagram);
    let handle = t.handle();
    let member = group.join(handle.clone(), Policy::DropNewest);
    assert_eq!(group.try_send(vec![0; 70_000]).dropped, 1);
    assert_eq!(member.missed(), 1);
    while handle.try_write(vec![0; 65_000]).is_ok() {}
    assert_eq!(group.try_send(vec![0; 70_000]).waiting, 1);
    t.take_sent();
    assert_eq!((member.missed(), group.stats().memory), (2, 0));
}

#[test]
fn the_latest_message_of_each_key_takes_the_place_of_the_one_before() {
    let group = room_for(3);
    let (mut latest, mut all) = (narrow(), narrow());
    let keeps_latest = group.join(latest.handle(), Policy::KeepLatest);
    let _keeps_all = group.join(all.handle(), Policy::DropOldest);
    for (key, data) in [(1, "a"), (2, "b"), (1, "A"), (3, "c"), (1, "@"), (2, "B")] {
        group.try_send(Message::new(data).keyed(key));
    }
    assert_eq!(read_all(&mut latest), "--@Bc");
    assert_eq!(read_all(&mut all), "--c@B");
    assert_eq!(keeps_latest.missed(), 3);
    group.try_send(Message::new("d").keyed(1));
    assert_eq!(read_all(&mut latest), "d", "nothing of what has left is in the way");
}

#[test]
fn a_longer_message_in_the_place_of_another_makes_room_for_itself() {
    let group = room_for(2);
    let mut t = narrow();
    let _member = group.join(t.handle(), Policy::KeepLatest);
    for (key, data) in [(1, "a"), (2, "b"), (2, "longer")] {
        group.try_send(Message::new(data).keyed(key));
    }
    assert_eq!(read_all(&mut t), "--longer");
    assert_eq!(counts(group.stats()), [0, 1, 1, 0]);
}

#[test]
fn memory_is_bounded_for_all_members_together() {
    let mut limits = GroupLimits::default();
    limits.max_memory = 10_000;
    let group = Group::new(limits);
    let mut slow: Vec<_> = (0..10).map(|_| narrow()).collect();
    let members: Vec<Member> = slow
        .iter_mut()
        .enumerate()
        .map(|(i, t)| {
            let policies = [Policy::DropOldest, Policy::DropNewest, Policy::Disconnect];
            group.join(t.handle(), policies[i % 3])
        })
        .collect();
    for _ in 0..1000 {
        group.try_send(vec![b'x'; 100]);
        assert!(group.stats().memory <= 10_000);
    }
    let stats = group.stats();
    assert!(stats.highest_memory > 9_000, "{stats:?}");
    assert!(stats.dropped_oldest > 1_000 && stats.dropped_newest > 1_000, "{stats:?}");
    assert_eq!(stats.disconnected, 3);
    drop(members);
    assert_eq!(group.stats().memory, 0);
}

#[test]
fn a_message_that_waits_for_many_is_held_once() {
    let group = Group::default();
    let mut slow: Vec<_> = (0..100).map(|_| narrow()).collect();
    let _members: Vec<_> =
        slow.iter_mut().map(|t| group.join(t.handle(), Policy::DropOldest)).collect();
    group.try_send(vec![0; 10_000]);
    assert_eq!(group.stats().memory, 10_000 + OVERHEAD + 100 * OVERHEAD);
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
    assert_eq!(group.stats().memory, 0);
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
        ops in prop::collection::vec((0..4_u8, 0..3_usize, 1..200_usize), 1..200),
        max_backlog in 100..2_000_usize,
        max_memory in 100..4_000_usize,
    ) {
        let mut limits = GroupLimits::default();
        (limits.max_backlog, limits.max_memory) = (max_backlog, max_memory);
        let group = Group::new(limits);
        let policies = [Policy::DropNewest, Policy::DropOldest, Policy::KeepLatest];
        let mut ts: Vec<_> = policies.iter().map(|_| narrow()).collect();
        let members: Vec<_> =
            ts.iter_mut().zip(policies).map(|(t, policy)| group.join(t.handle(), policy)).collect();
        let mut got = [const { Vec::new() }; 3];
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
            prop_assert!(group.stats().memory <= max_memory);
        }
        for who in 0..3 {
            let mut before = 0;
            loop {
                let now = read(&mut ts, who);
                if now == before {
                    break;
                }
                before = now;
            }
        }
        for ((bytes, member), policy) in got.iter().zip(&members).zip(policies) {
            let mut rest = bytes.strip_prefix(b"--").unwrap();
            let mut numbers = Vec::new();
            while !rest.is_empty() {
                let field = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
                let len = field(4) as usize;
                numbers.push(field(0));
                rest = &rest[8 + len..];
            }
            prop_assert_eq!(numbers.len() as u64 + member.missed(), u64::from(sent));
            let sorted = numbers.is_sorted();
            prop_assert!(sorted || policy == Policy::KeepLatest, "{:?}", numbers);
        }
        prop_assert_eq!(group.stats().memory, 0);
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
    let group = room_for(10);
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
    assert_eq!((delivery.waiting, delivery.dropped, delivery.disconnected), (0, 0, 1));
    let reason = handle.closed().await;
    assert_eq!(reason.kind(), CloseKind::Overflow);
    assert!(reason.to_string().contains("too slow for the messages of its group"), "{reason}");
    assert_eq!(group.stats().disconnected, 1);
    server.shutdown(patience).await;
    assert_eq!(reading.await.unwrap().len(), sent * 100);
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn a_sender_goes_on_as_soon_as_a_member_that_blocks_has_room() {
    let group = room_for(10);
    let (server, network, mut handles) = server(&group, Policy::Block(Duration::MAX / 4)).await;
    let mut peer = network.connect("group").await.unwrap();
    handles.recv().await.unwrap();
    let messages: usize = 200;
    let sender = tokio::spawn({
        let group = group.clone();
        async move {
            for number in 0..messages {
                // A dropped future has sent its message, and no longer waits.
                let sending = group.send(format!("{number:04}{}", ".".repeat(96)));
                if number % 7 == 0 {
                    let _ = timeout(Duration::ZERO, sending).await;
                } else {
                    sending.await;
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
    assert_eq!(counts(group.stats()), [0; 4]);
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
