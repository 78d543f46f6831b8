//! [`TelnetSettings`]: what a side is, and what it agrees to.

use netframe_core::bytes::Bytes;

use super::{End, TelnetOption};

/// Which side of Telnet this one is: a terminal's, or that of what the terminal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It connects, and has the terminal.
    Client,
    /// It is connected to.
    Server,
}

/// Bytes of a sub-negotiation unless said otherwise: 4 KiB.
const DEFAULT_MAX_SUBNEGOTIATION: usize = 4 * 1024;

/// What one side of a connection is, and what it agrees to. One for all connections of a service.
///
/// An option that is not named here is refused when the peer asks for it. This side may ask for any,
/// with [`TelnetTransport::request`](super::TelnetTransport::request).
///
/// ```
/// use netframe_protocols::telnet::{TelnetOption, TelnetSettings};
///
/// let mut settings = TelnetSettings::server();
/// settings.local.push(TelnetOption::ECHO); // the protocol sends back what is typed
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TelnetSettings {
    /// Which side this is.
    pub role: Role,
    /// What this side does when the peer asks it to. Default SUPPRESS-GO-AHEAD, which is how this
    /// side sends anyway, and for a client TERMINAL-TYPE and NAWS, if it has what they tell.
    pub local: Vec<TelnetOption>,
    /// What the peer may do. Default SUPPRESS-GO-AHEAD, for a client ECHO, and for a server
    /// TERMINAL-TYPE and NAWS: nothing that changes what the bytes of the text mean.
    pub peer: Vec<TelnetOption>,
    /// Bytes that a sub-negotiation may have on the wire, without its option. Default 4 KiB: a window
    /// size has at most 8 and the name of a terminal 41, but what games send by options of their own
    /// is longer. A peer that sends more is disconnected. With 0 none may say anything.
    pub max_subnegotiation: usize,
    /// The names of a client's terminal, its favourite first (RFC 1091), such as `xterm`. Default none,
    /// with which the option is refused.
    pub terminal_types: Vec<Bytes>,
    /// Columns and rows of a client's window (RFC 1073), until
    /// [`set_window_size`](super::TelnetTransport::set_window_size) says otherwise. Default none, with
    /// which the option is refused.
    pub window_size: Option<(u16, u16)>,
}

impl TelnetSettings {
    /// The side that has the terminal.
    pub fn client() -> Self {
        use TelnetOption as O;
        let local = vec![O::SUPPRESS_GO_AHEAD, O::TERMINAL_TYPE, O::WINDOW_SIZE];
        Self::new(Role::Client, local, vec![O::SUPPRESS_GO_AHEAD, O::ECHO])
    }

    /// The side that a terminal connects to.
    pub fn server() -> Self {
        use TelnetOption as O;
        let peer = vec![O::SUPPRESS_GO_AHEAD, O::TERMINAL_TYPE, O::WINDOW_SIZE];
        Self::new(Role::Server, vec![O::SUPPRESS_GO_AHEAD], peer)
    }

    fn new(role: Role, local: Vec<TelnetOption>, peer: Vec<TelnetOption>) -> Self {
        Self {
            role,
            local,
            peer,
            max_subnegotiation: DEFAULT_MAX_SUBNEGOTIATION,
            terminal_types: Vec::new(),
            window_size: None,
        }
    }

    /// Whether `end` may have the option.
    pub(super) fn agrees(&self, end: End, option: TelnetOption) -> bool {
        let options = if end == End::Local { &self.local } else { &self.peer };
        options.contains(&option)
    }
}
