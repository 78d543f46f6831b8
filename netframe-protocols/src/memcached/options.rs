//! [`MemcachedOptions`]: how much a cache keeps.

use netframe_core::Limits;
use serde::{Deserialize, Serialize};

use super::command::MAX_KEY;
use super::items::cost;
use super::session::MAX_LINE;

/// The largest value: its length, with its end, must be one that a client can announce.
const MAX_VALUE: usize = 1024 * 1024 * 1024;

/// How much a cache keeps.
///
/// ```
/// use netframe_protocols::memcached::MemcachedOptions;
///
/// let mut options = MemcachedOptions::default();
/// options.memory = 256 * 1024 * 1024;
/// options.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemcachedOptions {
    /// Bytes that all items may take together: of each its key, its value and 160 more. When another
    /// one needs the room, those go that were used longest ago. Default 64 MiB. In a configuration also
    /// text, such as `"256MiB"`.
    #[serde(with = "netframe_core::size")]
    pub memory: usize,
    /// Bytes of a value; a longer one is refused, and what had its key is gone. Default 1 MiB. In a
    /// configuration also text.
    #[serde(with = "netframe_core::size")]
    pub max_value: usize,
}

impl Default for MemcachedOptions {
    fn default() -> Self {
        Self { memory: 64 * 1024 * 1024, max_value: 1024 * 1024 }
    }
}

impl MemcachedOptions {
    /// Checks the values; [`memcached`](super::memcached()) does so as well.
    ///
    /// # Errors
    ///
    /// The first value that cannot be.
    pub fn validate(&self) -> Result<(), MemcachedOptionsError> {
        let Self { memory, max_value } = *self;
        if !(1..=MAX_VALUE).contains(&max_value) {
            return Err(MemcachedOptionsError::MaxValue { max_value });
        }
        let largest = cost(MAX_KEY, max_value);
        if memory < largest {
            return Err(MemcachedOptionsError::SmallMemory { memory, largest });
        }
        Ok(())
    }

    /// Raises the limits that a connection needs to be higher: an unfinished command line may have
    /// 2048 bytes, which is much less than `max_pending` allows by default.
    pub fn raise(&self, limits: &mut Limits) {
        limits.max_pending = limits.max_pending.max(MAX_LINE);
    }

    /// Bytes that one connection costs at worst, beside its queues and an unfinished command line: a
    /// value that has not come as a whole, or one that the client asked for and does not read.
    pub fn connection_memory(&self) -> usize {
        self.max_value.saturating_add(CONNECTION_OVERHEAD)
    }
}

/// Bytes of a connection beside the value that comes: its state, and the key.
const CONNECTION_OVERHEAD: usize = 1024;

/// An option that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemcachedOptionsError {
    /// No value would fit, or none could be announced that does.
    #[error("`max_value` is {max_value}; set it from 1 to {MAX_VALUE} bytes (1GiB)")]
    MaxValue {
        /// The limit.
        max_value: usize,
    },
    /// The largest item would not fit.
    #[error(
        "`memory` ({memory}) is less than the largest item takes ({largest}); raise it, or lower `max_value`"
    )]
    SmallMemory {
        /// The limit.
        memory: usize,
        /// What one item takes at most.
        largest: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_options_are_refused() {
        let check = |memory, max_value| {
            MemcachedOptions { memory, max_value }.validate().map_err(|error| error.to_string())
        };
        assert_eq!(MemcachedOptions::default().validate(), Ok(()));
        assert_eq!(check(411, 1), Ok(()));
        assert_eq!(check(usize::MAX, MAX_VALUE), Ok(()));
        assert_eq!(
            check(410, 1).unwrap_err(),
            "`memory` (410) is less than the largest item takes (411); raise it, or lower `max_value`"
        );
        for max_value in [0, MAX_VALUE + 1, usize::MAX] {
            assert_eq!(
                check(usize::MAX, max_value).unwrap_err(),
                format!("`max_value` is {max_value}; set it from 1 to 1073741824 bytes (1GiB)")
            );
        }
    }

    #[test]
    fn configuration_is_read_by_name() {
        let text = r#"{"memory":"256MiB"}"#;
        let want = MemcachedOptions { memory: 256 << 20, ..MemcachedOptions::default() };
        assert_eq!(serde_json::from_str::<MemcachedOptions>(text).unwrap(), want);
        assert_eq!(
            serde_json::to_string(&MemcachedOptions::default()).unwrap(),
            r#"{"memory":"64MiB","max_value":"1MiB"}"#
        );
    }
}
