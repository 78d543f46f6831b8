//! The cache beside the plainest way to keep items: a list in the order of their use. What is answered,
//! what is kept, what is evicted and what all of it counts are the same, whatever is done when.

use std::fmt::Write;
use std::time::Duration;

use netframe_core::testing::Harness;
use netframe_protocols::memcached::{Memcached, MemcachedOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::advance;

use super::{ask, cache, connect};

/// Room for some ten items, in one part: what is evicted is then known.
const MEMORY: usize = 2000;
const MAX_VALUE: usize = 120;
const ITEM_OVERHEAD: usize = 160;
const NEVER: u64 = u64::MAX;

#[derive(Clone, Debug)]
enum Op {
    Store {
        how: &'static str,
        key: usize,
        exptime: i64,
        value: Vec<u8>,
    },
    /// With the number that the item has, or with another.
    Cas {
        key: usize,
        right: bool,
        value: Vec<u8>,
    },
    Get {
        keys: Vec<usize>,
        exptime: Option<i64>,
    },
    Count {
        name: &'static str,
        key: usize,
        delta: u64,
    },
    Touch {
        key: usize,
        exptime: i64,
    },
    Delete {
        key: usize,
    },
    Flush {
        delay: i64,
    },
    Wait {
        millis: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..20_usize;
    let exptime = || prop_oneof![6 => Just(0_i64), 1 => Just(-1), 3 => 1..20_i64];
    let value = || {
        prop_oneof![
            2 => any::<u64>().prop_map(|n| n.to_string().into_bytes()),
            1 => (0..1000_u64).prop_map(|n| n.to_string().into_bytes()),
            4 => (0..=MAX_VALUE + 2, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        ]
    };
    let how =
        prop::sample::select(&["set", "set", "set", "add", "replace", "append", "prepend"][..]);
    prop_oneof![
        8 => (how, key(), exptime(), value())
            .prop_map(|(how, key, exptime, value)| Op::Store { how, key, exptime, value }),
        2 => (key(), any::<bool>(), value())
            .prop_map(|(key, right, value)| Op::Cas { key, right, value }),
        5 => (vec(key(), 1..4), prop::option::weighted(0.3, exptime()))
            .prop_map(|(keys, exptime)| Op::Get { keys, exptime }),
        2 => (prop::sample::select(&["incr", "decr"][..]), key(), any::<u64>())
            .prop_map(|(name, key, delta)| Op::Count { name, key, delta }),
        1 => (key(), exptime()).prop_map(|(key, exptime)| Op::Touch { key, exptime }),
        1 => key().prop_map(|key| Op::Delete { key }),
        1 => prop_oneof![1 => Just(0_i64), 1 => -1..10_i64].prop_map(|delay| Op::Flush { delay }),
        3 => prop_oneof![1..3000_u64, Just(1000)].prop_map(|millis| Op::Wait { millis }),
    ]
}

struct Item {
    key: String,
    value: Vec<u8>,
    deadline: u64,
    unique: u64,
}

impl Item {
    fn cost(&self) -> usize {
        self.key.len() + self.value.len() + ITEM_OVERHEAD
    }
}

/// Items, the one that was used longest ago first.
struct Model {
    items: Vec<Item>,
    now: u64,
    unique: u64,
    flushed: u64,
    flush_at: u64,
    evicted: usize,
    over: usize,
}

impl Model {
    fn new() -> Self {
        let (items, flush_at) = (Vec::new(), NEVER);
        Self { items, now: 0, unique: 0, flushed: 0, flush_at, evicted: 0, over: 0 }
    }

    fn bytes(&self) -> usize {
        self.items.iter().map(Item::cost).sum()
    }

    fn deadline(&self, exptime: i64) -> u64 {
        match exptime {
            0 => NEVER,
            ..0 => self.now,
            _ => self.now + 1000 * exptime as u64,
        }
    }

    fn is_over(&self, item: &Item) -> bool {
        item.deadline <= self.now || item.unique <= self.flushed
    }

    fn flush_if_due(&mut self) {
        if self.now >= self.flush_at {
            (self.flushed, self.flush_at) = (self.unique, NEVER);
        }
    }

    /// The item as the last one.
    fn find(&mut self, key: &str) -> Option<&mut Item> {
        self.flush_if_due();
        let at = self.items.iter().position(|item| item.key == key)?;
        let item = self.items.remove(at);
        if self.is_over(&item) {
            self.over += 1;
            return None;
        }
        self.items.push(item);
        self.items.last_mut()
    }

    fn put(&mut self, key: &str, value: Vec<u8>, deadline: u64) {
        self.items.retain(|item| item.key != key);
        self.unique += 1;
        let item = Item { key: key.to_owned(), value, deadline, unique: self.unique };
        while self.bytes() + item.cost() > MEMORY {
            match self.items.iter().take(8).position(|item| self.is_over(item)) {
                Some(at) => {
                    self.items.remove(at);
                    self.over += 1;
                }
                None => {
                    self.items.remove(0);
                    self.evicted += 1;
                }
            }
        }
        self.items.push(item);
    }

    /// The command, and how it is answered.
    fn answer(&mut self, op: &Op) -> (Vec<u8>, Vec<u8>) {
        match op {
            Op::Store { how, key, exptime, value } => self.store(how, &name(*key), *exptime, value),
            Op::Cas { key, right, value } => self.cas(&name(*key), *right, value),
            Op::Get { keys, exptime } => self.get(keys, *exptime),
            Op::Count { name: command, key, delta } => {
                let key = name(*key);
                let sent = format!("{command} {key} {delta}\r\n");
                let answer = match self.find(&key) {
                    None => "NOT_FOUND".to_owned(),
                    Some(item) => match str::from_utf8(&item.value).unwrap_or("").parse::<u64>() {
                        Ok(number) if !item.value.starts_with(b"+") => {
                            let number = match *command {
                                "incr" => number.wrapping_add(*delta),
                                _ => number.saturating_sub(*delta),
                            };
                            let deadline = item.deadline;
                            self.put(&key, number.to_string().into_bytes(), deadline);
                            number.to_string()
                        }
                        _ => "CLIENT_ERROR cannot increment or decrement non-numeric value"
                            .to_owned(),
                    },
                };
                (sent.into(), format!("{answer}\r\n").into())
            }
            Op::Touch { key, exptime } => {
                let deadline = self.deadline(*exptime);
                let found = self.find(&name(*key)).map(|item| item.deadline = deadline);
                let answer = if found.is_some() { "TOUCHED\r\n" } else { "NOT_FOUND\r\n" };
                (format!("touch {} {exptime}\r\n", name(*key)).into(), answer.into())
            }
            Op::Delete { key } => {
                let found = self.find(&name(*key)).is_some();
                if found {
                    self.items.pop();
                }
                let answer = if found { "DELETED\r\n" } else { "NOT_FOUND\r\n" };
                (format!("delete {}\r\n", name(*key)).into(), answer.into())
            }
            Op::Flush { delay } => {
                self.flush_if_due();
                self.flush_at = if *delay == 0 { self.now } else { self.deadline(*delay) };
                self.flush_if_due();
                (format!("flush_all {delay}\r\n").into(), b"OK\r\n".to_vec())
            }
            Op::Wait { millis } => {
                self.now += millis;
                (Vec::new(), Vec::new())
            }
        }
    }

    fn store(&mut self, how: &str, key: &str, exptime: i64, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let head = format!("{how} {key} 7 {exptime} {}\r\n", value.len());
        let sent = [head.as_bytes(), value, b"\r\n"].concat();
        if value.len() > MAX_VALUE {
            if how == "set" && self.find(key).is_some() {
                self.items.pop();
            }
            return (sent, b"SERVER_ERROR object too large for cache\r\n".to_vec());
        }
        let deadline = self.deadline(exptime);
        let found = self.find(key).map(|item| (item.value.clone(), item.deadline));
        let new = match (how, found) {
            ("set", _) | ("add", None) | ("replace", Some(_)) => Some((value.to_vec(), deadline)),
            ("append", Some((old, deadline))) => Some(([&old, value].concat(), deadline)),
            ("prepend", Some((old, deadline))) => Some(([value, &old].concat(), deadline)),
            _ => None,
        };
        match new.filter(|(value, _)| value.len() <= MAX_VALUE) {
            Some((value, deadline)) => {
                self.put(key, value, deadline);
                (sent, b"STORED\r\n".to_vec())
            }
            None => (sent, b"NOT_STORED\r\n".to_vec()),
        }
    }

    fn cas(&mut self, key: &str, right: bool, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let known = self.items.iter().find(|item| item.key == key);
        let unique = known.map_or(1, |item| item.unique + u64::from(!right));
        let head = format!("cas {key} 7 0 {} {unique}\r\n", value.len());
        let sent = [head.as_bytes(), value, b"\r\n"].concat();
        if value.len() > MAX_VALUE {
            return (sent, b"SERVER_ERROR object too large for cache\r\n".to_vec());
        }
        let answer: &[u8] = match self.find(key) {
            None => b"NOT_FOUND\r\n",
            Some(_) if !right => b"EXISTS\r\n",
            Some(_) => {
                self.put(key, value.to_vec(), NEVER);
                b"STORED\r\n"
            }
        };
        (sent, answer.to_vec())
    }

    fn get(&mut self, keys: &[usize], exptime: Option<i64>) -> (Vec<u8>, Vec<u8>) {
        let mut sent =
            exptime.map_or_else(|| "gets".to_owned(), |exptime| format!("gats {exptime}"));
        let mut answer = Vec::new();
        for key in keys {
            let key = name(*key);
            write!(sent, " {key}").unwrap();
            let deadline = exptime.map(|exptime| self.deadline(exptime));
            let Some(item) = self.find(&key) else { continue };
            item.deadline = deadline.unwrap_or(item.deadline);
            let head = format!("VALUE {key} 7 {} {}\r\n", item.value.len(), item.unique);
            answer.extend([head.as_bytes(), &item.value, b"\r\n"].concat());
        }
        sent.push_str("\r\n");
        answer.extend(b"END\r\n");
        (sent.into(), answer)
    }
}

/// Keys of several lengths.
fn name(key: usize) -> String {
    format!("{key}{}", "k".repeat(key))
}

async fn compare(ops: &[Op]) {
    let mut options = MemcachedOptions::default();
    (options.memory, options.max_value) = (MEMORY, MAX_VALUE);
    let mut client = Harness::new(connect(&cache(options)));
    let mut model = Model::new();
    for (at, op) in ops.iter().enumerate() {
        if let Op::Wait { millis } = op {
            advance(Duration::from_millis(*millis)).await;
        }
        let (sent, want) = model.answer(op);
        let got = ask(&mut client, &sent);
        assert_eq!(got.escape_ascii().to_string(), want.escape_ascii().to_string(), "{op:?}");
        assert!(model.bytes() <= MEMORY);
        // They take longer than all else.
        if at % 8 == 0 || at + 1 == ops.len() {
            let want = [model.items.len(), model.bytes(), model.evicted, model.over];
            assert_eq!(figures(&mut client), want, "after {op:?}");
        }
    }
}

/// Items, bytes, and how many items were evicted, or were over.
fn figures(client: &mut Harness<Memcached>) -> [usize; 4] {
    let told = String::from_utf8(ask(client, b"stats\r\n")).unwrap();
    ["curr_items", "bytes", "evictions", "reclaimed"].map(|name| {
        let of = |line: &str| line.strip_prefix("STAT ")?.strip_prefix(name)?.trim().parse().ok();
        told.lines().find_map(of).unwrap()
    })
}

proptest! {
    #[test]
    fn a_cache_is_a_list_of_items_in_the_order_of_their_use(ops in vec(op(), 0..120)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(compare(&ops));
    }
}
