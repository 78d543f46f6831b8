//! placeholder
pub use netframe_core::*;
