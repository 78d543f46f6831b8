//! What the errors of one listener, or of one datagram socket, lead to: what is counted, what is told,
//! and how long it pauses.

use std::io;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::{AcceptError, Backoff, sort};
use crate::endpoint::Endpoint;
use crate::service::{Counters, Service};

/// Failed connections in a row after which there is a pause: they have another cause than their
/// peers.
const MAX_IN_A_ROW: usize = 64;

/// Pauses of one listener are warned of once in this time, as they may come twenty in a second for as
/// long as the lack lasts, and must not fill a disk.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// The errors of one listener or datagram socket, since it last worked.
#[derive(Debug)]
pub(crate) struct Failures {
    /// What it does, for the log.
    action: &'static str,
    backoff: Backoff,
    in_a_row: usize,
    warned: Option<Instant>,
}

/// What comes after an error that does not end the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on, once others have had their turn.
    GoOn,
    /// It waits for so long.
    Pause(Duration, Lack),
}

/// What a pause is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// No file descriptor is left.
    Descriptors,
    /// No memory is left, or the error is unknown.
    Resources,
    /// Nothing that is known of: connection after connection fails.
    Nothing,
}

impl Failures {
    /// `action` is what it does, as in "accepting pauses".
    pub(crate) fn new(action: &'static str) -> Self {
        Self { action, backoff: Backoff::default(), in_a_row: 0, warned: None }
    }

    /// It works.
    pub(crate) fn reset(&mut self) {
        self.backoff.reset();
        self.in_a_row = 0;
    }

    /// Counts an error, tells of it, and says what comes next.
    ///
    /// # Errors
    ///
    /// The error itself, if it is final.
    pub(crate) fn take(
        &mut self,
        error: io::Error,
        service: &Service,
        endpoint: &Endpoint,
    ) -> io::Result<Next> {
        let counters = &service.counters;
        let lack = match sort(&error) {
            AcceptError::OneConnection => {
                Counters::add(&counters.accept_errors);
                debug!(service = %service.name, %endpoint, %error, "{} failed", self.action);
                self.in_a_row += 1;
                if !self.in_a_row.is_multiple_of(MAX_IN_A_ROW) {
                    return Ok(Next::GoOn);
                }
                Lack::Nothing
            }
            AcceptError::NoDescriptors => {
                Counters::add(&counters.no_descriptors);
                Lack::Descriptors
            }
            AcceptError::NoResources => {
                Counters::add(&counters.no_resources);
                Lack::Resources
            }
            AcceptError::Fatal => return Err(error),
        };
        Counters::add(&counters.accept_pauses);
        self.warn(&error, service, endpoint);
        Ok(Next::Pause(self.backoff.next(), lack))
    }

    fn warn(&mut self, error: &io::Error, service: &Service, endpoint: &Endpoint) {
        let (now, action) = (Instant::now(), self.action);
        if self.warned.is_none_or(|warned| now - warned >= WARN_EVERY) {
            self.warned = Some(now);
            warn!(service = %service.name, %endpoint, %error, "{action} pauses");
        } else {
            debug!(service = %service.name, %endpoint, %error, "{action} pauses again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn failures_in_a_row_pause_and_success_starts_over() {
        let (service, endpoint) =
            (Service::new("x", Limits::default()), "mem://x".parse().unwrap());
        let mut failures = Failures::new("receiving");
        let fail = |failures: &mut Failures| {
            let error = io::Error::from_raw_os_error(libc::ENETDOWN);
            failures.take(error, &service, &endpoint).unwrap()
        };
        for pause in [50, 100, 200] {
            assert!((1..MAX_IN_A_ROW).all(|_| fail(&mut failures) == Next::GoOn));
            let pause = Next::Pause(Duration::from_millis(pause), Lack::Nothing);
            assert_eq!(fail(&mut failures), pause);
        }
        failures.reset();
        assert!((1..MAX_IN_A_ROW).all(|_| fail(&mut failures) == Next::GoOn));
        let first = Next::Pause(Duration::from_millis(50), Lack::Nothing);
        assert_eq!(fail(&mut failures), first);
    }
}
