//! Echo, discard, hello and chargen, without a network and behind real servers.

use std::time::Duration;

use netframe_core::testing::{Harness, replay, serve};
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{CloseKind, Factory, Limits, Result, Server, Side, Transport};
use netframe_protocols::{Discard, Echo, GREETING, Hello, chargen, discard, echo, hello};
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
    assert_eq!(peer.transport().queued(), 128 * 1024, "one delivery above the high watermark");
    peer.set_reading_peer(true);
    assert_eq!(peer.take_written().len(), 10 * 64 * 1024);
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
async fn chargen_sends_lines_until_nobody_reads_them() -> Result {
    let (mut peer, connection) = serve(chargen(), Limits::default());
    peer.write_all(b"is thrown away").await?;
    let mut lines = vec![0; 74 * 1000];
    peer.read_exact(&mut lines).await?;
    let lines: Vec<_> = lines.chunks(74).collect();
    // As RFC 864 shows it.
    assert_eq!(
        lines[0],
        b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n"
    );
    assert_eq!(
        lines[24],
        b"89:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~ \r\n"
    );
    assert_eq!(lines[95..190], lines[..95]);
    drop(peer);
    assert_eq!(connection.closed().await.kind(), CloseKind::Reset);
    Ok(())
}

#[tokio::test]
async fn chargen_ends_in_a_drain() -> Result {
    let network = MemNetwork::new();
    let builder = Server::builder(chargen()).network(network.clone());
    let server = builder.listen("mem://chargen")?.bind().await?;
    let mut peer = network.connect("chargen").await?;
    peer.read_exact(&mut [0; 1000]).await?;
    let read = async move { peer.read_to_end(&mut Vec::new()).await }; // then it closes, too
    let (report, read) = tokio::join!(server.shutdown(Duration::from_secs(60)), read);
    read?;
    assert_eq!((report.drained, report.aborted), (1, 0));
    Ok(())
}

#[tokio::test]
async fn echo_serves() -> Result {
    let sent: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    let answers = ask(echo, &sent).await?;
    assert!(answers.iter().all(|answer| *answer == sent));
    Ok(())
}

#[tokio::test]
async fn discard_serves() -> Result {
    assert_eq!(ask(discard, &[7; 1 << 20]).await?, [b"", b""]);
    Ok(())
}

#[tokio::test]
async fn hello_serves() -> Result {
    assert_eq!(ask(hello, b"hi").await?, [GREETING.as_bytes(); 2]);
    Ok(())
}

/// What comes back over TCP and over memory, for a request that ends.
async fn ask<F: Factory>(factory: impl Fn() -> F, request: &[u8]) -> Result<[Vec<u8>; 2]> {
    let server = Server::bind("tcp://127.0.0.1:0", factory()).await?;
    let addr = server.endpoint().address().socket_addr().ok_or("tcp has an address")?;
    let over_tcp = exchange(TcpStream::connect(addr).await?, request).await?;
    assert_eq!(server.shutdown(Duration::from_secs(10)).await.aborted, 0);

    let network = MemNetwork::new();
    let builder = Server::builder(factory()).network(network.clone());
    let server = builder.listen("mem://simple")?.bind().await?;
    let over_mem = exchange(network.connect("simple").await?, request).await?;
    assert_eq!(server.shutdown(Duration::from_secs(10)).await.aborted, 0);
    Ok([over_tcp, over_mem])
}

/// Sends while it reads, as the peer stops to read when its answers are not taken.
async fn exchange(stream: impl AsyncRead + AsyncWrite, request: &[u8]) -> Result<Vec<u8>> {
    let (mut reader, mut writer) = split(stream);
    let mut answer = Vec::new();
    let send = async {
        writer.write_all(request).await?;
        writer.shutdown().await
    };
    tokio::try_join!(send, reader.read_to_end(&mut answer))?;
    Ok(answer)
}
