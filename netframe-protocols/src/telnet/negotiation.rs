//! What the two sides agree on: the Q method of RFC 1143, for each option and side by itself.

use super::{End, TelnetOption, Verb};

/// The state of one option at one side, by the names of RFC 1143, section 7. A queue bit belongs to the
/// two states in which an answer is awaited: whether the opposite is wanted by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    No,
    Yes,
    WantNo,
    WantNoOpposite,
    WantYes,
    WantYesOpposite,
}

use State::{No, WantNo, WantNoOpposite, WantYes, WantYesOpposite, Yes};

impl State {
    /// The peer says that the option is to be, or not to be. Says what to answer, if anything: whether it
    /// is to be.
    pub(super) fn receive(self, enable: bool, agree: bool) -> (Self, Option<bool>) {
        match (self, enable) {
            (No, true) if agree => (Yes, Some(true)),
            (No, true) => (No, Some(false)),
            (Yes, true) | (No, false) => (self, None),
            (Yes, false) => (No, Some(false)),
            // It must not be answered by its opposite, but is; the peer has the last word once.
            (WantNo, true) => (No, None),
            (WantNoOpposite, true) => (Yes, None),
            (WantNo, false) => (No, None),
            (WantNoOpposite, false) => (WantYes, Some(true)),
            (WantYes, true) => (Yes, None),
            (WantYesOpposite, true) => (WantNo, Some(false)),
            (WantYes | WantYesOpposite, false) => (No, None),
        }
    }

    /// This side wants the option to be, or not to be. Says what to ask for, if anything. What is so
    /// already, or asked for already, is silent.
    pub(super) fn ask(self, enable: bool) -> (Self, Option<bool>) {
        match (self, enable) {
            (No, true) => (WantYes, Some(true)),
            (Yes, false) => (WantNo, Some(false)),
            (WantNo, true) => (WantNoOpposite, None),
            (WantNoOpposite, false) => (WantNo, None),
            (WantYes, false) => (WantYesOpposite, None),
            (WantYesOpposite, true) => (WantYes, None),
            (Yes | WantNoOpposite | WantYes, true) | (No | WantNo | WantYesOpposite, false) => {
                (self, None)
            }
        }
    }

    /// Whether the option is in force for what `end` sends: the peer has it up to its WONT, and this
    /// side up to its own.
    fn is_on(self, end: End) -> bool {
        self == Yes || end == End::Peer && matches!(self, WantNo | WantNoOpposite)
    }
}

/// All options that are not just off. A peer adds none but those that are agreed to.
#[derive(Clone, Debug, Default)]
pub(super) struct Negotiation {
    /// Invariant: at most one entry for an option and side, none of which is `State::No`.
    states: Vec<(End, TelnetOption, State)>,
}

/// What a word of the peer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) end: End,
    pub(super) reply: Option<Verb>,
    /// Whether the option is in force now, if that has changed.
    pub(super) changed: Option<bool>,
}

impl Negotiation {
    /// The peer says `verb`; `agree` tells whether it may have, or have us do, what it asks for.
    pub(super) fn receive(
        &mut self,
        verb: Verb,
        option: TelnetOption,
        agree: impl FnOnce(End) -> bool,
    ) -> Outcome {
        let (end, enable) = match verb {
            Verb::Will => (End::Peer, true),
            Verb::Wont => (End::Peer, false),
            Verb::Do => (End::Local, true),
            Verb::Dont => (End::Local, false),
        };
        let state = self.state(end, option);
        let agree = state == No && enable && agree(end);
        let (next, reply) = state.receive(enable, agree);
        self.set(end, option, next);
        let is_on = next.is_on(end);
        Outcome {
            end,
            reply: reply.map(|enable| word(end, enable)),
            changed: (state.is_on(end) != is_on).then_some(is_on),
        }
    }

    /// This side wants `end` to have the option, or not; returns what to send.
    pub(super) fn ask(&mut self, end: End, option: TelnetOption, enable: bool) -> Option<Verb> {
        let (next, ask) = self.state(end, option).ask(enable);
        self.set(end, option, next);
        ask.map(|enable| word(end, enable))
    }

    pub(super) fn is_on(&self, end: End, option: TelnetOption) -> bool {
        self.state(end, option).is_on(end)
    }

    fn state(&self, end: End, option: TelnetOption) -> State {
        self.position(end, option).map_or(No, |at| self.states[at].2)
    }

    fn set(&mut self, end: End, option: TelnetOption, state: State) {
        match (self.position(end, option), state) {
            (Some(at), No) => {
                self.states.swap_remove(at);
            }
            (Some(at), state) => self.states[at].2 = state,
            (None, No) => {}
            (None, state) => self.states.push((end, option, state)),
        }
    }

    fn position(&self, end: End, option: TelnetOption) -> Option<usize> {
        self.states.iter().position(|state| (state.0, state.1) == (end, option))
    }
}

/// What this side says of an option that `end` has: of its own WILL or WONT, of the peer's DO or DONT.
fn word(end: End, enable: bool) -> Verb {
    match (end, enable) {
        (End::Local, true) => Verb::Will,
        (End::Local, false) => Verb::Wont,
        (End::Peer, true) => Verb::Do,
        (End::Peer, false) => Verb::Dont,
    }
}

#[cfg(test)]
mod tests;
