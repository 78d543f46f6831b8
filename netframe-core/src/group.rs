//! [`Group`]: the same message to many connections.

mod backlog;
mod memory;
mod subscriber;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout_at;

use self::memory::Memory;
use self::subscriber::{Offered, Outgoing, Subscriber, Wakers};
use crate::handle::Handle;
use crate::limits::deadline;

/// Connections that get the same messages: a chat room, the subscribers of a topic.
///
/// A message goes straight into the queue of every member that takes it, as
/// [`Handle::try_write`] would put it there. For a member whose queue is above its high watermark it
/// waits in the group, and all such members share its bytes; how much may wait, and what happens
/// when that is too much, is up to the member's [`Policy`]. Sending is as fast for a group with
/// slow members as for one without.
///
/// All members get messages in the same order, whoever sends them. A message that waits leaves
/// behind what its member's protocol itself writes meanwhile.
///
/// Cheap to clone; all clones are the same group.
///
/// # Examples
///
/// ```
/// use netframe_core::testing::Harness;
/// use netframe_core::{Group, Member, Policy, Protocol, Result, Transport, bytes::BytesMut};
///
/// /// Whatever one says, all others hear.
/// struct Voice {
///     room: Group,
///     seat: Option<Member>,
/// }
///
/// impl Protocol for Voice {
///     async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
///         self.seat = Some(self.room.join(t.handle(), Policy::DropOldest));
///         Ok(())
///     }
///
///     async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
///         if let Some(seat) = &self.seat {
///             seat.send_to_others(data.split().freeze());
///         }
///         Ok(())
///     }
/// }
///
/// let room = Group::default();
/// let voice = || Harness::new(Voice { room: room.clone(), seat: None });
/// let (mut one, mut other) = (voice(), voice());
/// one.receive(b"hello");
/// other.settle(); // what came from elsewhere leaves
/// assert_eq!(other.take_written(), b"hello"[..]);
/// assert_eq!(one.take_written(), b""[..]);
/// ```
#[derive(Clone, Default)]
pub struct Group {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    max_backlog: Bound,
    memory: Arc<Memory>,
    members: Mutex<Members>,
    counters: Counters,
}

#[derive(Default)]
struct Members {
    /// By number, hence in the order of joining.
    all: BTreeMap<u64, Arc<Subscriber>>,
    next: u64,
    /// Empty between sends; kept for its room.
    wakers: Wakers,
}

/// Bytes that may wait for one member.
struct Bound(usize);

impl Default for Bound {
    fn default() -> Self {
        Self(GroupLimits::default().max_backlog)
    }
}

#[derive(Default)]
struct Counters {
    messages: AtomicU64,
    dropped_newest: AtomicU64,
    dropped_oldest: AtomicU64,
    replaced: AtomicU64,
    disconnected: AtomicU64,
}

/// What may wait in a group for members whose own queues are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupLimits {
    /// Bytes that may wait for one member, besides those in its connection's queue. Each message
    /// counts 64 bytes more than it has. Default 64 KiB, as the connection's own high watermark.
    pub max_backlog: usize,
    /// Bytes that may wait for all members together. A message that waits for many counts once, and
    /// 64 bytes for each of them. When there is no room, a member's policy decides as if its own
    /// bound were reached. Default 16 MiB.
    pub max_memory: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { max_backlog: 64 * 1024, max_memory: 16 * 1024 * 1024 }
    }
}

/// What becomes of a message for which a slow member has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// It is dropped, and what waits already stays: for a history that must begin at its start.
    DropNewest,
    /// What has waited longest is dropped: for news.
    DropOldest,
    /// A message [with a key](Message::keyed) replaces the one with the same key that still waits,
    /// at its place, even while there is room: for states, such as prices or positions. Beyond that
    /// as `DropOldest`.
    KeepLatest,
    /// The member is disconnected, with [`CloseKind::Overflow`](crate::CloseKind::Overflow): for
    /// messages of which none may be missing.
    Disconnect,
    /// [`Group::send`] waits until the member has room again, at most for this time, and disconnects
    /// it then: for producers that may be slowed down. It is the sender that waits, and with it what
    /// the other members would get next. [`Group::try_send`] cannot wait, and drops the message for
    /// this member.
    Block(Duration),
}

