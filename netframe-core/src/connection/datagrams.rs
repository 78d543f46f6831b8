//! A connection whose transport carries datagrams: message borders in both directions, what waits
//! for its turn, and what a peer whose address may be forged can make us send.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Core, Flags, Wakes, WriteQueue};
use crate::addr::Addr;
use crate::close_reason::{Cause, CloseKind, Side};
use crate::datagram::{Datagram, SendError};
use crate::limits::Limits;
use crate::transport::datagram::DatagramSocket;
use crate::wheel::Tick;

/// What a queued datagram counts beside its bytes, so that empty ones are not free: its place in
/// the queue.
pub(crate) const OVERHEAD: usize = size_of::<Outgoing>();

/// Datagrams that wait for a connection whose handler is pending or which takes no data.
const MAX_WAITING: usize = 16;

/// Datagrams that wait for a connection which only has not had its turn yet.
const MAX_BURST: usize = 64;

/// Datagrams sent in one system call.
pub(crate) const MAX_BATCH: usize = 16;

/// Bytes that may be sent for each one received from a peer that has sent one datagram only: its
/// address may be forged, and then what is sent hits somebody else. RFC 9000, section 8.1.
const AMPLIFICATION: usize = 3;

/// What only a connection over datagrams has.
///
/// Invariant: `sealed` is the sum of the bytes in `out` and of `OVERHEAD` for each datagram there or
/// taken out for a send.
pub(crate) struct Datagrams {
    setup: Setup,
    inbox: VecDeque<Arrival>,
    /// What is being handled, its bytes taken out.
    current: Option<Arrival>,
    out: VecDeque<Outgoing>,
    sealed: usize,
    /// Our address that the peer of a session has asked last.
    source: Option<IpAddr>,
    /// Whether a datagram without bytes was written.
    empty: bool,
    /// Whether what waits has buffers of its own.
    compact: bool,
    seen: Seen,
    trash: Option<Box<Trash>>,
}

/// Bytes that may be backed by a type of the user's own, to be dropped without the lock.
#[derive(Default)]
pub(crate) struct Trash(Vec<Bytes>);

/// How a connection uses its socket.
#[derive(Clone)]
pub(crate) struct Setup {
    /// `None` in a test without a network.
    pub(crate) socket: Option<Arc<DatagramSocket>>,
    pub(crate) peer: Peer,
    /// Bytes of the longest datagram that can be sent.
    pub(crate) max_len: u32,
    pub(crate) idle: Idle,
    /// Whether little is sent until the peer has sent twice.
    pub(crate) guarded: bool,
    /// Whether the protocol is told of errors of the network.
    pub(crate) reports: bool,
    /// Whether somebody else reads from the socket and hands in what comes.
    pub(crate) fed: bool,
}

/// Which silence ends a connection over datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Idle {
    /// The service's idle timeout.
    Service,
    /// None: a server's socket waits for peers.
    Never,
    /// This one.
    After(Tick),
}

/// To whom a plain write goes.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// To the one that the socket is connected to.
    Connected,
    /// To the one of this session.
    Session(Addr),
    /// To nobody: each datagram names its receiver.
    None,
}

/// What came from a datagram socket.
#[derive(Debug)]
pub(crate) enum Arrival {
    Datagram(Datagram),
    /// An earlier datagram could not be delivered, as far as the network tells.
    Failed {
        error: io::Error,
        peer: Option<Addr>,
    },
}

/// A datagram on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) data: Bytes,
    /// `None` on a connected socket.
    pub(crate) to: Option<Addr>,
    /// Our address that it leaves from, where the socket has several.
    pub(crate) source: Option<IpAddr>,
}

/// How much is known of the peer of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// It has sent once, and may be sent this many bytes.
    Once(u32),
    Twice,
}

impl Datagrams {
    fn new(setup: Setup) -> Self {
        let seen = if setup.guarded { Seen::Nothing } else { Seen::Twice };
        Self {
            setup,
            inbox: VecDeque::new(),
            current: None,
            out: VecDeque::new(),
            sealed: 0,
            source: None,
            empty: false,
            compact: true,
            seen,
            trash: None,
        }
    }

    /// Where a plain write goes; `None` if it cannot be sent to anybody.
    fn route(&self) -> Option<(Option<Addr>, Option<IpAddr>)> {
        match &self.setup.peer {
            Peer::Connected => Some((None, None)),
            Peer::Session(peer) if *peer == Addr::UNNAMED => None,
            Peer::Session(peer) => Some((Some(peer.clone()), self.source)),
            Peer::None => None,
        }
    }

