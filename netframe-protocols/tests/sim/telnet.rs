//! The Telnet echo: lines come back and words are answered, whatever the network does.

use netframe_core::testing::sim::{self, SimNetwork};
use netframe_protocols::telnet::telnet_echo;

use crate::{SEEDS, bytes, converse};

#[test]
fn lines_come_back_and_words_are_answered() {
    sim::seeds(SEEDS, answered);
}

pub(crate) async fn answered(net: SimNetwork) {
    let factory = telnet_echo(Default::default()).unwrap();
    let talk = converse(&net, factory, script).await;
    talk.check(answer);
    talk.stop().await;
}

/// Lines, with every end that a line may have, between commands; some peers have a wrong one. The last
/// line may have no end.
fn script(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut script = Vec::new();
    for _ in 0..rng.usize(0..60) {
        match rng.u8(0..6) {
            0 => script.extend_from_slice(b"\xff\xfd\xc9"), // DO 201
            1 => script.extend_from_slice(b"\xff\xf1"),     // NOP
            2 => script.extend_from_slice(b"\xff\xfa\x1f\0\xff\xff\xff\xf0"), // nobody wants to know
            3 if rng.u8(0..30) == 0 => script.extend_from_slice(b"\xff\xfa\x18\xff\x01"),
            _ => {
                let len = rng.usize(0..300);
                let line = bytes(rng, len);
                for byte in line.into_iter().filter(|byte| !b"\r\n\0".contains(byte)) {
                    script.extend_from_slice(if byte == 255 {
                        b"\xff\xff"
                    } else {
                        std::slice::from_ref(&byte)
                    });
                }
                script.extend_from_slice([&b"\r\n"[..], b"\r\0", b"\n"][rng.usize(0..3)]);
            }
        }
    }
    script
}

/// What comes back, up to what is wrong.
fn answer(sent: &[u8]) -> Vec<u8> {
    // DO TERMINAL-TYPE, DO NAWS.
    let (mut answer, mut line, mut rest) = (b"\xff\xfd\x18\xff\xfd\x1f".to_vec(), Vec::new(), sent);
    loop {
        let len = match rest {
            [] | [255, 250, _, 255, 1, ..] => return answer,
            [255, 253, option, ..] => {
                answer.extend_from_slice(&[255, 252, *option]);
                3
            }
            [255, 250, ..] => 8,
            [255, 241, ..] => 2,
            [255, ..] => {
                line.extend_from_slice(b"\xff\xff");
                2
            }
            [b'\r' | b'\n', ..] => {
                answer.append(&mut line);
                answer.extend_from_slice(b"\r\n");
                if rest[0] == b'\r' { 2 } else { 1 }
            }
            [byte, ..] => {
                line.push(*byte);
                1
            }
        };
        rest = &rest[len..];
    }
}
