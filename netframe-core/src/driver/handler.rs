//! One callback of a protocol as a future: whichever it is, an idle connection keeps room for the
//! largest only.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use pin_project_lite::pin_project;

use crate::connection::Event;
use crate::protocol::{Protocol, Result};
use crate::transport::Transport;

/// How a callback ended.
pub(super) enum Verdict {
    Returned(Result),
    Panicked(Panic),
    /// It was dropped while it was pending.
    Interrupted,
}

/// What a panic carries.
pub(crate) type Panic = Box<dyn Any + Send>;

/// Calls the callback for `event`. The future catches its panics.
pub(super) fn handle<'a, P: Protocol>(
    event: Event,
    protocol: &'a mut P,
    t: &'a mut dyn Transport,
    data: &'a mut BytesMut,
) -> impl Future<Output = Verdict> + Send + 'a {
    // A callback that is no `async fn` may panic before there is a future.
    let handler = caught(move || match event {
        Event::Made => Handler::Made { future: protocol.connection_made(t) },
        Event::Data => Handler::Data { future: protocol.data_received(t, data) },
        Event::Eof => Handler::Eof { future: protocol.eof_received(t, data) },
        Event::Notified => Handler::Notified { future: protocol.notified(t) },
        Event::TimedOut => Handler::TimedOut { future: protocol.timed_out(t) },
        Event::Draining => Handler::Draining { future: protocol.draining(t) },
    });
    handler.unwrap_or_else(|panic| Handler::Panicked { panic: Some(panic) })
}

pin_project! {
    #[project = Projected]
    enum Handler<A, B, C, D, E, F> {
        Made { #[pin] future: A },
        Data { #[pin] future: B },
        Eof { #[pin] future: C },
        Notified { #[pin] future: D },
        TimedOut { #[pin] future: E },
        Draining { #[pin] future: F },
        Panicked { panic: Option<Panic> },
    }
}

impl<A, B, C, D, E, F> Future for Handler<A, B, C, D, E, F>
where
    A: Future<Output = Result>,
    B: Future<Output = Result>,
    C: Future<Output = Result>,
    D: Future<Output = Result>,
    E: Future<Output = Result>,
    F: Future<Output = Result>,
{
    type Output = Verdict;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        let polled = caught(|| match self.project() {
            Projected::Made { future } => future.poll(cx),
            Projected::Data { future } => future.poll(cx),
            Projected::Eof { future } => future.poll(cx),
            Projected::Notified { future } => future.poll(cx),
            Projected::TimedOut { future } => future.poll(cx),
            Projected::Draining { future } => future.poll(cx),
            Projected::Panicked { panic } => {
                std::panic::resume_unwind(panic.take().expect("polled once, as it is ready"))
            }
        });
        match polled {
            Ok(Poll::Ready(result)) => Poll::Ready(Verdict::Returned(result)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Verdict::Panicked(panic)),
        }
    }
}

/// Runs user code, and returns the panic that it may end with. What a panic leaves half changed is
/// the user's own, and is dropped with its connection.
pub(crate) fn caught<R>(code: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(code))
}

/// As [`caught`], for a future.
pub(crate) async fn caught_async<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match caught(|| future.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// The text of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