/// A message to a group: bytes, and what else is to be known about them.
///
/// Whatever becomes [`Bytes`] is a message.
#[derive(Clone, Debug)]
pub struct Message {
    data: Bytes,
    key: Option<u64>,
    except: Option<u64>,
}

impl Message {
    /// A message to all members.
    pub fn new(data: impl Into<Bytes>) -> Self {
        Self { data: data.into(), key: None, except: None }
    }

    /// What the message is about, for members that [keep the latest](Policy::KeepLatest) of each
    /// key.
    pub fn keyed(mut self, key: u64) -> Self {
        self.key = Some(key);
        self
    }

    /// To all members but this one, which must be of the same group.
    pub fn except(mut self, member: &Member) -> Self {
        self.except = Some(member.subscriber.number);
        self
    }
}

macro_rules! message_from {
    ($($type:ty),*) => {$(
        impl From<$type> for Message {
            fn from(data: $type) -> Self {
                Self::new(data)
            }
        }
    )*};
}

message_from!(Bytes, BytesMut, Vec<u8>, String, &'static [u8], &'static str);

/// What became of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// Members in whose queues it is.
    pub written: usize,
    /// Members for which it waits.
    pub waiting: usize,
    /// Members that do not get it.
    pub dropped: usize,
    /// Members that were disconnected because of it.
    pub disconnected: usize,
}

/// What a group has seen so far: a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStats {
    /// Members now.
    pub members: usize,
    /// Messages sent to the group.
    pub messages: u64,
    /// Messages that a member did not get because there was no room for them.
    pub dropped_newest: u64,
    /// Messages that a member did not get because newer ones took their room.
    pub dropped_oldest: u64,
    /// Messages that a member did not get because a newer one has the same key.
    pub replaced: u64,
    /// Members that were disconnected because they were too slow.
    pub disconnected: u64,
    /// Bytes that wait now, as [`GroupLimits::max_memory`] counts them.
    pub memory: usize,
    /// The most there ever were.
    pub highest_memory: usize,
}

impl Group {
    /// A group with limits of its own.
    pub fn new(limits: GroupLimits) -> Self {
        Self {
            inner: Arc::new(Inner {
                max_backlog: Bound(limits.max_backlog),
                memory: Arc::new(Memory::new(limits.max_memory)),
                ..Inner::default()
            }),
        }
    }

    /// Makes a connection a member, until the [`Member`] is dropped or the connection ends. A
    /// protocol keeps it for as long as it wants to listen.
    pub fn join(&self, handle: Handle, policy: Policy) -> Member {
        let mut members = self.inner.members();
        let number = members.next;
        members.next += 1;
        let bound = self.inner.max_backlog.0;
        let subscriber = Arc::new(Subscriber::new(number, handle, policy, bound));
        members.all.insert(number, Arc::clone(&subscriber));
        drop(members);
        Member { group: self.clone(), subscriber }
    }

    /// Sends a message to all members, and waits for those whose policy is [`Policy::Block`] and
    /// that have no room, as long as each allows.
    ///
    /// # Cancel safety
    ///
    /// The message is on its way after the first poll; a dropped future no longer waits.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if it has to wait.
    pub async fn send(&self, message: impl Into<Message>) -> Delivery {
        let (mut delivery, full) = self.offer(message.into(), true);
        if full.is_empty() {
            return delivery;
        }
        let deadlines = full.into_iter().map(|(member, patience)| (member, deadline(patience)));
        for (subscriber, deadline) in deadlines.collect::<Vec<_>>() {
            if timeout_at(deadline, subscriber.has_room()).await.is_err() && subscriber.disconnect()
            {
                Counters::add(&self.inner.counters.disconnected);
                delivery.waiting -= 1;
                delivery.disconnected += 1;
            }
        }
        delivery
    }

