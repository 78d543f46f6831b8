use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ALL: [State; 6] = [No, Yes, WantNo, WantNoOpposite, WantYes, WantYesOpposite];

/// RFC 1143, section 7, "the Q method": what a state becomes and what is sent, for WILL where it is
/// agreed to and where it is not, and for WONT.
#[test]
fn words_are_taken_as_the_rfc_says() {
    let (yes, no) = (Some(true), Some(false));
    let table = [
        // state, WILL and agreed, WILL and not agreed, WONT
        (No, (Yes, yes), (No, no), (No, None)),
        (Yes, (Yes, None), (Yes, None), (No, no)),
        (WantNo, (No, None), (No, None), (No, None)),
        (WantNoOpposite, (Yes, None), (Yes, None), (WantYes, yes)),
        (WantYes, (Yes, None), (Yes, None), (No, None)),
        (WantYesOpposite, (WantNo, no), (WantNo, no), (No, None)),
    ];
    assert_eq!(table.map(|row| row.0), ALL);
    for (state, agreed, refused, off) in table {
        assert_eq!(state.receive(true, true), agreed, "{state:?}: WILL, agreed to");
        assert_eq!(state.receive(true, false), refused, "{state:?}: WILL, not agreed to");
        for agree in [false, true] {
            assert_eq!(state.receive(false, agree), off, "{state:?}: WONT");
        }
    }
}

/// The same for what this side decides: "if we decide to ask him to enable", and to disable.
#[test]
fn wishes_are_sent_as_the_rfc_says() {
    let (yes, no) = (Some(true), Some(false));
    let table = [
        (No, (WantYes, yes), (No, None)),
        (Yes, (Yes, None), (WantNo, no)),
        (WantNo, (WantNoOpposite, None), (WantNo, None)),
        (WantNoOpposite, (WantNoOpposite, None), (WantNo, None)),
        (WantYes, (WantYes, None), (WantYesOpposite, None)),
        (WantYesOpposite, (WantYes, None), (WantYesOpposite, None)),
    ];
    assert_eq!(table.map(|row| row.0), ALL);
    for (state, enable, disable) in table {
        assert_eq!(state.ask(true), enable, "{state:?}: to enable");
        assert_eq!(state.ask(false), disable, "{state:?}: to disable");
    }
}

#[test]
fn each_side_says_its_own_words() {
    let option = TelnetOption::ECHO;
    let table = [
        (Verb::Will, End::Peer, Some(Verb::Do), Some(Verb::Dont)),
        (Verb::Do, End::Local, Some(Verb::Will), Some(Verb::Wont)),
        (Verb::Wont, End::Peer, None, None),
        (Verb::Dont, End::Local, None, None),
    ];
    for (verb, end, agreed, refused) in table {
        for (agree, reply) in [(true, agreed), (false, refused)] {
            let mut negotiation = Negotiation::default();
            let outcome = negotiation.receive(verb, option, |of| {
                assert_eq!(of, end);
                agree
            });
            let is_on = agree && reply.is_some();
            assert_eq!(outcome, Outcome { end, reply, changed: is_on.then_some(true) });
            assert_eq!(negotiation.is_on(end, option), is_on);
            let other = if end == End::Peer { End::Local } else { End::Peer };
            assert!(!negotiation.is_on(other, option));
        }
    }
    let mut negotiation = Negotiation::default();
    assert_eq!(negotiation.ask(End::Local, option, true), Some(Verb::Will));
    assert_eq!(negotiation.ask(End::Peer, option, true), Some(Verb::Do));
    assert_eq!(negotiation.ask(End::Peer, option, true), None, "asked for already");
}

#[test]
fn an_end_keeps_an_option_until_its_own_word() {
    let option = TelnetOption::BINARY;
    let mut negotiation = Negotiation::default();
    negotiation.receive(Verb::Will, option, |_| true);
    negotiation.receive(Verb::Do, option, |_| true);
    assert_eq!(negotiation.ask(End::Peer, option, false), Some(Verb::Dont));
    assert!(negotiation.is_on(End::Peer, option), "it sends so until it has read our DONT");
    let outcome = negotiation.receive(Verb::Wont, option, |_| true);
    assert_eq!(outcome, Outcome { end: End::Peer, reply: None, changed: Some(false) });
    assert_eq!(negotiation.ask(End::Local, option, false), Some(Verb::Wont));
    assert!(!negotiation.is_on(End::Local, option), "what follows our WONT is no longer so");
}

