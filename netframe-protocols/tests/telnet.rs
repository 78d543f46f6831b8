//! Telnet without a network: text, commands, options, the pieces in which they come, and what a
//! callback does in the middle of them.

use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Harness, Recorder, replay, replay_with};
use netframe_core::{CloseKind, Factory, Residue, Result, Side, Transport};
use netframe_protocols::Echo;
use netframe_protocols::line::{LineProtocol, LineTransport, Lines};
use netframe_protocols::telnet::{
    Command, End, Plain, Role, Telnet, TelnetDecoder, TelnetEchoOptions, TelnetError, TelnetEvent,
    TelnetOption, TelnetProtocol, TelnetSettings, TelnetTransport, Verb, telnet_echo,
};
use proptest::collection::vec;
use proptest::prelude::*;

const IAC: u8 = 255;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const SB: u8 = 250;
const SE: u8 = 240;
const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SGA: u8 = 3;
const TTYPE: u8 = 24;
const NAWS: u8 = 31;
/// An option that nothing here knows.
const OWN: u8 = 201;

// The decoder.

#[test]
fn text_is_taken_as_the_role_says() {
    let both: &[(&[u8], &str, &str)] = &[
        (b"", "", ""),
        (b"abc", "abc", "abc"),
        (b"a\r\nb", "a\nb", "a\r\nb"),
        (b"a\r\0b", "a\nb", "a\rb"),
        (b"a\nb", "a\nb", "a\nb"),
        (b"a\rb", "a\nb", "a\rb"),
        (b"a\r\r\nb", "a\n\nb", "a\r\r\nb"),
        (b"a\r\n\nb", "a\n\nb", "a\r\n\nb"),
        (b"a\r\0\0b", "a\n\0b", "a\r\0b"),
        (b"\r\n\r\0\r", "\n\n\n", "\r\n\r\r"),
        (b"a\0b", "a\0b", "a\0b"),
    ];
    for (wire, server, client) in both {
        let text = |role| decode(role, false, wire).map(|events| text(&events));
        assert_eq!(text(Role::Server).as_deref(), Ok(server.as_bytes()), "{wire:?}");
        assert_eq!(text(Role::Client).as_deref(), Ok(client.as_bytes()), "{wire:?}");
    }
}

#[test]
fn binary_text_has_no_lines() {
    for role in [Role::Server, Role::Client] {
        let events = decode(role, true, b"\r\n\r\0\r\xff\xff\n\0\xff\xf1\0");
        assert_eq!(text(&events.unwrap()), b"\r\n\r\0\r\xff\n\0\0");
    }
}

#[test]
fn a_doubled_iac_is_one_byte_of_text() {
    let events = decode(Role::Server, false, b"\xff\xffa\xff\xff\xff\xffb\xff\xff").unwrap();
    assert_eq!(events, [TelnetEvent::Text(b"\xffa\xff\xffb\xff"[..].into())]);
    // It stands between a CR and a NUL.
    assert_eq!(text(&decode(Role::Server, false, b"\r\xff\xff\0").unwrap()), b"\n\xff\0");
}

#[test]
fn commands_stand_between_texts() {
    let named = [
        (239, Command::END_OF_RECORD, "EOR"),
        (241, Command::NO_OPERATION, "NOP"),
        (242, Command::DATA_MARK, "DM"),
        (243, Command::BREAK, "BRK"),
        (244, Command::INTERRUPT_PROCESS, "IP"),
        (245, Command::ABORT_OUTPUT, "AO"),
        (246, Command::ARE_YOU_THERE, "AYT"),
        (247, Command::ERASE_CHARACTER, "EC"),
        (248, Command::ERASE_LINE, "EL"),
        (249, Command::GO_AHEAD, "GA"),
        // Outside of a sub-negotiation, and without a meaning: they come, too.
        (240, Command(240), "Command(240)"),
        (7, Command(7), "Command(7)"),
    ];
    for (code, command, name) in named {
        let events = decode(Role::Server, false, &[b'a', IAC, code, b'b']).unwrap();
        let [a, b] = [b"a", b"b"].map(|text| TelnetEvent::Text(text[..].into()));
        assert_eq!(events, [a, TelnetEvent::Command(command), b]);
        assert_eq!(format!("{command:?}"), name);
    }
    // The end of a line may have a command in it.
    let events = decode(Role::Server, false, b"a\r\xff\xf1\nb").unwrap();
    assert_eq!(text(&events), b"a\nb");
}

