//! The out queue of one connection: small writes are copied together, large ones are kept by
//! reference, and all of it leaves vectored. An empty queue costs its connection one pointer: the
//! box with its buffer goes back to a pool of the thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Writes from this many bytes on are queued by reference. Below, a copy is cheaper than the
/// bookkeeping, and a reference to a small piece of a 64 KiB read buffer would pin all of it.
pub(crate) const BY_REFERENCE: usize = 16 * 1024;

/// Room behind the first small write of a queue: what comes behind a large one is in the same buffer
/// then, which can be used again once all has left.
const SPARE: usize = 256;

/// Slices handed to one vectored write.
const MAX_SLICES: usize = 32;

/// Queues a thread keeps for its next writers: as many as a message to a large group needs at once.
const POOL_LEN: usize = 1024;

/// The largest buffer it keeps with one of them, and the bytes of all those buffers together.
const POOL_BUFFER: usize = 64 * 1024;
const POOL_BYTES: usize = 1024 * 1024;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { queues: Vec::new(), bytes: 0 }) };
}

/// Empty queues.
///
/// Invariant: `bytes` is the sum of the capacities of their buffers.
struct Pool {
    #[expect(clippy::vec_box, reason = "the boxes are what is kept: connections hold them")]
    queues: Vec<Box<WriteQueue>>,
    bytes: usize,
}

impl Pool {
    fn take(&mut self) -> Option<Box<WriteQueue>> {
        let queue = self.queues.pop()?;
        self.bytes -= queue.tail.capacity();
        Some(queue)
    }

    fn put(&mut self, queue: Box<WriteQueue>) {
        let bytes = self.bytes + queue.tail.capacity();
        if self.queues.len() < POOL_LEN && bytes <= POOL_BYTES {
            self.bytes = bytes;
            self.queues.push(queue);
        }
    }
}

/// Bytes on their way out.
///
/// Invariant: everything in `segments` was written before everything in `tail`.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    segments: VecDeque<Bytes>,
    tail: BytesMut,
}

impl WriteQueue {
    /// An empty queue, from the thread's pool where it has one.
    pub(crate) fn take() -> Box<Self> {
        POOL.try_with(|pool| pool.borrow_mut().take()).ok().flatten().unwrap_or_default()
    }

    /// Gives an empty queue back to the pool.
    pub(crate) fn recycle(mut self: Box<Self>) {
        debug_assert!(self.is_empty());
        if self.tail.capacity() > POOL_BUFFER {
            self.tail = BytesMut::new();
        }
        // An error means that the thread is ending; the queue is then dropped.
        let _ = POOL.try_with(|pool| pool.borrow_mut().put(self));
    }

    pub(crate) fn push(&mut self, data: &[u8]) {
        self.push_all(&[data], data.len());
    }

    /// Queues a copy of parts that have `len` bytes together: the buffer grows once, and little past them.
    pub(crate) fn push_all(&mut self, parts: &[&[u8]], len: usize) {
        if self.is_empty() {
            self.tail.reserve(len + SPARE); // at the front of the buffer again
        } else if self.tail.capacity() - self.tail.len() < len {
            self.tail.reserve(len.max(SPARE));
        }
        for part in parts {
            self.tail.extend_from_slice(part);
        }
    }

    /// Queues `data` by reference if that pays or `by_reference` asks for it; else copies it and
    /// gives it back.
    pub(crate) fn push_bytes(&mut self, data: Bytes, by_reference: bool) -> Option<Bytes> {
        if data.len() < BY_REFERENCE && !by_reference {
            self.push(&data);
            return Some(data);
        }
        self.seal();
        self.segments.push_back(data);
        None
    }

