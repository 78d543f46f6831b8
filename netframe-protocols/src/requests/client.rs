//! [`RequestClient`]: asks, from any task.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::{CloseReason, ConnectionInfo, Factory, Needs, Protocol, Result, Transport};

use super::calls::Calls;
use super::{ById, CallError, DEFAULT_MAX_IN_FLIGHT, InOrder, Order, Tagged};
use crate::codec::{Codec, MessageTransport, blame};
use crate::turn;

/// How a [`RequestClient`] asks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestOptions {
    /// Requests that wait for their answers at once, at most; further calls wait for room. 100 by
    /// default; 1 has each wait for the answer before.
    pub max_in_flight: NonZeroUsize,
    /// How long a call may take, the wait for room and for a connection included. 30 s by default.
    pub deadline: Duration,
    /// The greatest id that the codec can carry: ids begin again behind it, and skip those that are
    /// waited for; no more are in flight than there are ids. All of 64 bits by default. Without
    /// meaning in order.
    ///
    /// The id of a call that was given up is used again after all others. With few ids an answer may
    /// be later than that, and is then taken for that of another call: where it could be, do not use
    /// the connection after [`CallError::Late`].
    pub max_id: u64,
}

impl Default for RequestOptions {
    fn default() -> Self {
        Self {
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            deadline: Duration::from_secs(30),
            max_id: u64::MAX,
        }
    }
}

/// Asks over a connection that all its clones share, with requests of type `Q` and answers of type
/// `A`. See [the module](super).
///
/// It comes with the [factory](RequestConnections) of its connection, which any client runs: a
/// [`Client`](netframe_core::Client) for one connection, or a
/// [`ReconnectingClient`](netframe_core::ReconnectingClient), and then what was not sent before a
/// connection ended is sent over the next one. Until there is a connection, calls wait for it.
pub struct RequestClient<Q, A> {
    calls: Arc<Calls<Q, A>>,
    deadline: Duration,
}

impl<Q: Send + 'static, A: Send + 'static> RequestClient<Q, A> {
    /// Asks a server that answers in the order of the requests. `codec` makes a codec for each
    /// connection.
    pub fn in_order<C>(
        codec: impl Fn() -> C + Send + Sync + 'static,
        options: RequestOptions,
    ) -> (Self, RequestConnections<Q, A, impl Fn() -> C + Send + Sync + 'static, InOrder>)
    where
        C: Codec<A, Q>,
    {
        Self::new(codec, options)
    }

    /// Asks a server whose answers have the ids of their requests. `codec` makes a codec for each
    /// connection. An answer whose id no call waits for is dropped.
    pub fn by_id<C>(
        codec: impl Fn() -> C + Send + Sync + 'static,
        options: RequestOptions,
    ) -> (Self, RequestConnections<Q, A, impl Fn() -> C + Send + Sync + 'static, ById>)
    where
        C: Codec<Tagged<A>, Tagged<Q>>,
    {
        Self::new(codec, options)
    }

    fn new<M, O: Order>(
        codec: M,
        options: RequestOptions,
    ) -> (Self, RequestConnections<Q, A, M, O>) {
        let calls = Arc::new(Calls::new(O::IN_ORDER, &options));
        let connections =
            RequestConnections { calls: Arc::clone(&calls), codec, order: PhantomData };
        (Self { calls, deadline: options.deadline }, connections)
    }

    /// Asks, and waits for the answer until the deadline of the options.
    ///
    /// # Errors
    ///
    /// There is no answer: see [`CallError`]. In order, an answer that is late ends the connection, as
    /// all that are behind it would be late too.
    ///
    /// # Cancel safety
    ///
    /// A dropped future gives the call up. If its request was not written yet, it is not sent;
    /// else its answer is dropped when it comes. In order it keeps its place until then.
    pub async fn call(&self, request: Q) -> Result<A, CallError> {
        self.call_within(self.deadline, request).await
    }

    /// As [`call`](Self::call), with a deadline of its own.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub async fn call_within(&self, deadline: Duration, request: Q) -> Result<A, CallError> {
        self.calls.call(request, deadline).await
    }
}

impl<Q, A> Clone for RequestClient<Q, A> {
    fn clone(&self) -> Self {
        Self { calls: Arc::clone(&self.calls), deadline: self.deadline }
    }
}

impl<Q, A> fmt::Debug for RequestClient<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestClient").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// The factory of the connections of a [`RequestClient`]. There is one at a time: while there is, it
/// refuses to make another. When it is dropped, no other one will come, and calls that wait for one
/// fail.
pub struct RequestConnections<Q, A, M, O> {
    calls: Arc<Calls<Q, A>>,
    codec: M,
    order: PhantomData<O>,
}

impl<Q, A, M, O, C> Factory for RequestConnections<Q, A, M, O>
where
    O: Order,
    M: Fn() -> C + Send + Sync + 'static,
    C: Codec<O::Message<A>, O::Message<Q>>,
    Q: Send + 'static,
    A: Send + 'static,
{
    type Protocol = RequestConnection<Q, A, C, O>;

    fn build_protocol(&self, _: &ConnectionInfo) -> Option<Self::Protocol> {
        let codec = (self.codec)(); // before the claim, as it may panic
        self.calls.claim().then(|| RequestConnection {
            calls: Arc::clone(&self.calls),
            codec,
            is_claimed: true,
            is_draining: false,
            order: PhantomData,
        })
    }
}

impl<Q, A, M, O> Drop for RequestConnections<Q, A, M, O> {
    fn drop(&mut self) {
        self.calls.no_other_connection();
    }
}

impl<Q, A, M, O> fmt::Debug for RequestConnections<Q, A, M, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestConnections")
    }
}

