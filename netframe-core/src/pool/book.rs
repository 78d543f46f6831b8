//! [`Book`]: who has which place, and who waits for one. A state machine without I/O, clock or
//! wake-up: it is told what happened and when, and says in [`Effects`] what is to be done about it,
//! once it is not locked any more.
//!
//! A *place* is the right to have a connection. It is taken before one is dialled, and free again
//! when that connection has ended, so that there are never more connections than places.
//!
//! Who waits is served in the order of asking ([`settle`](Book::settle)): each gets an idle
//! connection, or else a place, or else an idle connection to another endpoint is closed for it. One
//! whose endpoint has all that it may have is passed over, and holds nobody up. So a connection that
//! comes back goes to whoever has waited longest of those to whom it is of use, even if that means to
//! close it: an endpoint that is always busy does not starve another.

mod entries;
#[cfg(test)]
mod tests;

pub(super) use self::entries::{Effects, Grant, Refused, Rest};
use self::entries::{Pass, Place, Site, State, Turn};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::limits::PoolLimits;
use super::status::{PoolCounts, PoolStats, PoolStatus};
use crate::endpoint::Endpoint;
use crate::limits::Timeout;

/// A place that is taken. No number comes twice, so that whoever comes too late does no harm.
pub(super) type PlaceId = u64;

/// Who waits; the longest waiting has the lowest.
pub(super) type Ticket = u64;

/// The books of a pool of `T`, whose connections are reached by `H`; `W` is how to reach who waits.
pub(super) struct Book<T, H, W> {
    limits: PoolLimits,
    places: BTreeMap<PlaceId, Place<T, H>>,
    sites: HashMap<Arc<Endpoint>, Site>,
    waiting: BTreeMap<Ticket, (Arc<Endpoint>, W)>,
    /// Idle ones, the longest idle first.
    rested: BTreeMap<u64, PlaceId>,
    /// When they expire; those that never do are left out.
    expiries: BTreeSet<(Instant, PlaceId)>,
    /// When the timer looks next by itself.
    wakes_at: Option<Instant>,
    /// Places of connections that were idle and are being closed: they are free soon.
    hurried: usize,
    /// The last number that was given to anything.
    last: u64,
    pub(super) stats: PoolStats,
    closed: bool,
}

