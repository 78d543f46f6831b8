//! [`TelnetProtocol`]: what happens on one connection, in text and options.

use std::future::{Future, ready};

use netframe_core::bytes::BytesMut;
use netframe_core::{CloseReason, Result};

use super::{Command, End, TelnetError, TelnetOption, TelnetTransport};

/// Reacts to the events of one connection that speaks Telnet; [`Telnet`](super::Telnet) runs it.
///
/// Implementors write plain `async fn`s; only [`data_received`](Self::data_received) is required.
/// Order of calls, cancellation and errors are as for [`Protocol`](netframe_core::Protocol), whose
/// other callbacks pass through; text, commands and options come in the order of the wire.
pub trait TelnetProtocol: Send + 'static {
    /// The connection is open; nothing has been read yet. The place to
    /// [`request`](TelnetTransport::request) options.
    fn connection_made(
        &mut self,
        t: &mut TelnetTransport<'_>,
    ) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// Text arrived: see the [module](super#text) for what its lines end with.
    ///
    /// As [`Protocol::data_received`](netframe_core::Protocol::data_received): consume what is
    /// complete; the rest comes back with more text behind it, also across a command.
    fn data_received(
        &mut self,
        t: &mut TelnetTransport<'_>,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send;

    /// A command arrived, such as [`Command::INTERRUPT_PROCESS`].
    ///
    /// By default [`ARE_YOU_THERE`](Command::ARE_YOU_THERE) is answered by `[yes]` in a line of its
    /// own, as RFC 854 wants an answer that a user sees, and the others are passed over.
    fn command_received(
        &mut self,
        t: &mut TelnetTransport<'_>,
        command: Command,
    ) -> impl Future<Output = Result> + Send {
        if command == Command::ARE_YOU_THERE {
            t.write(b"\n[yes]\n");
        }
        ready(Ok(()))
    }

    /// The peer's word has switched an option on or off at one end; what had to be answered has been.
    fn option_changed(
        &mut self,
        t: &mut TelnetTransport<'_>,
        end: End,
        option: TelnetOption,
        is_on: bool,
    ) -> impl Future<Output = Result> + Send {
        let _ = (t, end, option, is_on);
        ready(Ok(()))
    }

    /// The client's window has so many columns and rows; zero is what it does not know. Comes
    /// whenever it changes.
    fn window_size(
        &mut self,
        t: &mut TelnetTransport<'_>,
        columns: u16,
        rows: u16,
    ) -> impl Future<Output = Result> + Send {
        let _ = (t, columns, rows);
        ready(Ok(()))
    }

    /// The client tells a name of its terminal, as
    /// [`ask_terminal_type`](TelnetTransport::ask_terminal_type) asked. `repeated` says that it is the
    /// one before again: it was the last, and if asked again the client begins anew (RFC 1091).
    ///
    /// It is whatever the client sent, of any length that a sub-negotiation may have.
    fn terminal_type(
        &mut self,
        t: &mut TelnetTransport<'_>,
        name: &[u8],
        repeated: bool,
    ) -> impl Future<Output = Result> + Send {
        let _ = (t, name, repeated);
        ready(Ok(()))
    }

    /// Another option, which is on at either end, has something to say: one of the protocol's own.
    fn subnegotiation_received(
        &mut self,
        t: &mut TelnetTransport<'_>,
        option: TelnetOption,
        payload: &[u8],
    ) -> impl Future<Output = Result> + Send {
        let _ = (t, option, payload);
        ready(Ok(()))
    }

    /// The peer will send nothing more; `data` is the text that was never consumed.
    ///
    /// By default the connection closes if there is none, and otherwise that is the peer's error
    /// [`TelnetError::UnexpectedEof`], as half a message must not pass for a whole one. An end inside a
    /// command is that error in any case.
    fn eof_received(
        &mut self,
        t: &mut TelnetTransport<'_>,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        ready(if data.is_empty() {
            t.close();
            Ok(())
        } else {
            Err(TelnetError::UnexpectedEof { len: data.len() }.blame())
        })
    }

    /// [`Handle::notify`](netframe_core::Handle::notify) was called since the last time.
    fn notified(&mut self, t: &mut TelnetTransport<'_>) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// The time set by `set_timeout` passed. By default the connection closes.
    fn timed_out(&mut self, t: &mut TelnetTransport<'_>) -> impl Future<Output = Result> + Send {
        t.close();
        ready(Ok(()))
    }

    /// The server drains. By default the connection closes once nothing is queued, unread or left
    /// over.
    fn draining(&mut self, t: &mut TelnetTransport<'_>) -> impl Future<Output = Result> + Send {
        t.close_when_idle();
        ready(Ok(()))
    }

    /// The connection is over; called exactly once, last, and never waits.
    fn connection_lost(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}
