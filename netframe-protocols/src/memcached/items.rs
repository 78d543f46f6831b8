//! Items in the order of their last use, within a bound of memory that is exact. Those that are over
//! go when they are met, and when room is needed.

use std::hash::RandomState;

use bytes::Bytes;
use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::RawEntryMut;

use super::clock::{Millis, NEVER};

/// Bytes that an item counts beside its key and its value: the end of the value, the item itself, its
/// place in the map and in the order, and what the map may have to spare. A test compares the heap.
const ITEM_OVERHEAD: usize = 160;

/// Of the items that were used longest ago so many are looked at for one that is over, before one that
/// is not has to go.
const LOOKED_AT: usize = 8;

/// Items for which the map may keep room in any case: so one that comes and goes costs the same again.
const SPARE: usize = 8;

/// What ends a value.
pub(super) const END: &[u8] = b"\r\n";

/// What an item counts.
pub(super) fn cost(key_len: usize, value_len: usize) -> usize {
    key_len.saturating_add(value_len).saturating_add(ITEM_OVERHEAD)
}

/// A value with what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// With its end: what is sent needs no second write, which could be one too many.
    pub(super) data: Bytes,
    pub(super) flags: u32,
    /// From then on it is over.
    pub(super) deadline: Millis,
    /// What `gets` tells and `cas` asks for.
    pub(super) unique: u64,
}

impl Item {
    pub(super) fn value(&self) -> &[u8] {
        &self.data[..self.data.len() - END.len()]
    }

    /// The same with other data.
    pub(super) fn with_data(&self, data: Vec<u8>) -> Self {
        Self { data: data.into(), ..*self }
    }
}

/// A key with its hash, by the hasher of the items.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) hash: u64,
}

/// Invariant: `bytes` is the sum of what the items count, and at most `memory`.
#[derive(Debug)]
pub(super) struct Items {
    /// The item that was used last is at the back.
    map: LinkedHashMap<Box<[u8]>, Item, RandomState>,
    memory: usize,
    bytes: usize,
    /// The highest number that an item has had.
    last: u64,
    /// Items up to this number have been flushed.
    flushed: u64,
    /// When all that is there will be flushed.
    flush_at: Millis,
    /// The most items since the map was made small: it keeps the room that it had for them.
    most: usize,
    gone: Gone,
}

/// How many items have gone by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gone {
    /// There was no room for them any more.
    pub(super) evicted: u64,
    /// Their time was over, or they had been flushed.
    pub(super) over: u64,
}

impl Items {
    pub(super) fn new(hasher: RandomState, memory: usize) -> Self {
        Self {
            map: LinkedHashMap::with_hasher(hasher),
            memory,
            bytes: 0,
            last: 0,
            flushed: 0,
            flush_at: NEVER,
            most: 0,
            gone: Gone::default(),
        }
    }

    /// The item of this key, which is used by this.
    pub(super) fn find(&mut self, key: Key<'_>, now: Millis) -> Option<&mut Item> {
        self.flush_if_due(now);
        let flushed = self.flushed;
        match self.map.raw_entry_mut().from_key_hashed_nocheck(key.hash, key.bytes) {
            RawEntryMut::Vacant(_) => None,
            RawEntryMut::Occupied(entry) if is_over(entry.get(), flushed, now) => {
                self.bytes -= cost(key.bytes.len(), entry.get().value().len());
                self.gone.over += 1;
                entry.remove();
                None
            }
            RawEntryMut::Occupied(mut entry) => {
                entry.to_back();
                Some(entry.into_mut())
            }
        }
    }

    /// Takes an item in, in place of one with the same key; its number is higher than that of any
    /// before. It fits, as the only one at least. What was used longest ago makes room for it.
    pub(super) fn put(&mut self, key: Key<'_>, item: Item, now: Millis) {
        self.flush_if_due(now);
        self.shrink();
        self.last = item.unique;
        let added = cost(key.bytes.len(), item.value().len());
        debug_assert!(added <= self.memory, "whoever stores it has asked");
        let mut old_key = None;
        if let RawEntryMut::Occupied(mut entry) =
            self.map.raw_entry_mut().from_key_hashed_nocheck(key.hash, key.bytes)
        {
            let others = self.bytes - cost(key.bytes.len(), entry.get().value().len());
            if others + added <= self.memory {
                self.bytes = others + added;
                entry.to_back();
                *entry.get_mut() = item;
                return;
            }
            // It must not be evicted for its own sake.
            self.bytes = others;
            old_key = Some(entry.remove_entry().0);
        }
        while self.bytes + added > self.memory {
            self.make_room(now);
        }
        let key_bytes = old_key.unwrap_or_else(|| key.bytes.into());
        self.bytes += added;
        if let RawEntryMut::Vacant(entry) =
            self.map.raw_entry_mut().from_key_hashed_nocheck(key.hash, key.bytes)
        {
            entry.insert_hashed_nocheck(key.hash, key_bytes, item);
        }
        self.most = self.most.max(self.map.len());
    }

    /// Drops the item of this key; says whether there was one.
    pub(super) fn remove(&mut self, key: Key<'_>, now: Millis) -> bool {
        if self.find(key, now).is_none() {
            return false;
        }
        if let RawEntryMut::Occupied(entry) =
            self.map.raw_entry_mut().from_key_hashed_nocheck(key.hash, key.bytes)
        {
            self.bytes -= cost(key.bytes.len(), entry.remove().value().len());
        }
        true
    }

    /// Has all items that there are at `at` be over then; an earlier order is forgotten.
    pub(super) fn flush(&mut self, at: Millis, now: Millis) {
        self.flush_if_due(now);
        self.flush_at = at;
        self.flush_if_due(now);
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// What all items count.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn gone(&self) -> Gone {
        self.gone
    }

    /// Each use begins with this: so what is there when the time comes is what was there before it.
    fn flush_if_due(&mut self, now: Millis) {
        if now >= self.flush_at {
            self.flush_at = NEVER;
            self.flushed = self.last;
        }
    }

    /// Drops an item that is over, or else the one that was used longest ago.
    fn make_room(&mut self, now: Millis) {
        let flushed = self.flushed;
        let mut oldest = self.map.cursor_front_mut();
        for _ in 0..LOOKED_AT {
            if oldest.current().is_some_and(|(_, item)| is_over(item, flushed, now)) {
                if let Ok(entry) = oldest.current_entry() {
                    let (key, item) = entry.remove_entry();
                    self.bytes -= cost(key.len(), item.value().len());
                    self.gone.over += 1;
                }
                return;
            }
            oldest.move_next();
        }
        if let Some((key, item)) = self.map.pop_front() {
            self.bytes -= cost(key.len(), item.value().len());
            self.gone.evicted += 1;
        }
    }

    /// Gives back what the map keeps for items that are gone, once they are a fifth: so it stays within
    /// what the others count, and that costs little for each that has gone.
    fn shrink(&mut self) {
        if self.map.len() + SPARE < self.most - self.most / 5 {
            self.map.shrink_to_fit();
            self.most = self.map.len();
        }
    }
}

fn is_over(item: &Item, flushed: u64, now: Millis) -> bool {
    item.deadline <= now || item.unique <= flushed
}
