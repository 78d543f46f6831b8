//! Forwards what comes to one endpoint to another, of any kind, and the answers back.
//!
//! Run it with
//! `cargo run -p netframe-examples --example port_forwarder -- tcp://127.0.0.1:7008 tcp://127.0.0.1:7007`.
//! It prints `listening tcp://127.0.0.1:7008` and serves until Ctrl-C, which lets open connections
//! finish for half a minute. With a server behind it, such as the example `shout`, everything is as
//! if that listened on port 7008. A connection that does not end in order is printed, such as
//! `error by local: cannot connect to tcp://127.0.0.1:7007: Connection refused (os error 111)`.
//!
//! Each direction has a flow control of its own: what one side does not read is soon not read from
//! the other either, instead of filling memory. A FIN is passed on, and answers that come after it
//! still arrive; so is a reset, as what was cut off must not look complete.

use netframe::{
    Client, CloseKind, CloseReason, ConnectionInfo, Endpoint, Handle, Protocol, Result, Server,
    Transport, bytes::BytesMut,
};

/// One of two connections; what it receives is written to the other.
enum Half {
    /// It was accepted, and the other is still to be opened.
    Accepted {
        target: Endpoint,
    },
    Joined {
        other: Handle,
    },
}

impl Protocol for Half {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        // What waits for this peer must not stop what comes from it: if it writes before it reads,
        // and the other peer does so too, both would wait for ever.
        t.set_coupled(false);
        if let Self::Accepted { target } = self {
            let accepted = t.handle();
            let other = move |_: &ConnectionInfo| Self::Joined { other: accepted.clone() };
            let client = Client::connect(target.clone(), other).await?;
            *self = Self::Joined { other: client.detach() };
        }
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        if let Self::Joined { other } = self {
            // Nothing more is read from this side until the other has room.
            other.write(data.split()).await?;
        }
        Ok(())
    }

    async fn eof_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        if let Self::Joined { other } = self {
            other.close_write();
        }
        Ok(())
    }

    /// A stream goes on to its end: that nothing waits now does not mean that nothing more will
    /// come. Datagrams have no end.
    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        if t.info().is_datagram() {
            t.close_when_idle();
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        // In order means a FIN in both directions. An abort follows from how the other one ended.
        if !matches!(reason.kind(), CloseKind::Eof | CloseKind::Aborted) {
            println!("{reason}");
        }
        if let Self::Joined { other } = self
            && reason.kind() != CloseKind::Eof
        {
            other.abort();
        }
    }
}

#[tokio::main]
async fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target] = &args[..] else { return Err("expected `LISTEN TARGET`".into()) };
    let target: Endpoint = target.parse()?;
    let half = move |_: &ConnectionInfo| Half::Accepted { target: target.clone() };
    let server = Server::bind(&**listen, half).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use netframe::testing::{Harness, Recorder};

    use super::*;

    #[test]
    fn what_one_side_sends_the_other_gets_after_a_fin_too() {
        let (mut client, mut server) = joined();
        client.receive(b"question");
        client.receive_eof();
        server.settle();
        assert_eq!(server.take_written(), b"question"[..]);
        server.receive(b"answer");
        assert_eq!((client.reason().is_some(), server.reason().is_some()), (false, false));
        server.receive_eof();
        client.settle();
        assert_eq!(client.take_written(), b"answer"[..]);
        for side in [client, server] {
            assert_eq!(side.reason().unwrap().kind(), CloseKind::Eof);
        }
    }

    #[test]
    fn a_reset_is_passed_on() {
        let (mut client, mut server) = joined();
        server.receive(b"half of an ans");
        server.receive_reset();
        client.settle();
        assert_eq!(server.reason().unwrap().kind(), CloseKind::Reset);
        assert_eq!(client.reason().unwrap().kind(), CloseKind::Aborted);
    }

    /// Two connections that are each other's other.
    fn joined() -> (Harness<Half>, Harness<Half>) {
        let mut client = Harness::new(Half::Joined { other: Recorder::new().handle() });
        let mut server = Harness::new(Half::Joined { other: client.transport().handle() });
        *client.protocol_mut() = Half::Joined { other: server.transport().handle() };
        (client, server)
    }
}
