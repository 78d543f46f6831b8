//! Near misses: which known word was probably meant.

/// The word of `known` that is nearest to `found`, if it is near enough to be worth a guess.
pub(super) fn nearest(
    found: &str,
    known: impl IntoIterator<Item = &'static str>,
) -> Option<&'static str> {
    let found = found.to_lowercase();
    // Among words of three letters, two edits apart is no likeness.
    let near = if found.len() < 5 { 1 } else { 2 };
    known
        .into_iter()
        .map(|word| (edits(found.as_bytes(), word.as_bytes()), word))
        .filter(|&(edits, _)| edits <= near)
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment). The cost is `a.len() * b.len()`; an endpoint's length is bounded.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["tcp", "unix", "nodelay", "reuse_port"];
        for (found, want) in [
            ("tpc", Some("tcp")),
            ("TCP", Some("tcp")),
            ("tcpp", Some("tcp")),
            ("tls", None),
            ("nodeley", Some("nodelay")),
            ("no_delay", Some("nodelay")),
            ("reuse-port", Some("reuse_port")),
            ("reuseport", Some("reuse_port")),
            ("backlog", None),
            ("", None),
            ("tçp", None),
        ] {
            assert_eq!(nearest(found, known), want, "{found}");
        }
    }
}
