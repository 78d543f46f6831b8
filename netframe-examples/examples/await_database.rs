//! A handler that awaits a database: one line asks for a fruit, one line answers how many there are.
//!
//! Run it with `cargo run -p netframe-examples --example await_database`; it takes another endpoint
//! as an argument. It prints `listening tcp://127.0.0.1:7007`, then each question as the database
//! gets it, such as `asked for apple`. To ask three things at once:
//!
//! ```text
//! $ printf 'apple\nplum\npear\n' | nc -N 127.0.0.1 7007
//! apple: 3
//! plum: none
//! pear: 7
//! ```
//!
//! While a handler waits, no other callback of its connection runs. So the answers are in order, a
//! connection has one question at a time in the database however many it sent, and a peer that asks
//! faster than the database answers is read from no faster. Other connections go on meanwhile. If
//! the peer resets the connection, the handler is dropped where it waits.

use std::error::Error;
use std::fmt;

use tokio::sync::{mpsc, oneshot};

use netframe::protocols::line::{LineProtocol, LineTransport, Lines};
use netframe::{ConnectionInfo, Result, Server};

/// Answers each line with the count that the database has for it.
struct Lookup {
    database: Database,
}

impl LineProtocol for Lookup {
    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        let fruit = String::from_utf8_lossy(line);
        let answer = match self.database.count(&fruit).await? {
            Some(count) => format!("{fruit}: {count}"),
            None => format!("{fruit}: none"),
        };
        t.send_line(answer)?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let (database, queries) = Database::new();
    tokio::spawn(answer(queries));
    let lookup = move |_: &ConnectionInfo| Lines::new(Lookup { database: database.clone() });
    let server = Server::bind(endpoint, lookup).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

/// Stands for a database driver: each call sends a query elsewhere and waits for its answer.
#[derive(Clone)]
struct Database {
    queries: mpsc::Sender<Query>,
}

/// A question, and the way back for its answer.
struct Query {
    fruit: String,
    answer: oneshot::Sender<Option<u32>>,
}

impl Database {
    /// A driver, and what it asks.
    fn new() -> (Self, mpsc::Receiver<Query>) {
        let (queries, asked) = mpsc::channel(100);
        (Self { queries }, asked)
    }

    /// How many there are.
    async fn count(&self, fruit: &str) -> Result<Option<u32>, DatabaseGone> {
        let (answer, answered) = oneshot::channel();
        let query = Query { fruit: fruit.to_owned(), answer };
        self.queries.send(query).await.map_err(|_| DatabaseGone)?;
        answered.await.map_err(|_| DatabaseGone)
    }
}

/// The database itself, a task of its own.
async fn answer(mut queries: mpsc::Receiver<Query>) {
    while let Some(query) = queries.recv().await {
        println!("asked for {}", query.fruit);
        let count = match query.fruit.as_str() {
            "apple" => Some(3),
            "pear" => Some(7),
            _ => None,
        };
        // An error means that the peer, and with it the handler, is gone.
        let _ = query.answer.send(count);
    }
}

/// The error of a query, which ends the connection it was for.
#[derive(Debug)]
struct DatabaseGone;

impl fmt::Display for DatabaseGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database is gone")
    }
}

impl Error for DatabaseGone {}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use netframe::testing;
    use netframe::transport::mem::MemStream;
    use netframe::{Client, CloseKind, Limits};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::sync::mpsc::error::TryRecvError;
    use tokio::time::timeout;

    // The test is the peer here, and the database as well.

    #[tokio::test]
    async fn one_question_at_a_time_answered_in_order() {
        within(async {
            let (mut peer, _connection, mut queries) = start();
            peer.write_all(b"apple\npear\nplum\n").await.unwrap();
            let mut answers = BufReader::new(peer).lines();
            for (fruit, count) in [("apple", 3), ("pear", 7), ("plum", 0)] {
                let query = queries.recv().await.unwrap();
                assert_eq!(query.fruit, fruit);
                // The other lines have arrived, and wait in the connection: not in the database.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert!(matches!(queries.try_recv(), Err(TryRecvError::Empty)));
                query.answer.send(Some(count)).unwrap();
                let answer = answers.next_line().await.unwrap().unwrap();
                assert_eq!(answer, format!("{fruit}: {count}"));
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_question_whose_peer_is_gone_is_dropped() {
        within(async {
            let (mut peer, connection, mut queries) = start();
            peer.write_all(b"apple\npear\n").await.unwrap();
            queries.recv().await.unwrap().answer.send(Some(3)).unwrap();
            let mut pear = queries.recv().await.unwrap();
            assert_eq!(peer.read_u8().await.unwrap(), b'a');
            drop(peer); // it has not read all of its answer, which makes this a reset
            pear.answer.closed().await;
            assert_eq!(connection.closed().await.kind(), CloseKind::Reset);
        })
        .await;
    }

    #[tokio::test]
    async fn without_a_database_the_connection_ends_with_its_error() {
        within(async {
            let (mut peer, connection, queries) = start();
            drop(queries);
            peer.write_all(b"apple\n").await.unwrap();
            peer.shutdown().await.unwrap();
            assert_eq!(
                connection.closed().await.to_string(),
                "error by local: the database is gone"
            );
        })
        .await;
    }

    /// A connection in memory: its peer's end, the connection, and what the database is asked.
    fn start() -> (MemStream, Client, mpsc::Receiver<Query>) {
        let (database, queries) = Database::new();
        let lookup = move |_: &ConnectionInfo| Lines::new(Lookup { database: database.clone() });
        let (peer, connection) = testing::serve(lookup, Limits::default());
        (peer, connection, queries)
    }

    async fn within<T>(test: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(30), test).await.expect("it must not take that long")
    }
}
