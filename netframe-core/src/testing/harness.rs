//! [`Harness`]: drives one protocol over the real connection core, with the test as the network.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::Recorder;
use super::recorder::{SentDatagram, peer, take_sent, take_written};
use crate::addr::Addr;
use crate::close_reason::{Cause, CloseKind, CloseReason, Side};
use crate::connection::{Arrival, Blocked, Event, Leftover, Next};
use crate::datagram::Datagram;
use crate::limits::Limits;
use crate::protocol::{Protocol, Result};
use crate::shared::Shared;
use crate::transport::Transport;

/// Drives one protocol as a real connection does, in the test's own thread and without a runtime:
/// the same core decides what is delivered, held back, flushed and closed.
///
/// Handlers must not wait for anything but `drain`, which the harness satisfies by taking the
/// queue, as long as the [peer reads](Self::set_reading_peer); for others use
/// [`serve`](super::serve).
///
/// ```
/// use netframe_core::testing::Harness;
/// # use netframe_core::{CloseKind, Protocol, Result, Transport, bytes::BytesMut};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
/// #         t.write_bytes(d.split().freeze());
/// #         Ok(())
/// #     }
/// # }
///
/// let mut echo = Harness::new(Echo);
/// echo.receive(b"hello");
/// assert_eq!(echo.take_written(), b"hello"[..]);
/// echo.receive_eof();
/// assert_eq!(echo.reason().unwrap().kind(), CloseKind::Eof);
/// ```
pub struct Harness<P: Protocol> {
    protocol: P,
    t: Recorder,
    input: VecDeque<Input>,
    data: BytesMut,
    fresh: bool,
    written: BytesMut,
    sent: Vec<SentDatagram>,
    reading_peer: bool,
    switched: bool,
    reason: Option<CloseReason>,
}

enum Input {
    Bytes(Bytes),
    Arrival(Arrival),
    Eof,
    Reset,
}

impl<P: Protocol> Harness<P> {
    /// Makes the connection, with default limits; the peer takes everything that is written.
    pub fn new(protocol: P) -> Self {
        Self::with_limits(protocol, Limits::default())
    }

    /// Makes the connection, with other limits. Rates are of no effect: the test says when bytes move.
    pub fn with_limits(protocol: P, limits: Limits) -> Self {
        Self::over(protocol, Recorder::with_limits(limits))
    }

    /// Makes the connection over a recorder with an info or extensions of its own.
    pub fn over(protocol: P, t: Recorder) -> Self {
        let mut harness = Self {
            protocol,
            t,
            input: VecDeque::new(),
            data: BytesMut::new(),
            fresh: false,
            written: BytesMut::new(),
            sent: Vec::new(),
            reading_peer: true,
            switched: false,
            reason: None,
        };
        harness.call(Event::Made);
        harness.settle();
        harness
    }

    /// Makes the connection over datagrams: a session of one peer, or for a
    /// [`DatagramAdapter`](crate::DatagramAdapter) a whole socket. What is sent is taken with
    /// [`take_sent`](Self::take_sent).
    ///
    /// ```
    /// use netframe_core::testing::Harness;
    /// # use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
    /// #         t.write_bytes(d.split().freeze());
    /// #         Ok(())
    /// #     }
    /// # }
    ///
    /// let mut echo = Harness::datagrams(Echo);
    /// echo.receive(b"one");
    /// echo.receive(b"");
    /// let sent: Vec<_> = echo.take_sent().into_iter().map(|sent| sent.data).collect();
    /// assert_eq!(sent, [&b"one"[..], b""]);
    /// ```
    pub fn datagrams(protocol: P) -> Self {
        Self::over(protocol, Recorder::datagrams(P::NEEDS))
    }

    /// A datagram arrives from whomever it says.
    pub fn receive_datagram(&mut self, datagram: Datagram) {
        self.input.push_back(Input::Arrival(Arrival::Datagram(datagram)));
        self.settle();
    }

    /// The network tells that an earlier datagram could not be delivered.
    pub fn receive_error(&mut self, error: io::Error, peer: Option<Addr>) {
        self.input.push_back(Input::Arrival(Arrival::Failed { error, peer }));
        self.settle();
    }

    /// Takes the datagrams that were sent since the last time, also through a handle.
    pub fn take_sent(&mut self) -> Vec<SentDatagram> {
        self.settle();
        std::mem::take(&mut self.sent)
    }

