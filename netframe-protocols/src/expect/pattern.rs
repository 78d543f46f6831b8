//! [`Pattern`]: what is waited for.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use memchr::memmem::Finder;
use regex::bytes::Regex;

/// What is waited for: bytes as they are, or a regular expression. A `&str` and bytes are literal.
///
/// ```
/// use netframe_protocols::expect::Pattern;
///
/// assert_eq!(Pattern::from("login: ").to_string(), r#""login: ""#);
/// assert_eq!(Pattern::regex(r"(\w+)@device[>#]")?.to_string(), r"/(\w+)@device[>#]/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Literal(Arc<Finder<'static>>),
    Regex(Regex),
}

impl Pattern {
    /// Bytes as they are. None at all match at once.
    pub fn literal(bytes: impl AsRef<[u8]>) -> Self {
        Self(Kind::Literal(Arc::new(Finder::new(bytes.as_ref()).into_owned())))
    }

    /// A regular expression of the crate [regex], by its module for bytes.
    ///
    /// It sees what has come so far and no more: `\d+` matches as soon as one digit is there, and `$`
    /// the end of what has come. A border behind it (`(\d+)\r\n`) says what must have come.
    ///
    /// # Errors
    ///
    /// It is no regular expression.
    pub fn regex(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(pattern).map(Self::from)
    }

    /// Where it matches first, if it does; `scanned` is how much of `data` was looked at already, and
    /// is changed to how much need not be looked at again.
    pub(super) fn find(&self, data: &[u8], scanned: &mut usize) -> Option<Range<usize>> {
        match &self.0 {
            Kind::Literal(finder) => {
                let len = finder.needle().len();
                let found = finder.find(&data[*scanned..]).map(|at| *scanned + at);
                // The last bytes may be its beginning.
                *scanned = data.len().saturating_sub(len.saturating_sub(1)).max(*scanned);
                found.map(|at| at..at + len)
            }
            Kind::Regex(regex) => regex.find(data).map(|found| found.range()),
        }
    }

    /// Where its groups are, the whole first, for one that matches.
    pub(super) fn groups(&self, data: &[u8], whole: Range<usize>) -> Vec<Option<Range<usize>>> {
        let captures = match &self.0 {
            Kind::Literal(_) => None,
            Kind::Regex(regex) => regex.captures(data),
        };
        captures.map_or_else(
            || vec![Some(whole)],
            |groups| groups.iter().map(|group| group.map(|group| group.range())).collect(),
        )
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Literal(finder) => write!(f, "\"{}\"", finder.needle().escape_ascii()),
            Kind::Regex(regex) => write!(f, "/{regex}/"),
        }
    }
}

impl From<Regex> for Pattern {
    fn from(regex: Regex) -> Self {
        Self(Kind::Regex(regex))
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self::literal(text)
    }
}

impl From<&[u8]> for Pattern {
    fn from(bytes: &[u8]) -> Self {
        Self::literal(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Pattern {
    fn from(bytes: &[u8; N]) -> Self {
        Self::literal(bytes)
    }
}

impl From<&Self> for Pattern {
    fn from(pattern: &Self) -> Self {
        pattern.clone()
    }
}
