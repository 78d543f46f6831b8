//! [`Wheel`]: registry and timer wheel in one, for the connections of a worker. It has no clock
//! and does no I/O: time is a number of ticks that the caller passes in.
//!
//! Two levels of 64 lists: one list per tick for the next 64 ticks (2 s), one per 64 ticks up to
//! 4032 ticks (2 min). An entry beyond waits in the last list and is placed anew from there, so a
//! timer of five minutes is touched a few times in all.

use std::mem;

/// A point in time, in units of [`TICK_MS`] since an origin of the caller's. It wraps round: two
/// ticks compare rightly while they are less than 2^31 ticks (2.1 years) apart.
pub(crate) type Tick = u32;

/// Length of a tick. A timer is late by at most one, well below the 100 ms that are promised.
pub(crate) const TICK_MS: u64 = 32;

/// Values, each with at most one deadline.
///
/// `insert`, `remove` and `rearm` are O(1); `expire` costs what is due. A `now` that is older than
/// that of an earlier call, as from two threads that race for the lock, is no harm: what is due
/// comes out once the time has caught up.
pub(crate) struct Wheel<T> {
    /// Live entries and, between them, vacant ones that form the list `vacant`.
    entries: Vec<Entry<T>>,
    vacant: u32,
    len: usize,
    /// Ticks before this one have expired. Invariant: level 0 holds entries that are overdue (in
    /// the list of this tick) or due in this tick or the 63 after it, each in the list of its
    /// tick; level 1 holds entries that are due at or after the block of 64 ticks they are listed
    /// in, which is one of the 63 after the block of this tick.
    elapsed: Tick,
    /// First entry of each list, level 0 before level 1.
    heads: [u32; 2 * SLOTS as usize],
    /// One bit for each list that is not empty.
    occupied: [u64; 2],
}

