//! The cache without a network: every command and mistake at every split, large values to slow peers,
//! time, and how a connection ends.

#![cfg(feature = "memcached")]
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

mod answers;
mod bounds;
mod model;
mod time;

use netframe_core::testing::{Harness, Recorder};
use netframe_core::{Factory, Transport};
use netframe_protocols::memcached::{Memcached, MemcachedOptions, memcached};

/// A cache.
fn cache(options: MemcachedOptions) -> impl Factory<Protocol = Memcached> {
    memcached(options).unwrap()
}

/// A connection to it.
fn connect(cache: &impl Factory<Protocol = Memcached>) -> Memcached {
    cache.build_protocol(Recorder::new().info()).unwrap()
}

/// A connection to a new one, that the test drives.
fn client() -> Harness<Memcached> {
    Harness::new(connect(&cache(MemcachedOptions::default())))
}

/// What is answered.
fn ask(client: &mut Harness<Memcached>, sent: &[u8]) -> Vec<u8> {
    client.receive(sent);
    client.take_written().to_vec()
}

/// The command that sets a value.
fn set(key: &str, value: &[u8]) -> Vec<u8> {
    [format!("set {key} 0 0 {}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

/// How a value is answered.
fn value(key: &str, value: &[u8]) -> Vec<u8> {
    [format!("VALUE {key} 0 {}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}
