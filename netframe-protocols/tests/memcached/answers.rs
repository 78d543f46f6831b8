//! What is answered: the bytes of each command and each mistake, whole and at every split.

use netframe_core::testing::{Transcript, replay};
use netframe_core::{CloseKind, Side};
use netframe_protocols::memcached::MemcachedOptions;

use super::{cache, client, connect};

/// Plays the lines of a dialogue to a new cache for each way to cut it: `>` is what the client sends,
/// `<` what it is answered, both with CR and LF behind it.
#[track_caller]
fn check(dialogue: &str) {
    let part = |mark: char| -> Vec<u8> {
        let lines = dialogue.lines().filter_map(|line| line.trim_start().strip_prefix(mark));
        lines
            .flat_map(|line| format!("{}\r\n", line.strip_prefix(' ').unwrap_or(line)).into_bytes())
            .collect()
    };
    let seen = replay(&part('>'), || connect(&cache(MemcachedOptions::default())));
    let written = String::from_utf8(seen.written).unwrap();
    assert_eq!(written, String::from_utf8(part('<')).unwrap());
    assert_eq!(seen.ended, Some((Side::Peer, CloseKind::Eof)));
}

/// As [`check`], of bytes that are not lines.
#[track_caller]
fn check_bytes(sent: &[u8], answer: &[u8]) -> Transcript {
    let seen = replay(sent, || connect(&cache(MemcachedOptions::default())));
    assert_eq!(seen.written.escape_ascii().to_string(), answer.escape_ascii().to_string());
    seen
}

#[test]
fn values_are_set_and_got() {
    check(
        "> set a 5 0 3
         > one
         < STORED
         > get a
         < VALUE a 5 3
         < one
         < END
         > set a 4294967295 0 0
         >
         < STORED
         > set b 0 0 5
         > t w\u{e9}
         < STORED
         > get a none b a
         < VALUE a 4294967295 0
         <
         < VALUE b 0 5
         < t w\u{e9}
         < VALUE a 4294967295 0
         <
         < END
         > get none
         < END",
    );
    // Any bytes, also those that end lines.
    check_bytes(
        b"set a 0 0 7\r\n\r\nEND\r\n\r\nget a\r\n",
        b"STORED\r\nVALUE a 0 7\r\n\r\nEND\r\n\r\nEND\r\n",
    );
    check(
        "> set \u{1}\u{10}\u{7f} 0 0 1\n> x\n< STORED\n> get \u{1}\u{10}\u{7f}\n< VALUE \u{1}\u{10}\u{7f} 0 1\n< x\n< END",
    );
    let all: Vec<u8> = (0..=255).collect();
    let sent = [&super::set("\u{fffd}", &all)[..], "get \u{fffd}\r\n".as_bytes()].concat();
    check_bytes(&sent, &[b"STORED\r\n", &super::value("\u{fffd}", &all)[..], b"END\r\n"].concat());
}

#[test]
fn values_are_stored_if_they_may_be() {
    check(
        "> replace a 0 0 1
         > x
         < NOT_STORED
         > append a 0 0 1
         > x
         < NOT_STORED
         > prepend a 0 0 1
         > x
         < NOT_STORED
         > add a 3 0 1
         > m
         < STORED
         > add a 4 0 1
         > x
         < NOT_STORED
         > append a 9 9 2
         > no
         < STORED
         > prepend a 9 9 2
         > kl
         < STORED
         > get a
         < VALUE a 3 5
         < klmno
         < END
         > replace a 8 0 1
         > r
         < STORED
         > get a
         < VALUE a 8 1
         < r
         < END",
    );
}

#[test]
fn a_value_is_changed_if_it_is_the_one_that_was_seen() {
    check(
        "> cas a 0 0 1 1
         > x
         < NOT_FOUND
         > set a 0 0 1
         > x
         < STORED
         > gets a
         < VALUE a 0 1 1
         < x
         < END
         > cas a 7 0 1 1
         > y
         < STORED
         > cas a 0 0 1 1
         > z
         < EXISTS
         > cas a 0 0 1 18446744073709551615
         > z
         < EXISTS
         > gets a none
         < VALUE a 7 1 2
         < y
         < END
         > touch a 0
         < TOUCHED
         > gats 0 a
         < VALUE a 7 1 2
         < y
         < END",
    );
    for line in ["cas a 0 0 1 x", "cas a 0 0 1 -1", "cas a 0 0 1 18446744073709551616"] {
        let sent = format!("{line}\r\n");
        check_bytes(sent.as_bytes(), b"CLIENT_ERROR bad command line format\r\n");
    }
}

