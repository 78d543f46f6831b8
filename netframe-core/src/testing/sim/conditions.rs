//! [`Conditions`]: how good or bad a network is.

use std::time::Duration;

use fastrand::Rng;

use crate::transport::mem::DEFAULT_CAPACITY;

/// What the network between two hosts does to what is sent. A chance is from 0 (never) to 1 (always).
///
/// The default is a network without faults: 1 ms one way, and every write arrives in one piece.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conditions {
    /// Time that bytes take from one host to the other, at least. The clock has milliseconds.
    pub latency: Duration,
    /// Time that they take more, at most; each piece a random part of it.
    pub spread: Duration,
    /// Bytes per second in each direction of a connection; `None` is no bound.
    pub bandwidth: Option<u64>,
    /// Bytes of each direction of a connection that are under way or unread, at most. Who writes
    /// more waits. Default 64 KiB.
    pub capacity: usize,
    /// Chance of each piece to get lost. Of a stream it is sent again, after 200 ms, and what is
    /// behind it waits; a datagram is gone.
    pub loss: f64,
    /// Chance of each datagram to arrive twice.
    pub duplication: f64,
    /// Chance of each datagram to take up to 200 ms more, so that others overtake it; `spread` alone
    /// lets those overtake each other that are sent close together.
    pub reordering: f64,
    /// Chance of each write to arrive in several pieces, each after a time of its own.
    pub fragments: f64,
    /// Chance of each read to return only a part of what is there.
    pub short_reads: f64,
    /// Chance of each write to take only a part of what it is given.
    pub short_writes: f64,
    /// Chance of each read and write to be not ready yet, though it is at the next attempt.
    pub stalls: f64,
    /// Chance of each piece to be answered by a reset of its connection, for both sides.
    pub resets: f64,
    /// Chance of each accept to fail, the connection with it (`ECONNABORTED`).
    pub accept_errors: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(1),
            spread: Duration::ZERO,
            bandwidth: None,
            capacity: DEFAULT_CAPACITY,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            fragments: 0.0,
            short_reads: 0.0,
            short_writes: 0.0,
            stalls: 0.0,
            resets: 0.0,
            accept_errors: 0.0,
        }
    }
}

impl Conditions {
    /// A network that is slow and cuts everything into pieces, but ends no connection.
    pub fn rough() -> Self {
        Self {
            latency: Duration::from_millis(5),
            spread: Duration::from_millis(50),
            loss: 0.02,
            duplication: 0.02,
            reordering: 0.05,
            fragments: 0.5,
            short_reads: 0.5,
            short_writes: 0.3,
            stalls: 0.2,
            ..Self::default()
        }
    }

    /// As [`rough`](Self::rough), and it resets connections and lets accepts fail.
    pub fn hostile() -> Self {
        Self { resets: 0.01, accept_errors: 0.05, ..Self::rough() }
    }

    /// A network that is bad in a way of its own: perfect, [rough](Self::rough) or
    /// [hostile](Self::hostile), near or far, with more or less room, and some with little bandwidth.
    pub fn random(rng: &mut Rng) -> Self {
        let kinds = [Self::default, Self::rough, Self::hostile];
        Self {
            latency: Duration::from_millis(rng.u64(0..20)),
            spread: Duration::from_millis(rng.u64(0..100)),
            capacity: [300, 4096, 16 * 1024, 64 * 1024][rng.usize(0..4)],
            stalls: rng.f64() / 2.0,
            bandwidth: (rng.u8(0..3) == 0).then_some(200_000),
            ..kinds[rng.usize(0..3)]()
        }
    }

    /// Ends no connection: neither resets nor errors of `accept`.
    pub fn without_ends(self) -> Self {
        Self { resets: 0.0, accept_errors: 0.0, ..self }
    }

    /// Time that one piece takes, lost and sent again as often as chance has it.
    pub(super) fn delay(&self, rng: &mut Rng) -> Duration {
        let mut delay = self.trip(rng);
        let mut again = Duration::from_millis(200);
        while hits(self.loss, rng) && again < Duration::from_secs(10) {
            delay += again;
            again *= 2;
        }
        delay
    }

    /// Time that one datagram takes.
    pub(super) fn datagram_delay(&self, rng: &mut Rng) -> Duration {
        let overtaken = hits(self.reordering, rng);
        let more = if overtaken { Duration::from_millis(200) } else { Duration::ZERO };
        self.trip(rng) + random_part(more, rng)
    }

    /// Time from one host to the other.
    fn trip(&self, rng: &mut Rng) -> Duration {
        self.latency + random_part(self.spread, rng)
    }

    /// Time that so many bytes keep the line busy.
    pub(super) fn transmission(&self, len: usize) -> Duration {
        match self.bandwidth {
            None => Duration::ZERO,
            Some(rate) => Duration::from_secs_f64(len as f64 / rate.max(1) as f64),
        }
    }
}

/// Whether something of this chance happens. What cannot happen, or must, asks no random number, so
/// that it does not change what else happens.
pub(super) fn hits(chance: f64, rng: &mut Rng) -> bool {
    chance > 0.0 && (chance >= 1.0 || rng.f64() < chance)
}

fn random_part(whole: Duration, rng: &mut Rng) -> Duration {
    if whole.is_zero() { whole } else { whole.mul_f64(rng.f64()) }
}
