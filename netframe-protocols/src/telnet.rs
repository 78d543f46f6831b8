//! Telnet (RFC 854, RFC 855) for both sides. [`Telnet`] makes a [`Protocol`] of a [`TelnetProtocol`],
//! which is given text and the events of options; [`Plain`] runs any other protocol, such as
//! [`Lines`](crate::line::Lines), over it.
//!
//! ```
//! use netframe_core::bytes::BytesMut;
//! use netframe_core::testing::replay;
//! use netframe_core::{ConnectionInfo, Result};
//! use netframe_protocols::telnet::{Telnet, TelnetProtocol, TelnetTransport};
//!
//! /// Sends the text back.
//! struct Mirror;
//!
//! impl TelnetProtocol for Mirror {
//!     async fn data_received(
//!         &mut self,
//!         t: &mut TelnetTransport<'_>,
//!         data: &mut BytesMut,
//!     ) -> Result {
//!         t.write(&data.split());
//!         Ok(())
//!     }
//! }
//!
//! let factory = |_: &ConnectionInfo| Telnet::server(Mirror); // for a server
//! // The client asks us to do option 200, and sends "hi" and a byte 255.
//! let seen = replay(b"\xff\xfd\xc8hi\xff\xff", || Telnet::server(Mirror));
//! assert_eq!(seen.written, b"\xff\xfc\xc8hi\xff\xff");
//! ```
//!
//! # Text
//!
//! | what | on the wire | in the text | by |
//! |---|---|---|---|
//! | a byte 255, both ways | IAC IAC | the byte | RFC 854, RFC 856 |
//! | LF or CR LF that is sent | CR LF | | RFC 854: the end of a line |
//! | CR that is sent without LF | CR NUL | | RFC 854: CR stands alone nowhere |
//! | CR LF, CR NUL or CR from a client | | LF | RFC 1123, section 3.3.1: all are its key Return |
//! | CR LF from a server | | CR LF | RFC 854 |
//! | CR NUL from a server | | CR | RFC 854: back to the first column |
//! | CR before anything else, from a server | | CR, and what follows | not in RFC 854, but sent |
//! | LF without CR, from either | | LF | RFC 854: straight down |
//! | any of these in BINARY (RFC 856) | as it is | as it is | the direction that has it |
//!
//! So lines end with LF for a server, and with CR LF for a client. The end of a line is never waited
//! for: at a CR a server has its line, and the LF behind it is dropped when it comes.
//!
//! # Options
//!
//! They are negotiated by the Q method of RFC 1143, which cannot loop. What [`TelnetSettings`] does not
//! name is refused. TERMINAL-TYPE and NAWS are understood; any other option can be agreed on, and
//! what it says comes as it is.
//!
//! A word of the peer costs at most one answer, with what that is about: a window size, or the name of a
//! terminal. It is read only while [`wants_data`](Transport::wants_data) is true, so that a peer that
//! asks and does not read is soon not read from.

mod codes;
mod decoder;
mod echo;
mod encoder;
mod error;
pub(crate) mod fuzz;
mod negotiation;
mod plain;
mod protocol;
mod session;
mod settings;
mod transport;

use std::sync::Arc;

use netframe_core::bytes::BytesMut;
use netframe_core::{CloseReason, Needs, Protocol, Result, Transport};

pub use self::codes::{Command, End, TelnetOption, Verb};
pub use self::decoder::{TelnetDecoder, TelnetEvent};
pub use self::echo::{TelnetEcho, TelnetEchoOptions, telnet_echo};
pub use self::error::TelnetError;
pub use self::plain::Plain;
pub use self::protocol::TelnetProtocol;
pub(crate) use self::session::{Notice, Session};
pub use self::settings::{Role, TelnetSettings};
use self::transport::Asked;
pub use self::transport::TelnetTransport;
use crate::turn;

/// A [`TelnetProtocol`] as a [`Protocol`], for either side.
///
/// Text and events come one at a time, in order and exactly once, however the bytes were cut on the
/// way. A callback may pause, close or switch to another protocol: what was received behind its event
/// then waits for whoever is next, or is not delivered at all after a close.
///
/// A protocol that takes over gets bytes as they are on the wire, and none of what was agreed on; the
/// text that [`data_received`](TelnetProtocol::data_received) left is encoded for it anew. Only if the
/// switch comes from another callback, while text is left over, that text stays decoded. The LF of a
/// client's Return may come behind the switch, where the network has cut it from its CR.
#[derive(Clone, Debug)]
pub struct Telnet<P> {
    protocol: P,
    session: Session,
    /// So many bytes of what was left over are text.
    held: usize,
    asked: Asked,
}