    /// Sends a message to all members and returns at once.
    pub fn try_send(&self, message: impl Into<Message>) -> Delivery {
        self.offer(message.into(), false).0
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.inner.members().all.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has happened so far.
    pub fn stats(&self) -> GroupStats {
        let Inner { memory, counters, .. } = &*self.inner;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GroupStats {
            members: self.len(),
            messages: read(&counters.messages),
            dropped_newest: read(&counters.dropped_newest),
            dropped_oldest: read(&counters.dropped_oldest),
            replaced: read(&counters.replaced),
            disconnected: read(&counters.disconnected),
            memory: memory.used(),
            highest_memory: memory.highest(),
        }
    }

    /// Offers a message to every member, and returns those for which a sender that `can_wait` is to
    /// wait.
    ///
    /// Members are locked for all of it, so that all get messages in one order; whoever is woken is
    /// woken afterwards, those of one worker together.
    fn offer(
        &self,
        message: Message,
        can_wait: bool,
    ) -> (Delivery, Vec<(Arc<Subscriber>, Duration)>) {
        let Inner { memory, counters, .. } = &*self.inner;
        Counters::add(&counters.messages);
        let mut outgoing = Outgoing::new(message.data, message.key, memory);
        let (mut delivery, mut full, mut gone) = (Delivery::default(), Vec::new(), Vec::new());
        let mut members = self.inner.members();
        let mut wakers = std::mem::take(&mut members.wakers);
        for (number, subscriber) in &members.all {
            if message.except == Some(*number) {
                continue;
            }
            match subscriber.offer(&mut outgoing, can_wait, &mut wakers) {
                Offered::Written => delivery.written += 1,
                Offered::Waits { dropped } => {
                    delivery.waiting += 1;
                    counters.dropped_oldest.fetch_add(dropped, Ordering::Relaxed);
                }
                Offered::Replaced { dropped } => {
                    delivery.waiting += 1;
                    Counters::add(&counters.replaced);
                    counters.dropped_oldest.fetch_add(dropped, Ordering::Relaxed);
                }
                Offered::Full { patience } => {
                    delivery.waiting += 1;
                    full.push((Arc::clone(subscriber), patience));
                }
                Offered::Dropped { older } => {
                    delivery.dropped += 1;
                    Counters::add(&counters.dropped_newest);
                    counters.dropped_oldest.fetch_add(older, Ordering::Relaxed);
                }
                Offered::Disconnected => {
                    delivery.disconnected += 1;
                    Counters::add(&counters.disconnected);
                    gone.push(*number);
                }
                Offered::Gone => gone.push(*number),
            }
        }
        // They are dropped without the lock, with the messages that wait for them.
        let gone: Vec<_> = gone.iter().filter_map(|number| members.all.remove(number)).collect();
        drop(members);
        drop((gone, outgoing));
        wakers.wake();
        self.inner.members().wakers.put_back(wakers);
        (delivery, full)
    }
}

impl Inner {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counters {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.stats()).finish()
    }
}

/// The place of a connection in a group. Dropping it leaves the group; what waits is dropped.
pub struct Member {
    group: Group,
    subscriber: Arc<Subscriber>,
}

impl Member {
    /// Sends a message to all other members and returns at once.
    pub fn send_to_others(&self, message: impl Into<Message>) -> Delivery {
        self.group.try_send(message.into().except(self))
    }

    /// The group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Messages that this member did not get.
    pub fn missed(&self) -> u64 {
        self.subscriber.missed()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let left = self.group.inner.members().all.remove(&self.subscriber.number);
        self.subscriber.leave();
        drop(left);
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = self.missed();
        f.debug_struct("Member").field("missed", &missed).finish_non_exhaustive()
    }
}