#[test]
fn words_about_options_have_three_bytes() {
    let verbs = [(WILL, Verb::Will), (WONT, Verb::Wont), (DO, Verb::Do), (DONT, Verb::Dont)];
    for (code, verb) in verbs {
        for option in [0, 24, 255] {
            let events = decode(Role::Client, false, &[IAC, code, option, IAC, 241]).unwrap();
            let word = TelnetEvent::Negotiation(verb, TelnetOption(option));
            assert_eq!(events, [word, TelnetEvent::Command(Command::NO_OPERATION)]);
        }
    }
}

#[test]
fn subnegotiations_are_whole_and_no_longer_doubled() {
    let cases: &[(&[u8], u8, &[u8])] = &[
        (b"\x1f\0\x50\0\x18", 31, b"\0\x50\0\x18"),
        (b"\x1f\0\xff\xff\xff\xff\x18", 31, b"\0\xff\xff\x18"),
        (b"\x18", 24, b""),
        (b"\xff\xff\r\n\xff\xff", 255, b"\r\n\xff"),
        (b"\xc9\xff\xff\xf0", 201, b"\xff\xf0"),
    ];
    for (body, option, payload) in cases {
        let wire = [b"a\xff\xfa", *body, b"\xff\xf0b"].concat();
        let events = decode(Role::Server, false, &wire).unwrap();
        let told = TelnetEvent::Subnegotiation(TelnetOption(*option), (*payload).into());
        assert_eq!((events.len(), &events[1]), (3, &told), "{body:?}");
    }
}

#[test]
fn a_subnegotiation_may_have_the_limit_and_no_more() {
    let wire = |option: &[u8], payload: &[u8]| [b"\xff\xfa", option, payload, b"\xff\xf0"].concat();
    for option in [&b"\x18"[..], b"\xff\xff"] {
        for len in [MAX - 1, MAX] {
            assert!(decode(Role::Server, false, &wire(option, &vec![7; len])).is_ok());
        }
        let too_long = Err(TelnetError::TooLong { max_length: MAX });
        assert_eq!(decode(Role::Server, false, &wire(option, &[7; MAX + 1])), too_long);
        // Doubled bytes count twice.
        assert!(decode(Role::Server, false, &wire(option, &[IAC; MAX])).is_ok());
        assert_eq!(decode(Role::Server, false, &wire(option, &[IAC; MAX + 2])), too_long);
        // Nor does it need an end, or a right one.
        assert_eq!(
            decode(Role::Server, false, &[&b"\xff\xfa"[..], option, &[7; MAX + 1]].concat()),
            too_long
        );
        let wrong = [&b"\xff\xfa"[..], option, &[7; MAX + 1], b"\xff\x07"].concat();
        assert_eq!(decode(Role::Server, false, &wrong), too_long);
    }
}

#[test]
fn what_is_no_subnegotiation_is_an_error() {
    let unescaped = |byte| Err(TelnetError::Unescaped { byte });
    assert_eq!(decode(Role::Server, false, b"a\xff\xfa\x18ab\xff\xf1"), unescaped(241));
    assert_eq!(decode(Role::Server, false, b"\xff\xfa\xff\xfb\x18\xff\xf0"), unescaped(251));
    assert_eq!(decode(Role::Server, false, b"\xff\xfa\xff\xf0"), Err(TelnetError::NoOption));
    assert_eq!(
        TelnetError::TooLong { max_length: 4096 }.to_string(),
        "a sub-negotiation exceeds 4096 bytes; raise `max_subnegotiation` if such ones are meant"
    );
}

#[test]
fn text_is_a_view_of_what_came() {
    let mut wire = BytesMut::from(&b"abc\xff\xff\r\ndef\xff\xf1ghi"[..]);
    let start = wire.as_ptr();
    let event = TelnetDecoder::new(Role::Server, MAX).next_event(&mut wire).unwrap();
    let Some(TelnetEvent::Text(text)) = event else { panic!("{event:?}") };
    assert_eq!((text.as_ptr(), &text[..]), (start, &b"abc\xff\ndef"[..]));
}

// Options.