impl<T> Wheel<T> {
    /// Allocates nothing.
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            vacant: NIL,
            len: 0,
            elapsed: 0,
            heads: [NIL; 2 * SLOTS as usize],
            occupied: [0; 2],
        }
    }

    /// Adds a value that is due at `at`.
    pub(crate) fn insert(&mut self, value: T, at: Tick, now: Tick) -> Key {
        self.catch_up(now);
        let entry = Entry { value: Some(value), at, prev: NIL, next: NIL, list: UNLINKED };
        let index = self.vacant;
        let index = if index == NIL {
            self.push(entry)
        } else {
            let old = mem::replace(&mut self.entries[index as usize], entry);
            self.vacant = old.next;
            index
        };
        self.len += 1;
        self.link(index);
        Key(index)
    }

    /// Removes the value of `key`, which is then free to be given out again.
    ///
    /// # Panics
    ///
    /// `key` is not live.
    pub(crate) fn remove(&mut self, key: Key) -> T {
        self.unlink(key.0);
        let entry = &mut self.entries[key.0 as usize];
        let value = entry.value.take().expect("a key is removed once");
        entry.next = mem::replace(&mut self.vacant, key.0);
        self.len -= 1;
        if self.len == 0 {
            // Packs the entries anew, and gives back what a crowd took.
            self.entries.clear();
            self.entries.shrink_to(MIN_GROWTH);
            self.vacant = NIL;
        }
        value
    }

    /// Sets the deadline of `key`, in place of an earlier one that may have expired.
    pub(crate) fn rearm(&mut self, key: Key, at: Tick, now: Tick) {
        self.unlink(key.0);
        self.catch_up(now);
        self.entries[key.0 as usize].at = at;
        self.link(key.0);
    }

    /// Appends what is due at `now` to `out`. An expired entry stays, without a deadline, until it
    /// is rearmed or removed.
    pub(crate) fn expire(&mut self, now: Tick, out: &mut Vec<(Key, T)>)
    where
        T: Clone,
    {
        let due = self.due(now);
        self.elapsed = latest(self.elapsed, now);
        for (level, mut slots) in due.into_iter().enumerate() {
            while slots != 0 {
                self.expire_list(level * SLOTS as usize + slots.trailing_zeros() as usize, out);
                slots &= slots - 1;
            }
        }
    }

    /// When [`expire`](Self::expire) has to be called next, from `now` on. Exact for a deadline
    /// less than 64 ticks ahead; one further away may need a call or more on the way.
    pub(crate) fn next_tick(&self, now: Tick) -> Option<Tick> {
        let [fine, coarse] = self.occupied;
        let ahead = [
            (fine != 0).then(|| fine.rotate_right(self.elapsed % SLOTS).trailing_zeros()),
            (coarse != 0).then(|| {
                let blocks = coarse.rotate_right(self.elapsed / SLOTS % SLOTS).trailing_zeros();
                blocks * SLOTS - self.elapsed % SLOTS
            }),
        ];
        let ahead = ahead.into_iter().flatten().min()?;
        Some(latest(self.elapsed.wrapping_add(ahead), now))
    }

    /// The value of `key`, if it is live.
    #[cfg(any(unix, test))]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        self.entries.get(key.0 as usize)?.value.as_ref()
    }

    /// All values, with and without a deadline, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| entry.value.as_ref())
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Moves on to `now` if nothing is missed by it, so that entries are placed relative to the
    /// present even when `expire` has not been called for long.
    fn catch_up(&mut self, now: Tick) {
        if self.occupied == [0; 2] {
            self.elapsed = now; // even after an idle time beyond half the range
        } else if self.due(now) == [0; 2] {
            self.elapsed = latest(self.elapsed, now);
        }
    }

    /// The lists that have to be looked at by `now`, one bit each.
    fn due(&self, now: Tick) -> [u64; 2] {
        if is_before(now, self.elapsed) {
            return [0; 2];
        }
        let ticks = now.wrapping_sub(self.elapsed);
        let blocks = (ticks + self.elapsed % SLOTS) / SLOTS;
        [
            self.occupied[0] & span(self.elapsed, ticks + 1),
            self.occupied[1] & span(self.elapsed / SLOTS + 1, blocks),
        ]
    }

    /// Empties a list: what is due goes to `out`, the rest back into the wheel.
    fn expire_list(&mut self, list: usize, out: &mut Vec<(Key, T)>)
    where
        T: Clone,
    {
        let mut index = self.heads[list];
        self.set_head(list, NIL);
        while index != NIL {
            let entry = &mut self.entries[index as usize];
            let next = entry.next;
            if is_before(self.elapsed, entry.at) {
                self.link(index);
            } else {
                entry.list = UNLINKED;
                out.push((Key(index), entry.value.clone().expect("a linked entry is live")));
            }
            index = next;
        }
    }

    /// Puts an entry at the head of the list of its deadline.
    fn link(&mut self, index: u32) {
        let list = self.place(self.entries[index as usize].at);
        let next = self.heads[list];
        self.set_head(list, index);
        if next != NIL {
            self.entries[next as usize].prev = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.prev, entry.next, entry.list) = (NIL, next, list as u8);
    }

    /// Takes an entry out of its list, if it is in one.
    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let (prev, next) = (entry.prev, entry.next);
        let list = mem::replace(&mut entry.list, UNLINKED);
        if list == UNLINKED {
            return;
        }
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        if prev != NIL {
            self.entries[prev as usize].next = next;
        } else {
            self.set_head(list.into(), next);
        }
    }

    fn set_head(&mut self, list: usize, index: u32) {
        self.heads[list] = index;
        let (level, bit) = (list / SLOTS as usize, 1 << (list % SLOTS as usize));
        if index == NIL {
            self.occupied[level] &= !bit;
        } else {
            self.occupied[level] |= bit;
        }
    }

    /// The list for a deadline.
    fn place(&self, at: Tick) -> usize {
        let ticks = latest(at, self.elapsed).wrapping_sub(self.elapsed);
        if ticks < SLOTS {
            return (self.elapsed.wrapping_add(ticks) % SLOTS) as usize;
        }
        let blocks = ((ticks + self.elapsed % SLOTS) / SLOTS).min(SLOTS - 1);
        (SLOTS + (self.elapsed / SLOTS + blocks) % SLOTS) as usize
    }

    /// Appends an entry; grows by a quarter, as doubling would leave half of the memory unused.
    fn push(&mut self, entry: Entry<T>) -> u32 {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() / 4).max(MIN_GROWTH));
        }
        let index = u32::try_from(self.entries.len()).ok().filter(|index| *index != NIL);
        self.entries.push(entry);
        index.expect("2^32 entries do not fit in memory")
    }
}

/// Names a value in a [`Wheel`] until it is removed; at first, none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

impl Key {
    /// The key of no value.
    pub(crate) const NONE: Self = Self(NIL);

