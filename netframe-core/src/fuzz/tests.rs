//! The corpora of this crate.

use super::{connection, endpoint, explore, replay};

#[test]
fn known_connections() {
    replay(CONNECTION, connection);
}

#[test]
fn known_endpoints() {
    replay(ENDPOINT, endpoint);
}

#[test]
#[ignore = "as long as `FUZZ_SECONDS` says"]
fn fuzz_long_connection() {
    explore(CONNECTION, connection);
}

#[test]
#[ignore = "as long as `FUZZ_SECONDS` says"]
fn fuzz_long_endpoint() {
    explore(ENDPOINT, endpoint);
}

const CONNECTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/connection");
const ENDPOINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/endpoint");