#[test]
fn what_is_not_agreed_to_is_refused_and_what_is_agreed_to_answered_once() {
    let server = |wire: &[u8]| replay(wire, || Telnet::server(Log::default())).written;
    assert_eq!(server(&[IAC, DO, OWN, IAC, WILL, OWN]), [IAC, WONT, OWN, IAC, DONT, OWN]);
    assert_eq!(server(&[IAC, DONT, OWN, IAC, WONT, OWN]), [0_u8; 0]);
    assert_eq!(server(&[IAC, DO, SGA, IAC, DO, SGA]), [IAC, WILL, SGA], "asking twice is silent");
    assert_eq!(server(&[IAC, WILL, NAWS, IAC, WONT, NAWS]), [IAC, DO, NAWS, IAC, DONT, NAWS]);
    // A server that sent back what is typed would need to know of it; so would one of binary text.
    assert_eq!(server(&[IAC, DO, ECHO, IAC, DO, BINARY]), [IAC, WONT, ECHO, IAC, WONT, BINARY]);
    assert_eq!(server(&[IAC, DO, TTYPE, IAC, DO, NAWS]), [IAC, WONT, TTYPE, IAC, WONT, NAWS]);

    let client = |wire: &[u8]| replay(wire, || Telnet::client(Log::default())).written;
    assert_eq!(client(&[IAC, WILL, ECHO, IAC, DO, SGA]), [IAC, DO, ECHO, IAC, WILL, SGA]);
    // It has no terminal, and no window.
    assert_eq!(client(&[IAC, DO, TTYPE, IAC, DO, NAWS]), [IAC, WONT, TTYPE, IAC, WONT, NAWS]);
}

#[test]
fn changes_are_told_once_and_between_what_they_stand_between() {
    let wire = b"a;\xff\xfb\x1fb\xff\xfb\x1fc;\xff\xfc\x1fd;";
    let (_, seen) = replay_with(wire, || Telnet::server(Log::default()), seen);
    assert_eq!(seen, ["a;", "Peer NAWS on", "bc;", "Peer NAWS off", "d;", "eof"]);
}

#[test]
fn what_this_side_asks_for_is_answered_by_a_change() {
    let mut peer = Harness::new(Telnet::server(Log::default()));
    peer.receive(b"peer on 201;");
    assert_eq!(peer.take_written(), [IAC, DO, OWN][..]);
    peer.receive(b"peer off 201;peer on 201;");
    assert_eq!(peer.take_written(), b""[..], "an answer is awaited");
    peer.receive(&[IAC, WILL, OWN]);
    peer.receive(b"peer off 201;");
    assert_eq!(peer.take_written(), [IAC, DONT, OWN][..]);
    peer.receive(b"peer on 201;");
    peer.receive(&[IAC, WONT, OWN]);
    assert_eq!(peer.take_written(), [IAC, DO, OWN][..], "what was wanted meanwhile");
    peer.receive(&[IAC, WONT, OWN]);
    peer.receive(b"local on 3;");
    assert_eq!(peer.take_written(), [IAC, WILL, SGA][..]);
    peer.receive(&[IAC, DO, SGA]);
    assert_eq!(peer.take_written(), b""[..]);
    let changes: Vec<_> =
        seen(peer.protocol()).into_iter().filter(|seen| !seen.contains(';')).collect();
    let own = "TelnetOption(201)";
    assert_eq!(
        changes,
        [format!("Peer {own} on"), format!("Peer {own} off"), "Local SUPPRESS-GO-AHEAD on".into()]
    );
}

#[test]
fn a_window_size_is_told_and_a_wrong_one_an_error() {
    let told = |size: &[u8]| [&[IAC, WILL, NAWS, IAC, SB, NAWS][..], size, &[IAC, SE]].concat();
    let run = |wire: &[u8]| replay_with(wire, || Telnet::server(Log::default()), seen);
    let (_, seen) = run(&told(&[0, 80, 0, 24]));
    assert_eq!(seen, ["Peer NAWS on", "window 80 x 24", "eof"]);
    let (_, seen) = run(&told(&[0, IAC, IAC, IAC, IAC, 0]));
    assert_eq!(seen, ["Peer NAWS on", "window 255 x 65280", "eof"]);
    let (transcript, _) = run(&told(&[0, 80, 0]));
    assert_eq!(transcript.ended, PROTOCOL_ERROR);
    // Who has not agreed to tell it has not told it.
    let (transcript, seen) = run(&[IAC, SB, NAWS, 0, 80, IAC, SE, b'a']);
    assert_eq!((seen, transcript.ended), (vec!["a".to_owned(), "eof".to_owned()], EOF));
}