    /// Puts `later` behind everything here.
    pub(crate) fn append(&mut self, later: &mut Self) {
        if !later.segments.is_empty() {
            self.seal();
            self.segments.append(&mut later.segments);
        }
        if self.tail.is_empty() {
            std::mem::swap(&mut self.tail, &mut later.tail);
        } else {
            self.tail.extend_from_slice(&later.tail);
            later.tail.clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.tail.is_empty()
    }

    /// The one slice that is everything, for the common case that needs no vectored write.
    pub(crate) fn as_single(&self) -> Option<&[u8]> {
        match (self.segments.len(), self.tail.is_empty()) {
            (0, _) => Some(&self.tail),
            (1, true) => Some(&self.segments[0]),
            _ => None,
        }
    }

    /// Runs `f` on the first slices of the queue, of at most `max` bytes.
    pub(crate) fn with_slices<R>(&self, max: usize, f: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut left = max;
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut len = 0;
        let parts = self.segments.iter().map(|segment| &segment[..]).chain([&self.tail[..]]);
        for (slot, part) in slices.iter_mut().zip(parts.filter(|part| !part.is_empty())) {
            if left == 0 {
                break;
            }
            let part = &part[..part.len().min(left)];
            left -= part.len();
            *slot = IoSlice::new(part);
            len += 1;
        }
        f(&slices[..len])
    }

    /// Drops the first `count` bytes: they were sent.
    pub(crate) fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.segments.front_mut() {
            if first.len() > count {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.segments.pop_front();
        }
        self.tail.advance(count);
    }

    /// Takes everything as one piece, without a copy if it is one already. What it was copied from
    /// goes to `trash`, to be dropped without a lock.
    pub(crate) fn take_all(&mut self, trash: &mut Vec<Bytes>) -> Bytes {
        match (self.segments.len(), self.tail.is_empty()) {
            (0, _) => self.tail.split().freeze(),
            (1, true) => self.segments.pop_front().unwrap_or_default(),
            _ => {
                trash.extend(self.segments.iter().cloned());
                self.drain_all().freeze()
            }
        }
    }

    /// Takes everything as one buffer, copied.
    pub(crate) fn drain_all(&mut self) -> BytesMut {
        let mut all = BytesMut::new();
        for segment in self.segments.drain(..) {
            all.extend_from_slice(&segment);
        }
        all.extend_from_slice(&self.tail);
        self.tail.clear();
        all
    }

    /// Freezes the tail into a segment, so that a segment can follow it.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.segments.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Copy(Vec<u8>),
        Reference(usize),
        Sent(usize),
        Append(Vec<u8>, bool),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..50).prop_map(Op::Copy),
            (0..3 * BY_REFERENCE).prop_map(Op::Reference),
            (0..2 * BY_REFERENCE).prop_map(Op::Sent),
            (proptest::collection::vec(any::<u8>(), 0..50), any::<bool>())
                .prop_map(|(bytes, large)| Op::Append(bytes, large)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]
        #[test]
        fn bytes_leave_once_and_in_order(ops in proptest::collection::vec(op(), 0..20)) {
            let mut queue = WriteQueue::take();
            let mut model = Vec::new();
            for op in ops {
                match op {
                    Op::Copy(bytes) => {
                        queue.push(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    Op::Reference(len) => {
                        let bytes: Bytes = (0..len).map(|i| i as u8).collect();
                        model.extend_from_slice(&bytes);
                        drop(queue.push_bytes(bytes, false));
                    }
                    Op::Sent(count) => {
                        let offered = queue.with_slices(usize::MAX, |s| s.iter().map(|s| s.len()).sum());
                        let count = count.min(offered);
                        let sent: Vec<u8> = queue.with_slices(count, |s| {
                            s.iter().flat_map(|s| s.iter().copied()).collect()
                        });
                        prop_assert_eq!(&sent[..], &model[..count]);
                        queue.advance(count);
                        model.drain(..count);
                    }
                    Op::Append(bytes, large) => {
                        let mut later = WriteQueue::default();
                        if large {
                            drop(later.push_bytes(Bytes::from(vec![7; BY_REFERENCE]), false));
                            model.extend_from_slice(&[7; BY_REFERENCE]);
                        }
                        later.push(&bytes);
                        model.extend_from_slice(&bytes);
                        queue.append(&mut later);
                        prop_assert!(later.is_empty());
                    }
                }
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                if let Some(single) = queue.as_single() {
                    prop_assert_eq!(single, &model[..]);
                }
            }
            prop_assert_eq!(&queue.drain_all()[..], &model[..]);
        }
    }

    #[test]
    fn small_writes_are_one_slice() {
        let mut queue = WriteQueue::default();
        queue.push(b"one ");
        drop(queue.push_bytes(Bytes::from_static(b"two"), false));
        assert_eq!(queue.as_single(), Some(&b"one two"[..]));
    }
}
