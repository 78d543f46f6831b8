//! [`Room`]: who is in it, and what was said.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netframe_core::bytes::Bytes;
use netframe_core::{ConnectionId, Group, Member, Transport};

use super::ChatOptions;
use super::text::Name;

/// Names in an answer, at most.
pub(super) const MAX_LISTED: usize = 100;

/// One room.
///
/// Its lock makes one order of all that happens in it: a newcomer gets what was said before it
/// entered as history, and what is said afterwards live. Members' queues are written to under it,
/// so locks are taken in the order room, group, connection; a room's lock and that of the
/// [`Service`](super::service::Service) are never held together.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) name: Name,
    group: Group,
    options: Arc<ChatOptions>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    history: VecDeque<Bytes>,
    /// In the order of connecting.
    seats: BTreeMap<ConnectionId, Seat>,
}

#[derive(Debug)]
struct Seat {
    name: Name,
    member: Member,
    /// Of the lines that the member missed, how many it was told of.
    told: u64,
}

impl Room {
    pub(super) fn new(name: Name, options: Arc<ChatOptions>) -> Self {
        let group = Group::new(options.group_limits());
        Self { name, group, options, state: Mutex::default() }
    }

    /// Seats a newcomer: the history and a notice go to its transport, and the others are told. Once
    /// it has caught up with lines of which it missed some, it is notified.
    pub(super) fn enter(&self, t: &mut dyn Transport, name: Name) {
        let mut state = self.state();
        state.send(&self.group, line(format_args!("* {name} joined")));
        let others = match state.seats.len() {
            0 => "with nobody else".to_owned(),
            1 => "with 1 other".to_owned(),
            count => format!("with {count} others"),
        };
        let room = &self.name;
        let notice = format_args!("* you are in {room}, {others}; /help lists the commands");
        let notice = line(notice);
        let greeting: Vec<_> =
            state.history.iter().chain([&notice]).map(|line| &line[..]).collect();
        t.write_vectored(&greeting);
        let member = self.group.join(t.handle(), self.options.policy.into());
        state.seats.insert(t.info().id(), Seat { name, member, told: 0 });
    }

    /// Frees a member's seat, and tells the others unless it is to be `quiet`.
    pub(super) fn leave(&self, id: ConnectionId, quiet: bool) {
        let mut state = self.state();
        let Some(Seat { name, .. }) = state.seats.remove(&id) else { return };
        if !quiet {
            state.send(&self.group, line(format_args!("* {name} left")));
        }
    }

    /// Says a line to all others, and keeps it for newcomers.
    pub(super) fn say(&self, id: ConnectionId, text: &str) {
        let mut state = self.state();
        let Some(seat) = state.seats.get(&id) else { return };
        let said = line(format_args!("{}: {text}", seat.name));
        seat.member.send_to_others(said.clone());
        if self.options.history > 0 {
            if state.history.len() == self.options.history {
                state.history.pop_front();
            }
            state.history.push_back(said);
        }
    }

    /// Gives a member another name, and tells the others.
    pub(super) fn rename(&self, id: ConnectionId, name: Name) {
        let mut state = self.state();
        let Some(seat) = state.seats.get_mut(&id) else { return };
        let notice = line(format_args!("* {} is now {name}", seat.name));
        seat.name = name;
        seat.member.send_to_others(notice);
    }

    /// The names of those that are here, as far as they fit into an answer.
    pub(super) fn names(&self) -> String {
        let state = self.state();
        list(state.seats.values().map(|seat| &seat.name))
    }

    /// The lines that a member missed and was not told of, which is now told.
    pub(super) fn take_missed(&self, id: ConnectionId) -> u64 {
        let mut state = self.state();
        let Some(seat) = state.seats.get_mut(&id) else { return 0 };
        let missed = seat.member.missed();
        missed - std::mem::replace(&mut seat.told, missed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Sends a line to all that are here.
    fn send(&mut self, group: &Group, line: Bytes) {
        group.try_send(line);
    }
}

/// A line for the wire, with no byte to spare.
fn line(text: impl Display) -> Bytes {
    format!("{text}\n").into_bytes().into()
}

/// As many items as fit into an answer.
pub(super) fn list(items: impl ExactSizeIterator<Item = impl Display>) -> String {
    let more = items.len().saturating_sub(MAX_LISTED);
    let listed: Vec<_> = items.take(MAX_LISTED).map(|item| item.to_string()).collect();
    match (listed.join(", "), more) {
        (listed, 0) => listed,
        (listed, more) => format!("{listed} and {more} more"),
    }
}