#[test]
fn values_are_deleted_touched_and_flushed() {
    check(
        "> delete a
         < NOT_FOUND
         > touch a 0
         < NOT_FOUND
         > gat 0 a
         < END
         > set a 0 0 1
         > x
         < STORED
         > touch a 0
         < TOUCHED
         > gat 100 a
         < VALUE a 0 1
         < x
         < END
         > delete a
         < DELETED
         > get a
         < END
         > set a 0 0 1
         > x
         < STORED
         > delete a 0
         < DELETED
         > set a 0 0 1
         > x
         < STORED
         > flush_all
         < OK
         > get a
         < END
         > set a 0 0 1
         > x
         < STORED
         > touch a -1
         < TOUCHED
         > get a
         < END
         > set a 0 0 1
         > x
         < STORED
         > gat -1 a
         < VALUE a 0 1
         < x
         < END
         > get a
         < END
         > set a 0 -1 1
         > x
         < STORED
         > get a
         < END
         > set a 0 2592001 1
         > x
         < STORED
         > get a
         < END
         > set a 0 4102444800 1
         > x
         < STORED
         > get a
         < VALUE a 0 1
         < x
         < END
         > flush_all 0
         < OK
         > get a
         < END
         > flush_all -1
         < OK
         > flush_all x
         < CLIENT_ERROR invalid exptime argument",
    );
}

#[test]
fn numbers_are_counted() {
    check(
        "> incr n 1
         < NOT_FOUND
         > decr n 1
         < NOT_FOUND
         > set n 6 0 2
         > 10
         < STORED
         > incr n 5
         < 15
         > decr n 6
         < 9
         > get n
         < VALUE n 6 1
         < 9
         < END
         > decr n 10
         < 0
         > incr n 18446744073709551615
         < 18446744073709551615
         > incr n 2
         < 1
         > incr n 0
         < 1
         > decr n 18446744073709551615
         < 0
         > set n 0 0 3
         > 007
         < STORED
         > incr n 1
         < 8
         > incr n -1
         < CLIENT_ERROR invalid numeric delta argument
         > incr n 18446744073709551616
         < CLIENT_ERROR invalid numeric delta argument
         > decr n x
         < CLIENT_ERROR invalid numeric delta argument
         > set n 0 0 20
         > 18446744073709551616
         < STORED
         > incr n 1
         < CLIENT_ERROR cannot increment or decrement non-numeric value
         > set n 0 0 2
         > -1
         < STORED
         > decr n 1
         < CLIENT_ERROR cannot increment or decrement non-numeric value
         > set n 0 0 0
         >
         < STORED
         > incr n 1
         < CLIENT_ERROR cannot increment or decrement non-numeric value",
    );
}

#[test]
fn who_wants_no_answer_gets_none() {
    check(
        "> set a 0 0 1 noreply
         > x
         > add a 0 0 1 noreply
         > y
         > replace a 0 0 1 noreply
         > 1
         > append a 0 0 1 noreply
         > 2
         > prepend a 0 0 1 noreply
         > 3
         > cas a 0 0 1 99 noreply
         > z
         > incr a 1 noreply
         > decr a 11 noreply
         > touch a 0 noreply
         > verbosity 1 noreply
         > verbosity noreply
         > get a
         < VALUE a 0 3
         < 302
         < END
         > incr none 1 noreply
         > delete none noreply
         > delete a 0 noreply
         > get a
         < END
         > flush_all noreply
         > flush_all 0 noreply
         > set a x 0 1 noreply
         > delete a b noreply
         > incr a x noreply
         > touch a x noreply
         > flush_all x noreply
         > verbosity x noreply
         > get noreply
         < END",
    );
}

/// What comes last is a key here, whoever has called it so.
#[test]
fn a_key_is_no_wish_for_silence() {
    check(
        "> set noreply 0 0 1
         > x
         < STORED
         > delete noreply
         < DELETED
         > delete noreply
         < NOT_FOUND
         > delete noreply noreply
         > delete noreply 0
         < NOT_FOUND
         > get noreply
         < END",
    );
}