#[test]
fn a_client_tells_its_window_size_with_255_doubled() {
    let mut settings = TelnetSettings::client();
    settings.window_size = Some((255, 24));
    let mut peer = Harness::new(Telnet::new(Log::default(), settings));
    peer.receive(&[IAC, DO, NAWS]);
    let size = [IAC, SB, NAWS, 0, IAC, IAC, 0, 24, IAC, SE];
    assert_eq!(peer.take_written(), [&[IAC, WILL, NAWS][..], &size].concat()[..]);
    peer.receive(b"window 65535 1;");
    let size = [IAC, SB, NAWS, IAC, IAC, IAC, IAC, 0, 1, IAC, SE];
    assert_eq!(peer.take_written(), size[..]);
    peer.receive(&[IAC, DONT, NAWS]);
    peer.receive(b"window 1 1;");
    assert_eq!(peer.take_written(), [IAC, WONT, NAWS][..], "nobody wants to know");
}

#[test]
fn a_client_tells_its_terminals_and_the_last_one_twice() {
    let mut settings = TelnetSettings::client();
    settings.terminal_types = ["xterm", "vt100"].map(Into::into).to_vec();
    let mut peer = Harness::new(Telnet::new(Log::default(), settings));
    let send = [IAC, SB, TTYPE, 1, IAC, SE];
    peer.receive(&send);
    assert_eq!(peer.take_written(), b""[..], "it has not been agreed on");
    peer.receive(&[IAC, DO, TTYPE]);
    assert_eq!(peer.take_written(), [IAC, WILL, TTYPE][..]);
    for name in ["xterm", "vt100", "vt100", "xterm", "vt100", "vt100", "xterm"] {
        peer.receive(&send);
        let is = [&[IAC, SB, TTYPE, 0][..], name.as_bytes(), &[IAC, SE]].concat();
        assert_eq!(peer.take_written(), is[..]);
    }
}

#[test]
fn a_server_asks_for_terminals_until_one_is_repeated() {
    let is = |name: &[u8]| [&[IAC, SB, TTYPE, 0][..], name, &[IAC, SE]].concat();
    let mut peer = Harness::new(Telnet::server(Log::default()));
    peer.receive(b"type;");
    assert_eq!(peer.take_written(), b""[..], "it has not been agreed on");
    peer.receive(&[IAC, WILL, TTYPE]);
    peer.receive(b"type;");
    let asked = [&[IAC, DO, TTYPE][..], &[IAC, SB, TTYPE, 1, IAC, SE]].concat();
    assert_eq!(peer.take_written(), asked[..]);
    for name in [&b"xterm"[..], b"vt\xff\xff", b"vt\xff\xff", b"xterm", b""] {
        peer.receive(&is(name));
    }
    let told: Vec<_> =
        seen(peer.protocol()).into_iter().filter(|seen| seen.starts_with("term")).collect();
    let expected = ["xterm false", r"vt\xff false", r"vt\xff true", "xterm false", " false"];
    assert_eq!(told, expected.map(|told| format!("terminal {told}")));
}

/// RFC 1091 allows for 40 characters.
#[test]
fn an_echo_keeps_no_more_of_a_terminals_name_than_it_may_have() {
    let mut peer = Harness::new(
        telnet_echo(TelnetEchoOptions::default())
            .unwrap()
            .build_protocol(Recorder::new().info())
            .unwrap(),
    );
    for (len, kept) in [(40, 40), (41, 40), (4000, 40)] {
        let name = vec![b'x'; len];
        peer.receive(&[IAC, WILL, TTYPE]);
        peer.receive(&[&[IAC, SB, TTYPE, 0], &name[..], &[IAC, SE]].concat());
        peer.take_written();
        peer.receive(b"/status\r\n");
        let told = format!("terminal {}, window not told\r\n", "x".repeat(kept));
        assert_eq!(peer.take_written(), told, "{len}");
    }
}

#[test]
fn other_options_say_what_they_like_once_they_are_on() {
    let mut settings = TelnetSettings::server();
    settings.peer.push(TelnetOption(OWN));
    let mut peer = Harness::new(Telnet::new(Log::default(), settings));
    let told = [&[IAC, SB, OWN][..], b"hello\xff\xff\r\n", &[IAC, SE]].concat();
    peer.receive(&told);
    assert_eq!(seen(peer.protocol()), [] as [&str; 0], "it has not been agreed on");
    peer.receive(&[IAC, WILL, OWN]);
    peer.receive(&told);
    peer.receive(b"say 201;");
    let answer = [&[IAC, DO, OWN, IAC, SB, OWN][..], b"say\xff\xff\n", &[IAC, SE]].concat();
    assert_eq!(peer.take_written(), answer[..]);
    let own = "TelnetOption(201)";
    let expected = [format!("Peer {own} on"), format!(r"{own}: hello\xff\r\n"), "say 201;".into()];
    assert_eq!(seen(peer.protocol()), expected);
}

