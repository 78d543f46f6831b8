//! [`Service`]: the names and rooms of one chat.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ChatOptions;
use super::room::{Room, list};
use super::text::Name;

/// The names and rooms of one chat, which all of its connections share.
#[derive(Debug)]
pub(super) struct Service {
    options: Arc<ChatOptions>,
    lobby: Arc<Room>,
    state: Mutex<State>,
}

/// Keys are those of [`Name::key`].
#[derive(Debug)]
struct State {
    names: HashSet<String>,
    /// Each with how many are in it, or on their way into or out of it. The lobby has one more, so
    /// that it stays.
    rooms: BTreeMap<String, (Arc<Room>, usize)>,
}

impl Service {
    pub(super) fn new(options: ChatOptions) -> Self {
        let options = Arc::new(options);
        let name = Name::new(b"lobby").expect("it is short and plain");
        let key = name.key();
        let lobby = Arc::new(Room::new(name, Arc::clone(&options)));
        let rooms = BTreeMap::from([(key, (Arc::clone(&lobby), 1))]);
        Self { options, lobby, state: Mutex::new(State { names: HashSet::new(), rooms }) }
    }

    /// Takes a name, unless somebody has it.
    pub(super) fn take_name(&self, name: &Name) -> bool {
        self.state().names.insert(name.key())
    }

    pub(super) fn free_name(&self, name: &Name) {
        self.state().names.remove(&name.key());
    }

    /// The lobby, for one more member.
    pub(super) fn open_lobby(&self) -> Arc<Room> {
        self.open(&self.lobby.name).expect("the lobby is there, which takes no other room's place")
    }

    /// The room of that name, for one more member, until it is [closed](Self::close) for it. `None`
    /// if it is not there and there are too many.
    pub(super) fn open(&self, name: &Name) -> Option<Arc<Room>> {
        let mut state = self.state();
        let full = state.rooms.len() >= self.options.max_rooms;
        let (room, members) = match state.rooms.entry(name.key()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(entry) => {
                let room = Room::new(name.clone(), Arc::clone(&self.options));
                entry.insert((Arc::new(room), 0))
            }
        };
        *members += 1;
        Some(Arc::clone(room))
    }

    /// One member fewer: with the last one the room is gone.
    pub(super) fn close(&self, room: &Room) {
        let mut state = self.state();
        let Entry::Occupied(mut entry) = state.rooms.entry(room.name.key()) else { return };
        entry.get_mut().1 -= 1;
        if entry.get().1 == 0 {
            entry.remove();
        }
    }

    /// The rooms with how many are in each, as far as they fit into an answer.
    pub(super) fn rooms(&self) -> String {
        let state = self.state();
        list(state.rooms.values().map(|(room, members)| {
            let members = members - usize::from(Arc::ptr_eq(room, &self.lobby));
            format!("{} ({members})", room.name)
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
