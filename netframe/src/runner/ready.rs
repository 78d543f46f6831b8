//! The protocols that netframe itself has.

mod frames;

use super::registry::{Entry, Memory, Registry};
use crate::protocols::chat::{ChatOptions, chat};
use crate::protocols::line::{LineOptions, line_echo};
use crate::protocols::{QotdOptions, chargen, daytime, discard, echo, hello, qotd, time};

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
    let about = "answers `Hello from the server!` to whatever comes first, then closes";
    registry.add(Entry::plain("hello", about, hello));
    registry.add(Entry::plain("chargen", "sends characters for as long as they are read", chargen));
    registry.add(Entry::plain("daytime", "tells the date and time as text", daytime));
    registry.add(Entry::plain("time", "tells the seconds since 1900 as four bytes", time));
    registry.add(
        Entry::new("qotd", "tells the quote of the day", |options: QotdOptions| Ok(qotd(options)?))
            .option("quotes", "one for each day in turn, of at most 510 bytes"),
    );
}
