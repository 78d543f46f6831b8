//! netframe: write a network protocol once, test it without a network, serve it anywhere.
//!
//! A [`Protocol`] reacts to the events of one connection and never touches a socket. A [`Factory`]
//! makes one per connection; a closure will do. An [`Endpoint`] such as `tcp://127.0.0.1:7007` says
//! where, and a [`Reactor`] or [`Server`] runs it:
//!
//! ```no_run
//! use netframe::{ConnectionInfo, Protocol, Reactor, Result, Transport, bytes::BytesMut};
//!
//! /// Answers everything in upper case.
//! struct Shout;
//!
//! impl Protocol for Shout {
//!     async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
//!         t.write(&data.split().to_ascii_uppercase());
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> Result {
//!     let shout = |_: &ConnectionInfo| Shout;
//!     let reactor = Reactor::builder().build()?.listen("tcp://127.0.0.1:7007", shout)?;
//!     reactor.run_until(std::future::pending::<()>())?;
//!     Ok(())
//! }
//! ```
//!
//! Its test needs neither a socket nor a runtime:
//!
//! ```
//! # use netframe::{Protocol, Result, Transport, bytes::BytesMut};
//! # struct Shout;
//! # impl Protocol for Shout {
//! #     async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
//! #         t.write(&data.split().to_ascii_uppercase());
//! #         Ok(())
//! #     }
//! # }
//! use netframe::testing::Harness;
//!
//! let mut peer = Harness::new(Shout);
//! peer.receive(b"hello");
//! assert_eq!(peer.take_written(), b"HELLO"[..]);
//! ```
//!
//! # What is where
//!
//! Everything is reached from this crate. The items at its root and the modules [`endpoint`],
//! [`testing`] and [`transport`] come from `netframe-core`; [`protocols`] has the ready ones;
//! [`bytes`] is the crate whose buffers the traits speak of.
//!
//! # Features
//!
//! `runner` (on by default) builds the program `netframe`, which serves the ready protocols by their
//! names, and the module `runner`, by which a program of your own does so with yours. A crate that
//! needs neither says `default-features = false` and compiles less.
//!
//! `json` adds `protocols::codec::Json`, messages by serde; `expect` adds `protocols::expect`, dialogues
//! with devices; `http` adds `protocols::http`, HTTP/1.1; `tower` a way to serve an axum application, or
//! another tower service, by it; `hyper` the same by hyper, for HTTP/2 and WebSockets; `memcached` a cache,
//! `protocols::memcached`. `runner` has `http`, `tower` and `memcached`.
//!
//! `sim` adds `testing::sim`, a simulated network for tests, with which tokio's clock can be paused;
//! `conformance` adds `testing::conformance`, which checks a codec of your own. Both are for
//! `[dev-dependencies]`.

#[doc(inline)]
pub use netframe_core::*;
#[doc(inline)]
pub use netframe_protocols as protocols;

#[cfg(feature = "runner")]
pub mod runner;
