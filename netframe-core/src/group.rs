//! [`Group`]: the same message to many connections.

mod backlog;
mod subscriber;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout_at;

use self::backlog::Backlog;
use self::subscriber::{Offered, Subscriber, Wakers};
use crate::handle::Handle;
use crate::limits::deadline;
use crate::sync::{Mutex, MutexGuard};

/// Connections that get the same messages: a chat room, the subscribers of a topic.
///
/// A message goes straight into the queue of every member that takes it, as
/// [`Handle::try_write`] would put it there. For members whose queues are above their high
/// watermarks it waits in a log of the group, once for all of them, up to a bound of bytes: memory
/// does not grow with the number of slow members, and none of them takes the room of another. What
/// happens to a member that falls behind all of the log is up to its [`Policy`].
///
/// All members get messages in the same order, whoever sends them. A message that waits leaves
/// behind what its member's protocol itself writes meanwhile. The protocol of a member that has missed
/// messages is [notified](crate::Protocol::notified) once nothing waits for it any more.
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

struct Inner {
    /// Held for as long as a message is offered to them, so that all get messages in one order.
    members: Mutex<Members>,
    backlog: Backlog,
    counters: Counters,
}

#[derive(Default)]
struct Members {
    /// By number, hence in the order of joining.
    all: BTreeMap<u64, Arc<Subscriber>>,
    next: u64,
    /// Members whose policy is to keep the latest, and to block.
    keep_latest: usize,
    block: usize,
    /// Empty between sends; kept for its room.
    wakers: Wakers,
}

#[derive(Default)]
struct Counters {
    messages: AtomicU64,
    missed: AtomicU64,
    disconnected: AtomicU64,
}

/// What may wait in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupLimits {
    /// Bytes that may wait for all slow members together, besides those in the queues of their
    /// connections; each message counts once, and 64 bytes more than it has. Default 1 MiB.
    ///
    /// A group with members that [keep the latest](Policy::KeepLatest) has a second log of this
    /// length for them.
    pub max_backlog: usize,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self { max_backlog: 1024 * 1024 }
    }
}

/// What becomes of a member whose connection's queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// It does not get the messages that are sent while its queue is full; nothing waits for it.
    DropNewest,
    /// Messages wait for it; when it falls behind all that may wait, it does not get the oldest: for
    /// news.
    DropOldest,
    /// Messages wait for it, of each [key](Message::keyed) only the latest: for states, such as
    /// prices or positions. Those without a key wait as for `DropOldest`.
    KeepLatest,
    /// Messages wait for it; when it falls behind all that may wait, it is disconnected, with
    /// [`CloseKind::Overflow`](crate::CloseKind::Overflow): for messages of which none may be
    /// missing.
    Disconnect,
    /// Messages wait for it, and when another one would be too much, [`Group::send`] waits for it,
    /// at most for this time; then it is disconnected. For producers that may be slowed down: it is
    /// the sender that waits, and with it what all others would get. [`Group::try_send`] cannot
    /// wait, and treats the member as `DropOldest`.
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
    /// Messages that a member did not get, each counted for each such member. Of members that keep
    /// the latest, they count when the member goes on.
    pub missed: u64,
    /// Members that were disconnected because they were too slow.
    pub disconnected: u64,
    /// Bytes that wait now, as [`GroupLimits::max_backlog`] counts them.
    pub backlog: usize,
    /// The most there ever were.
    pub highest_backlog: usize,
}

impl Group {
    /// A group with limits of its own.
    pub fn new(limits: GroupLimits) -> Self {
        let (members, counters) = (Mutex::default(), Counters::default());
        let backlog = Backlog::new(limits.max_backlog);
        Self { inner: Arc::new(Inner { members, backlog, counters }) }
    }

    /// Makes a connection a member, until the [`Member`] is dropped or the connection ends. A
    /// protocol keeps it for as long as it wants to listen.
    pub fn join(&self, handle: Handle, policy: Policy) -> Member {
        let mut members = self.inner.members();
        let number = members.next;
        members.next += 1;
        let subscriber = Subscriber::new(number, Arc::clone(&self.inner), handle, policy);
        let subscriber = Arc::new(subscriber);
        members.insert(number, Arc::clone(&subscriber));
        drop(members);
        Member { group: self.clone(), subscriber }
    }

