//! [`Address`] and [`Host`]: the part between `://` and `?`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::str::FromStr;

use super::error::{EndpointError, EndpointPart};
use super::escape::Encoded;
use super::kind::EndpointKind;
use super::values::number;

/// Where an endpoint is. Displays as in the endpoint's text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// `host:port`.
    Inet {
        /// An address, or a name to resolve.
        host: Host,
        /// 0 is any free port when listening.
        port: u16,
    },
    /// Absolute path of a Unix socket, at most 107 bytes.
    Path(PathBuf),
    /// Name of a Unix socket without a file (Linux), at most 107 bytes; its `@` is not part of it.
    Abstract(String),
    /// A name whose meaning is the kind's business, at most 255 bytes.
    Name(String),
    /// Number of a file descriptor, not negative.
    Fd(i32),
    /// No address, as standard input and output have none.
    None,
}

impl Address {
    /// IP address, port and scope, where they are known without resolving a name.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match *self {
            Self::Inet { host: Host::Ip(ip), port } => Some(SocketAddr::new(ip, port)),
            Self::Inet { host: Host::ScopedIp { ip, scope_id }, port } => {
                Some(SocketAddrV6::new(ip, port, 0, scope_id).into())
            }
            _ => None,
        }
    }

    /// The address in canonical form, if it is one for `kind`.
    pub(super) fn checked(self, kind: EndpointKind) -> Result<Self, EndpointError> {
        use EndpointKind as Kind;
        match (kind, &self) {
            (Kind::Tcp | Kind::Udp | Kind::Quic, Self::Inet { host, port }) => {
                Ok(Self::Inet { host: host.canonical()?, port: *port })
            }
            (Kind::Unix | Kind::UnixDatagram, Self::Path(path)) => {
                let bytes = path.as_os_str().as_encoded_bytes();
                check_text(EndpointPart::Path, bytes, SUN_PATH_MAX_LEN)?;
                if !bytes.starts_with(b"/") || bytes.ends_with(b"/") {
                    let expected = "the absolute path of a socket, as in `unix:///run/x.sock`";
                    return Err(EndpointError::invalid(EndpointPart::Path, &self, expected));
                }
                Ok(self)
            }
            (Kind::Unix | Kind::UnixDatagram, Self::Abstract(name)) => {
                check_text(EndpointPart::Name, name.as_bytes(), SUN_PATH_MAX_LEN)?;
                Ok(self)
            }
            (
                Kind::Mem | Kind::Systemd | Kind::Sim | Kind::Vsock | Kind::Custom,
                Self::Name(name),
            ) => {
                check_text(EndpointPart::Name, name.as_bytes(), NAME_MAX_LEN)?;
                Ok(self)
            }
            (Kind::Fd, Self::Fd(0..)) | (Kind::Stdio, Self::None) => Ok(self),
            _ => Err(EndpointError::invalid(EndpointPart::Address, &self, kind.address_form())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { host, port } => write!(f, "{host}:{port}"),
            Self::Path(path) => Encoded(path.as_os_str().as_encoded_bytes()).fmt(f),
            Self::Abstract(name) => write!(f, "@{}", Encoded(name.as_bytes())),
            Self::Name(name) => Encoded(name.as_bytes()).fmt(f),
            Self::Fd(fd) => fd.fmt(f),
            Self::None => Ok(()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        let host = match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                Host::ScopedIp { ip: *v6.ip(), scope_id: v6.scope_id() }
            }
            _ => Host::Ip(addr.ip()),
        };
        Self::Inet { host, port: addr.port() }
    }
}

/// Half of `host:port`. Displays as in an endpoint's text, so IPv6 in brackets; parsing takes it
/// without brackets too.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Host {
    /// An IP address; the unspecified one listens on every interface.
    Ip(IpAddr),
    /// A link-local address and the number of its interface: `[fe80::1%2]`. An interface's name is
    /// an error, because the standard library cannot look it up.
    ScopedIp {
        /// The address.
        ip: Ipv6Addr,
        /// The interface's number, not zero.
        scope_id: u32,
    },
    /// A name to resolve, in lower case.
    Name(String),
}

