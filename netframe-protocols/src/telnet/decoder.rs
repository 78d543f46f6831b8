//! [`TelnetDecoder`]: tells text from commands, without any I/O (RFC 854, RFC 855).

use memchr::{memchr, memchr2};
use netframe_core::bytes::{Buf, BytesMut};

use super::codes::{CR, IAC, LF, NUL, SB, SE};
use super::{Command, Role, TelnetError, TelnetOption, Verb};

/// Takes text and commands from the front of bytes that arrive in pieces; each byte is looked at a
/// bounded number of times, whatever the pieces.
///
/// It keeps no bytes: the caller holds those that are not complete, and offers them again with more
/// behind. Text is a view of the caller's buffer, made shorter in place where bytes of it were
/// doubled or dropped.
///
/// ```
/// use netframe_core::bytes::BytesMut;
/// use netframe_protocols::telnet::{Command, Role, TelnetDecoder, TelnetEvent};
///
/// let mut decoder = TelnetDecoder::new(Role::Server, 100);
/// let mut wire = BytesMut::from(&b"100\xff\xff\r\n\xff\xf6\xff"[..]);
/// assert_eq!(decoder.next_event(&mut wire)?, Some(TelnetEvent::Text(b"100\xff\n"[..].into())));
/// let command = TelnetEvent::Command(Command::ARE_YOU_THERE);
/// assert_eq!(decoder.next_event(&mut wire)?, Some(command));
/// assert_eq!(decoder.next_event(&mut wire)?, None);
/// assert_eq!(wire, b"\xff"[..], "the rest of the command is on its way");
/// # Ok::<(), netframe_protocols::telnet::TelnetError>(())
/// ```
///
/// What becomes of the ends of lines depends on the role: see the [module](super#text).
#[derive(Clone, Debug)]
pub struct TelnetDecoder {
    role: Role,
    max_subnegotiation: usize,
    binary: bool,
    /// The last byte of text was a CR: what LF or NUL follows belongs to it.
    after_cr: bool,
    /// Invariant: no end of the sub-negotiation that the wire begins with is in the first `scanned`
    /// bytes behind its IAC SB, and they are no half of a pair.
    scanned: usize,
}

/// What [`TelnetDecoder`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TelnetEvent {
    /// Text, with at least one byte.
    Text(BytesMut),
    /// A command of two bytes.
    Command(Command),
    /// A word about an option.
    Negotiation(Verb, TelnetOption),
    /// What an option has to say; its bytes are no longer doubled.
    Subnegotiation(TelnetOption, BytesMut),
}

impl TelnetDecoder {
    /// A decoder of what the peer of `role` sends, with sub-negotiations of at most
    /// `max_subnegotiation` bytes, as they are on the wire and without their option.
    pub fn new(role: Role, max_subnegotiation: usize) -> Self {
        Self { role, max_subnegotiation, binary: false, after_cr: false, scanned: 0 }
    }

    /// Whether the peer sends eight bits, so that no end of a line is looked for (RFC 856).
    pub fn set_binary(&mut self, binary: bool) {
        self.binary = binary;
        self.after_cr &= !binary;
    }

    /// Whether the last byte of text came as a CR, whose LF or NUL is yet to come.
    pub(super) fn is_after_cr(&self) -> bool {
        self.after_cr
    }

    /// The next text or command; `None` if its end has not arrived.
    ///
    /// # Errors
    ///
    /// A sub-negotiation is too long or no sub-negotiation. Every call from then on has the same one.
    pub fn next_event(&mut self, wire: &mut BytesMut) -> Result<Option<TelnetEvent>, TelnetError> {
        match self.next_text(wire) {
            Some(text) => Ok(Some(TelnetEvent::Text(text))),
            None => self.next_command(wire),
        }
    }

    /// The text up to the next command, if there is any.
    pub(super) fn next_text(&mut self, wire: &mut BytesMut) -> Option<BytesMut> {
        let (read, written) = self.take_text(wire);
        let text = (written > 0).then(|| wire.split_to(written));
        wire.advance(read - written);
        text
    }

