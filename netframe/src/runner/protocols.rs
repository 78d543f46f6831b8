//! `netframe protocols`: what can be served.

use std::io::{self, Write};

use super::args::Protocols;
use super::failure::Failure;
use super::registry::{Registered, Registry};
use crate::Needs;

/// Lists all protocols, or describes one.
pub(super) fn protocols(args: &Protocols, registry: &Registry) -> Result<(), Failure> {
    let text = match &args.name {
        None => list(registry),
        Some(name) => match registry.find(name) {
            Ok(entry) => describe(entry),
            Err(error) => return Err(Failure::Wrong(vec![error.to_string()])),
        },
    };
    let told = io::stdout().write_all(text.as_bytes());
    told.map_err(|source| Failure::Stdout { source })
}

fn list(registry: &Registry) -> String {
    let width = registry.entries().map(|entry| entry.name().len()).max().unwrap_or(0);
    let line = |entry: &dyn Registered| format!("{:width$}  {}\n", entry.name(), entry.about());
    registry.entries().map(line).collect()
}

fn describe(entry: &dyn Registered) -> String {
    let fits = match entry.needs() {
        Needs::Stream => "streams: tcp, unix, mem, stdio; fd and systemd if the socket is one",
        Needs::Datagram => "datagrams: udp, unixgram; fd and systemd if the socket is one",
        _ => "streams and datagrams: every endpoint",
    };
    let mut text = format!("{}: {}\n\nfits {fits}\n", entry.name(), entry.about());
    let options = entry.options();
    if options.is_empty() {
        text += "\nIt has no options.\n";
    } else {
        let rows: Vec<_> = options
            .iter()
            .map(|option| {
                let default = option.default.as_ref().map_or_else(String::new, ToString::to_string);
                [option.name.clone(), option.kind().to_owned(), default, option.about.to_owned()]
            })
            .collect();
        text += "\n";
        text += &table(["option", "type", "default", "what it is"], &rows);
    }
    text += &format!("\n[[service]]\nprotocol = \"{}\"\nlisten = \"", entry.name());
    text += if entry.needs() == Needs::Datagram { "udp" } else { "tcp" };
    text += "://127.0.0.1:7007\"\n";
    if !options.is_empty() {
        text += "[service.options]\n";
        for option in options {
            if let Some(default) = option.default {
                text += &format!("{} = {default}\n", option.name);
            }
        }
    }
    text
}

/// Rows under a heading, in columns.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    let all = || std::iter::once(&heading).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in all() {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
