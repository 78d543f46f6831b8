//! Frames: a calculator whose questions and answers are netstrings, and its client, which are one kind
//! of handler. Any bytes may be in a frame, so that nothing in it has to be escaped.
//!
//! Run it with `cargo run -p netframe-examples --example framed`; it takes another endpoint as an
//! argument. It prints `listening tcp://127.0.0.1:7007`, then what the client is answered, and ends:
//!
//! ```text
//! 2+40 = 42
//! 7+x: not two numbers
//! ```
//!
//! Test it with `cargo test -p netframe-examples --example framed`.

use std::time::Duration;

use netframe::protocols::frame::{FrameProtocol, FrameTransport, Frames, Netstring, Prefixed};
use netframe::{Client, ConnectionInfo, Result, Server};

/// Answers each sum.
struct Adder;

impl FrameProtocol for Adder {
    async fn frame_received(&mut self, t: &mut FrameTransport<'_>, frame: &[u8]) -> Result {
        let text = frame.escape_ascii();
        let answer = match sum(frame) {
            Some(sum) => format!("{text} = {sum}"),
            None => format!("{text}: not two numbers"),
        };
        t.send_frame(answer)?;
        Ok(())
    }
}

/// Asks, prints the answers, and closes after the last one.
struct Asker {
    questions: &'static [&'static str],
    answered: usize,
}

impl FrameProtocol for Asker {
    async fn connection_made(&mut self, t: &mut FrameTransport<'_>) -> Result {
        for question in self.questions {
            t.send_frame(question)?;
        }
        Ok(())
    }

    async fn frame_received(&mut self, t: &mut FrameTransport<'_>, frame: &[u8]) -> Result {
        println!("{}", frame.escape_ascii());
        self.answered += 1;
        if self.answered == self.questions.len() {
            t.close();
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let framer = framer()?;
    let server = {
        let framer = framer.clone();
        let factory = move |_: &ConnectionInfo| Frames::new(Adder, framer.clone());
        Server::bind(endpoint, factory).await?
    };
    println!("listening {}", server.endpoint());
    let factory = move |_: &ConnectionInfo| {
        Frames::new(Asker { questions: &["2+40", "7+x"], answered: 0 }, framer.clone())
    };
    let client = Client::connect(server.endpoint().clone(), factory).await?;
    client.closed().await;
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// Netstrings of up to 64 bytes: a longer one ends its connection before it has arrived.
fn framer() -> Result<Prefixed<Netstring>> {
    Ok(Prefixed::netstring().with_max_length(64)?)
}

/// The sum that `question` asks for.
fn sum(question: &[u8]) -> Option<u64> {
    let (a, b) = std::str::from_utf8(question).ok()?.split_once('+')?;
    a.parse::<u64>().ok()?.checked_add(b.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use netframe::testing::replay;
    use netframe::{CloseKind, Side};

    use super::*;

    #[test]
    fn each_sum_is_answered_up_to_the_first_frame_that_is_wrong() {
        let adder = || Frames::new(Adder, framer().unwrap());
        let seen = replay(b"3:1+2,3:\n+1,02:xx,3:1+1,", adder);
        assert_eq!(seen.written, b"7:1+2 = 3,21:\\n+1: not two numbers,".as_slice());
        assert_eq!(seen.ended, Some((Side::Peer, CloseKind::ProtocolError)));
    }
}
