//! The command line, its help included.

use std::fmt::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use tracing_subscriber::filter::Targets;

use super::log;
use super::registry::{Registered, Registry};
use super::setting::Setting;
use crate::Endpoint;

/// Far above any number of cores, and far below what would exhaust a machine.
pub(super) const MAX_WORKERS: usize = 1024;

/// Seconds: a day.
const MAX_DRAIN: u64 = 24 * 60 * 60;

/// Seconds: an hour.
const MAX_TIMEOUT: u64 = 60 * 60;

/// Bytes: the longest datagram.
const MAX_CHUNK: u64 = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  {program} serve {protocol} tcp://127.0.0.1:7007
  {program} connect tcp://127.0.0.1:7007
  {program} check network.toml && {program} run network.toml
  {program} protocols          (all protocols; with a name: its options)

Exit codes:
  0         stopped by SIGINT or SIGTERM, or all connections there can be have ended
  1         could not start, or a listener, the connection, stdin or stdout broke
  2         the command line or the configuration is wrong
  130, 143  stopped at once by SIGINT or SIGTERM; a server by the second one";

const SERVE_EXAMPLES: &str = "\
Examples:
  {program} serve {protocol} tcp://127.0.0.1:7007
  {program} serve {protocol} 'tcp://[::1]:0' tcp://localhost:12345 unix:///tmp/{protocol}.sock
  {program} serve {protocol} tcp://0.0.0.0:7007 --limit idle_timeout=60s --workers 2";

const RUN_EXAMPLES: &str = "\
Example of a file:
  [limits]                      # of the whole process
  max_connections = 10000

  [[service]]
  protocol = \"{protocol}\"             # `{program} protocols` lists all, and their options
  listen = [\"tcp://127.0.0.1:7007\", \"unix:///tmp/{protocol}.sock\"]
  [service.limits]
  max_connections = 1000
  idle_timeout = \"60s\"";

const CHECK_EXAMPLES: &str = "\
Examples:
  {program} check network.toml
  {program} check --bind network.toml && systemctl restart network";

const CONNECT_EXAMPLES: &str = "\
Examples:
  {program} connect tcp://127.0.0.1:7007
  echo hello | {program} connect tcp://localhost:7007
  {program} connect --timeout 2 'tcp://[::1]:7007' < request > answer
  echo hello | {program} connect udp://127.0.0.1:7007";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  {program} completions bash > /etc/bash_completion.d/{program}
  {program} completions zsh > ~/.zfunc/_{program}";

/// Serves network protocols by their names, and connects to them.
#[derive(Debug, Parser)]
#[command(name = "netframe", version)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(Serve),
    Run(Run),
    Check(Check),
    Protocols(Protocols),
    Connect(Connect),
    Completions(Completions),
}

/// Serves a protocol on one or more endpoints.
///
/// Once all are ready, prints one line on stdout for each, with the real port:
/// `listening echo tcp://127.0.0.1:7007`. If one cannot be listened on, none is.
///
/// SIGINT (Ctrl-C) and SIGTERM drain: nothing new is accepted, and what is under way
/// gets time to finish. A second signal stops the program at once. SIGUSR1 prints the
/// counters on stderr.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Serve {
    /// Name of the protocol; all are listed below.
    #[arg(index = 1)]
    pub(super) protocol: String,

    /// Where to listen, such as tcp://127.0.0.1:7007; port 0 picks a free one.
    #[arg(index = 2, required = true, value_name = "ENDPOINT")]
    pub(super) endpoints: Vec<Endpoint>,

    /// Set an option of the protocol; once for each.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<Setting>,

    /// Set a limit, such as idle_timeout=60s or max_connections=100; once for each.
    #[arg(long = "limit", value_name = "KEY=VALUE")]
    pub(super) limits: Vec<Setting>,

    #[command(flatten)]
    pub(super) process: Process,

    #[command(flatten)]
    pub(super) log: Log,
}

/// Serves what a configuration file asks for.
///
/// All that is wrong with it is told with its line, or the first endpoint that cannot be
/// listened on; then nothing is served. Signals are as for `serve`; and SIGHUP reads the
/// file again: services whose settings are the same are not touched, new ones start,
/// others drain. If anything is wrong then, nothing changes.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Run {
    /// The configuration file, in TOML.
    pub(super) config: PathBuf,

    #[command(flatten)]
    pub(super) process: Process,

    #[command(flatten)]
    pub(super) log: Log,
}

/// Checks a configuration file, and prints what it comes to.
///
/// All limits in force are printed with their origin (default, file, argument, or
/// protocol, where its options need more), and the memory that they allow at worst: if
/// every peer reads nothing (queue), finishes no message (pending), and fills what the
/// protocol keeps for each (protocol) and for all (shared).
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    /// The configuration file, in TOML.
    pub(super) config: PathBuf,

    /// Also bind every endpoint for a moment, which fails while the service runs.
    #[arg(long)]
    pub(super) bind: bool,

    #[command(flatten)]
    pub(super) process: Process,
}

/// Lists the protocols that can be served, or describes one.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Protocols {
    /// The one to describe, with its options.
    pub(super) name: Option<String>,
}

/// Prints a script by which a shell completes the command line.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Completions {
    /// The shell.
    pub(super) shell: Shell,
}

/// What concerns the whole process.
#[derive(Debug, clap::Args)]
pub(super) struct Process {
    /// Worker threads; one per core without this.
    #[arg(long, value_name = "N", value_parser = workers, allow_negative_numbers = true)]
    pub(super) workers: Option<NonZeroUsize>,