impl Host {
    /// The host as its text would be parsed: a variant is easily given a value of another's.
    fn canonical(&self) -> Result<Self, EndpointError> {
        match self {
            Self::Name(name) => name.parse(),
            Self::ScopedIp { ip, scope_id: 0 } => Ok(Self::Ip((*ip).into())),
            host => Ok(host.clone()),
        }
    }
}

impl FromStr for Host {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let len = text.strip_suffix('.').unwrap_or(text).len();
        if len > HOST_MAX_LEN {
            return Err(EndpointError::TooLong {
                part: EndpointPart::Host,
                len,
                max: HOST_MAX_LEN,
            });
        }
        let invalid = |expected| EndpointError::invalid(EndpointPart::Host, text, expected);
        let bracketed = text.strip_prefix('[').map(|rest| rest.strip_suffix(']'));
        let ip = match bracketed {
            Some(inner) => inner.ok_or_else(|| invalid("a `]` at its end, as in `[::1]`"))?,
            None => text,
        };
        if bracketed.is_some() || ip.contains(':') {
            let (ip, scope) = ip.split_once('%').map_or((ip, None), |(ip, s)| (ip, Some(s)));
            let ip: Ipv6Addr = ip.parse().map_err(|_| invalid("an IPv6 address, as in `[::1]`"))?;
            let scope_id = scope.map_or(Some(0), |scope| number(scope, 0..=u32::MAX.into()));
            let scope_id = scope_id.and_then(|id| u32::try_from(id).ok()).ok_or_else(|| {
                invalid("the interface's number after `%`, not its name, as in `[fe80::1%2]`")
            })?;
            return Self::ScopedIp { ip, scope_id }.canonical();
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(IpAddr::V4(ip)));
        }
        check_name(text).map(|()| Self::Name(text.to_ascii_lowercase())).map_err(invalid)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::ScopedIp { ip, scope_id } => write!(f, "[{ip}%{scope_id}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// `sun_path` has 108 bytes on Linux, one of them the NUL after a path or before an abstract name.
const SUN_PATH_MAX_LEN: usize = 107;

/// systemd's limit for a `FileDescriptorName`; long enough for the others.
const NAME_MAX_LEN: usize = 255;

/// RFC 1035, section 2.3.4, for the text without a final dot.
const HOST_MAX_LEN: usize = 253;

fn check_text(part: EndpointPart, bytes: &[u8], max: usize) -> Result<(), EndpointError> {
    if bytes.len() > max {
        return Err(EndpointError::TooLong { part, len: bytes.len(), max });
    }
    if bytes.is_empty() {
        return Err(EndpointError::invalid(part, "", "at least one character"));
    }
    // Names end up in logs, and a path with a NUL is not the one it seems to be.
    if String::from_utf8_lossy(bytes).contains(char::is_control) {
        return Err(EndpointError::invalid(part, Encoded(bytes), "no control characters"));
    }
    Ok(())
}

/// RFC 1123, section 2.1, and underscores, which many networks have; the error is what was
/// expected.
fn check_name(name: &str) -> Result<(), &'static str> {
    let labels = name.strip_suffix('.').unwrap_or(name);
    if labels.is_empty() || labels == "*" {
        return Err("a name or an address, such as `0.0.0.0` or `[::]` for every interface");
    }
    if !name.is_ascii() {
        return Err("ASCII, which for an international name is its `xn--` form");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err("a name of letters, digits, `-`, `_` and `.`, or an address");
    }
    if labels.split('.').any(|label| !(1..=63).contains(&label.len())) {
        return Err("1 to 63 characters between dots");
    }
    // Resolvers read `127.1` and `0x7f000001` as IPv4 addresses, people do not.
    let last = labels.rsplit('.').next().unwrap_or(labels).to_ascii_lowercase();
    let numeric = match last.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    if numeric { Err("four numbers from 0 to 255 if it is an IPv4 address") } else { Ok(()) }
}
