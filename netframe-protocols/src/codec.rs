//! Typed messages: [`Framed`] runs any codec of tokio-util as a [`Protocol`], so that one callback is
//! one message.
//!
//! A codec is a [`Decoder`] and an [`Encoder`]: one of the many on crates.io, one of your own, or a
//! [`FrameCodec`], which makes one of a [`Framer`](crate::frame::Framer) and a [`Format`] such as
//! `Json`. What reacts to the messages is a [`MessageProtocol`].
//!
//! ```
//! use netframe_core::testing::replay;
//! use netframe_core::{ConnectionInfo, Result};
//! use netframe_protocols::codec::{Framed, MessageProtocol, MessageTransport};
//! use tokio_util::codec::LinesCodec;
//!
//! /// Answers each line with its length.
//! struct Measure;
//!
//! impl MessageProtocol<LinesCodec> for Measure {
//!     async fn message_received(
//!         &mut self,
//!         t: &mut MessageTransport<'_, LinesCodec>,
//!         line: String,
//!     ) -> Result {
//!         t.send(line.len().to_string())?;
//!         Ok(())
//!     }
//! }
//!
//! let factory = |_: &ConnectionInfo| Framed::new(LinesCodec::new_with_max_length(100), Measure);
//! let answered = replay(b"hello\n\n", || Framed::new(LinesCodec::new(), Measure));
//! assert_eq!(answered.written, b"5\n0\n");
//! # let _ = netframe_core::Server::builder(factory);
//! ```
//!
//! # Limits
//!
//! How long a message may be is for the codec to say, and most have a way to. Besides, what it leaves
//! undecoded is bounded by `max_pending` of the connection (64 KiB): a message that is longer on the
//! wire needs a higher one.

mod format;
mod frame_codec;
mod protocol;
mod transport;

use netframe_core::bytes::BytesMut;
use netframe_core::{BoxError, CloseReason, Needs, Protocol, ProtocolError, Result, Transport};
pub use tokio_util::codec::{Decoder, Encoder};

#[cfg(feature = "json")]
pub use self::format::Json;
pub use self::format::{Format, Raw};
pub use self::frame_codec::{CodecError, FrameCodec};
pub use self::protocol::MessageProtocol;
pub use self::transport::MessageTransport;
use crate::turn;

/// A codec and what reacts to its messages, as a [`Protocol`].
///
/// Messages come one at a time, in order and exactly once, however their bytes were cut on the way. A
/// callback may pause, close or switch to another protocol: the messages behind its own then wait,
/// are left to whoever is next, or are not delivered at all after a close. After 1024 of them other
/// connections have their turn.
///
/// An error of the decoder is the peer's fault ([`ProtocolError`]) and ends the connection, after the
/// messages before it were delivered. When the peer ends its sending side, the decoder is asked for
/// what is complete by that ([`Decoder::decode_eof`]); most say that bytes without an end are an error.
#[derive(Clone, Debug)]
pub struct Framed<C: Decoder, H> {
    codec: C,
    handler: H,
    /// What the input ended with, until all of its messages are delivered.
    rest: Option<BytesMut>,
    /// A message that is not wanted yet, if no byte is left whose delivery would bring it.
    held: Option<C::Item>,
}

impl<C: Decoder, H> Framed<C, H> {
    /// Messages as `codec` has them, for `handler`. Each connection has a codec of its own.
    pub fn new(codec: C, handler: H) -> Self {
        Self { codec, handler, rest: None, held: None }
    }

    /// The handler.
    pub fn get_ref(&self) -> &H {
        &self.handler
    }

    /// The handler, to change it.
    pub fn get_mut(&mut self) -> &mut H {
        &mut self.handler
    }
}

/// Calls a callback of the handler, with the transport as it sees it.
macro_rules! call {
    ($framed:ident, $method:ident, $t:ident $(, $arg:expr)?) => {{
        let mut t = MessageTransport::new($t, &mut $framed.codec);
        $framed.handler.$method(&mut t $(, $arg)?).await
    }};
}

impl<C, H> Framed<C, H>
where
    C: Decoder<Item: Send, Error: Into<BoxError> + Send> + Send + 'static,
    H: MessageProtocol<C>,
{
    /// The handler may have resumed: what no byte will bring is delivered now.
    async fn catch_up(&mut self, t: &mut dyn Transport) -> Result {
        if let Some(mut rest) = self.rest.take() {
            return self.finish(t, &mut rest).await;
        }
        if self.held.is_some() {
            return self.deliver(t, &mut BytesMut::new()).await;
        }
        Ok(())
    }

    async fn deliver(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let mut delivered = 0;
        loop {
            // Each callback may have paused, closed or switched: what is behind it stays in `data`.
            if !t.wants_data() {
                if !data.is_empty() {
                    return Ok(());
                }
                // What the decoder still has no byte brings, and no callback that the queue has drained.
                self.held = self.next(data)?;
                if self.held.is_none() {
                    return Ok(());
                }
                t.drain().await?;
                if !t.wants_data() {
                    return Ok(());
                }
            }
            if delivered >= turn::MESSAGES && !data.is_empty() {
                turn::deliver_again(t);
                return Ok(());
            }
            let Some(message) = self.next(data)? else { return Ok(()) };
            call!(self, message_received, t, message)?;
            delivered += 1;
        }
    }

    /// The message that is held, or else the next one in `data`.
    fn next(&mut self, data: &mut BytesMut) -> Result<Option<C::Item>, BoxError> {
        match self.held.take() {
            None => self.codec.decode(data).map_err(blame),
            held => Ok(held),
        }
    }

    /// Delivers what the end of input completes, then the end itself.
    async fn finish(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        loop {
            if !t.wants_data() {
                t.drain().await?; // the end of input is not delivered again
            }
            if !t.wants_data() {
                self.rest = Some(data.split());
                return Ok(());
            }
            let next = match self.held.take() {
                None => self.codec.decode_eof(data).map_err(blame)?,
                held => held,
            };
            let Some(message) = next else { break };
            call!(self, message_received, t, message)?;
        }
        call!(self, eof_received, t)
    }
}

/// Both halves of a codec that reads `R` and writes `W`, with errors that can end a connection. Every
/// type that is one is a `Codec`.
pub trait Codec<R, W>:
    Decoder<Item = R, Error: Into<BoxError> + Send> + Encoder<W, Error: Into<BoxError>> + Send + 'static
{
}

impl<C, R, W> Codec<R, W> for C
where
    C: Decoder<Item = R, Error: Into<BoxError> + Send>,
    C: Encoder<W, Error: Into<BoxError>> + Send + 'static,
{
}

/// The error of a callback, with the peer to blame.
pub(crate) fn blame(error: impl Into<BoxError>) -> BoxError {
    ProtocolError::new(error).into()
}

impl<C, H> Protocol for Framed<C, H>
where
    C: Decoder<Item: Send, Error: Into<BoxError> + Send> + Send + 'static,
    H: MessageProtocol<C>,
{
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, connection_made, t)
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.deliver(t, data).await
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.finish(t, data).await
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, notified, t)?;
        self.catch_up(t).await
    }

    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, timed_out, t)?;
        self.catch_up(t).await
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, draining, t)?;
        self.catch_up(t).await
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.handler.connection_lost(reason);
    }
}