/// A connection of a [`RequestClient`]: its [`Protocol`].
pub struct RequestConnection<Q, A, C, O> {
    calls: Arc<Calls<Q, A>>,
    codec: C,
    /// It is the one connection that there may be.
    is_claimed: bool,
    is_draining: bool,
    order: PhantomData<O>,
}

impl<Q, A, C, O> RequestConnection<Q, A, C, O>
where
    O: Order,
    C: Codec<O::Message<A>, O::Message<Q>>,
    Q: Send + 'static,
    A: Send + 'static,
{
    /// Writes what is queued, as far as the peer takes it: the rest waits in its calls. Once the
    /// connection closes nothing is taken that would not leave.
    fn write_queued(&mut self, t: &mut dyn Transport) -> Result {
        let waker = t.handle().waker();
        let mut cx = Context::from_waker(&waker);
        while !self.is_draining && t.wants_data() && t.poll_drain(&mut cx)?.is_ready() {
            let Some((id, request)) = self.calls.next_request() else { break };
            let message = O::seal(id, request);
            if let Err(error) = MessageTransport::new(t, &mut self.codec).send(message) {
                self.calls.refuse(id, CallError::Encode(error.into()));
            }
        }
        Ok(())
    }

    fn answered(&self, message: C::Item) -> Result {
        let (id, answer) = O::open(message);
        self.calls.answered(id, answer).map_err(|unasked| blame(unasked))
    }

    fn close_when_answered(&self, t: &mut dyn Transport) {
        if self.is_draining && self.calls.is_idle() {
            t.close();
        }
    }
}

impl<Q, A, C, O> Protocol for RequestConnection<Q, A, C, O>
where
    O: Order,
    C: Codec<O::Message<A>, O::Message<Q>>,
    Q: Send + 'static,
    A: Send + 'static,
{
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.calls.connected(t.handle());
        // A server that waits for its answers to be taken takes no requests. It also leaves
        // `wants_data` true until the connection ends.
        t.set_coupled(false);
        self.write_queued(t)
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let mut taken = 0;
        while t.wants_data() {
            if taken >= turn::MESSAGES && !data.is_empty() {
                turn::deliver_again(t);
                break;
            }
            let Some(message) = self.codec.decode(data).map_err(blame)? else {
                self.close_when_answered(t);
                break;
            };
            self.answered(message)?;
            taken += 1;
        }
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        while let Some(message) = self.codec.decode_eof(data).map_err(blame)? {
            self.answered(message)?;
        }
        t.close();
        Ok(())
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        self.write_queued(t)?;
        self.close_when_answered(t); // the last call may have been given up
        Ok(())
    }

    /// What was asked is still answered; what is queued is not sent any more.
    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        self.is_draining = true;
        self.close_when_answered(t);
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.calls.lost(reason);
        self.release(); // before anybody is told, who may connect again at once
    }
}

impl<Q, A, C, O> RequestConnection<Q, A, C, O> {
    fn release(&mut self) {
        if mem::take(&mut self.is_claimed) {
            self.calls.release();
        }
    }
}

impl<Q, A, C, O> Drop for RequestConnection<Q, A, C, O> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<Q, A, C, O> fmt::Debug for RequestConnection<Q, A, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestConnection")
    }
}
