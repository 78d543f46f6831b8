//! [`Failure`]: why the program ends with an exit code other than 0.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use netframe::{CloseReason, Endpoint};

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
    Start(Box<netframe::Error>),
    #[error("cannot watch for signals")]
    Signals { source: io::Error },
    #[error("a listener broke")]
    Listener { source: io::Error },
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
            Self::Setting(_) | Self::Option(_) | Self::ConnectStdio => 2,
            Self::Start(error) => match **error {
                netframe::Error::Endpoint(_)
                | netframe::Error::Limits(_)
                | netframe::Error::Unsupported { .. }
                | netframe::Error::NeedsStream { .. }
                | netframe::Error::NeedsDatagrams { .. } => 2,
                _ => 1,
            },
            Self::Signals { .. }
            | Self::Listener { .. }
            | Self::Runtime { .. }
            | Self::Stdin { .. }
            | Self::Datagram { .. }
            | Self::Stdout { .. }
            | Self::Unreachable { .. }
            | Self::Lost { .. } => 1,
        })
    }
}

impl From<netframe::Error> for Failure {
    fn from(error: netframe::Error) -> Self {
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
