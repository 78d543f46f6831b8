//! [`Match`]: what was found.

use std::ops::Range;

use netframe_core::bytes::Bytes;

/// What was found, and what came before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    index: usize,
    before: usize,
    groups: Vec<Option<Range<usize>>>,
    bytes: Bytes,
}

impl Match {
    /// `bytes` are all up to its end; it begins behind `before` of them.
    pub(super) fn new(
        index: usize,
        before: usize,
        groups: Vec<Option<Range<usize>>>,
        bytes: Bytes,
    ) -> Self {
        Self { index, before, groups, bytes }
    }

    /// Which of the patterns it is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What came before it, since the last match.
    pub fn before(&self) -> &[u8] {
        &self.bytes[..self.before]
    }

    /// What matched.
    pub fn matched(&self) -> &[u8] {
        &self.bytes[self.before..]
    }

    /// What the group of a regular expression matched, if it did; 0 is all of it.
    pub fn group(&self, number: usize) -> Option<&[u8]> {
        self.groups.get(number)?.clone().map(|range| &self.bytes[range])
    }
}
