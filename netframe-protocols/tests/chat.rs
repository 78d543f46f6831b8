//! The chat without a network: commands and their errors, names, rooms, history, what terminals are
//! shown, members that do not read, and endings.

use std::collections::HashMap;

use netframe_core::testing::{Harness, Recorder, Transcript, replay};
use netframe_core::{CloseKind, Factory, Side, Transport};
use netframe_protocols::chat::{Chat, ChatOptions, ChatPolicy, chat};
use netframe_protocols::line::Lines;
use proptest::collection::vec;
use proptest::prelude::*;

const WELCOME: &str = "* welcome; type a nickname to come in\n";
const ALONE: &str = "* you are in lobby, with nobody else; /help lists the commands\n";
const ONE_OTHER: &str = "* you are in lobby, with 1 other; /help lists the commands\n";
const BAD_NAME: &str = "! a name has 1 to 32 characters, without spaces; try another name\n";

#[test]
fn two_members_talk() {
    let service = Service::default();
    let mut alice = service.connect();
    assert_eq!(alice.says(""), WELCOME);
    assert_eq!(alice.says("alice\n"), ALONE);
    let mut bob = service.connect();
    assert_eq!(bob.says("bob\n"), format!("{WELCOME}{ONE_OTHER}"));
    assert_eq!(alice.hears(), "* bob joined\n");
    assert_eq!(bob.says("hello, alice\n"), "", "he has typed it already");
    assert_eq!(alice.hears(), "bob: hello, alice\n");
    assert_eq!(alice.says("\nhi\n\n"), "");
    assert_eq!(bob.hears(), "alice: hi\n", "an empty line says nothing");
}

#[test]
fn a_whole_visit_is_the_same_however_its_bytes_are_cut() {
    check(
        b"alice\nhello\n/who\n/quit\nmore",
        &format!("{WELCOME}{ALONE}* in lobby: alice\n* goodbye\n"),
        (Side::Local, CloseKind::Closed),
    );
    check(
        b"/nick alice\r\n/join Tea\r\n/rooms\r\n",
        &format!(
            "{WELCOME}{ALONE}\
             * you are in Tea, with nobody else; /help lists the commands\n\
             * rooms: lobby (0), Tea (1)\n"
        ),
        (Side::Peer, CloseKind::Eof),
    );
    check(
        b"/help\n/who\n/rooms\n/join tea\n/wat\n\n/quit\n",
        &format!(
            "{WELCOME}\
             * /nick NAME, /join ROOM, /rooms, /who, /help, /quit; any other line is said\n\
             ! first type a nickname\n! first type a nickname\n! first type a nickname\n\
             ! there is no command /wat; /help lists them\n\
             * goodbye\n"
        ),
        (Side::Local, CloseKind::Closed),
    );
}

#[test]
fn commands_that_cannot_be_done_say_why() {
    let service = Service::default();
    let mut alice = service.member("alice");
    for (line, answer) in [
        ("/wat now\n", "! there is no command /wat; /help lists them\n"),
        ("/\n", "! there is no command /; /help lists them\n"),
        ("/HELP\n", "! there is no command /HELP; /help lists them\n"),
        ("/\x1b[2J\n", "! there is no command /?[2J; /help lists them\n"),
        ("/nick\n", BAD_NAME),
        ("/nick a b\n", BAD_NAME),
        ("/nick alice\n", "! you are alice already\n"),
        ("/join\n", BAD_NAME),
        ("/join a b\n", BAD_NAME),
        ("/join LOBBY\n", "! you are in lobby already\n"),
    ] {
        assert_eq!(alice.says(line), answer, "{line:?}");
    }
}

#[test]
fn a_name_that_cannot_be_gets_another_try() {
    let service = Service::default();
    let _alice = service.member("alice");
    let mut other = service.connect();
    assert_eq!(other.says(""), WELCOME);
    for name in ["two words", "bell\x07", "\x1b[2J", "al\u{200b}ice", &"x".repeat(33)] {
        assert_eq!(other.says(&format!("{name}\n")), BAD_NAME, "{name:?}");
    }
    other.peer.receive(b"\xff\xfe\n");
    assert_eq!(other.hears(), BAD_NAME);
    assert_eq!(other.says("ALICE\n"), "! ALICE is taken; try another name\n");
    assert_eq!(other.says("/nick alice\n"), "! alice is taken; try another name\n");
    assert_eq!(other.says(&format!("  {}\t\r\n", "x".repeat(32))), ONE_OTHER);
}

