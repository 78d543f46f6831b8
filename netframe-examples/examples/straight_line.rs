//! Straight-line code instead of callbacks: a dialogue reads best from top to bottom.
//!
//! Run it with `cargo run -p netframe-examples --example straight_line`; it takes another endpoint
//! as an argument. It prints `listening tcp://127.0.0.1:7007` and serves until Ctrl-C. Then play
//!
//! ```text
//! $ nc 127.0.0.1 7007
//! name? Ada
//! hello Ada, guess a number from 1 to 100
//! guess? 50
//! less
//! guess? 42
//! right, and it took 2 guesses
//! ```
//!
//! Limits and timeouts are those of every connection: who says nothing for five minutes is
//! disconnected, and if the peer resets the connection, the function is dropped where it waits. On
//! Ctrl-C a game that waits for its player reads the end of its input.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use netframe::{ProtocolError, Result, Server, Stream, stream_fn};

/// Bytes that an answer may have, its end of line included.
const MAX_ANSWER_LEN: u64 = 80;

/// Plays one game. The connection closes when it returns, once all that was written has left.
async fn play(stream: Stream, number: u8) -> Result {
    // What tokio and others have for streams works here: this reads ahead, so that lines are cheap.
    let mut stream = BufReader::new(stream);
    let Some(name) = ask(&mut stream, "name? ").await? else { return Ok(()) };
    let hello = format!("hello {name}, guess a number from 1 to 100\n");
    stream.write_all(hello.as_bytes()).await?;
    let mut count = 1;
    loop {
        let Some(guess) = ask(&mut stream, "guess? ").await? else { return Ok(()) };
        let hint = match guess.parse::<u8>() {
            Err(_) => "that is not such a number\n",
            Ok(guess) => match number.cmp(&guess) {
                Ordering::Less => "less\n",
                Ordering::Greater => "more\n",
                Ordering::Equal => break,
            },
        };
        stream.write_all(hint.as_bytes()).await?;
        count += 1;
    }
    stream.write_all(format!("right, and it took {count} guesses\n").as_bytes()).await?;
    Ok(())
}

/// Asks for one line; `None` if there will be none: the peer has left, or the server stops.
async fn ask(stream: &mut BufReader<Stream>, question: &str) -> Result<Option<String>> {
    stream.write_all(question.as_bytes()).await?;
    let mut line = String::new();
    stream.take(MAX_ANSWER_LEN).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(answer) => Ok(Some(answer.trim().to_owned())),
        None if line.is_empty() => Ok(None),
        None => Err(ProtocolError::new("an answer without an end, or with too many bytes").into()),
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let game = stream_fn(|stream| {
        let number = RandomState::new().hash_one(()) % 100 + 1;
        play(stream, number as u8)
    });
    let server = Server::bind(endpoint, game).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use netframe::testing::serve;
    use netframe::{CloseKind, CloseReason, Limits};

    use super::*;

    #[tokio::test]
    async fn a_game_goes_on_until_the_number_is_guessed() {
        let (said, reason) = game(b"Ada\n50\n1\nabc\n300\n42\n43\n").await;
        assert_eq!(
            said,
            "name? hello Ada, guess a number from 1 to 100\n\
             guess? less\n\
             guess? more\n\
             guess? that is not such a number\n\
             guess? that is not such a number\n\
             guess? right, and it took 5 guesses\n"
        );
        assert_eq!(reason.kind(), CloseKind::Closed);
    }

    #[tokio::test]
    async fn who_leaves_between_answers_is_not_to_blame() {
        let (said, reason) = game(b"Ada\n").await;
        assert!(said.ends_with("guess? "), "{said}");
        assert_eq!(reason.kind(), CloseKind::Eof);
    }

    #[tokio::test]
    async fn who_leaves_within_one_or_talks_too_much_is_to_blame() {
        let (said, reason) = game(b"Ada").await;
        assert_eq!((&*said, reason.kind()), ("name? ", CloseKind::ProtocolError));
        for (len, end, kind) in
            [(79, "guess? ", CloseKind::Eof), (80, "name? ", CloseKind::ProtocolError)]
        {
            let (said, reason) = game(&[&b"a".repeat(len)[..], b"\n"].concat()).await;
            assert!(said.ends_with(end), "{said}");
            assert_eq!(reason.kind(), kind);
        }
    }

    /// All that is said to a peer that says this, and how it ends.
    async fn game(answers: &[u8]) -> (String, CloseReason) {
        let (mut peer, connection) = serve(stream_fn(|stream| play(stream, 42)), Limits::default());
        peer.write_all(answers).await.unwrap();
        peer.shutdown().await.unwrap();
        let mut said = String::new();
        peer.read_to_string(&mut said).await.unwrap();
        (said, connection.closed().await)
    }
}