#[test]
fn mistakes_are_told_in_the_words_of_memcached() {
    for line in [
        "",
        " ",
        "foo",
        "GET a",
        "get",
        "gets",
        "gat",
        "gats",
        "set",
        "set a 0 0",
        "set a 0 0 1 x y",
        "cas a 0 0 1",
        "cas a 0 0 1 1 x y",
        "add a 0 0 1 noreply x",
        "delete",
        "delete a 0 x y",
        "incr",
        "incr a",
        "incr a 1 x y",
        "decr a",
        "touch",
        "touch a",
        "touch a 0 x y",
        "flush_all 0 x y",
        "verbosity",
        "verbosity 1 2 3",
        "stats foo",
        "stats foo bar",
        "stats noreply",
        "set a b noreply",
        "mg a",
        "shutdown",
        "a b c d e f g h",
    ] {
        check(&format!("> {line}\n< ERROR\n> version\n< {}", version()));
    }
    for line in [
        "set a -1 0 1",
        "set a 4294967296 0 1",
        "set a x 0 1",
        "set a 0 x 1",
        "set a 0 1.5 1",
        "set a 0 0 -1",
        "set a 0 0 x",
        "set a 0 0 +1",
        "set a 0 0 2147483646",
        "set a 0 0 4294967297",
        "set a\tb 0 0 1",
        "get a\tb",
        "get a b\u{0}",
        "get a b\u{c}",
        "verbosity x",
        "gats 0 a\u{b}",
    ] {
        check(&format!("> {line}\n< CLIENT_ERROR bad command line format\n> get a\n< END"));
    }
    for line in ["touch a x", "gat x a", "gat 1.5 a", "flush_all x", "touch a --1"] {
        check(&format!("> {line}\n< CLIENT_ERROR invalid exptime argument"));
    }
    let usage = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]";
    for line in ["delete a 1", "delete a x", "delete a 0 x", "delete a noreply x"] {
        check(&format!("> {line}\n< {usage}"));
    }
}

fn version() -> String {
    format!("VERSION 1.5.22-netframe-{}", env!("CARGO_PKG_VERSION"))
}

#[test]
fn the_rest_is_answered() {
    check(&format!("> version\n< {0}\n> version foo\n< ERROR", version()));
    check("> verbosity 1\n< OK\n> verbosity 1 x\n< OK");
    check("> stats reset\n< RESET\n> stats items\n< END\n> stats slabs\n< END");
    check(
        "> stats settings
         < STAT maxbytes 67108864
         < STAT item_size_max 1048576
         < STAT evictions on
         < STAT cas_enabled yes
         < STAT flush_enabled yes
         < STAT binding_protocol ascii
         < STAT auth_enabled_sasl no
         < END",
    );
    check("> touch a 0 x\n< NOT_FOUND\n> flush_all 0 x\n< OK\n> gat 0\n< END");
}