#[test]
fn a_new_name_is_told_and_the_old_one_is_free() {
    let service = Service::default();
    let (mut alice, mut bob) = (service.member("alice"), service.member("bob"));
    alice.hears();
    assert_eq!(alice.says("/nick bob\n"), "! bob is taken; try another name\n");
    assert_eq!(alice.says("/nick Alice\n"), "* you are now Alice\n");
    assert_eq!(alice.says("/nick carol\n"), "* you are now carol\n");
    alice.says("hello\n");
    assert_eq!(bob.hears(), "* alice is now Alice\n* Alice is now carol\ncarol: hello\n");
    assert_eq!(bob.says("/nick alice\n"), "* you are now alice\n");
    assert_eq!(bob.says("/who\n"), "* in lobby: carol, alice\n");
}

#[test]
fn the_name_of_who_left_is_free() {
    let service = Service::default();
    let mut bob = service.member("bob");
    for leave in [Peer::quit, Peer::end, Peer::reset] {
        let mut alice = service.member("alice");
        assert_eq!(bob.hears(), "* alice joined\n");
        leave(&mut alice);
        assert_eq!(bob.hears(), "* alice left\n");
        assert!(!alice.hears().contains("left"), "who leaves is not told");
    }
    assert_eq!(bob.says("/who\n"), "* in lobby: bob\n");
}

#[test]
fn who_never_came_in_does_not_leave() {
    let service = Service::default();
    let mut bob = service.member("bob");
    service.connect().end();
    assert_eq!(bob.hears(), "");
}

#[test]
fn rooms_keep_to_themselves_and_go_with_their_last_member() {
    let service = Service::default();
    let (mut alice, mut bob) = (service.member("alice"), service.member("bob"));
    let in_tea = |others| format!("* you are in tea, {others}; /help lists the commands\n");
    assert_eq!(alice.says("/join tea\n"), format!("* bob joined\n{}", in_tea("with nobody else")));
    assert_eq!(bob.hears(), "* alice left\n");
    alice.says("anybody?\n");
    assert_eq!(bob.hears(), "");
    assert_eq!(bob.says("/rooms\n"), "* rooms: lobby (1), tea (1)\n");
    assert_eq!(
        bob.says("/join TEA\n"),
        format!("alice: anybody?\n{}", in_tea("with 1 other")),
        "the name of a room is as its first member wrote it"
    );
    assert_eq!(alice.hears(), "* bob joined\n");
    alice.quit();
    assert_eq!(bob.says("/rooms\n"), "* alice left\n* rooms: lobby (0), tea (1)\n");
    bob.says("/join lobby\n");
    assert_eq!(bob.says("/rooms\n"), "* rooms: lobby (1)\n");
    assert_eq!(bob.says("/join tea\n"), in_tea("with nobody else"), "what was said is gone too");
}

#[test]
fn rooms_are_bounded() {
    for max_rooms in [1, 3] {
        let service = Service::new(|options| options.max_rooms = max_rooms);
        let mut members: Vec<_> =
            (0..max_rooms).map(|i| service.member(&format!("m{i}"))).collect();
        for (i, member) in members.iter_mut().enumerate().skip(1) {
            assert!(member.says(&format!("/join r{i}\n")).contains("you are in r"));
        }
        let refusal = "! there are too many rooms; /rooms lists them\n";
        members[0].hears();
        assert_eq!(members[0].says("/join more\n"), refusal);
        assert!(members[0].says("/who\n").starts_with("* in lobby: m0"), "who is refused stays");
    }
}

#[test]
fn newcomers_see_the_last_lines() {
    for (history, said, seen) in [(0, 2, 0..0), (3, 2, 0..2), (3, 3, 0..3), (3, 4, 1..4)] {
        let service = Service::new(|options| options.history = history);
        let mut alice = service.member("alice");
        for i in 0..said {
            alice.says(&format!("line {i}\n"));
        }
        let mut bob = service.connect();
        let lines: String = seen.map(|i| format!("alice: line {i}\n")).collect();
        assert_eq!(bob.says("bob\n"), format!("{WELCOME}{lines}{ONE_OTHER}"));
    }
}

