//! The frame echo: whole frames are answered, in order, up to the first that is wrong.

use netframe_core::testing::sim::{self, SimNetwork};
use netframe_protocols::frame::{Prefixed, frame_echo};

use crate::{SEEDS, bytes, converse};

const MAX_LENGTH: usize = 300;

#[test]
fn whole_frames_are_answered_up_to_the_first_that_is_wrong() {
    sim::seeds(SEEDS, answered);
}

pub(crate) async fn answered(net: SimNetwork) {
    let framer = Prefixed::netstring().with_max_length(MAX_LENGTH).unwrap();
    let talk = converse(&net, frame_echo(framer), frames).await;
    talk.check(answer);
    talk.stop().await;
}

/// Netstrings of all lengths; some peers have one that is too long or wrong, and some leave the last
/// one unfinished.
fn frames(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut frames = Vec::new();
    for _ in 0..rng.usize(0..60) {
        let most = if rng.u8(0..100) == 0 { 2 * MAX_LENGTH } else { MAX_LENGTH };
        let len = rng.usize(0..=most);
        let zero = if rng.u8(0..200) == 0 { "0" } else { "" };
        frames.extend(format!("{zero}{len}:").into_bytes());
        frames.extend(bytes(rng, len));
        frames.push(b',');
    }
    if rng.u8(0..4) == 0 {
        frames.pop();
    }
    frames
}

/// The frames before one that is too long, wrong or unfinished.
fn answer(sent: &[u8]) -> Vec<u8> {
    let mut rest = sent;
    while let Some(colon) = rest.iter().position(|byte| *byte == b':') {
        let digits = str::from_utf8(&rest[..colon]).unwrap();
        let len: usize = digits.parse().unwrap();
        if len > MAX_LENGTH || digits != len.to_string() || rest.len() < colon + len + 2 {
            break;
        }
        rest = &rest[colon + len + 2..];
    }
    sent[..sent.len() - rest.len()].to_vec()
}
