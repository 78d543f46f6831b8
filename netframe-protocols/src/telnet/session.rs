//! [`Session`]: all that one side keeps of a connection, without any I/O. What it has to say goes to a
//! function, whoever sends it.

use std::sync::Arc;

use netframe_core::bytes::{Bytes, BytesMut};

use super::negotiation::Negotiation;
use super::{
    Command, End, TelnetDecoder, TelnetError, TelnetEvent, TelnetOption, TelnetSettings, Verb,
    encoder,
};

/// First byte of a sub-negotiation of TERMINAL-TYPE (RFC 1091): this is the name, or please send it.
const IS: u8 = 0;
const SEND: u8 = 1;

#[derive(Clone, Debug)]
pub(crate) struct Session {
    settings: Arc<TelnetSettings>,
    pub(super) decoder: TelnetDecoder,
    negotiation: Negotiation,
    window_size: Option<(u16, u16)>,
    /// Which name a client tells next; behind the last one, that one again.
    next_type: usize,
    /// What a server was told last.
    last_type: Option<BytesMut>,
}

/// What a protocol is to be told.
#[derive(Debug)]
pub(crate) enum Notice {
    Text(BytesMut),
    Command(Command),
    OptionChanged { end: End, option: TelnetOption, is_on: bool },
    WindowSize(u16, u16),
    TerminalType { name: BytesMut, repeated: bool },
    Subnegotiation(TelnetOption, BytesMut),
}

/// Where this side's words go.
pub(crate) type Out<'a> = &'a mut dyn FnMut(&[u8]);

impl Session {
    pub(crate) fn new(settings: Arc<TelnetSettings>) -> Self {
        Self {
            decoder: TelnetDecoder::new(settings.role, settings.max_subnegotiation),
            negotiation: Negotiation::default(),
            window_size: settings.window_size,
            next_type: 0,
            last_type: None,
            settings,
        }
    }

    /// What comes next on the wire, as [`TelnetDecoder::next_event`].
    #[cfg(feature = "expect")]
    pub(crate) fn next_event(
        &mut self,
        wire: &mut BytesMut,
    ) -> Result<Option<TelnetEvent>, TelnetError> {
        self.decoder.next_event(wire)
    }

    /// Appends `parts` as one text.
    #[cfg(feature = "expect")]
    pub(crate) fn encode(&self, parts: &[&[u8]], out: &mut BytesMut) {
        encoder::encode(parts, self.sends_binary(), out);
    }

    /// Deals with what was decoded, and says what of it is for the protocol.
    pub(crate) fn receive(
        &mut self,
        event: TelnetEvent,
        out: Out<'_>,
    ) -> Result<Option<Notice>, TelnetError> {
        match event {
            TelnetEvent::Text(text) => Ok(Some(Notice::Text(text))),
            TelnetEvent::Command(command) => Ok(Some(Notice::Command(command))),
            TelnetEvent::Negotiation(verb, option) => Ok(self.negotiate(verb, option, out)),
            TelnetEvent::Subnegotiation(option, payload) => self.listen(option, payload, out),
        }
    }

    fn negotiate(&mut self, verb: Verb, option: TelnetOption, out: Out<'_>) -> Option<Notice> {
        let (settings, has_size) = (&self.settings, self.window_size.is_some());
        let agree = |end| {
            settings.agrees(end, option) && has_what_it_tells(settings, has_size, end, option)
        };
        let outcome = self.negotiation.receive(verb, option, agree);
        if let Some(verb) = outcome.reply {
            out(&encoder::negotiation(verb, option));
        }
        let (end, is_on) = (outcome.end, outcome.changed?);
        match (end, option) {
            (End::Peer, TelnetOption::BINARY) => self.decoder.set_binary(is_on),
            (End::Local, TelnetOption::WINDOW_SIZE) => self.tell_window_size(out),
            _ => {}
        }
        Some(Notice::OptionChanged { end, option, is_on })
    }

