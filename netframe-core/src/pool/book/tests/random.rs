//! Random steps, and a world beside the book that knows which sockets there really are and who has
//! asked since when. It knows nothing of how the book decides.

use proptest::prelude::*;

use super::*;

const ENDPOINTS: [&str; 3] = ["mem://a", "mem://b", "mem://c"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn bounds_order_and_places_are_kept(
        (max_connections, max_per_endpoint, max_waiting) in (1usize..6, 1usize..4, 1usize..6),
        steps in prop::collection::vec((0u8..15, any::<u8>()), 1..150),
    ) {
        let mut world = World::new(PoolLimits {
            max_connections,
            max_per_endpoint,
            max_waiting,
            idle_timeout: (10 * SECOND).into(),
            max_lifetime: (25 * SECOND).into(),
            ..PoolLimits::default()
        });
        for (step, which) in steps {
            world.step(step, usize::from(which));
            world.check();
        }
        world.end();
    }
}

type Fx = Effects<PlaceId, PlaceId, usize>;

struct World {
    limits: PoolLimits,
    book: Book<PlaceId, PlaceId, usize>,
    now: Instant,
    asked: usize,
    /// Who waits, in the order of asking.
    queue: Vec<Asked>,
    /// By place, in what state those outside of the book have it.
    places: BTreeMap<PlaceId, (usize, Holder)>,
}

struct Asked {
    who: usize,
    ticket: Ticket,
    endpoint: usize,
}

/// Who is to say what becomes of a place next.
#[derive(Clone, Copy, Debug)]
enum Holder {
    Dials,
    /// It was granted, and has not been taken; whether it has ended.
    Granted(Rest, bool),
    Uses,
    /// The book has it, idle.
    Book,
    /// It has been told to close.
    Closes,
}

