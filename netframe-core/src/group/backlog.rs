//! [`Backlog`]: the messages that wait in a group. Members do not have queues of their own: each
//! knows how far it has come in a log that all of them share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Message;
use crate::sync::{AtomicUsize, Mutex, MutexGuard};

/// Bytes that a message costs beside its content.
const OVERHEAD: usize = 64;

/// What waits in one group.
#[derive(Debug)]
pub(super) struct Backlog {
    /// Bytes of each log.
    max: usize,
    logs: Mutex<Logs>,
    /// Members that have not come to the end.
    behind: AtomicUsize,
}

/// Invariant: `all` has the messages from `first` up to `next`.
#[derive(Debug, Default)]
struct Logs {
    /// Number of the next message.
    next: u64,
    first: u64,
    all: VecDeque<Logged>,
    /// Bytes of all messages that were ever in `all`.
    bytes: u64,
    latest: Latest,
    /// A message is on its way to the members, any of which may need it.
    sending: bool,
    highest: usize,
}

/// A message, with the bytes of all that came before it.
#[derive(Debug)]
struct Logged {
    before: u64,
    message: Message,
}

/// The log without the messages whose key a later one has: for members that keep the latest.
#[derive(Debug, Default)]
struct Latest {
    messages: BTreeMap<u64, Message>,
    /// Number of the message that has each key.
    by_key: HashMap<u64, u64>,
    bytes: usize,
}

/// Where in the logs a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    All,
    Latest,
}

/// A message on its way to the members.
pub(super) struct Sending {
    pub(super) number: u64,
    /// Number of the oldest message that is still there.
    pub(super) first: u64,
    /// To be dropped without a lock: what it is backed by may be the user's own.
    _evicted: Vec<Message>,
}

/// What nobody waits for any more.
pub(super) struct Unneeded {
    _last: Option<Logged>,
    _rest: VecDeque<Logged>,
    _latest: Latest,
}

fn cost(message: &Message) -> usize {
    message.data.len() + OVERHEAD
}

impl Backlog {
    pub(super) fn new(max: usize) -> Self {
        Self { max, logs: Mutex::default(), behind: AtomicUsize::new(0) }
    }

    /// Takes a message in, in place of the oldest ones if need be. It stays until
    /// [`sent`](Self::sent) at least, if it fits at all. `latest` says whether any member keeps the
    /// latest.
    pub(super) fn send(&self, message: &Message, latest: bool) -> Sending {
        let mut logs = self.logs();
        let number = logs.next;
        logs.next += 1;
        logs.sending = true;
        let before = logs.bytes;
        logs.bytes += cost(message) as u64;
        logs.all.push_back(Logged { before, message: message.clone() });
        let mut evicted = Vec::new();
        while logs.all_bytes() > self.max
            && let Some(oldest) = logs.all.pop_front()
        {
            logs.first += 1;
            evicted.push(oldest.message);
        }
        if latest {
            logs.latest.insert(number, message.clone(), self.max, &mut evicted);
        }
        Sending { number, first: logs.first, _evicted: evicted }
    }

    /// The message has been offered to all members. What nobody waits for comes back, to be dropped
    /// without a lock.
    #[must_use = "to be dropped without a lock"]
    pub(super) fn sent(&self) -> Option<Unneeded> {
        let mut logs = self.logs();
        logs.sending = false;
        if self.behind() > 0 {
            logs.highest = logs.highest.max(logs.memory());
        }
        self.clear(&mut logs)
    }

    /// A member waits from now on. Only while a message is being sent.
    pub(super) fn fall_behind(&self) {
        self.behind.fetch_add(1, Ordering::SeqCst);
    }

    /// A member waits no more.
    pub(super) fn catch_up(&self) {
        self.behind.fetch_sub(1, Ordering::SeqCst);
    }

    /// Lets go of everything if nobody waits for it.
    pub(super) fn clear_if_unneeded(&self) {
        let mut logs = self.logs();
        let unneeded = if logs.sending { None } else { self.clear(&mut logs) };
        drop(logs);
        drop(unneeded);
    }

    fn clear(&self, logs: &mut Logs) -> Option<Unneeded> {
        if self.behind() > 0 {
            return None;
        }
        logs.first = logs.next;
        // The room for one message is kept: it is all that a group without slow members needs.
        let last = logs.all.pop_back();
        let rest =
            if logs.all.is_empty() { VecDeque::new() } else { std::mem::take(&mut logs.all) };
        let latest = std::mem::take(&mut logs.latest);
        Some(Unneeded { _last: last, _rest: rest, _latest: latest })
    }

    fn behind(&self) -> usize {
        self.behind.load(Ordering::SeqCst)
    }

    /// The first message from `number` on that is still there, with its number; else the number of
    /// the next one that will be sent.
    pub(super) fn read(&self, log: Log, number: u64) -> Result<(u64, Message), u64> {
        let logs = self.logs();
        let found = match log {
            Log::All => logs.at(number).map(|(number, logged)| (number, &logged.message)),
            Log::Latest => {
                let mut rest = logs.latest.messages.range(number..);
                rest.next().map(|(number, message)| (*number, message))
            }
        };
        found.map(|(number, message)| (number, message.clone())).ok_or(logs.next)
    }

    /// Number of the next message.
    pub(super) fn next(&self) -> u64 {
        self.logs().next
    }

    /// Whether another message would take the room of one that a member at `number` still needs.
    pub(super) fn would_evict(&self, number: u64, message: &Message) -> bool {
        let logs = self.logs();
        let before = logs.at(number).map_or(logs.bytes, |(_, logged)| logged.before);
        (logs.bytes - before) as usize + cost(message) > self.max
    }

    /// Bytes that wait now, and the most there ever were.
    pub(super) fn memory(&self) -> (usize, usize) {
        let logs = self.logs();
        (logs.memory(), logs.highest)
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logs {
    /// The first message from `number` on, with its number.
    fn at(&self, number: u64) -> Option<(u64, &Logged)> {
        let number = number.max(self.first);
        self.all.get((number - self.first) as usize).map(|logged| (number, logged))
    }

    fn all_bytes(&self) -> usize {
        (self.bytes - self.all.front().map_or(self.bytes, |first| first.before)) as usize
    }

    fn memory(&self) -> usize {
        self.all_bytes() + self.latest.bytes
    }
}

impl Latest {
    fn insert(&mut self, number: u64, message: Message, max: usize, evicted: &mut Vec<Message>) {
        if let Some(key) = message.key
            && let Some(older) = self.by_key.insert(key, number)
        {
            self.remove(older, evicted);
        }
        self.bytes += cost(&message);
        self.messages.insert(number, message);
        while self.bytes > max
            && let Some((&oldest, message)) = self.messages.first_key_value()
        {
            if let Some(key) = message.key {
                self.by_key.remove(&key);
            }
            self.remove(oldest, evicted);
        }
    }

    fn remove(&mut self, number: u64, evicted: &mut Vec<Message>) {
        if let Some(message) = self.messages.remove(&number) {
            self.bytes -= cost(&message);
            evicted.push(message);
        }
    }
}

/// The bytes of a message, for whoever writes them.
impl Message {
    pub(super) fn data(&self) -> Bytes {
        self.data.clone()
    }
}
