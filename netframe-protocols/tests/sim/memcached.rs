//! The cache: each client has keys of its own, and what it stored last is what it gets back.

use std::collections::HashMap;

use netframe_core::testing::sim::{self, SimNetwork};
use netframe_protocols::memcached::{MemcachedOptions, memcached};

use crate::{SEEDS, bytes, converse};

#[test]
fn what_was_stored_last_is_what_comes_back() {
    sim::seeds(SEEDS, kept);
}

pub(crate) async fn kept(net: SimNetwork) {
    let talk = converse(&net, memcached(MemcachedOptions::default()).unwrap(), commands).await;
    talk.check(answers);
    talk.stop().await;
}

/// Commands of one client, with keys that no other one has. Values are short, or long enough to come and go
/// in pieces; some clients end in the middle of a command.
fn commands(rng: &mut fastrand::Rng) -> Vec<u8> {
    let name = rng.u64(..);
    let mut sent = Vec::new();
    for _ in 0..rng.usize(0..40) {
        let key = format!("{name:x}-{}", rng.u8(0..5));
        let line = match rng.u8(0..10) {
            how @ 0..6 => {
                let most = if rng.u8(0..8) == 0 { 40_000 } else { 300 };
                let len = rng.usize(0..most);
                let value = bytes(rng, len);
                let how = ["set", "set", "set", "add", "append", "replace"][usize::from(how)];
                [format!("{how} {key} 0 0 {len}\r\n").as_bytes(), &value].concat()
            }
            6 => format!("delete {key}").into(),
            _ => format!("get {key} {name:x}-0 {name:x}-1").into(),
        };
        sent.extend(line);
        sent.extend(b"\r\n");
    }
    if rng.u8(0..4) == 0 {
        sent.truncate(rng.usize(0..=sent.len()));
    }
    sent
}

/// What such a client is answered: by a map, command after command. Where the last one is not all there,
/// nothing more comes, but for the keys of a `get` whose line has no end; none of them is sent so.
fn answers(sent: &[u8]) -> Vec<u8> {
    let (mut items, mut answers) = (HashMap::<&[u8], Vec<u8>>::new(), Vec::new());
    let mut rest = sent;
    while let Some(end) = rest.windows(2).position(|end| end == b"\r\n") {
        let words: Vec<_> = rest[..end].split(|byte| *byte == b' ').collect();
        rest = &rest[end + 2..];
        let answer: &[u8] = match *words {
            [b"get", ref keys @ ..] => {
                for key in keys {
                    let Some(value) = items.get(key) else { continue };
                    let len = value.len().to_string();
                    let head = [&b"VALUE "[..], key, b" 0 ", len.as_bytes(), b"\r\n"];
                    answers.extend([&head.concat()[..], value, b"\r\n"].concat());
                }
                b"END\r\n"
            }
            [b"delete", key] => match items.remove(key) {
                Some(_) => b"DELETED\r\n",
                None => b"NOT_FOUND\r\n",
            },
            [how, key, _, _, len] => {
                let len: usize = str::from_utf8(len).unwrap().parse().unwrap();
                let Some((value, after)) = rest.split_at_checked(len + 2) else { break };
                rest = after;
                let value = value[..len].to_vec();
                let is_there = items.contains_key(key);
                match how {
                    b"add" if is_there => b"NOT_STORED\r\n",
                    b"append" | b"replace" if !is_there => b"NOT_STORED\r\n",
                    b"append" => {
                        items.entry(key).or_default().extend(value);
                        b"STORED\r\n"
                    }
                    _ => {
                        items.insert(key, value);
                        b"STORED\r\n"
                    }
                }
            }
            _ => unreachable!("no such command is sent"),
        };
        answers.extend(answer);
    }
    answers
}
