//! Happy Eyeballs, version 2 (RFC 8305): which address to try when, so that a broken one costs a
//! quarter of a second and not a timeout. [`HappyEyeballs`] has neither clock nor socket;
//! [`race`] runs it. Looking the name up is left to [`resolve`](crate::resolve).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::addr_errors::AddrErrors;
use crate::resolve::unique;

/// Time between the starts of two attempts: the recommended one of RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The attempts to reach one of several addresses.
///
/// Do what [`poll_step`](Self::poll_step) says until an attempt succeeds, and tell of each that
/// fails.
#[derive(Debug)]
struct HappyEyeballs {
    /// Not tried yet, in the order in which they will be.
    waiting: VecDeque<SocketAddr>,
    /// In the order in which they were started.
    attempts: Vec<Attempt>,
    /// When the next one is started though none has failed.
    next_start: Option<Instant>,
}

#[derive(Debug)]
struct Attempt {
    addr: SocketAddr,
    /// `None` while it runs.
    error: Option<io::Error>,
}

/// What is to be done now.
#[derive(Debug)]
enum Step {
    /// Start to connect to this address, then ask again.
    Start(SocketAddr),
    /// Wait for an attempt to end, up to this time if there is one, then ask again.
    Wait(Option<Instant>),
    /// Every attempt has failed.
    Fail(io::Error),
}

impl HappyEyeballs {
    /// Attempts at `addrs`, which are in order of preference.
    fn new(addrs: Vec<SocketAddr>) -> Self {
        Self { waiting: interleave(unique(addrs)), attempts: Vec::new(), next_start: None }
    }

    /// An attempt has ended without a connection: the next one need not wait any longer.
    fn handle_failed(&mut self, addr: SocketAddr, error: io::Error) {
        let running = |attempt: &&mut Attempt| attempt.addr == addr && attempt.error.is_none();
        if let Some(attempt) = self.attempts.iter_mut().find(running) {
            attempt.error = Some(error);
            self.next_start = None;
        }
    }

    fn poll_step(&mut self, now: Instant) -> Step {
        if self.next_start.is_none_or(|at| at <= now)
            && let Some(addr) = self.waiting.pop_front()
        {
            self.attempts.push(Attempt { addr, error: None });
            self.next_start = (!self.waiting.is_empty()).then(|| now + ATTEMPT_DELAY);
            return Step::Start(addr);
        }
        if self.attempts.iter().any(|attempt| attempt.error.is_none()) {
            return Step::Wait(self.next_start);
        }
        let attempts = self.attempts.drain(..);
        let errors: Vec<_> = attempts.filter_map(|a| Some((a.addr, a.error?))).collect();
        let addr_count = errors.len();
        Step::Fail(AddrErrors::into_io(errors, addr_count))
    }
}

/// Alternates the families, beginning with that of the first address; within a family the order
/// stays (RFC 8305, section 4, with a "First Address Family Count" of 1).
fn interleave(addrs: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_ipv4 = addrs.first().is_some_and(SocketAddr::is_ipv4);
    let (first, other): (Vec<_>, Vec<_>) =
        addrs.into_iter().partition(|addr| addr.is_ipv4() == first_is_ipv4);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut interleaved = VecDeque::new();
    loop {
        let pair = [first.next(), other.next()];
        if pair == [None, None] {
            return interleaved;
        }
        interleaved.extend(pair.into_iter().flatten());
    }
}

/// Connects to whichever of `addrs` answers first; the attempts at the others are dropped.
///
/// # Errors
///
/// None of them could be reached. It lists every attempt as [`AddrErrors`] if there were several.
///
/// # Cancel safety
///
/// Dropping the future drops all attempts.
pub(crate) async fn race<T, F>(
    addrs: Vec<SocketAddr>,
    mut connect: impl FnMut(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut race = HappyEyeballs::new(addrs);
    let mut running = Vec::new();
    loop {
        let ended = match race.poll_step(Instant::now()) {
            Step::Start(addr) => {
                running.push((addr, Box::pin(connect(addr))));
                continue;
            }
            Step::Wait(None) => poll_fn(|cx| poll_any(&mut running, cx)).await,
            Step::Wait(Some(at)) => {
                match timeout_at(at, poll_fn(|cx| poll_any(&mut running, cx))).await {
                    Ok(ended) => ended,
                    Err(_) => continue, // it is time for the next attempt
                }
            }
            Step::Fail(error) => return Err(error),
        };
        match ended {
            (_, Ok(connected)) => return Ok(connected),
            (addr, Err(error)) => {
                debug!(%addr, %error, "an attempt to connect failed");
                race.handle_failed(addr, error);
            }
        }
    }
}

/// The outcome of the first attempt that has one; that attempt is removed.
fn poll_any<F: Future>(
    running: &mut Vec<(SocketAddr, Pin<Box<F>>)>,
    cx: &mut Context<'_>,
) -> Poll<(SocketAddr, F::Output)> {
    for (i, (addr, attempt)) in running.iter_mut().enumerate() {
        if let Poll::Ready(outcome) = attempt.as_mut().poll(cx) {
            let addr = *addr;
            running.remove(i);
            return Poll::Ready((addr, outcome));
        }
    }
    Poll::Pending
}

#[cfg(test)]
mod tests;
