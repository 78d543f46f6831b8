//! [`Admission`]: how many connections each peer may have, and how fast they may come.
//!
//! A peer is a prefix of IP addresses, as one party can have many of them, above all with IPv6.
//! Peers without an IP address, such as those of Unix sockets, are not counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::addr::Addr;
use crate::limits::{Limits, Quota};

/// Peers remembered before those that matter no more are looked for.
const FEW: usize = 1024;

/// The peers of one service, if any limit is about them.
#[derive(Debug)]
pub(crate) struct Admission {
    max: Option<usize>,
    rate: Option<usize>,
    prefixes: [u8; 2],
    peers: Mutex<Peers>,
}

#[derive(Debug, Default)]
struct Peers {
    by_prefix: HashMap<IpAddr, Peer>,
    /// How many there may be before the next look.
    look_at: usize,
}

#[derive(Debug)]
struct Peer {
    live: usize,
    bucket: Option<Bucket>,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The peer has as many as it may.
    TooMany,
    /// They come faster than they may.
    TooFast,
}

impl Admission {
    /// `None` if no limit is about single peers.
    pub(crate) fn new(limits: &Limits) -> Option<Self> {
        let max = limits.max_connections_per_peer.at_most();
        let rate = limits.accept_rate_per_peer.at_most();
        let prefixes = [limits.peer_prefix_v4, limits.peer_prefix_v6];
        let any = max.is_some() || rate.is_some();
        any.then(|| Self { max, rate, prefixes, peers: Mutex::default() })
    }

    /// Counts a connection of this peer, or says why there may be none.
    pub(crate) fn admit(&self, peer: &Addr) -> Result<(), Refusal> {
        let Some(prefix) = self.prefix(peer) else { return Ok(()) };
        let now = Instant::now();
        let mut peers = self.peers();
        peers.forget_old(now);
        let peer = peers.by_prefix.entry(prefix).or_insert_with(|| Peer {
            live: 0,
            bucket: self.rate.map(|rate| Bucket::new(rate, now)),
        });
        if self.max.is_some_and(|max| peer.live >= max) {
            return Err(Refusal::TooMany);
        }
        if let Some(bucket) = &mut peer.bucket {
            if bucket.wait(now).is_some() {
                return Err(Refusal::TooFast);
            }
            bucket.spend();
        }
        peer.live += 1;
        Ok(())
    }

    /// A connection of this peer has ended.
    pub(crate) fn leave(&self, peer: &Addr) {
        let Some(prefix) = self.prefix(peer) else { return };
        let mut peers = self.peers();
        if let Entry::Occupied(mut peer) = peers.by_prefix.entry(prefix) {
            let left = peer.get_mut();
            left.live = left.live.saturating_sub(1);
            if left.live == 0 && left.bucket.is_none() {
                peer.remove();
            }
        }
    }

    /// Connections of all peers that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.peers().by_prefix.values().map(|peer| peer.live).sum()
    }

    fn prefix(&self, peer: &Addr) -> Option<IpAddr> {
        let [v4, v6] = self.prefixes;
        Some(match peer.ip()? {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(v4)).unwrap_or(0);
                IpAddr::V4((ip.to_bits() & mask).into())
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(v6)).unwrap_or(0);
                IpAddr::V6((ip.to_bits() & mask).into())
            }
        })
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peers {
    /// Lets go of peers without a connection whose rate is what it was at first: all others there
    /// can be are bounded by the connections, and by the rate of the last second.
    fn forget_old(&mut self, now: Instant) {
        if self.by_prefix.len() < self.look_at.max(FEW) {
            return;
        }
        self.by_prefix.retain(|_, peer| {
            peer.live > 0 || peer.bucket.as_mut().is_some_and(|bucket| !bucket.is_full(now))
        });
        self.look_at = 2 * self.by_prefix.len();
    }
}

/// A token bucket: so many a second, and as many at once after a second's silence.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(rate: usize, now: Instant) -> Self {
        let rate = rate as f64;
        Self { rate, tokens: rate, filled: now }
    }

    /// The time until there is a token, if there is none.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        // Rounding must not make a wait of nothing.
        (self.tokens < 1.0 - 1e-9).then(|| {
            let time = Duration::from_secs_f64((1.0 - self.tokens) / self.rate);
            time.max(Duration::from_millis(1))
        })
    }

    /// Takes a token, which is a debt if there is none.
    fn spend(&mut self) {
        self.tokens -= 1.0;
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.rate
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.rate);
        self.filled = now;
    }
}