    /// Seconds that open connections get to finish when a service stops [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(super) drain: Option<Duration>,
}

/// What is logged, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Log {
    /// Log to stderr: off, error, warn, info, debug or trace.
    ///
    /// Also by module: `warn,netframe_core=debug`.
    #[arg(id = "log", long, value_name = "LEVEL", value_parser = log::filter)]
    #[arg(default_value = "info")]
    pub(super) filter: Targets,

    /// Form of the log: text for people, or one JSON object a line.
    #[arg(long = "log-format", value_name = "FORMAT", default_value = "text")]
    pub(super) format: LogFormat,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Text,
    Json,
}

/// Connects stdin and stdout to an endpoint.
///
/// What comes on stdin is sent, and its end ends our sending side alone: the answer
/// still arrives on stdout. The program ends when the peer has ended its side.
///
/// Over datagrams each line of stdin is one datagram, its line feed included. They have
/// no end: the program ends when stdin has and nothing has come for a while.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Connect {
    /// Where to connect, such as tcp://127.0.0.1:7007.
    pub(super) endpoint: Endpoint,

    /// Seconds that the peer gets to answer the attempt to connect.
    #[arg(long, value_name = "SECONDS", value_parser = timeout, allow_negative_numbers = true)]
    #[arg(default_value = "10")]
    pub(super) timeout: Duration,

    /// Over datagrams: send this many bytes of stdin as one, rather than a line.
    #[arg(long, value_name = "BYTES", value_parser = chunk, allow_negative_numbers = true)]
    pub(super) chunk: Option<u64>,

    /// Over datagrams: seconds without an answer after the end of stdin.
    #[arg(long, value_name = "SECONDS", value_parser = timeout, allow_negative_numbers = true)]
    #[arg(default_value = "1")]
    pub(super) wait: Duration,

    #[command(flatten)]
    pub(super) log: Log,
}

/// The command line of a program of this name that has these protocols.
pub(super) fn command(
    program: &'static str,
    version: &'static str,
    about: Option<&'static str>,
    registry: &Arc<Registry>,
) -> clap::Command {
    let protocol = registry.entries().next().map_or("PROTOCOL", Registered::name);
    let examples = |text: &str| text.replace("{program}", program).replace("{protocol}", protocol);
    let known = Arc::clone(registry);
    let protocol = move |text: &str| match known.find(text) {
        Ok(entry) => Ok(entry.name().to_owned()),
        Err(_) if text.parse::<Endpoint>().is_ok() => {
            Err("an endpoint; the protocol comes before it".to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    let all = format!("{}\n{}", protocols(registry), examples(SERVE_EXAMPLES));
    let mut command = Args::command().name(program).bin_name(program).version(version);
    if let Some(about) = about {
        command = command.about(about);
    }
    command
        .after_help(examples(EXAMPLES))
        .mut_subcommand("serve", |serve| {
            serve.after_help(all).mut_arg("protocol", |arg| arg.value_parser(protocol))
        })
        .mut_subcommand("run", |run| run.after_help(examples(RUN_EXAMPLES)))
        .mut_subcommand("check", |check| check.after_help(examples(CHECK_EXAMPLES)))
        .mut_subcommand("connect", |connect| {
            let quiet = connect.mut_arg("log", |log| log.default_value("warn"));
            quiet.after_help(examples(CONNECT_EXAMPLES))
        })
        .mut_subcommand("completions", |completions| {
            completions.after_help(examples(COMPLETIONS_EXAMPLES))
        })
}

/// What this process was asked for; ends it if that is no answer or no command.
pub(super) fn parse(command: clap::Command) -> Args {
    let matches = command.get_matches();
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// All protocols with their options, one a line.
fn protocols(registry: &Registry) -> String {
    let mut help = "Protocols, and their options with defaults:\n".to_owned();
    for entry in registry.entries() {
        line(&mut help, "", entry.name(), entry.about());
        for option in entry.options() {
            line(&mut help, "  ", &option.setting(), option.about);
        }
    }
    help
}

fn line(help: &mut String, indent: &str, name: &str, about: &str) {
    let width = 24 - indent.len();
    writeln!(help, "  {indent}{name:width$}  {about}").expect("a String takes everything");
}

fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let count: Option<NonZeroUsize> = text.parse().ok();
    let count = count.filter(|count| count.get() <= MAX_WORKERS);
    count.ok_or_else(|| format!("expected a number from 1 to {MAX_WORKERS}"))
}

fn chunk(text: &str) -> Result<u64, String> {
    let bytes: Option<u64> = text.parse().ok();
    let bytes = bytes.filter(|bytes| (1..=MAX_CHUNK).contains(bytes));
    bytes.ok_or_else(|| format!("expected a number of bytes from 1 to {MAX_CHUNK}"))
}

fn timeout(text: &str) -> Result<Duration, String> {
    let seconds: Option<u64> = text.parse().ok();
    let seconds = seconds.filter(|seconds| (1..=MAX_TIMEOUT).contains(seconds));
    let expected = || format!("expected a number of seconds from 1 to {MAX_TIMEOUT}");
    seconds.map(Duration::from_secs).ok_or_else(expected)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<u64> = text.parse().ok();
    let seconds = seconds.filter(|seconds| *seconds <= MAX_DRAIN).map(Duration::from_secs);
    seconds.ok_or_else(|| format!("expected a number of seconds from 0 to {MAX_DRAIN}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_tells_the_default_of_the_drain() {
        assert_eq!(crate::DRAIN_DEADLINE, Duration::from_secs(30));
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command("netframe", "1", None, &Arc::default()).debug_assert();
    }
}
