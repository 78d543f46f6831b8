//! [`EndpointKind`] and [`LayerKind`]: the words before `://`.

use std::fmt;

use super::error::EndpointError;
use super::suggest::nearest;

/// What carries the bytes of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointKind {
    /// `tcp://host:port`: stream over IP.
    Tcp,
    /// `udp://host:port`: datagrams over IP.
    Udp,
    /// `unix:///path` and `unix://@abstract`: stream within this machine.
    Unix,
    /// `unixgram:///path` and `unixgram://@abstract`: datagrams within this machine.
    UnixDatagram,
    /// `mem://name`: stream within this process.
    Mem,
    /// `stdio:`: one connection on standard input and output.
    Stdio,
    /// `fd://3`: an inherited listening socket, by its descriptor.
    Fd,
    /// `systemd://name`: an inherited listening socket, by its `FileDescriptorName`.
    Systemd,
    /// `sim://name`: simulated network, for tests.
    Sim,
    /// `quic://host:port`: streams over UDP. Not built yet.
    Quic,
    /// `vsock://cid:port`: stream between a virtual machine and its host. Not built yet.
    Vsock,
    /// `custom://name`: a `Listen` or `Connect` of one's own, by the name it has in logs. It parses
    /// like any other kind, so that every endpoint's text can be read back; but the text alone
    /// cannot be bound or connected to, because it does not lead to the object.
    Custom,
}

impl EndpointKind {
    pub(super) const ALL: [Self; 12] = [
        Self::Tcp,
        Self::Udp,
        Self::Unix,
        Self::UnixDatagram,
        Self::Mem,
        Self::Stdio,
        Self::Fd,
        Self::Systemd,
        Self::Sim,
        Self::Quic,
        Self::Vsock,
        Self::Custom,
    ];

    /// Whether bytes come as datagrams, each a message of its own, rather than as a stream.
    pub fn is_datagram(self) -> bool {
        matches!(self, Self::Udp | Self::UnixDatagram)
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::UnixDatagram => "unixgram",
            Self::Mem => "mem",
            Self::Stdio => "stdio",
            Self::Fd => "fd",
            Self::Systemd => "systemd",
            Self::Sim => "sim",
            Self::Quic => "quic",
            Self::Vsock => "vsock",
            Self::Custom => "custom",
        }
    }

    /// What follows the `://`, in words.
    pub(super) fn address_form(self) -> &'static str {
        match self {
            Self::Tcp | Self::Udp | Self::Quic => "`host:port`",
            Self::Unix | Self::UnixDatagram => "an absolute path, or `@` and an abstract name",
            Self::Mem | Self::Systemd | Self::Sim | Self::Custom => "a name",
            Self::Vsock => "`cid:port`",
            Self::Fd => "the number of a descriptor",
            Self::Stdio => "nothing after `stdio:`",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for EndpointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A protocol between the transport and the user's protocol. Not built yet.
///
/// The order is that of an endpoint's text: from the user's protocol down to the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LayerKind {
    /// `ws+`: binary messages of WebSocket, RFC 6455.
    Ws,
    /// `tls+`: TLS, RFC 8446.
    Tls,
    /// `proxy+`: the header of the PROXY protocol, which tells the real peer. It comes before all
    /// else on the wire.
    Proxy,
}

impl LayerKind {
    pub(super) const ALL: [Self; 3] = [Self::Ws, Self::Tls, Self::Proxy];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.word() == word)
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Layers and kind of `[layer+…]kind`.
pub(super) fn parse_scheme(scheme: &str) -> Result<(Vec<LayerKind>, EndpointKind), EndpointError> {
    // RFC 3986, section 3.1: schemes are case-insensitive, and canonical in lower case.
    let scheme = scheme.to_ascii_lowercase();
    let (above, word) = scheme.rsplit_once('+').map_or((None, &*scheme), |(a, w)| (Some(a), w));
    let (implied, kind): (&[_], _) = match word {
        "ws" => (&[LayerKind::Ws], EndpointKind::Tcp),
        "wss" => (&[LayerKind::Ws, LayerKind::Tls], EndpointKind::Tcp),
        _ => (&[], EndpointKind::parse(word).ok_or_else(|| unknown_kind(word))?),
    };
    let mut layers = Vec::new();
    for word in above.into_iter().flat_map(|above| above.split('+')) {
        layers.push(LayerKind::parse(word).ok_or_else(|| unknown_layer(word))?);
    }
    layers.extend_from_slice(implied);
    check_layers(&layers, kind)?;
    Ok((layers, kind))
}

fn check_layers(layers: &[LayerKind], kind: EndpointKind) -> Result<(), EndpointError> {
    if let (true, Some(&layer)) = (kind.is_datagram(), layers.first()) {
        return Err(EndpointError::LayerOnDatagrams { layer, kind });
    }
    if layers.is_sorted_by(|above, below| above < below) {
        return Ok(());
    }
    let mut sorted = layers.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let join = |layers: &[LayerKind]| {
        layers.iter().map(|layer| format!("{layer}+")).collect::<String>() + kind.word()
    };
    Err(EndpointError::LayerOrder { found: join(layers), expected: join(&sorted) })
}

fn unknown_kind(word: &str) -> EndpointError {
    let suggestion = match LayerKind::parse(word) {
        Some(layer) => Some(format!("{layer}+tcp")),
        None => nearest(word, EndpointKind::ALL.map(EndpointKind::word)).map(str::to_owned),
    };
    EndpointError::UnknownKind { found: word.to_owned(), suggestion }
}

fn unknown_layer(word: &str) -> EndpointError {
    let suggestion = nearest(word, LayerKind::ALL.map(LayerKind::word)).map(str::to_owned);
    EndpointError::UnknownLayer { found: word.to_owned(), suggestion }
}
