//! The system calls of a UDP socket where there are none for many datagrams at once: one for each. No
//! datagram tells which of our addresses it was sent to.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use tokio::net::UdpSocket;

use super::make_room;
use crate::addr::Addr;
use crate::connection::{Arrival, MAX_BATCH, Outgoing};
use crate::datagram::Datagram;

/// What decides how datagrams are received; here nothing does.
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "the same as of `batch`")]
pub(super) struct Form {
    pub(super) is_v6: bool,
    pub(super) tells_destination: bool,
}

thread_local! {
    /// What a thread receives into.
    static RECEIVER: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Asks the system to tell the destination of each datagram; says whether it will.
pub(super) fn ask_for_destination(_: &std::net::UdpSocket, _: SocketAddr) -> io::Result<bool> {
    Ok(false)
}

/// Receives at least one datagram and at most a batch; says whether there may be more.
pub(super) fn receive_udp(
    socket: &UdpSocket,
    _: Form,
    out: &mut impl Extend<Arrival>,
) -> io::Result<bool> {
    RECEIVER.with_borrow_mut(|buffer| {
        for count in 0..MAX_BATCH {
            make_room(buffer);
            let (len, from) = match socket.try_recv_from(buffer) {
                Ok(received) => received,
                // What came before is told first; an error comes again.
                Err(_) if count > 0 => return Ok(false),
                Err(error) => return Err(error),
            };
            let (data, from) = (buffer.split_to(len), from.into());
            out.extend([Arrival::Datagram(Datagram { data, from, to: None, truncated: false })]);
        }
        Ok(true)
    })
}

/// Sends datagrams; says how many were taken.
pub(super) fn send_udp(
    socket: &UdpSocket,
    _: bool,
    batch: &[Outgoing],
    _: Option<IpAddr>,
    reachable: impl Fn(&Addr) -> io::Result<SocketAddr>,
) -> io::Result<usize> {
    for (count, Outgoing { data, to, .. }) in batch.iter().enumerate() {
        let sent = match to {
            None => socket.try_send(data),
            Some(to) => reachable(to).and_then(|to| socket.try_send_to(data, to)),
        };
        match sent {
            Ok(_) => {}
            // Those before it have left; an error comes again.
            Err(_) if count > 0 => return Ok(count),
            Err(error) => return Err(error),
        }
    }
    Ok(batch.len())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn datagrams_leave_and_come_in_batches() {
        let ours = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let theirs = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        theirs.set_nonblocking(true).unwrap();
        assert!(!ask_for_destination(&theirs, theirs.local_addr().unwrap()).unwrap());
        let theirs = UdpSocket::from_std(theirs).unwrap();
        let (from, to) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
        let outgoing =
            |len| Outgoing { data: Bytes::from(vec![7; len]), to: Some(to.into()), source: None };
        let batch: Vec<_> = (0..=MAX_BATCH).map(outgoing).collect();
        ours.writable().await.unwrap();
        let reachable = |to: &Addr| Ok(to.socket().unwrap());
        assert_eq!(send_udp(&ours, false, &batch, None, reachable).unwrap(), batch.len());

        let mut seen = Vec::new();
        theirs.readable().await.unwrap();
        let form = Form { is_v6: false, tells_destination: false };
        assert!(receive_udp(&theirs, form, &mut seen).unwrap(), "there may be more");
        assert_eq!(seen.len(), MAX_BATCH);
        assert!(!receive_udp(&theirs, form, &mut seen).unwrap());
        for (len, arrival) in seen.iter().enumerate() {
            let Arrival::Datagram(datagram) = arrival else { panic!("{arrival:?}") };
            assert_eq!((datagram.data.len(), &datagram.from), (len, &from.into()));
        }
        let error = receive_udp(&theirs, form, &mut seen).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn what_left_before_an_error_is_told_first() {
        let ours = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let batch: Vec<_> = [1, 70_000]
            .map(|len| Outgoing {
                data: Bytes::from(vec![7; len]),
                to: Some(ours.local_addr().unwrap().into()),
                source: None,
            })
            .into();
        ours.writable().await.unwrap();
        let reachable = |to: &Addr| Ok(to.socket().unwrap());
        assert_eq!(send_udp(&ours, false, &batch, None, reachable).unwrap(), 1);
        send_udp(&ours, false, &batch[1..], None, reachable).unwrap_err();
    }
}
