//! The system calls of a UDP socket on Linux: many datagrams in one, each with the address it was
//! sent to, and sending from such an address. Elsewhere it is `single`.

use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use bytes::BytesMut;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage,
};
use nix::sys::socket::{recvmmsg, sendmmsg, setsockopt};
use tokio::net::UdpSocket;

use super::make_room;
use crate::addr::Addr;
use crate::connection::{Arrival, MAX_BATCH, Outgoing};
use crate::datagram::Datagram;

/// Datagrams taken in one call. More only means fewer calls when a socket is flooded.
pub(super) const BATCH: usize = MAX_BATCH;

/// Asks the system to tell the destination of each datagram; says whether it will.
pub(super) fn ask_for_destination(
    socket: &std::net::UdpSocket,
    local: SocketAddr,
) -> io::Result<bool> {
    match local {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
    }
    Ok(true)
}

/// What a thread receives into.
struct Receiver {
    buffers: [BytesMut; BATCH],
    /// One set for each form of message, by `Form`. A set keeps the lengths of address and control
    /// message that the system has written last, which are right for the same form only.
    headers: [Option<MultiHeaders<SockaddrStorage>>; 4],
}

/// What decides the lengths of what comes with a datagram.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) is_v6: bool,
    /// Whether each datagram tells where it was sent to.
    pub(super) tells_destination: bool,
}

impl Form {
    fn index(self) -> usize {
        usize::from(self.is_v6) * 2 + usize::from(self.tells_destination)
    }

    /// Headers with room for what comes with a datagram of this form.
    fn headers(self) -> MultiHeaders<SockaddrStorage> {
        let control = match self {
            Self { tells_destination: false, .. } => None,
            Self { is_v6: false, .. } => Some(nix::cmsg_space!(libc::in_pktinfo)),
            Self { is_v6: true, .. } => Some(nix::cmsg_space!(libc::in6_pktinfo)),
        };
        MultiHeaders::preallocate(BATCH, control)
    }
}

thread_local! {
    static RECEIVER: RefCell<Receiver> = RefCell::new(Receiver {
        buffers: std::array::from_fn(|_| BytesMut::new()),
        headers: [const { None }; 4],
    });
    static SENDER: RefCell<[Option<MultiHeaders<SockaddrStorage>>; 4]> =
        const { RefCell::new([const { None }; 4]) };
}

/// Receives at least one datagram and at most a batch; says whether there may be more.
pub(super) fn receive_udp(
    socket: &UdpSocket,
    form: Form,
    out: &mut impl Extend<Arrival>,
) -> io::Result<bool> {
    RECEIVER.with_borrow_mut(|receiver| {
        let Receiver { buffers, headers } = receiver;
        buffers.iter_mut().for_each(make_room);
        let mut heads = [const { None }; BATCH];
        let mut count = 0;
        let slot = &mut headers[form.index()];
        let set = slot.get_or_insert_with(|| form.headers());
        let mut whole = true;
        {
            let mut slices = buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
            let flags = MsgFlags::MSG_DONTWAIT;
            for message in recvmmsg(socket.as_raw_fd(), set, &mut slices, flags, None)? {
                whole &= !message.flags.contains(MsgFlags::MSG_CTRUNC);
                let truncated = message.flags.contains(MsgFlags::MSG_TRUNC);
                let to = if form.tells_destination {
                    message.cmsgs().ok().and_then(destination)
                } else {
                    None
                };
                let from = message.address.as_ref().and_then(from_storage);
                heads[count] = from.map(|from| (message.bytes, from, to, truncated));
                count += 1;
            }
        }
        if !whole {
            *slot = None; // the next receive begins with whole lengths
        }
        for (head, buffer) in heads.into_iter().zip(buffers).take(count) {
            if let Some((len, from, to, truncated)) = head {
                let data = buffer.split_to(len);
                out.extend([Arrival::Datagram(Datagram { data, from, to, truncated })]);
            }
        }
        Ok(count == BATCH)
    })
}

/// Sends datagrams in one call, all of them from `source` if there is one; says how many were taken.
pub(super) fn send_udp(
    socket: &UdpSocket,
    is_v6: bool,
    batch: &[Outgoing],
    source: Option<IpAddr>,
    reachable: impl Fn(&Addr) -> io::Result<SocketAddr>,
) -> io::Result<usize> {
    let (v4, v6);
    let cmsg = match source {
        None => None,
        Some(IpAddr::V4(source)) if !is_v6 => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            Some(ControlMessage::Ipv4PacketInfo(&v4))
        }
        Some(source) => {
            let source = match source {
                IpAddr::V4(source) => source.to_ipv6_mapped(),
                IpAddr::V6(source) => source,
            };
            v6 = libc::in6_pktinfo {
                ipi6_ifindex: 0,
                ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
            };
            Some(ControlMessage::Ipv6PacketInfo(&v6))
        }
    };
    let mut slices = [[IoSlice::new(&[])]; MAX_BATCH];
    let mut to = [None; MAX_BATCH];
    let count = batch.len().min(MAX_BATCH);
    for (i, outgoing) in batch[..count].iter().enumerate() {
        slices[i] = [IoSlice::new(&outgoing.data)];
        let addr = outgoing.to.as_ref().map(&reachable).transpose()?;
        to[i] = addr.map(SockaddrStorage::from);
    }
    let form = Form { is_v6, tells_destination: cmsg.is_some() };
    SENDER.with_borrow_mut(|sets| {
        let headers = sets[form.index()].get_or_insert_with(|| form.headers());
        let (fd, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let sent = sendmmsg(fd, headers, &slices[..count], &to[..count], cmsg.as_slice(), flags)?;
        Ok(sent.count())
    })
}

fn from_storage(addr: &SockaddrStorage) -> Option<Addr> {
    if let Some(v4) = addr.as_sockaddr_in() {
        return Some(SocketAddr::V4((*v4).into()).into());
    }
    addr.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()).into())
}

/// The address that a datagram was sent to; of a multicast or broadcast datagram none, as an answer
/// cannot leave from there.
fn destination(cmsgs: impl Iterator<Item = ControlMessageOwned>) -> Option<IpAddr> {
    let mut to = cmsgs.filter_map(|cmsg| match cmsg {
        // `ipi_spec_dst` is the address to answer from: our own one where the datagram was sent to
        // many.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::V4(u32::from_be(info.ipi_spec_dst.s_addr).into()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()))
        }
        _ => None,
    });
    to.next().filter(|to| match to.to_canonical() {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_multicast(),
    })
}
