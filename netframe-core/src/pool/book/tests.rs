//! Tables of what happens to a book, and random ones, after each step of which everything that is
//! promised is looked at.

mod random;

use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_latest_that_came_back_is_taken_first() {
    let mut desk = Desk::new(|limits| limits.max_per_endpoint = 3);
    let [a, b, c] = ["1", "2", "3"].map(|who| desk.open(who, "mem://x"));
    desk.back(b);
    desk.back(a);
    desk.back(c);
    let takers = ["4", "5", "6"].map(|who| {
        desk.ask(who, "mem://x");
        desk.grant(who).0
    });
    assert_eq!(takers, [c, a, b]);
}

#[test]
fn who_waits_is_served_in_order() {
    let mut desk = Desk::new(|limits| limits.max_per_endpoint = 1);
    let only = desk.open("1", "mem://x");
    for who in ["2", "3", "4"] {
        desk.ask(who, "mem://x");
        assert!(desk.nobody_is_served());
    }
    for who in ["2", "3", "4"] {
        desk.back(only);
        assert_eq!(desk.grant(who), (only, true));
        assert!(desk.nobody_is_served());
    }
}

#[test]
fn who_left_is_passed_over() {
    let mut desk = Desk::new(|limits| limits.max_per_endpoint = 1);
    let only = desk.open("1", "mem://x");
    let left = desk.ask("2", "mem://x");
    desk.ask("3", "mem://x");
    assert_eq!(desk.book.leave(left), Some("2"));
    assert_eq!(desk.book.leave(left), None);
    desk.back(only);
    assert_eq!(desk.grant("3"), (only, true));
}

#[test]
fn a_place_is_taken_until_its_connection_has_ended() {
    let mut desk = Desk::new(|limits| limits.max_connections = 1);
    let first = desk.open("1", "mem://x");
    desk.ask("2", "mem://x");
    desk.change(|book, _, fx| book.let_go(first, "conn", fx));
    assert!(desk.nobody_is_served());
    assert_eq!(desk.counts().closing, 1);
    desk.change(|book, now, fx| book.ended(first, now, fx));
    let (second, reused) = desk.grant("2");
    assert!(second != first && !reused);
    assert_eq!(desk.counts().dialling, 1);
}

#[test]
fn what_fails_to_dial_makes_room_for_the_next() {
    let mut desk = Desk::new(|limits| limits.max_connections = 1);
    desk.ask("1", "mem://x");
    desk.ask("2", "mem://y");
    let (first, _) = desk.grant("1");
    desk.change(|book, now, fx| book.undialled(first, vec![], now, fx));
    let (second, reused) = desk.grant("2");
    assert!(!reused);
    // This one had opened something that has not ended yet.
    desk.ask("3", "mem://x");
    desk.change(|book, now, fx| book.undialled(second, vec![second], now, fx));
    assert!(desk.nobody_is_served());
    desk.change(|book, now, fx| book.ended(second, now, fx));
    desk.grant("3");
}

#[test]
fn the_longest_idle_of_another_endpoint_makes_room() {
    let mut desk = Desk::new(|limits| limits.max_connections = 3);
    let [x, y, z] = [("1", "mem://x"), ("2", "mem://y"), ("3", "mem://z")]
        .map(|(who, endpoint)| desk.open(who, endpoint));
    for id in [y, z, x] {
        desk.back(id);
    }
    desk.ask("4", "mem://new");
    assert_eq!(desk.closed(), [(y, true)]);
    desk.ask("5", "mem://z"); // this one is still there
    assert_eq!(desk.grant("5"), (z, true));
    assert!(desk.nobody_is_served() && desk.closed().is_empty());
    desk.change(|book, now, fx| book.ended(y, now, fx));
    assert!(!desk.grant("4").1);
    assert_eq!(desk.book.stats.evicted, 1);
}

#[test]
fn one_connection_is_closed_for_each_who_needs_its_place() {
    let mut desk = Desk::new(|limits| limits.max_connections = 3);
    let ids = ["1", "2", "3"].map(|who| desk.open(who, "mem://x"));
    for id in ids {
        desk.back(id);
    }
    desk.ask("4", "mem://y");
    desk.ask("5", "mem://y");
    assert_eq!(desk.closed(), [(ids[0], true), (ids[1], true)]);
    desk.change(|book, now, fx| book.ended(ids[1], now, fx));
    desk.grant("4");
    desk.change(|book, now, fx| book.ended(ids[0], now, fx));
    desk.grant("5");
    assert!(desk.closed().is_empty() && desk.counts().idle == 1);
}

