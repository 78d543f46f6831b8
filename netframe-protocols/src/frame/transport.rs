//! [`FrameTransport`]: a transport that also sends frames.

use std::fmt;
use std::ops::{Deref, DerefMut};

use netframe_core::Transport;

use super::{FrameError, Framer};

/// What a [`FrameProtocol`](super::FrameProtocol) writes to: the [`Transport`], which it dereferences
/// to, and [`send_frame`](Self::send_frame). It is the same for all framers.
pub struct FrameTransport<'a> {
    inner: &'a mut (dyn Transport + 'a),
    framer: &'a dyn Framer,
}

impl<'a> FrameTransport<'a> {
    pub(super) fn new(inner: &'a mut (dyn Transport + 'a), framer: &'a dyn Framer) -> Self {
        Self { inner, framer }
    }

    /// Queues a copy of `frame` with its borders; limits as [`write`](Transport::write).
    ///
    /// The framer's `max_length` does not hold here, as it is about what this side takes.
    ///
    /// # Errors
    ///
    /// The framer cannot express it: it is too long for the prefix, contains the delimiter, or does
    /// not have the fixed length. Nothing was queued.
    pub fn send_frame(&mut self, frame: impl AsRef<[u8]>) -> Result<(), FrameError> {
        // In one write: a long frame must not be taken and its borders refused.
        self.framer.encode(frame.as_ref(), &mut |parts| self.inner.write_vectored(parts))
    }
}

impl<'a> Deref for FrameTransport<'a> {
    type Target = dyn Transport + 'a;

    fn deref(&self) -> &Self::Target {
        self.inner
    }
}

impl DerefMut for FrameTransport<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.inner
    }
}

impl fmt::Debug for FrameTransport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameTransport").field("info", self.inner.info()).finish_non_exhaustive()
    }
}
