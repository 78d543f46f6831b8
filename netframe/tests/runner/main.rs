//! The program `netframe` as a user sees it: started for real, spoken to over sockets, stopped with
//! signals.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod config;
mod connect;
mod datagrams;
mod errors;
mod forward;
mod http;
mod inherited;
mod program;
mod protocols;
mod reload;
mod signals;
mod small;
mod stdio;
