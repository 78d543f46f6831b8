//! A transport of one's own below a protocol that does not know of it: TCP, with every letter moved
//! by 13 places in the alphabet. It is a toy that hides nothing; a real one would encrypt.
//!
//! Run it with `cargo run -p netframe-examples --example own_transport -- serve 127.0.0.1:7007`. It
//! prints `listening custom://rot13/127.0.0.1:7007` and serves until Ctrl-C. Press Enter in
//! `nc 127.0.0.1 7007` to see what is on the wire, `Uryyb sebz gur freire!`. The other side,
//! `cargo run -p netframe-examples --example own_transport -- connect 127.0.0.1:7007`, prints what
//! the server's protocol said, `Hello from the server!`.
//!
//! A transport is a stream, made an [`Io`]; for servers a [`Listen`] that such streams come from, and
//! for clients a [`Connect`] that opens them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use netframe::protocols::hello;
use netframe::{
    AnyIo, Connect, Endpoint, Incoming, Io, Listen, Result, Server, Stream, async_trait,
};

/// Bytes that are moved at once.
const CHUNK_LEN: usize = 16 * 1024;

/// Letters are moved by 13 places on the way out, and back on the way in.
struct Rot13 {
    below: Box<dyn Io>,
}

impl Rot13 {
    /// Over any stream; resets and aborts pass through to it.
    fn over(below: impl Io) -> AnyIo<Self> {
        AnyIo::over(Self { below: Box::new(below) }, |rot13| &mut rot13.below)
    }
}

impl AsyncRead for Rot13 {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.below).poll_read(cx, buf))?;
        buf.filled_mut()[before..].iter_mut().for_each(|byte| *byte = rot13(*byte));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rot13 {
    /// What is not taken below comes again with the next call. A transport in which a byte depends on
    /// those before it must keep what it has made of them instead, and send it in `poll_flush` too.
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved: Vec<u8> = data.iter().take(CHUNK_LEN).map(|byte| rot13(*byte)).collect();
        Pin::new(&mut self.below).poll_write(cx, &moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(cx)
    }
}

fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        other => other,
    }
}

/// Where such streams come from.
struct Rot13Listener {
    tcp: TcpListener,
    endpoint: Endpoint,
}

impl Rot13Listener {
    async fn bind(addr: &str) -> Result<Self> {
        let tcp = TcpListener::bind(addr).await?;
        let endpoint = Endpoint::new_custom(format!("rot13/{}", tcp.local_addr()?))?;
        Ok(Self { tcp, endpoint })
    }
}

#[async_trait]
impl Listen for Rot13Listener {
    async fn accept(&mut self) -> io::Result<Incoming> {
        let (stream, peer) = self.tcp.accept().await?;
        let local = stream.local_addr()?;
        Ok(Incoming::new(Rot13::over(stream), peer.into(), local.into()))
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Opens such streams.
struct Rot13Connector {
    addr: String,
}

#[async_trait]
impl Connect for Rot13Connector {
    async fn connect(&self) -> io::Result<Incoming> {
        let stream = TcpStream::connect(&self.addr).await?;
        let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
        Ok(Incoming::new(Rot13::over(stream), peer.into(), local.into()))
    }
}

#[tokio::main]
async fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", addr] => serve(addr).await,
        ["connect", addr] => connect(addr).await,
        _ => Err("expected `serve ADDRESS` or `connect ADDRESS`".into()),
    }
}

async fn serve(addr: &str) -> Result {
    let listener = Rot13Listener::bind(addr).await?;
    let server = Server::builder(hello()).listen_on(listener).bind().await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

async fn connect(addr: &str) -> Result {
    let endpoint = Endpoint::new_custom(format!("rot13/{addr}"))?;
    let connector = Rot13Connector { addr: addr.to_owned() };
    let mut stream = Stream::builder().connect_with(endpoint, connector).await?;
    stream.write_all(b"Hello from the client!").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{answer}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use netframe::transport::mem::{MemStream, pair};

    use super::*;

    #[tokio::test]
    async fn letters_are_moved_on_the_wire_and_only_there() {
        let (mut ours, mut wire) = over_memory(3); // so that most writes are taken in part
        let writing = async {
            ours.write_all(b"Hello, 13 times!").await.unwrap();
            ours.shutdown().await.unwrap();
        };
        let mut seen = String::new();
        let ((), read) = tokio::join!(writing, wire.read_to_string(&mut seen));
        read.unwrap();
        assert_eq!(seen, "Uryyb, 13 gvzrf!");

        let mut heard = String::new();
        let writing = async {
            wire.write_all(seen.as_bytes()).await.unwrap();
            drop(wire);
        };
        let ((), read) = tokio::join!(writing, ours.read_to_string(&mut heard));
        read.unwrap();
        assert_eq!(heard, "Hello, 13 times!");
    }

    #[tokio::test]
    async fn a_reset_passes_in_both_directions() {
        let (mut ours, mut wire) = over_memory(100);
        wire.set_abort();
        drop(wire);
        ours.reset().await;

        let (mut ours, mut wire) = over_memory(100);
        ours.set_abort();
        drop(ours);
        wire.reset().await;
    }

    fn over_memory(capacity: usize) -> (AnyIo<Rot13>, MemStream) {
        let (ours, wire) = pair(capacity);
        (Rot13::over(ours), wire)
    }
}
