//! What members may make appear on the terminals of others: a [`Name`], and [`printable`] text.

use std::fmt;
use std::sync::Arc;

/// Characters a name may have.
const MAX_NAME_CHARS: usize = 32;

/// Bytes a name may have.
pub(super) const MAX_NAME_BYTES: usize = 4 * MAX_NAME_CHARS;

/// The name of a member or a room: 1 to 32 characters that can be seen. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name(Arc<str>);

impl Name {
    /// The name that the bytes are, if they are one.
    pub(super) fn new(name: &[u8]) -> Option<Self> {
        let name = str::from_utf8(name).ok()?;
        let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count());
        let seen = !name.contains(|c: char| c.is_whitespace() || is_harmful(c) || is_unseen(c));
        (fits && seen).then(|| Self(name.into()))
    }

    /// The same for all names that count as the same: ASCII case makes no difference.
    pub(super) fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text as it may be shown to others; it has at most as many bytes.
///
/// A tab becomes a space; any other control character, what changes the direction of writing or
/// begins a new line, and each invalid sequence of UTF-8 become `?`.
pub(super) fn printable(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        shown.extend(chunk.valid().chars().map(|c| match c {
            '\t' => ' ',
            c if is_harmful(c) => '?',
            c => c,
        }));
        if !chunk.invalid().is_empty() {
            shown.push('?');
        }
    }
    shown
}

/// Whether a terminal might obey it, or show what comes behind it elsewhere.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether two names could differ in it and look the same. Letters that resemble each other are
/// another matter.
fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_have_1_to_32_characters() {
        for (len, is_name) in [(0, false), (1, true), (31, true), (32, true), (33, false)] {
            for c in ["a", "\u{1f980}"] {
                assert_eq!(Name::new(c.repeat(len).as_bytes()).is_some(), is_name, "{len} {c}");
            }
        }
        assert_eq!(Name::new("\u{1f980}".repeat(32).as_bytes()).unwrap().0.len(), MAX_NAME_BYTES);
    }

    #[test]
    fn names_are_seen_as_they_are() {
        for name in ["a", "Zoë", "李", "o'neill", "<b>", "/x", "*"] {
            assert_eq!(Name::new(name.as_bytes()).unwrap().to_string(), name);
        }
        for no_name in
            ["a b", "a\u{a0}b", "a\tb", "a\r", "\x1b[2J", "\u{9b}2J", "a\u{200b}", "\u{202e}ecila"]
        {
            assert!(Name::new(no_name.as_bytes()).is_none(), "{no_name:?}");
        }
        assert!(Name::new(b"al\xffice").is_none());
    }

    #[test]
    fn case_makes_no_difference_within_ascii() {
        let key = |name: &str| Name::new(name.as_bytes()).unwrap().key();
        assert_eq!(key("Alice"), key("aLICE"));
        assert_ne!(key("Zoë"), key("ZOË"), "what else is the same depends on the language");
    }

    #[test]
    fn texts_are_shown_without_what_terminals_obey() {
        for (text, shown) in [
            (&b"hello, world"[..], "hello, world"),
            ("Zoë 李 \u{1f980}".as_bytes(), "Zoë 李 \u{1f980}"),
            (b"a\tb", "a b"),
            (b"\x1b[2J\x07\x7f\0", "?[2J???"),
            (b"100 %\rhello", "100 %?hello"),
            ("\u{9b}2J".as_bytes(), "?2J"),
            ("\u{202e}abc\u{2028}".as_bytes(), "?abc?"),
            (b"a\xff\xfeb\xe2\x82", "a??b?"),
        ] {
            assert_eq!(printable(text), shown, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_shown(text in vec(any::<u8>(), 0..200)) {
            let shown = printable(&text);
            prop_assert!(shown.len() <= text.len());
            prop_assert!(!shown.contains(is_harmful));
            prop_assert_eq!(printable(shown.as_bytes()), shown);
        }

        #[test]
        fn what_can_be_shown_stays(text in "[a-zé \u{1f980}]{0,50}") {
            prop_assert_eq!(printable(text.as_bytes()), text);
        }
    }
}
