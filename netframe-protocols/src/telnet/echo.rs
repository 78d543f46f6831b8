//! [`TelnetEcho`]: a line server to try a Telnet client with.

use std::sync::Arc;

use netframe_core::bytes::{Buf, BytesMut};
use netframe_core::{ConnectionInfo, Factory, ProtocolError, Result};
use serde::{Deserialize, Serialize};

use super::{End, Telnet, TelnetOption, TelnetProtocol, TelnetSettings, TelnetTransport};
use crate::line::{DEFAULT_MAX_LENGTH, LineFramer, LineOptions, LineOptionsError};

/// The line that is answered by what is known of the terminal.
const STATUS: &[u8] = b"/status";

/// Bytes of a terminal's name that are kept: as many as it may have (RFC 1091).
const MAX_NAME: usize = 40;

/// How long a line may be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TelnetEchoOptions {
    /// Bytes a line may have; at least 1. Default 16 KiB, as
    /// [`LineOptions::max_length`], of which the rest holds too.
    pub max_length: usize,
}

impl Default for TelnetEchoOptions {
    fn default() -> Self {
        Self { max_length: DEFAULT_MAX_LENGTH }
    }
}

/// A factory of [`TelnetEcho`].
///
/// # Errors
///
/// An option cannot be.
pub fn telnet_echo(
    options: TelnetEchoOptions,
) -> Result<impl Factory<Protocol = Telnet<TelnetEcho>>, LineOptionsError> {
    let lines = LineOptions { max_length: options.max_length, ..LineOptions::default() };
    let framer = LineFramer::new(lines)?;
    let settings = Arc::new(TelnetSettings::server());
    Ok(move |_: &ConnectionInfo| {
        let protocol = TelnetEcho { framer: framer.clone(), terminal: None, window: None };
        Telnet::new(protocol, Arc::clone(&settings))
    })
}

/// Returns each line. The line `/status` is answered by the name of the client's terminal and the size
/// of its window, as the client told them; from [`telnet_echo`].
#[derive(Clone, Debug)]
pub struct TelnetEcho {
    framer: LineFramer,
    terminal: Option<String>,
    window: Option<(u16, u16)>,
}

impl TelnetEcho {
    fn status(&self) -> String {
        let terminal = self.terminal.as_deref().unwrap_or("not told");
        match self.window {
            Some((columns, rows)) => format!("terminal {terminal}, window {columns} x {rows}\n"),
            None => format!("terminal {terminal}, window not told\n"),
        }
    }
}

impl TelnetProtocol for TelnetEcho {
    async fn connection_made(&mut self, t: &mut TelnetTransport<'_>) -> Result {
        t.request(End::Peer, TelnetOption::TERMINAL_TYPE, true);
        t.request(End::Peer, TelnetOption::WINDOW_SIZE, true);
        Ok(())
    }

    async fn data_received(&mut self, t: &mut TelnetTransport<'_>, data: &mut BytesMut) -> Result {
        while t.wants_data()
            && let Some(len) = self.framer.find_line(data).map_err(ProtocolError::new)?
        {
            match &data[..len] {
                STATUS => t.write(self.status().as_bytes()),
                line => t.write_vectored(&[line, b"\n"]),
            }
            data.advance(len + 1);
        }
        Ok(())
    }

    async fn option_changed(
        &mut self,
        t: &mut TelnetTransport<'_>,
        end: End,
        option: TelnetOption,
        is_on: bool,
    ) -> Result {
        if (end, option, is_on) == (End::Peer, TelnetOption::TERMINAL_TYPE, true) {
            t.ask_terminal_type();
        }
        Ok(())
    }

    async fn window_size(
        &mut self,
        _: &mut TelnetTransport<'_>,
        columns: u16,
        rows: u16,
    ) -> Result {
        self.window = Some((columns, rows));
        Ok(())
    }

    async fn terminal_type(&mut self, _: &mut TelnetTransport<'_>, name: &[u8], _: bool) -> Result {
        let name = &name[..name.len().min(MAX_NAME)];
        // A terminal must not obey what somebody calls it.
        self.terminal = Some(name.escape_ascii().to_string());
        Ok(())
    }
}
