//! [`Framer`]: where a frame ends, without any I/O.

use std::ops::Range;

use super::FrameError;

/// Finds frames in bytes that arrive in pieces, and puts borders around those to send.
///
/// It keeps no bytes: the caller holds them, and offers them again with more behind. [`Frames`](super::Frames)
/// runs it for a connection; it may be used without one as well:
///
/// ```
/// use netframe_protocols::frame::{Framer, Prefixed};
///
/// let mut framer = Prefixed::netstring();
/// assert_eq!(framer.next_frame(b"5:hel")?, None);
/// let wire = b"5:hello,3:you";
/// let frame = framer.next_frame(wire)?.expect("it is whole");
/// assert_eq!(&wire[frame.payload], b"hello");
/// assert_eq!(framer.next_frame(&wire[frame.wire_length..])?, None);
/// # Ok::<(), netframe_protocols::frame::FrameError>(())
/// ```
///
/// A clone of a new framer is a new framer.
pub trait Framer: Send + Sync + 'static {
    /// Where the frame is that `data` begins with, or `None` if not all of it has arrived.
    ///
    /// `data` is all that is not consumed. After a frame the caller consumes its
    /// [`wire_length`](Frame::wire_length), which is at least 1 and within `data`; after `None` it
    /// calls again with more bytes behind the same ones, so that a framer may remember how far it
    /// has looked.
    ///
    /// # Errors
    ///
    /// What arrived is no frame, or a longer one than is taken; told no later than its prefix is
    /// whole, or a byte is there that cannot be, and again at each further call. [`Frames`](super::Frames) blames the peer for it.
    fn next_frame(&mut self, data: &[u8]) -> Result<Option<Frame>, FrameError>;

    /// Hands `frame` with its borders to `write`, as parts that belong together.
    ///
    /// `max_length` does not hold here, as it is about what this side takes.
    ///
    /// # Errors
    ///
    /// The frame cannot be told from others by its borders; `write` was not called.
    fn encode(&self, frame: &[u8], write: &mut dyn FnMut(&[&[u8]])) -> Result<(), FrameError>;

    /// The bytes of the longest frame that is taken, its borders included: what the limit
    /// `max_pending` of a connection must allow for such a frame to arrive.
    fn max_wire_length(&self) -> usize;
}

/// A frame that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the frame is in the bytes, without its borders.
    pub payload: Range<usize>,
    /// Bytes of it from the first one on, its borders included; at least 1.
    pub wire_length: usize,
}
