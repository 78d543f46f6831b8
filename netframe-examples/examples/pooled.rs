//! A pool of connections: a hundred questions by twenty tasks, over four connections.
//!
//! Run it with `cargo run -p netframe-examples --example pooled`. It serves itself, and prints
//!
//! ```text
//! 100 answers over 4 connections
//! no answer to `quiet`: deadline has elapsed
//! 5 were opened in all
//! closed: 4 drained, 0 aborted
//! ```
//!
//! What is pooled is a type of its own, which knows whether an answer is still to come: the connection
//! of a question that was given up is not used again, or the next user would get its answer.

use std::time::Duration;

use netframe::protocols::line::{LineProtocol, LineTransport, Lines};
use netframe::{
    ConnectionInfo, Endpoint, Handle, Pool, PoolLimits, Pooled, Result, Server, Stream,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

/// Answers in upper case, except to the word `quiet`.
struct Shout;

impl LineProtocol for Shout {
    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        if line != b"quiet" {
            t.send_line(line.to_ascii_uppercase())?;
        }
        Ok(())
    }
}

/// A connection to it.
struct Asker {
    stream: BufReader<Stream>,
    pending: bool,
}

impl Asker {
    async fn connect(endpoint: Endpoint) -> Result<Self> {
        let stream = BufReader::new(Stream::connect(endpoint).await?);
        // What is to be said first, such as a password, would be said here.
        Ok(Self { stream, pending: false })
    }

    async fn ask(&mut self, question: &str) -> Result<String> {
        self.pending = true; // until there is an answer, also if nobody waits for it any more
        self.stream.write_all(format!("{question}\n").as_bytes()).await?;
        let mut answer = String::new();
        if self.stream.read_line(&mut answer).await? == 0 {
            return Err("the connection ended before the answer".into());
        }
        self.pending = false;
        Ok(answer.trim_end().to_owned())
    }
}

impl Pooled for Asker {
    fn handle(&self) -> Handle {
        self.stream.get_ref().handle()
    }

    fn is_reusable(&self) -> bool {
        !self.pending && self.stream.buffer().is_empty() && self.stream.get_ref().is_reusable()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let server = Server::bind("tcp://127.0.0.1:0", |_: &ConnectionInfo| Lines::new(Shout)).await?;
    let endpoint = server.endpoint().clone();

    let mut limits = PoolLimits::default();
    limits.max_per_endpoint = 4;
    let pool = Pool::builder(Asker::connect).limits(limits).build()?;

    let users =
        (0..20).map(|user| tokio::spawn(five_questions(pool.clone(), endpoint.clone(), user)));
    let users: Vec<_> = users.collect();
    let mut answers = 0;
    for user in users {
        answers += user.await??;
    }
    println!("{answers} answers over {} connections", pool.status().stats.dialled);

    let mut asker = pool.get(endpoint.clone()).await?;
    if let Err(late) = timeout(Duration::from_millis(50), asker.ask("quiet")).await {
        println!("no answer to `quiet`: {late}");
    }
    drop(asker); // is closed rather than given back

    // Four users at once need all four, of which one is new.
    let [a, b, c, d] = [(); 4].map(|()| pool.get(endpoint.clone()));
    let four = tokio::try_join!(a, b, c, d)?;
    println!("{} were opened in all", pool.status().stats.dialled);
    drop(four);

    println!("closed: {}", pool.shutdown(Duration::from_secs(5)).await);
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// Asks five questions, each over whatever connection is free.
async fn five_questions(pool: Pool<Asker>, endpoint: Endpoint, user: usize) -> Result<usize> {
    for number in 0..5 {
        let mut asker = pool.get(endpoint.clone()).await?;
        let answer = asker.ask(&format!("user {user}, question {number}")).await?;
        assert_eq!(answer, format!("USER {user}, QUESTION {number}"));
    }
    Ok(5)
}
