//! The contract suite: the thirteen rules of `docs/contract.md` over every transport, and what is
//! built on them (handles, mailboxes, streams, timers, clients, reactors).
//!
//! A rule's tests are async functions of a [`Net`](world::Net). `on_every_transport!` runs them over
//! TCP, Unix sockets and memory, each on one thread and on several: `rule3_close_flushes::tcp`,
//! `::tcp_threads`, `::unix`, … What the rules mean over datagrams is in `sessions` and `datagrams`,
//! which run over UDP and Unix datagrams. `on_paused_clock!` runs a test over memory in a time
//! that passes only while nothing can run, which also shows that nothing spins.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]
#![expect(clippy::unit_arg, reason = "a hook of one call reads best as `done(t.close())`")]

/// One test over one transport, on one thread and on several.
macro_rules! over {
    ($name:ident, $transport:expr, $one:ident, $several:ident, $(#[$meta:meta])*) => {
        #[tokio::test]
        $(#[$meta])*
        async fn $one() {
            crate::world::within(super::$name($transport)).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$meta])*
        async fn $several() {
            crate::world::within(super::$name($transport)).await;
        }
    };
}

macro_rules! on_every_transport {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        mod $name {
            use crate::world::Net;

            over!($name, Net::Tcp, tcp, tcp_threads, $(#[$meta])*);
            over!($name, Net::Unix, unix, unix_threads, $(#[$meta])*);
            over!($name, Net::Mem, mem, mem_threads, $(#[$meta])*);
        }
    )*};
}

/// Where a peer can reset a connection, which a Unix socket cannot.
macro_rules! on_transports_with_reset {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        mod $name {
            use crate::world::Net;

            over!($name, Net::Tcp, tcp, tcp_threads, $(#[$meta])*);
            over!($name, Net::Mem, mem, mem_threads, $(#[$meta])*);
        }
    )*};
}

macro_rules! on_every_datagram_transport {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        mod $name {
            use crate::gram::Gram;

            over!($name, Gram::Udp, udp, udp_threads, $(#[$meta])*);
            over!($name, Gram::Unix, unixgram, unixgram_threads, $(#[$meta])*);
        }
    )*};
}

macro_rules! on_paused_clock {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        mod $name {
            #[tokio::test(start_paused = true)]
            $(#[$meta])*
            async fn mem() {
                crate::world::within_years(super::$name(crate::world::Net::Mem)).await;
            }
        }
    )*};
}

mod gram;
mod probe;
mod world;

mod accept;
mod backpressure;
mod client;
mod close;
mod datagrams;
mod drain;
mod errors;
mod half_close;
mod handle;
mod input;
mod layer;
mod limits;
mod mailbox;
mod order;
mod pending;
mod process;
mod reactor;
mod reasons;
mod sessions;
mod spawn;
mod stream;
mod switch;
mod table;
mod timers;
mod turns;
mod volume;
