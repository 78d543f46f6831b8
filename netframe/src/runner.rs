//! The runner: from a command line to running listeners, and to an exit code.

use std::process::ExitCode;

use clap::Parser;

mod args;
mod choice;
mod connect;
mod failure;
mod log;
mod registry;
mod serve;
mod setting;
mod signals;

use self::args::{Args, Command};
use self::failure::{Chain, complain};

/// Runs the command of this process.
pub(crate) fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Serve(args) => serve::serve(args).map(|()| ExitCode::SUCCESS),
        Command::Connect(args) => connect::connect(args),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            complain(Chain(&failure));
            failure.exit_code()
        }
    }
}
