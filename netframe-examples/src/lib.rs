//! One idea per example: how netframe is used. Each starts with how to run it and what it prints,
//! and each is run by a test.
//!
//! | `examples/` | idea |
//! |---|---|
//! | `shout.rs` | a protocol of one's own in twenty lines, with its test: the ones in README.md |
//! | `hello_server.rs`, `hello_client.rs` | both sides of a connection, on port 12345 |
//! | `reconnecting_client.rs` | a client that stays connected, through restarts of its server |
//! | `pooled.rs` | a pool of connections, and one that is not to be used again |
//! | `await_database.rs` | a handler that awaits: order and backpressure come by themselves |
//! | `key_value_store.rs` | one store for all connections, bounded, with errors as answers |
//! | `framed.rs` | frames: a server and its client that speak in netstrings |
//! | `redis_codec.rs` | typed messages: a codec from crates.io, run as a protocol |
//! | `requests.rs` | requests and answers: typed, by id, with a deadline each |
//! | `expect_device.rs` | a session with a device: Telnet at both sides, and `Expect` to wait for its prompts |
//! | `straight_line.rs` | a dialogue from top to bottom, instead of callbacks |
//! | `mailbox.rs` | typed messages from a thread to connections, and what a slow one misses |
//! | `shoutd.rs` | a program that serves one's own protocol from a configuration file |
//! | `chat.rs` | broadcast: what one connection says, all others hear, each at its own speed |
//! | `http_hello.rs` | a handler of HTTP requests of one's own |
//! | `axum_app.rs` | an axum application on TCP and on a Unix socket |
//! | `http2_websocket.rs` | HTTP/2 and WebSockets for one, by hyper |
//! | `port_forwarder.rs` | two connections that feed each other: flow control and half-close |
//! | `any_transport.rs` | the same protocol over TCP, UDP and Unix sockets, by arguments |
//! | `own_transport.rs` | a transport of one's own: `Io` and `Listen` |
//! | `multicast_discovery.rs` | a `DatagramProtocol`: who is there? |
//! | `udp_request.rs` | questions over UDP that are asked again until they are answered |
//! | `test_without_network.rs` | tests without a network, a runtime or a clock |
//!
//! ```text
//! cargo run -p netframe-examples --example shout
//! ```
//!
//! Nothing here is for other crates to use. The code blocks of README.md and `docs/` are compiled as
//! tests of this crate.

macro_rules! pages {
    ($($name:ident $path:literal)*) => {$(
        #[cfg(doctest)]
        #[doc = include_str!($path)]
        mod $name {}
    )*};
}

pages! {
    readme "../../README.md"
    introduction "../../docs/introduction.md"
    first_server "../../docs/guide/first-server.md"
    own_protocol "../../docs/guide/own-protocol.md"
    framing "../../docs/guide/framing.md"
    messages "../../docs/guide/messages.md"
    requests "../../docs/guide/requests.md"
    transports "../../docs/guide/transports.md"
    back_pressure "../../docs/guide/back-pressure.md"
    broadcast "../../docs/guide/broadcast.md"
    timeouts_and_limits "../../docs/guide/timeouts-and-limits.md"
    shutdown "../../docs/guide/shutdown.md"
    testing "../../docs/guide/testing.md"
    own_transports "../../docs/guide/own-transports.md"
    clients "../../docs/guide/clients.md"
    http "../../docs/guide/http.md"
    forwarding "../../docs/guide/forwarding.md"
    memcached "../../docs/guide/memcached.md"
    configuration "../../docs/guide/configuration.md"
    observability "../../docs/guide/observability.md"
    telnet "../../docs/guide/telnet.md"
    straight_line "../../docs/guide/straight-line.md"
    coming_from_twisted "../../docs/guide/coming-from-twisted.md"
    http_rules "../../docs/http.md"
    coming_from_asyncio_netty "../../docs/guide/coming-from-asyncio-netty.md"
}
