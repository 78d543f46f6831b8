//! [`Fixed`]: frames that all have the same length.

use super::{Frame, FrameError, Framer, FramerError};

/// Frames without borders, which all have the same length.
///
/// ```
/// use netframe_protocols::frame::{Fixed, Framer};
///
/// let mut framer = Fixed::new(4)?;
/// assert_eq!(framer.next_frame(b"abcde")?.expect("it is whole").payload, 0..4);
/// assert_eq!(framer.next_frame(b"e")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    length: usize,
}

impl Fixed {
    /// Frames of `length` bytes.
    ///
    /// # Errors
    ///
    /// It is 0.
    pub fn new(length: usize) -> Result<Self, FramerError> {
        if length == 0 { Err(FramerError::ZeroLength) } else { Ok(Self { length }) }
    }
}

impl Framer for Fixed {
    fn next_frame(&mut self, data: &[u8]) -> Result<Option<Frame>, FrameError> {
        let frame = Frame { payload: 0..self.length, wire_length: self.length };
        Ok((data.len() >= self.length).then_some(frame))
    }

    fn encode(&self, frame: &[u8], write: &mut dyn FnMut(&[&[u8]])) -> Result<(), FrameError> {
        if frame.len() != self.length {
            return Err(FrameError::WrongLength { length: frame.len(), expected: self.length });
        }
        write(&[frame]);
        Ok(())
    }

    fn max_wire_length(&self) -> usize {
        self.length
    }
}
