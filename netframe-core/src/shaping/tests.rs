//! The buckets, with a time that the tests make up.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Ticks of the timer wheel: who waits is woken at the end of one.
const TICK: Duration = Duration::from_millis(crate::wheel::TICK_MS);

fn lane(own: Option<u64>, shared: Option<&Arc<SharedBucket>>, now: Instant) -> Lane {
    Lane {
        own: own.map(|rate| Bucket::new(rate, now)),
        shared: shared.cloned().map(|shared| (shared, Place::default())),
        granted: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    /// Some bytes are given back, as by a write that the peer did not take.
    #[test]
    fn no_window_has_more_than_its_time_and_a_second_s_worth(
        rate in prop_oneof![1..20u64, 1..3_000u64, 1..3_000_000_000u64],
        steps in vec((0..2_000u64, 1..2_000_000_000u64, 0..4u64), 1..60),
    ) {
        let start = Instant::now();
        let bucket = Bucket::new(rate, start);
        let (mut now, mut moved) = (start, Vec::new());
        for (millis, wanted, unused) in steps {
            now += Duration::from_millis(millis);
            let taken = bucket.take(wanted, now);
            prop_assert!(taken <= wanted && (taken > 0 || bucket.available(now) == 0));
            let unused = taken * unused / 4;
            moved.push((now, taken - unused));
            bucket.give_back(unused);
            prop_assert!(bucket.available(now) <= rate);
        }
        for (first, (begin, _)) in moved.iter().enumerate() {
            let mut sum = 0;
            for (end, bytes) in &moved[first..] {
                sum += bytes;
                let most = rate + bucket.worth(*end - *begin) + 1; // a part of a byte was there
                prop_assert!(sum <= most, "{sum} of {most} bytes in {:?}", *end - *begin);
            }
        }
    }

    #[test]
    fn a_wait_is_for_a_byte_and_not_longer(
        rate in prop_oneof![1..20u64, 1..3_000_000_000u64],
        millis in 0..100_000u64,
    ) {
        let start = Instant::now();
        let bucket = Bucket::new(rate, start);
        let now = start + Duration::from_millis(millis);
        prop_assert_eq!(bucket.take(u64::MAX, now), rate);
        prop_assert_eq!(bucket.take(1, now), 0);
        let then = now + bucket.wait(now);
        prop_assert!(then > now && then - now <= Duration::from_secs(1));
        prop_assert!(bucket.available(then - Duration::from_nanos(1)) == 0 || rate > 1_000_000_000);
        prop_assert!(bucket.available(then) > 0);
    }

    /// Over any time in which there is always something to send, not a byte of the rate is lost.
    #[test]
    fn nothing_is_lost_to_rounding(rate in 1..100_000_000u64, waits in vec(1..900u64, 100)) {
        let start = Instant::now();
        let bucket = Bucket::new(rate, start);
        let (mut now, mut sum) = (start, bucket.take(u64::MAX, start));
        for millis in waits {
            now += Duration::from_millis(millis);
            sum += bucket.take(u64::MAX, now);
        }
        prop_assert_eq!(sum, rate + bucket.worth(now - start));
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// Connections that always have something to send, which ask again when they were told to, late by
    /// a tick or two.
    #[test]
    fn those_that_share_a_bucket_get_the_same(
        rate in prop_oneof![200..5_000u64, 5_000..20_000_000u64],
        count in 2..40usize,
        wanted in 64 * 1024..2_000_000usize,
        late in vec(1..3u32, 97),
    ) {
        let start = Instant::now();
        let shared = Arc::new(SharedBucket::new(rate, start));
        let mut peers: Vec<_> = (0..count).map(|_| Peer::new(&shared, start)).collect();
        let mut late = late.iter().cycle();
        let mut run = |peers: &mut Vec<Peer>, from: u64, to: u64| {
            let (from, to) = (start + Duration::from_secs(from), start + Duration::from_secs(to));
            for peer in peers.iter_mut() {
                (peer.asks_at, peer.moved) = (peer.asks_at.max(from), 0);
            }
            while let Some(peer) = peers.iter_mut().min_by_key(|peer| peer.asks_at) {
                if peer.asks_at >= to {
                    break;
                }
                peer.ask(wanted, start, *late.next().unwrap());
            }
            let moved: Vec<_> = peers.iter().map(|peer| peer.moved).collect();
            (moved.iter().sum::<u64>(), *moved.iter().min().unwrap(), *moved.iter().max().unwrap())
        };
        run(&mut peers, 0, 30); // the burst goes to whoever comes first
        let (sum, least, most) = run(&mut peers, 30, 130);
        prop_assert!(sum.abs_diff(100 * rate) <= 2 * rate, "{sum} of {}", 100 * rate);
        prop_assert!(most <= 2 * least, "{least} and {most} of {sum}, {count} peers");

        // One of them is left, and has all of it.
        peers.truncate(1);
        run(&mut peers, 130, 132);
        let (sum, ..) = run(&mut peers, 132, 232);
        prop_assert!(sum.abs_diff(100 * rate) <= 2 * rate, "{sum} of {}", 100 * rate);
        drop(peers);
        prop_assert_eq!(shared.waiting.load(Ordering::Relaxed), 0);
    }
}

/// A connection that shares a bucket.
struct Peer {
    lane: Lane,
    asks_at: Instant,
    moved: u64,
}

impl Peer {
    fn new(shared: &Arc<SharedBucket>, now: Instant) -> Self {
        Self { lane: lane(None, Some(shared), now), asks_at: now, moved: 0 }
    }

    fn ask(&mut self, wanted: usize, start: Instant, late: u32) {
        match self.lane.take(wanted, self.asks_at) {
            Ok(bytes) => {
                self.moved += bytes as u64;
                self.lane.moved(bytes, true);
            }
            Err(wait) => {
                let at = (self.asks_at + wait - start).as_millis() / TICK.as_millis();
                self.asks_at = start + TICK * (at as u32 + late);
            }
        }
    }
}

#[test]
fn what_did_not_move_is_there_for_others() {
    let now = Instant::now();
    let shared = Arc::new(SharedBucket::new(1000, now));
    let mut one = lane(Some(600), Some(&shared), now);
    let mut other = lane(None, Some(&shared), now);
    assert_eq!(one.take(5000, now), Ok(600), "the less of both");
    assert_eq!(other.take(5000, now), Ok(400));
    one.moved(100, false);
    assert_eq!(shared.bucket.available(now), 500);
    assert_eq!(one.take(5000, now), Ok(500), "which is less than its share");
    drop((one, other));
    assert_eq!(shared.bucket.available(now), 900, "only what has moved is gone");
}

#[test]
fn who_does_not_wait_any_more_is_not_counted() {
    let now = Instant::now();
    let shared = Arc::new(SharedBucket::new(1000, now));
    let mut lanes: Vec<_> = (0..4).map(|_| lane(Some(10_000), Some(&shared), now)).collect();
    assert_eq!(lanes[0].take(5000, now), Ok(1000));
    lanes[0].moved(1000, true);
    for lane in &mut lanes {
        assert!(lane.take(5000, now).is_err());
    }
    let waiting = || shared.waiting.load(Ordering::Relaxed);
    assert_eq!(waiting(), 4);
    lanes[1].rest(); // it has nothing to move after all
    lanes[1].rest();
    assert_eq!(waiting(), 3);
    lanes.pop();
    assert_eq!(waiting(), 2);
    let now = now + Duration::from_millis(500);
    let first = lanes[0].take(5000, now).unwrap();
    lanes[0].moved(first, true);
    assert!(lanes[0].take(5000, now).is_err(), "another one waits");
    lanes[2].rest();
    lanes[0].rest();
    assert_eq!(waiting(), 0);
    assert_eq!(lanes[0].take(5000, now), Ok(500 - first), "nobody else does");
}

#[test]
fn turns_come_in_the_order_in_which_they_were_asked_for() {
    let now = Instant::now();
    let shared = Arc::new(SharedBucket::new(1000, now));
    let mut lanes: Vec<_> = (0..5).map(|_| lane(None, Some(&shared), now)).collect();
    assert_eq!(lanes[0].take(5000, now), Ok(1000));
    lanes[0].moved(1000, true);
    let waits: Vec<_> = lanes.iter_mut().map(|lane| lane.take(5000, now).unwrap_err()).collect();
    assert!(waits.is_sorted() && waits[0] < waits[1], "{waits:?}");
    // Whoever asks first then.
    let then = now + waits[1];
    assert_eq!(lanes[1].take(5000, then), Ok(125));
    assert!(lanes[2].take(5000, then).is_err());
    assert_eq!(lanes[0].take(5000, then), Ok(31));
    // The last has its turn at once when the others have gone.
    lanes.drain(..4);
    let then = now + Duration::from_millis(300);
    assert_eq!(lanes[0].take(5000, then), Ok(125));
}

/// Who moves less than its share is hardly held back by those who would move all.
#[test]
fn what_was_not_used_of_a_share_is_kept() {
    let start = Instant::now();
    let shared = Arc::new(SharedBucket::new(10_000, start));
    let mut greedy: Vec<_> = (0..9).map(|_| Peer::new(&shared, start)).collect();
    let mut modest = lane(None, Some(&shared), start);
    let mut queued = 0;
    for step in 1..10_000 {
        let now = start + Duration::from_millis(10) * step;
        for peer in greedy.iter_mut() {
            while peer.asks_at <= now {
                peer.ask(64 * 1024, start, 1);
            }
        }
        if step % 10 == 0 {
            queued += 50; // ten messages in a second are half of its share
        }
        if queued > 0
            && let Ok(bytes) = modest.take(64 * 1024, now)
        {
            let moved = bytes.min(queued);
            queued -= moved;
            modest.moved(moved, queued > 0);
        }
        // A round of the ten is half a second.
        assert!(queued <= 6 * 50, "{queued} bytes wait at {step}");
    }
    // What it gives back of its turns is not lost.
    let moved: u64 = greedy.iter().map(|peer| peer.moved).sum();
    assert!(moved >= 100 * (10_000 - 500) * 98 / 100, "{moved} bytes");
}

#[test]
fn a_wait_is_short_however_many_share() {
    let now = Instant::now();
    let shared = Arc::new(SharedBucket::new(1000, now));
    let mut first = lane(None, Some(&shared), now);
    assert_eq!(first.take(5000, now), Ok(1000));
    let mut lanes: Vec<_> = (0..10_000).map(|_| lane(None, Some(&shared), now)).collect();
    for lane in &mut lanes {
        assert!(lane.take(5000, now).unwrap_err() <= MAX_WAIT);
    }
}
