//! [`Source`]: the text of a file, and [`Problem`]: what is wrong at one place of it.

use std::fmt;
use std::ops::Range;

/// A file that was read.
pub(super) struct Source {
    name: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn new(name: String, text: String) -> Self {
        Self { name, text }
    }

    /// Line and column of a place, from 1; columns count characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }

    pub(super) fn problem(&self, span: Range<usize>, text: String) -> Problem {
        Problem { file: self.name.clone(), position: Some(self.position(span.start)), text }
    }
}

/// What is wrong with a file, at which place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    file: String,
    position: Option<(usize, usize)>,
    text: String,
}

impl Problem {
    /// Of the file as a whole.
    pub(super) fn of_file(file: String, text: String) -> Self {
        Self { file, position: None, text }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.text)
    }
}
