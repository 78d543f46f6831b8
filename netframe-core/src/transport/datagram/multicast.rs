//! [`Multicast`]: the socket options of multicast and broadcast, the same for both families. An
//! interface is named by its number.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use socket2::{InterfaceIndexOrAddress, SockRef};

/// The options of one UDP socket.
pub(crate) struct Multicast<'a> {
    socket: SockRef<'a>,
    is_v6: bool,
}

impl<'a> Multicast<'a> {
    /// `local` is any address of the socket's family.
    pub(crate) fn of<S>(socket: &'a S, local: Option<SocketAddr>) -> Self
    where
        SockRef<'a>: From<&'a S>,
    {
        let is_v6 = local.is_some_and(|local| local.is_ipv6());
        Self { socket: SockRef::from(socket), is_v6 }
    }

    pub(crate) fn join(&self, group: IpAddr, interface: Option<u32>) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => self.socket.join_multicast_v4_n(&group, &by_index(interface)),
            IpAddr::V6(group) => self.socket.join_multicast_v6(&group, interface.unwrap_or(0)),
        }
    }

    pub(crate) fn leave(&self, group: IpAddr, interface: Option<u32>) -> io::Result<()> {
        match group {
            IpAddr::V4(group) => self.socket.leave_multicast_v4_n(&group, &by_index(interface)),
            IpAddr::V6(group) => self.socket.leave_multicast_v6(&group, interface.unwrap_or(0)),
        }
    }

    pub(crate) fn set_hops(&self, hops: u8) -> io::Result<()> {
        if self.is_v6 {
            self.socket.set_multicast_hops_v6(hops.into())
        } else {
            self.socket.set_multicast_ttl_v4(hops.into())
        }
    }

    pub(crate) fn set_loop(&self, on: bool) -> io::Result<()> {
        if self.is_v6 {
            self.socket.set_multicast_loop_v6(on)
        } else {
            self.socket.set_multicast_loop_v4(on)
        }
    }

    pub(crate) fn set_interface(&self, interface: u32) -> io::Result<()> {
        if self.is_v6 {
            self.socket.set_multicast_if_v6(interface)
        } else {
            self.socket.set_multicast_if_v4(&interface_v4(interface)?)
        }
    }

    pub(crate) fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.socket.set_broadcast(on)
    }
}

fn by_index(interface: Option<u32>) -> InterfaceIndexOrAddress {
    match interface {
        Some(index) => InterfaceIndexOrAddress::Index(index),
        None => InterfaceIndexOrAddress::Address(Ipv4Addr::UNSPECIFIED),
    }
}

/// The first IPv4 address of an interface, by which IPv4 names it.
#[cfg(unix)]
fn interface_v4(index: u32) -> io::Result<Ipv4Addr> {
    let name = nix::net::if_::if_indextoname(index)?;
    let of_it = nix::ifaddrs::getifaddrs()?
        .filter(|interface| interface.interface_name.as_bytes() == name.as_bytes());
    of_it
        .filter_map(|interface| interface.address?.as_sockaddr_in().map(|addr| addr.ip()))
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no IPv4 address"))
}

/// Windows takes the number itself, as an address of 0.0.0.0/8.
#[cfg(windows)]
fn interface_v4(index: u32) -> io::Result<Ipv4Addr> {
    if index >> 24 == 0 {
        Ok(Ipv4Addr::from(index))
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}
