//! [`RequestServer`]: answers requests.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::task::{Context, Poll, ready};

use netframe_core::bytes::BytesMut;
use netframe_core::{CloseReason, Needs, Protocol, Result, Transport};

use super::in_flight::InFlight;
use super::{ById, DEFAULT_MAX_IN_FLIGHT, InOrder, Order};
use crate::codec::{Codec, MessageTransport, blame};
use crate::turn;

/// Answers the requests of one connection, each by a call of an async function; see
/// [the module](super).
///
/// At most `max_in_flight` requests are being answered at once; what comes beyond is not read, so
/// that the peer feels backpressure. No more answers are made than the peer takes: above the low
/// watermark those that are ready wait. The connection's end drops the futures of its requests.
///
/// An `Err` of the function ends the connection, as one of a handler does: what can go wrong with a
/// request belongs into the answer. The same is true of time: a function that may take long is better
/// wrapped in a timeout, and tells of it.
///
/// A peer that ends its sending side, and a drain, still get the answers that are due; then the
/// connection closes.
pub struct RequestServer<C, O, Q, F, Fut: Future> {
    codec: C,
    answer: F,
    max_in_flight: NonZeroUsize,
    /// `None` until requests are answered side by side.
    in_flight: Option<InFlight<Fut>>,
    /// Reading is paused, as so many requests are in flight as may be.
    is_full: bool,
    /// The decoder may have another request, though no byte of it is left.
    may_have_more: bool,
    kind: PhantomData<fn(O, Q)>,
}

impl<C, Q, F, Fut: Future> RequestServer<C, InOrder, Q, F, Fut> {
    /// Answers in the order of the requests, one after the other: the next request is not looked at
    /// before. More in flight at once is [`max_in_flight`](Self::max_in_flight).
    pub fn in_order(codec: C, answer: F) -> Self {
        Self::new(codec, answer, NonZeroUsize::MIN)
    }
}

impl<C, Q, F, Fut: Future> RequestServer<C, ById, Q, F, Fut> {
    /// Answers as they are ready, each with the id of its request; up to 100 requests at once.
    pub fn by_id(codec: C, answer: F) -> Self {
        Self::new(codec, answer, DEFAULT_MAX_IN_FLIGHT)
    }
}

impl<C, O, Q, F, Fut: Future> RequestServer<C, O, Q, F, Fut> {
    fn new(codec: C, answer: F, max_in_flight: NonZeroUsize) -> Self {
        let (in_flight, is_full, may_have_more) = (None, false, false);
        Self { codec, answer, max_in_flight, in_flight, is_full, may_have_more, kind: PhantomData }
    }

    /// Requests that are being answered at once, at most. With 1 a request costs no allocation; with
    /// more, one.
    pub fn max_in_flight(mut self, max: NonZeroUsize) -> Self {
        self.max_in_flight = max;
        self
    }
}

