//! Time, on a clock that stands still until it is moved.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netframe_core::testing::{self, Harness};
use netframe_core::{CloseKind, Limits, Side};
use netframe_protocols::memcached::{Memcached, MemcachedOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{advance, sleep};

use super::{ask, cache, client, connect};

/// Whether there is an item.
fn has(client: &mut Harness<Memcached>, key: &str) -> bool {
    let answer = ask(client, format!("get {key}\r\n").as_bytes());
    answer != b"END\r\n"
}

#[tokio::test(start_paused = true)]
async fn an_item_is_gone_at_its_time_and_not_before() {
    let mut client = client();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let absolute = format!("set u 0 {} 1\r\nx\r\n", unix + 5000);
    for command in
        ["set a 0 10 1\r\nx\r\n", "set b 0 2592000 1\r\nx\r\n", "set c 0 0 1\r\nx\r\n", &absolute]
    {
        assert_eq!(ask(&mut client, command.as_bytes()), b"STORED\r\n");
    }
    advance(Duration::from_millis(9999)).await;
    assert!(has(&mut client, "a"));
    advance(Duration::from_millis(1)).await;
    assert!(!has(&mut client, "a"));
    // The two clocks were not read at once.
    advance(Duration::from_secs(4980)).await;
    assert!(has(&mut client, "u"));
    advance(Duration::from_secs(20)).await;
    assert!(!has(&mut client, "u"));
    advance(Duration::from_secs(2_592_000 - 5010 - 1)).await;
    assert!(has(&mut client, "b"));
    advance(Duration::from_secs(1)).await;
    assert!(!has(&mut client, "b"));
    advance(Duration::from_secs(1_000_000_000)).await;
    assert!(has(&mut client, "c"));
}

#[tokio::test(start_paused = true)]
async fn a_touch_sets_another_time_and_what_is_over_cannot_be_used() {
    let mut client = client();
    ask(&mut client, b"set a 0 10 1\r\n5\r\nset b 0 10 1\r\n5\r\nset c 0 10 1\r\n5\r\n");
    advance(Duration::from_secs(9)).await;
    assert_eq!(ask(&mut client, b"touch a 10\r\n"), b"TOUCHED\r\n");
    assert_eq!(ask(&mut client, b"gat 0 b\r\n"), b"VALUE b 0 1\r\n5\r\nEND\r\n");
    advance(Duration::from_secs(1)).await;
    assert!(has(&mut client, "a") && has(&mut client, "b"));
    for (command, answer) in [
        ("incr c 1", "NOT_FOUND"),
        ("append c 0 0 1\r\nx", "NOT_STORED"),
        ("replace c 0 0 1\r\nx", "NOT_STORED"),
        ("cas c 0 0 1 3\r\nx", "NOT_FOUND"),
        ("touch c 0", "NOT_FOUND"),
        ("delete c", "NOT_FOUND"),
        ("add c 0 0 1\r\nx", "STORED"),
    ] {
        let got = ask(&mut client, format!("{command}\r\n").as_bytes());
        assert_eq!(got, format!("{answer}\r\n").as_bytes(), "{command}");
    }
    // A change of the value is none of the time.
    ask(&mut client, b"incr a 1\r\nprepend a 0 0 1\r\n1\r\n");
    advance(Duration::from_millis(8999)).await;
    assert!(has(&mut client, "a"));
    advance(Duration::from_millis(1)).await;
    assert!(!has(&mut client, "a"));
}

#[tokio::test(start_paused = true)]
async fn a_flush_may_be_later_and_is_of_what_is_there_then() {
    let mut client = client();
    ask(&mut client, b"set a 0 0 1\r\nx\r\n");
    assert_eq!(ask(&mut client, b"flush_all 10\r\n"), b"OK\r\n");
    advance(Duration::from_millis(9999)).await;
    ask(&mut client, b"set b 0 0 1\r\nx\r\n");
    assert!(has(&mut client, "a") && has(&mut client, "b"));
    advance(Duration::from_millis(1)).await;
    // What is stored first after the time stays, whatever is looked at when.
    ask(&mut client, b"set c 0 0 1\r\nx\r\n");
    assert!(!has(&mut client, "a") && !has(&mut client, "b") && has(&mut client, "c"));
    // A later order replaces an earlier one.
    ask(&mut client, b"flush_all 10\r\nflush_all 20\r\n");
    advance(Duration::from_secs(10)).await;
    assert!(has(&mut client, "c"));
    advance(Duration::from_secs(10)).await;
    assert!(!has(&mut client, "c"));
}

#[tokio::test(start_paused = true)]
async fn figures_tell_what_was_done() {
    let cache = cache(MemcachedOptions::default());
    let mut client = Harness::new(connect(&cache));
    let other = Harness::new(connect(&cache));
    for commands in [
        "set a 0 5 3\r\nabc\r\nset n 0 0 1\r\n5\r\nadd n 0 0 1\r\n6\r\ncas n 0 0 1 1\r\n7\r\n",
        "cas n 0 0 1 1\r\n7\r\ncas none 0 0 1 1\r\n7\r\nget a n none\r\ngat 5 a none\r\ntouch none 0\r\n",
        "incr n 1\r\ndecr n 1\r\nincr none 1\r\ndecr none 1\r\nset d 0 0 1\r\nx\r\ndelete d\r\ndelete d\r\n",
    ] {
        ask(&mut client, commands.as_bytes());
    }
    advance(Duration::from_secs(5)).await;
    ask(&mut client, b"get a\r\nflush_all 100\r\n");
    drop(other);
    let told = String::from_utf8(ask(&mut client, b"stats\r\n")).unwrap();
    let told: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("STAT ")).collect();
    let per_item = 160;
    let bytes = format!("bytes {}", per_item + 2);
    for line in [
        "uptime 5",
        "pointer_size 64",
        "total_connections 2",
        "cmd_get 6",
        "get_hits 3",
        "get_misses 3",
        "cmd_set 7",
        "cmd_flush 1",
        "cmd_touch 3",
        "touch_hits 1",
        "touch_misses 2",
        "delete_hits 1",
        "delete_misses 1",
        "incr_hits 1",
        "incr_misses 1",
        "decr_hits 1",
        "decr_misses 1",
        "cas_hits 0",
        "cas_misses 1",
        "cas_badval 2",
        "limit_maxbytes 67108864",
        &bytes,
        "curr_items 1",
        "total_items 5",
        "evictions 0",
        "reclaimed 1",
    ] {
        assert!(told.contains(&line), "{line}: {told:#?}");
    }
    assert_eq!(ask(&mut client, b"stats reset\r\n"), b"RESET\r\n");
    let told = String::from_utf8(ask(&mut client, b"stats\r\n")).unwrap();
    assert!(
        told.contains("STAT cmd_get 0\r\n") && told.contains("STAT curr_items 1\r\n"),
        "{told}"
    );
}

