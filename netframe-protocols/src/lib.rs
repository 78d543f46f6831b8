//! Ready protocols for netframe. None of them touches a socket: each runs on every endpoint that
//! it fits, and in a test without a network.
//!
//! | module | protocol | fits |
//! |---|---|---|
//! | `echo` | [`Echo`]: returns what arrives | streams, datagrams |
//! | `forward` | [`PortForward`]: to another endpoint and back | streams, datagrams |
//! | `discard` | [`Discard`]: drops what arrives | streams, datagrams |
//! | `hello` | [`Hello`]: one greeting, then the end | streams, datagrams |
//! | `daytime`, `time` | [`daytime()`], [`time()`]: the time as text, or in seconds | streams, datagrams |
//! | `qotd` | [`qotd()`]: the quote of the day | streams; datagrams by [`qotd_datagrams()`] |
//! | `chargen` | [`Chargen`]: characters without end | streams; datagrams by [`chargen_datagrams()`] |
//! | [`line`](mod@line) | [`Lines`](line::Lines): lines to a [`LineProtocol`](line::LineProtocol), either side | streams |
//! | [`frame`](mod@frame) | [`Frames`](frame::Frames): netstrings, length prefixes and other frames to a [`FrameProtocol`](frame::FrameProtocol), either side | streams |
//! | [`codec`](mod@codec) | [`Framed`](codec::Framed): any codec of tokio-util, to a [`MessageProtocol`](codec::MessageProtocol), either side | streams |
//! | [`requests`](mod@requests) | [`RequestServer`](requests::RequestServer), [`RequestClient`](requests::RequestClient): requests and answers over a codec | streams |
//! | [`telnet`](mod@telnet) | [`Telnet`](telnet::Telnet): text and options to a [`TelnetProtocol`](telnet::TelnetProtocol), either side | streams |
//! | [`socks5`](mod@socks5) | [`Socks5`](socks5::Socks5): the proxy's side of SOCKS 5 | streams |
//! | [`chat`](mod@chat) | [`Chat`](chat::Chat): rooms, nicknames and history, for terminals | streams |
//! | [`http`](mod@http) | [`Http`](http::Http): HTTP/1.1 to a [`Handler`](http::Handler), or to a tower service | streams |
//! | [`memcached`](mod@memcached) | [`Memcached`](memcached::Memcached): a cache in memory, by memcached's text protocol | streams |
//!
//! # Features
//!
//! `expect`, `http`, `memcached` and `tower` are on by default here, and off in the crate `netframe` unless
//! they are asked for; the others are off in both.
//!
//! | feature | adds |
//! |---|---|
//! | `json` | `codec::Json`: messages by serde, as JSON |
//! | `expect` | the module `expect`: dialogues with devices and programs, with or without Telnet |
//! | `http` | the module `http`: HTTP/1.1 |
//! | `memcached` | the module `memcached`: a cache |
//! | `tower` | `http::service`: a tower service, such as an axum application, as a handler |
//! | `hyper` | `http::hyper`: such a service by hyper, for HTTP/2 and WebSockets |
//!
//! ```no_run
//! # async fn run() -> netframe_core::Result {
//! use netframe_core::Server;
//!
//! let server = Server::bind("tcp://127.0.0.1:7007", netframe_protocols::echo()).await?;
//! # Ok(())
//! # }
//! ```

mod answer;
mod chargen;
pub mod chat;
pub mod codec;
mod discard;
mod echo;
#[cfg(feature = "expect")]
pub mod expect;
mod forward;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
mod hello;
#[cfg(feature = "http")]
pub mod http;
pub mod line;
#[cfg(feature = "memcached")]
pub mod memcached;
pub mod requests;
pub mod socks5;
pub mod telnet;
mod turn;

pub use self::answer::{QotdError, QotdOptions, daytime, qotd, qotd_datagrams, time};
pub use self::chargen::{Chargen, ChargenDatagrams, chargen, chargen_datagrams};
pub use self::discard::{Discard, discard};
pub use self::echo::{Echo, echo};
pub use self::forward::{Forward, PortForward};
pub use self::hello::{GREETING, Hello, hello};
