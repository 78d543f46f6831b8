//! Runs each example as its header says, and looks at what it prints.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

const ANY_PORT: &str = "tcp://127.0.0.1:0";

#[tokio::test]
async fn shout_answers_in_upper_case() {
    let mut shout = Example::run("shout", &[ANY_PORT]);
    let addr = shout.listening().await;
    assert_eq!(ask(addr, b"Hello, world!\n").await, "HELLO, WORLD!\n");
    shout.interrupt().await;
    assert_eq!(shout.rest().await, "");
}

#[tokio::test]
async fn hello_client_prints_what_hello_server_says() {
    let mut server = Example::run("hello_server", &[ANY_PORT]);
    let addr = server.listening().await;
    let client = Example::run("hello_client", &[&format!("tcp://{addr}")]);
    assert_eq!(
        client.rest().await,
        "Hello from the server!\neof by peer, 22 bytes in, 22 bytes out\n"
    );
    server.interrupt().await;
    assert_eq!(server.rest().await, "stopped: 0 drained, 0 aborted\n");
}

#[tokio::test]
async fn await_database_answers_in_order() {
    let mut lookup = Example::run("await_database", &[ANY_PORT]);
    let addr = lookup.listening().await;
    assert_eq!(ask(addr, b"apple\nplum\npear\n").await, "apple: 3\nplum: none\npear: 7\n");

    // Answers do not wait for the end of the questions.
    let mut peer = TcpStream::connect(addr).await.unwrap();
    peer.write_all(b"pear\nplum\n").await.unwrap();
    let mut answers = [0; "pear: 7\nplum: none\n".len()];
    timeout(PATIENCE, peer.read_exact(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers, *b"pear: 7\nplum: none\n");

    lookup.interrupt().await;
    let asked: Vec<_> =
        ["apple", "plum", "pear", "pear", "plum"].map(|f| format!("asked for {f}\n")).into();
    assert_eq!(lookup.rest().await, asked.concat());
}

#[tokio::test]
async fn test_without_network_prints_ok_for_each() {
    let tests = Example::run("test_without_network", &[]);
    let printed = tests.rest().await;
    assert_eq!(printed, "ok replay\nok end\nok time\nok backpressure\nok recorder\n");
}

/// A running example; it ends with the test whatever happens.
struct Example {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Example {
    fn run(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program(name));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{error}; `cargo test -p netframe-examples` builds the example `{name}`")
        });
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdout }
    }

    /// Waits until it says where it listens.
    async fn listening(&mut self) -> SocketAddr {
        let line = timeout(PATIENCE, self.stdout.next_line()).await.unwrap().unwrap().unwrap();
        line.strip_prefix("listening tcp://").expect(&line).parse().unwrap()
    }

    /// Does what Ctrl-C does.
    async fn interrupt(&self) {
        let pid = self.child.id().expect("it still runs").to_string();
        let kill = Command::new("kill").args(["-s", "INT", &pid]).status().await.unwrap();
        assert!(kill.success());
    }

    /// Waits for its end, which must be a good one; returns what it printed since the last time.
    async fn rest(mut self) -> String {
        timeout(PATIENCE, async {
            let mut rest = String::new();
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                rest += &line;
                rest.push('\n');
            }
            let status = self.child.wait().await.unwrap();
            assert!(status.success(), "{status}");
            rest
        })
        .await
        .unwrap()
    }
}

/// Where cargo puts an example: beside the folder of this test.
fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION)
}

/// Sends bytes and FIN; returns the whole answer.
async fn ask(addr: SocketAddr, question: &[u8]) -> String {
    timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(question).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
    .unwrap()
}
