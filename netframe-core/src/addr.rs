//! [`Addr`]: one end of a connection, on any transport, in 32 bytes and without an allocation for
//! an IP address: each datagram has one.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

/// One end of a connection.
///
/// An IP address and port, or the name of a memory endpoint or a Unix socket, or nothing at all
/// (an unnamed socket). It is small because every connection keeps one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Addr(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    V4(SocketAddrV4),
    V6(SocketAddrV6),
    Named(Arc<str>),
    Unnamed,
}

impl Addr {
    /// The address of an end that has none.
    pub const UNNAMED: Self = Self(Repr::Unnamed);

    /// An end that is known by a name, such as a path.
    pub fn named(name: impl AsRef<str>) -> Self {
        Self(Repr::Named(name.as_ref().into()))
    }

    /// IP address and port, where there is one.
    pub fn socket(&self) -> Option<SocketAddr> {
        match &self.0 {
            Repr::V4(v4) => Some(SocketAddr::V4(*v4)),
            Repr::V6(v6) => Some(SocketAddr::V6(*v6)),
            _ => None,
        }
    }

    /// IP address, where there is one; an IPv4 address mapped into IPv6 comes out as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket().map(|addr| addr.ip().to_canonical())
    }

    /// The name, where it is one.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Repr::Named(name) => Some(name),
            _ => None,
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self(match addr {
            SocketAddr::V4(v4) => Repr::V4(v4),
            SocketAddr::V6(v6) => Repr::V6(v6),
        })
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::V4(v4) => v4.fmt(f),
            Repr::V6(v6) => v6.fmt(f),
            Repr::Named(name) => f.write_str(name),
            Repr::Unnamed => f.write_str("unnamed"),
        }
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_small_and_comes_back_as_it_was() {
        assert!(size_of::<Addr>() <= 32);
        for text in ["127.0.0.1:80", "[2001:db8::1]:443", "[fe80::1%7]:5"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!(Addr::from(addr).socket(), Some(addr));
            assert_eq!(Addr::from(addr).to_string(), text);
        }
        assert_eq!(Addr::named("/run/x").to_string(), "/run/x");
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:9".parse().unwrap();
        assert_eq!(Addr::from(mapped).ip(), Some("10.0.0.1".parse().unwrap()));
    }
}