#[test]
fn a_history_above_the_hard_cap_is_still_whole() {
    let service = Service::new(|options| options.max_length = 50_000);
    let mut alice = service.member("alice");
    let long = "x".repeat(50_000);
    for _ in 0..50 {
        alice.says(&format!("{long}\n"));
    }
    let mut bob = service.member("bob");
    assert_eq!(bob.peer.reason().map(ToString::to_string), None);
    alice.says("still here?\n");
    assert_eq!(bob.hears(), "alice: still here?\n");
}

#[test]
fn nobody_is_shown_what_a_terminal_obeys() {
    let service = Service::default();
    let (mut alice, mut bob) = (service.member("alice"), service.member("bob"));
    alice.peer.receive(b"\x1b[2J\x07 100 %\r* bob left\r\n");
    assert_eq!(bob.hears(), "alice: ?[2J? 100 %?* bob left\n");
    alice.peer.receive("\u{202e}tab\there Zoë\n".as_bytes());
    assert_eq!(bob.hears(), "alice: ?tab here Zoë\n");
    alice.peer.receive(b"a\xff\xfe\xe2\x82b\n");
    assert_eq!(bob.hears(), "alice: a???b\n");
    assert_eq!(service.connect().says("carol\n").lines().count(), 5, "history is as it was said");
}

#[test]
fn a_line_may_have_the_limit_and_no_more() {
    for (len, said) in [(999, true), (1000, true), (1001, false)] {
        let service = Service::default();
        let (mut alice, mut bob) = (service.member("alice"), service.member("bob"));
        alice.says(&format!("{}\n", "x".repeat(len)));
        assert_eq!(bob.hears().len(), if said { "alice: \n".len() + len } else { 0 }, "{len}");
        alice.peer.receive_eof();
        assert_eq!(bob.hears(), "* alice left\n");
        let kind = if said { CloseKind::Eof } else { CloseKind::ProtocolError };
        assert_eq!(alice.peer.reason().unwrap().kind(), kind);
    }
}

#[test]
fn half_a_line_is_not_said() {
    let service = Service::default();
    let (mut alice, mut bob) = (service.member("alice"), service.member("bob"));
    alice.says("hel");
    alice.end();
    assert_eq!(bob.hears(), "* alice left\n");
    assert_eq!(alice.peer.reason().unwrap().kind(), CloseKind::ProtocolError);
}

#[test]
fn long_lists_end_with_a_count() {
    let service = Service::new(|options| options.max_rooms = 1000);
    let mut members: Vec<_> = (0..101).map(|i| service.member(&format!("m{i}"))).collect();
    members[0].hears();
    let who = members[0].says("/who\n");
    assert!(who.starts_with("* in lobby: m0, m1, ") && who.ends_with(", m99 and 1 more\n"));
    for (i, member) in members.iter_mut().enumerate().skip(1) {
        member.says(&format!("/join r{i}\n"));
    }
    members[0].hears();
    assert!(members[0].says("/rooms\n").ends_with(" (1) and 1 more\n"));
}

#[test]
fn who_reads_again_is_told_what_was_missed() {
    for policy in [ChatPolicy::DropOldest, ChatPolicy::DropNewest] {
        let service = Service::new(|options| {
            (options.max_backlog, options.policy) = (2000, policy);
        });
        let (mut alice, mut bob) = (service.member("alice"), service.member("bob"));
        for lines in [200, 300] {
            bob.peer.set_reading_peer(false);
            for i in 0..lines {
                alice.says(&format!("{i} {}\n", "x".repeat(900)));
            }
            bob.peer.settle();
            bob.peer.set_reading_peer(true);
            let heard = bob.hears();
            let (heard, told) = heard.split_once("* you missed ").unwrap();
            let missed = lines - heard.lines().count();
            assert!(missed > 100 && told == format!("{missed} lines\n"), "{policy:?}: {told}");
            let numbers = heard.lines().map(|line| line.split(' ').nth(1).unwrap().parse());
            let numbers: Vec<usize> = numbers.map(Result::unwrap).collect();
            assert!(numbers.is_sorted());
            assert_eq!(numbers.contains(&(lines - 1)), policy == ChatPolicy::DropOldest);
            bob.peer.settle();
            assert_eq!(bob.hears(), "", "it is told once");
        }
    }
}

