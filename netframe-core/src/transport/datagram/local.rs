//! The system calls of a Unix datagram socket.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use bytes::BytesMut;
use nix::sys::socket::{MsgFlags, UnixAddr, recvfrom, sendmsg};
use tokio::net::UnixDatagram;

use super::{MAX_RECEIVE, make_room};
use crate::addr::Addr;
use crate::connection::{Arrival, MAX_BATCH};
use crate::datagram::Datagram;

thread_local! {
    /// What a thread receives into.
    static RECEIVER: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Receives at least one datagram and at most a batch, one call for each; says whether there may be
/// more.
pub(super) fn receive(socket: &UnixDatagram, out: &mut impl Extend<Arrival>) -> io::Result<bool> {
    RECEIVER.with_borrow_mut(|buffer| {
        for count in 0..MAX_BATCH {
            make_room(buffer);
            // Of the calls that also tell what was cut off, none is right about senders without a
            // name: one byte more tells it too.
            let slice = &mut buffer[..=MAX_RECEIVE];
            let (len, from) = match recvfrom::<UnixAddr>(socket.as_raw_fd(), slice) {
                Ok(received) => received,
                // What came before is told first; an error comes again.
                Err(_) if count > 0 => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            let mut data = buffer.split_to(len);
            data.truncate(MAX_RECEIVE);
            let from = from.as_ref().map_or(Addr::UNNAMED, from_unix);
            let truncated = len > MAX_RECEIVE;
            out.extend([Arrival::Datagram(Datagram { data, from, to: None, truncated })]);
        }
        Ok(true)
    })
}

/// Sends to the Unix socket of that name, or to the connected one.
pub(super) fn send(socket: &UnixDatagram, data: &[u8], to: Option<&str>) -> io::Result<usize> {
    let to = to.map(to_unix).transpose()?;
    let flags = MsgFlags::MSG_DONTWAIT;
    // Where there is no such flag, as on Apple's systems, the socket was made so that there is no
    // signal.
    #[cfg(not(target_vendor = "apple"))]
    let flags = flags | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg(socket.as_raw_fd(), &[IoSlice::new(data)], &[], flags, to.as_ref())?)
}

fn from_unix(addr: &UnixAddr) -> Addr {
    if let Some(path) = addr.path().and_then(|path| path.to_str()) {
        return Addr::named(path);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract().and_then(|name| str::from_utf8(name).ok()) {
        return Addr::named(format!("@{name}"));
    }
    Addr::UNNAMED // or a name that no text can hold
}

fn to_unix(name: &str) -> io::Result<UnixAddr> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = name.strip_prefix('@') {
        return Ok(UnixAddr::new_abstract(name.as_bytes())?);
    }
    Ok(UnixAddr::new(name)?)
}
