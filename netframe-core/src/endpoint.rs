//! [`Endpoint`]: where to listen or connect, as one string. Nothing is opened or resolved here.
//!
//! The grammar is `[layer+…]kind://address[?option=value&…]`, close to RFC 3986: a scheme in
//! any case, percent-encoding in paths and names, IPv6 addresses in brackets.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod address;
mod error;
mod escape;
mod kind;
mod options;
mod parse;
mod suggest;
#[cfg(test)]
mod tests;
pub(crate) mod values;

pub use address::{Address, Host};
pub use error::{EndpointError, EndpointPart};
pub use kind::{EndpointKind, LayerKind};
use options::Options;
pub use options::{MemOptions, TcpOptions, UdpOptions, UnixOptions};

/// A place to listen on or connect to, not yet open.
///
/// | endpoint | meaning | options |
/// |---|---|---|
/// | `tcp://host:port` | stream; port 0 is any free one, `[::]` is IPv4 and IPv6, a name is all its addresses | [`TcpOptions`] |
/// | `udp://host:port` | datagrams | [`UdpOptions`] |
/// | `unix:///path`, `unix://@abstract` | stream | [`UnixOptions`] |
/// | `unixgram:///path`, `unixgram://@abstract` | datagrams | [`UnixOptions`] |
/// | `mem://name` | stream within this process | [`MemOptions`] |
/// | `stdio:` | one connection on standard input and output | |
/// | `fd://3`, `systemd://name` | inherited listening sockets | |
/// | `sim://name` | simulated network, for tests | |
/// | `quic://host:port`, `vsock://cid:port` | known, not built yet | |
/// | `custom://name` | a `Listen` or `Connect` of one's own | |
///
/// The layers `ws+`, `tls+` and `proxy+` go before the kind, the one nearest to the protocol first:
/// `ws+tls+tcp://`. They are known, but not built yet. `ws://` is short for `ws+tcp://`, and
/// `wss://` for `ws+tls+tcp://`.
///
/// In a path or name `?` is written `%3F`, `%` is `%25`, and any other byte may be written so, but
/// a control character must not occur in any form. No part of the address is empty, and `0` never
/// means "off": an option that is not wanted is left out.
///
/// An endpoint is always valid, and its text is canonical: `parse(e.to_string()) == e`. The text
/// leaves out options that have their default.
///
/// # Examples
///
/// ```
/// use netframe_core::{Endpoint, EndpointKind};
///
/// let endpoint: Endpoint = "TCP://localhost:7007?keepalive=60s&nodelay=on".parse()?;
/// assert_eq!(endpoint.kind(), EndpointKind::Tcp);
/// assert!(endpoint.tcp().unwrap().nodelay);
/// assert_eq!(endpoint.to_string(), "tcp://localhost:7007?keepalive=1m");
///
/// let err = "127.0.0.1:7007".parse::<Endpoint>().unwrap_err();
/// assert_eq!(
///     err.to_string(),
///     "`127.0.0.1:7007` has no kind; did you mean `tcp://127.0.0.1:7007`?"
/// );
/// # Ok::<(), netframe_core::EndpointError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Invariant: in strictly ascending order, and empty for datagrams.
    layers: Vec<LayerKind>,
    kind: EndpointKind,
    /// Invariant: of the form that `kind` calls for, and canonical.
    address: Address,
    /// Invariant: of `kind`, each value in its range.
    options: Options,
}

impl Endpoint {
    /// An endpoint with default options and no layers.
    ///
    /// # Errors
    ///
    /// The address is not of the form that `kind` calls for, is too long, or has a part that could
    /// not be written in an endpoint's text.
    pub fn new(kind: EndpointKind, address: Address) -> Result<Self, EndpointError> {
        let address = address.checked(kind)?;
        Ok(Self { layers: Vec::new(), kind, address, options: Options::of(kind) })
    }

    /// `tcp://host:port`, where an IPv6 address may have its brackets or not.
    ///
    /// # Errors
    ///
    /// The host is neither an address nor a well-formed name.
    pub fn new_tcp(host: &str, port: u16) -> Result<Self, EndpointError> {
        Self::new(EndpointKind::Tcp, Address::Inet { host: host.parse()?, port })
    }

    /// `udp://host:port`, where an IPv6 address may have its brackets or not.
    ///
    /// # Errors
    ///
    /// The host is neither an address nor a well-formed name.
    pub fn new_udp(host: &str, port: u16) -> Result<Self, EndpointError> {
        Self::new(EndpointKind::Udp, Address::Inet { host: host.parse()?, port })
    }

