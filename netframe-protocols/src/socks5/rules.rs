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
            let [a, b, c, _] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || a == 0
                || a >= 240 // kept for later, and broadcast
                || a == 100 && (64..128).contains(&b) // RFC 6598
                || a == 198 && (18..20).contains(&b) // RFC 2544
                || [a, b, c] == [192, 0, 0] // RFC 6890
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || a & 0xffc0 == 0xfec0 // of a site (RFC 3879)
                // An IPv4 address is behind it: NAT64 (RFC 6052 and 8215), Teredo (RFC 4380), 6to4 (RFC
                // 3056), and the form of RFC 4291, section 2.5.5.1.
                || (a, b) == (0x64, 0xff9b)
                || (a, b) == (0x2001, 0)
                || a == 0x2002
                || ip.segments()[..6] == [0; 6]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_match_hosts_and_ports() {
        for (rule, allowed, refused) in [
            (
                "example.org:443",
                &["example.org:443"][..],
                &["example.org:80", "a.example.org:443"][..],
            ),
            (
                "*.Example.org:*",
                &["a.example.org:1", "a.b.example.org:65535"],
                &["example.org:1", "badexample.org:1", "example.org.evil:1"],
            ),
            ("*:80", &["example.org:80", "192.0.2.7:80", "2001:db8::1:80"], &["example.org:81"]),
            ("192.0.2.7:22", &["192.0.2.7:22"], &["192.0.2.70:22", "1192.0.2.7:22"]),
            ("[2001:db8::1]:22", &["2001:db8::1:22"], &["2001:db8::2:22"]),
        ] {
            let parsed: Rule = rule.parse().unwrap();
            let allows = |at: &&str| {
                let (host, port) = at.rsplit_once(':').unwrap();
                parsed.allows(host, port.parse().unwrap())
            };
            assert!(allowed.iter().all(allows), "{rule}");
            assert!(!refused.iter().any(allows), "{rule}");
        }
    }

    #[test]
    fn networks_that_are_not_everybodys_are_private() {
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::5ef5:79fd:80ff:fffe",
            "2002:7f00:1::1",
        ] {
            assert!(is_private(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.2.7",
            "193.168.0.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2001:db8::1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(!is_private(ip.parse().unwrap()), "{ip}");
        }
    }
}
