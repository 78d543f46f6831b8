//! [`Violation`]: which promise a codec breaks, and the smallest input found that shows it.

use std::fmt;

/// A promise of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Property {
    /// An encoded item is decoded as itself, and nothing is left.
    RoundTrip,
    /// Several frames in one buffer come out one by one, in order.
    Batch,
    /// However the bytes are cut, the frames are the same: those of valid input, and those before the
    /// first error of any other.
    Splits,
    /// The end of input inside a frame is an error, and no frame.
    Truncation,
    /// What must be refused is, after the frames before it.
    Rejection,
    /// A frame that is too long is an error before much is held for it.
    Oversize,
    /// After an error, neither a part of the bad frame nor a frame from before it comes out.
    AfterError,
    /// No input makes it panic.
    Panic,
    /// Every frame takes input: it does not return frames without end.
    Progress,
    /// The next byte of an unfinished frame is not paid for with all before it.
    Cost,
    /// An item that cannot be encoded is an error that leaves the buffer as it was; one that can is
    /// put behind what is there.
    EncodeError,
}

impl Property {
    /// Every property, in the order in which they are checked.
    pub const ALL: [Self; 11] = [
        Self::RoundTrip,
        Self::Batch,
        Self::Splits,
        Self::Truncation,
        Self::Rejection,
        Self::Oversize,
        Self::AfterError,
        Self::Panic,
        Self::Progress,
        Self::Cost,
        Self::EncodeError,
    ];
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundTrip => "round trip",
            Self::Batch => "batch",
            Self::Splits => "splits",
            Self::Truncation => "truncation",
            Self::Rejection => "rejection",
            Self::Oversize => "oversize",
            Self::AfterError => "after an error",
            Self::Panic => "panic",
            Self::Progress => "progress",
            Self::Cost => "cost",
            Self::EncodeError => "encode error",
        })
    }
}

/// A promise that a codec breaks.
#[derive(Clone, Debug)]
pub struct Violation {
    pub(super) property: Property,
    pub(super) fault: Fault,
    pub(super) items: String,
}

impl Violation {
    /// Which one.
    pub fn property(&self) -> Property {
        self.property
    }

    /// The bytes that show it.
    pub fn wire(&self) -> &[u8] {
        &self.fault.wire
    }

    /// The lengths of the pieces in which they came; none if they came at once.
    pub fn split(&self) -> &[usize] {
        &self.fault.split
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the codec breaks `{}`: {}", self.property, self.fault.text)?;
        if !self.items.is_empty() {
            write!(f, "\n  items: {}", self.items)?;
        }
        write!(f, "\n  wire: {} bytes, b\"", self.fault.wire.len())?;
        let shown = self.fault.wire.len().min(MAX_SHOWN);
        write!(f, "{}\"", self.fault.wire[..shown].escape_ascii())?;
        f.write_str(if shown < self.fault.wire.len() { ".." } else { "" })?;
        match &self.fault.split[..] {
            [] => f.write_str("\n  split: none, all at once"),
            split => {
                write!(f, "\n  split: {:?}", &split[..split.len().min(MAX_SHOWN)])?;
                f.write_str(if split.len() > MAX_SHOWN { " .." } else { "" })
            }
        }
    }
}

impl std::error::Error for Violation {}

/// Bytes and pieces shown of a long input.
const MAX_SHOWN: usize = 400;

/// What went wrong with which bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Fault {
    pub(super) text: String,
    pub(super) wire: Vec<u8>,
    pub(super) split: Vec<usize>,
}

impl Fault {
    pub(super) fn new(text: impl Into<String>, wire: &[u8]) -> Self {
        Self { text: text.into(), wire: wire.to_vec(), split: Vec::new() }
    }

    pub(super) fn split(mut self, split: &[usize]) -> Self {
        self.split = split.to_vec();
        self
    }
}
