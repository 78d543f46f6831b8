//! [`Config`]: what a configuration file asks for, with the place of everything that may be wrong.

mod read;
mod source;

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

pub(super) use self::source::Problem;
use self::source::Source;
use super::registry::Registry;
use super::service::{At, Planned, ServiceSettings};
use crate::Error;

/// A configuration file that was read. It may still ask for what cannot be.
pub(super) struct Config {
    pub(super) process: ProcessSettings,
    pub(super) services: Vec<FromFile>,
    source: Source,
}

/// What concerns the whole process; only what was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessSettings {
    pub(super) workers: Option<NonZeroUsize>,
    pub(super) drain: Option<Duration>,
    pub(super) max_connections: Option<NonZeroUsize>,
    /// Bytes.
    pub(super) max_queued: Option<NonZeroUsize>,
}

/// A service with the places of its settings in the file.
pub(super) struct FromFile {
    pub(super) settings: ServiceSettings,
    spans: HashMap<At, Range<usize>>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its form.
    pub(super) fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| {
            vec![Problem::of_file(name.clone(), format!("cannot read it: {error}"))]
        })?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(Source::new(name, text)),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let source = Source::new(name, String::from_utf8_lossy(error.as_bytes()).into());
                let text = "not TOML: this is not UTF-8; save the file as UTF-8";
                Err(vec![source.problem(good..good, text.to_owned())])
            }
        }
    }

    /// Reads a text and checks all that can be, as `netframe check` does with a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub(super) fn check(text: &str, registry: &Registry) -> Result<Vec<Planned>, Vec<Problem>> {
        let source = Source::new("fuzz.toml".to_owned(), text.to_owned());
        Self::parse(source).and_then(|config| config.plan(registry))
    }

    fn parse(source: Source) -> Result<Self, Vec<Problem>> {
        let (process, services) = read::read(&source)?;
        Ok(Self { process, services, source })
    }

    /// Checks everything that can be without the network.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with its content.
    pub(super) fn plan(&self, registry: &Registry) -> Result<Vec<Planned>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut planned = Vec::new();
        for service in &self.services {
            match service.settings.plan(registry) {
                Ok(plan) => planned.push(plan),
                Err(faults) => problems.extend(faults.into_iter().map(|fault| {
                    let span = service.span(&fault.at);
                    self.source.problem(span, fault.text)
                })),
            }
        }
        if problems.is_empty() { Ok(planned) } else { Err(problems) }
    }

    /// The error of a service that cannot be started, with its place in the file.
    pub(super) fn locate(&self, service: &FromFile, error: &Error) -> Problem {
        let at = service.settings.place_of(error.endpoint());
        self.source.problem(service.span(&at), super::failure::Chain(error).to_string())
    }
}

impl FromFile {
    /// The place of a setting, or of the service if it is not in the file.
    fn span(&self, at: &At) -> Range<usize> {
        self.spans.get(at).or_else(|| self.spans.get(&At::Service)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::ready;

    fn problems(text: &str) -> Vec<String> {
        let mut registry = Registry::default();
        ready::add_to(&mut registry);
        let source = Source::new("net.toml".to_owned(), text.to_owned());
        let planned = Config::parse(source).and_then(|config| config.plan(&registry));
        planned.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = "\
[[service]]
protocol = 'ehco'
listen = 'tcp://127.0.0.1:7007'
[[service]]
protocol = 'line-echo'
listen = 'udp://127.0.0.1:7007'
[service.limits]
max_conections = 7
";
        assert_eq!(
            problems(text),
            [
                "net.toml:2:12: unknown protocol `ehco`; did you mean `echo`? protocols: echo, \
                 discard, line-echo, netstring-echo, int8-echo, int16-echo, int32-echo, \
                 varint-echo, telnet-echo, chat, http, memcached, port-forward, socks5, hello, chargen, \
                 daytime, time, qotd",
                "net.toml:8:1: unknown limit `max_conections`; did you mean `max_connections`? \
                 limits: accept_rate, accept_rate_per_peer, at_limit, close_timeout, connect_timeout, hard_cap, \
                 high_watermark, idle_timeout, low_watermark, max_connections, \
                 max_connections_per_peer, max_pending, message_timeout, min_message_rate, \
                 peer_prefix_v4, peer_prefix_v6, read_rate, service_read_rate, \
                 service_write_rate, write_rate, write_stall_timeout",
            ]
        );
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(
            problems(
                "# ä\nworkers = 1\n'ärger' = 2\n[[service]]\nprotocol='echo'\nlisten='mem://a'"
            ),
            ["net.toml:3:1: unknown key `ärger`; keys: limits, service, workers, drain"]
        );
    }
}
