//! What clients cost: large values and many to peers that read slowly, long lines, tiny commands, and the
//! end of a server.

use std::task::{Context, Poll, Waker};

use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Harness, Recorder, replay};
use netframe_core::{CloseKind, Protocol, Side, Transport};
use netframe_protocols::memcached::{Memcached, MemcachedOptions};

use super::{ask, cache, client, connect, set, value};

#[test]
fn many_large_values_in_one_get_wait_for_a_slow_reader() {
    let mut options = MemcachedOptions::default();
    options.memory = 1 << 30; // none is evicted, whatever part it goes to
    let cache = cache(options);
    let mut client = Harness::new(connect(&cache));
    let values: Vec<_> = (0..30).map(|n| (format!("k{n}"), vec![n as u8; 1024 * 1024])).collect();
    for (key, value) in &values {
        assert_eq!(ask(&mut client, &set(key, value)), b"STORED\r\n");
    }
    let keys: Vec<_> = values.iter().map(|(key, _)| key.as_str()).collect();
    let command = format!("get {} k0\r\nversion\r\n", keys.join(" ").replace("k5", "k5 none"));
    let mut want: Vec<u8> = values.iter().flat_map(|(k, v)| value(k, v)).collect();
    want.extend(value("k0", &values[0].1));
    want.extend(b"END\r\n");

    client.set_reading_peer(false);
    client.receive(command.as_bytes());
    client.receive_eof();
    let mut got = Vec::new();
    let mut rounds = 0;
    while client.reason().is_none() {
        let queued = client.transport().queued();
        assert!(queued <= 1024 * 1024 + 64 * 1024, "{queued}");
        client.set_reading_peer(true);
        client.set_reading_peer(false);
        got.extend_from_slice(&client.take_written());
        rounds += 1;
        assert!(rounds < 1000);
    }
    assert!(got.starts_with(&want), "{} B of {}", got.len(), want.len());
    assert!(got[want.len()..].starts_with(b"VERSION "));
    assert_eq!(client.reason().unwrap().kind(), CloseKind::Eof);
}

#[test]
fn a_line_has_2048_bytes_and_no_more() {
    let refusal = &b"CLIENT_ERROR line too long\r\n"[..];
    for (len, answer) in
        [(2047, &b"ERROR\r\n"[..]), (2048, b"ERROR\r\n"), (2049, refusal), (9000, refusal)]
    {
        let line = [&vec![b'x'; len - 2][..], b"\r\n"].concat();
        let mut options = MemcachedOptions::default();
        options.max_value = 1; // one part: each cache of so many is small
        options.memory = 1000;
        let seen = replay(&line, || connect(&cache(options.clone())));
        assert_eq!(seen.written, answer, "{len}");
        let kind = if answer == refusal { CloseKind::ProtocolError } else { CloseKind::Eof };
        assert_eq!(seen.ended, Some((Side::Peer, kind)));
    }
    for begins in ["set ", "getx ", "gat x ", "gat 00000000", "touch ", "gat"] {
        let mut client = client();
        client.receive(begins.as_bytes());
        assert!(ask(&mut client, &vec![b'0'; 2047 - begins.len()]).is_empty());
        assert_eq!(ask(&mut client, b"0"), refusal, "{begins}");
        client.receive_eof();
        assert_eq!(
            client.reason().unwrap().to_string(),
            "protocol error by peer: a command line has more than 2048 bytes"
        );
    }
}

/// A client asks for as many keys as it likes, and they cost nothing while they come.
#[test]
fn a_get_has_as_many_keys_as_it_likes() {
    let cache = cache(MemcachedOptions::default());
    ask(&mut Harness::new(connect(&cache)), &set("a", b"1"));
    for (command, answer) in [
        ("get", "VALUE a 0 1\r\n1\r\n"),
        ("gets", "VALUE a 0 1 1\r\n1\r\n"),
        ("gat 0", "VALUE a 0 1\r\n1\r\n"),
        (" gats  0 ", "VALUE a 0 1 1\r\n1\r\n"),
    ] {
        for chunk_len in [1, 7, 1000, 100_000] {
            let mut client = Harness::new(connect(&cache));
            let keys = format!(" none{}", " ".repeat(10)).repeat(1000) + " a";
            let sent = format!("{command}{keys}{keys}\r\nversion\r\n");
            for chunk in sent.as_bytes().chunks(chunk_len) {
                client.receive(chunk);
                assert!(client.leftover().len() <= 2048);
            }
            let got = String::from_utf8(client.take_written().to_vec()).unwrap();
            let want = answer.repeat(2) + "END\r\nVERSION ";
            assert!(got.starts_with(&want), "{command} in {chunk_len}: {got}");
        }
    }
    // A key that is wrong ends the answer, wherever it is, and the next line is the next command.
    for wrong in ["k".repeat(251), "k".repeat(9000), "a\tb".into(), "\0".into()] {
        let sent = format!("get{} {wrong} a\r\nget a\r\n", " a".repeat(1100));
        let hit = "VALUE a 0 1\r\n1\r\n";
        let want = hit.repeat(1100) + "CLIENT_ERROR bad command line format\r\n" + hit + "END\r\n";
        for chunk_len in [1, 1000, sent.len()] {
            let mut client = Harness::new(connect(&cache));
            sent.as_bytes().chunks(chunk_len).for_each(|chunk| client.receive(chunk));
            assert!(client.take_written() == want, "{} in {chunk_len}", wrong.len());
        }
    }
    // Who leaves in the middle of a line has not said all.
    let mut client = Harness::new(connect(&cache));
    client.receive(format!("get{} ", " a".repeat(1100)).as_bytes());
    client.receive_eof();
    assert_eq!(client.reason().unwrap().kind(), CloseKind::ProtocolError);
}

