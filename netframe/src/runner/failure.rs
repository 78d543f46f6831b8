//! [`Failure`]: why the program ends with an exit code other than 0.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use super::registry::OptionError;
use super::setting::SettingError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Option(#[from] OptionError),
    #[error(transparent)]
    Start(#[from] netframe::Error),
    #[error("cannot watch for signals")]
    Signals { source: io::Error },
    #[error("a listener broke")]
    Listener { source: io::Error },
}

impl Failure {
    /// 2 if another command line would do better, 1 if it might work on another day.
    pub(super) fn exit_code(&self) -> ExitCode {
        use netframe::Error;
        match self {
            Self::Setting(_)
            | Self::Option(_)
            | Self::Start(
                Error::Endpoint(_)
                | Error::Limits(_)
                | Error::Unsupported { .. }
                | Error::NeedsStream { .. },
            ) => ExitCode::from(2),
            Self::Start(_) | Self::Signals { .. } | Self::Listener { .. } => ExitCode::from(1),
        }
    }
}

/// An error and all its sources in one line.
pub(super) struct Chain<'a>(pub(super) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// Prints an error on stderr. Where there is no stderr any more, there is nobody to tell.
pub(super) fn complain(error: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "error: {error}");
}
