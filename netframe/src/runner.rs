//! The runner: a program that serves protocols by their names, from a command line or one
//! configuration file. The program `netframe` is one, with netframe's own protocols; yours is
//! another, with yours:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use netframe::runner::{Entry, Runner};
//! use netframe::{ConnectionInfo, Protocol, Result, Transport, bytes::BytesMut};
//!
//! /// Answers everything in upper case.
//! struct Shout;
//!
//! impl Protocol for Shout {
//!     async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
//!         t.write(&data.split().to_ascii_uppercase());
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     let shout = || |_: &ConnectionInfo| Shout;
//!     Runner::new("shoutd").protocol(Entry::plain("shout", "answers in upper case", shout)).main()
//! }
//! ```
//!
//! That program has the commands `serve`, `run`, `check`, `protocols`, `connect` and `completions`,
//! obeys signals, reads its configuration again on SIGHUP, and tells systemd how things stand.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

mod args;
mod check;
mod choice;
mod config;
mod connect;
mod failure;
mod host;
mod log;
mod protocols;
mod ready;
mod registry;
mod report;
mod run;
mod serve;
mod service;
mod setting;
mod signals;
mod site;

use self::args::Command;
use self::failure::{Chain, Failure, complain};
use self::registry::Registry;
pub use self::registry::{Entry, Memory, NoOptions};

/// A program that serves protocols by their names.
///
/// ```no_run
/// use netframe::runner::Runner;
///
/// fn main() -> std::process::ExitCode {
///     Runner::new("netd").version(env!("CARGO_PKG_VERSION")).ready_protocols().main()
/// }
/// ```
pub struct Runner {
    name: &'static str,
    version: &'static str,
    about: Option<&'static str>,
    registry: Registry,
}

impl Runner {
    /// A program of this name, still without protocols.
    pub fn new(name: &'static str) -> Self {
        let (version, registry) = (env!("CARGO_PKG_VERSION"), Registry::default());
        Self { name, version, about: None, registry }
    }

    /// What `--version` tells; netframe's where it is not called.
    pub fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    /// What the program is, in one sentence of its help.
    pub fn about(mut self, about: &'static str) -> Self {
        self.about = Some(about);
        self
    }

    /// Adds a protocol, in place of one that has the same name.
    ///
    /// # Panics
    ///
    /// The defaults of its options cannot be written as TOML.
    pub fn protocol<O>(mut self, entry: Entry<O>) -> Self
    where
        O: Default + Serialize + DeserializeOwned + 'static,
    {
        self.registry.add(entry);
        self
    }

    /// Adds the protocols that netframe itself has.
    pub fn ready_protocols(mut self) -> Self {
        ready::add_to(&mut self.registry);
        self
    }

    /// Does what the command line of this process asks for, to the end of the program.
    ///
    /// It installs a subscriber for the log and handlers for signals, as the program is its own.
    pub fn main(self) -> ExitCode {
        let Self { name, version, about, registry } = self;
        let registry = Arc::new(registry);
        let mut command = args::command(name, version, about, &registry);
        let args = args::parse(command.clone());
        let success = |()| ExitCode::SUCCESS;
        let outcome = match args.command {
            Command::Serve(args) => serve::serve(args, &registry).map(success),
            Command::Run(args) => run::run(&args, &registry).map(success),
            Command::Check(args) => check::check(&args, &registry).map(success),
            Command::Protocols(args) => protocols::protocols(&args, &registry).map(success),
            Command::Connect(args) => connect::connect(args),
            Command::Completions(args) => completions(args.shell, &mut command, name).map(success),
        };
        match outcome {
            Ok(code) => code,
            Err(failure) => {
                match &failure {
                    // It has the whole text already.
                    Failure::Located { problem, .. } => complain(problem),
                    failure => complain(Chain(failure)),
                }
                failure.exit_code()
            }
        }
    }
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Prints a script for a shell.
fn completions(
    shell: clap_complete::Shell,
    command: &mut clap::Command,
    name: &str,
) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    use std::io::Write;
    std::io::stdout().write_all(&script).map_err(|source| Failure::Stdout { source })
}

/// What a fuzz target calls: any text is a configuration or is refused, with the place of every
/// problem. Not part of the public API.
#[doc(hidden)]
pub fn fuzz_config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let mut registry = Registry::default();
    ready::add_to(&mut registry);
    if let Err(problems) = config::Config::check(text, &registry) {
        assert!(!problems.is_empty(), "a refusal says why");
        for problem in problems {
            assert!(problem.to_string().starts_with("fuzz.toml"), "{problem}");
        }
    }
}
