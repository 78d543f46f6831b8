//! [`Backlog`]: the messages that wait for one member.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::memory::{OVERHEAD, Taken, Waiting};

/// Messages in the order in which they are to leave.
///
/// Invariant: `bytes` is the sum of what the entries cost; `places` has the number of the entry of
/// each key, if keys are looked at.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Number of the first entry; the next ones have the next numbers.
    first: u64,
    places: HashMap<u64, u64>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) message: Arc<Waiting>,
    key: Option<u64>,
    _taken: Taken,
}

impl Entry {
    pub(super) fn new(message: Arc<Waiting>, key: Option<u64>, taken: Taken) -> Self {
        Self { message, key, _taken: taken }
    }

    fn cost(&self) -> usize {
        self.message.data.len() + OVERHEAD
    }

    /// Gives its memory back, and its bytes to `trash` if nobody else needs them: what they are
    /// backed by may be the user's own, and is dropped where no lock is held.
    pub(super) fn discard(self, trash: &mut Vec<Bytes>) {
        trash.extend(Waiting::into_data(self.message));
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn front(&self) -> Option<&Entry> {
        self.entries.front()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.cost();
        if let Some(key) = entry.key {
            self.places.insert(key, self.first + self.entries.len() as u64);
        }
        self.entries.push_back(entry);
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        if let Some(key) = entry.key
            && self.places.get(&key) == Some(&self.first)
        {
            self.places.remove(&key);
        }
        self.bytes -= entry.cost();
        self.first += 1;
        Some(entry)
    }

    /// Puts `message` in the place of the one with the same key, and returns that one.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn replace(
        &mut self,
        key: u64,
        message: Arc<Waiting>,
    ) -> Result<Arc<Waiting>, Arc<Waiting>> {
        let place = self.places.get(&key).map(|number| (number - self.first) as usize);
        let Some(entry) = place.and_then(|place| self.entries.get_mut(place)) else {
            return Err(message);
        };
        let old = entry.cost();
        let replaced = std::mem::replace(&mut entry.message, message);
        self.bytes = self.bytes - old + entry.cost();
        Ok(replaced)
    }

    /// Everything, to be dropped without a lock.
    pub(super) fn take(&mut self) -> VecDeque<Entry> {
        self.first += self.entries.len() as u64;
        self.bytes = 0;
        self.places = HashMap::new();
        std::mem::take(&mut self.entries)
    }
}