    /// Sends a message to all members, once those whose policy is [`Policy::Block`] have room for
    /// it; one that has none for as long as it may is disconnected.
    ///
    /// # Cancel safety
    ///
    /// A dropped future has not sent the message, or sent it to all.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if it has to wait.
    pub async fn send(&self, message: impl Into<Message>) -> Delivery {
        let message = message.into();
        let (mut patience_of, mut disconnected) = (None, 0);
        loop {
            let (slow, stands_at, patience) = match self.offer_in_turn(&message) {
                Ok(mut delivery) => {
                    delivery.disconnected += disconnected;
                    return delivery;
                }
                Err(slowest) => slowest,
            };
            // Each is waited for once, however often it goes on meanwhile.
            let until = match patience_of {
                Some((number, until)) if number == slow.number => until,
                _ => deadline(patience),
            };
            patience_of = Some((slow.number, until));
            let in_time = timeout_at(until, slow.goes_on(stands_at)).await.is_ok();
            if !in_time && slow.disconnect() {
                Counters::add(&self.inner.counters.disconnected);
                disconnected += 1;
            }
        }
    }

    /// Sends a message to all members and returns at once.
    pub fn try_send(&self, message: impl Into<Message>) -> Delivery {
        self.offer(self.inner.members(), &message.into())
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
        let Inner { backlog, counters, .. } = &*self.inner;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (backlog, highest_backlog) = backlog.memory();
        GroupStats {
            members: self.len(),
            messages: read(&counters.messages),
            missed: read(&counters.missed),
            disconnected: read(&counters.disconnected),
            backlog,
            highest_backlog,
        }
    }

    /// Offers a message to every member, unless there is one that its sender is to wait for.
    fn offer_in_turn(&self, message: &Message) -> Result<Delivery, Slowest> {
        let members = self.inner.members();
        match members.slowest(message) {
            Some(slowest) => Err(slowest),
            None => Ok(self.offer(members, message)),
        }
    }

    /// Offers a message to every member. Whoever is woken is woken without a lock, and those of one
    /// worker together.
    fn offer(&self, mut members: MutexGuard<'_, Members>, message: &Message) -> Delivery {
        let Inner { backlog, counters, .. } = &*self.inner;
        Counters::add(&counters.messages);
        let sending = backlog.send(message, members.keep_latest > 0);
        let (mut delivery, mut gone) = (Delivery::default(), Vec::new());
        let mut wakers = std::mem::take(&mut members.wakers);
        for (number, subscriber) in &members.all {
            match subscriber.offer(message, &sending, &mut wakers) {
                Offered::Written => delivery.written += 1,
                Offered::Waits => delivery.waiting += 1,
                Offered::Dropped => delivery.dropped += 1,
                Offered::Excepted => {}
                Offered::Disconnected => {
                    delivery.disconnected += 1;
                    Counters::add(&counters.disconnected);
                    gone.push(*number);
                }
                Offered::Gone => gone.push(*number),
            }
        }
        let gone: Vec<_> = gone.iter().filter_map(|number| members.remove(*number)).collect();
        let unneeded = backlog.sent();
        drop(members);
        drop((gone, sending, unneeded));
        wakers.wake();
        self.inner.members().wakers = wakers;
        delivery
    }
}

impl Inner {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Inner {
    fn default() -> Self {
        let backlog = Backlog::new(GroupLimits::default().max_backlog);
        Self { members: Mutex::default(), backlog, counters: Counters::default() }
    }
}

/// A member that the sender of a message is to wait for, where it stands, and for how long.
type Slowest = (Arc<Subscriber>, u64, Duration);

impl Members {
    fn insert(&mut self, number: u64, member: Arc<Subscriber>) {
        self.keep_latest += usize::from(member.keeps_latest());
        self.block += usize::from(member.blocks().is_some());
        self.all.insert(number, member);
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Subscriber>> {
        let member = self.all.remove(&number)?;
        self.keep_latest -= usize::from(member.keeps_latest());
        self.block -= usize::from(member.blocks().is_some());
        Some(member)
    }

    fn slowest(&self, message: &Message) -> Option<Slowest> {
        if self.block == 0 {
            return None;
        }
        self.all.values().find_map(|member| {
            let patience = member.blocks()?;
            Some((Arc::clone(member), member.holds_up(message)?, patience))
        })
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

    /// Messages that this member did not get, its own among them if it keeps the latest.
    pub fn missed(&self) -> u64 {
        self.subscriber.missed()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let left = self.group.inner.members().remove(self.subscriber.number);
        self.subscriber.end();
        drop(left);
        self.group.inner.backlog.clear_if_unneeded();
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missed = self.missed();
        f.debug_struct("Member").field("missed", &missed).finish_non_exhaustive()
    }
}