    /// The key with this index.
    #[cfg(any(unix, test))]
    pub(crate) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(NIL))
    }

    /// Its number: small, and used again once the value is removed.
    #[cfg(any(unix, test))]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether this is the key of no value.
    pub(crate) fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::NONE
    }
}

/// 24 bytes for a pointer as value.
struct Entry<T> {
    value: Option<T>,
    at: Tick,
    /// Neighbours in the list; of a vacant entry, `next` is the next vacant one.
    prev: u32,
    next: u32,
    /// Level and slot of the list, or `UNLINKED`.
    list: u8,
}

/// Lists of a level, as many as an occupancy word has bits.
const SLOTS: u32 = u64::BITS;
const NIL: u32 = u32::MAX;
const UNLINKED: u8 = u8::MAX;
const MIN_GROWTH: usize = 16;

fn is_before(a: Tick, b: Tick) -> bool {
    a.wrapping_sub(b) > Tick::MAX / 2
}

fn latest(a: Tick, b: Tick) -> Tick {
    if is_before(a, b) { b } else { a }
}

/// `count` bits from bit `first` on, wrapping round.
fn span(first: u32, count: u32) -> u64 {
    let bits = if count < SLOTS { (1 << count) - 1 } else { u64::MAX };
    bits.rotate_left(first % SLOTS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_is_small_and_the_slack_a_quarter() {
        assert_eq!(size_of::<Entry<Arc<()>>>(), 24);
        let mut wheel = Wheel::new();
        for n in 0..10_000 {
            wheel.insert(Arc::new(()), n, 0);
            assert!(wheel.entries.capacity() <= wheel.len() + (wheel.len() / 4).max(MIN_GROWTH));
        }
    }

    #[test]
    fn a_key_is_live_until_removed() {
        let mut wheel = Wheel::new();
        assert!(Key::default().is_none());
        assert_eq!((wheel.get(Key::NONE), wheel.next_tick(7)), (None, None));
        let (a, b) = (wheel.insert('a', 3, 0), wheel.insert('b', 3, 0));
        assert_eq!(expired(&mut wheel, 2), []);
        assert_eq!(expired(&mut wheel, 3), [(b, 'b'), (a, 'a')]);
        assert_eq!((wheel.len(), wheel.get(a), wheel.next_tick(3)), (2, Some(&'a'), None));
        wheel.rearm(a, 4, 3);
        assert_eq!(wheel.remove(b), 'b');
        assert_eq!((wheel.get(b), wheel.iter().copied().collect::<String>()), (None, "a".into()));
        assert_eq!(wheel.insert('c', 9, 3), b, "a vacant entry is used again");
        assert_eq!(expired(&mut wheel, 4), [(a, 'a')]);
        assert_eq!((wheel.remove(a), wheel.remove(b)), ('a', 'c'));
        assert!(wheel.is_empty() && wheel.next_tick(4).is_none());
    }

    #[test]
    fn a_deadline_far_ahead_needs_few_calls() {
        for (minutes, most) in [(1, 2), (5, 4), (60, 30)] {
            let (mut wheel, mut now, mut calls) = (Wheel::new(), u32::MAX - 1000, 0);
            let at = now.wrapping_add(minutes * 60_000 / TICK_MS as u32);
            wheel.insert((), at, now);
            while let Some(tick) = wheel.next_tick(now) {
                (now, calls) = (tick, calls + 1);
                assert!(calls <= most, "{minutes} min: {calls} calls");
                expired(&mut wheel, now);
            }
            assert_eq!(now, at);
        }
    }

    #[test]
    fn an_idle_wheel_survives_half_the_range() {
        let mut wheel = Wheel::new();
        let key = wheel.insert((), 5, 0);
        assert_eq!(expired(&mut wheel, 5).len(), 1);
        let now = 3_000_000_000;
        wheel.rearm(key, now + 10, now);
        assert_eq!(wheel.next_tick(now), Some(now + 10));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(i32),
        Remove(usize),
        Rearm(usize, i32),
        /// Lets time pass, with `expire` at each tick that the wheel asks for.
        Run(u32),
        /// Lets time pass, without a call.
        Jump(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        let after = || prop_oneof![-70..70i32, 0..9000i32, 0..2_000_000i32, Just(i32::MAX / 2)];
        let time = || prop_oneof![0..4u32, 0..200u32, 0..20_000u32, 0..1_000_000u32];
        prop_oneof![
            4 => after().prop_map(Op::Insert),
            1 => any::<usize>().prop_map(Op::Remove),
            3 => (any::<usize>(), after()).prop_map(|(key, after)| Op::Rearm(key, after)),
            3 => time().prop_map(Op::Run),
            1 => time().prop_map(Op::Jump),
        ]
    }

    /// What a wheel should be: values by key, and when each is to come out.
    struct Model {
        wheel: Wheel<u32>,
        values: BTreeMap<u32, (u32, Option<u64>)>,
        inserted: u32,
        /// Without wrapping, which `tick` then adds.
        now: u64,
    }

    impl Model {
        fn tick(&self) -> Tick {
            self.now as Tick
        }

        fn apply(&mut self, op: Op) {
            match op {
                Op::Insert(after) => {
                    let (value, due) = (self.inserted, self.due(after));
                    let at = self.tick().wrapping_add_signed(after);
                    let key = self.wheel.insert(value, at, self.tick());
                    assert_eq!(self.values.insert(key.0, (value, Some(due))), None);
                    self.inserted += 1;
                }
                Op::Remove(nth) => {
                    if let Some(key) = self.key(nth) {
                        let value = self.wheel.remove(key);
                        assert_eq!(self.values.remove(&key.0).unwrap().0, value);
                    }
                }
                Op::Rearm(nth, after) => {
                    if let Some(key) = self.key(nth) {
                        let at = self.tick().wrapping_add_signed(after);
                        self.wheel.rearm(key, at, self.tick());
                        self.values.get_mut(&key.0).unwrap().1 = Some(self.due(after));
                    }
                }
                Op::Run(ticks) => {
                    let end = self.now + u64::from(ticks);
                    while let Some(ahead) = self.ahead().filter(|ahead| self.now + ahead <= end) {
                        self.now += ahead;
                        self.expire();
                    }
                    let first = self.values.values().filter_map(|(_, due)| *due).min();
                    assert!(first.is_none_or(|due| due > end), "late: {first:?} at {end}");
                    self.now = end;
                }
                Op::Jump(ticks) => self.now += u64::from(ticks),
            }
            assert_eq!(self.wheel.len(), self.values.len());
            // Keys ascend with the entries, so that both are in the same order.
            assert!(self.wheel.iter().eq(self.values.values().map(|(value, _)| value)));
        }

        /// When something armed now comes out: what is overdue, at once.
        fn due(&self, after: i32) -> u64 {
            self.now + after.max(0) as u64
        }

        fn ahead(&self) -> Option<u64> {
            let tick = self.wheel.next_tick(self.tick())?;
            Some(u64::from(tick.wrapping_sub(self.tick())))
        }

        fn key(&self, nth: usize) -> Option<Key> {
            self.values.keys().nth(nth % self.values.len().max(1)).map(|key| Key(*key))
        }

        fn expire(&mut self) {
            let mut want = Vec::new();
            for (key, (value, due)) in &mut self.values {
                if due.take_if(|due| *due <= self.now).is_some() {
                    want.push((*key, *value));
                }
            }
            let tick = self.tick();
            let got = expired(&mut self.wheel, tick);
            let mut got: Vec<_> = got.into_iter().map(|(key, value)| (key.0, value)).collect();
            got.sort();
            assert_eq!(got, want, "at {}", self.now);
            assert_ne!(self.ahead(), Some(0), "asks for a call that was made");
        }
    }

    fn expired<T: Clone>(wheel: &mut Wheel<T>, now: Tick) -> Vec<(Key, T)> {
        let mut out = Vec::new();
        wheel.expire(now, &mut out);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn nothing_is_early_late_or_lost(
            before_wrap in prop_oneof![0..100_000u32, any::<u32>()],
            ops in vec(op(), 1..60),
        ) {
            let now = u64::from(u32::MAX - before_wrap);
            let (wheel, values) = (Wheel::new(), BTreeMap::new());
            let mut model = Model { wheel, values, inserted: 0, now };
            for op in ops {
                model.apply(op);
            }
            model.apply(Op::Run(100_000));
            model.apply(Op::Jump(i32::MAX as u32 / 2));
            model.apply(Op::Run(0));
            assert!(model.values.values().all(|(_, due)| due.is_none()), "lost");
        }
    }
}
