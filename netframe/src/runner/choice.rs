//! [`Choice`]: what an error offers in place of a word that it does not know.

use std::fmt;

/// The known words, and which of them was probably meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    plural: &'static str,
    nearest: Option<String>,
    known: Vec<String>,
}

impl Choice {
    /// What there is in place of `found`; `plural` says what the words are.
    pub(super) fn new<'a>(
        found: &str,
        plural: &'static str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<_> = known.into_iter().map(str::to_owned).collect();
        let found = found.to_lowercase();
        // Among words of three letters, two edits apart is no likeness.
        let near = if found.len() < 5 { 1 } else { 2 };
        let nearest = known
            .iter()
            .map(|word| (strsim::osa_distance(&found, word), word))
            .filter(|&(edits, _)| edits <= near)
            .min_by_key(|&(edits, _)| edits)
            .map(|(_, word)| word.clone());
        Self { plural, nearest, known }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(nearest) = &self.nearest {
            write!(f, "did you mean `{nearest}`? ")?;
        }
        if self.known.is_empty() {
            return write!(f, "it has no {}", self.plural);
        }
        write!(f, "{}: {}", self.plural, self.known.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let choice = |found| Choice::new(found, "protocols", ["echo", "line-echo"]).to_string();
        assert_eq!(choice("ehco"), "did you mean `echo`? protocols: echo, line-echo");
        assert_eq!(choice("LineEcho"), "did you mean `line-echo`? protocols: echo, line-echo");
        assert_eq!(choice("http"), "protocols: echo, line-echo");
        assert_eq!(Choice::new("x", "options", []).to_string(), "it has no options");
    }
}