#[test]
fn a_slow_member_may_be_disconnected() {
    let service = Service::new(|options| {
        options.max_backlog = 64 * 1024;
        options.policy = ChatPolicy::Disconnect;
    });
    let (mut alice, mut bob) = (service.member("alice"), service.member("bob"));
    bob.peer.set_reading_peer(false);
    let mut said = 0;
    while alice.hears() != "* bob left\n" {
        alice.says(&format!("{}\n", "x".repeat(900)));
        bob.peer.settle();
        said += 1;
        assert!(said < 1000, "it is never full");
    }
    assert!(said > 100, "the queue and the backlog have 128 KiB");
    assert_eq!(bob.peer.reason().unwrap().kind(), CloseKind::Overflow);
}

#[test]
fn who_does_not_read_is_not_heard() {
    let service = Service::default();
    let (mut alice, mut bob) = (service.member("alice"), service.member("bob"));
    bob.peer.set_reading_peer(false);
    for _ in 0..100 {
        alice.says(&format!("{}\n", "x".repeat(900)));
    }
    bob.peer.receive(b"hello\n");
    assert_eq!(alice.hears(), "");
    bob.peer.set_reading_peer(true);
    assert_eq!(alice.hears(), "bob: hello\n");
}

#[test]
fn a_drain_is_told_and_leavings_are_not() {
    let service = Service::default();
    let mut members: Vec<_> = (0..10).map(|i| service.member(&format!("m{i}"))).collect();
    let mut unnamed = service.connect();
    unnamed.hears();
    members[0].says("last words\n/wh");
    for member in &mut members {
        member.hears();
        member.peer.drain();
    }
    unnamed.peer.drain();
    for member in members.iter_mut().chain([&mut unnamed]) {
        assert_eq!(member.hears(), "* the server is stopping\n");
        member.peer.receive_eof();
        assert_eq!(member.peer.reason().unwrap().kind(), CloseKind::Closed);
    }
}

#[test]
fn impossible_options_make_no_chat() {
    let mut options = ChatOptions::default();
    options.max_rooms = 0;
    let error = chat(options).err().unwrap();
    assert_eq!(error.to_string(), "`max_rooms` is 0; set at least 1, for the lobby");
}

proptest! {
    /// Whatever three members do, each sees what a plain model of the chat says.
    #[test]
    fn any_visit_is_as_in_a_model(
        steps in vec((0..3_usize, any::<Step>()), 0..60),
        history in 0..4_usize,
    ) {
        let service = Service::new(|options| (options.history, options.max_rooms) = (history, 2));
        let mut peers: Vec<_> = (0..3).map(|i| service.member(&format!("m{i}"))).collect();
        for peer in &mut peers {
            peer.hears();
        }
        let mut model = Model::new(history);
        for (number, (who, step)) in steps.into_iter().enumerate() {
            let line = match step {
                Step::Say => format!("{number}\n"),
                Step::Join(room) => format!("/join {}\n", ROOMS[room]),
                Step::Nick(name) => format!("/nick {}\n", NAMES[name]),
            };
            peers[who].peer.receive(line.as_bytes());
            model.step(who, step, number);
            for (peer, seen) in peers.iter_mut().zip(&mut model.seen) {
                prop_assert_eq!(peer.hears(), std::mem::take(seen));
            }
        }
    }
}

const ROOMS: [&str; 3] = ["lobby", "tea", "coffee"];
const NAMES: [&str; 4] = ["m0", "m1", "alice", "bob"];

#[derive(Clone, Copy, Debug)]
enum Step {
    Say,
    Join(usize),
    Nick(usize),
}

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let (rooms, names) = (0..ROOMS.len(), 0..NAMES.len());
        prop_oneof![Just(Self::Say), rooms.prop_map(Self::Join), names.prop_map(Self::Nick)].boxed()
    }
}

/// A chat of two rooms at most, without any wire.
struct Model {
    history: usize,
    said: HashMap<&'static str, Vec<String>>,
    /// Name and room of each.
    members: Vec<(String, &'static str)>,
    /// What each is to see.
    seen: [String; 3],
}

impl Model {
    fn new(history: usize) -> Self {
        let members = (0..3).map(|i| (format!("m{i}"), "lobby")).collect();
        Self { history, said: HashMap::new(), members, seen: Default::default() }
    }