#[test]
fn after_1024_commands_or_keys_others_have_their_turn() {
    for (sent, answer, counts) in [
        ("touch none 0\r\n".repeat(3000), "NOT_FOUND", [1024, 1024, 952]),
        // The command counts too.
        (format!("get{}\r\n", " a".repeat(3000)), "VALUE", [1023, 1024, 953]),
    ] {
        let (mut protocol, mut t) = (connect(&cache(MemcachedOptions::default())), Recorder::new());
        deliver(&mut protocol, &mut t, &mut BytesMut::from(&b"set a 0 0 0\r\n\r\n"[..]));
        t.take_written();
        let mut data = BytesMut::from(sent.as_bytes());
        for count in counts {
            assert!(!data.is_empty());
            deliver(&mut protocol, &mut t, &mut data);
            let written = String::from_utf8(t.take_written().to_vec()).unwrap();
            assert_eq!(written.matches(answer).count(), count);
            assert!(!t.is_paused(), "it is delivered again by itself");
        }
        assert!(data.is_empty());
    }
}

/// Each copies the whole value, however little is added.
#[test]
fn what_is_added_to_a_large_value_counts_by_what_is_copied() {
    let (mut protocol, mut t) = (connect(&cache(MemcachedOptions::default())), Recorder::new());
    let large = set("a", &[b'x'; 32 * 1024]);
    deliver(&mut protocol, &mut t, &mut BytesMut::from(&large[..]));
    t.take_written();
    for how in ["append", "prepend"] {
        let sent = format!("{how} a 0 0 1\r\ny\r\n").repeat(4);
        let mut data = BytesMut::from(sent.as_bytes());
        for count in [2, 2] {
            deliver(&mut protocol, &mut t, &mut data);
            assert_eq!(t.take_written(), b"STORED\r\n".repeat(count)[..], "{how}");
        }
        assert!(data.is_empty());
    }
}

/// The smallest cache that there can be: there is room for its largest item, and not for a byte more.
#[test]
fn a_number_grows_no_longer_than_a_value_may_be() {
    let mut options = MemcachedOptions::default();
    (options.memory, options.max_value) = (250 + 1 + 160, 1);
    let mut client = Harness::new(connect(&cache(options)));
    let key = "k".repeat(250);
    assert_eq!(ask(&mut client, &set(&key, b"8")), b"STORED\r\n");
    let mut add = |suffix| ask(&mut client, format!("incr {key} 1{suffix}\r\n").as_bytes());
    assert_eq!(add(""), b"9\r\n");
    assert_eq!(add(""), b"SERVER_ERROR object too large for cache\r\n");
    assert_eq!(add(" noreply"), b"");
    let got = ask(&mut client, format!("get {key}\r\n").as_bytes());
    assert_eq!(got, [&value(&key, b"9")[..], b"END\r\n"].concat(), "what was there stays");
}

fn deliver(protocol: &mut Memcached, t: &mut Recorder, data: &mut BytesMut) {
    let received = std::pin::pin!(protocol.data_received(t, data));
    let polled = received.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(()))));
}

#[test]
fn a_client_with_many_commands_gets_all_answers_in_order() {
    let mut client = client();
    let sent: String = (0..5000).map(|n| format!("set k{n} 0 0 4\r\n{n:04}\r\n")).collect();
    assert_eq!(ask(&mut client, sent.as_bytes()), b"STORED\r\n".repeat(5000));
    let keys: String = (0..5000).map(|n| format!(" k{n}")).collect();
    let mut want: Vec<u8> =
        (0..5000).flat_map(|n| value(&format!("k{n}"), format!("{n:04}").as_bytes())).collect();
    want.extend(b"END\r\n");
    assert_eq!(ask(&mut client, format!("get{keys}\r\n").as_bytes()), want);
}

/// Of what a peer asks for, and does not read, only so much is made.
#[test]
fn a_peer_that_does_not_read_is_not_answered_for_ever() {
    let cache = cache(MemcachedOptions::default());
    let mut client = Harness::new(connect(&cache));
    ask(&mut client, &set("a", &[b'x'; 10_000]));
    client.set_reading_peer(false);
    client.receive("get a a a\r\n".repeat(2000).as_bytes());
    let queued = client.transport().queued();
    assert!((64 * 1024..128 * 1024).contains(&queued), "{queued}");
    client.set_reading_peer(true);
    let got = client.take_written();
    assert_eq!(got.len(), 2000 * (3 * value("a", &[0; 10_000]).len() + 5));
}

#[test]
fn a_server_that_drains_lets_a_value_come_and_then_closes() {
    let mut idle = client();
    idle.drain();
    idle.receive_eof();
    assert_eq!(idle.reason().unwrap().kind(), CloseKind::Shutdown);

    let mut busy = client();
    busy.receive(b"set a 0 0 10\r\n12345");
    busy.drain();
    assert!(busy.reason().is_none());
    assert_eq!(ask(&mut busy, b"67890\r\n"), b"STORED\r\n");
    busy.receive_eof();
    assert_eq!(busy.reason().unwrap().kind(), CloseKind::Shutdown);

    // Nor does it end inside an answer, whose client has not said all of its keys yet.
    let mut asking = client();
    ask(&mut asking, &set("a", b"1"));
    let keys = " a".repeat(1100);
    assert!(!ask(&mut asking, format!("get{keys} ").as_bytes()).is_empty());
    asking.drain();
    assert!(asking.reason().is_none());
    assert_eq!(ask(&mut asking, b"a\r\n"), [&value("a", b"1")[..], b"END\r\n"].concat());
    asking.receive_eof();
    assert_eq!(asking.reason().unwrap().kind(), CloseKind::Shutdown);
}
