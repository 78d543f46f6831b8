//! [`LineTransport`]: a transport that also sends lines and changes the mode.

use std::fmt;
use std::ops::{Deref, DerefMut};

use netframe_core::Transport;

use super::LineError;
use super::framer;

/// What a [`LineProtocol`](super::LineProtocol) writes to: the [`Transport`], which it dereferences
/// to, and what is special to lines.
pub struct LineTransport<'a> {
    inner: &'a mut (dyn Transport + 'a),
    delimiter: &'a [u8],
    raw: &'a mut bool,
}

impl<'a> LineTransport<'a> {
    pub(super) fn new(
        inner: &'a mut (dyn Transport + 'a),
        delimiter: &'a [u8],
        raw: &'a mut bool,
    ) -> Self {
        Self { inner, delimiter, raw }
    }

    /// Queues a copy of `line`, and the delimiter behind it; limits as [`write`](Transport::write).
    ///
    /// `max_length` does not hold here, as it is about what this side takes.
    ///
    /// # Errors
    ///
    /// [`LineError::ContainsDelimiter`]: the peer would see `line` end early. Nothing was queued.
    pub fn send_line(&mut self, line: impl AsRef<[u8]>) -> Result<(), LineError> {
        let line = line.as_ref();
        if framer::ends_early(line, self.delimiter) {
            return Err(LineError::ContainsDelimiter);
        }
        // In one write: a long line must not be taken and its delimiter refused.
        self.inner.write_vectored(&[line, self.delimiter]);
        Ok(())
    }

    /// From the next byte on, what arrives goes to `raw_received`; bytes that are here already
    /// come first.
    pub fn set_raw_mode(&mut self) {
        self.set_raw(true);
    }

    /// From the next unconsumed byte on, what arrives is lines again.
    pub fn set_line_mode(&mut self) {
        self.set_raw(false);
    }

    /// Whether raw mode is set.
    pub fn is_raw(&self) -> bool {
        *self.raw
    }

    fn set_raw(&mut self, raw: bool) {
        let changed = std::mem::replace(self.raw, raw) != raw;
        // Outside of a data callback, such as in `notified`, a leftover of the old mode would wait
        // for more bytes from the peer; the end of a pause has it delivered again without.
        if changed && self.inner.wants_data() {
            self.inner.pause_reading();
            self.inner.resume_reading();
        }
    }
}

impl<'a> Deref for LineTransport<'a> {
    type Target = dyn Transport + 'a;

    fn deref(&self) -> &Self::Target {
        self.inner
    }
}

impl DerefMut for LineTransport<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.inner
    }
}

impl fmt::Debug for LineTransport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineTransport")
            .field("info", self.inner.info())
            .field("raw", &self.raw)
            .finish_non_exhaustive()
    }
}
