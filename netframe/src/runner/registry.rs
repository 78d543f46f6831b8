//! The protocols that can be served by name, with their options. It knows nothing of command lines,
//! so that a configuration file can name the same protocols and set the same options.

use std::fmt::Write;

use netframe::protocols::line::{LineOptions, line_echo};
use netframe::protocols::{discard, echo, hello};
use netframe::{BoxError, Limits, Server, ServerBuilder};
use serde::Deserialize;
use toml::Table;

use super::choice::Choice;

/// All protocols, in the order in which they are listed.
static ENTRIES: [Entry; 4] = [
    Entry {
        name: "echo",
        about: "sends back every byte",
        options: &[],
        build: |_| Ok(Server::builder(echo())),
    },
    Entry {
        name: "discard",
        about: "takes every byte and answers nothing",
        options: &[],
        build: |_| Ok(Server::builder(discard())),
    },
    Entry {
        name: "line-echo",
        about: "sends back every line once it is complete",
        options: &[
            OptionEntry { name: "delimiter", default: "lf", about: "what ends a line: lf or crlf" },
            OptionEntry {
                name: "max_length",
                default: "16384",
                about: "bytes of a line; a longer one ends the connection",
            },
        ],
        build: line_echo_server,
    },
    Entry {
        name: "hello",
        about: "answers `Hello from the server!` to whatever comes first, then closes",
        options: &[],
        build: |_| Ok(Server::builder(hello())),
    },
];

/// A protocol that can be served by its name.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    about: &'static str,
    options: &'static [OptionEntry],
    build: fn(Table) -> Result<ServerBuilder, BoxError>,
}

/// An option of a protocol.
#[derive(Debug)]
struct OptionEntry {
    name: &'static str,
    /// As it would be written, for the help; the protocol's own default is what holds.
    default: &'static str,
    about: &'static str,
}

impl Entry {
    /// A server of this protocol, still without endpoints. Options that are not given have their
    /// defaults.
    pub(super) fn server(&self, options: Table) -> Result<ServerBuilder, OptionError> {
        for (name, value) in &options {
            if !self.options.iter().any(|option| option.name == name) {
                let known = self.options.iter().map(|option| option.name);
                let choice = Choice::new(name, "options", known);
                let (found, protocol) = (name.clone(), self.name);
                return Err(OptionError::Unknown { found, protocol, choice });
            }
            // Alone, so that an error is known to be about this one.
            let alone = Table::from_iter([(name.clone(), value.clone())]);
            (self.build)(alone)
                .map_err(|source| OptionError::Invalid { option: name.clone(), source })?;
        }
        (self.build)(options)
            .map_err(|source| OptionError::Together { protocol: self.name, source })
    }
}

/// The protocol of this name.
pub(super) fn find(name: &str) -> Result<&'static Entry, UnknownProtocol> {
    ENTRIES.iter().find(|entry| entry.name == name).ok_or_else(|| UnknownProtocol {
        found: name.to_owned(),
        choice: Choice::new(name, "protocols", ENTRIES.iter().map(|entry| entry.name)),
    })
}

/// All protocols with their options, one a line.
pub(super) fn help() -> String {
    let mut help = "Protocols, and their options with defaults:\n".to_owned();
    for entry in &ENTRIES {
        line(&mut help, "", entry.name, entry.about);
        for option in entry.options {
            let setting = format!("{}={}", option.name, option.default);
            line(&mut help, "  ", &setting, option.about);
        }
    }
    help
}

fn line(help: &mut String, indent: &str, name: &str, about: &str) {
    let width = 20 - indent.len();
    writeln!(help, "  {indent}{name:width$}  {about}").expect("a String takes everything");
}

fn line_echo_server(options: Table) -> Result<ServerBuilder, BoxError> {
    let options = LineOptions::deserialize(options).map_err(|error| error.message().to_owned())?;
    let mut limits = Limits::default();
    // The connection's own limit must not end a line before `max_length` does.
    let unfinished = options.max_length.saturating_add(options.delimiter.as_bytes().len());
    limits.max_pending = limits.max_pending.max(unfinished);
    Ok(Server::builder(line_echo(options)?).limits(limits))
}

/// No protocol has this name.
#[derive(Debug, thiserror::Error)]
#[error("unknown protocol `{found}`; {choice}")]
pub(super) struct UnknownProtocol {
    found: String,
    choice: Choice,
}

/// Why a protocol does not take its options.
#[derive(Debug, thiserror::Error)]
pub(super) enum OptionError {
    #[error("unknown option `{found}` of `{protocol}`; {choice}")]
    Unknown { found: String, protocol: &'static str, choice: Choice },
    #[error("invalid value of option `{option}`")]
    Invalid { option: String, source: BoxError },
    #[error("the options of `{protocol}` do not fit together")]
    Together { protocol: &'static str, source: BoxError },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::setting;

    fn server(protocol: &str, settings: &[&str]) -> Result<ServerBuilder, String> {
        let settings = settings.iter().map(|text| text.parse().unwrap()).collect();
        let options = setting::table(settings).unwrap();
        find(protocol).unwrap().server(options).map_err(|error| error.to_string())
    }

    #[test]
    fn every_option_in_the_help_exists_and_takes_its_default() {
        for entry in &ENTRIES {
            server(entry.name, &[]).unwrap();
            for option in entry.options {
                server(entry.name, &[&format!("{}={}", option.name, option.default)]).unwrap();
            }
        }
        let defaults = LineOptions::default();
        assert_eq!(defaults.delimiter.as_bytes(), b"\n");
        assert_eq!(defaults.max_length, 16384);
    }

    #[test]
    fn a_connection_may_hold_the_longest_line() {
        let limits = |settings: &[&str]| format!("{:?}", server("line-echo", settings).unwrap());
        assert!(limits(&[]).contains("max_pending: 65536,"));
        assert!(limits(&["max_length=100000"]).contains("max_pending: 100001,"));
        assert!(limits(&["max_length=100000", "delimiter=crlf"]).contains("max_pending: 100002,"));
    }

    #[test]
    fn unknown_names_are_refused_with_a_choice() {
        assert_eq!(
            server("line-echo", &["max_lenght=1"]).unwrap_err(),
            "unknown option `max_lenght` of `line-echo`; did you mean `max_length`? options: \
             delimiter, max_length"
        );
        assert_eq!(
            find("ecko").unwrap_err().to_string(),
            "unknown protocol `ecko`; did you mean `echo`? protocols: echo, discard, line-echo, hello"
        );
    }
}
