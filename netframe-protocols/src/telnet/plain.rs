//! [`Plain`]: any protocol of text over Telnet.

use netframe_core::bytes::BytesMut;
use netframe_core::{CloseReason, Protocol, Result};

use super::{TelnetProtocol, TelnetTransport};

/// Runs a [`Protocol`] that knows nothing of Telnet over it: what it reads and writes is text, and
/// options are answered below it. So lines come out of Telnet, for a console or a game.
///
/// ```
/// use netframe_core::Result;
/// use netframe_core::testing::replay;
/// use netframe_protocols::line::{LineProtocol, LineTransport, Lines};
/// use netframe_protocols::telnet::{Plain, Telnet};
///
/// struct Shout;
///
/// impl LineProtocol for Shout {
///     async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
///         t.send_line(line.to_ascii_uppercase())?;
///         Ok(())
///     }
/// }
///
/// let seen = replay(b"one\r\ntw\xff\xf1o\r\0", || Telnet::server(Plain(Lines::new(Shout))));
/// assert_eq!(seen.written, b"ONE\r\nTWO\r\n");
/// ```
///
/// What the [transport](TelnetTransport) says about handles and `t.input()` holds for the protocol too:
/// what it writes and reads by these is not text but bytes of the wire.
#[derive(Clone, Debug)]
pub struct Plain<P>(pub P);

impl<P: Protocol> TelnetProtocol for Plain<P> {
    async fn connection_made(&mut self, t: &mut TelnetTransport<'_>) -> Result {
        self.0.connection_made(t).await
    }

    async fn data_received(&mut self, t: &mut TelnetTransport<'_>, data: &mut BytesMut) -> Result {
        self.0.data_received(t, data).await
    }

    async fn eof_received(&mut self, t: &mut TelnetTransport<'_>, data: &mut BytesMut) -> Result {
        self.0.eof_received(t, data).await
    }

    async fn notified(&mut self, t: &mut TelnetTransport<'_>) -> Result {
        self.0.notified(t).await
    }

    async fn timed_out(&mut self, t: &mut TelnetTransport<'_>) -> Result {
        self.0.timed_out(t).await
    }

    async fn draining(&mut self, t: &mut TelnetTransport<'_>) -> Result {
        self.0.draining(t).await
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.0.connection_lost(reason);
    }
}
