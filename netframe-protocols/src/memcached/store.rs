//! What all connections share: the items, in parts that each have a lock of their own, and the counters.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::MemcachedOptions;
use super::clock::{Clock, Millis};
use super::command::{MAX_KEY, Storing, number};
use super::items::{END, Item, Items, Key, cost};
use super::stats::Counters;

/// Parts at most: with a few cores two seldom want the same one.
const MAX_SHARDS: usize = 16;

/// Of the largest items a part has room for so many, or it is the only one: else one item could push out
/// most of what a part has.
const LARGEST_PER_SHARD: usize = 4;

/// The items of a cache. A key's part is known by its hash, which peers cannot foretell.
#[derive(Debug)]
pub(super) struct Store {
    hasher: RandomState,
    /// A power of two of them.
    shards: Box<[Mutex<Shard>]>,
    /// The number of the last item that was stored or changed.
    unique: AtomicU64,
    clock: Clock,
    max_value: usize,
}

/// A part, with its lock held for one item only.
#[derive(Debug)]
struct Shard {
    items: Items,
    counters: Counters,
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// So many bytes were copied for it.
    Done {
        copied: usize,
    },
    /// It may only be stored if there is one, or if there is none; or it would be too long.
    Refused,
    /// The item has changed since.
    Exists,
    NotFound,
}

/// What became of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Now(u64),
    NotFound,
    NotNumeric,
    /// It would be longer than a value may be.
    TooLong,
}

