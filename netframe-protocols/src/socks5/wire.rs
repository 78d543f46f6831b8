//! The messages of SOCKS 5, read from bytes that come in pieces and without any I/O.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const VERSION: u8 = 5;
/// Of the sub-negotiation by user and password (RFC 1929).
pub(super) const LOGIN_VERSION: u8 = 1;

pub(super) const NO_AUTHENTICATION: u8 = 0;
pub(super) const PASSWORD: u8 = 2;
pub(super) const NO_METHOD: u8 = 0xff;

/// What a client is told (RFC 1928, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Succeeded = 0,
    Failed = 1,
    NotAllowed = 2,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    Refused = 5,
    CommandNotSupported = 7,
    AddressNotSupported = 8,
}

/// What is wrong with what a client sent, or asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("the client speaks no SOCKS 5")]
    Version,
    #[error("the client offers no method that would do")]
    Method,
    #[error("the client's user or password is wrong")]
    Login,
    #[error("the client asks for another command than CONNECT")]
    Command,
    #[error("the client's reserved byte is not 0")]
    Reserved,
    #[error("the client's address is of no kind that there is")]
    AddressType,
    #[error("the client's host is no name and no address")]
    Host,
    #[error("the client may not go there")]
    NotAllowed,
}

impl WireError {
    /// How a request with it is answered, if it is.
    pub(super) fn reply(self) -> Option<Reply> {
        match self {
            Self::Reserved => Some(Reply::Failed),
            Self::Command => Some(Reply::CommandNotSupported),
            Self::AddressType => Some(Reply::AddressNotSupported),
            Self::Host => Some(Reply::HostUnreachable),
            Self::NotAllowed => Some(Reply::NotAllowed),
            Self::Version | Self::Method | Self::Login => None,
        }
    }
}

/// Where a client asks to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// A name or an address.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Takes bytes from the front; `None` where they have not come.
struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.data.get(self.at..self.at + len)?;
        self.at += len;
        Some(bytes)
    }

    /// Bytes behind one that tells how many.
    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?;
        self.take(len.into())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}

pub(super) type Read<T> = Result<Option<T>, WireError>;

/// The methods that a client offers, and the length of the message.
pub(super) fn greeting(data: &[u8]) -> Read<(&[u8], usize)> {
    let mut reader = Reader::new(data);
    match reader.byte() {
        None => return Ok(None),
        Some(VERSION) => {}
        Some(_) => return Err(WireError::Version),
    }
    Ok(reader.counted().map(|methods| (methods, reader.at)))
}

/// User, password, and the length of the message.
pub(super) fn login(data: &[u8]) -> Read<(&[u8], &[u8], usize)> {
    let mut reader = Reader::new(data);
    match reader.byte() {
        None => return Ok(None),
        Some(LOGIN_VERSION) => {}
        Some(_) => return Err(WireError::Version),
    }
    let Some(user) = reader.counted() else { return Ok(None) };
    Ok(reader.counted().map(|password| (user, password, reader.at)))
}

/// Where to, and the length of the message.
pub(super) fn request(data: &[u8]) -> Read<(Request, usize)> {
    let mut reader = Reader::new(data);
    let Some([version, command, reserved, kind]) = reader.array() else {
        return if data.first().is_some_and(|version| *version != VERSION) {
            Err(WireError::Version)
        } else {
            Ok(None)
        };
    };
    if version != VERSION {
        return Err(WireError::Version);
    }
    if command != 1 {
        return Err(WireError::Command);
    }
    if reserved != 0 {
        return Err(WireError::Reserved);
    }
    let host = match kind {
        1 => reader.array::<4>().map(|address| Ipv4Addr::from(address).to_string()),
        4 => reader.array::<16>().map(|address| Ipv6Addr::from(address).to_string()),
        3 => match reader.counted() {
            Some(name) => Some(host(name).ok_or(WireError::Host)?),
            None => None,
        },
        _ => return Err(WireError::AddressType),
    };
    let (Some(host), Some(port)) = (host, reader.array()) else { return Ok(None) };
    Ok(Some((Request { host, port: u16::from_be_bytes(port) }, reader.at)))
}

/// A name, or an address as text.
fn host(bytes: &[u8]) -> Option<String> {
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:".contains(byte);
    if bytes.is_empty() || !bytes.iter().all(is_host) {
        return None;
    }
    String::from_utf8(bytes.to_vec()).ok().map(|name| name.to_ascii_lowercase())
}

/// The answer to a request.
pub(super) fn answer(reply: Reply, addr: SocketAddr) -> Vec<u8> {
    let mut answer = vec![VERSION, reply as u8, 0];
    match addr.ip() {
        IpAddr::V4(ip) => {
            answer.push(1);
            answer.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            answer.push(4);
            answer.extend_from_slice(&ip.octets());
        }
    }
    answer.extend_from_slice(&addr.port().to_be_bytes());
    answer
}
