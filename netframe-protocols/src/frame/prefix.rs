//! [`LengthPrefix`]: how a length is written before its frame, and the ways that are in use.

use std::fmt;
use std::ops::ControlFlow::{self, Break, Continue};

use serde::{Deserialize, Serialize};

use super::FrameError;

/// Bytes that a prefix has at most.
pub const MAX_PREFIX: usize = 24;

/// How the length of a frame is written before it. [`Prefixed`](super::Prefixed) is the framer of it.
///
/// One length must have one prefix: whatever else could mean the same is an error.
///
/// ```
/// use std::ops::ControlFlow::{self, Break, Continue};
///
/// use netframe_protocols::frame::{FrameError, Framer, LengthPrefix, MAX_PREFIX, Prefixed};
///
/// /// Three bytes, as in TLS and HTTP/2.
/// #[derive(Clone, Debug)]
/// struct Int24;
///
/// impl LengthPrefix for Int24 {
///     fn most(&self) -> u64 {
///         0xff_ffff
///     }
///
///     fn read(&self, at: usize, length: u64, byte: u8) -> Result<ControlFlow<u64, u64>, FrameError> {
///         let length = length << 8 | u64::from(byte);
///         Ok(if at == 2 { Break(length) } else { Continue(length) })
///     }
///
///     fn write(&self, length: u64, out: &mut [u8; MAX_PREFIX]) -> usize {
///         out[..3].copy_from_slice(&length.to_be_bytes()[5..]);
///         3
///     }
/// }
///
/// let mut framer = Prefixed::new(Int24, 100_000)?;
/// let frame = framer.next_frame(b"\0\0\x02hi\0")?.expect("it is whole");
/// assert_eq!((frame.payload, frame.wire_length), (3..5, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait LengthPrefix: fmt::Debug + Send + Sync + 'static {
    /// What is behind each frame; nothing by default.
    const SUFFIX: &'static [u8] = b"";

    /// The greatest length that it can say.
    fn most(&self) -> u64;

    /// Reads byte `at` of a prefix; `length` is what the ones before it come to, 0 at first. Returns
    /// what it is with this one, as [`Break`] once the prefix is whole.
    ///
    /// More bytes never make it less: it is compared to `max_length` after each.
    ///
    /// # Errors
    ///
    /// [`FrameError::BadLength`]: the byte cannot be there.
    fn read(&self, at: usize, length: u64, byte: u8) -> Result<ControlFlow<u64, u64>, FrameError>;

    /// Writes the prefix of a length, of [`most`](Self::most) at most, to the beginning of `out`;
    /// returns how many bytes it has.
    fn write(&self, length: u64, out: &mut [u8; MAX_PREFIX]) -> usize;
}

/// A netstring (<https://cr.yp.to/proto/netstrings.txt>): decimal digits without a leading zero, and
/// `:`; the frame is followed by `,`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Netstring;

impl LengthPrefix for Netstring {
    const SUFFIX: &'static [u8] = b",";

    fn most(&self) -> u64 {
        u64::MAX
    }

    fn read(&self, at: usize, length: u64, byte: u8) -> Result<ControlFlow<u64, u64>, FrameError> {
        match byte {
            b':' if at > 0 => Ok(Break(length)),
            // Only `0` itself begins with one.
            b'0'..=b'9' if at == 0 || length > 0 => {
                Ok(Continue(length.saturating_mul(10).saturating_add(u64::from(byte - b'0'))))
            }
            _ => Err(FrameError::BadLength { at, byte }),
        }
    }

    fn write(&self, length: u64, out: &mut [u8; MAX_PREFIX]) -> usize {
        let digits = length.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut rest = length;
        for place in out[..digits].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        out[digits] = b':';
        digits + 1
    }
}

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Endian {
    /// The most significant one: the order of networks.
    #[default]
    Big,
    /// The least significant one.
    Little,
}

/// An unsigned number of one, two or four bytes.
#[derive(Clone, Copy, Debug)]
pub struct Int {
    width: u8,
    endian: Endian,
}

impl Int {
    /// One byte.
    pub const fn int8() -> Self {
        Self { width: 1, endian: Endian::Big }
    }

    /// Two bytes.
    pub const fn int16(endian: Endian) -> Self {
        Self { width: 2, endian }
    }

    /// Four bytes.
    pub const fn int32(endian: Endian) -> Self {
        Self { width: 4, endian }
    }
}

impl LengthPrefix for Int {
    fn most(&self) -> u64 {
        (1 << (8 * self.width)) - 1
    }

    fn read(&self, at: usize, length: u64, byte: u8) -> Result<ControlFlow<u64, u64>, FrameError> {
        let length = match self.endian {
            Endian::Big => length << 8 | u64::from(byte),
            Endian::Little => length | u64::from(byte) << (8 * at),
        };
        let is_last = at + 1 == usize::from(self.width);
        Ok(if is_last { Break(length) } else { Continue(length) })
    }

    fn write(&self, length: u64, out: &mut [u8; MAX_PREFIX]) -> usize {
        let width = usize::from(self.width);
        match self.endian {
            Endian::Big => out[..width].copy_from_slice(&length.to_be_bytes()[8 - width..]),
            Endian::Little => out[..width].copy_from_slice(&length.to_le_bytes()[..width]),
        }
        width
    }
}

/// A varint of Protocol Buffers (unsigned LEB128): seven bits in each byte, the least significant ones
/// first, and a high bit in all but the last. It has the fewest bytes that are possible: at most five
/// for 32 bits, ten for 64.
#[derive(Clone, Copy, Debug, Default)]
pub struct Varint;

impl LengthPrefix for Varint {
    fn most(&self) -> u64 {
        u64::MAX
    }

    fn read(&self, at: usize, length: u64, byte: u8) -> Result<ControlFlow<u64, u64>, FrameError> {
        let bad = FrameError::BadLength { at, byte };
        let bits = u64::from(byte & 0x7f);
        if at > 9 || at == 9 && byte > 1 || at > 0 && byte == 0 {
            return Err(bad); // more than 64 bits, or more bytes than are needed
        }
        let length = length | bits << (7 * at);
        Ok(if byte < 0x80 { Break(length) } else { Continue(length) })
    }

    fn write(&self, length: u64, out: &mut [u8; MAX_PREFIX]) -> usize {
        let mut rest = length;
        let mut len = 0;
        while rest >= 0x80 {
            out[len] = 0x80 | (rest & 0x7f) as u8;
            rest >>= 7;
            len += 1;
        }
        out[len] = rest as u8;
        len + 1
    }
}
