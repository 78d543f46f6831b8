//! [`Ledger`]: what one end of a connection has sent and read, and what of it its protocol was given.

use bytes::{Buf, BytesMut};

use crate::handle::Handle;

/// Bytes that are read and not consumed, at most. More have those only that tell nobody what they
/// consume, such as a stream that reads by itself: of these no account is kept any longer.
const MOST: usize = 1024 * 1024;

/// One end of a connection, by the number of the connection and its index in it.
pub(super) type EndId = (u64, usize);

/// The account of one end. It outlives the connection, but for the bytes.
#[derive(Default)]
pub(super) struct Ledger {
    /// Bytes that the network took from it.
    pub(super) sent: u64,
    /// Bytes that it took from the network.
    pub(super) read: u64,
    /// A protocol that is checked has had it.
    is_known: bool,
    /// Of what it read, what no protocol has consumed, if an account of them is kept.
    unconsumed: Option<BytesMut>,
    /// The connection above, while it has a protocol.
    pub(super) handle: Option<Handle>,
}

impl Ledger {
    /// Begins to keep account for the first protocol that is checked, unless something was read
    /// already; says whether it is the first. For the next one the account goes on.
    pub(super) fn open(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.is_known, true) && self.read == 0;
        if is_first {
            self.unconsumed = Some(BytesMut::new());
        }
        is_first
    }

    /// Keeps account no longer.
    pub(super) fn close(&mut self) {
        self.unconsumed = None;
    }

    /// Whether an account is kept.
    pub(super) fn is_open(&self) -> bool {
        self.unconsumed.is_some()
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.read += bytes.len() as u64;
        let Some(unconsumed) = &mut self.unconsumed else { return };
        unconsumed.extend_from_slice(bytes);
        if unconsumed.len() > MOST {
            self.close();
        }
    }

    /// Bytes that are read and not consumed.
    pub(super) fn unconsumed(&self) -> usize {
        self.unconsumed.as_ref().map_or(0, BytesMut::len)
    }

    /// Whether `data` is what comes next, once `skipped` bytes are left out.
    pub(super) fn is_next(&self, skipped: usize, data: &[u8]) -> bool {
        let Some(unconsumed) = &self.unconsumed else { return true };
        unconsumed.get(skipped..).is_some_and(|next| next.starts_with(data))
    }

    /// A protocol has consumed so many.
    pub(super) fn consume(&mut self, len: usize) {
        if let Some(unconsumed) = &mut self.unconsumed {
            unconsumed.advance(len.min(unconsumed.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_what_comes_next() {
        let mut ledger = Ledger::default();
        assert!(ledger.open());
        ledger.take(b"abcdef");
        assert!(ledger.is_next(0, b"abc") && ledger.is_next(2, b"cdef") && ledger.is_next(6, b""));
        assert!(!ledger.is_next(0, b"abd") && !ledger.is_next(2, b"cdefg"));
        ledger.consume(2);
        assert!(ledger.is_next(0, b"cdef") && !ledger.is_next(0, b"abc"));
        assert_eq!((ledger.read, ledger.unconsumed()), (6, 4));
        assert!(!ledger.open() && ledger.is_open(), "the next protocol goes on with it");
    }

    #[test]
    fn it_keeps_no_account_of_what_it_did_not_see_or_nobody_tells() {
        let mut late = Ledger::default();
        late.take(b"x");
        assert!(!late.open() && !late.is_open());
        assert!(late.is_next(0, b"anything"));
        let mut untold = Ledger::default();
        assert!(untold.open());
        untold.take(&vec![0; MOST]);
        assert_eq!(untold.unconsumed(), MOST);
        untold.take(b"x");
        assert!(!untold.is_open());
    }
}