    /// The command that `wire` begins with, behind the text.
    pub(super) fn next_command(
        &mut self,
        wire: &mut BytesMut,
    ) -> Result<Option<TelnetEvent>, TelnetError> {
        let Some(&code) = wire.get(1) else { return Ok(None) };
        if code == SB {
            return self.next_subnegotiation(wire);
        }
        let Some(verb) = Verb::from_code(code) else {
            wire.advance(2);
            return Ok(Some(TelnetEvent::Command(Command(code))));
        };
        let Some(&option) = wire.get(2) else { return Ok(None) };
        wire.advance(3);
        Ok(Some(TelnetEvent::Negotiation(verb, TelnetOption(option))))
    }

    /// Moves text to the front, up to the next command: how many bytes it takes there, and on the
    /// wire they were.
    fn take_text(&mut self, wire: &mut [u8]) -> (usize, usize) {
        let (mut read, mut written) = (0, 0);
        while let Some(&byte) = wire.get(read) {
            match byte {
                IAC => match wire.get(read + 1) {
                    Some(&IAC) => {
                        (wire[written], self.after_cr) = (IAC, false);
                        (read, written) = (read + 2, written + 1);
                    }
                    _ => break, // the beginning of a command
                },
                CR if !self.binary => {
                    wire[written] = if self.role == Role::Server { LF } else { CR };
                    self.after_cr = true;
                    (read, written) = (read + 1, written + 1);
                }
                NUL | LF if self.is_rest_of_newline(byte) => {
                    self.after_cr = false;
                    read += 1;
                }
                _ => {
                    let len = self.plain_len(&wire[read..]);
                    if read != written {
                        wire.copy_within(read..read + len, written);
                    }
                    self.after_cr = false;
                    (read, written) = (read + len, written + len);
                }
            }
        }
        (read, written)
    }

    /// Whether the byte says nothing but what the CR before it has said: the NUL of a bare CR, and for
    /// a server, to which either is the end of a line, the LF too.
    fn is_rest_of_newline(&self, byte: u8) -> bool {
        self.after_cr && (byte == NUL || self.role == Role::Server)
    }

    /// Bytes that stand for themselves, the first of which does.
    fn plain_len(&self, wire: &[u8]) -> usize {
        let found = if self.binary { memchr(IAC, wire) } else { memchr2(IAC, CR, wire) };
        found.unwrap_or(wire.len())
    }

    fn next_subnegotiation(
        &mut self,
        wire: &mut BytesMut,
    ) -> Result<Option<TelnetEvent>, TelnetError> {
        let Some(len) = self.subnegotiation_len(&wire[2..])? else { return Ok(None) };
        self.scanned = 0;
        wire.advance(2);
        let mut body = wire.split_to(len);
        wire.advance(2);
        let unescaped = unescape(&mut body);
        body.truncate(unescaped);
        let option = TelnetOption(body.get_u8());
        Ok(Some(TelnetEvent::Subnegotiation(option, body)))
    }

    /// Bytes before IAC SE; `None` if that has not arrived.
    fn subnegotiation_len(&mut self, body: &[u8]) -> Result<Option<usize>, TelnetError> {
        let found = loop {
            let iac = memchr(IAC, &body[self.scanned..]).map(|at| self.scanned + at);
            self.scanned = iac.unwrap_or(body.len());
            // Ahead of what follows, so that the pieces in which it comes make no difference.
            self.check_length(body)?;
            let Some(&byte) = iac.and_then(|iac| body.get(iac + 1)) else { break None };
            match byte {
                IAC => self.scanned += 2,
                SE => break Some(self.scanned),
                byte => return Err(TelnetError::Unescaped { byte }),
            }
        };
        if found == Some(0) { Err(TelnetError::NoOption) } else { Ok(found) }
    }

    fn check_length(&self, body: &[u8]) -> Result<(), TelnetError> {
        let option = if body.first() == Some(&IAC) { 2 } else { 1 };
        let max_length = self.max_subnegotiation;
        if self.scanned.saturating_sub(option) > max_length {
            return Err(TelnetError::TooLong { max_length });
        }
        Ok(())
    }
}

/// Makes one of two IAC, each of which is doubled; returns how many bytes are left.
fn unescape(body: &mut [u8]) -> usize {
    let (mut read, mut written) = (0, 0);
    while read < body.len() {
        body[written] = body[read];
        read += if body[read] == IAC { 2 } else { 1 };
        written += 1;
    }
    written
}