    /// The peer sends one chunk; over datagrams, one datagram. While the protocol does not take
    /// data, it waits.
    pub fn receive(&mut self, chunk: &[u8]) {
        if self.t.info().is_datagram() {
            return self.receive_datagram(Datagram::new(peer(), chunk));
        }
        if !chunk.is_empty() {
            self.input.push_back(Input::Bytes(Bytes::copy_from_slice(chunk)));
            self.settle();
        }
    }

    /// The peer ends its sending side.
    pub fn receive_eof(&mut self) {
        self.input.push_back(Input::Eof);
        self.settle();
    }

    /// The peer resets the connection, once what it sent before has been read.
    pub fn receive_reset(&mut self) {
        self.input.push_back(Input::Reset);
        self.settle();
    }

    /// Whether the peer takes what is written; true at first. While it does not, a handler that
    /// waits in `drain` would wait for ever, and panics.
    pub fn set_reading_peer(&mut self, reading: bool) {
        self.reading_peer = reading;
        self.settle();
    }

    /// Calls `notified`, as a handle's `notify` does.
    pub fn notify(&mut self) {
        self.shared().lock().notify();
        self.settle();
    }

    /// Calls `timed_out`, as if the timeout had passed.
    pub fn time_out(&mut self) {
        self.shared().lock().time_out();
        self.settle();
    }

    /// Calls `draining`, as a server that shuts down does.
    pub fn drain(&mut self) {
        self.shared().lock().drain();
        self.settle();
    }

    /// Looks again, after a change through a handle; what takes something does so by itself.
    pub fn settle(&mut self) {
        while self.reason.is_none() && !self.switched {
            let (read, write) = (self.input.is_empty(), !self.reading_peer);
            let blocked = Blocked { read, write, spent: false };
            let next = self.shared().lock().next(blocked, self.data.len());
            match next {
                Next::Call(event) => {
                    if event == Event::Data {
                        let shared = Arc::clone(self.shared());
                        self.fresh = shared.lock().take_delivery(&mut self.data);
                    }
                    self.call(event);
                }
                Next::Flush => self.flush(),
                Next::FlushBelow => self.shared().lock().flushed_below(),
                Next::Fin => {
                    let wakes = self.shared().lock().fin_sent(true);
                    wakes.wake();
                }
                Next::Read => self.read(|harness, bytes| {
                    harness.shared().lock().received(bytes.len());
                    harness.data.extend_from_slice(&bytes);
                    harness.fresh = true;
                    harness.call(Event::Data);
                }),
                Next::ReadAhead => self.read(|harness, bytes| {
                    let wakes = harness.shared().lock().received_ahead(bytes.into());
                    wakes.wake();
                }),
                Next::Discard => {
                    self.read(|harness, bytes| harness.shared().lock().discarded(bytes.len()));
                }
                Next::Switch => {
                    let shared = Arc::clone(self.shared());
                    self.switched = shared.lock().take_switch(&mut self.data).is_some();
                }
                Next::End => {
                    let (reason, remains) = self.shared().lock().end();
                    drop(remains);
                    self.protocol.connection_lost(&reason);
                    let wakes = self.shared().lock().publish(reason.clone());
                    wakes.wake();
                    self.reason = Some(reason);
                }
                Next::Wait { .. } | Next::Broken | Next::EndInput => return,
            }
        }
    }

    /// Takes what the peer has read since the last time, also of what a handle wrote.
    pub fn take_written(&mut self) -> BytesMut {
        self.settle();
        self.written.split()
    }

    /// What the protocol left unconsumed.
    pub fn leftover(&self) -> &[u8] {
        &self.data
    }

    /// Why the connection ended, once it has. A connection that closed waits for the peer's EOF.
    pub fn reason(&self) -> Option<&CloseReason> {
        self.reason.as_ref()
    }

    /// Whether another protocol took over; the leftover is then what it gets first.
    pub fn is_switched(&self) -> bool {
        self.switched
    }

