//! [`Source`]: the text of a file, and [`Problem`]: what is wrong at one place of it.

use std::fmt;
use std::ops::Range;

/// A file that was read.
pub(super) struct Source {
    name: String,
    pub(super) text: String,
    /// Where each line begins, but for the first.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: String, text: String) -> Self {
        let lines = text.match_indices('\n').map(|(offset, _)| offset + 1).collect();
        Self { name, text, lines }
    }

    /// Line and column of a place, from 1; columns count characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.lines.partition_point(|start| *start <= offset);
        let start = before.checked_sub(1).map_or(0, |last| self.lines[last]);
        let end = self.text.floor_char_boundary(offset);
        (before + 1, self.text[start..end].chars().count() + 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_line_and_a_column() {
        let source = Source::new(String::new(), "ab\n\nä!\n".to_owned());
        let positions = [(1, 1), (1, 2), (1, 3), (2, 1), (3, 1), (3, 1), (3, 2), (3, 3), (4, 1)];
        for (offset, want) in positions.into_iter().enumerate() {
            assert_eq!(source.position(offset), want, "{offset}");
        }
        assert_eq!(source.position(1000), (4, 1), "behind the end");
    }
}
