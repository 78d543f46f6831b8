//! A codec of messages beside the `Framed` of tokio-util in a plain loop on a tokio socket, which
//! flushes when it has answered all that it has read:
//! `cargo bench -p netframe-protocols --bench messages`.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

mod beside;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::mpsc;

use futures_util::{SinkExt, StreamExt};
use netframe_core::bytes::{Buf, BufMut, BytesMut};
use netframe_core::{ConnectionInfo, Factory, Result, Server};
use netframe_protocols::codec::{Decoder, Encoder, Framed, MessageProtocol, MessageTransport};
use netframe_protocols::requests::RequestServer;
use tokio::net::{TcpListener, TcpStream};

use self::beside::{Ask, Running, compare};

/// The number 7, which is answered with 8.
const ASK: Ask = Ask { request: &[0, 0, 0, 0, 0, 0, 0, 7], answer_end: &[0, 0, 0, 0, 0, 0, 0, 8] };

/// Numbers of eight bytes.
#[derive(Clone, Copy)]
struct Numbers;

impl Decoder for Numbers {
    type Item = u64;
    type Error = io::Error;

    fn decode(&mut self, data: &mut BytesMut) -> io::Result<Option<u64>> {
        Ok((data.len() >= 8).then(|| data.get_u64()))
    }
}

impl Encoder<u64> for Numbers {
    type Error = io::Error;

    fn encode(&mut self, number: u64, out: &mut BytesMut) -> io::Result<()> {
        out.put_u64(number);
        Ok(())
    }
}

struct Successor;

impl MessageProtocol<Numbers> for Successor {
    async fn message_received(
        &mut self,
        t: &mut MessageTransport<'_, Numbers>,
        number: u64,
    ) -> Result {
        t.send(number + 1)?;
        Ok(())
    }
}

async fn successor(number: u64) -> Result<u64> {
    Ok(number + 1)
}

async fn serve(bound: mpsc::Sender<SocketAddr>, factory: impl Factory) {
    let server = Server::bind("tcp://127.0.0.1:0", factory).await.unwrap();
    bound.send(server.endpoint().address().socket_addr().unwrap()).unwrap();
    server.run_until(std::future::pending::<()>()).await;
}

async fn messages(bound: mpsc::Sender<SocketAddr>) {
    serve(bound, |_: &ConnectionInfo| Framed::new(Numbers, Successor)).await;
}

async fn requests(bound: mpsc::Sender<SocketAddr>) {
    serve(bound, |_: &ConnectionInfo| RequestServer::in_order(Numbers, successor)).await;
}

async fn requests_at_once(bound: mpsc::Sender<SocketAddr>) {
    let max = NonZeroUsize::new(100).unwrap();
    serve(bound, move |_: &ConnectionInfo| {
        RequestServer::in_order(Numbers, successor).max_in_flight(max)
    })
    .await;
}

async fn by_tokio_util(bound: mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    bound.send(listener.local_addr().unwrap()).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(answer(tokio_util::codec::Framed::new(stream, Numbers)));
    }
}

async fn answer(mut framed: tokio_util::codec::Framed<TcpStream, Numbers>) {
    while let Some(Ok(number)) = framed.next().await {
        let _ = framed.feed(number + 1).await;
        if framed.read_buffer().is_empty() {
            let _ = framed.flush().await;
        }
    }
}

fn main() {
    for (name, ours) in [
        ("Framed", Running::start("Framed", messages)),
        ("RequestServer", Running::start("RequestServer", requests)),
        (
            "RequestServer, 100 at once",
            Running::start("RequestServer, 100 at once", requests_at_once),
        ),
    ] {
        println!("{name}:");
        compare(&[ours, Running::start("a plain loop", by_tokio_util)], &ASK);
    }
}