    fn can_send(&self) -> bool {
        let allowed = match self.seen {
            Seen::Nothing => 0,
            Seen::Once(allowed) => allowed as usize,
            Seen::Twice => usize::MAX,
        };
        self.out.front().is_some_and(|first| first.data.len() <= allowed)
    }

    pub(super) fn idle(&self) -> Idle {
        self.setup.idle
    }

    /// Bytes of queued datagrams that are not payload.
    pub(super) fn overhead(&self) -> usize {
        self.out.len() * OVERHEAD
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams")
            .field("peer", &self.setup.peer)
            .field("inbox", &self.inbox.len())
            .field("out", &self.out.len())
            .finish_non_exhaustive()
    }
}

impl Core {
    /// The connection is one over datagrams.
    pub(crate) fn start_datagrams(&mut self, setup: Setup) {
        self.flags.set(Flags::DATAGRAM);
        self.flags.put_if(Flags::FED, setup.fed);
        self.rare().datagrams = Some(Box::new(Datagrams::new(setup)));
    }

    /// What only a connection over datagrams has.
    fn datagrams(&mut self) -> Option<&mut Datagrams> {
        self.rare.as_mut()?.datagrams.as_deref_mut()
    }

    pub(super) fn as_datagrams(&self) -> Option<&Datagrams> {
        self.rare.as_ref()?.datagrams.as_deref()
    }

    /// The socket, for its options.
    pub(crate) fn datagram_socket(&self) -> Option<Arc<DatagramSocket>> {
        self.as_datagrams()?.setup.socket.clone()
    }

    /// Whether the system itself is to be asked once what has come, as the runtime may not have
    /// heard of it and the connection closes when there is nothing.
    pub(crate) fn take_read_now(&mut self) -> bool {
        self.flags.take(Flags::READABLE)
    }

    /// There may be more to ask the system for.
    pub(crate) fn read_now(&mut self) {
        self.flags.set(Flags::READABLE);
    }

    /// Somebody else receives from now on what comes to the socket.
    pub(crate) fn stop_receiving(&mut self) {
        self.flags.set(Flags::FED);
    }

    /// Something came. Says whether it was taken; what is not is to be counted.
    pub(crate) fn arrive(&mut self, arrival: Arrival) -> bool {
        let max = if self.wants_data() && !self.flags.any(Flags::PENDING) {
            MAX_BURST
        } else {
            MAX_WAITING
        };
        let over = self.flags.any(Flags::CLOSING | Flags::ABORTED);
        let Some(datagrams) = self.datagrams() else { return false };
        let arrival = match arrival {
            // They are counted anyway, and a handler that sends in vain all the time is not to
            // fill the memory with them.
            Arrival::Failed { .. } if !datagrams.setup.reports || datagrams.inbox.len() >= max => {
                return true;
            }
            Arrival::Failed { .. } => arrival,
            Arrival::Datagram(mut datagram) => {
                let len = datagram.data.len();
                datagrams.compact = false;
                // What is written before the first delivery answers this one too.
                datagrams.source = datagrams.source.or(datagram.to);
                datagrams.seen = match datagrams.seen {
                    Seen::Nothing => Seen::Once((len * AMPLIFICATION) as u32),
                    Seen::Once(_) | Seen::Twice => Seen::Twice,
                };
                if !over && datagrams.inbox.len() >= max {
                    return false;
                }
                if max == MAX_WAITING {
                    datagram.data = copied(&datagram.data);
                }
                self.received(len);
                Arrival::Datagram(datagram)
            }
        };
        if !over && let Some(datagrams) = self.datagrams() {
            datagrams.inbox.push_back(arrival);
        }
        true
    }

    /// The driver waits: what waits with it must not keep the worker's whole buffer meanwhile.
    pub(super) fn compact(&mut self) {
        let Some(datagrams) = self.datagrams() else { return };
        if std::mem::replace(&mut datagrams.compact, true) {
            return;
        }
        for arrival in &mut datagrams.inbox {
            if let Arrival::Datagram(datagram) = arrival {
                datagram.data = copied(&datagram.data);
            }
        }
        for outgoing in &mut datagrams.out {
            let copy = copied(&outgoing.data).freeze();
            let old = std::mem::replace(&mut outgoing.data, copy);
            datagrams.trash.get_or_insert_default().0.push(old);
        }
    }

    /// What is to be dropped without the lock.
    #[must_use = "to be dropped without the lock"]
    pub(crate) fn take_trash(&mut self) -> Option<Box<Trash>> {
        self.datagrams()?.trash.take()
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.as_datagrams().is_some_and(|datagrams| !datagrams.inbox.is_empty())
    }

