//! The bytes of Telnet that have a name: commands (RFC 854) and options.

use std::fmt;

/// What begins every command: "interpret as command" (RFC 854).
pub(super) const IAC: u8 = 255;
/// Begins a sub-negotiation.
pub(super) const SB: u8 = 250;
/// Ends a sub-negotiation.
pub(super) const SE: u8 = 240;

pub(super) const CR: u8 = b'\r';
pub(super) const LF: u8 = b'\n';
pub(super) const NUL: u8 = 0;

/// A command of two bytes: IAC and this one (RFC 854). Those without a name here come too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Command(pub u8);

impl Command {
    /// The end of a record (RFC 885).
    pub const END_OF_RECORD: Self = Self(239);
    /// Nothing is to be done.
    pub const NO_OPERATION: Self = Self(241);
    /// The place in the data that an urgent signal points to. Urgent data is not looked for: this
    /// comes in its turn.
    pub const DATA_MARK: Self = Self(242);
    /// The key Break.
    pub const BREAK: Self = Self(243);
    /// Whatever runs is to be interrupted.
    pub const INTERRUPT_PROCESS: Self = Self(244);
    /// Output that is under way is to be dropped.
    pub const ABORT_OUTPUT: Self = Self(245);
    /// Something that can be seen is to be sent back.
    pub const ARE_YOU_THERE: Self = Self(246);
    /// The last character is to be taken back.
    pub const ERASE_CHARACTER: Self = Self(247);
    /// The line so far is to be taken back.
    pub const ERASE_LINE: Self = Self(248);
    /// The other side may speak.
    pub const GO_AHEAD: Self = Self(249);
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::END_OF_RECORD => "EOR",
            Self::NO_OPERATION => "NOP",
            Self::DATA_MARK => "DM",
            Self::BREAK => "BRK",
            Self::INTERRUPT_PROCESS => "IP",
            Self::ABORT_OUTPUT => "AO",
            Self::ARE_YOU_THERE => "AYT",
            Self::ERASE_CHARACTER => "EC",
            Self::ERASE_LINE => "EL",
            Self::GO_AHEAD => "GA",
            Self(code) => return write!(f, "Command({code})"),
        })
    }
}

/// What the two sides may agree on, each for its own direction (RFC 855).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TelnetOption(pub u8);

impl TelnetOption {
    /// Eight bits, and no rules for the ends of lines (RFC 856).
    pub const BINARY: Self = Self(0);
    /// Whoever has it sends back what it receives (RFC 857).
    pub const ECHO: Self = Self(1);
    /// No GA is sent (RFC 858); with ECHO, characters are sent as they are typed.
    pub const SUPPRESS_GO_AHEAD: Self = Self(3);
    /// A client tells the names of its terminal (RFC 1091).
    pub const TERMINAL_TYPE: Self = Self(24);
    /// A client tells the size of its window (RFC 1073).
    pub const WINDOW_SIZE: Self = Self(31);
}

impl fmt::Debug for TelnetOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::BINARY => "BINARY",
            Self::ECHO => "ECHO",
            Self::SUPPRESS_GO_AHEAD => "SUPPRESS-GO-AHEAD",
            Self::TERMINAL_TYPE => "TERMINAL-TYPE",
            Self::WINDOW_SIZE => "NAWS",
            Self(code) => return write!(f, "TelnetOption({code})"),
        })
    }
}

/// The four words of a negotiation (RFC 854).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// "I would have this option", or "I do, as you ask".
    Will = 251,
    /// "I do not".
    Wont = 252,
    /// "Please have this option", or "do so".
    Do = 253,
    /// "Do not".
    Dont = 254,
}

impl Verb {
    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            251 => Some(Self::Will),
            252 => Some(Self::Wont),
            253 => Some(Self::Do),
            254 => Some(Self::Dont),
            _ => None,
        }
    }
}

/// Which side has an option: each option is agreed on for each side by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// This side has it, as it said WILL.
    Local,
    /// The peer has it, as it said WILL.
    Peer,
}