impl World {
    fn new(limits: PoolLimits) -> Self {
        Self {
            book: Book::new(limits.clone()),
            limits,
            now: Instant::now(),
            asked: 0,
            queue: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: u8, which: usize) {
        match step {
            0..=3 => self.ask(which % ENDPOINTS.len()),
            4 | 5 => self.with(which, |h| matches!(h, Holder::Dials), Self::dialled),
            6 => self.with(
                which,
                |h| matches!(h, Holder::Dials),
                |world, id| {
                    world.places.remove(&id);
                    world.change(|book, now, fx| book.undialled(id, vec![], now, fx));
                },
            ),
            7 => self.with(
                which,
                |h| matches!(h, Holder::Dials),
                |world, id| {
                    world.hold(id, Holder::Closes);
                    world.change(|book, now, fx| book.undialled(id, vec![id], now, fx));
                },
            ),
            8 | 9 => self.with(
                which,
                |h| matches!(h, Holder::Uses),
                |world, id| {
                    world.hold(id, Holder::Book);
                    let reusable = !which.is_multiple_of(5);
                    world.change(|book, now, fx| book.give_back(id, id, reusable, None, now, fx));
                },
            ),
            10 => self.with(
                which,
                |h| matches!(h, Holder::Uses),
                |world, id| {
                    world.hold(id, Holder::Closes);
                    world.change(|book, _, fx| book.let_go(id, id, fx));
                },
            ),
            11 => self.with(which, |h| matches!(h, Holder::Granted(..)), Self::answer),
            12 => self.with(which, |h| !matches!(h, Holder::Dials), Self::ends),
            13 if which.is_multiple_of(3) => {
                self.with(
                    which,
                    |h| !matches!(h, Holder::Dials),
                    |world, id| {
                        world.change(|book, _, fx| book.spent(id, fx));
                    },
                );
            }
            13 if !self.queue.is_empty() => {
                let left = self.queue.remove(which % self.queue.len());
                assert_eq!(self.book.leave(left.ticket), Some(left.who));
            }
            _ => {
                self.now += Duration::from_millis(which as u64 * 20);
                self.change(|book, now, fx| book.next_expiry(now, fx));
            }
        }
    }

    fn ask(&mut self, endpoint: usize) {
        self.asked += 1;
        let (who, at) = (self.asked, Arc::new(ENDPOINTS[endpoint].parse().unwrap()));
        let must_wait = !self.is_at_once(endpoint);
        let full = self.queue.len() == self.limits.max_waiting;
        // The grant may be among the effects, so that it is in the queue before.
        self.queue.push(Asked { who, ticket: 0, endpoint });
        match self.change(|book, now, fx| book.join(&at, who, now, fx)) {
            Ok(ticket) => {
                assert!(!(full && must_wait), "too many wait");
                if let Some(asked) = self.queue.iter_mut().find(|asked| asked.who == who) {
                    asked.ticket = ticket;
                }
            }
            Err(refused) => {
                assert_eq!(refused, Refused::TooManyWaiting);
                assert!(full, "refused without need");
                self.queue.retain(|asked| asked.who != who);
            }
        }
    }

    /// As far as is known before what is over expires.
    fn is_at_once(&self, endpoint: usize) -> bool {
        let has_idle =
            |(at, holder): &(usize, Holder)| *at == endpoint && matches!(holder, Holder::Book);
        self.places.values().any(has_idle) || self.has_room(endpoint)
    }

    fn has_room(&self, endpoint: usize) -> bool {
        self.places.len() < self.limits.max_connections
            && self.of(endpoint) < self.limits.max_per_endpoint
    }

    fn of(&self, endpoint: usize) -> usize {
        self.places.values().filter(|(at, _)| *at == endpoint).count()
    }

    fn dialled(&mut self, id: PlaceId) {
        self.hold(id, Holder::Uses);
        self.change(|book, now, _| book.dialled(id, vec![id], now));
    }

    /// Whoever was granted an idle connection takes it, declines it, replaces it, or goes away.
    fn answer(&mut self, id: PlaceId) {
        let Holder::Granted(rest, ended) = self.places[&id].1 else { unreachable!() };
        match (id as usize + self.asked) % 4 {
            0 => {
                self.hold(id, Holder::Uses);
                if ended {
                    self.places.remove(&id);
                }
                self.change(|book, now, fx| book.taken(id, now, fx));
            }
            1 => {
                self.hold(id, Holder::Closes);
                if ended {
                    self.places.remove(&id);
                }
                self.change(|book, now, fx| book.declined(id, now, fx));
            }
            2 if ended => {
                let (endpoint, _) = self.places.remove(&id).unwrap();
                let next = self.change(|book, _, _| book.replaced(id));
                self.places.insert(next, (endpoint, Holder::Dials));
            }
            _ => {
                self.hold(id, Holder::Book);
                if ended {
                    self.places.remove(&id);
                }
                self.change(|book, now, fx| book.give_back(id, id, true, Some(rest), now, fx));
            }
        }
    }

    /// A connection ends: its socket is gone.
    fn ends(&mut self, id: PlaceId) {
        if let Holder::Granted(_, ended) = &mut self.places.get_mut(&id).unwrap().1 {
            *ended = true;
        } else {
            self.places.remove(&id);
        }
        self.change(|book, now, fx| book.ended(id, now, fx));
    }

    fn hold(&mut self, id: PlaceId, holder: Holder) {
        self.places.get_mut(&id).unwrap().1 = holder;
    }

    fn with(
        &mut self,
        which: usize,
        which_of: impl Fn(&Holder) -> bool,
        then: impl FnOnce(&mut Self, PlaceId),
    ) {
        let ids: Vec<_> = self
            .places
            .iter()
            .filter(|(_, (_, holder))| which_of(holder))
            .map(|(id, _)| *id)
            .collect();
        if !ids.is_empty() {
            then(self, ids[which % ids.len()]);
        }
    }

    fn change<R>(
        &mut self,
        change: impl FnOnce(&mut Book<PlaceId, PlaceId, usize>, Instant, &mut Fx) -> R,
    ) -> R {
        let mut fx = Effects::default();
        let result = change(&mut self.book, self.now, &mut fx);
        // What was closed is not what is granted, so that the order of the two is of no account.
        for (id, _) in fx.close {
            if let Some((_, holder)) = self.places.get_mut(&id) {
                *holder = Holder::Closes;
            }
        }
        for grant in fx.grants {
            self.granted(grant);
        }
        result
    }

    fn granted(&mut self, grant: Grant<PlaceId, usize>) {
        let position = self.queue.iter().position(|asked| asked.who == grant.to).unwrap();
        let asked = self.queue.remove(position);
        let passed_over = &self.queue[..position];
        assert!(passed_over.iter().all(|other| other.endpoint != asked.endpoint), "out of turn");
        let holder = match grant.idle {
            Some((conn, rest)) => {
                assert_eq!(conn, grant.id);
                let held = self.places[&grant.id];
                assert!(held.0 == asked.endpoint && matches!(held.1, Holder::Book), "{held:?}");
                Holder::Granted(rest, false)
            }
            None => {
                let passed_over = passed_over.iter().map(|other| other.endpoint);
                let could = passed_over.filter(|at| self.of(*at) < self.limits.max_per_endpoint);
                assert_eq!(could.count(), 0, "a place was given out of turn");
                Holder::Dials
            }
        };
        self.places.insert(grant.id, (asked.endpoint, holder));
    }

    fn check(&self) {
        let limits = &self.limits;
        assert!(self.places.len() <= limits.max_connections);
        assert!(self.queue.len() <= limits.max_waiting);
        let status = self.book.status();
        for (index, name) in ENDPOINTS.into_iter().enumerate() {
            assert!(self.of(index) <= limits.max_per_endpoint);
            let told = status.endpoints.iter().find(|(endpoint, _)| endpoint.to_string() == name);
            assert_eq!(told.map(|told| told.1).unwrap_or_default(), self.counts(Some(index)));
        }
        assert_eq!(status.total, self.counts(None));
        self.check_who_waits();
    }

    /// Nobody waits who could proceed, or for whom an idle connection could be closed.
    fn check_who_waits(&self) {
        let idle = self.counts(None).idle;
        let hurried = self.book.hurried;
        let mut need_room = [0; ENDPOINTS.len()];
        for asked in &self.queue {
            assert!(!self.is_at_once(asked.endpoint), "{} waits in vain", asked.who);
            need_room[asked.endpoint] += 1;
        }
        let needed: usize = (0..ENDPOINTS.len())
            .map(|at| need_room[at].min(self.limits.max_per_endpoint - self.of(at)))
            .sum();
        assert!(
            needed <= hurried || idle == 0,
            "{needed} need room, {hurried} make it, {idle} idle"
        );
    }

    fn counts(&self, endpoint: Option<usize>) -> PoolCounts {
        let mut counts = PoolCounts::default();
        let is_of = |at: usize| endpoint.is_none_or(|endpoint| endpoint == at);
        for (_, holder) in self.places.values().filter(|(at, _)| is_of(*at)) {
            *match holder {
                Holder::Dials => &mut counts.dialling,
                Holder::Granted(..) | Holder::Uses => &mut counts.in_use,
                Holder::Book => &mut counts.idle,
                Holder::Closes => &mut counts.closing,
            } += 1;
        }
        counts.waiting = self.queue.iter().filter(|asked| is_of(asked.endpoint)).count();
        counts
    }

    /// Everything comes to its end, and nothing is left of it.
    fn end(mut self) {
        self.change(|book, _, fx| book.shut(fx));
        self.queue.clear();
        while let Some((&id, &(_, holder))) = self.places.first_key_value() {
            match holder {
                Holder::Dials => self.dialled(id),
                Holder::Granted(_, false) => self.ends(id),
                Holder::Granted(..) => {
                    self.places.remove(&id);
                    self.change(|book, now, fx| book.declined(id, now, fx));
                }
                _ => self.ends(id),
            }
            self.check();
        }
        let book = &self.book;
        assert_eq!((book.size(), book.hurried, book.sites.len()), (0, 0, 0));
        assert_eq!((book.rested.len(), book.expiries.len(), book.waiting.len()), (0, 0, 0));
    }
}
