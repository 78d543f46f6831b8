//! Frames: messages with a border that any bytes may be in. [`Frames`] makes a [`Protocol`] of a
//! [`FrameProtocol`]; below it, a [`Framer`] says where a frame ends and does no I/O. Both sides of a
//! connection use the same things.
//!
//! | framer | a frame on the wire |
//! |---|---|
//! | [`Prefixed::netstring`] | `5:hello,`: its length in decimal, `:`, the frame, `,` |
//! | [`Prefixed::int8`], [`int16`](Prefixed::int16), [`int32`](Prefixed::int32) | its length in one, two or four bytes, big or little endian, and the frame |
//! | [`Prefixed::varint`] | its length as Protocol Buffers write one (LEB128), and the frame |
//! | [`Delimited`] | the frame, and bytes that are not in it |
//! | [`Fixed`] | the frame: all have the same length |
//!
//! ```
//! use netframe_core::testing::replay;
//! use netframe_core::{ConnectionInfo, Result};
//! use netframe_protocols::frame::{FrameProtocol, FrameTransport, Frames, Prefixed};
//!
//! /// Answers each frame with the bytes of it in reverse order.
//! struct Reverse;
//!
//! impl FrameProtocol for Reverse {
//!     async fn frame_received(&mut self, t: &mut FrameTransport<'_>, frame: &[u8]) -> Result {
//!         let reversed: Vec<u8> = frame.iter().rev().copied().collect();
//!         t.send_frame(reversed)?;
//!         Ok(())
//!     }
//! }
//!
//! let factory = |_: &ConnectionInfo| Frames::new(Reverse, Prefixed::netstring());
//! let answered = replay(b"3:abc,0:,", || Frames::new(Reverse, Prefixed::netstring()));
//! assert_eq!(answered.written, b"3:cba,0:,");
//! ```
//!
//! # What is checked
//!
//! A framer is strict, as two parties that disagree on where a frame ends can be made to smuggle one
//! past each other: one length has one prefix. The first frame that is wrong, or longer than the
//! framer's `max_length`, ends the connection, after the frames before it were delivered; so does,
//! unless [`FrameProtocol::eof_received`] says otherwise, the end of input inside a frame. A length
//! is only a promise of the peer: no memory is set aside for it.
//!
//! Most framers have a default `max_length` of 100 000 bytes ([`DEFAULT_MAX_LENGTH`]). The
//! connection's own limit `max_pending` (64 KiB) bounds an unfinished frame too: raise it to
//! [`Framer::max_wire_length`] for frames that come near it.

mod delimited;
mod echo;
mod error;
mod fixed;
mod framer;
mod prefix;
mod prefixed;
mod protocol;
mod transport;

use netframe_core::bytes::{Buf, BytesMut};
use netframe_core::{CloseReason, Needs, Protocol, Result, Transport};

pub use self::delimited::Delimited;
pub use self::echo::{FrameEcho, frame_echo};
pub use self::error::{FrameError, FramerError};
pub use self::fixed::Fixed;
pub use self::framer::{Frame, Framer};
pub use self::prefix::{Endian, Int, LengthPrefix, MAX_PREFIX, Netstring, Varint};
pub use self::prefixed::{DEFAULT_MAX_LENGTH, Prefixed};
pub use self::protocol::FrameProtocol;
pub use self::transport::FrameTransport;

/// Frames in one delivery, so that a peer with tiny frames does not keep the others of its worker
/// waiting. 64 KiB of frames with 64 bytes are still one delivery.
const FRAMES_PER_DELIVERY: usize = 1024;

/// A [`FrameProtocol`] as a [`Protocol`].
///
/// Frames come one at a time, in order and exactly once, however the bytes were cut on the way. A
/// callback may pause, close or switch to another protocol: what was received behind its frame then
/// waits for whoever is next, or is not delivered at all after a close. After 1024 frames other
/// connections have their turn.
#[derive(Clone, Debug)]
pub struct Frames<P, F> {
    protocol: P,
    framer: F,
}

impl<P: FrameProtocol, F: Framer> Frames<P, F> {
    /// Frames as `framer` finds them. A factory makes one framer and clones it for each connection.
    pub fn new(protocol: P, framer: F) -> Self {
        Self { protocol, framer }
    }

    /// The protocol inside.
    pub fn get_ref(&self) -> &P {
        &self.protocol
    }

    /// The protocol inside, to change it.
    pub fn get_mut(&mut self) -> &mut P {
        &mut self.protocol
    }
}

/// Calls a callback of the inner protocol, with the transport as it sees it.
macro_rules! call {
    ($frames:ident, $method:ident, $t:ident $(, $arg:expr)?) => {{
        let mut t = FrameTransport::new($t, &$frames.framer);
        $frames.protocol.$method(&mut t $(, $arg)?).await
    }};
}

impl<P: FrameProtocol, F: Framer> Protocol for Frames<P, F> {
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, connection_made, t)
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        for _ in 0..FRAMES_PER_DELIVERY {
            // Each callback may have paused, closed or switched: what is behind it stays in `data`.
            if data.is_empty() || !t.wants_data() {
                return Ok(());
            }
            let Some(frame) = self.framer.next_frame(data).map_err(FrameError::blame)? else {
                return Ok(());
            };
            call!(self, frame_received, t, &data[frame.payload.clone()])?;
            data.advance(frame.wire_length);
        }
        if !data.is_empty() && t.wants_data() {
            deliver_again(t);
        }
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        call!(self, eof_received, t, data)
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, notified, t)
    }

    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, timed_out, t)
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, draining, t)
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.protocol.connection_lost(reason);
    }
}

/// Has what the handler leaves delivered once more, without more bytes: a delivery that was refused
/// is made up for (rule 5), and each one counts in the turn of its connection.
pub(crate) fn deliver_again(t: &mut dyn Transport) {
    t.pause_reading();
    let wanted = t.wants_data();
    debug_assert!(!wanted, "a pause refuses");
    t.resume_reading();
}
