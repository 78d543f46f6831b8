//! The line protocol behind real servers and clients, over TCP and over memory.

use std::time::Duration;

use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    Client, CloseKind, ConnectionInfo, Endpoint, Limits, Residue, Result, Server, testing,
};
use netframe_protocols::Echo;
use netframe_protocols::line::{
    Delimiter, LineFramer, LineOptions, LineProtocol, LineTransport, Lines, line_echo,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

#[tokio::test]
async fn both_roles_speak_lines() {
    for endpoint in ["tcp://127.0.0.1:0", "mem://lines"] {
        let network = MemNetwork::new();
        let builder = Server::builder(line_echo(crlf()).unwrap()).network(network.clone());
        let server = builder.listen(endpoint).unwrap().bind().await.unwrap();

        let long = "x".repeat(16 * 1024);
        let lines = ["one".to_owned(), String::new(), "t\nw\ro".to_owned(), long];
        let (client, mut answers) = ask(&network, server.endpoint(), &lines).await;
        for line in &lines {
            assert_eq!(answers.recv().await.as_ref(), Some(line));
        }
        let reason = client.closed().await;
        assert_eq!(reason.kind(), CloseKind::Closed, "{endpoint}: {reason}");
        assert_eq!(server.shutdown(Duration::from_secs(10)).await.aborted, 0);
    }
}

#[tokio::test]
async fn a_line_above_the_limit_ends_its_connection_only() {
    for endpoint in ["tcp://127.0.0.1:0", "mem://limit"] {
        let network = MemNetwork::new();
        let builder = Server::builder(line_echo(crlf()).unwrap()).network(network.clone());
        let server = builder.listen(endpoint).unwrap().bind().await.unwrap();

        let lines = ["one".to_owned(), "x".repeat(16 * 1024 + 1), "three".to_owned()];
        let (client, mut answers) = ask(&network, server.endpoint(), &lines).await;
        assert_eq!(answers.recv().await.as_deref(), Some("one"), "answers before it arrive");
        assert_eq!(client.closed().await.kind(), CloseKind::Eof);
        assert_eq!(answers.recv().await, None);

        let (_client, mut answers) = ask(&network, server.endpoint(), &["two".to_owned()]).await;
        assert_eq!(answers.recv().await.as_deref(), Some("two"));
    }
}

#[tokio::test]
async fn a_callback_that_waits_holds_the_next_line_back() {
    struct Slow;
    impl LineProtocol for Slow {
        async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
            t.send_line(line)?;
            t.drain().await?;
            for _ in 0..line.len() {
                tokio::task::yield_now().await;
            }
            t.send_line("done")?;
            Ok(())
        }
    }
    let (mut peer, connection) =
        testing::serve(|_: &ConnectionInfo| Lines::new(Slow), Limits::default());
    peer.write_all(b"long line\nb\n\nc\n").await.unwrap();
    peer.shutdown().await.unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "long line\ndone\nb\ndone\n\ndone\nc\ndone\n");
    assert_eq!(connection.closed().await.kind(), CloseKind::Eof);
}

#[tokio::test]
async fn the_next_protocol_gets_what_is_behind_the_line() {
    struct Upgrade;
    impl LineProtocol for Upgrade {
        async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
            t.send_line("ok")?;
            if line == b"echo" {
                t.switch_to(Echo, Residue::Feed);
            }
            Ok(())
        }
    }
    let (mut peer, _connection) =
        testing::serve(|_: &ConnectionInfo| Lines::new(Upgrade), Limits::default());
    peer.write_all(b"a\necho\n\nrest\nwithout end").await.unwrap();
    peer.shutdown().await.unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "ok\nok\n\nrest\nwithout end");
}

#[tokio::test]
async fn a_peer_that_reads_late_gets_every_line() {
    let (peer, connection) = testing::serve(line_echo(crlf()).unwrap(), Limits::default());
    let sent: String = (0..100_000).map(|i| format!("line {i}\r\n")).collect();
    let (mut reader, mut writer) = tokio::io::split(peer);
    let bytes = sent.clone().into_bytes();
    let sending = tokio::spawn(async move {
        writer.write_all(&bytes).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    while connection.handle().queued() <= 16 * 1024 {
        tokio::task::yield_now().await; // more than what a peer's buffer takes has been answered
    }
    assert!(!sending.is_finished());
    let mut received = String::new();
    reader.read_to_string(&mut received).await.unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    sending.await.unwrap();
}

/// Sends its lines at once, passes the answers on, and closes after as many.
struct Asker {
    lines: Vec<String>,
    answers: UnboundedSender<String>,
    missing: usize,
}

impl LineProtocol for Asker {
    async fn connection_made(&mut self, t: &mut LineTransport<'_>) -> Result {
        for line in &self.lines {
            t.send_line(line)?;
        }
        Ok(())
    }

    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        self.answers.send(String::from_utf8(line.to_vec())?)?;
        self.missing -= 1;
        if self.missing == 0 {
            t.close();
        }
        Ok(())
    }
}

async fn ask(
    network: &MemNetwork,
    endpoint: &Endpoint,
    lines: &[String],
) -> (Client, UnboundedReceiver<String>) {
    let (answers, receiver) = unbounded_channel();
    let (lines, framer) =
        (lines.to_vec(), LineFramer::new(crlf()).expect("both options are valid"));
    let asker = move |_: &ConnectionInfo| {
        let asker = Asker { lines: lines.clone(), answers: answers.clone(), missing: lines.len() };
        Lines::with_framer(asker, framer.clone())
    };
    let client = Client::builder(asker).network(network.clone()).connect(endpoint.clone()).await;
    (client.expect("the server listens"), receiver)
}

fn crlf() -> LineOptions {
    let mut options = LineOptions::default();
    options.delimiter = Delimiter::Crlf;
    options
}
