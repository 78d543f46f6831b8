//! What the fuzz target of SOCKS 5 calls: each message as a prefix of any bytes, and whole handshakes.

use netframe_core::testing::{Harness, Recorder};
use netframe_core::{CloseKind, Factory, Transport};

use super::wire::{self, Read};
use super::{Socks5Options, socks5};

/// Reads each kind of message from the bytes behind the first two, and has a client send them in chunks.
/// The first byte says whether there are users, the second one how long the chunks are.
///
/// What is read from a part is read from the whole, too; what a client is told does not depend on how
/// its bytes were cut, is made of whole answers, and is no success, as nobody may go anywhere.
///
/// # Panics
///
/// A promise is broken.
pub fn handshake(input: &[u8]) {
    let &[users, chunk_len, ref wire @ ..] = input else { return };
    at_every_length(wire, |data| length(wire::greeting(data), |(_, len)| len));
    at_every_length(wire, |data| length(wire::login(data), |(_, _, len)| len));
    at_every_length(wire, |data| length(wire::request(data), |(_, len)| len));

    let has_users = users % 2 == 1;
    let told = converse(has_users, wire, wire.len().max(1));
    assert_eq!(converse(has_users, wire, 1 + usize::from(chunk_len) % 8), told);
    check_answers(has_users, &told.0);
}

/// The length of a message that has been read, or why it cannot be.
type Length = Result<Option<usize>, wire::WireError>;

fn length<T>(read: Read<T>, len: impl FnOnce(T) -> usize) -> Length {
    read.map(|message| message.map(len))
}

fn at_every_length(wire: &[u8], read: impl Fn(&[u8]) -> Length) {
    let mut known = Ok(None);
    for len in 0..=wire.len() {
        let found = read(&wire[..len]);
        match known {
            Ok(None) => known = found,
            known => assert_eq!(found, known, "more bytes change nothing"),
        }
        assert!(
            known.is_err() || known.is_ok_and(|end| end.is_none_or(|end| (1..=len).contains(&end)))
        );
    }
}

/// What a client is told that sends this and ends, and how its connection came to its end.
fn converse(has_users: bool, wire: &[u8], chunk_len: usize) -> (Vec<u8>, CloseKind) {
    let allow = vec!["!:1".into()]; // no host has such a name
    let mut options = Socks5Options { allow, ..Socks5Options::default() };
    if has_users {
        options.users.insert("ada".into(), "secret".into());
    }
    let factory = socks5(options).expect("the options are possible");
    let protocol = factory.build_protocol(Recorder::new().info()).expect("nobody is refused");
    let mut client = Harness::new(protocol);
    for chunk in wire.chunks(chunk_len) {
        client.receive(chunk);
    }
    client.receive_eof();
    let told = client.take_written().to_vec();
    (told, client.reason().expect("the client has ended").kind())
}

/// A method, with users whether they are let in, and why not to go there.
fn check_answers(has_users: bool, told: &[u8]) {
    let method = if has_users { wire::PASSWORD } else { wire::NO_AUTHENTICATION };
    let rest = match told {
        [] | [wire::VERSION, wire::NO_METHOD] => return,
        [wire::VERSION, chosen, rest @ ..] if *chosen == method => rest,
        _ => panic!("{} chooses no method", told.escape_ascii()),
    };
    let rest = match rest {
        rest if !has_users => rest,
        [] | [wire::LOGIN_VERSION, 1] => return,
        [wire::LOGIN_VERSION, 0, rest @ ..] => rest,
        _ => panic!("{} answers no password", rest.escape_ascii()),
    };
    let is_refusal = |reply: u8| [1, 2, 4, 7, 8].contains(&reply);
    match rest {
        [] => {}
        [wire::VERSION, reply, 0, 1, 0, 0, 0, 0, 0, 0] if is_refusal(*reply) => {}
        _ => panic!("{} refuses no request", rest.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_to_socks5(input in vec(any::<u8>(), 0..100)) {
            super::handshake(&input);
        }

        #[test]
        fn any_messages_to_socks5(
            head in any::<[u8; 2]>(),
            parts in vec(prop::sample::select(SOCKS5_PARTS), 0..8),
        ) {
            super::handshake(&[&head[..], &parts.concat()].concat());
        }
    }

    const SOCKS5_PARTS: &[&[u8]] = &[
        b"\x05",
        b"\x01",
        b"\x00",
        b"\x02",
        b"\x05\x01\x00",
        b"\x05\x01\x02",
        b"\x01\x03ada\x06secret",
        b"\x05\x01\x00\x03",
        b"\x05\x01\x00\x01\x01\x01\x01\x01\x00\x50",
        b"\x03a.b",
        b"\x00\x50",
        b"\x05\x02\x00\x01",
        b"\x05\x01\x00\x04",
    ];
}