    /// Takes what is to be delivered next: `data` becomes its bytes.
    pub(super) fn take_arrived(&mut self, data: &mut BytesMut) -> bool {
        let Some(datagrams) = self.datagrams() else { return false };
        let Some(mut arrival) = datagrams.inbox.pop_front() else { return false };
        if let Arrival::Datagram(datagram) = &mut arrival {
            *data = std::mem::take(&mut datagram.data);
            datagrams.source = datagram.to;
        }
        datagrams.current = Some(arrival);
        true
    }

    /// What is being handled, but for its bytes.
    pub(crate) fn take_current(&mut self) -> Option<Arrival> {
        self.datagrams()?.current.take()
    }

    /// Whether what is written goes anywhere: to nobody nothing is queued.
    pub(super) fn has_receiver(&self) -> bool {
        self.as_datagrams().is_none_or(|datagrams| match &datagrams.setup.peer {
            Peer::Connected => true,
            Peer::Session(peer) => *peer != Addr::UNNAMED,
            Peer::None => false,
        })
    }

    /// An empty write, which alone makes an empty datagram.
    pub(super) fn write_empty(&mut self) {
        if self.is_writable()
            && let Some(datagrams) = self.datagrams()
        {
            datagrams.empty = true;
        }
    }

    /// Ends the datagram that is being written, if there is one.
    pub(crate) fn seal(&mut self, limits: &Limits) {
        let queued = self.queued;
        let Some(datagrams) = self.datagrams() else { return };
        let (len, max) = (queued - datagrams.sealed, datagrams.setup.max_len as usize);
        let empty = std::mem::take(&mut datagrams.empty);
        if len == 0 && !empty {
            return;
        }
        let route = datagrams.route();
        let data = self.take_written();
        self.queued -= len;
        match route {
            Some((to, source)) if len <= max => {
                return self.push_outgoing(Outgoing { data, to, source }, limits);
            }
            Some(_) => {
                let error = SendError::TooLong { len, max };
                self.close_because(Cause::with_source(Side::Local, CloseKind::Error, error));
            }
            None => {}
        }
        self.rare().unsent += len as u64;
        self.discard(data);
    }

    /// What was written to the datagram that is not yet ended.
    fn take_written(&mut self) -> Bytes {
        let Some(mut queue) = self.queue.take() else { return Bytes::new() };
        let mut trash = Vec::new();
        let data = queue.take_all(&mut trash);
        queue.recycle();
        trash.into_iter().for_each(|bytes| self.discard(bytes));
        data
    }

    fn discard(&mut self, bytes: Bytes) {
        if let Some(datagrams) = self.datagrams() {
            datagrams.trash.get_or_insert_default().0.push(bytes);
        }
    }

    /// Drops the datagram that was being written, as its handler was.
    pub(crate) fn unwrite(&mut self) {
        let queued = self.queued;
        let Some(datagrams) = self.datagrams() else { return };
        let len = queued - datagrams.sealed;
        datagrams.empty = false;
        self.queued -= len;
        self.rare().unsent += len as u64;
        let data = self.take_written();
        self.discard(data);
    }

    /// Whether a datagram of `len` bytes to `to` would be queued.
    ///
    /// # Errors
    ///
    /// It cannot be sent, or there is no room.
    pub(crate) fn check_send(
        &self,
        len: usize,
        to: Option<&Addr>,
        limits: &Limits,
    ) -> Result<(), SendError> {
        let datagrams = self.as_datagrams().filter(|_| self.is_writable());
        let datagrams = datagrams.ok_or(SendError::Closed)?;
        let max = datagrams.setup.max_len as usize;
        let room = self.queued <= limits.high_watermark
            || self.queued.saturating_add(len + OVERHEAD) <= limits.hard_cap;
        match (&datagrams.setup.peer, to) {
            (_, Some(to)) if *to == Addr::UNNAMED => Err(SendError::NoPeer),
            (Peer::None, None) => Err(SendError::NoPeer),
            _ if len > max => Err(SendError::TooLong { len, max }),
            _ if !room => Err(SendError::Full),
            _ => Ok(()),
        }
    }

    /// Queues a datagram of its own, which has been checked, with a copy of `data`.
    pub(crate) fn send_copy(
        &mut self,
        data: &[u8],
        to: Option<Addr>,
        source: Option<IpAddr>,
        limits: &Limits,
    ) {
        self.seal(limits);
        let mut queue = WriteQueue::take();
        queue.push(data);
        let data = queue.take_all(&mut Vec::new()); // it is one piece
        queue.recycle();
        self.push_outgoing(Outgoing { data, to, source }, limits);
    }

