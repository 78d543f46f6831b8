//! The corpus of configuration files.

use netframe::runner::fuzz_config;
use netframe_core::fuzz::{explore, replay};

#[test]
fn known_configurations() {
    replay(CONFIG, fuzz_config);
}

#[test]
#[ignore = "as long as `FUZZ_SECONDS` says"]
fn fuzz_long_config() {
    explore(CONFIG, fuzz_config);
}

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/config");
