//! The line echo: whole lines are answered, in order, up to the first that is wrong.

use netframe_core::testing::sim::{self, SimNetwork};
use netframe_protocols::line::{LineOptions, line_echo};

use crate::{SEEDS, converse};

const MAX_LENGTH: usize = 300;

#[test]
fn whole_lines_are_answered_up_to_the_first_that_is_wrong() {
    sim::seeds(SEEDS, answered);
}

pub(crate) async fn answered(net: SimNetwork) {
    let mut options = LineOptions::default();
    options.max_length = MAX_LENGTH;
    let talk = converse(&net, line_echo(options).unwrap(), lines).await;
    talk.check(answer);
    talk.stop().await;
}

/// Lines of all lengths; some peers have one that is too long, and some leave the last one unfinished.
fn lines(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut lines = Vec::new();
    for _ in 0..rng.usize(0..60) {
        let most = if rng.u8(0..100) == 0 { 2 * MAX_LENGTH } else { MAX_LENGTH };
        let len = rng.usize(0..=most);
        lines.extend((0..len).map(|_| rng.alphanumeric() as u8));
        lines.push(b'\n');
    }
    if rng.u8(0..4) == 0 {
        lines.pop();
    }
    lines
}

/// The lines before one that is too long or unfinished.
fn answer(sent: &[u8]) -> Vec<u8> {
    let lines = sent.split_inclusive(|byte| *byte == b'\n');
    let right = |line: &&[u8]| line.ends_with(b"\n") && line.len() <= MAX_LENGTH + 1;
    lines.take_while(right).collect::<Vec<_>>().concat()
}
