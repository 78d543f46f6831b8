//! Bugs that are put in on purpose, to see that the simulated network finds them. They are there only
//! with `--cfg netframe_bug`, which no build but one of CI has (`.ci/with-bugs`); the variable
//! `NETFRAME_BUG` then says which of them is.

/// A bug, by its name in `NETFRAME_BUG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// `last-chunk`: what the stream below does not take at once is dropped in a close after the
    /// peer's half-close.
    LastChunk,
    /// `after-close`: what arrives after a close is delivered.
    AfterClose,
}

#[cfg(not(netframe_bug))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(netframe_bug)]
pub(crate) fn planted(bug: Bug) -> bool {
    static PLANTED: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| match std::env::var("NETFRAME_BUG").ok()?.as_str() {
        "last-chunk" => Some(Bug::LastChunk),
        "after-close" => Some(Bug::AfterClose),
        other => panic!("NETFRAME_BUG is last-chunk or after-close, not {other:?}"),
    });
    *planted == Some(bug)
}
