//! [`LineOptions`]: where a line ends and how long it may be.

use netframe_core::bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes a line may have unless said otherwise, the delimiter not counted: 16 KiB.
pub const DEFAULT_MAX_LENGTH: usize = 16 * 1024;

/// Where a line ends and how long it may be. In a configuration file, `delimiter` is `"lf"` or
/// `"crlf"`.
///
/// ```
/// use netframe_protocols::line::{Delimiter, LineOptions};
///
/// let mut options = LineOptions::default();
/// options.delimiter = Delimiter::Crlf;
/// options.max_length = 512;
/// options.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LineOptions {
    /// What ends a line. Default LF.
    pub delimiter: Delimiter,
    /// Bytes a line may have, the delimiter not counted; at least 1. Default 16 KiB: more than
    /// text protocols ask for (RFC 5321 has 1000), and little to hold for an unfinished line. A
    /// peer that sends more is disconnected.
    ///
    /// The connection's own limit `max_pending` (64 KiB) bounds an unfinished line too, its
    /// delimiter included: raise both for lines that come near it.
    pub max_length: usize,
}

impl Default for LineOptions {
    fn default() -> Self {
        Self { delimiter: Delimiter::default(), max_length: DEFAULT_MAX_LENGTH }
    }
}

impl LineOptions {
    /// Checks the values; [`LineFramer::new`](super::LineFramer::new) does so as well.
    ///
    /// # Errors
    ///
    /// The first value that cannot be.
    pub fn validate(&self) -> Result<(), LineOptionsError> {
        if self.delimiter.as_bytes().is_empty() {
            return Err(LineOptionsError::EmptyDelimiter);
        }
        if self.max_length == 0 {
            return Err(LineOptionsError::ZeroMaxLength);
        }
        Ok(())
    }
}

/// What ends a line; matched exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Delimiter {
    /// `\n`. A `\r` before it is part of the line.
    #[default]
    Lf,
    /// `\r\n`. A `\r` or `\n` alone is part of the line.
    Crlf,
    /// Any other bytes, at least one; only from code, not from a configuration file.
    #[serde(skip)]
    Bytes(Bytes),
}

impl Delimiter {
    /// The bytes on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Lf => b"\n",
            Self::Crlf => b"\r\n",
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// An option that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineOptionsError {
    /// No line but the empty one could ever be received.
    #[error("`max_length` is 0; set the bytes that a line may have, such as {DEFAULT_MAX_LENGTH}")]
    ZeroMaxLength,
    /// Nothing would end a line.
    #[error("`delimiter` is empty; set at least one byte")]
    EmptyDelimiter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_on_the_wire_as_named() {
        assert_eq!(Delimiter::Lf.as_bytes(), b"\n");
        assert_eq!(Delimiter::Crlf.as_bytes(), b"\r\n");
        assert_eq!(Delimiter::Bytes(Bytes::from_static(b"; ")).as_bytes(), b"; ");
    }

    #[test]
    fn impossible_options_are_refused() {
        let zero = LineOptions { max_length: 0, ..LineOptions::default() };
        assert_eq!(zero.validate(), Err(LineOptionsError::ZeroMaxLength));
        assert_eq!(
            LineOptionsError::ZeroMaxLength.to_string(),
            "`max_length` is 0; set the bytes that a line may have, such as 16384"
        );
        let empty = LineOptions { delimiter: Delimiter::Bytes(Bytes::new()), max_length: 1 };
        assert_eq!(empty.validate(), Err(LineOptionsError::EmptyDelimiter));
        assert_eq!(LineOptions { max_length: 1, ..LineOptions::default() }.validate(), Ok(()));
    }

    #[test]
    fn configuration_is_read_by_name() {
        let crlf = LineOptions { delimiter: Delimiter::Crlf, ..LineOptions::default() };
        assert_eq!(serde_json::from_str::<LineOptions>(r#"{"delimiter":"crlf"}"#).unwrap(), crlf);
        let written = serde_json::to_string(&crlf).unwrap();
        assert_eq!(written, r#"{"delimiter":"crlf","max_length":16384}"#);

        let refusal =
            |text: &str| serde_json::from_str::<LineOptions>(text).unwrap_err().to_string();
        assert!(
            refusal(r#"{"delimiter":"cr"}"#)
                .contains("unknown variant `cr`, expected `lf` or `crlf`")
        );
        assert!(refusal(r#"{"max_len":1}"#).contains("expected `delimiter` or `max_length`"));
    }
}
