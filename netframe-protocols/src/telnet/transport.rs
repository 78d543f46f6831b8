//! [`TelnetTransport`]: a transport whose bytes are text, and that also negotiates.

use std::any::{Any, TypeId};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::{
    ConnectionInfo, DynFactory, Handle, Layer, Residue, Result, Spawned, Transport,
};

use super::codes::IAC;
use super::session::Session;
use super::{Command, End, TelnetOption, encoder};

/// What a [`TelnetProtocol`](super::TelnetProtocol) writes to: a [`Transport`] of text, and what is
/// special to Telnet.
///
/// What is written is text: IAC is doubled, LF and CR LF become CR LF, any other CR becomes CR NUL
/// (RFC 854); once [`BINARY`](TelnetOption::BINARY) is on at this end, IAC alone is special. Each
/// write counts for itself: a CR at its end is one without LF.
///
/// What goes past this transport is not text but bytes as they are on the wire: all that is written
/// by a [`Handle`] or a group, and read by `t.input()`. `Mailbox` and `notify` work as everywhere.
pub struct TelnetTransport<'a> {
    inner: &'a mut (dyn Transport + 'a),
    session: &'a mut Session,
    asked: &'a mut Asked,
}

/// What a protocol has asked of its transport.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) switch: bool,
    /// For a pause, whether or not that is over.
    pub(super) pause: bool,
}

impl<'a> TelnetTransport<'a> {
    pub(super) fn new(
        inner: &'a mut (dyn Transport + 'a),
        session: &'a mut Session,
        asked: &'a mut Asked,
    ) -> Self {
        Self { inner, session, asked }
    }

    /// Asks for an option at one end to be on, or off: sends WILL or WONT about this one, DO or DONT
    /// about the peer's. Nothing is sent if it is so, or asked for, already; a change of mind while the
    /// answer is awaited is kept until it is there (RFC 1143).
    ///
    /// The answer comes as [`option_changed`](super::TelnetProtocol::option_changed), or never: a
    /// refusal changes nothing. What this side switches off at its own end is off at once.
    pub fn request(&mut self, end: End, option: TelnetOption, enable: bool) {
        let Self { inner, session, .. } = self;
        session.request(end, option, enable, &mut |bytes| inner.write(bytes));
    }

    /// Whether the option is in force at this end, or the peer's.
    pub fn is_on(&self, end: End, option: TelnetOption) -> bool {
        self.session.is_on(end, option)
    }

    /// Sends IAC and the command. Limits as [`write`](Transport::write), as for all that is sent here.
    pub fn send_command(&mut self, command: Command) {
        self.inner.write(&[IAC, command.0]);
    }

    /// Sends what an option has to say; IAC in it is doubled. It should be on at either end.
    pub fn send_subnegotiation(&mut self, option: TelnetOption, payload: &[u8]) {
        self.inner.with_buffer(&mut |out| encoder::subnegotiation(option, &[payload], out));
    }

    /// Asks a client for the next name of its terminal, which comes as
    /// [`terminal_type`](super::TelnetProtocol::terminal_type). Does nothing unless the peer has
    /// [`TERMINAL_TYPE`](TelnetOption::TERMINAL_TYPE) on.
    pub fn ask_terminal_type(&mut self) {
        let Self { inner, session, .. } = self;
        session.ask_terminal_type(&mut |bytes| inner.write(bytes));
    }

    /// The window of this side has so many columns and rows: told at once if
    /// [`WINDOW_SIZE`](TelnetOption::WINDOW_SIZE) is on at this end, and whenever it is switched on.
    pub fn set_window_size(&mut self, columns: u16, rows: u16) {
        let Self { inner, session, .. } = self;
        session.set_window_size(columns, rows, &mut |bytes| inner.write(bytes));
    }
}

/// What is written is encoded; the rest is the transport's own.
impl Transport for TelnetTransport<'_> {
    fn write(&mut self, data: &[u8]) {
        self.write_vectored(&[data]);
    }

    fn write_vectored(&mut self, parts: &[&[u8]]) {
        let binary = self.session.sends_binary();
        if parts.iter().any(|part| encoder::needs_encoding(part, binary)) {
            self.inner.with_buffer(&mut |out| encoder::encode(parts, binary, out));
        } else {
            self.inner.write_vectored(parts);
        }
    }

    fn write_bytes(&mut self, data: Bytes) {
        if encoder::needs_encoding(&data, self.session.sends_binary()) {
            self.write(&data);
        } else {
            self.inner.write_bytes(data);
        }
    }

    fn with_buffer(&mut self, f: &mut dyn FnMut(&mut BytesMut)) {
        let binary = self.session.sends_binary();
        self.inner.with_buffer(&mut |out| {
            let before = out.len();
            f(out);
            if encoder::needs_encoding(&out[before..], binary) {
                let text = out[before..].to_vec();
                out.truncate(before);
                encoder::encode(&[&text], binary, out);
            }
        });
    }

    fn switch(&mut self, to: Arc<dyn DynFactory>, residue: Residue) {
        self.asked.switch = true;
        self.inner.switch(to, residue);
    }

    fn switch_layer(&mut self, layer: Box<dyn Layer>, to: Arc<dyn DynFactory>, residue: Residue) {
        self.asked.switch = true;
        self.inner.switch_layer(layer, to, residue);
    }

    fn queued(&self) -> usize {
        self.inner.queued()
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result> {
        self.inner.poll_drain(cx)
    }

    fn wants_data(&self) -> bool {
        self.inner.wants_data()
    }

    fn close(&mut self) {
        self.inner.close();
    }

    fn close_when_idle(&mut self) {
        self.inner.close_when_idle();
    }

    fn abort(&mut self) {
        self.inner.abort();
    }

    fn close_write(&mut self) {
        self.inner.close_write();
    }

    fn pause_reading(&mut self) {
        self.asked.pause = true;
        self.inner.pause_reading();
    }

    fn resume_reading(&mut self) {
        self.inner.resume_reading();
    }

    fn set_coupled(&mut self, coupled: bool) {
        self.inner.set_coupled(coupled);
    }

    fn set_timeout(&mut self, after: Option<Duration>) {
        self.inner.set_timeout(after);
    }

    fn idle(&self) -> Duration {
        self.inner.idle()
    }

    fn is_draining(&self) -> bool {
        self.inner.is_draining()
    }

    fn info(&self) -> &ConnectionInfo {
        self.inner.info()
    }

    fn handle(&mut self) -> Handle {
        self.inner.handle()
    }

    fn spawn_boxed(&mut self, future: Spawned) {
        self.inner.spawn_boxed(future);
    }

    fn extension(&self, id: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        self.inner.extension(id)
    }
}

/// For `drain`, `spawn`, `switch_to` and what else only `dyn Transport` has; it is the same transport.
impl<'a> Deref for TelnetTransport<'a> {
    type Target = dyn Transport + 'a;

    fn deref(&self) -> &Self::Target {
        self
    }
}

impl DerefMut for TelnetTransport<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self
    }
}

impl fmt::Debug for TelnetTransport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelnetTransport").field("info", self.inner.info()).finish_non_exhaustive()
    }
}