impl Store {
    /// The options have been checked.
    pub(super) fn new(options: &MemcachedOptions) -> Self {
        let hasher = RandomState::new();
        let largest = cost(MAX_KEY, options.max_value);
        let fits = |shards: &usize| options.memory / shards / LARGEST_PER_SHARD >= largest;
        let count = (0..=MAX_SHARDS.ilog2()).rev().map(|bits| 1 << bits).find(fits).unwrap_or(1);
        let shard = |_| {
            let items = Items::new(hasher.clone(), options.memory / count);
            Mutex::new(Shard { items, counters: Counters::default() })
        };
        let shards = (0..count).map(shard).collect();
        let (clock, max_value) = (Clock::new(), options.max_value);
        Self { hasher, shards, unique: AtomicU64::new(0), clock, max_value }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Shows the item to `take`, with a new time if one is given; says whether there is one.
    pub(super) fn get(
        &self,
        key: &[u8],
        exptime: Option<i64>,
        now: Millis,
        take: impl FnOnce(&Item),
    ) -> bool {
        let (mut shard, key) = self.shard(key);
        let Shard { items, counters } = &mut *shard;
        let found = items.find(key, now);
        counters.get.add(found.is_some());
        if exptime.is_some() {
            counters.touch.add(found.is_some());
        }
        let Some(item) = found else { return false };
        if let Some(exptime) = exptime {
            item.deadline = self.clock.deadline(exptime, now);
        }
        take(item);
        true
    }

    /// Gives the item a new time; says whether there is one.
    pub(super) fn touch(&self, key: &[u8], exptime: i64, now: Millis) -> bool {
        let (mut shard, key) = self.shard(key);
        let Shard { items, counters } = &mut *shard;
        let found = items.find(key, now);
        counters.touch.add(found.is_some());
        let Some(item) = found else { return false };
        item.deadline = self.clock.deadline(exptime, now);
        true
    }

    /// Takes an item in, or not, as `how` says. Its value is no longer than it may be.
    pub(super) fn store(&self, how: Storing, key: &[u8], item: Item, now: Millis) -> Outcome {
        let (mut shard, key) = self.shard(key);
        let Shard { items, counters } = &mut *shard;
        counters.set += 1;
        let item = match (how, items.find(key, now)) {
            (Storing::Set, _) | (Storing::Add, None) | (Storing::Replace, Some(_)) => item,
            (Storing::Append, Some(old)) => match self.join(old, old.value(), &item.data) {
                Some(item) => item,
                None => return Outcome::Refused,
            },
            (Storing::Prepend, Some(old)) => match self.join(old, item.value(), &old.data) {
                Some(item) => item,
                None => return Outcome::Refused,
            },
            (Storing::Cas(unique), Some(old)) => {
                let is_same = old.unique == unique;
                counters.cas.add(true);
                counters.cas_badval += u64::from(!is_same);
                if !is_same {
                    return Outcome::Exists;
                }
                item
            }
            (Storing::Cas(_), None) => {
                counters.cas.add(false);
                return Outcome::NotFound;
            }
            _ => return Outcome::Refused,
        };
        let is_joined = matches!(how, Storing::Append | Storing::Prepend);
        let copied = if is_joined { item.data.len() } else { 0 };
        self.put(items, key, item, now);
        Outcome::Done { copied }
    }

    /// The old item with other data, unless that is too long.
    fn join(&self, old: &Item, first: &[u8], last: &[u8]) -> Option<Item> {
        let fits = first.len() + last.len() <= self.max_value + END.len();
        fits.then(|| old.with_data([first, last].concat()))
    }

    /// Adds to a number, beyond the largest one from 0 on; or takes from it, down to 0.
    pub(super) fn count(&self, key: &[u8], delta: u64, up: bool, now: Millis) -> Counted {
        let (mut shard, key) = self.shard(key);
        let Shard { items, counters } = &mut *shard;
        let found = items.find(key, now);
        if up { &mut counters.incr } else { &mut counters.decr }.add(found.is_some());
        let Some(old) = found else { return Counted::NotFound };
        let Some(value) = number(old.value()) else { return Counted::NotNumeric };
        let value = if up { value.wrapping_add(delta) } else { value.saturating_sub(delta) };
        let mut digits = itoa::Buffer::new();
        let Some(item) = self.join(old, digits.format(value).as_bytes(), END) else {
            return Counted::TooLong;
        };
        self.put(items, key, item, now);
        Counted::Now(value)
    }

    /// Takes an item in, with the next number. The items are locked: so a part's numbers only rise.
    fn put(&self, items: &mut Items, key: Key<'_>, item: Item, now: Millis) {
        let unique = 1 + self.unique.fetch_add(1, Ordering::Relaxed);
        items.put(key, Item { unique, ..item }, now);
    }

    /// Drops the item; says whether there was one.
    pub(super) fn delete(&self, key: &[u8], now: Millis) -> bool {
        let (mut shard, key) = self.shard(key);
        let Shard { items, counters } = &mut *shard;
        let found = items.remove(key, now);
        counters.delete.add(found);
        found
    }

    /// Drops the item, as one that was to take its place was not taken.
    pub(super) fn forget(&self, key: &[u8], now: Millis) {
        let (mut shard, key) = self.shard(key);
        shard.items.remove(key, now);
    }

    /// Drops all that is there, at once or later.
    pub(super) fn flush(&self, delay: i64, now: Millis) {
        let at = if delay == 0 { now } else { self.clock.deadline(delay, now) };
        for shard in &self.shards {
            lock(shard).items.flush(at, now);
        }
        lock(&self.shards[0]).counters.flush += 1;
    }

    /// Forgets what was counted so far.
    pub(super) fn reset_counters(&self) {
        for shard in &self.shards {
            lock(shard).counters = Counters::default();
        }
    }

    /// What was counted, what there is, and what has gone.
    pub(super) fn figures(&self) -> Figures {
        let total = self.unique.load(Ordering::Relaxed);
        let mut all = Figures { total, ..Figures::default() };
        for shard in &self.shards {
            let shard = lock(shard);
            all.counters += shard.counters;
            all.items += shard.items.len();
            all.bytes += shard.items.bytes();
            all.evicted += shard.items.gone().evicted;
            all.over += shard.items.gone().over;
        }
        all
    }

    fn shard<'a>(&self, bytes: &'a [u8]) -> (MutexGuard<'_, Shard>, Key<'a>) {
        let hash = self.hasher.hash_one(bytes);
        // The map uses the bits at both ends.
        let index = (hash >> 32) as usize & (self.shards.len() - 1);
        (lock(&self.shards[index]), Key { bytes, hash })
    }
}

/// What the items of all parts come to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) counters: Counters,
    pub(super) items: usize,
    pub(super) bytes: usize,
    /// Items that were ever stored or changed.
    pub(super) total: u64,
    pub(super) evicted: u64,
    pub(super) over: u64,
}

/// Nothing panics while it has the lock; if something did, each item would still be whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
