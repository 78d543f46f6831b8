//! The sessions of one datagram socket by peer, and which of them may be given up for another.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::addr::Addr;

/// Who has a session. `T` is how it is reached.
#[derive(Debug)]
pub(crate) struct Table<T> {
    state: Mutex<State<T>>,
    emptied: Notify,
}

#[derive(Debug)]
struct State<T> {
    sessions: HashMap<Addr, Session<T>>,
    /// Sessions whose peer has sent only once, the oldest first; and, until they are swept out,
    /// others that once were.
    once: VecDeque<(Addr, Number)>,
    next: Number,
}

#[derive(Debug)]
struct Session<T> {
    value: T,
    number: Number,
    once: bool,
}

/// Tells the sessions apart that one peer has had.
pub(crate) type Number = u64;

/// Entries of `once` that are kept without a sweep, however few sessions there are.
const UNSWEPT: usize = 64;

impl<T: Clone> Table<T> {
    pub(crate) fn new() -> Self {
        let state = State { sessions: HashMap::new(), once: VecDeque::new(), next: 0 };
        Self { state: Mutex::new(state), emptied: Notify::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.state().sessions.len()
    }

    /// The session of a peer that has sent again.
    pub(crate) fn again(&self, peer: &Addr) -> Option<T> {
        let mut state = self.state();
        let session = state.sessions.get_mut(peer)?;
        session.once = false;
        Some(session.value.clone())
    }

    /// The number of the next session.
    pub(crate) fn number(&self) -> Number {
        let mut state = self.state();
        state.next += 1;
        state.next
    }

    /// Adds the session of a peer that has sent once.
    pub(crate) fn insert(&self, peer: Addr, number: Number, value: T) {
        let mut state = self.state();
        let State { sessions, once, .. } = &mut *state;
        if once.len() >= 2 * sessions.len() + UNSWEPT {
            once.retain(|(peer, number)| {
                sessions.get(peer).is_some_and(|session| session.once && session.number == *number)
            });
        }
        once.push_back((peer.clone(), number));
        let replaced = sessions.insert(peer, Session { value, number, once: true });
        debug_assert!(replaced.is_none(), "a peer has one session");
        drop(state);
        drop(replaced);
    }

    /// Removes a session that has ended, unless the peer has another one by now.
    pub(crate) fn remove(&self, peer: &Addr, number: Number) {
        let mut state = self.state();
        if state.sessions.get(peer).is_none_or(|session| session.number != number) {
            return;
        }
        let removed = state.sessions.remove(peer);
        let empty = state.sessions.is_empty();
        if empty {
            *state = State {
                sessions: HashMap::new(), // gives back what a crowd took
                once: VecDeque::new(),
                next: state.next,
            };
        }
        drop(state);
        drop(removed);
        if empty {
            self.emptied.notify_waiters();
        }
    }

    /// Removes the oldest session whose peer has sent only once.
    pub(crate) fn take_oldest_once(&self) -> Option<T> {
        let mut state = self.state();
        while let Some((peer, number)) = state.once.pop_front() {
            let session = state.sessions.get(&peer);
            if session.is_some_and(|session| session.once && session.number == number) {
                return state.sessions.remove(&peer).map(|session| session.value);
            }
        }
        None
    }

    /// Waits until there is no session.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_has_sent_once_is_given_up() {
        let table = Table::new();
        for name in ["a", "b", "c", "d"] {
            insert(&table, name);
        }
        assert_eq!(table.again(&peer("a")), Some("a"));
        assert_eq!(table.take_oldest_once(), Some("b"));
        assert_eq!(table.again(&peer("b")), None);
        assert_eq!(table.again(&peer("c")), Some("c"));
        assert_eq!(table.take_oldest_once(), Some("d"));
        assert_eq!(table.take_oldest_once(), None, "the others have sent twice");
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn a_session_is_removed_once_and_never_for_its_successor() {
        let table = Table::new();
        let first = insert(&table, "a");
        assert_eq!(table.take_oldest_once(), Some("a"));
        let second = insert(&table, "a");
        table.remove(&peer("a"), first);
        assert_eq!(table.len(), 1);
        table.remove(&peer("a"), second);
        table.remove(&peer("a"), second);
        assert_eq!(table.len(), 0);
        assert_eq!(table.take_oldest_once(), None);
    }

    #[test]
    fn ended_sessions_leave_nothing_behind() {
        let table = Table::new();
        insert(&table, "stays");
        table.again(&peer("stays"));
        for _ in 0..10_000 {
            let number = insert(&table, "passes");
            table.remove(&peer("passes"), number);
        }
        assert!(table.state().once.len() <= 2 + UNSWEPT);
    }

    fn insert(table: &Table<&'static str>, name: &'static str) -> Number {
        let number = table.number();
        table.insert(peer(name), number, name);
        number
    }

    fn peer(name: &str) -> Addr {
        Addr::named(name)
    }
}