impl<T, H: Clone, W> Book<T, H, W> {
    pub(super) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            places: BTreeMap::new(),
            sites: HashMap::new(),
            waiting: BTreeMap::new(),
            rested: BTreeMap::new(),
            expiries: BTreeSet::new(),
            wakes_at: None,
            hurried: 0,
            last: 0,
            stats: PoolStats::default(),
            closed: false,
        }
    }

    /// Somebody asks for a connection. The grant may be among the effects already.
    pub(super) fn join(
        &mut self,
        endpoint: &Arc<Endpoint>,
        to: W,
        now: Instant,
        fx: &mut Effects<T, H, W>,
    ) -> Result<Ticket, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        self.expire(now, fx);
        if self.waiting.len() >= self.limits.max_waiting && !self.is_at_once(endpoint) {
            self.stats.refused += 1;
            return Err(Refused::TooManyWaiting);
        }
        let ticket = self.number();
        self.waiting.insert(ticket, (Arc::clone(endpoint), to));
        self.sites.entry(Arc::clone(endpoint)).or_default().waiting += 1;
        self.settle(now, fx);
        Ok(ticket)
    }

    /// Whether somebody who asks now need not wait: what is free is so because nobody who waits can
    /// have it.
    fn is_at_once(&self, endpoint: &Arc<Endpoint>) -> bool {
        let places_left = self.places.len() < self.limits.max_connections;
        self.sites.get(endpoint).map_or(places_left, |site| {
            !site.idle.is_empty() || (places_left && site.places < self.limits.max_per_endpoint)
        })
    }

    /// Somebody waits no longer, if it still did.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<W> {
        let (endpoint, to) = self.waiting.remove(&ticket)?;
        self.site(&endpoint).waiting -= 1;
        self.forget_if_empty(&endpoint);
        Some(to)
    }

    /// The connection of a place is open.
    pub(super) fn dialled(&mut self, id: PlaceId, handles: Vec<H>, now: Instant) {
        self.stats.dialled += 1;
        if let Some(place) = self.places.get_mut(&id) {
            place.state = State::InUse;
            place.handles = handles;
            place.born = Some(now);
        }
    }

    /// There will be no connection for a place. `left` are those that were opened on the way and
    /// have not ended: if there are some, the place is free when [`ended`](Self::ended) is called.
    pub(super) fn undialled(
        &mut self,
        id: PlaceId,
        left: Vec<H>,
        now: Instant,
        fx: &mut Effects<T, H, W>,
    ) {
        if left.is_empty() {
            self.free(id, now, fx);
        } else if let Some(place) = self.places.get_mut(&id) {
            place.handles = left;
            place.state = State::Closing { conn: None, hurried: false };
        }
    }

    /// A connection comes back. `rest` is given if it was not used at all.
    pub(super) fn give_back(
        &mut self,
        id: PlaceId,
        conn: T,
        reusable: bool,
        rest: Option<Rest>,
        now: Instant,
        fx: &mut Effects<T, H, W>,
    ) {
        self.free_if_over(id, now, fx);
        let turn = self.number();
        let Some(place) = self.places.get_mut(&id) else {
            fx.dropped.push(conn); // it has ended meanwhile
            return;
        };
        let dies = after(place.born, self.limits.max_lifetime);
        let expires = after(Some(now), self.limits.idle_timeout);
        let until = [dies, expires].into_iter().flatten().min();
        let rest = rest.unwrap_or(Rest { turn, until });
        let too_old = dies.is_some_and(|at| at <= now);
        if self.closed || place.spent || !reusable || too_old {
            self.stats.expired += u64::from(reusable && too_old);
            self.close(id, Some(conn), fx);
            return;
        }
        place.state = State::Idle(conn, rest);
        if let Some(at) = rest.until {
            self.expiries.insert((at, id));
            if self.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
                self.wakes_at = Some(at);
                fx.alarm = true;
            }
        }
        self.rested.insert(rest.turn, id);
        let endpoint = Arc::clone(&place.endpoint);
        self.site(&endpoint).idle.insert(rest.turn, id);
        self.settle(now, fx);
    }

    /// A connection that is checked out is not to be used again; somebody else closes or aborts it.
    pub(super) fn let_go(&mut self, id: PlaceId, conn: T, fx: &mut Effects<T, H, W>) {
        match self.places.get_mut(&id) {
            Some(place) => place.state = State::Closing { conn: Some(conn), hurried: false },
            None => fx.dropped.push(conn),
        }
    }

    /// The idle connection that was granted is taken.
    pub(super) fn taken(&mut self, id: PlaceId, now: Instant, fx: &mut Effects<T, H, W>) {
        self.stats.reused += 1;
        self.free_if_over(id, now, fx);
        if let Some(place) = self.places.get_mut(&id) {
            place.state = State::InUse;
        }
    }

    /// The idle connection that was granted was of no use and has ended. Another is dialled in its
    /// place, which has the new number that is returned.
    pub(super) fn replaced(&mut self, id: PlaceId) -> PlaceId {
        self.stats.found_dead += 1;
        let next = self.number();
        if let Some(place) = self.places.remove(&id) {
            self.places.insert(next, Place::to_dial(place.endpoint));
        }
        next
    }

    /// The idle connection that was granted is of no use and ends, and so does the wish for one.
    pub(super) fn declined(&mut self, id: PlaceId, now: Instant, fx: &mut Effects<T, H, W>) {
        self.stats.found_dead += 1;
        self.free_if_over(id, now, fx);
        if let Some(place) = self.places.get_mut(&id) {
            place.state = State::Closing { conn: None, hurried: true };
            self.hurried += 1;
        }
    }

    /// The peer of a connection has ended its side, or the connection ends.
    pub(super) fn spent(&mut self, id: PlaceId, fx: &mut Effects<T, H, W>) {
        let Some(place) = self.places.get_mut(&id) else { return };
        place.spent = true;
        if matches!(place.state, State::Idle(..)) {
            self.stats.found_dead += 1;
            self.close_idle(id, fx);
        }
    }

    /// A connection has ended.
    pub(super) fn ended(&mut self, id: PlaceId, now: Instant, fx: &mut Effects<T, H, W>) {
        match self.places.get_mut(&id) {
            Some(Place { state: State::Granted { ended }, .. }) => *ended = true,
            Some(_) => {
                self.spent(id, fx);
                self.free(id, now, fx);
            }
            None => {}
        }
    }

    /// Closes what has been idle for too long; returns when that has to be done again.
    pub(super) fn next_expiry(
        &mut self,
        now: Instant,
        fx: &mut Effects<T, H, W>,
    ) -> Option<Instant> {
        self.expire(now, fx);
        self.wakes_at = self.expiries.first().map(|(at, _)| *at);
        self.wakes_at
    }

    /// No more connections: idle ones are closed, and who waits is dismissed.
    pub(super) fn shut(&mut self, fx: &mut Effects<T, H, W>) {
        self.closed = true;
        while let Some((_, (endpoint, to))) = self.waiting.pop_first() {
            self.site(&endpoint).waiting -= 1;
            self.forget_if_empty(&endpoint);
            fx.dismissed.push(to);
        }
        while let Some((_, id)) = self.rested.first_key_value() {
            self.close_idle(*id, fx);
        }
        fx.empty = self.places.is_empty();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Places that are taken.
    pub(super) fn size(&self) -> usize {
        self.places.len()
    }

    /// How to reach the connections of one place.
    pub(super) fn handles_of(&self, id: PlaceId) -> Vec<H> {
        self.places.get(&id).map_or_else(Vec::new, |place| place.handles.clone())
    }

    /// How to reach each connection.
    pub(super) fn handles(&self) -> Vec<H> {
        self.places.values().flat_map(|place| place.handles.iter().cloned()).collect()
    }

    pub(super) fn status(&self) -> PoolStatus {
        let mut status = PoolStatus { stats: self.stats, ..PoolStatus::default() };
        let mut sites: HashMap<&Endpoint, PoolCounts> = HashMap::new();
        for place in self.places.values() {
            for counts in [&mut status.total, sites.entry(&place.endpoint).or_default()] {
                *match place.state {
                    State::Dialling => &mut counts.dialling,
                    State::InUse | State::Granted { .. } => &mut counts.in_use,
                    State::Idle(..) => &mut counts.idle,
                    State::Closing { .. } => &mut counts.closing,
                } += 1;
            }
        }
        for (endpoint, site) in &self.sites {
            sites.entry(endpoint).or_default().waiting = site.waiting;
        }
        status.total.waiting = self.waiting.len();
        status.endpoints = sites.into_iter().map(|(at, counts)| (at.clone(), counts)).collect();
        status.endpoints.sort_by_cached_key(|(endpoint, _)| endpoint.to_string());
        status
    }

    /// Serves who waits, the longest waiting first, as far as there is something for them.
    ///
    /// It stops as soon as it is known that nobody further can have anything, so that a long queue
    /// for one busy endpoint costs nothing.
    fn settle(&mut self, now: Instant, fx: &mut Effects<T, H, W>) {
        self.expire(now, fx);
        let pass = self.number();
        let mut room = self.hurried;
        let mut in_vain = 0;
        let mut from = 0;
        while in_vain < self.waiting.len() && self.has_something() {
            let Some((&ticket, (endpoint, _))) = self.waiting.range(from..).next() else { break };
            let endpoint = Arc::clone(endpoint);
            from = ticket + 1;
            match self.turn(&endpoint, pass) {
                Turn::Reuse(id) => self.grant_idle(ticket, id, fx),
                Turn::Dial => self.grant_dial(ticket, fx),
                Turn::NeedsRoom => {
                    in_vain += 1;
                    self.site(&endpoint).pass.promised += 1;
                    match self.rested.first_key_value() {
                        _ if room > 0 => room -= 1,
                        Some((_, id)) => {
                            self.stats.evicted += 1;
                            self.close_idle(*id, fx);
                        }
                        None => {}
                    }
                }
                Turn::Blocked(more) => in_vain += more,
            }
        }
    }

    fn has_something(&self) -> bool {
        self.places.len() < self.limits.max_connections || !self.rested.is_empty()
    }

    /// What the longest waiting of those for `endpoint` can do, that this pass has not come to yet.
    fn turn(&mut self, endpoint: &Arc<Endpoint>, pass: u64) -> Turn {
        let places_left = self.places.len() < self.limits.max_connections;
        let max = self.limits.max_per_endpoint;
        let site = self.site(endpoint);
        if site.pass.number != pass {
            site.pass = Pass { number: pass, ..Pass::default() };
        }
        if site.pass.blocked {
            Turn::Blocked(0)
        } else if let Some((_, id)) = site.idle.last_key_value() {
            Turn::Reuse(*id)
        } else if site.places + site.pass.promised >= max {
            site.pass.blocked = true;
            Turn::Blocked(site.waiting - site.pass.promised)
        } else if places_left {
            Turn::Dial
        } else {
            Turn::NeedsRoom
        }
    }

    fn grant_idle(&mut self, ticket: Ticket, id: PlaceId, fx: &mut Effects<T, H, W>) {
        let Some((conn, rest)) = self.wake_up(id) else { return };
        let Some(place) = self.places.get_mut(&id) else { return };
        place.state = State::Granted { ended: false };
        let endpoint = Arc::clone(&place.endpoint);
        if let Some(to) = self.leave(ticket) {
            fx.grants.push(Grant { to, id, endpoint, idle: Some((conn, rest)) });
        }
    }

    fn grant_dial(&mut self, ticket: Ticket, fx: &mut Effects<T, H, W>) {
        let id = self.number();
        let Some((endpoint, _)) = self.waiting.get(&ticket) else { return };
        let endpoint = Arc::clone(endpoint);
        self.site(&endpoint).places += 1;
        self.places.insert(id, Place::to_dial(Arc::clone(&endpoint)));
        if let Some(to) = self.leave(ticket) {
            fx.grants.push(Grant { to, id, endpoint, idle: None });
        }
    }

    fn expire(&mut self, now: Instant, fx: &mut Effects<T, H, W>) {
        while let Some((_, id)) = self.expiries.first().filter(|(at, _)| *at <= now) {
            self.stats.expired += 1;
            self.close_idle(*id, fx);
        }
    }

    /// Closes an idle connection.
    fn close_idle(&mut self, id: PlaceId, fx: &mut Effects<T, H, W>) {
        let Some((conn, _)) = self.wake_up(id) else { return };
        let Some(place) = self.places.get_mut(&id) else { return };
        place.state = State::Closing { conn: Some(conn), hurried: true };
        fx.close.extend(place.handles.iter().map(|handle| (handle.clone(), true)));
        self.hurried += 1;
    }

    /// Closes a connection that comes back, in its own time: what was written is still to leave.
    fn close(&mut self, id: PlaceId, conn: Option<T>, fx: &mut Effects<T, H, W>) {
        let Some(place) = self.places.get_mut(&id) else { return };
        place.state = State::Closing { conn, hurried: false };
        fx.close.extend(place.handles.iter().map(|handle| (handle.clone(), false)));
    }

    /// Takes an idle connection from where idle ones are listed. Its place has no state then.
    fn wake_up(&mut self, id: PlaceId) -> Option<(T, Rest)> {
        let place = self.places.get_mut(&id)?;
        let State::Idle(..) = place.state else { return None };
        let closing = State::Closing { conn: None, hurried: false };
        let State::Idle(conn, rest) = std::mem::replace(&mut place.state, closing) else {
            return None; // it was idle a line ago
        };
        if let Some(at) = rest.until {
            self.expiries.remove(&(at, id));
        }
        self.rested.remove(&rest.turn);
        let endpoint = Arc::clone(&place.endpoint);
        self.site(&endpoint).idle.remove(&rest.turn);
        Some((conn, rest))
    }

    /// A place is free again.
    fn free(&mut self, id: PlaceId, now: Instant, fx: &mut Effects<T, H, W>) {
        let Some(place) = self.places.remove(&id) else { return };
        if let State::Closing { conn, hurried } = place.state {
            self.hurried -= usize::from(hurried);
            fx.dropped.extend(conn);
        }
        self.site(&place.endpoint).places -= 1;
        self.forget_if_empty(&place.endpoint);
        fx.empty = self.places.is_empty();
        self.settle(now, fx);
    }

    /// Frees a place whose connection has ended on its way to who was granted it.
    fn free_if_over(&mut self, id: PlaceId, now: Instant, fx: &mut Effects<T, H, W>) {
        let place = self.places.get(&id);
        if place.is_some_and(|place| matches!(place.state, State::Granted { ended: true })) {
            self.free(id, now, fx);
        }
    }

    fn site(&mut self, endpoint: &Arc<Endpoint>) -> &mut Site {
        self.sites.entry(Arc::clone(endpoint)).or_default()
    }

    fn forget_if_empty(&mut self, endpoint: &Arc<Endpoint>) {
        if self.sites.get(endpoint).is_some_and(|site| site.places == 0 && site.waiting == 0) {
            self.sites.remove(endpoint);
        }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// When a timeout passes, if it does.
fn after(since: Option<Instant>, timeout: Timeout) -> Option<Instant> {
    since?.checked_add(timeout.duration()?)
}
