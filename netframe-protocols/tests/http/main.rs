//! HTTP/1.1 on the wire: tables of bytes, each at every split, over memory on a paused clock.

#![cfg(feature = "http")]
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

mod axum;
mod bodies;
mod differential;
mod hyper;
mod life;
mod requests;
mod responses;
mod table;
mod world;