    /// An option has something to say. What neither side has cannot, and is passed over.
    fn listen(
        &mut self,
        option: TelnetOption,
        mut payload: BytesMut,
        out: Out<'_>,
    ) -> Result<Option<Notice>, TelnetError> {
        let (local, peer) = (self.is_on(End::Local, option), self.is_on(End::Peer, option));
        let notice = match option {
            TelnetOption::WINDOW_SIZE if peer => {
                let &[a, b, c, d] = &payload[..] else {
                    return Err(TelnetError::WindowSize { len: payload.len() });
                };
                let [columns, rows] = [[a, b], [c, d]].map(u16::from_be_bytes);
                Notice::WindowSize(columns, rows)
            }
            TelnetOption::TERMINAL_TYPE if local && payload[..] == [SEND] => {
                self.tell_terminal_type(out);
                return Ok(None);
            }
            TelnetOption::TERMINAL_TYPE if peer && payload.first() == Some(&IS) => {
                let name = payload.split_off(1);
                let repeated = self.last_type.as_ref() == Some(&name);
                self.last_type = (!repeated).then(|| BytesMut::from(&name[..]));
                Notice::TerminalType { name, repeated }
            }
            _ if local || peer => Notice::Subnegotiation(option, payload),
            _ => return Ok(None),
        };
        Ok(Some(notice))
    }

    /// Wants `end` to have an option, or not.
    pub(crate) fn request(&mut self, end: End, option: TelnetOption, enable: bool, out: Out<'_>) {
        if let Some(verb) = self.negotiation.ask(end, option, enable) {
            out(&encoder::negotiation(verb, option));
        }
    }

    pub(crate) fn is_on(&self, end: End, option: TelnetOption) -> bool {
        self.negotiation.is_on(end, option)
    }

    /// Whether this side sends eight bits.
    pub(crate) fn sends_binary(&self) -> bool {
        self.is_on(End::Local, TelnetOption::BINARY)
    }

    pub(super) fn set_window_size(&mut self, columns: u16, rows: u16, out: Out<'_>) {
        self.window_size = Some((columns, rows));
        self.tell_window_size(out);
    }

    /// Asks for a name of the terminal, if the peer tells them.
    pub(super) fn ask_terminal_type(&self, out: Out<'_>) {
        if self.is_on(End::Peer, TelnetOption::TERMINAL_TYPE) {
            say(TelnetOption::TERMINAL_TYPE, &[&[SEND]], out);
        }
    }

    fn tell_window_size(&self, out: Out<'_>) {
        if let Some((columns, rows)) = self.window_size
            && self.is_on(End::Local, TelnetOption::WINDOW_SIZE)
        {
            let size = [&columns.to_be_bytes()[..], &rows.to_be_bytes()];
            say(TelnetOption::WINDOW_SIZE, &size, out);
        }
    }

    /// Tells one name after the other, the last one twice, and then from the first again (RFC 1091).
    fn tell_terminal_type(&mut self, out: Out<'_>) {
        let names: &[Bytes] = &self.settings.terminal_types;
        let Some(last) = names.last() else { return };
        let name = names.get(self.next_type).unwrap_or(last);
        say(TelnetOption::TERMINAL_TYPE, &[&[IS], name], out);
        self.next_type = (self.next_type + 1) % (names.len() + 1);
    }
}

/// Whether this side knows what the option is to tell.
fn has_what_it_tells(
    settings: &TelnetSettings,
    has_size: bool,
    end: End,
    option: TelnetOption,
) -> bool {
    match option {
        TelnetOption::TERMINAL_TYPE if end == End::Local => !settings.terminal_types.is_empty(),
        TelnetOption::WINDOW_SIZE if end == End::Local => has_size,
        _ => true,
    }
}

/// Sends a sub-negotiation.
fn say(option: TelnetOption, payload: &[&[u8]], out: Out<'_>) {
    let mut wire = BytesMut::new();
    encoder::subnegotiation(option, payload, &mut wire);
    out(&wire);
}
