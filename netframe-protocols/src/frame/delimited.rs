//! [`Delimited`]: frames that end with bytes of one's own.

use netframe_core::bytes::Bytes;

use super::{Frame, FrameError, Framer, FramerError};
use crate::line::{Delimiter, LineError, LineFramer, LineOptions, LineOptionsError, ends_early};

/// Frames that end with a delimiter, which is none of their bytes; the first one wins. The search is
/// that of [`LineFramer`], with the same promises; [`Lines`](crate::line::Lines) has a raw mode beside.
///
/// ```
/// use netframe_core::testing::replay;
/// use netframe_protocols::frame::{Delimited, FrameEcho, Frames};
///
/// let framer = Delimited::new(b"\0", 1000)?;
/// let answered = replay(b"one\0two\0", || Frames::new(FrameEcho, framer.clone()));
/// assert_eq!(answered.written, b"one\0two\0");
/// # Ok::<(), netframe_protocols::frame::FramerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Delimited(LineFramer);

impl Delimited {
    /// Frames of up to `max_length` bytes, the delimiter not counted.
    ///
    /// # Errors
    ///
    /// The delimiter is empty, or `max_length` is 0.
    pub fn new(delimiter: impl AsRef<[u8]>, max_length: usize) -> Result<Self, FramerError> {
        let delimiter = Delimiter::Bytes(Bytes::copy_from_slice(delimiter.as_ref()));
        let framer = LineFramer::new(LineOptions { delimiter, max_length });
        framer.map(Self).map_err(|error| match error {
            LineOptionsError::EmptyDelimiter => FramerError::EmptyDelimiter,
            LineOptionsError::ZeroMaxLength => {
                FramerError::ZeroMaxLength { most: super::DEFAULT_MAX_LENGTH as u64 }
            }
        })
    }
}

impl Framer for Delimited {
    fn next_frame(&mut self, data: &[u8]) -> Result<Option<Frame>, FrameError> {
        let found = self.0.find_line(data).map_err(|error| match error {
            LineError::TooLong { max_length } => FrameError::TooLong { max_length },
            LineError::UnexpectedEof { len } => FrameError::UnexpectedEof { len },
            LineError::ContainsDelimiter => FrameError::ContainsDelimiter,
        })?;
        let delimiter = self.0.delimiter().len();
        Ok(found.map(|len| Frame { payload: 0..len, wire_length: len + delimiter }))
    }

    fn encode(&self, frame: &[u8], write: &mut dyn FnMut(&[&[u8]])) -> Result<(), FrameError> {
        if ends_early(frame, self.0.delimiter()) {
            return Err(FrameError::ContainsDelimiter);
        }
        write(&[frame, self.0.delimiter()]);
        Ok(())
    }

    fn max_wire_length(&self) -> usize {
        self.0.max_length().saturating_add(self.0.delimiter().len())
    }
}