#[test]
fn connections_are_counted_while_they_live() {
    let cache = cache(MemcachedOptions::default());
    let mut client = Harness::new(connect(&cache));
    let mut other = Harness::new(connect(&cache));
    let mut live = || {
        let told = String::from_utf8(ask(&mut client, b"stats\r\n")).unwrap();
        told.lines()
            .find_map(|line| line.strip_prefix("STAT curr_connections "))
            .unwrap()
            .to_owned()
    };
    assert_eq!(live(), "2");
    other.receive_eof();
    assert_eq!(live(), "1");
}

/// A value that trickles would hold its memory for as long as the client likes.
#[test]
fn a_value_must_come_in_time() {
    const MIB: usize = 1024 * 1024;
    let mut options = MemcachedOptions::default();
    options.max_value = 8 * MIB;
    let mut client = Harness::new(connect(&cache(options)));
    assert_eq!(client.transport().timeout(), None);
    client.receive(format!("set a 0 0 {}\r\n", 4 * MIB).as_bytes());
    assert_eq!(client.transport().timeout(), Some(Duration::from_secs(60)));
    client.receive(&vec![b'x'; MIB]);
    client.time_out();
    assert!(client.reason().is_none(), "enough has come");
    client.receive(&vec![b'x'; MIB - 1]);
    client.time_out();
    client.receive_eof();
    let reason = client.reason().unwrap();
    assert_eq!((reason.by(), reason.kind()), (Side::Peer, CloseKind::ProtocolError));
    assert_eq!(
        reason.to_string(),
        "protocol error by peer: a value came at less than 1048576 bytes in 60s"
    );
}

/// Each value has the time for itself, also where there is always one that is under way.
#[tokio::test(start_paused = true)]
async fn values_that_come_one_after_the_other_have_their_time_each() {
    let cache = cache(MemcachedOptions::default());
    let (mut peer, _connection) = testing::serve(cache, Limits::default());
    peer.write_all(b"set a 0 0 1000\r\n").await.unwrap();
    let (half, mut answer) = ([b'x'; 500], [0; 8]);
    peer.write_all(&half).await.unwrap();
    for _ in 0..20 {
        sleep(Duration::from_secs(20)).await;
        let rest = [&half[..], b"\r\nset a 0 0 1000\r\n", &half].concat();
        peer.write_all(&rest).await.unwrap();
        peer.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"STORED\r\n");
    }
    assert!(peer.read(&mut answer).await.unwrap() == 0, "the last one does not come");
}

/// While the answers before it are not taken nothing is read: then it is not the value that is slow.
#[test]
fn who_is_not_read_from_is_not_to_blame() {
    let mut limits = Limits::default();
    (limits.low_watermark, limits.high_watermark) = (100, 1000);
    let protocol = connect(&cache(MemcachedOptions::default()));
    let mut client = Harness::with_limits(protocol, limits);
    client.set_reading_peer(false);
    client.receive(&[&b"version\r\n".repeat(100)[..], b"set a 0 0 10\r\n12345"].concat());
    client.time_out();
    assert!(!client.transport().is_closed());
    client.set_reading_peer(true);
    client.time_out();
    client.receive_eof();
    assert_eq!(client.reason().unwrap().kind(), CloseKind::ProtocolError);
}

#[test]
fn a_value_that_has_come_is_not_waited_for() {
    let mut client = client();
    client.receive(b"set a 0 0 10\r\n12345");
    assert_eq!(client.transport().timeout(), Some(Duration::from_secs(60)));
    assert_eq!(ask(&mut client, b"67890\r\nset b 0 0 1\r\nx\r\n"), b"STORED\r\nSTORED\r\n");
    assert_eq!(client.transport().timeout(), None);
    client.time_out(); // it had passed already
    assert!(client.reason().is_none());
}