impl<C, O, Q, A, F, Fut> RequestServer<C, O, Q, F, Fut>
where
    O: Order,
    C: Codec<O::Message<Q>, O::Message<A>>,
    F: Fn(Q) -> Fut + Send + 'static,
    Fut: Future<Output = Result<A>> + Send + 'static,
    Q: Send + 'static,
    A: Send + 'static,
{
    /// Takes requests from `data`, as many as may be in flight, and sends the answers that are ready.
    async fn take(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.start_all(t, data).await?;
        self.answer_ready(t)
    }

    /// There may be room again: what no byte will bring is taken now.
    async fn catch_up(&mut self, t: &mut dyn Transport) -> Result {
        if std::mem::take(&mut self.may_have_more) {
            self.take(t, &mut BytesMut::new()).await?;
        }
        Ok(())
    }

    async fn start_all(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let mut taken = 0;
        loop {
            if self.is_full() {
                self.answer_ready(t)?;
                if self.is_full() {
                    self.is_full = true;
                    t.pause_reading();
                }
            }
            if !t.wants_data() {
                self.may_have_more = data.is_empty();
                if self.may_have_more {
                    // No byte will bring it: whatever makes room has to notify.
                    let waker = t.handle().waker();
                    let _ = t.poll_drain(&mut Context::from_waker(&waker))?;
                }
                return Ok(());
            }
            if taken >= turn::MESSAGES && !data.is_empty() {
                turn::deliver_again(t);
                return Ok(());
            }
            match self.codec.decode(data) {
                Ok(Some(message)) => self.start(t, message).await?,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.answer_ready(t)?; // those before
                    return Err(blame(error));
                }
            }
            taken += 1;
        }
    }

    async fn start(&mut self, t: &mut dyn Transport, message: C::Item) -> Result {
        let (id, request) = O::open(message);
        let answer = (self.answer)(request);
        if self.max_in_flight == NonZeroUsize::MIN {
            let answer = answer.await?;
            return self.send(t, id, answer);
        }
        self.in_flight.get_or_insert_with(|| InFlight::new(O::IN_ORDER)).push(id, answer);
        Ok(())
    }

    fn send(&mut self, t: &mut dyn Transport, id: u64, answer: A) -> Result {
        MessageTransport::new(t, &mut self.codec).send(O::seal(id, answer)).map_err(Into::into)
    }

    fn is_full(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|all| all.len() >= self.max_in_flight.get())
    }

    /// Sends the answers that are ready, as far as the peer takes them, and goes on reading if that
    /// makes room.
    fn answer_ready(&mut self, t: &mut dyn Transport) -> Result {
        if self.in_flight.is_none() {
            return Ok(());
        }
        let waker = t.handle().waker();
        let mut cx = Context::from_waker(&waker);
        while let Poll::Ready(Some((id, answer))) = self.poll_answer(t, &mut cx)? {
            self.send(t, id, answer)?;
        }
        if self.is_full && !self.is_full() {
            self.is_full = false;
            t.resume_reading();
        }
        Ok(())
    }

    /// The next answer that is ready, once the peer has taken those before; `None` if none is due.
    fn poll_answer(
        &mut self,
        t: &mut dyn Transport,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<(u64, A)>>> {
        let Some(in_flight) = &mut self.in_flight else { return Poll::Ready(Ok(None)) };
        ready!(t.poll_drain(cx))?;
        let answered = ready!(in_flight.poll_next(cx));
        Poll::Ready(answered.map(|(id, answer)| Ok((id, answer?))).transpose())
    }

    /// Sends the answers that are due, and answers one request after the other from now on.
    async fn finish(&mut self, t: &mut dyn Transport) -> Result {
        self.max_in_flight = NonZeroUsize::MIN;
        while let Some((id, answer)) = poll_fn(|cx| self.poll_answer(t, cx)).await? {
            self.send(t, id, answer)?;
        }
        if std::mem::take(&mut self.is_full) {
            t.resume_reading();
        }
        Ok(())
    }
}

impl<C, O, Q, A, F, Fut> Protocol for RequestServer<C, O, Q, F, Fut>
where
    O: Order,
    C: Codec<O::Message<Q>, O::Message<A>>,
    F: Fn(Q) -> Fut + Send + 'static,
    Fut: Future<Output = Result<A>> + Send + 'static,
    Q: Send + 'static,
    A: Send + 'static,
{
    const NEEDS: Needs = Needs::Stream;

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.take(t, data).await
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.finish(t).await?;
        while let Some(message) = self.codec.decode_eof(data).map_err(blame)? {
            t.drain().await?;
            self.start(t, message).await?;
        }
        t.close();
        Ok(())
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        self.answer_ready(t)?;
        self.catch_up(t).await
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        self.finish(t).await?;
        self.catch_up(t).await?;
        t.close_when_idle();
        Ok(())
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        self.in_flight = None;
    }
}

impl<C, O, Q, F, Fut: Future> fmt::Debug for RequestServer<C, O, Q, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestServer")
            .field("in_flight", &self.in_flight.as_ref().map_or(0, InFlight::len))
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}