#[test]
fn spaces_and_line_ends_may_be_more_or_fewer() {
    check_bytes(
        b"set  a  0  0 1  \r\nx\r\n  get   a  \r\n",
        b"STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
    );
    check_bytes(b"set a 0 0 1\nx\r\nget a\n", b"STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
    check_bytes(
        b"get a\rb\r\nget a\r\r\n",
        b"CLIENT_ERROR bad command line format\r\n".repeat(2).as_slice(),
    );
}

#[test]
fn a_key_has_250_bytes_and_no_more() {
    for (len, good) in [(249, true), (250, true), (251, false), (400, false)] {
        let key = "k".repeat(len);
        let told = |answer: &str| {
            let refusal = "CLIENT_ERROR bad command line format";
            if good { answer.to_owned() } else { refusal.to_owned() }
        };
        check(&format!("> get {key}\n< {}", told("END")));
        check(&format!("> get a {key} b\n< {}", told("END")));
        check(&format!("> gat 0 {key}\n< {}", told("END")));
        check(&format!("> delete {key}\n< {}", told("NOT_FOUND")));
        check(&format!("> incr {key} 1\n< {}", told("NOT_FOUND")));
        check(&format!("> touch {key} 1\n< {}", told("NOT_FOUND")));
        // A refused line is all that is taken: what comes behind it is read as a line.
        let second = if good { "" } else { "\n< ERROR" };
        check(&format!("> set {key} 0 0 1\n> x\n< {}{second}", told("STORED")));
    }
}

#[test]
fn a_value_whose_end_is_wrong_is_not_stored_and_what_was_there_stays() {
    let before = b"set a 0 0 3\r\nold\r\n";
    let check = |sent: &[u8], answer: &[u8]| {
        let after = b"get a\r\n";
        let value = b"VALUE a 0 3\r\nold\r\nEND\r\n";
        check_bytes(&[before, sent, after].concat(), &[b"STORED\r\n", answer, value].concat());
    };
    check(b"set a 0 0 1\r\nxyz", b"CLIENT_ERROR bad data chunk\r\n");
    check(b"set a 0 0 1\r\nxy\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\n");
    check(b"set a 0 0 1 noreply\r\nxy\r\n", b"ERROR\r\n");
    check(b"append a 0 0 1\r\nx\n\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\n");
    check(b"set a 0 0 4\r\nx\r\nversion\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\n");
}

#[test]
fn a_value_that_is_too_large_is_read_over_and_what_was_there_is_gone() {
    let mut options = MemcachedOptions::default();
    options.max_value = 10;
    let cache = |sent: &[u8]| {
        let seen = replay(sent, || connect(&cache(options.clone())));
        String::from_utf8(seen.written).unwrap()
    };
    let refusal = "SERVER_ERROR object too large for cache\r\n";
    let old = "set a 0 0 3\r\nold\r\n";
    let new = "12345678901\r\nget a\r\n";
    let kept = "VALUE a 0 3\r\nold\r\nEND\r\n";
    let sent = |line: &str| format!("{old}{line}\r\n{new}");
    let ask = |line: &str| cache(sent(line).as_bytes());
    assert_eq!(ask("set a 0 0 11"), format!("STORED\r\n{refusal}END\r\n"));
    assert_eq!(ask("set a 0 0 11 noreply"), "STORED\r\nEND\r\n");
    for how in ["add", "replace", "append", "prepend"] {
        assert_eq!(ask(&format!("{how} a 0 0 11")), format!("STORED\r\n{refusal}{kept}"));
    }
    assert_eq!(ask("cas a 0 0 11 1"), format!("STORED\r\n{refusal}{kept}"));
    // Just so large it is taken; and by parts it may not become larger.
    let sent = "set a 0 0 10\r\n1234567890\r\nappend a 0 0 1\r\nx\r\nprepend a 0 0 1\r\nx\r\n\
                append a 0 0 0\r\n\r\nget a\r\n";
    let answer =
        "STORED\r\nNOT_STORED\r\nNOT_STORED\r\nSTORED\r\nVALUE a 0 10\r\n1234567890\r\nEND\r\n";
    assert_eq!(cache(sent.as_bytes()), answer);
}

#[test]
fn who_quits_is_answered_before_and_not_behind() {
    let seen = check_bytes(b"get a\r\nquit\r\nget a\r\n", b"END\r\n");
    assert_eq!(seen.ended, Some((Side::Local, CloseKind::Closed)));
    check_bytes(b"quit foo\r\nget a\r\n", b"ERROR\r\nEND\r\n");
}

#[test]
fn what_is_no_text_ends_the_connection() {
    let refusal = b"CLIENT_ERROR the binary protocol is not served; use the text protocol\r\n";
    for first in [0x80, 0x81] {
        let seen = check_bytes(&[&[first][..], &[0; 23]].concat(), refusal);
        assert_eq!(seen.ended, Some((Side::Peer, CloseKind::ProtocolError)));
    }
    let seen = check_bytes(b"get a\r\n\x80\0\0\0get a\r\n", &[&b"END\r\n"[..], refusal].concat());
    assert_eq!(seen.ended, Some((Side::Peer, CloseKind::ProtocolError)));
    let mut client = client();
    client.receive(b"\x80");
    client.receive_eof();
    assert_eq!(
        client.reason().unwrap().to_string(),
        "protocol error by peer: the client speaks the binary protocol, which is not served; have it \
         use the text protocol"
    );
}

#[test]
fn the_end_of_input_inside_a_command_is_an_error() {
    for sent in [
        &b"ge"[..],
        b"get a\r",
        b"set a 0 0 3\r\n",
        b"set a 0 0 3\r\nabc\r",
        b"set a 0 0 9999999\r\nx",
    ] {
        let refused = b"SERVER_ERROR object too large for cache\r\n";
        let answer = if sent.ends_with(b"9\r\nx") { &refused[..] } else { b"" };
        let seen = check_bytes(sent, answer);
        assert_eq!(
            seen.ended,
            Some((Side::Peer, CloseKind::ProtocolError)),
            "{}",
            sent.escape_ascii()
        );
    }
}