#[test]
fn a_busy_endpoint_does_not_starve_another() {
    let mut desk = Desk::new(|limits| limits.max_connections = 1);
    let busy = desk.open("1", "mem://busy");
    desk.ask("2", "mem://rare");
    desk.ask("3", "mem://busy");
    desk.back(busy);
    assert_eq!(desk.closed(), [(busy, true)]);
    desk.change(|book, now, fx| book.ended(busy, now, fx));
    let (rare, _) = desk.grant("2");
    assert!(desk.nobody_is_served());
    desk.change(|book, now, fx| book.undialled(rare, vec![], now, fx));
    desk.grant("3");
}

#[test]
fn an_endpoint_that_has_all_it_may_holds_nobody_up() {
    let mut desk = Desk::new(|limits| {
        limits.max_connections = 2;
        limits.max_per_endpoint = 1;
    });
    desk.open("1", "mem://x");
    desk.ask("2", "mem://x");
    desk.ask("3", "mem://y");
    assert!(!desk.grant("3").1);
    assert!(desk.nobody_is_served());
}

#[test]
fn so_many_wait_and_no_more() {
    let mut desk = Desk::new(|limits| {
        limits.max_connections = 3;
        limits.max_per_endpoint = 1;
        limits.max_waiting = 2;
    });
    let x = desk.open("1", "mem://x");
    desk.ask("2", "mem://x");
    desk.ask("3", "mem://x");
    assert_eq!(desk.try_ask("4", "mem://x"), Err(Refused::TooManyWaiting));
    // Who need not wait is not refused, with a new place or with an idle one.
    let y = desk.open("5", "mem://y");
    desk.back(y);
    desk.ask("6", "mem://y");
    assert_eq!(desk.grant("6"), (y, true));
    assert_eq!(desk.try_ask("7", "mem://y"), Err(Refused::TooManyWaiting));
    desk.back(x);
    desk.grant("2");
    desk.ask("8", "mem://x");
    assert_eq!((desk.counts().waiting, desk.book.stats.refused), (2, 2));
}

#[test]
fn idle_ones_expire() {
    let mut desk = Desk::new(|limits| limits.idle_timeout = (10 * SECOND).into());
    let [x, y] = ["1", "2"].map(|who| desk.open(who, "mem://x"));
    desk.back(x);
    desk.pass(4 * SECOND);
    desk.back(y);
    assert_eq!(desk.next_expiry(), Some(6 * SECOND));
    desk.pass(6 * SECOND);
    assert_eq!(desk.next_expiry(), Some(4 * SECOND));
    assert_eq!(desk.closed(), [(x, true)]);
    // Nobody gets one that is over, also if the timer is late.
    desk.pass(4 * SECOND);
    desk.ask("3", "mem://x");
    assert_eq!(desk.closed(), [(y, true)]);
    assert!(!desk.grant("3").1);
    assert_eq!((desk.next_expiry(), desk.book.stats.expired), (None, 2));
}

#[test]
fn old_ones_are_not_used_again() {
    let mut desk = Desk::new(|limits| {
        limits.max_lifetime = (20 * SECOND).into();
        limits.idle_timeout = Timeout::Never;
    });
    let [x, y] = ["1", "2"].map(|who| desk.open(who, "mem://x"));
    desk.pass(19 * SECOND);
    desk.back(x);
    assert_eq!(desk.next_expiry(), Some(SECOND));
    desk.pass(SECOND);
    desk.back(y);
    assert_eq!(desk.closed(), [(y, false)]);
    assert_eq!(desk.next_expiry(), None);
    assert_eq!(desk.closed(), [(x, true)]);
    assert_eq!(desk.book.stats.expired, 2);
}