#[test]
fn binary_holds_for_the_direction_that_has_it() {
    let mut settings = TelnetSettings::server();
    settings.peer.push(TelnetOption::BINARY);
    settings.local.push(TelnetOption::BINARY);
    let wire = b"a\r\0\xff\xfb\0b\r\n\xff\xfd\0c\r\n\xff\xfc\0d\r\n\xff\xff";
    let mut peer = Harness::new(Telnet::new(Plain(Echo), settings));
    peer.receive(wire);
    let written = b"a\r\n\xff\xfd\0b\r\n\xff\xfb\0c\r\n\xff\xfe\0d\n\xff\xff";
    assert_eq!(peer.take_written(), written[..]);
}

// What is written.

#[test]
fn what_is_written_is_text() {
    let cases: &[(&[&[u8]], &[u8])] = &[
        (&[b"plain"], b"plain"),
        (&[b"a\nb\r\nc\rd\r"], b"a\r\nb\r\nc\r\0d\r\0"),
        (&[b"\n\n\r\r\n"], b"\r\n\r\n\r\0\r\n"),
        (&[b"\xff\xff\n"], b"\xff\xff\xff\xff\r\n"),
        (&[b"a\r", b"", b"\nb"], b"a\r\nb"),
        (&[b"a\r", b"b"], b"a\r\0b"),
        (&[], b""),
    ];
    for (parts, wire) in cases {
        let mut peer = Harness::new(Telnet::server(Log::default()));
        peer.protocol_mut().get_mut().on_notify =
            Some(parts.iter().map(|part| part.to_vec()).collect());
        peer.notify();
        let whole = parts.concat();
        assert_eq!(peer.take_written(), wire.repeat(2)[..], "{whole:?}: in parts, and in place");
    }
}

#[test]
fn a_large_text_without_anything_special_is_not_copied() {
    let mut peer = Harness::new(Telnet::server(Log::default()));
    peer.receive(b"large;");
    assert_eq!(peer.take_written(), [b'x'; 100_000][..]);
    peer.receive(b"large lines;");
    assert_eq!(peer.take_written(), [&[b'x'; 100_000][..], b"\r\n"].concat()[..]);
}

// What callbacks do in the middle.

#[test]
fn leftovers_come_back_across_commands() {
    let wire = b"on\xff\xf1e\xff\xff;t\xff\xfd\xc9wo;th";
    let mut peer = Harness::new(Telnet::server(Log::default()));
    peer.receive(wire);
    let left = peer.leftover().to_vec();
    assert_eq!(left, b"th");
    let seen = seen(peer.protocol());
    assert_eq!(seen, ["NOP", r"one\xff;", "two;"]);
    let (transcript, _) = replay_with(wire, || Telnet::server(Log::default()), |_| ());
    assert_eq!(transcript.ended, EOF);
    // By default half a message at the end is an error.
    let (transcript, _) = replay_with(b"half", || Telnet::server(Lazy), |_| ());
    assert_eq!(transcript.ended, PROTOCOL_ERROR);
}

#[test]
fn nothing_is_delivered_during_a_pause() {
    let wire = b"a;\xff\xf1pause;b\xff\xfb\x1fc;\xff\xf1d;";
    for chunk_len in 1..=wire.len() {
        let mut peer = Harness::new(Telnet::server(Log::default()));
        for chunk in wire.chunks(chunk_len) {
            peer.receive(chunk);
        }
        peer.receive_eof();
        let before = ["a;", "NOP", "pause;"];
        assert_eq!(seen(peer.protocol()), before, "chunk_len={chunk_len}");
        assert_eq!(peer.take_written(), b""[..], "a word behind the pause is not read");
        peer.notify();
        let after = ["Peer NAWS on", "bc;", "NOP", "d;", "eof"];
        assert_eq!(seen(peer.protocol()), [&before[..], &after].concat(), "chunk_len={chunk_len}");
        assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
    }
}