    /// `unix:///path`; no character of `path` has a special meaning.
    ///
    /// # Errors
    ///
    /// The path is relative, has more than 107 bytes, or has control characters.
    pub fn new_unix(path: impl Into<PathBuf>) -> Result<Self, EndpointError> {
        Self::new(EndpointKind::Unix, Address::Path(path.into()))
    }

    /// `mem://name`; no character of `name` has a special meaning.
    ///
    /// # Errors
    ///
    /// The name is empty, has more than 255 bytes, or has control characters.
    pub fn new_mem(name: impl Into<String>) -> Result<Self, EndpointError> {
        Self::new(EndpointKind::Mem, Address::Name(name.into()))
    }

    /// `custom://name`, for a `Listen` or `Connect` of one's own.
    ///
    /// # Errors
    ///
    /// The name is empty, has more than 255 bytes, or has control characters.
    pub fn new_custom(name: impl Into<String>) -> Result<Self, EndpointError> {
        Self::new(EndpointKind::Custom, Address::Name(name.into()))
    }

    /// The same endpoint at a real address, such as the one after a bind to port 0. An endpoint
    /// without host and port stays as it is.
    pub fn with_socket_addr(&self, addr: SocketAddr) -> Self {
        match self.address {
            Address::Inet { .. } => Self { address: addr.into(), ..self.clone() },
            _ => self.clone(),
        }
    }

    /// The same endpoint with these options.
    ///
    /// # Errors
    ///
    /// The kind is not `tcp`, or a value is outside its range.
    pub fn with_tcp(self, options: TcpOptions) -> Result<Self, EndpointError> {
        self.with_options(Options::Tcp(options))
    }

    /// The same endpoint with these options.
    ///
    /// # Errors
    ///
    /// The kind is not `udp`, or a value is outside its range.
    pub fn with_udp(self, options: UdpOptions) -> Result<Self, EndpointError> {
        self.with_options(Options::Udp(options))
    }

    /// The same endpoint with these options.
    ///
    /// # Errors
    ///
    /// The kind is neither `unix` nor `unixgram`, or a value is outside its range.
    pub fn with_unix(self, options: UnixOptions) -> Result<Self, EndpointError> {
        self.with_options(Options::Unix(options))
    }

    /// The same endpoint with these options.
    ///
    /// # Errors
    ///
    /// The kind is not `mem`, or a value is outside its range.
    pub fn with_mem(self, options: MemOptions) -> Result<Self, EndpointError> {
        self.with_options(Options::Mem(options))
    }

    /// What carries the bytes.
    pub fn kind(&self) -> EndpointKind {
        self.kind
    }

    /// Layers over the transport, the one nearest to the protocol first.
    pub fn layers(&self) -> &[LayerKind] {
        &self.layers
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Options of a `tcp` endpoint.
    pub fn tcp(&self) -> Option<&TcpOptions> {
        match &self.options {
            Options::Tcp(options) => Some(options),
            _ => None,
        }
    }

    /// Options of a `udp` endpoint.
    pub fn udp(&self) -> Option<&UdpOptions> {
        match &self.options {
            Options::Udp(options) => Some(options),
            _ => None,
        }
    }

    /// Options of a `unix` or `unixgram` endpoint.
    pub fn unix(&self) -> Option<&UnixOptions> {
        match &self.options {
            Options::Unix(options) => Some(options),
            _ => None,
        }
    }

    /// Options of a `mem` endpoint.
    pub fn mem(&self) -> Option<&MemOptions> {
        match &self.options {
            Options::Mem(options) => Some(options),
            _ => None,
        }
    }

    fn with_options(self, options: Options) -> Result<Self, EndpointError> {
        let endpoint = Self { options, ..self };
        endpoint.check_options()?;
        Ok(endpoint)
    }

    fn check_options(&self) -> Result<(), EndpointError> {
        self.options.check(self.kind)?;
        match (&self.address, &self.options) {
            // Only a file has a mode. Left out silently, it would not protect what it seems to.
            (Address::Abstract(_), Options::Unix(UnixOptions { mode: Some(_), .. })) => {
                Err(EndpointError::invalid(
                    EndpointPart::Option,
                    "mode",
                    "a path: an abstract name has no mode",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// The text, as that is what an endpoint is.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for layer in &self.layers {
            write!(f, "{layer}+")?;
        }
        let slashes = if self.kind == EndpointKind::Stdio { "" } else { "//" };
        write!(f, "{}:{slashes}{}", self.kind, self.address)?;
        for (i, (name, value)) in self.options.changed().into_iter().enumerate() {
            write!(f, "{}{name}={value}", if i == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: &str) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl TryFrom<&String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: &String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

/// So that a server's own endpoint can be connected to by reference.
impl From<&Self> for Endpoint {
    fn from(endpoint: &Self) -> Self {
        endpoint.clone()
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