#[test]
fn what_was_not_used_is_as_old_as_before() {
    let mut desk = Desk::new(|limits| limits.idle_timeout = (10 * SECOND).into());
    let [x, y] = ["1", "2"].map(|who| desk.open(who, "mem://x"));
    desk.back(x);
    desk.back(y);
    desk.pass(3 * SECOND);
    desk.ask("3", "mem://x");
    let grant = desk.grants.pop().unwrap();
    let (conn, rest) = grant.idle.unwrap();
    assert_eq!(grant.id, y);
    desk.change(|book, now, fx| book.give_back(y, conn, true, Some(rest), now, fx));
    assert_eq!(desk.next_expiry(), Some(7 * SECOND));
    desk.ask("4", "mem://x");
    assert_eq!(desk.grant("4"), (y, true));
}

#[test]
fn dead_ones_are_noticed_while_idle_and_in_use() {
    let mut desk = Desk::new(|_| {});
    let [x, y] = ["1", "2"].map(|who| desk.open(who, "mem://x"));
    desk.back(x);
    desk.change(|book, _, fx| book.spent(x, fx));
    assert_eq!(desk.closed(), [(x, true)]);
    desk.change(|book, _, fx| book.spent(y, fx));
    assert_eq!(desk.counts().in_use, 1, "its user is not disturbed");
    desk.back(y);
    assert_eq!((desk.closed(), desk.counts().closing), (vec![(y, false)], 2));
    assert_eq!(desk.book.stats.found_dead, 1);
    desk.change(|book, now, fx| book.ended(x, now, fx));
    desk.change(|book, now, fx| book.ended(y, now, fx));
    assert_eq!((desk.book.size(), desk.book.sites.len(), desk.dropped), (0, 0, 2));
}

#[test]
fn one_that_ends_on_its_way_to_its_user_keeps_its_place_for_another() {
    let mut desk = Desk::new(|limits| limits.max_connections = 1);
    let old = desk.open("1", "mem://x");
    desk.back(old);
    desk.ask("2", "mem://x");
    desk.ask("3", "mem://y");
    assert_eq!(desk.grant_untaken("2"), old);
    desk.change(|book, now, fx| book.ended(old, now, fx));
    assert!(desk.nobody_is_served());
    let new = desk.change(|book, _, _| book.replaced(old));
    assert_eq!((new > old, desk.counts().dialling), (true, 1));
    desk.change(|book, now, fx| book.undialled(new, vec![], now, fx));
    desk.grant("3");
}

#[test]
fn one_that_is_declined_frees_its_place_when_it_has_ended() {
    for ends_first in [true, false] {
        let mut desk = Desk::new(|limits| limits.max_connections = 1);
        let old = desk.open("1", "mem://x");
        desk.back(old);
        desk.ask("2", "mem://x");
        desk.ask("3", "mem://y");
        desk.grant_untaken("2");
        if ends_first {
            desk.change(|book, now, fx| book.ended(old, now, fx));
            desk.change(|book, now, fx| book.declined(old, now, fx));
        } else {
            desk.change(|book, now, fx| book.declined(old, now, fx));
            assert!(desk.nobody_is_served());
            desk.change(|book, now, fx| book.ended(old, now, fx));
        }
        desk.grant("3");
    }
}

#[test]
fn a_pool_that_is_shut_keeps_nothing() {
    let mut desk = Desk::new(|limits| limits.max_per_endpoint = 2);
    let [x, y] = ["1", "2"].map(|who| desk.open(who, "mem://x"));
    desk.ask("3", "mem://x");
    desk.back(x);
    assert_eq!(desk.grant("3").0, x);
    desk.back(x);
    desk.ask("4", "mem://x");
    desk.grant_untaken("4");
    desk.ask("5", "mem://x");
    desk.change(|book, _, fx| book.shut(fx));
    assert_eq!(desk.dismissed, ["5"]);
    assert_eq!(desk.try_ask("6", "mem://x"), Err(Refused::Closed));
    desk.back(y);
    assert_eq!(desk.closed(), [(y, false)]);
    desk.change(|book, now, fx| book.ended(y, now, fx));
    assert!(!desk.empty);
    desk.change(|book, now, fx| book.ended(x, now, fx));
    desk.change(|book, now, fx| book.declined(x, now, fx));
    assert!(desk.empty && desk.book.sites.is_empty());
}

