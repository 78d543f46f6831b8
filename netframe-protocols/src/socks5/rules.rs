//! Where clients may go: rules by name, and addresses that lead into the proxy's own network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use netframe_core::{Resolve, SystemResolver, async_trait};

use super::options::Policy;

/// Hosts and ports that are allowed: `example.org:443`, `*.example.org:*`, `192.0.2.7:22`, `*:443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    host: Pattern,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Any,
    Exactly(String),
    /// A domain with all below it, with its dot.
    Below(String),
}

impl Rule {
    pub(super) fn allows(&self, host: &str, port: u16) -> bool {
        let is_host = match &self.host {
            Pattern::Any => true,
            Pattern::Exactly(name) => host == name,
            Pattern::Below(domain) => host.ends_with(domain.as_str()),
        };
        is_host && self.port.is_none_or(|only| only == port)
    }
}

impl FromStr for Rule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let port = match port {
            "*" => None,
            port => Some(port.parse().map_err(|_| ())?),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let host = match host.strip_prefix('*') {
            Some("") => Pattern::Any,
            Some(domain) if domain.starts_with('.') => Pattern::Below(domain.to_owned()),
            None if !host.is_empty() && !host.contains('*') => Pattern::Exactly(host),
            _ => return Err(()),
        };
        Ok(Self { host, port })
    }
}

/// Whether an address leads to the proxy itself or into a network that is not everybody's.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_broadcast()
                || ip.is_multicast()
                || a == 0
                || a == 100 && (64..128).contains(&b) // RFC 6598
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                // NAT64 (RFC 6052): an IPv4 address is behind it.
                || ip.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0]
        }
    }
}

/// Looks names up, and finds no address that clients may not go to.
pub(super) struct Guard {
    allows_private: bool,
}

impl Guard {
    pub(super) fn new(policy: &Policy) -> Self {
        Self { allows_private: policy.allows_private() }
    }
}

#[async_trait]
impl Resolve for Guard {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut found = SystemResolver.resolve(host, port).await?;
        if !self.allows_private {
            found.retain(|addr| !is_private(addr.ip()));
            if found.is_empty() {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        }
        Ok(found)
    }
}