#[test]
fn a_pause_may_come_with_a_command() {
    for (code, name) in [(244, "IP"), (243, "BRK")] {
        let wire = [&b"a"[..], &[IAC, code], b"b;"].concat();
        for chunk_len in 1..=wire.len() {
            let mut peer = Harness::new(Telnet::server(Log::default()));
            wire.chunks(chunk_len).for_each(|chunk| peer.receive(chunk));
            if code == 244 {
                assert_eq!(seen(peer.protocol()), [name]); // it pauses
                assert_eq!(peer.leftover()[..1], b"a"[..]);
                peer.notify();
            }
            assert_eq!(seen(peer.protocol()), [name, "ab;"], "chunk_len={chunk_len}");
        }
    }
}

#[test]
fn nothing_is_delivered_after_a_close() {
    let run = |wire: &[u8]| replay_with(wire, || Telnet::server(Log::default()), seen);
    let (transcript, seen) = run(b"a;close;b;\xff\xfd\x03");
    assert_eq!(seen, ["a;", "close;"]);
    assert_eq!(transcript.written, b"", "nor is a word answered");
    let (transcript, seen) = run(b"a;fail;b;");
    assert_eq!(seen, ["a;", "fail;"]);
    assert_eq!(transcript.ended, Some((Side::Local, CloseKind::Error)));
}

#[test]
fn a_switch_gives_the_wire_to_whoever_is_next() {
    let wire = b"a;switch;b\xff\xff\r\nc\xff\xf1d";
    for chunk_len in 1..=wire.len() {
        let mut peer = Harness::new(Telnet::server(Log::default()));
        let mut received = 0;
        for chunk in wire.chunks(chunk_len) {
            peer.receive(chunk);
            received += chunk.len();
            if peer.is_switched() {
                break;
            }
        }
        assert_eq!(seen(peer.protocol()), ["a;", "switch;"], "chunk_len={chunk_len}");
        let behind = &wire[b"a;switch;".len()..received];
        assert_eq!(peer.leftover(), behind, "chunk_len={chunk_len}");
    }
}

#[test]
fn errors_come_behind_what_was_right() {
    let wire = b"a;\xff\xf1b\xff\xfa\x18\xff\x01c";
    let (transcript, seen) = replay_with(wire, || Telnet::server(Log::default()), seen);
    assert_eq!(seen, ["a;", "NOP"]);
    assert_eq!(transcript.ended, PROTOCOL_ERROR);
    for cut in [&b"a;\xff"[..], b"a;\xff\xfb", b"a;\xff\xfa\x18abc\xff"] {
        let mut peer = Harness::new(Telnet::server(Log::default()));
        peer.receive(cut);
        peer.receive_eof();
        let len = cut.len() - 2;
        assert_eq!(
            peer.reason().unwrap().to_string(),
            format!(
                "protocol error by peer: input ended after {len} bytes of an unfinished message"
            )
        );
    }
}

#[test]
fn an_endless_subnegotiation_is_cut_off() {
    let mut peer = Harness::new(Telnet::server(Log::default()));
    peer.receive(&[IAC, SB, OWN]);
    let mut sent = 0;
    while peer.reason().is_none() && sent < 10_000 {
        peer.receive(&[b'x'; 100]);
        assert!(peer.leftover().len() <= 4096 + 3 + 100);
        sent += 100;
        if !peer.transport().wants_data() {
            peer.receive_eof();
        }
    }
    assert_eq!(sent, 4100);
    assert!(peer.reason().unwrap().to_string().contains("raise `max_subnegotiation`"));
}

#[test]
fn a_peer_that_asks_and_does_not_read_is_not_read_from() {
    let words = [IAC, DO, OWN].repeat(30_000);
    let mut peer = Harness::new(Telnet::server(Log::default()));
    peer.set_reading_peer(false);
    for _ in 0..10 {
        peer.receive(&words);
    }
    assert!(peer.transport().queued() <= 64 * 1024 + 3, "{}", peer.transport().queued());
    peer.set_reading_peer(true);
    assert_eq!(peer.take_written(), [IAC, WONT, OWN].repeat(300_000)[..]);
}

#[test]
fn are_you_there_is_answered() {
    let seen = replay(b"a\xff\xf6b", || Telnet::server(Plain(Echo))).written;
    assert_eq!(seen, b"a\r\n[yes]\r\nb");
}

// Lines.

