//! What the fuzz target of Telnet calls.

use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Harness, Recorder};
use netframe_core::{Factory, Transport};

use super::{
    Command, Role, TelnetDecoder, TelnetError, TelnetEvent, TelnetOption, Verb, telnet_echo,
};

/// Takes bytes of Telnet in chunks, and compares with a reader of one byte after the other; then sends
/// them to a server, which answers the same whatever the chunks. The first two bytes pick the role,
/// the mode, the limit and the length of the chunks.
///
/// # Panics
///
/// A promise is broken.
pub fn received(input: &[u8]) {
    let &[kind, chunk_len, ref wire @ ..] = input else { return };
    let role = if kind & 1 == 0 { Role::Server } else { Role::Client };
    let (binary, max_length) = (kind & 2 != 0, usize::from(kind) / 4 % 8);
    let chunk_len = 1 + usize::from(chunk_len) % 8;
    let mut decoder = TelnetDecoder::new(role, max_length);
    decoder.set_binary(binary);
    let (mut data, mut found, mut ended) = (BytesMut::new(), Vec::new(), Ok(()));
    'chunks: for chunk in wire.chunks(chunk_len) {
        data.extend_from_slice(chunk);
        loop {
            match decoder.next_event(&mut data) {
                Ok(Some(event)) => join(&mut found, event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_event(&mut data), Err(error), "it goes on");
                    ended = Err(error);
                    break 'chunks;
                }
            }
        }
    }
    assert_eq!((found, ended), read_telnet(role, binary, max_length, wire));

    let answer = |chunk_len: usize| {
        let factory = telnet_echo(Default::default()).expect("the defaults are possible");
        let protocol = factory.build_protocol(Recorder::new().info());
        let mut peer = Harness::new(protocol.expect("nobody is refused"));
        wire.chunks(chunk_len).for_each(|chunk| peer.receive(chunk));
        peer.receive_eof();
        assert!(peer.reason().is_some());
        peer.take_written()
    };
    assert_eq!(answer(chunk_len), answer(wire.len().max(1)));
}

/// Adds an event; text that nothing stands between is one.
fn join(events: &mut Vec<TelnetEvent>, event: TelnetEvent) {
    match (events.last_mut(), event) {
        (Some(TelnetEvent::Text(text)), TelnetEvent::Text(more)) => text.unsplit(more),
        (_, event) => events.push(event),
    }
}

/// What is in bytes of Telnet, up to the first that is wrong.
fn read_telnet(
    role: Role,
    binary: bool,
    max_length: usize,
    mut wire: &[u8],
) -> (Vec<TelnetEvent>, Result<(), TelnetError>) {
    let (mut events, mut after_cr) = (Vec::new(), false);
    loop {
        let byte = |byte| TelnetEvent::Text([byte][..].into());
        let (event, len) = match *wire {
            [255, 255, ..] => (Some(byte(255)), 2),
            [255, 250, ref body @ ..] => match read_subnegotiation(max_length, body) {
                Ok(Some((event, len))) => (Some(event), 2 + len),
                Ok(None) => return (events, Ok(())),
                Err(error) => return (events, Err(error)),
            },
            [255, 251..=254] | [255] | [] => return (events, Ok(())),
            [255, verb @ 251..=254, option, ..] => {
                let verb = [Verb::Will, Verb::Wont, Verb::Do, Verb::Dont][usize::from(verb - 251)];
                (Some(TelnetEvent::Negotiation(verb, TelnetOption(option))), 3)
            }
            [255, command, ..] => (Some(TelnetEvent::Command(Command(command))), 2),
            [b'\r', ..] if !binary && role == Role::Server => (Some(byte(b'\n')), 1),
            [0, ..] if after_cr => (None, 1),
            [b'\n', ..] if after_cr && role == Role::Server => (None, 1),
            [other, ..] => (Some(byte(other)), 1),
        };
        // Commands may stand between a CR and what belongs to it.
        if wire[0] != 255 || wire[1] == 255 {
            after_cr = wire[0] == b'\r' && !binary;
        }
        if let Some(event) = event {
            join(&mut events, event);
        }
        wire = &wire[len..];
    }
}

/// A sub-negotiation behind IAC SB, and its length there.
fn read_subnegotiation(
    max_length: usize,
    body: &[u8],
) -> Result<Option<(TelnetEvent, usize)>, TelnetError> {
    let (mut plain, mut at) = (Vec::new(), 0);
    loop {
        let option_len = if body.first() == Some(&255) { 2 } else { 1 };
        if at > option_len + max_length {
            return Err(TelnetError::TooLong { max_length });
        }
        match body[at..] {
            [255, 255, ..] => (plain, at) = ([&plain[..], &[255]].concat(), at + 2),
            [255, 240, ..] => {
                let Some((option, payload)) = plain.split_first() else {
                    return Err(TelnetError::NoOption);
                };
                let event = TelnetEvent::Subnegotiation(TelnetOption(*option), payload.into());
                return Ok(Some((event, at + 2)));
            }
            [255, byte, ..] => return Err(TelnetError::Unescaped { byte }),
            [255] | [] => return Ok(None),
            [byte, ..] => (plain, at) = ([&plain[..], &[byte]].concat(), at + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_telnet(
            head in any::<[u8; 2]>(),
            wire in vec(prop::sample::select(TELNET_PIECES), 0..40),
        ) {
            super::received(&[&head[..], &wire.concat()].concat());
        }
    }

    const TELNET_PIECES: &[&[u8]] = &[
        b"a",
        b"\r",
        b"\n",
        b"\0",
        b"\xff",
        b"\xff",
        b"\xff\xff",
        b"\xff\xfa",
        b"\xff\xf0",
        b"\xff\xfb",
        b"\xff\xfd",
        b"\x18",
        b"\x1f",
        b"\0\x50\0\x18",
        b"\xff\xf6",
        b"/status\r\n",
        b"\xff\xfb\x1f",
        b"\xff\xfa\x1f",
        b"\xff\xfa\x18\0",
        b"\xff\xfb\x18",
        b"\xff\xfd\x03",
    ];
}