#[test]
fn what_is_refused_is_not_kept() {
    let mut negotiation = Negotiation::default();
    for round in 0..3 {
        for code in 0..=u8::MAX {
            for verb in [Verb::Will, Verb::Do, Verb::Dont, Verb::Wont] {
                negotiation.receive(verb, TelnetOption(code), |_| false);
            }
        }
        assert_eq!(negotiation.states.len(), 0, "round {round}");
    }
}

/// One end of a line over which only words about options go.
#[derive(Default)]
struct Side {
    negotiation: Negotiation,
    agreed: Vec<(End, TelnetOption)>,
    /// On its way to the other side.
    sent: VecDeque<(Verb, TelnetOption)>,
}

impl Side {
    fn receive(&mut self, (verb, option): (Verb, TelnetOption)) {
        let outcome =
            self.negotiation.receive(verb, option, |end| self.agreed.contains(&(end, option)));
        self.sent.extend(outcome.reply.map(|verb| (verb, option)));
    }

    fn ask(&mut self, end: End, option: TelnetOption, enable: bool) {
        self.sent.extend(self.negotiation.ask(end, option, enable).map(|verb| (verb, option)));
    }
}

fn end() -> impl Strategy<Value = End> {
    prop::sample::select(&[End::Local, End::Peer][..])
}

fn option() -> impl Strategy<Value = TelnetOption> {
    (0..3_u8).prop_map(TelnetOption)
}

/// What happens next on a line: a side takes a word, or has a wish.
fn step() -> impl Strategy<Value = (bool, Option<(End, TelnetOption, bool)>)> {
    (any::<bool>(), prop::option::of((end(), option(), any::<bool>())))
}

proptest! {
    /// Two sides with any wishes at any time come to rest, soon, and agree on what is on.
    #[test]
    fn two_sides_come_to_rest_and_agree(
        agreed in [vec((end(), option()), 0..6), vec((end(), option()), 0..6)],
        steps in vec(step(), 0..100),
    ) {
        let [mut one, mut other] = agreed.map(|agreed| Side { agreed, ..Side::default() });
        for (swap, wish) in steps {
            let (side, peer) = if swap { (&mut other, &mut one) } else { (&mut one, &mut other) };
            match wish {
                Some((end, option, enable)) => side.ask(end, option, enable),
                None => peer.sent.pop_front().into_iter().for_each(|word| side.receive(word)),
            }
        }
        // A word under way leads to three more at most: its answer, what the queue bit kept, and the
        // answer to that.
        let mut bound = 4 * (one.sent.len() + other.sent.len());
        while !one.sent.is_empty() || !other.sent.is_empty() {
            prop_assert!(bound > 0, "they go on");
            bound -= 1;
            match one.sent.pop_front() {
                Some(word) => other.receive(word),
                None => other.sent.pop_front().into_iter().for_each(|word| one.receive(word)),
            }
        }
        for code in 0..3 {
            let option = TelnetOption(code);
            let on = |side: &Side, end| side.negotiation.is_on(end, option);
            prop_assert_eq!(on(&one, End::Local), on(&other, End::Peer));
            prop_assert_eq!(on(&one, End::Peer), on(&other, End::Local));
            for side in [&one, &other] {
                let state = |end| side.negotiation.state(end, option);
                prop_assert!([End::Local, End::Peer].iter().all(|end| matches!(state(*end), Yes | No)));
            }
        }
    }

    /// A side whose peer says anything answers each word at most once, whatever it wants itself.
    #[test]
    fn a_peer_that_says_anything_is_answered_once(
        agreed in vec((end(), option()), 0..6),
        words in vec((prop::sample::select(&[Verb::Will, Verb::Wont, Verb::Do, Verb::Dont][..]), option()), 0..200),
        wishes in vec((end(), option(), any::<bool>()), 0..20),
    ) {
        let mut side = Side { agreed, ..Side::default() };
        let mut wishes = wishes.into_iter();
        for word in words {
            if let Some((end, option, enable)) = wishes.next() {
                side.ask(end, option, enable);
            }
            side.sent.clear();
            side.receive(word);
            prop_assert!(side.sent.len() <= 1);
            prop_assert!(side.negotiation.states.len() <= 6);
        }
    }
}
