//! The command line, its help included.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Parser, Subcommand};
use netframe::{DRAIN_DEADLINE, Endpoint, Workers};
use tracing_subscriber::filter::Targets;

use super::log;
use super::registry::{self, Entry};
use super::setting::Setting;

/// Far above any number of cores, and far below what would exhaust a machine.
const MAX_WORKERS: usize = 1024;

/// Seconds: a day.
const MAX_DRAIN: u64 = 24 * 60 * 60;

/// Seconds: an hour.
const MAX_TIMEOUT: u64 = 60 * 60;

/// Bytes: the longest datagram.
const MAX_CHUNK: u64 = 64 * 1024;

const EXAMPLES: &str = "\
Examples:
  netframe serve echo tcp://127.0.0.1:7007
  netframe connect tcp://127.0.0.1:7007
  netframe serve --help        (all options and protocols)

Exit codes:
  0         stopped by SIGINT or SIGTERM, or all connections there can be have ended
  1         could not start, or a listener, the connection, stdin or stdout broke
  2         the command line is wrong
  130, 143  stopped at once by SIGINT or SIGTERM; a server by the second one";

const SERVE_EXAMPLES: &str = "\
Examples:
  netframe serve echo tcp://127.0.0.1:7007
  netframe serve echo tcp://127.0.0.1:7007 udp://127.0.0.1:7007 unix:///tmp/echo.sock
  netframe serve hello 'tcp://[::1]:0' tcp://localhost:12345
  netframe serve line-echo tcp://0.0.0.0:7007 --set delimiter=crlf --set max_length=1000";

const CONNECT_EXAMPLES: &str = "\
Examples:
  netframe connect tcp://127.0.0.1:7007
  echo hello | netframe connect tcp://localhost:7007
  netframe connect --timeout 2 'tcp://[::1]:7007' < request > answer
  echo hello | netframe connect udp://127.0.0.1:7007";

/// Serves network protocols by their names, and connects to them.
#[derive(Debug, Parser)]
#[command(name = "netframe", version, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(Serve),
    Connect(Connect),
}

/// Serves a protocol on one or more endpoints.
///
/// Once all are ready, prints one line on stdout for each, with the real port:
/// `listening echo tcp://127.0.0.1:7007`. If one cannot be listened on, none is.
///
/// SIGINT (Ctrl-C) and SIGTERM drain: nothing new is accepted, and what is under way
/// gets time to finish. A second signal stops the program at once.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = format!("{}\n{SERVE_EXAMPLES}", registry::help()))]
pub(super) struct Serve {
    /// Name of the protocol; all are listed below.
    #[arg(value_parser = protocol)]
    pub(super) protocol: &'static Entry,

    /// Where to listen, such as tcp://127.0.0.1:7007; port 0 picks a free one.
    #[arg(required = true, value_name = "ENDPOINT")]
    pub(super) endpoints: Vec<Endpoint>,

    /// Set an option of the protocol; once for each.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) settings: Vec<Setting>,

    /// Worker threads; one per core without this.
    #[arg(long, value_name = "N", value_parser = workers, allow_negative_numbers = true)]
    pub(super) workers: Option<Workers>,

    /// Seconds that open connections get to finish when the server stops.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(default_value_t = DRAIN_DEADLINE.as_secs())]
    pub(super) drain: u64,

    /// Log to stderr: off, error, warn, info, debug or trace.
    ///
    /// Also by module: `warn,netframe_core=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log::filter)]
    pub(super) log: Targets,
}

/// Connects stdin and stdout to an endpoint.
///
/// What comes on stdin is sent, and its end ends our sending side alone: the answer
/// still arrives on stdout. The program ends when the peer has ended its side.
///
/// Over datagrams each line of stdin is one datagram, its line feed included. They have
/// no end: the program ends when stdin has and nothing has come for a while.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = CONNECT_EXAMPLES)]
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

    /// Log to stderr: off, error, warn, info, debug or trace.
    ///
    /// Also by module: `warn,netframe_core=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_parser = log::filter)]
    pub(super) log: Targets,
}

fn protocol(text: &str) -> Result<&'static Entry, String> {
    registry::find(text).map_err(|error| match text.parse::<Endpoint>() {
        Ok(_) => "an endpoint; the protocol comes before it".to_owned(),
        Err(_) => error.to_string(),
    })
}

fn workers(text: &str) -> Result<Workers, String> {
    let count: Option<NonZeroUsize> = text.parse().ok();
    let count = count.filter(|count| count.get() <= MAX_WORKERS);
    count.map(Workers::Count).ok_or_else(|| format!("expected a number from 1 to {MAX_WORKERS}"))
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

fn seconds(text: &str) -> Result<u64, String> {
    let seconds: Option<u64> = text.parse().ok();
    let seconds = seconds.filter(|seconds| *seconds <= MAX_DRAIN);
    seconds.ok_or_else(|| format!("expected a number of seconds from 0 to {MAX_DRAIN}"))
}
