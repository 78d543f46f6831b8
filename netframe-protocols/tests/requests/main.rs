//! Requests and answers: in order, pipelined and by id; bounds, deadlines, what is given up, ends of
//! connections, peers that do not read.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

mod client;
mod server;

use std::num::NonZeroUsize;
use std::time::Duration;

use netframe_core::bytes::{BufMut, BytesMut};
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{BoxError, Client, ConnectionInfo, Factory, Result, Server};
use netframe_protocols::codec::{Decoder, Encoder};
use netframe_protocols::requests::{RequestClient, RequestOptions, RequestServer, Tagged};
use tokio::time::sleep;
use tokio_util::codec::{LinesCodec, LinesCodecError};

/// Far beyond whatever a test waits for.
const LONG: Duration = Duration::from_secs(600);

fn some(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("it is more than nothing")
}

/// Answers in upper case; `fail` is an error.
async fn shout(line: String) -> Result<String> {
    if line == "fail" { Err("asked to".into()) } else { Ok(line.to_uppercase()) }
}

/// Answers after as many milliseconds as the line says, before its first space.
async fn late(line: String) -> Result<String> {
    let millis = line.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
    sleep(Duration::from_millis(millis)).await;
    Ok(line)
}

/// Lines whose first word is an id.
#[derive(Clone)]
struct TaggedLines(LinesCodec);

fn tagged_lines() -> TaggedLines {
    TaggedLines(LinesCodec::new_with_max_length(1000))
}

impl Decoder for TaggedLines {
    type Item = Tagged<String>;
    type Error = LinesCodecError;

    fn decode(&mut self, data: &mut BytesMut) -> Result<Option<Self::Item>, Self::Error> {
        Ok(self.0.decode(data)?.map(|line| {
            let (id, content) = line.split_once(' ').unwrap_or((&line, ""));
            Tagged { id: id.parse().unwrap_or(u64::MAX), content: content.to_owned() }
        }))
    }
}

impl Encoder<Tagged<String>> for TaggedLines {
    type Error = BoxError;

    fn encode(&mut self, line: Tagged<String>, out: &mut BytesMut) -> Result<(), BoxError> {
        out.put_slice(b"half of it");
        if line.content.contains('\n') {
            return Err("a line has no LF".into());
        }
        out.truncate(out.len() - b"half of it".len());
        Ok(self.0.encode(format!("{} {}", line.id, line.content), out)?)
    }
}

fn in_flight(max: usize) -> RequestOptions {
    let mut options = RequestOptions::default();
    options.max_in_flight = some(max);
    options
}

/// A server in a network of its own, and its name there.
async fn serve(factory: impl Factory) -> (MemNetwork, Server) {
    let network = MemNetwork::new();
    let server = Server::builder(factory).network(network.clone());
    let server = server.listen("mem://server").unwrap().bind().await.unwrap();
    (network, server)
}

async fn connect(network: &MemNetwork, connections: impl Factory) -> Client {
    Client::builder(connections).network(network.clone()).connect("mem://server").await.unwrap()
}

/// A client of a server that answers lines by their ids, with its connection.
async fn by_id<F, Fut>(
    answer: F,
    options: RequestOptions,
) -> (RequestClient<String, String>, Client, Server)
where
    F: Fn(String) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<String>> + Send + 'static,
{
    let server = move |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), answer.clone());
    let (network, server) = serve(server).await;
    let (client, connections) = RequestClient::by_id(tagged_lines, options);
    let connection = connect(&network, connections).await;
    (client, connection, server)
}