#[test]
fn lines_come_out_of_telnet() {
    let wire = b"one\r\n\xff\xfd\x03tw\xff\xffo\r\0\r\nthree\n";
    let seen = replay(wire, || Telnet::server(Plain(Lines::new(Shout)))).written;
    assert_eq!(seen, b"ONE\r\n\xff\xfb\x03TW\xff\xffO\r\n\r\nTHREE\r\n");
}

/// What a protocol leaves, as others are to have their turn, comes before the command behind it.
#[test]
fn a_command_waits_for_lines_that_are_more_than_a_turn() {
    let mut peer = Harness::new(Telnet::server(Plain(Lines::new(Shout))));
    let lines = b"\r\n".repeat(3000);
    peer.receive(&[&lines[..], &[IAC, 246], b"\r\nl"].concat()); // AYT
    assert!(peer.take_written() == [&lines[..], b"\r\n[yes]\r\n\r\n"].concat());
    assert_eq!(peer.leftover(), b"l");
}

#[test]
fn what_lines_do_to_their_transport_holds() {
    let mut peer = Harness::new(Telnet::server(Plain(Lines::new(Shout))));
    peer.receive(b"one\r\nbye\r\ntwo\r\n");
    peer.receive_eof();
    assert_eq!(peer.take_written(), b"ONE\r\nBYE\r\n"[..]);
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Closed);
    let mut peer = Harness::new(Telnet::server(Plain(Lines::new(Shout))));
    peer.receive(b"one\r\ntw");
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::ProtocolError, "half a line");
    let mut peer = Harness::new(Telnet::server(Plain(Lines::new(Shout))));
    peer.drain();
    peer.receive_eof();
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Shutdown);
}

proptest! {
    /// What one side writes is what the other reads, in any pieces, between any commands; a server's
    /// lines end with CR LF to a client, and a client's with LF to a server.
    #[test]
    fn any_text_arrives_as_it_was(
        parts in vec(vec(prop::sample::select(&b"ab\n\xff\xf0\0"[..]), 0..20), 0..10),
        chunk_len in 1..40_usize,
    ) {
        let mut wire = Vec::new();
        for part in &parts {
            let mut sender = Harness::new(Telnet::client(Log::default()));
            sender.protocol_mut().get_mut().on_notify = Some(vec![part.clone()]);
            sender.notify();
            let sent = sender.take_written();
            wire.extend_from_slice(&sent[..sent.len() / 2]);
            wire.extend_from_slice(&[IAC, 241]);
        }
        for (role, newline) in [(Role::Server, &b"\n"[..]), (Role::Client, b"\r\n")] {
            let mut decoder = TelnetDecoder::new(role, MAX);
            let events = feed(&mut decoder, &wire, chunk_len).unwrap();
            let sent: Vec<u8> = parts.concat().iter().flat_map(|byte| match byte {
                b'\n' => newline.to_vec(),
                byte => vec![*byte],
            }).collect();
            prop_assert_eq!(text(&events), sent);
        }
    }
}

const MAX: usize = 40;
const EOF: Option<(Side, CloseKind)> = Some((Side::Peer, CloseKind::Eof));
const PROTOCOL_ERROR: Option<(Side, CloseKind)> = Some((Side::Peer, CloseKind::ProtocolError));

/// What a decoder finds, which is the same at every split.
#[track_caller]
fn decode(role: Role, binary: bool, wire: &[u8]) -> Result<Vec<TelnetEvent>, TelnetError> {
    let run = |chunk_len| {
        let mut decoder = TelnetDecoder::new(role, MAX);
        decoder.set_binary(binary);
        feed(&mut decoder, wire, chunk_len)
    };
    let at_once = run(wire.len().max(1));
    for chunk_len in 1..wire.len() {
        assert_eq!(run(chunk_len), at_once, "chunk_len={chunk_len}");
    }
    at_once
}

/// What it finds in pieces of a length, text that nothing stands between as one.
fn feed(
    decoder: &mut TelnetDecoder,
    wire: &[u8],
    chunk_len: usize,
) -> Result<Vec<TelnetEvent>, TelnetError> {
    let (mut events, mut data) = (Vec::new(), BytesMut::new());
    for chunk in wire.chunks(chunk_len) {
        data.extend_from_slice(chunk);
        while let Some(event) = decoder.next_event(&mut data)? {
            match (events.last_mut(), event) {
                (Some(TelnetEvent::Text(text)), TelnetEvent::Text(more)) => text.unsplit(more),
                (_, event) => events.push(event),
            }
        }
    }
    Ok(events)
}

