//! [`Prefixed`]: frames whose length goes before them.

use std::ops::ControlFlow::{Break, Continue};

use netframe_core::bytes::Bytes;

use super::{
    Endian, Frame, FrameError, Framer, FramerError, Int, LengthPrefix, MAX_PREFIX, Netstring,
    Varint,
};

/// Bytes that a frame with a prefix may have unless said otherwise, the borders not counted: 100 000,
/// or what the prefix takes if that is less.
pub const DEFAULT_MAX_LENGTH: usize = 100_000;

/// The framer of a [`LengthPrefix`]; each byte of a prefix is looked at once, and those of a frame not
/// at all.
#[derive(Clone, Debug)]
pub struct Prefixed<L> {
    prefix: L,
    max_length: usize,
    /// Bytes of the prefix of a frame with `max_length`: none that is taken has more.
    longest_prefix: usize,
    /// Invariant: the first `read` bytes of the unconsumed data are of a prefix, and come to `length`.
    read: usize,
    length: usize,
    /// The prefix is whole.
    is_known: bool,
}

impl Prefixed<Netstring> {
    /// Netstrings: `5:hello,`. Up to 100 000 bytes.
    pub fn netstring() -> Self {
        Self::with_defaults(Netstring)
    }
}

impl Prefixed<Int> {
    /// A length of one byte; up to 255 bytes.
    pub fn int8() -> Self {
        Self::with_defaults(Int::int8())
    }

    /// A length of two bytes; up to 65 535 bytes.
    pub fn int16(endian: Endian) -> Self {
        Self::with_defaults(Int::int16(endian))
    }

    /// A length of four bytes; up to 100 000 bytes.
    pub fn int32(endian: Endian) -> Self {
        Self::with_defaults(Int::int32(endian))
    }
}

impl Prefixed<Varint> {
    /// A length as Protocol Buffers write one; up to 100 000 bytes.
    pub fn varint() -> Self {
        Self::with_defaults(Varint)
    }
}

impl<L: LengthPrefix> Prefixed<L> {
    /// The framer of any prefix, for frames of up to `max_length` bytes.
    ///
    /// # Errors
    ///
    /// `max_length` is 0, or more than the prefix takes.
    pub fn new(prefix: L, max_length: usize) -> Result<Self, FramerError> {
        Self::with_defaults(prefix).with_max_length(max_length)
    }

    /// The same framer with another limit: bytes that a frame may have, the borders not counted. A
    /// peer that sends more is disconnected, as soon as its prefix says so.
    ///
    /// ```
    /// use netframe_protocols::frame::{FramerError, Prefixed};
    ///
    /// let framer = Prefixed::netstring().with_max_length(1000)?;
    /// let error = Prefixed::int8().with_max_length(300).unwrap_err();
    /// assert_eq!(error.to_string(), "`max_length` is 300, and the prefix takes at most 255; lower it");
    /// # Ok::<(), FramerError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// It is 0, or more than the prefix takes.
    pub fn with_max_length(self, max_length: usize) -> Result<Self, FramerError> {
        let most = self.prefix.most();
        if max_length == 0 {
            return Err(FramerError::ZeroMaxLength { most: most.min(DEFAULT_MAX_LENGTH as u64) });
        }
        if max_length as u64 > most {
            return Err(FramerError::MaxLengthAbovePrefix { max_length, most });
        }
        Ok(Self::with_limit(self.prefix, max_length))
    }

    fn with_defaults(prefix: L) -> Self {
        let max_length = prefix.most().min(DEFAULT_MAX_LENGTH as u64) as usize;
        Self::with_limit(prefix, max_length)
    }

    fn with_limit(prefix: L, max_length: usize) -> Self {
        let longest_prefix = prefix.write(max_length as u64, &mut [0; MAX_PREFIX]);
        Self { prefix, max_length, longest_prefix, read: 0, length: 0, is_known: false }
    }

    /// Reads on in the prefix; says whether it is whole.
    fn read_prefix(&mut self, data: &[u8]) -> Result<bool, FrameError> {
        while !self.is_known {
            let Some(&byte) = data.get(self.read) else { return Ok(false) };
            let read = self.prefix.read(self.read, self.length as u64, byte)?;
            let (Break(length) | Continue(length)) = read;
            let is_long = read.is_continue() && self.read + 1 >= self.longest_prefix;
            self.length = usize::try_from(length)
                .ok()
                .filter(|length| !is_long && *length <= self.max_length)
                .ok_or(FrameError::TooLong { max_length: self.max_length })?;
            self.read += 1;
            self.is_known = read.is_break();
        }
        Ok(true)
    }
}

impl<L: LengthPrefix> Framer for Prefixed<L> {
    fn next_frame(&mut self, data: &[u8]) -> Result<Option<Frame>, FrameError> {
        if !self.read_prefix(data)? {
            return Ok(None);
        }
        // What cannot be in memory never arrives.
        let end = self.read.saturating_add(self.length);
        let wire_length = end.saturating_add(L::SUFFIX.len());
        let Some(suffix) = data.get(end..wire_length) else { return Ok(None) };
        if suffix != L::SUFFIX {
            let suffix = Bytes::from_static(L::SUFFIX);
            return Err(FrameError::BadSuffix { length: self.length, suffix });
        }
        let payload = self.read..end;
        (self.read, self.length, self.is_known) = (0, 0, false);
        Ok(Some(Frame { payload, wire_length }))
    }

    fn encode(&self, frame: &[u8], write: &mut dyn FnMut(&[&[u8]])) -> Result<(), FrameError> {
        let (length, most) = (frame.len(), self.prefix.most());
        if length as u64 > most {
            return Err(FrameError::TooLongForPrefix { length, most });
        }
        let mut prefix = [0; MAX_PREFIX];
        let len = self.prefix.write(length as u64, &mut prefix);
        write(&[&prefix[..len], frame, L::SUFFIX]);
        Ok(())
    }

    fn max_wire_length(&self) -> usize {
        self.max_length.saturating_add(self.longest_prefix + L::SUFFIX.len())
    }
}
