//! What clients cost: large values and many to peers that read slowly, long lines, tiny commands, and the
//! end of a server.

use netframe_core::CloseKind;
use netframe_core::testing::Harness;
use netframe_protocols::memcached::MemcachedOptions;

use super::{ask, cache, connect, set, value};

#[test]
fn many_large_values_in_one_get_wait_for_a_slow_reader() {
    let cache = cache(MemcachedOptions::default());
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
        let queued = netframe_core::Transport::queued(client.transport());
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
