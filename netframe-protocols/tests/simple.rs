//! Echo, discard and hello, without a network and behind real servers.

use std::time::Duration;

use netframe_core::testing::{Harness, replay};
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{CloseKind, Factory, Server, Side};
use netframe_protocols::{Discard, Echo, GREETING, Hello, discard, echo, hello};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::TcpStream;

#[test]
fn echo_returns_the_same_bytes_at_every_split() {
    for wire in [&b""[..], b"\0", b"hello\r\nworld", &[0xff; 100]] {
        let transcript = replay(wire, || Echo);
        assert_eq!(transcript.written, wire);
        assert_eq!(transcript.ended, Some((Side::Peer, CloseKind::Eof)));
    }
}

#[test]
fn echo_takes_no_more_than_its_peer_reads() {
    let mut peer = Harness::new(Echo);
    peer.set_reading_peer(false);
    for _ in 0..10 {
        peer.receive(&[7; 64 * 1024]);
    }
    assert_eq!(
        peer.transport().take_written().len(),
        128 * 1024,
        "the high watermark and one more"
    );
    peer.set_reading_peer(true);
    assert_eq!(peer.take_written().len(), 8 * 64 * 1024);
}

#[test]
fn discard_answers_nothing_at_every_split() {
    let transcript = replay(b"hello\r\nworld", || Discard);
    assert_eq!(transcript.written, b"");
    assert_eq!(transcript.ended, Some((Side::Peer, CloseKind::Eof)));
}

#[test]
fn hello_greets_once_and_closes() {
    let transcript = replay(b"any words", || Hello);
    assert_eq!(transcript.written, GREETING.as_bytes());
    assert_eq!(transcript.ended, Some((Side::Local, CloseKind::Closed)));
}

#[test]
fn hello_has_no_greeting_for_a_silent_peer() {
    let transcript = replay(b"", || Hello);
    assert_eq!(transcript.written, b"");
    assert_eq!(transcript.ended, Some((Side::Peer, CloseKind::Eof)));
}

#[tokio::test]
async fn echo_serves() {
    let sent: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    let answers = ask(echo, &sent).await;
    assert!(answers.iter().all(|answer| *answer == sent));
}

#[tokio::test]
async fn discard_serves() {
    assert_eq!(ask(discard, &[7; 1 << 20]).await, [b"", b""]);
}

#[tokio::test]
async fn hello_serves() {
    assert_eq!(ask(hello, b"hi").await, [GREETING.as_bytes(); 2]);
}

/// Sends `request` and the end of it while it reads the answer, over TCP and over memory.
async fn ask<F: Factory>(factory: impl Fn() -> F, request: &[u8]) -> [Vec<u8>; 2] {
    let server = Server::bind("tcp://127.0.0.1:0", factory()).await.unwrap();
    let addr = server.endpoint().address().socket_addr().unwrap();
    let over_tcp = exchange(TcpStream::connect(addr).await.unwrap(), request).await;
    assert!(server.shutdown(Duration::from_secs(10)).await.aborted == 0);

    let network = MemNetwork::new();
    let builder = Server::builder(factory()).network(network.clone());
    let server = builder.listen("mem://simple").unwrap().bind().await.unwrap();
    let over_mem = exchange(network.connect("simple").await.unwrap(), request).await;
    assert!(server.shutdown(Duration::from_secs(10)).await.aborted == 0);
    [over_tcp, over_mem]
}

async fn exchange(stream: impl AsyncRead + AsyncWrite, request: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = split(stream);
    let send = async {
        writer.write_all(request).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut answer = Vec::new();
    let (received, ()) = tokio::join!(reader.read_to_end(&mut answer), send);
    received.unwrap();
    answer
}