    /// The transport.
    pub fn transport(&mut self) -> &mut Recorder {
        &mut self.t
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// The protocol, to change it.
    pub fn protocol_mut(&mut self) -> &mut P {
        &mut self.protocol
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.t.facade.shared
    }

    fn flush(&mut self) {
        if self.t.info().is_datagram() {
            self.sent.append(&mut self.t.take_sent());
        } else {
            self.written.extend_from_slice(&self.t.take_written());
        }
    }

    fn read(&mut self, take: impl FnOnce(&mut Self, Bytes)) {
        let wakes = match self.input.pop_front() {
            Some(Input::Bytes(bytes)) => return take(self, bytes),
            Some(Input::Arrival(arrival)) => {
                let taken = self.shared().lock().arrive(arrival);
                debug_assert!(taken, "it was asked for");
                return;
            }
            Some(Input::Eof) => self.shared().lock().received_eof(),
            Some(Input::Reset) => {
                self.shared().lock().io_failed(io::ErrorKind::ConnectionReset.into())
            }
            None => return,
        };
        wakes.wake();
    }

    fn call(&mut self, event: Event) {
        let offered = self.data.len();
        let info = self.t.info().clone();
        let shared = Arc::clone(self.shared());
        let (protocol, t, data) = (&mut self.protocol, &mut self.t, &mut self.data);
        let (written, sent) = (&mut self.written, &mut self.sent);
        let mut flush = || {
            let (written_len, sent_count) = (written.len(), sent.len());
            if !self.reading_peer {
            } else if info.is_datagram() {
                sent.append(&mut take_sent(&shared));
            } else {
                written.extend_from_slice(&take_written(&shared));
            }
            written.len() > written_len || sent.len() > sent_count
        };
        let result = match event {
            Event::Made => run(protocol.connection_made(t), &mut flush),
            Event::Data => run(protocol.data_received(t, data), &mut flush),
            Event::Eof => run(protocol.eof_received(t, data), &mut flush),
            Event::Notified => run(protocol.notified(t), &mut flush),
            Event::TimedOut => run(protocol.timed_out(t), &mut flush),
            Event::Draining => run(protocol.draining(t), &mut flush),
        };
        if event == Event::Eof || info.is_datagram() {
            self.data.clear();
        }
        let fresh = std::mem::take(&mut self.fresh);
        let leftover = Leftover { offered, left: self.data.len(), fresh };
        let result = result.map_err(Cause::from_handler);
        shared.lock().handler_returned(result, event == Event::Data, leftover, shared.limits());
    }
}

impl<P: Protocol> fmt::Debug for Harness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Polls a handler to its end; between polls, what it wrote leaves.
fn run(handler: impl Future<Output = Result>, flush: &mut dyn FnMut() -> bool) -> Result {
    let mut handler = pin!(handler);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = handler.as_mut().poll(&mut cx) {
            return result;
        }
        assert!(
            flush(),
            "the handler waits for what a harness cannot give, or for a peer that does not read; use \
             `testing::serve`"
        );
    }
}

/// What a protocol did with some bytes, as its peer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transcript {
    /// What it wrote.
    pub written: Vec<u8>,
    /// How it ended the connection, if it did.
    pub ended: Option<(Side, CloseKind)>,
}

/// Feeds `wire`, then EOF, to a new protocol in chunks of every size from one byte up, and returns
/// what the protocol did, which must be the same for every size.
///
/// # Panics
///
/// Two chunk sizes differ.
///
/// ```
/// use netframe_core::testing::replay;
/// # use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
/// #         t.write_bytes(d.split().freeze());
/// #         Ok(())
/// #     }
/// # }
///
/// assert_eq!(replay(b"any bytes", || Echo).written, b"any bytes");
/// ```
#[track_caller]
pub fn replay<P: Protocol>(wire: &[u8], build: impl FnMut() -> P) -> Transcript {
    replay_with(wire, build, |_| ()).0
}

/// As [`replay`], comparing also what `observe` sees in the protocol at the end.
///
/// # Panics
///
/// Two chunk sizes differ.
#[track_caller]
pub fn replay_with<P: Protocol, E: PartialEq + fmt::Debug>(
    wire: &[u8],
    mut build: impl FnMut() -> P,
    observe: impl Fn(&P) -> E,
) -> (Transcript, E) {
    let mut at_once = None;
    for chunk_len in (1..=wire.len().max(1)).rev() {
        let mut harness = Harness::new(build());
        for chunk in wire.chunks(chunk_len) {
            harness.receive(chunk);
        }
        harness.receive_eof();
        let transcript = Transcript {
            written: harness.take_written().to_vec(),
            ended: harness.reason().map(|reason| (reason.by(), reason.kind())),
        };
        let seen = (transcript, observe(harness.protocol()));
        match &at_once {
            None => at_once = Some(seen),
            Some(at_once) => assert_eq!(&seen, at_once, "chunk_len={chunk_len}"),
        }
    }
    at_once.expect("there is at least one chunk size")
}
