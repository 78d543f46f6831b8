//! The chat.

use netframe_core::testing::{Harness, Recorder};
use netframe_core::{Factory, Transport};

use crate::chat::{ChatOptions, chat as chat_factory};

/// One member of a chat sends anything, in chunks whose length is the first byte; another one sees
/// whole lines that no terminal obeys, none of them as if somebody else had said it.
pub fn chat(input: &[u8]) {
    let &[chunk_len, ref wire @ ..] = input else { return };
    let mut options = ChatOptions::default();
    (options.max_length, options.history) = (40, 4);
    let service = chat_factory(options).expect("the options are possible");
    let enter = |name: &[u8]| {
        let protocol = service.build_protocol(Recorder::new().info());
        let mut member = Harness::new(protocol.expect("nobody is refused"));
        member.receive(name);
        member
    };
    let (mut other, mut member) = (enter(b"bob\n"), enter(b"alice\n"));
    for chunk in wire.chunks(1 + usize::from(chunk_len) % 16) {
        member.receive(chunk);
    }
    member.receive_eof();
    assert!(member.reason().is_some());
    for seen in [other.take_written(), enter(b"carol\n").take_written()] {
        let seen = str::from_utf8(&seen).expect("only text is shown");
        let lines = seen.strip_suffix('\n').expect("lines are whole");
        assert!(!lines.contains(|c: char| c.is_control() && c != '\n'), "{lines:?}");
        assert!(!lines.contains("\nbob: "), "bob has said nothing");
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_to_a_chat(input in vec(any::<u8>(), 0..200)) {
            super::chat(&input);
        }

        #[test]
        fn any_commands_to_a_chat(
            head in any::<u8>(),
            words in vec(prop::sample::select(CHAT_WORDS), 0..40),
        ) {
            super::chat(&[&[head], words.join("").as_bytes()].concat());
        }
    }

    const CHAT_WORDS: &[&str] = &[
        "\n", "\n", "\r\n", "/nick ", "/join ", "/who", "/quit", "bob", "carol", "tea", "lobby",
        ": ", "\r", "\x1b[2J", "\u{9b}", "\u{202e}", "\t", "Zoë",
    ];
}