#[test]
fn the_timer_is_woken_for_what_expires_sooner_only() {
    let mut desk = Desk::new(|limits| {
        limits.idle_timeout = (10 * SECOND).into();
        limits.max_lifetime = (12 * SECOND).into();
    });
    let old = desk.open("1", "mem://x");
    desk.pass(5 * SECOND);
    let new = desk.open("2", "mem://x");
    assert_eq!(desk.next_expiry(), None);
    desk.back(new);
    assert!(std::mem::take(&mut desk.alarm), "expires in 10 s");
    assert_eq!(desk.next_expiry(), Some(10 * SECOND));
    desk.back(old);
    assert!(std::mem::take(&mut desk.alarm), "expires in 7 s");
    assert_eq!(desk.next_expiry(), Some(7 * SECOND));
    desk.ask("3", "mem://x");
    desk.grant("3");
    desk.back(old);
    assert!(!desk.alarm, "the timer looks in time");
}

/// A book, and what its effects came to so far. Connections are reached by the numbers of their
/// places.
struct Desk {
    book: Book<&'static str, PlaceId, &'static str>,
    now: Instant,
    grants: Vec<Grant<&'static str, &'static str>>,
    close: Vec<(PlaceId, bool)>,
    dismissed: Vec<&'static str>,
    dropped: usize,
    alarm: bool,
    empty: bool,
}

impl Desk {
    fn new(change: impl FnOnce(&mut PoolLimits)) -> Self {
        let mut limits = PoolLimits::default();
        change(&mut limits);
        Self {
            book: Book::new(limits),
            now: Instant::now(),
            grants: Vec::new(),
            close: Vec::new(),
            dismissed: Vec::new(),
            dropped: 0,
            alarm: false,
            empty: false,
        }
    }

    fn change<R>(
        &mut self,
        change: impl FnOnce(
            &mut Book<&'static str, PlaceId, &'static str>,
            Instant,
            &mut Effects<&'static str, PlaceId, &'static str>,
        ) -> R,
    ) -> R {
        let mut fx = Effects::default();
        let result = change(&mut self.book, self.now, &mut fx);
        self.grants.extend(fx.grants);
        self.close.extend(fx.close);
        self.dismissed.extend(fx.dismissed);
        self.dropped += fx.dropped.len();
        self.alarm |= fx.alarm;
        self.empty |= fx.empty;
        result
    }

    fn ask(&mut self, who: &'static str, endpoint: &str) -> Ticket {
        self.try_ask(who, endpoint).unwrap()
    }

    fn try_ask(&mut self, who: &'static str, endpoint: &str) -> Result<Ticket, Refused> {
        let endpoint = Arc::new(endpoint.parse().unwrap());
        self.change(|book, now, fx| book.join(&endpoint, who, now, fx))
    }

    /// Asks, gets a place at once, and dials.
    fn open(&mut self, who: &'static str, endpoint: &str) -> PlaceId {
        self.ask(who, endpoint);
        let (id, reused) = self.grant(who);
        assert!(!reused);
        self.change(|book, now, _| book.dialled(id, vec![id], now));
        id
    }

    /// The one grant there is, which is for `who`; an idle connection is taken.
    #[track_caller]
    fn grant(&mut self, who: &str) -> (PlaceId, bool) {
        let grant = self.grants.pop().expect("a grant");
        assert_eq!((grant.to, self.grants.len()), (who, 0));
        let (id, reused) = (grant.id, grant.idle.is_some());
        if reused {
            self.change(|book, now, fx| book.taken(id, now, fx));
        }
        (id, reused)
    }

    /// The same, and it is not taken yet.
    fn grant_untaken(&mut self, who: &str) -> PlaceId {
        let grant = self.grants.pop().unwrap();
        assert_eq!((grant.to, grant.idle.is_some()), (who, true));
        grant.id
    }

    fn nobody_is_served(&self) -> bool {
        self.grants.is_empty()
    }

    fn back(&mut self, id: PlaceId) {
        self.change(|book, now, fx| book.give_back(id, "conn", true, None, now, fx));
    }

    /// What was to be closed since the last call.
    fn closed(&mut self) -> Vec<(PlaceId, bool)> {
        std::mem::take(&mut self.close)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn next_expiry(&mut self) -> Option<Duration> {
        let now = self.now;
        self.change(|book, now, fx| book.next_expiry(now, fx)).map(|at| at - now)
    }

    fn counts(&self) -> PoolCounts {
        self.book.status().total
    }
}
