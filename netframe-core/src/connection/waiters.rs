//! The tasks that wait for something to happen on a connection: room in the queue, the peer's
//! EOF, the end. All are woken together; each looks for itself.

use std::task::Waker;

/// Wakers of waiting futures, each under an id by which its future takes it back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    list: Vec<(u64, Waker)>,
    next_id: u64,
}

impl Waiters {
    /// Registers `waker` under `id`, which is chosen at the first call.
    pub(crate) fn register(&mut self, id: &mut Option<u64>, waker: &Waker) {
        let id = *id.get_or_insert_with(|| {
            self.next_id += 1;
            self.next_id
        });
        match self.list.iter_mut().find(|(other, _)| *other == id) {
            Some((_, old)) => old.clone_from(waker),
            None => self.list.push((id, waker.clone())),
        }
    }

    /// Forgets the waiter `id`, if it is still there.
    pub(crate) fn remove(&mut self, id: u64) {
        self.list.retain(|(other, _)| *other != id);
    }

    /// Takes all wakers, to be woken once no lock is held.
    pub(crate) fn take_all(&mut self) -> Vec<(u64, Waker)> {
        std::mem::take(&mut self.list)
    }
}
