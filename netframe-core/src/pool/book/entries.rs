//! What a [`Book`](super::Book) deals in: places, what is known of an endpoint, and effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::PlaceId;
use crate::endpoint::Endpoint;

pub(super) struct Place<T, H> {
    pub(super) endpoint: Arc<Endpoint>,
    /// What reaches its connection, and those that were opened on the way to it.
    pub(super) handles: Vec<H>,
    /// When it was dialled.
    pub(super) born: Option<Instant>,
    /// Its peer has ended its side, or it ends.
    pub(super) spent: bool,
    pub(super) state: State<T>,
}

impl<T, H> Place<T, H> {
    pub(super) fn to_dial(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint, handles: Vec::new(), born: None, spent: false, state: State::Dialling }
    }
}

pub(super) enum State<T> {
    Dialling,
    InUse,
    Idle(T, Rest),
    /// It keeps what it is until it has ended. `hurried` if it was idle.
    Closing {
        conn: Option<T>,
        hurried: bool,
    },
    /// An idle one, for somebody who has not taken it yet, and may dial another in its place.
    Granted {
        ended: bool,
    },
}

/// The number of an idle connection in the order of coming back, and when it expires.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct Rest {
    pub(super) turn: u64,
    pub(super) until: Option<Instant>,
}

/// What there is of one endpoint.
#[derive(Default)]
pub(super) struct Site {
    pub(super) places: usize,
    pub(super) waiting: usize,
    /// The latest that came back is last.
    pub(super) idle: BTreeMap<u64, PlaceId>,
    pub(super) pass: Pass,
}

/// What one pass of `settle`, by its number, knows of an endpoint.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) number: u64,
    /// For so many of those who wait a place is on its way.
    pub(super) promised: usize,
    /// The others wait in vain, and were counted.
    pub(super) blocked: bool,
}

/// What one that waits can do.
pub(super) enum Turn {
    Reuse(PlaceId),
    Dial,
    /// All that it lacks is a place in total.
    NeedsRoom,
    /// Its endpoint has all that it may have: so many wait in vain, if they were not counted before.
    Blocked(usize),
}

/// What is to be done once the book is not locked.
pub(in crate::pool) struct Effects<T, H, W> {
    pub(in crate::pool) grants: Vec<Grant<T, W>>,
    /// To be closed in order; `true` for those that were idle.
    pub(in crate::pool) close: Vec<(H, bool)>,
    /// Of no use any more.
    pub(in crate::pool) dropped: Vec<T>,
    /// Who waits in vain.
    pub(in crate::pool) dismissed: Vec<W>,
    /// The timer has to look at the expiries again.
    pub(in crate::pool) alarm: bool,
    /// No place is taken any more.
    pub(in crate::pool) empty: bool,
}

/// A place for one that waited, with the idle connection that has it, or to dial one.
pub(in crate::pool) struct Grant<T, W> {
    pub(in crate::pool) to: W,
    pub(in crate::pool) id: PlaceId,
    pub(in crate::pool) endpoint: Arc<Endpoint>,
    pub(in crate::pool) idle: Option<(T, Rest)>,
}

/// Why nobody can join the queue.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pool) enum Refused {
    Closed,
    TooManyWaiting,
}

impl<T, H, W> Default for Effects<T, H, W> {
    fn default() -> Self {
        let (grants, close, dropped, dismissed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { grants, close, dropped, dismissed, alarm: false, empty: false }
    }
}