impl<P: TelnetProtocol> Telnet<P> {
    /// With settings that a factory makes once and shares among its connections.
    ///
    /// ```
    /// # use netframe_core::ConnectionInfo;
    /// # use netframe_protocols::{Echo, telnet::{Plain, Telnet, TelnetOption, TelnetSettings}};
    /// use std::sync::Arc;
    ///
    /// let mut settings = TelnetSettings::server();
    /// settings.peer.push(TelnetOption::BINARY);
    /// let settings = Arc::new(settings);
    /// let factory = move |_: &ConnectionInfo| Telnet::new(Plain(Echo), settings.clone());
    /// ```
    pub fn new(protocol: P, settings: impl Into<Arc<TelnetSettings>>) -> Self {
        let session = Session::new(settings.into());
        Self { protocol, session, held: 0, asked: Asked::default() }
    }

    /// The side that a terminal connects to, with [its settings](TelnetSettings::server).
    pub fn server(protocol: P) -> Self {
        Self::new(protocol, TelnetSettings::server())
    }

    /// The side that connects, with [its settings](TelnetSettings::client).
    pub fn client(protocol: P) -> Self {
        Self::new(protocol, TelnetSettings::client())
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
    ($telnet:ident, $method:ident, $t:ident $(, $arg:expr)*) => {{
        let mut t = TelnetTransport::new($t, &mut $telnet.session, &mut $telnet.asked);
        $telnet.protocol.$method(&mut t $(, $arg)*).await
    }};
}

impl<P: TelnetProtocol> Telnet<P> {
    /// Delivers what `wire` begins with, behind the `text` that is left over.
    async fn deliver(
        &mut self,
        t: &mut dyn Transport,
        text: &mut BytesMut,
        wire: &mut BytesMut,
    ) -> Result {
        let mut has_news = !text.is_empty();
        for _ in 0..turn::MESSAGES {
            // Each callback may have paused, closed or switched: what is behind it stays in `wire`.
            if !t.wants_data() {
                return Ok(());
            }
            if let Some(more) = self.session.decoder.next_text(wire) {
                append(text, more);
                has_news = true;
            }
            if std::mem::take(&mut has_news) {
                let len = text.len();
                self.asked.pause = false;
                call!(self, data_received, t, text)?;
                // What it left to let others have their turn comes before what is behind.
                let is_spent = self.asked.pause && (1..len).contains(&text.len());
                if is_spent && t.wants_data() {
                    turn::deliver_again(t);
                    return Ok(());
                }
                continue;
            }
            let event = self.session.decoder.next_command(wire).map_err(TelnetError::blame)?;
            let Some(event) = event else { return Ok(()) };
            self.handle(t, event).await?;
        }
        if !wire.is_empty() && t.wants_data() {
            turn::deliver_again(t);
        }
        Ok(())
    }

    /// Text as it was on the wire, for whoever is next.
    fn wire_of(&self, text: &[u8]) -> BytesMut {
        let mut wire = BytesMut::new();
        let binary = self.session.is_on(End::Peer, TelnetOption::BINARY);
        encoder::encode(&[text], binary, &mut wire);
        if self.session.decoder.is_after_cr() {
            wire.truncate(wire.len().saturating_sub(1)); // what belongs to the CR is yet to come
        }
        wire
    }

    async fn handle(&mut self, t: &mut dyn Transport, event: TelnetEvent) -> Result {
        let notice = self.session.receive(event, &mut |bytes| t.write(bytes));
        let Some(notice) = notice.map_err(TelnetError::blame)? else { return Ok(()) };
        match notice {
            Notice::Text(mut text) => call!(self, data_received, t, &mut text),
            Notice::Command(command) => call!(self, command_received, t, command),
            Notice::OptionChanged { end, option, is_on } => {
                call!(self, option_changed, t, end, option, is_on)
            }
            Notice::WindowSize(columns, rows) => call!(self, window_size, t, columns, rows),
            Notice::TerminalType { name, repeated } => {
                call!(self, terminal_type, t, &name, repeated)
            }
            Notice::Subnegotiation(option, payload) => {
                call!(self, subnegotiation_received, t, option, &payload)
            }
        }
    }
}

impl<P: TelnetProtocol> Protocol for Telnet<P> {
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        call!(self, connection_made, t)
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let mut text = take_front(data, std::mem::take(&mut self.held));
        self.deliver(t, &mut text, data).await?;
        if self.asked.switch {
            text = self.wire_of(&text);
        } else {
            self.held = text.len();
        }
        append(&mut text, std::mem::take(data));
        *data = text;
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let mut text = take_front(data, self.held);
        if !data.is_empty() {
            return Err(TelnetError::UnexpectedEof { len: data.len() }.blame());
        }
        call!(self, eof_received, t, &mut text)
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

/// Puts `more` behind `text`, without a copy where it is there already.
fn append(text: &mut BytesMut, more: BytesMut) {
    if text.is_empty() { *text = more } else { text.unsplit(more) }
}

/// The first bytes of `data`; no allocation for none.
fn take_front(data: &mut BytesMut, len: usize) -> BytesMut {
    if len == 0 { BytesMut::new() } else { data.split_to(len) }
}
