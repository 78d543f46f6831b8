//! The heart of netframe: protocols, factories and transports.
//!
//! Implement [`Protocol`] (what happens when a connection is made, data arrives, the connection is
//! lost), give a [`Factory`] of it to a [`Server`] or [`Client`], and name an [`Endpoint`]: a
//! string such as `tcp://127.0.0.1:7007` or `mem://name`, which picks the transport.
//!
//! | module or type | what it is for |
//! |---|---|
//! | [`Protocol`], [`Factory`], [`Transport`] | the three traits: reacts, makes, is written to |
//! | [`Server`], [`Client`], [`Reactor`], [`serve_io`] | what runs them |
//! | [`ReconnectingClient`], [`Backoff`] | stays connected; how long it waits in between |
//! | [`Pool`], [`Pooled`] | connections that are used again, so many and no more |
//! | [`Endpoint`] | where to listen or connect |
//! | [`Handle`], [`Mailbox`] | a connection for other tasks and threads |
//! | [`Input`] | what the peer sends, for a handler that reads by itself |
//! | [`Group`] | the same message to many connections, whatever their speed |
//! | [`stream_fn`], [`Stream`] | straight-line async code instead of callbacks, for either side |
//! | [`DatagramProtocol`], [`datagrams`] | protocols that think in datagrams |
//! | [`Limits`], [`CloseReason`], [`Stats`] | what bounds a connection, why it ended, what was counted |
//! | [`Listen`], [`Connect`], [`Io`], [`AnyIo`], [`Layer`] | where a transport of one's own plugs in |
//! | [`Resolve`] | where names are looked up |
//! | [`testing`] | tests without a network |
//!
//! The feature `sim` adds `testing::sim`, a simulated network, with which tokio's clock can be paused;
//! `conformance` adds `testing::conformance`, which checks codecs. Both are for `[dev-dependencies]`.

mod acceptor;
mod activity;
mod addr;
mod addr_errors;
mod admission;
mod below;
mod bind;
mod budget;
mod bugs;
mod client;
mod close_reason;
mod connection;
mod datagram;
mod driver;
pub mod endpoint;
mod error;
mod factory;
#[cfg(any(test, feature = "conformance"))]
#[doc(hidden)]
pub mod fuzz;
mod group;
mod handle;
mod happy_eyeballs;
mod home;
mod inbox;
mod info;
#[cfg(unix)]
mod inherited;
mod input;
mod io;
mod leaks;
mod limits;
mod listener;
mod mailbox;
mod network;
mod owner;
#[cfg(unix)]
mod poller;
mod pool;
mod protocol;
mod reactor;
mod reconnect;
#[cfg(doctest)]
mod refused;
mod resolve;
mod server;
mod service;
mod sessions;
mod shaping;
mod shared;
pub mod size;
mod stream;
mod sync;
pub mod testing;
pub mod transport;
mod wheel;

/// What an `impl` of [`Listen`], [`Connect`], [`Layer`], [`Resolve`] or [`BoxProtocol`] begins with: it
/// lets them have `async fn`s. It is the macro of the crate `async-trait`.
///
/// ```
/// use std::io;
/// use netframe_core::{Addr, Connect, Incoming, async_trait, transport::mem};
///
/// struct ToNobody;
///
/// #[async_trait]
/// impl Connect for ToNobody {
///     async fn connect(&self) -> io::Result<Incoming> {
///         let (_peer, stream) = mem::pair(1024);
///         Ok(Incoming::new(stream, Addr::named("nobody"), Addr::UNNAMED))
///     }
/// }
/// ```
#[doc(no_inline)]
pub use async_trait::async_trait;
pub use bytes;

pub use self::addr::Addr;
pub use self::addr_errors::AddrErrors;
pub use self::client::{Client, ClientBuilder, serve_io};
pub use self::close_reason::{CloseKind, CloseReason, ProtocolError, Side, TimeoutKind};
pub use self::datagram::{
    Datagram, DatagramAdapter, DatagramFactory, DatagramProtocol, DatagramTransport, SendError,
    datagrams,
};
pub use self::endpoint::{Endpoint, EndpointError, EndpointKind};
pub use self::error::Error;
pub use self::factory::{DynFactory, Factory, FactoryFn, factory_fn};
pub use self::group::{Delivery, Group, GroupLimits, GroupStats, Member, Message, Policy};
pub use self::handle::{Handle, TryWriteError};
pub use self::info::{ConnectionId, ConnectionInfo, Extensions};
pub use self::input::Input;
pub use self::io::{AnyIo, BoxFuture, Io, Layer, Layered};
pub use self::leaks::Leaks;
pub use self::limits::{AtLimit, LimitError, Limits, MinRate, Quota, Timeout};
pub use self::listener::{Connect, Incoming, Listen};
pub use self::mailbox::{Mailbox, Sender, TrySendError};
pub use self::network::Network;
pub use self::pool::{
    Checkout, Pool, PoolBuilder, PoolCounts, PoolError, PoolLimits, PoolStats, PoolStatus, Pooled,
};
pub use self::protocol::{BoxError, BoxProtocol, Needs, Protocol, Result};
pub use self::reactor::{Reactor, ReactorBuilder, Running, ServiceId, ServiceStatus, Workers};
pub use self::reconnect::{
    Backoff, BackoffError, ReconnectError, ReconnectMonitor, ReconnectState, ReconnectStatus,
    ReconnectingClient, ReconnectingClientBuilder, Stopped,
};
pub use self::resolve::{Resolve, ResolveError, SystemResolver};
pub use self::server::{DRAIN_DEADLINE, DrainReport, Server, ServerBuilder};
pub use self::service::{DatagramStats, Stats};
pub use self::stream::{Stream, StreamBuilder, StreamFn, StreamProtocol, stream_fn};
pub use self::transport::{Datagrams, Residue, Spawned, Transport};
