//! The tasks that wait for something to happen on a connection: room in the queue, or a change that
//! comes once, such as the peer's EOF and the end. Those who wait for the same are woken together;
//! each looks for itself.

use std::task::Waker;

/// Wakers of waiting futures, each under an id by which its future takes it back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Woken whenever the queue has drained, hence not those who wait for something rare.
    room: Vec<(u64, Waker)>,
    change: Vec<(u64, Waker)>,
    next_id: u64,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Room in the queue, or that there will be none.
    Room,
    /// Anything else.
    Change,
}

impl Waiters {
    /// Registers `waker` under `id`, which is chosen at the first call.
    pub(crate) fn register(&mut self, id: &mut Option<u64>, waker: &Waker, awaited: Awaited) {
        let id = *id.get_or_insert_with(|| {
            self.next_id += 1;
            self.next_id
        });
        let list = match awaited {
            Awaited::Room => &mut self.room,
            Awaited::Change => &mut self.change,
        };
        match list.iter_mut().find(|(other, _)| *other == id) {
            Some((_, old)) => old.clone_from(waker),
            None => list.push((id, waker.clone())),
        }
    }

    /// Forgets the waiter `id`, if it is still there.
    pub(crate) fn remove(&mut self, id: u64) {
        self.room.retain(|(other, _)| *other != id);
        self.change.retain(|(other, _)| *other != id);
    }

    /// Takes the wakers of those who wait for room, to be woken once no lock is held.
    pub(crate) fn take_room(&mut self) -> Vec<(u64, Waker)> {
        std::mem::take(&mut self.room)
    }

    /// Takes all wakers, likewise.
    pub(crate) fn take_all(&mut self) -> Vec<(u64, Waker)> {
        let mut all = std::mem::take(&mut self.change);
        all.append(&mut self.room);
        all
    }
}
