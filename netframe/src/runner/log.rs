//! What is logged, on stderr.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{Log, LogFormat};
use super::choice::Choice;
use super::report;

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// Logs from now on, in the whole process.
pub(super) fn start(log: &Log) {
    let mut filter = log.filter.clone();
    if filter != Targets::new().with_default(LevelFilter::OFF) {
        filter = filter.with_target(report::TARGET, LevelFilter::INFO);
    }
    let stderr = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // It would be told on stderr, which is what is broken then, with a macro that panics.
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry();
    match log.format {
        LogFormat::Text => registry.with(stderr.with_filter(filter)).init(),
        LogFormat::Json => registry.with(stderr.json().with_filter(filter)).init(),
    }
}

/// A filter from `LEVEL` or `MODULE=LEVEL`, or several of these with commas between them.
///
/// The crate's own parser takes a word that is no level for a module, so that a slip of the pen
/// would silence the log.
pub(super) fn filter(text: &str) -> Result<Targets, UnknownLevel> {
    text.split(',').try_fold(Targets::new(), |filter, part| {
        Ok(match part.split_once('=') {
            Some((module, word)) => filter.with_target(module, level(word)?),
            None => filter.with_default(level(part)?),
        })
    })
}

fn level(word: &str) -> Result<LevelFilter, UnknownLevel> {
    match LEVELS.iter().find(|(name, _)| *name == word) {
        Some((_, level)) => Ok(*level),
        None => Err(UnknownLevel {
            found: word.to_owned(),
            choice: Choice::new(word, "levels", LEVELS.map(|(name, _)| name)),
        }),
    }
}

/// No level has this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown level `{found}`; {choice}")]
pub(super) struct UnknownLevel {
    found: String,
    choice: Choice,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_level_holds_for_all_modules_but_those_named() {
        let filter = filter("warn,netframe_core=debug").unwrap();
        assert!(filter.would_enable("netframe_core::driver", &Level::DEBUG));
        assert!(filter.would_enable("netframe", &Level::WARN));
        assert!(!filter.would_enable("netframe", &Level::INFO));
    }

    #[test]
    fn a_word_that_is_no_level_is_an_error() {
        let error = filter("wran").unwrap_err().to_string();
        assert!(
            error.starts_with("unknown level `wran`; did you mean `warn`? levels: "),
            "{error}"
        );
        assert!(filter("").is_err());
        assert!(filter("info,").is_err());
        assert!(filter("netframe=loud").is_err());
    }
}