    fn step(&mut self, who: usize, step: Step, number: usize) {
        let (name, room) = self.members[who].clone();
        match step {
            Step::Say => {
                let line = format!("{name}: {number}\n");
                self.tell_others(who, &line);
                self.said.entry(room).or_default().push(line);
            }
            Step::Join(to) if ROOMS[to] == room => {
                self.seen[who] += &format!("! you are in {room} already\n");
            }
            Step::Join(to)
                if to != 0
                    && self.members.iter().any(|(_, r)| *r != "lobby" && *r != ROOMS[to]) =>
            {
                self.seen[who] += "! there are too many rooms; /rooms lists them\n";
            }
            Step::Join(to) => {
                self.tell_others(who, &format!("* {name} left\n"));
                self.members[who].1 = ROOMS[to];
                if room != "lobby" && !self.members.iter().any(|(_, other)| *other == room) {
                    self.said.remove(room);
                }
                self.tell_others(who, &format!("* {name} joined\n"));
                let said = self.said.entry(ROOMS[to]).or_default();
                let others = match self.members.iter().filter(|(_, r)| *r == ROOMS[to]).count() {
                    1 => "with nobody else",
                    2 => "with 1 other",
                    _ => "with 2 others",
                };
                let kept = said[said.len().saturating_sub(self.history)..].concat();
                let help = "/help lists the commands";
                self.seen[who] += &format!("{kept}* you are in {}, {others}; {help}\n", ROOMS[to]);
            }
            Step::Nick(new) if NAMES[new] == name => {
                self.seen[who] += &format!("! you are {name} already\n");
            }
            Step::Nick(new) => {
                let new = NAMES[new];
                if self.members.iter().any(|(other, _)| *other == new) {
                    self.seen[who] += &format!("! {new} is taken; try another name\n");
                    return;
                }
                self.tell_others(who, &format!("* {name} is now {new}\n"));
                self.members[who].0 = new.to_owned();
                self.seen[who] += &format!("* you are now {new}\n");
            }
        }
    }

    fn tell_others(&mut self, who: usize, line: &str) {
        for other in (0..3).filter(|other| *other != who) {
            if self.members[other].1 == self.members[who].1 {
                self.seen[other] += line;
            }
        }
    }
}

/// One chat, and a way into it.
struct Service(Box<dyn Fn() -> Lines<Chat>>);

impl Default for Service {
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl Service {
    fn new(change: impl FnOnce(&mut ChatOptions)) -> Self {
        let mut options = ChatOptions::default();
        change(&mut options);
        let factory = chat(options).expect("no test has an impossible option");
        Self(Box::new(move || {
            factory.build_protocol(Recorder::new().info()).expect("nobody is refused")
        }))
    }

    fn connect(&self) -> Peer {
        Peer { peer: Harness::new((self.0)()) }
    }

    /// Somebody in the lobby who has read all so far.
    fn member(&self, name: &str) -> Peer {
        let mut peer = self.connect();
        peer.says(&format!("{name}\n"));
        peer
    }
}

/// A connection of the chat, with the test at its other end.
struct Peer {
    peer: Harness<Lines<Chat>>,
}

impl Peer {
    /// Types `text`, and returns what is seen then.
    fn says(&mut self, text: &str) -> String {
        self.peer.receive(text.as_bytes());
        self.hears()
    }

    /// What is seen since the last time.
    fn hears(&mut self) -> String {
        self.peer.settle();
        String::from_utf8(self.peer.take_written().to_vec()).expect("a chat writes UTF-8")
    }

    fn quit(&mut self) {
        self.peer.receive(b"/quit\n");
    }

    fn end(&mut self) {
        self.peer.receive_eof();
    }

    fn reset(&mut self) {
        self.peer.receive_reset();
    }
}

/// Replays `wire` and its end at every split, each time in a chat of its own.
#[track_caller]
fn check(wire: &[u8], written: &str, ended: (Side, CloseKind)) {
    let Transcript { written: seen, ended: how, .. } = replay(wire, || (Service::default().0)());
    assert_eq!(String::from_utf8_lossy(&seen), written);
    assert_eq!(how, Some(ended));
}
