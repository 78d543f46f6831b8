//! Lines: bytes up to a delimiter. [`Lines`] makes a [`Protocol`] of a [`LineProtocol`]; below it,
//! [`LineFramer`] finds the lines and does no I/O. Both sides of a connection use the same things.
//!
//! ```
//! use netframe_core::testing::replay;
//! use netframe_core::{ConnectionInfo, Result};
//! use netframe_protocols::line::{LineProtocol, LineTransport, Lines};
//!
//! /// Answers each line in upper case.
//! struct Shout;
//!
//! impl LineProtocol for Shout {
//!     async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
//!         t.send_line(line.to_ascii_uppercase())?;
//!         Ok(())
//!     }
//! }
//!
//! let factory = |_: &ConnectionInfo| Lines::new(Shout); // for a server or a client
//! assert_eq!(replay(b"one\ntwo\n", || Lines::new(Shout)).written, b"ONE\nTWO\n");
//! ```
//!
//! # What a line is
//!
//! The bytes between two delimiters, neither of them included; an empty line is a line, and no
//! encoding is asked for. The delimiter is matched exactly: with [`Delimiter::Lf`] a CR before the
//! LF is part of the line, with [`Delimiter::Crlf`] a lone CR or LF is. Two parties that disagree on
//! where a line ends can be made to smuggle one past each other, so nothing here accepts both; a
//! protocol that must can strip the CR itself (`line.strip_suffix(b"\r")`).
//!
//! The first delimiter wins. A longer line than [`LineOptions::max_length`] ends the connection, and
//! so does, unless [`LineProtocol::eof_received`] says otherwise, the end of input inside a line.

mod echo;
mod error;
mod framer;
mod options;
mod protocol;
mod transport;

use netframe_core::bytes::{Buf, BytesMut};
use netframe_core::{CloseReason, Needs, Protocol, Result, Transport};

pub use self::echo::{LineEcho, line_echo};
pub use self::error::LineError;
pub use self::framer::LineFramer;
pub(crate) use self::framer::ends_early;
pub use self::options::{DEFAULT_MAX_LENGTH, Delimiter, LineOptions, LineOptionsError};
pub use self::protocol::LineProtocol;
pub use self::transport::LineTransport;
use crate::turn;

/// A [`LineProtocol`] as a [`Protocol`].
///
/// Lines come one at a time, in order and exactly once, however the bytes were cut on the way. A
/// callback may pause, close, switch to another protocol or to raw mode: what was received behind
/// its line then waits for whoever is next, or is not delivered at all after a close. After 1024 lines
/// other connections have their turn.
#[derive(Clone, Debug)]
pub struct Lines<P> {
    protocol: P,
    framer: LineFramer,
    raw: bool,
}

impl<P: LineProtocol> Lines<P> {
    /// Lines that end with LF and have at most 16 KiB.
    pub fn new(protocol: P) -> Self {
        Self::with_framer(protocol, LineFramer::default())
    }

    /// Lines as `framer` finds them. A factory makes one framer and clones it for each connection.
    ///
    /// ```
    /// use netframe_core::ConnectionInfo;
    /// use netframe_protocols::line::{Delimiter, LineEcho, LineFramer, LineOptions, Lines};
    ///
    /// let mut options = LineOptions::default();
    /// options.delimiter = Delimiter::Crlf;
    /// let framer = LineFramer::new(options)?;
    /// let factory = move |_: &ConnectionInfo| Lines::with_framer(LineEcho, framer.clone());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_framer(protocol: P, framer: LineFramer) -> Self {
        Self { protocol, framer, raw: false }
    }

    /// The protocol inside.
    pub fn get_ref(&self) -> &P {
        &self.protocol
    }

    /// The protocol inside, to change it.
    pub fn get_mut(&mut self) -> &mut P {
        &mut self.protocol
    }
}

/// Calls a callback of the inner protocol, with the transport as it sees it.
macro_rules! call {
    ($lines:ident, $method:ident, $t:ident $(, $arg:expr)?) => {{
        let mut t = LineTransport::new($t, $lines.framer.delimiter(), &mut $lines.raw);
        $lines.protocol.$method(&mut t $(, $arg)?).await
    }};
}

impl<P: LineProtocol> Protocol for Lines<P> {
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, connection_made, t)
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        for _ in 0..turn::MESSAGES {
            // Each callback may have paused, closed or switched: what is behind it stays in `data`.
            if data.is_empty() || !t.wants_data() {
                return Ok(());
            }
            if self.raw {
                self.framer.reset();
                call!(self, raw_received, t, data)?;
                if self.raw {
                    return Ok(());
                }
            } else {
                let Some(len) = self.framer.find_line(data).map_err(LineError::blame)? else {
                    return Ok(());
                };
                call!(self, line_received, t, &data[..len])?;
                data.advance(len + self.framer.delimiter().len());
            }
        }
        if !data.is_empty() && t.wants_data() {
            turn::deliver_again(t);
        }
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        if !self.raw {
            self.framer.check_unterminated(data).map_err(LineError::blame)?;
        }
        call!(self, eof_received, t, data)
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, notified, t)
    }

    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, timed_out, t)
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, draining, t)
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.protocol.connection_lost(reason);
    }
}
