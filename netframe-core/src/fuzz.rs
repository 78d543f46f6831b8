//! What the fuzz targets call: each function panics if its input breaks a promise. Not part of the
//! public API, and there only for tests and with the feature `conformance`.

mod corpus;
#[cfg(test)]
mod tests;

pub use self::corpus::{explore, replay};
use crate::connection::model::{Op, World};
use crate::endpoint::{Endpoint, EndpointError};

/// Reads what happens to a connection from the input, and compares its core to a model. The first
/// byte says what it runs over; each operation is two.
pub fn connection(input: &[u8]) {
    let &[kind, ref ops @ ..] = input else { return };
    let ops = ops.chunks_exact(2).map(|pair| Op::decode(pair[0], pair[1]));
    World::new(kind & 1 != 0, kind & 2 != 0, kind & 4 != 0).run(ops);
}

/// Parses an endpoint. What is accepted can be shown and parsed again, as text and in a
/// configuration; an error is one line, and what it suggests is right.
pub fn endpoint(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match text.parse::<Endpoint>() {
        Ok(endpoint) => {
            let shown = endpoint.to_string();
            assert_eq!(shown.parse().as_ref(), Ok(&endpoint), "{shown}");
            assert!(!shown.contains(char::is_whitespace), "{shown:?}");
        }
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            if let EndpointError::MissingKind { suggestion: Some(suggestion), .. }
            | EndpointError::MissingSlashes { suggestion: Some(suggestion), .. } = error
            {
                assert!(suggestion.parse::<Endpoint>().is_ok(), "{suggestion}");
            }
        }
    }
}