    /// Queues a plain write as a datagram of its own.
    ///
    /// # Errors
    ///
    /// As [`check_send`](Self::check_send), with the bytes.
    pub(crate) fn write_apart(
        &mut self,
        data: Bytes,
        limits: &Limits,
    ) -> Result<(), (Bytes, SendError)> {
        let Some((to, source)) = self.as_datagrams().and_then(Datagrams::route) else {
            return Err((data, SendError::NoPeer));
        };
        if let Err(error) = self.check_send(data.len(), to.as_ref(), limits) {
            return Err((data, error));
        }
        self.push_outgoing(Outgoing { data, to, source }, limits);
        Ok(())
    }

    fn push_outgoing(&mut self, outgoing: Outgoing, limits: &Limits) {
        let cost = outgoing.data.len() + OVERHEAD;
        if let Some(datagrams) = self.datagrams() {
            datagrams.sealed += cost;
            datagrams.compact = false;
            datagrams.out.push_back(outgoing);
            self.enqueued(cost, limits);
        }
    }

    /// Whether there is something that may be sent now.
    pub(super) fn can_flush(&self) -> bool {
        let stream = self.queued > 0 && !self.flags.any(Flags::WRITE_HELD_BACK);
        self.as_datagrams().map_or(stream, Datagrams::can_send)
    }

    /// Whether what has arrived is handled before anything is sent: the answers to a batch then leave
    /// in one system call.
    pub(super) fn gathers(&self) -> bool {
        self.as_datagrams().is_some_and(|datagrams| {
            !datagrams.inbox.is_empty() && datagrams.out.len() < MAX_BATCH && !datagrams.setup.fed
        }) && self.wants_data()
    }

    /// Takes the next datagrams out for a send.
    pub(crate) fn start_send(&mut self, batch: &mut Vec<Outgoing>) {
        let Some(datagrams) = self.datagrams() else { return };
        // What may be sent to an unproved peer is counted one by one.
        let max = if datagrams.seen == Seen::Twice { MAX_BATCH } else { 1 };
        while batch.len() < max && datagrams.can_send() {
            batch.extend(datagrams.out.pop_front());
        }
    }

    /// The socket takes none of `batch` now.
    pub(crate) fn unsend(&mut self, batch: &mut Vec<Outgoing>) {
        if let Some(datagrams) = self.datagrams() {
            for outgoing in batch.drain(..).rev() {
                datagrams.out.push_front(outgoing);
            }
        }
        if !self.flags.any(Flags::STALLED) {
            self.flags.set(Flags::STALLED | Flags::ARM);
        }
    }

    /// The first `count` of `batch` have left.
    pub(crate) fn sent(
        &mut self,
        batch: &mut Vec<Outgoing>,
        count: usize,
        limits: &Limits,
    ) -> Wakes {
        self.flags.set(Flags::ACTIVE | Flags::MOVED | Flags::PROGRESS);
        let len: usize = batch[..count].iter().map(|outgoing| outgoing.data.len()).sum();
        self.bytes_out += len as u64;
        if let Some(Datagrams { seen: Seen::Once(allowed), .. }) = self.datagrams() {
            *allowed -= len as u32; // no more than that was let go
        }
        self.gone(batch, count, len, limits)
    }

    /// The first of `batch` could not be sent, and is dropped.
    pub(crate) fn send_failed(&mut self, batch: &mut Vec<Outgoing>, limits: &Limits) -> Wakes {
        let len = batch.first().map_or(0, |outgoing| outgoing.data.len());
        self.rare().unsent += len as u64;
        self.gone(batch, 1, len, limits)
    }

    /// The first `count` of `batch`, of `len` bytes, are no longer queued; the others are.
    fn gone(
        &mut self,
        batch: &mut Vec<Outgoing>,
        count: usize,
        len: usize,
        limits: &Limits,
    ) -> Wakes {
        let cost = len + count * OVERHEAD;
        self.queued -= cost;
        if let Some(datagrams) = self.datagrams() {
            datagrams.sealed -= cost;
            for outgoing in batch.drain(count..).rev() {
                datagrams.out.push_front(outgoing);
            }
        }
        if self.queued == 0 {
            self.flags.unset(Flags::STALLED);
        }
        self.drained(limits)
    }

    /// The session makes room for another peer's.
    pub(crate) fn evict(&mut self) {
        let text = "another peer needed the place of this session, whose peer had sent only once";
        self.abort(Cause::with_source(Side::System, CloseKind::Limit, text));
    }

    /// A handler waits from now on.
    pub(crate) fn set_pending(&mut self, pending: bool) {
        self.flags.put(Flags::PENDING, pending);
        if !pending {
            self.flags.unset(Flags::PULL | Flags::LATE);
        }
    }
}

/// A copy that keeps nothing else alive.
fn copied(data: &[u8]) -> BytesMut {
    BytesMut::from(data)
}
