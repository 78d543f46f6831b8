//! What requests and answers cost, counted: allocations for each of them, and the heap of an idle
//! connection. `cargo test -p netframe-protocols --test requests_cost -- --nocapture` prints the
//! figures.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use allocation_counter::measure;
use netframe_core::bytes::{Buf, BufMut, BytesMut};
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{Client, ConnectionInfo, Factory, Result, Server};
use netframe_protocols::codec::{Decoder, Encoder};
use netframe_protocols::requests::{RequestClient, RequestOptions, RequestServer, Tagged};
use tokio::runtime::{Builder, Runtime};

/// Numbers of eight bytes, and their ids before them.
#[derive(Clone, Copy)]
struct Numbers;

impl Decoder for Numbers {
    type Item = Tagged<u64>;
    type Error = io::Error;

    fn decode(&mut self, data: &mut BytesMut) -> io::Result<Option<Tagged<u64>>> {
        Ok((data.len() >= 16).then(|| Tagged { id: data.get_u64(), content: data.get_u64() }))
    }
}

impl Encoder<Tagged<u64>> for Numbers {
    type Error = io::Error;

    fn encode(&mut self, number: Tagged<u64>, out: &mut BytesMut) -> io::Result<()> {
        out.put_u64(number.id);
        out.put_u64(number.content);
        Ok(())
    }
}

async fn successor(number: u64) -> Result<u64> {
    Ok(number + 1)
}

/// A client and its server, in memory.
fn connect(server: impl Factory) -> (Runtime, RequestClient<u64, u64>, Client, Server) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (client, connection, server) = runtime.block_on(async {
        let network = MemNetwork::new();
        let server = Server::builder(server).network(network.clone());
        let server = server.listen("mem://server").unwrap().bind().await.unwrap();
        let (client, connections) = RequestClient::by_id(|| Numbers, RequestOptions::default());
        let connection = Client::builder(connections).network(network);
        let connection = connection.connect("mem://server").await.unwrap();
        (client, connection, server)
    });
    (runtime, client, connection, server)
}

/// Allocations of a thousand calls, client and server together, `together` of them at a time.
fn allocations(server: impl Factory, together: usize) -> u64 {
    let (runtime, client, connection, server) = connect(server);
    let calls = async |rounds: usize| {
        for _ in 0..rounds {
            let mut calls = [const { None }; 16];
            for call in &mut calls[..together] {
                *call = Some(Box::pin(client.call(7)));
            }
            for call in calls.into_iter().flatten() {
                assert_eq!(call.await.unwrap(), 8);
            }
        }
    };
    let count = |rounds| measure(|| runtime.block_on(calls(rounds))).count_total;
    count(100); // pools and buffers fill
    let (few, many) = (count(1), count(1 + 1000));
    runtime.block_on(async {
        drop(connection);
        server.shutdown(Duration::from_secs(9)).await;
    });
    (many - few) / together as u64 - 1000 // the box of each call is the test's own
}

#[test]
fn a_call_costs_no_allocation_and_one_where_several_are_answered_at_once() {
    let one = |_: &ConnectionInfo| {
        RequestServer::by_id(Numbers, successor).max_in_flight(NonZeroUsize::MIN)
    };
    let many = |_: &ConnectionInfo| RequestServer::by_id(Numbers, successor);
    let found = [1, 16].map(|together| (allocations(one, together), allocations(many, together)));
    println!("allocations per 1000 calls, one at a time and 16: {found:?}");
    assert_eq!(found, [(0, 1000), (0, 1000)]);
}
