//! [`Failure`]: why the program ends with an exit code other than 0.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::{CloseReason, Endpoint, Leaks};

use super::setting::SettingError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("{}", .0.join("\nerror: "))]
    Wrong(Vec<String>),
    #[error(transparent)]
    Start(Box<crate::Error>),
    #[error("{problem}")]
    Located { problem: String, source: Box<crate::Error> },
    #[error("cannot watch for signals")]
    Signals { source: io::Error },
    #[error("a listener broke")]
    Listener { source: io::Error },
    #[error("not everything was given back: {leaks}")]
    Leaked { leaks: Leaks },
    #[error("`stdio:` is the other end already; name where to connect it to")]
    ConnectStdio,
    #[error("cannot start a runtime or a thread")]
    Runtime { source: io::Error },
    #[error("cannot read stdin")]
    Stdin { source: io::Error },
    #[error("cannot send what is on stdin, of which `--chunk` makes shorter datagrams")]
    Datagram { source: io::Error },
    #[error("cannot write to stdout")]
    Stdout { source: io::Error },
    #[error("cannot reach {endpoint}: {cause}")]
    Unreachable { endpoint: Box<Endpoint>, cause: String },
    #[error("lost the connection to {endpoint}: {reason}")]
    Lost { endpoint: Box<Endpoint>, reason: CloseReason },
}

impl Failure {
    /// 2 if another command line is needed, 1 if the same one might work another time.
    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Setting(_) | Self::Wrong(_) | Self::ConnectStdio => 2,
            Self::Start(error) | Self::Located { source: error, .. } => match **error {
                crate::Error::Endpoint(_)
                | crate::Error::Limits(_)
                | crate::Error::Unsupported { .. }
                | crate::Error::NeedsStream { .. }
                | crate::Error::NeedsDatagrams { .. }
                | crate::Error::ShapesStreams { .. } => 2,
                _ => 1,
            },
            Self::Signals { .. }
            | Self::Listener { .. }
            | Self::Leaked { .. }
            | Self::Runtime { .. }
            | Self::Stdin { .. }
            | Self::Datagram { .. }
            | Self::Stdout { .. }
            | Self::Unreachable { .. }
            | Self::Lost { .. } => 1,
        })
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self::Start(Box::new(error))
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
