//! The contract suite: the thirteen rules of `docs/contract.md` over every transport, and what is
//! built on them (handles, mailboxes, streams, timers, clients, reactors).
//!
//! A rule's tests are async functions of a [`Net`](world::Net). `on_every_transport!` runs them over
//! real sockets and over memory, each on one thread and on several: `rule3_close_flushes::tcp`,
//! `::tcp_threads`, `::mem`, `::mem_threads`. `on_paused_clock!` runs a test over memory in a time
//! that passes only while nothing can run, which also shows that nothing spins.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]
#![expect(clippy::unit_arg, reason = "a hook of one call reads best as `done(t.close())`")]

macro_rules! on_every_transport {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        mod $name {
            use crate::world::{Net, within};

            #[tokio::test]
            $(#[$meta])*
            async fn tcp() {
                within(super::$name(Net::Tcp)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$meta])*
            async fn tcp_threads() {
                within(super::$name(Net::Tcp)).await;
            }

            #[tokio::test]
            $(#[$meta])*
            async fn mem() {
                within(super::$name(Net::Mem)).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            $(#[$meta])*
            async fn mem_threads() {
                within(super::$name(Net::Mem)).await;
            }
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

mod probe;
mod world;

mod accept;
mod backpressure;
mod client;
mod close;
mod drain;
mod errors;
mod half_close;
mod handle;
mod layer;
mod limits;
mod mailbox;
mod order;
mod pending;
mod process;
mod reactor;
mod reasons;
mod spawn;
mod stream;
mod switch;
mod timers;
mod turns;
mod volume;