fn text(events: &[TelnetEvent]) -> Vec<u8> {
    let texts = events.iter().map(|event| match event {
        TelnetEvent::Text(text) => &text[..],
        _ => b"",
    });
    texts.collect::<Vec<_>>().concat()
}

fn seen(telnet: &Telnet<Log>) -> Vec<String> {
    telnet.get_ref().seen.clone()
}

/// Notes what it sees, and does what messages say, which end with a semicolon. Those in which there is
/// none are taken at once, unless they begin a message.
#[derive(Clone, Debug, Default)]
struct Log {
    seen: Vec<String>,
    on_notify: Option<Vec<Vec<u8>>>,
}

impl TelnetProtocol for Log {
    async fn data_received(&mut self, t: &mut TelnetTransport<'_>, data: &mut BytesMut) -> Result {
        while t.wants_data()
            && let Some(end) = data.iter().position(|byte| *byte == b';')
        {
            let message = data.split_to(end + 1);
            self.seen.push(message.escape_ascii().to_string());
            self.obey(t, str::from_utf8(&message[..end]).unwrap_or_default())?;
        }
        Ok(())
    }

    async fn command_received(&mut self, t: &mut TelnetTransport<'_>, command: Command) -> Result {
        self.seen.push(format!("{command:?}"));
        if command == Command::INTERRUPT_PROCESS {
            t.pause_reading();
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
        assert_eq!(t.is_on(end, option), is_on);
        self.seen.push(format!("{end:?} {option:?} {}", if is_on { "on" } else { "off" }));
        Ok(())
    }

    async fn window_size(
        &mut self,
        _: &mut TelnetTransport<'_>,
        columns: u16,
        rows: u16,
    ) -> Result {
        self.seen.push(format!("window {columns} x {rows}"));
        Ok(())
    }

    async fn terminal_type(
        &mut self,
        _: &mut TelnetTransport<'_>,
        name: &[u8],
        repeated: bool,
    ) -> Result {
        self.seen.push(format!("terminal {} {repeated}", name.escape_ascii()));
        Ok(())
    }

    async fn subnegotiation_received(
        &mut self,
        _: &mut TelnetTransport<'_>,
        option: TelnetOption,
        payload: &[u8],
    ) -> Result {
        self.seen.push(format!("{option:?}: {}", payload.escape_ascii()));
        Ok(())
    }

    async fn notified(&mut self, t: &mut TelnetTransport<'_>) -> Result {
        if let Some(parts) = self.on_notify.take() {
            let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
            t.write_vectored(&parts);
            t.with_buffer(&mut |out| parts.iter().for_each(|part| out.extend_from_slice(part)));
        }
        t.resume_reading();
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut TelnetTransport<'_>, data: &mut BytesMut) -> Result {
        if !data.is_empty() {
            self.seen.push(data.escape_ascii().to_string());
        }
        self.seen.push("eof".into());
        t.close();
        Ok(())
    }
}

impl Log {
    fn obey(&mut self, t: &mut TelnetTransport<'_>, message: &str) -> Result {
        let words: Vec<&str> = message.split(' ').collect();
        let number = |at: usize| words[at].parse::<u16>();
        match words[..] {
            ["pause"] => t.pause_reading(),
            ["close"] => t.close(),
            ["switch"] => t.switch_to(Echo, Residue::Feed),
            ["fail"] => return Err("no disk".into()),
            ["type"] => t.ask_terminal_type(),
            ["window", _, _] => t.set_window_size(number(1)?, number(2)?),
            ["say", option] => t.send_subnegotiation(TelnetOption(option.parse()?), b"say\xff\n"),
            ["large"] => t.write_bytes(vec![b'x'; 100_000].into()),
            ["large", _] => t.write_bytes([&[b'x'; 100_000][..], b"\n"].concat().into()),
            [end @ ("local" | "peer"), wish, option] => {
                let end = if end == "local" { End::Local } else { End::Peer };
                t.request(end, TelnetOption(option.parse()?), wish == "on");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Waits for more than there is.
struct Lazy;

impl TelnetProtocol for Lazy {
    async fn data_received(&mut self, _: &mut TelnetTransport<'_>, _: &mut BytesMut) -> Result {
        Ok(())
    }
}

struct Shout;

impl LineProtocol for Shout {
    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        t.send_line(line.to_ascii_uppercase())?;
        if line == b"bye" {
            t.close();
        }
        Ok(())
    }
}
