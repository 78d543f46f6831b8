//! Bytes in a configuration: for `#[serde(with = "netframe_core::size")]` at an option of the type
//! `usize`.
//!
//! They are a number, such as `65536`, or text with a unit, such as `"64KiB"`, `"16MiB"` or `"1GiB"`;
//! from 1 to 1024 GiB. They are written as text, in the largest unit that needs no fraction.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, Serialize)]
//! struct Options {
//!     #[serde(with = "netframe_core::size")]
//!     memory: usize,
//! }
//!
//! let options: Options = serde_json::from_str(r#"{"memory":"64MiB"}"#)?;
//! assert_eq!(options.memory, 64 * 1024 * 1024);
//! assert_eq!(serde_json::to_string(&Options { memory: 2048 })?, r#"{"memory":"2KiB"}"#);
//! # Ok::<(), serde_json::Error>(())
//! ```

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

use crate::endpoint::values::{Format, SPACE};
use crate::limits::Value;

/// Reads them.
///
/// # Errors
///
/// It is neither a number nor text of that form, or out of range.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    read(deserializer, &SPACE)
}

/// Writes them.
///
/// # Errors
///
/// Those of the serializer.
pub fn serialize<S: Serializer>(size: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&(SPACE.write)(*size))
}

/// A number of bytes, or text with a unit, in the range of `format`.
pub(crate) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
    format: &Format<usize>,
) -> Result<usize, D::Error> {
    let size = match Value::deserialize(deserializer)? {
        Value::Number(number) => (format.read)(&number.to_string()),
        Value::Text(text) => (format.read)(&text),
        Value::Other(_) => None,
    };
    size.ok_or_else(|| Error::custom(format!("expected {}", format.expected)))
}

#[cfg(test)]
mod tests {
    #[derive(serde::Deserialize)]
    struct Options {
        #[serde(with = "crate::size")]
        memory: usize,
    }

    #[test]
    fn bytes_are_a_number_or_text_with_a_unit_and_in_range() {
        let read = |value: &str| {
            serde_json::from_str::<Options>(&format!("{{\"memory\":{value}}}"))
                .map(|options| options.memory)
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("1"), Ok(1));
        assert_eq!(read("\"3GiB\""), Ok(3 << 30));
        assert_eq!(read("\"1024GiB\""), Ok(1 << 40));
        for wrong in ["0", "-1", "1.5", "true", "\"\"", "\"1TiB\"", "\"1025GiB\"", "\"64 MiB\""] {
            let error = read(wrong).unwrap_err();
            let expected = "expected bytes from 1 to 1024GiB, such as `65536`, `64KiB` or `1GiB`";
            assert!(error.starts_with(expected), "{wrong}: {error}");
        }
    }
}
