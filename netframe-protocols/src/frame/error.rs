//! [`FrameError`]: what can be wrong with a frame; [`FramerError`]: with the options of a framer.

use netframe_core::bytes::Bytes;
use netframe_core::{BoxError, ProtocolError};

/// What is wrong with a frame. [`Frames`](super::Frames) blames the peer, by a [`ProtocolError`], for
/// what it received; the others are bugs of the caller, and nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The peer sends more than a frame may have.
    #[error("a frame exceeds {max_length} bytes; raise `max_length` if such frames are meant")]
    TooLong {
        /// The limit, in bytes, the borders not counted.
        max_length: usize,
    },
    /// What the peer sends where a length is due is none, or one that is not written as it must be.
    #[error("byte {at} of a frame is {byte:#04x}, which cannot be in its length")]
    BadLength {
        /// Where it is, from 0 on.
        at: usize,
        /// What it is.
        byte: u8,
    },
    /// The frame of the peer is longer or shorter than its prefix says.
    #[error("a frame of {length} bytes is not followed by `{}`", suffix.escape_ascii())]
    BadSuffix {
        /// What its prefix says.
        length: usize,
        /// What must be behind each frame.
        suffix: Bytes,
    },
    /// The peer ended its sending side inside a frame.
    #[error("input ended after {len} bytes of an unfinished frame")]
    UnexpectedEof {
        /// Bytes of it that came, its borders included; more than none.
        len: usize,
    },
    /// A bug at the call site: no prefix of this kind says so much.
    #[error("the frame to send has {length} bytes, and its prefix takes at most {most}")]
    TooLongForPrefix {
        /// Bytes of the frame.
        length: usize,
        /// Bytes that a frame may have.
        most: u64,
    },
    /// A bug at the call site: the peer would take the frame for more than one.
    #[error("the frame to send contains the delimiter")]
    ContainsDelimiter,
    /// A bug at the call site: all frames have the same length.
    #[error("the frame to send has {length} bytes, and each must have {expected}")]
    WrongLength {
        /// Bytes of the frame.
        length: usize,
        /// Bytes that it must have.
        expected: usize,
    },
}

impl FrameError {
    /// The error of a callback, with the peer to blame.
    pub(super) fn blame(self) -> BoxError {
        ProtocolError::new(self).into()
    }
}

/// A framer that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FramerError {
    /// No frame but the empty one could ever be received.
    #[error("`max_length` is 0; set the bytes that a frame may have, such as {most}")]
    ZeroMaxLength {
        /// What would do.
        most: u64,
    },
    /// No frame of this length could ever be received.
    #[error("`max_length` is {max_length}, and the prefix takes at most {most}; lower it")]
    MaxLengthAbovePrefix {
        /// What was asked for, in bytes.
        max_length: usize,
        /// What is possible, in bytes.
        most: u64,
    },
    /// Nothing would end a frame.
    #[error("the delimiter is empty; set at least one byte")]
    EmptyDelimiter,
    /// There would be frames without end.
    #[error("frames have a fixed length of 0; set at least one byte")]
    ZeroLength,
}
