//! What the fuzz target of the cache calls.

use bytes::BytesMut;
use netframe_core::testing::{Harness, Recorder};
use netframe_core::{Factory, Transport};

use super::{MemcachedOptions, memcached};

/// One client sends anything, in chunks whose length is the first byte: it is answered as if it had sent
/// all at once. Each answer is lines; no cache holds more than it may; and when the client has left, the
/// next one is served.
pub fn memcached_commands(input: &[u8]) {
    let &[chunk_len, ref wire @ ..] = input else { return };
    let at_once = answer(&[wire]);
    let chunks: Vec<_> = wire.chunks(1 + usize::from(chunk_len) % 16).collect();
    assert_eq!(answer(&chunks).escape_ascii().to_string(), at_once.escape_ascii().to_string());
}

/// What a new cache answers, but for figures: they tell the time.
fn answer(chunks: &[&[u8]]) -> Vec<u8> {
    let mut options = MemcachedOptions::default();
    (options.memory, options.max_value) = (2000, 100);
    let cache = memcached(options).expect("the options are possible");
    let connect = || {
        let protocol = cache.build_protocol(Recorder::new().info());
        Harness::new(protocol.expect("nobody is refused"))
    };
    let mut client = connect();
    for chunk in chunks {
        client.receive(chunk);
        assert!(client.leftover().len() <= super::MAX_LINE || client.transport().is_closed());
    }
    client.receive_eof();
    assert!(client.reason().is_some());
    let written = client.take_written();
    assert!(written.is_empty() || written.ends_with(b"\r\n"), "{}", written.escape_ascii());

    let mut other = connect();
    other.receive(b"set other 0 0 1\r\nx\r\nget other\r\n");
    assert_eq!(other.take_written(), b"STORED\r\nVALUE other 0 1\r\nx\r\nEND\r\n"[..]);
    other.receive(b"stats\r\n");
    let bytes = figure(&other.take_written(), "STAT bytes ");
    assert!((162..=2000).contains(&bytes), "{bytes}");
    let lines = written.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !line.starts_with(b"STAT ")).collect::<Vec<_>>().concat()
}

fn figure(told: &BytesMut, name: &str) -> usize {
    let told = str::from_utf8(told).expect("figures are text");
    let line = told.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.parse().ok()).expect("it is told")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_to_a_cache(input in vec(any::<u8>(), 0..200)) {
            super::memcached_commands(&input);
        }

        #[test]
        fn any_commands_to_a_cache(
            head in any::<u8>(),
            words in vec(prop::sample::select(MEMCACHED_WORDS), 0..60),
        ) {
            super::memcached_commands(&[&[head], words.join("").as_bytes()].concat());
        }
    }

    const MEMCACHED_WORDS: &[&str] = &[
        "set a 5 0 1\r\nx\r\n",
        "set b 0 100 2 noreply\r\n10\r\n",
        "set c 0 0 101\r\n",
        "set ",
        "add ",
        "cas ",
        "append b 0 0 3\r\n",
        "prepend ",
        "replace ",
        "get a b\r\n",
        "gets ",
        "gat 0 ",
        "gats ",
        "incr b ",
        "decr ",
        "delete ",
        "touch ",
        "flush_all ",
        "stats\r\n",
        "stats settings\r\n",
        "version\r\n",
        "verbosity 1\r\n",
        "quit\r\n",
        "noreply\r\n",
        "noreply",
        "a",
        "b ",
        "1 ",
        "0 ",
        "-1 ",
        "3 ",
        " ",
        "\r\n",
        "\r\n",
        "\n",
        "\r",
        "\t",
        "18446744073709551615\r\n",
        "4294967296 ",
        "2147483645\r\n",
        "\0",
        "\u{80}",
    ];
}
