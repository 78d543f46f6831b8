//! The protocols that netframe itself has.

mod amplifiers;
mod frames;

use serde::{Deserialize, Serialize};

use super::check::another;
use super::registry::{Entry, Memory, Registry};
use super::site::{SiteOptions, site};
use crate::protocols::chat::{ChatOptions, chat};
use crate::protocols::http::refusal;
use crate::protocols::line::{LineOptions, line_echo};
use crate::protocols::memcached::{MemcachedOptions, memcached};
use crate::protocols::socks5::{Socks5Options, socks5};
use crate::protocols::telnet::{TelnetEchoOptions, telnet_echo};
use crate::protocols::{PortForward, daytime, discard, echo, hello, time};
use crate::{BoxError, Endpoint, EndpointKind, Limits, Timeout};

/// Adds them all.
pub(super) fn add_to(registry: &mut Registry) {
    registry.add(Entry::plain("echo", "sends back every byte", echo));
    registry.add(Entry::plain("discard", "takes every byte and answers nothing", discard));
    let about = "sends back every line once it is complete";
    registry.add(
        Entry::new("line-echo", about, |options: LineOptions| Ok(line_echo(options)?))
            .option("delimiter", "what ends a line: lf or crlf")
            .option("max_length", "bytes of a line; a longer one ends the connection")
            .limits(|options, limits| {
                // The connection's own limit must not end a line before `max_length` does.
                let delimiter = options.delimiter.as_bytes().len();
                let unfinished = options.max_length.saturating_add(delimiter);
                limits.max_pending = limits.max_pending.max(unfinished);
            }),
    );
    frames::add_to(registry);
    let about = "sends back every line of a Telnet client; `/status` tells its terminal and window";
    registry.add(
        Entry::new("telnet-echo", about, |options: TelnetEchoOptions| Ok(telnet_echo(options)?))
            .option("max_length", "bytes of a line; a longer one ends the connection")
            .limits(|options, limits| {
                // A sub-negotiation may be left over behind a line.
                let unfinished = options.max_length.saturating_add(8 * 1024);
                limits.max_pending = limits.max_pending.max(unfinished);
            })
            // The name of the terminal, as it came last.
            .memory(|_| Memory { shared: 0, per_connection: 5 * 1024 }),
    );
    let about = "rooms, nicknames and history, in lines; two `nc` windows will do";
    registry.add(
        Entry::new("chat", about, |options: ChatOptions| Ok(chat(options)?))
            .option("history", "lines that a room keeps for newcomers")
            .option("max_backlog", "bytes that may wait in one room, for its slow members")
            .option("max_length", "bytes of a line; a longer one ends the connection")
            .option("max_rooms", "rooms at once")
            .option("policy", "for slow members: drop-oldest, drop-newest or disconnect")
            .limits(|options, limits| {
                limits.max_pending = limits.max_pending.max(options.max_length.saturating_add(1));
            })
            .memory(|options| Memory {
                shared: options.memory(),
                per_connection: options.connection_memory(),
            }),
    );
    let about = "HTTP/1.1: some answers to try a client with, and the files of a folder";
    registry.add(
        Entry::new("http", about, site)
            .option("root", "the folder whose files are served")
            .option("max_target", "bytes of a request's target; more is answered 414")
            .option("max_head", "bytes of a request's head; more is answered 431")
            .option("max_fields", "fields of a request's head; more is answered 431")
            .option("max_unread", "bytes of a body that are thrown away when nobody reads it")
            .option("head_timeout", "seconds in which a head must come; else 408")
            .option("keep_alive", "seconds for which a connection may wait for a request")
            .limits(|options: &SiteOptions, limits| {
                limits.max_pending = limits.max_pending.max(options.max_head());
            })
            .refusal(refusal()),
    );
    let about = "a cache in memory, by the text protocol of memcached";
    registry.add(
        Entry::new("memcached", about, |options: MemcachedOptions| Ok(memcached(options)?))
            .option("memory", "bytes for all items; the longest unused make way, such as 64MiB")
            .option("max_value", "bytes of a value; a longer one is refused")
            .limits(MemcachedOptions::raise)
            .memory(|options| Memory {
                shared: options.memory,
                per_connection: options.connection_memory(),
            })
            .refusal(b"ERROR Too many open connections\r\n"),
    );
    let about = "forwards to another endpoint, and the answers back";
    registry.add(
        Entry::new("port-forward", about, forward)
            .option("to", "where to, such as tcp://127.0.0.1:8080; it must be given")
            .option("connect_timeout", "seconds that connecting there may take")
            .memory(|options: &ForwardOptions| {
                let datagrams = options.to.as_ref().is_some_and(|to| to.kind().is_datagram());
                Memory { shared: 0, per_connection: another(datagrams) }
            })
            .descriptors(1),
    );
    let about = "a proxy by SOCKS 5, for those that are let in";
    registry.add(
        Entry::new("socks5", about, |options: Socks5Options| Ok(socks5(options)?))
            .secret("users", "users and their passwords; none lets everybody in")
            .option("allow", "where clients may go, such as *:443; none is anywhere")
            .option("open", "whether it may be open to everybody")
            .option("private", "whether clients may go into private networks, and to this machine")
            .option("connect_timeout", "seconds that connecting may take")
            .memory(|_| Memory { shared: 0, per_connection: another(false) })
            .descriptors(1),
    );
    let about = "answers `Hello from the server!` to whatever comes first, then closes";
    registry.add(Entry::plain("hello", about, hello));
    registry.add(amplifiers::chargen());
    registry.add(Entry::plain("daytime", "tells the date and time as text", daytime));
    registry.add(Entry::plain("time", "tells the seconds since 1900 as four bytes", time));
    registry.add(amplifiers::qotd());
}

/// The options of `port-forward`.
#[derive(Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct ForwardOptions {
    to: Option<Endpoint>,
    connect_timeout: u32,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        Self { to: None, connect_timeout: 10 }
    }
}

fn forward(options: ForwardOptions) -> Result<PortForward, BoxError> {
    let ForwardOptions { to, connect_timeout } = options;
    // First, so that who sets it alone is told of it.
    if !(1..=86_400).contains(&connect_timeout) {
        return Err(
            format!("`connect_timeout` is {connect_timeout}; set it from 1 to 86400").into()
        );
    }
    let Some(to) = to else {
        return Err("`to` is not set; name an endpoint, such as tcp://127.0.0.1:8080".into());
    };
    if to.kind() == EndpointKind::Stdio {
        return Err(ONCE.into());
    }
    let mut limits = Limits::default();
    limits.connect_timeout = Timeout::from_secs(connect_timeout.into());
    let forward = PortForward::to(to).limits(limits);
    forward.validate()?;
    Ok(forward)
}

const ONCE: &str = "`to` is one connection in the life of a process; name an endpoint that takes many, \
    such as tcp://127.0.0.1:8080";
