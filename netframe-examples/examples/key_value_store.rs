//! A key-value store that all connections share, in lines: `set KEY VALUE`, `get KEY`, `del KEY`.
//!
//! Run it with `cargo run -p netframe-examples --example key_value_store`; it takes another endpoint
//! as an argument. It prints `listening tcp://127.0.0.1:7007` and serves until Ctrl-C. Then
//!
//! ```text
//! $ printf 'set sky light blue\nget sky\ndel sky\nget sky\n' | nc -N 127.0.0.1 7007
//! stored
//! value light blue
//! deleted
//! none
//! ```
//!
//! What cannot be done is answered with `error: ` and why, and the connection goes on. The length of
//! keys and values and their number are bounded: together they are 11 MB at most, whoever sets them.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use netframe::protocols::line::{LineProtocol, LineTransport, Lines};
use netframe::{ConnectionInfo, Result, Server};

const MAX_KEY_LEN: usize = 64;
const MAX_VALUE_LEN: usize = 1024;
const MAX_KEYS: usize = 10_000;

/// Asks the store for what each line says.
struct Session {
    store: Store,
}

impl LineProtocol for Session {
    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        let answer = match Command::parse(line) {
            Ok(command) => self.store.ask(command).await?,
            Err(error) => Err(error),
        };
        t.send_line(answer.unwrap_or_else(|error| format!("error: {error}")))?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let store = Store::start();
    let session = move |_: &ConnectionInfo| Lines::new(Session { store: store.clone() });
    let server = Server::bind(endpoint, session).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

/// What one line asks for.
enum Command {
    Set(String, String),
    Get(String),
    Del(String),
}

impl Command {
    fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let line = str::from_utf8(line).map_err(|_| "not UTF-8")?;
        let words: Vec<_> = line.splitn(3, ' ').collect();
        match words[..] {
            [_, key, ..] if key.len() > MAX_KEY_LEN => Err("the key is too long"),
            [_, _, value] if value.len() > MAX_VALUE_LEN => Err("the value is too long"),
            ["set", key, value] => Ok(Self::Set(key.into(), value.into())),
            ["get", key] => Ok(Self::Get(key.into())),
            ["del", key] => Ok(Self::Del(key.into())),
            _ => Err("expected `set KEY VALUE`, `get KEY` or `del KEY`"),
        }
    }
}

/// What is answered, or why the command cannot be carried out.
type Answer = Result<String, &'static str>;

/// The way to the task that owns the keys and values, as if it were another machine.
#[derive(Clone)]
struct Store {
    requests: mpsc::Sender<(Command, oneshot::Sender<Answer>)>,
}

impl Store {
    /// Starts the task, which ends with the last way to it.
    fn start() -> Self {
        let (requests, mut asked) = mpsc::channel::<(Command, oneshot::Sender<Answer>)>(100);
        tokio::spawn(async move {
            let mut values = HashMap::new();
            while let Some((command, answer)) = asked.recv().await {
                // An error means that the connection that asked is gone.
                let _ = answer.send(carry_out(&mut values, command));
            }
        });
        Self { requests }
    }

    async fn ask(&self, command: Command) -> Result<Answer> {
        let (answer, answered) = oneshot::channel();
        self.requests.send((command, answer)).await?;
        Ok(answered.await?)
    }
}

fn carry_out(values: &mut HashMap<String, String>, command: Command) -> Answer {
    let none = || "none".to_owned();
    match command {
        Command::Set(key, _) if values.len() >= MAX_KEYS && !values.contains_key(&key) => {
            Err("the store is full")
        }
        Command::Set(key, value) => {
            values.insert(key, value);
            Ok("stored".to_owned())
        }
        Command::Get(key) => {
            Ok(values.get(&key).map_or_else(none, |value| format!("value {value}")))
        }
        Command::Del(key) => Ok(values.remove(&key).map_or_else(none, |_| "deleted".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use netframe::{Limits, testing};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn values_are_set_got_and_deleted() {
        let mut values = HashMap::new();
        for (line, answer) in [
            ("get sky", "none"),
            ("set sky light blue", "stored"),
            ("get sky", "value light blue"),
            ("set sky ", "stored"),
            ("get sky", "value "),
            ("del sky", "deleted"),
            ("del sky", "none"),
        ] {
            assert_eq!(ask(&mut values, line).unwrap(), answer, "{line}");
        }
        for line in ["", "set", "set sky", "get", "get light blue", "GET sky", "sky"] {
            assert!(ask(&mut values, line).unwrap_err().starts_with("expected"), "{line}");
        }
        assert_eq!(Command::parse(b"get \xff").err(), Some("not UTF-8"));
    }

    #[test]
    fn keys_values_and_their_number_are_bounded() {
        let mut values = HashMap::new();
        let (key, value) = ("k".repeat(MAX_KEY_LEN), "v".repeat(MAX_VALUE_LEN));
        assert_eq!(ask(&mut values, &format!("set {key} {value}")).unwrap(), "stored");
        assert_eq!(ask(&mut values, &format!("get {key}k")), Err("the key is too long"));
        assert_eq!(ask(&mut values, &format!("set k {value}v")), Err("the value is too long"));
        for n in 1..MAX_KEYS {
            assert_eq!(ask(&mut values, &format!("set {n} x")).unwrap(), "stored");
        }
        assert_eq!(ask(&mut values, "set new x"), Err("the store is full"));
        assert_eq!(ask(&mut values, &format!("set {key} x")).unwrap(), "stored");
        assert_eq!(ask(&mut values, "del 1").unwrap(), "deleted");
        assert_eq!(ask(&mut values, "set new x").unwrap(), "stored");
    }

    #[tokio::test]
    async fn connections_share_the_store_and_outlive_errors() {
        let store = Store::start();
        assert_eq!(
            talk(&store, "set sky blue\nput sky\nget sky\n").await,
            ["stored", "error: expected `set KEY VALUE`, `get KEY` or `del KEY`", "value blue",]
        );
        assert_eq!(
            talk(&store, "get sky\ndel sky\nget sky\n").await,
            ["value blue", "deleted", "none",]
        );
    }

    fn ask(values: &mut HashMap<String, String>, line: &str) -> Answer {
        carry_out(values, Command::parse(line.as_bytes())?)
    }

    /// What a new connection answers to these lines.
    async fn talk(store: &Store, lines: &str) -> Vec<String> {
        let store = store.clone();
        let session = move |_: &ConnectionInfo| Lines::new(Session { store: store.clone() });
        let (mut peer, _connection) = testing::serve(session, Limits::default());
        peer.write_all(lines.as_bytes()).await.unwrap();
        peer.shutdown().await.unwrap();
        let mut answers = String::new();
        peer.read_to_string(&mut answers).await.unwrap();
        answers.lines().map(str::to_owned).collect()
    }
}
