//! [`InFlight`]: requests that are being answered.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use pin_project_lite::pin_project;

/// Requests that are being answered, each a future with the id of its request.
#[derive(Debug)]
pub(super) enum InFlight<F: Future> {
    /// The oldest is told first.
    Ordered(FuturesOrdered<Answering<F>>),
    /// Whichever is ready is told.
    Unordered(FuturesUnordered<Answering<F>>),
}

impl<F: Future> InFlight<F> {
    pub(super) fn new(in_order: bool) -> Self {
        if in_order {
            Self::Ordered(FuturesOrdered::new())
        } else {
            Self::Unordered(FuturesUnordered::new())
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ordered(answers) => answers.len(),
            Self::Unordered(answers) => answers.len(),
        }
    }

    pub(super) fn push(&mut self, id: u64, answer: F) {
        let answering = Answering { id, answer };
        match self {
            Self::Ordered(answers) => answers.push_back(answering),
            Self::Unordered(answers) => answers.push(answering),
        }
    }

    /// The next answer, with its id; `None` if nothing is in flight.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(u64, F::Output)>> {
        match self {
            Self::Ordered(answers) => Pin::new(answers).poll_next(cx),
            Self::Unordered(answers) => Pin::new(answers).poll_next(cx),
        }
    }
}

pin_project! {
    /// A request that is being answered.
    #[derive(Debug)]
    pub(super) struct Answering<F> {
        id: u64,
        #[pin]
        answer: F,
    }
}

impl<F: Future> Future for Answering<F> {
    type Output = (u64, F::Output);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.answer.poll(cx).map(|answer| (*this.id, answer))
    }
}