/// The rate at which a service accepts, over all its listeners and workers.
#[derive(Debug)]
pub(crate) struct Pace(Option<Mutex<Bucket>>);

impl Pace {
    pub(crate) fn new(rate: Quota) -> Self {
        Self(rate.at_most().map(|rate| Mutex::new(Bucket::new(rate, Instant::now()))))
    }

    /// The time until another connection may be accepted, if that is not now.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.bucket()?.wait(Instant::now())
    }

    /// One was accepted. Workers that accept at the same time all wait the longer for it.
    pub(crate) fn spend(&self) {
        if let Some(mut bucket) = self.bucket() {
            bucket.spend();
        }
    }

    fn bucket(&self) -> Option<MutexGuard<'_, Bucket>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn addr(ip: &str) -> Addr {
        SocketAddr::new(ip.parse().unwrap(), 40_000).into()
    }

    fn admission(change: impl FnOnce(&mut Limits)) -> Admission {
        let mut limits = Limits::default();
        change(&mut limits);
        Admission::new(&limits).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn each_prefix_has_its_own_count() {
        let peers = admission(|limits| {
            limits.max_connections_per_peer = Quota::AtMost(2);
        });
        for (one, same, other) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("10.0.0.3", "::ffff:10.0.0.3", "::ffff:10.0.0.4"),
            ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        ] {
            let (one, same, other) = (addr(one), addr(same), addr(other));
            assert_eq!(peers.admit(&one), Ok(()));
            assert_eq!(peers.admit(&same), Ok(()));
            assert_eq!(peers.admit(&one), Err(Refusal::TooMany));
            assert_eq!(peers.admit(&other), Ok(()));
            peers.leave(&same);
            assert_eq!(peers.admit(&one), Ok(()));
        }
        for _ in 0..10 {
            assert_eq!(peers.admit(&Addr::UNNAMED), Ok(()), "it is nobody in particular");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn prefixes_may_be_of_any_length() {
        for (v4, v6, others) in [(24, 48, 1), (0, 0, 0), (32, 128, 2)] {
            let peers = admission(|limits| {
                limits.max_connections_per_peer = Quota::AtMost(1);
                (limits.peer_prefix_v4, limits.peer_prefix_v6) = (v4, v6);
            });
            let ips = ["10.0.0.1", "10.0.0.2", "10.0.1.1"];
            let admitted = ips.iter().filter(|ip| peers.admit(&addr(ip)).is_ok()).count();
            assert_eq!(admitted, 1 + others, "/{v4}");
            let ips = ["2001:db8::1", "2001:db8::2", "2001:db8:1::1"];
            let admitted = ips.iter().filter(|ip| peers.admit(&addr(ip)).is_ok()).count();
            assert_eq!(admitted, 1 + others, "/{v6}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_allows_a_second_s_worth_at_once() {
        let peers = admission(|limits| limits.accept_rate_per_peer = Quota::AtMost(10));
        let one = addr("10.0.0.1");
        let admitted = |count: usize| (0..count).filter(|_| peers.admit(&one).is_ok()).count();
        assert_eq!(admitted(100), 10);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(admitted(100), 2);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(admitted(100), 10);
        assert_eq!(peers.admit(&addr("10.0.0.2")), Ok(()), "others have their own");
    }

    #[tokio::test(start_paused = true)]
    async fn what_matters_no_more_is_forgotten() {
        let peers = admission(|limits| limits.accept_rate_per_peer = Quota::AtMost(10));
        let stays = addr("10.0.0.1");
        peers.admit(&stays).unwrap();
        for second in 0..100_u32 {
            for n in 0..100 {
                let peer = addr(&format!("2001:db8:{second:x}:{n:x}::1"));
                peers.admit(&peer).unwrap();
                peers.leave(&peer);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let held = peers.peers().by_prefix.len();
        assert!(held <= 2 * FEW, "{held} of 10000 peers are remembered");
        assert!(peers.peers().by_prefix.contains_key(&stays.ip().unwrap()));
    }
}
