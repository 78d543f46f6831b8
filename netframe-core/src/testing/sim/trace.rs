//! [`Trace`]: what a network did, as text.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Lines that are kept; the hash knows all of them.
const KEPT: usize = 20_000;

/// What happened in a simulation, in order: the same seed gives the same trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    count: u64,
    /// Of all lines, those too that are not kept.
    hash: u64,
}

impl Trace {
    pub(super) fn add(&mut self, at: Duration, text: fmt::Arguments<'_>) {
        let mut line = format!("{:>12.6} ", at.as_secs_f64());
        // Writing to a string does not fail.
        let _ = line.write_fmt(text);
        let mut hasher = DefaultHasher::new(); // its keys are constant
        (self.hash, &line).hash(&mut hasher);
        self.hash = hasher.finish();
        self.count += 1;
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The latest lines, up to 20 000: the time in seconds, and what happened.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().map(|line| &**line)
    }

    /// How many lines there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last `count` lines as text.
    pub fn tail(&self, count: usize) -> String {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).fold(String::new(), |text, line| text + line + "\n")
    }
}

/// All lines were the same, also those that are not kept.
impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        (self.count, self.hash) == (other.count, other.hash) && self.lines == other.lines
    }
}

impl Eq for Trace {}
