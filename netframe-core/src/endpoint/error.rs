//! [`EndpointError`]: what is wrong with an endpoint, where, and what was expected.

use std::convert::Infallible;
use std::fmt;

use super::kind::{EndpointKind, LayerKind};
use super::options::Options;

/// What is wrong with an endpoint. The fault is always the caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no text.
    #[error("the endpoint is empty; expected `kind://address`, such as `tcp://127.0.0.1:7007`")]
    Empty,
    /// A control character: it would have no place in a log, and is probably a slip.
    #[error("control character {found:?} at byte {at}; expected printable text")]
    Control {
        /// The character.
        found: char,
        /// Bytes before it.
        at: usize,
    },
    /// No `kind://` comes first.
    #[error("`{found}` has no kind; {}", DidYouMean(suggestion))]
    MissingKind {
        /// The endpoint.
        found: String,
        /// A valid endpoint that was probably meant.
        suggestion: Option<String>,
    },
    /// A kind with its colon, but without the two slashes.
    #[error("`{found}` lacks the `//` after its kind; {}", DidYouMean(suggestion))]
    MissingSlashes {
        /// The endpoint.
        found: String,
        /// A valid endpoint that was probably meant.
        suggestion: Option<String>,
    },
    /// The word before `://` is not a kind.
    #[error("unknown kind `{found}`; {}kinds: {}", Suggest(suggestion), List(&EndpointKind::ALL))]
    UnknownKind {
        /// The word.
        found: String,
        /// The kind that was probably meant.
        suggestion: Option<String>,
    },
    /// A word before a `+` is not a layer.
    #[error("unknown layer `{found}`; {}layers: {}", Suggest(suggestion), List(&LayerKind::ALL))]
    UnknownLayer {
        /// The word.
        found: String,
        /// The layer that was probably meant.
        suggestion: Option<String>,
    },
    /// Layers cannot be stacked this way, or one occurs twice.
    #[error(
        "layers cannot be stacked as `{found}`; expected, from the protocol down, `{expected}`"
    )]
    LayerOrder {
        /// Layers and kind.
        found: String,
        /// The same in an order that works.
        expected: String,
    },
    /// A layer over datagrams.
    #[error("layer `{layer}` needs a stream, and `{kind}` carries datagrams")]
    LayerOnDatagrams {
        /// The first layer.
        layer: LayerKind,
        /// The kind.
        kind: EndpointKind,
    },
    /// Host without port.
    #[error("`{found}` has no port; expected `host:port`, where port 0 is any free one")]
    MissingPort {
        /// The address.
        found: String,
    },
    /// A part that is not of the form it must have.
    #[error("invalid {part} `{found}`; expected {expected}")]
    Invalid {
        /// The part at fault.
        part: EndpointPart,
        /// Its text.
        found: String,
        /// What it must look like.
        expected: &'static str,
    },
    /// A part that no system call or table would take.
    #[error("the {part} is too long: {len} bytes, expected at most {max}")]
    TooLong {
        /// The part at fault.
        part: EndpointPart,
        /// Its length, bytes.
        len: usize,
        /// The most it may have, bytes.
        max: usize,
    },
    /// An option that no kind has, or only others.
    #[error("unknown option `{found}`; {}{}", Suggest(suggestion), OptionsOf(*kind, found))]
    UnknownOption {
        /// Its name.
        found: String,
        /// The endpoint's kind.
        kind: EndpointKind,
        /// The option that was probably meant.
        suggestion: Option<String>,
    },
    /// An option given twice, even with the same value.
    #[error("option `{option}` is given twice; expected once")]
    RepeatedOption {
        /// Its name.
        option: String,
    },
    /// A value that is not of the option's type, or outside its range.
    #[error("invalid value `{found}` of option `{option}`; expected {expected}")]
    InvalidValue {
        /// Name of the option.
        option: &'static str,
        /// The value.
        found: String,
        /// What it must look like.
        expected: &'static str,
    },
    /// Typed options of one kind for an endpoint of another.
    #[error("options of `{options}` do not fit an endpoint of kind `{kind}`")]
    ForeignOptions {
        /// Kind of the options.
        options: EndpointKind,
        /// Kind of the endpoint.
        kind: EndpointKind,
    },
}

impl EndpointError {
    pub(super) fn invalid(
        part: EndpointPart,
        found: impl fmt::Display,
        expected: &'static str,
    ) -> Self {
        Self::Invalid { part, found: found.to_string(), expected }
    }
}

/// So that whatever is `TryInto<Endpoint>` will do, an [`Endpoint`](super::Endpoint) itself too.
impl From<Infallible> for EndpointError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A part of an endpoint's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointPart {
    /// The whole.
    Endpoint,
    /// What is between `://` and `?`.
    Address,
    /// The host in `host:port`.
    Host,
    /// The port in `host:port`.
    Port,
    /// The path of a Unix socket.
    Path,
    /// A name: of a memory endpoint, an abstract socket, …
    Name,
    /// `name=value` after the `?`.
    Option,
}

impl fmt::Display for EndpointPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Endpoint => "endpoint",
            Self::Address => "address",
            Self::Host => "host",
            Self::Port => "port",
            Self::Path => "path",
            Self::Name => "name",
            Self::Option => "option",
        })
    }
}

/// A suggestion, or else what every endpoint begins with.
struct DidYouMean<'a>(&'a Option<String>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(suggestion) => write!(f, "did you mean `{suggestion}`?"),
            None => f.write_str("expected `kind://address`"),
        }
    }
}

/// A suggestion with a space behind it, or nothing.
struct Suggest<'a>(&'a Option<String>);

impl fmt::Display for Suggest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(suggestion) => write!(f, "did you mean `{suggestion}`? "),
            None => Ok(()),
        }
    }
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Which kinds have the option, if any, and which options the kind has.
struct OptionsOf<'a>(EndpointKind, &'a str);

impl fmt::Display for OptionsOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kind, option) = self;
        let names = |kind| Options::of(kind).names();
        let owners: Vec<_> =
            EndpointKind::ALL.into_iter().filter(|&kind| names(kind).contains(option)).collect();
        if !owners.is_empty() {
            write!(f, "it belongs to {}; ", List(&owners))?;
        }
        match &*names(*kind) {
            [] => write!(f, "{kind} has no options"),
            names => write!(f, "options of {kind}: {}", List(names)),
        }
    }
}
