//! [`Scratch`]: what is needed only while a request is being answered, so that no idle connection
//! holds it. Each thread keeps some, so that no request allocates it.

use std::cell::RefCell;

use bytes::BytesMut;

use super::body::Lent;
use super::head::Head;
use super::response::Exchange;

/// How many a thread keeps: as many requests can wait at a time before one allocates.
const KEPT: usize = 64;

/// Bytes of a response's head that are kept; a larger one was an exception.
const KEPT_RESPONSE: usize = 4 * 1024;

#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) head: Head,
    /// The head's bytes, where the receive buffer is needed for the body.
    pub(super) bytes: BytesMut,
    pub(super) body: Lent,
    pub(super) exchange: Exchange,
}

type Pool = Vec<Box<Scratch>>;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Vec::new()) };
}

impl Scratch {
    pub(super) fn take() -> Box<Self> {
        POOL.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    pub(super) fn give_back(self: Box<Self>) {
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT && self.exchange.capacity() <= KEPT_RESPONSE {
                pool.push(self);
            }
        });
    }
}
