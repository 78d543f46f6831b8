//! A codec from crates.io: a little Redis, whose messages are those of the crate `redis-protocol`.
//!
//! Run it with `cargo run -p netframe-examples --example redis_codec`; it takes another endpoint as
//! an argument. Then ask it with `redis-cli -p 6380 set fruit fig`, or with bytes by hand:
//! `printf '*1\r\n$4\r\nPING\r\n' | nc -N 127.0.0.1 6380`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use netframe::protocols::codec::{Framed, MessageProtocol, MessageTransport};
use netframe::{ConnectionInfo, Result, Server, bytes::Bytes};
use redis_protocol::codec::Resp2;
use redis_protocol::resp2::types::BytesFrame::{self, *};
use redis_protocol::resp2::types::Resp2Frame;

/// One connection, with what all of them store.
struct Redis(Arc<Mutex<HashMap<Bytes, Bytes>>>);

impl MessageProtocol<Resp2> for Redis {
    async fn message_received(
        &mut self,
        t: &mut MessageTransport<'_, Resp2>,
        command: BytesFrame,
    ) -> Result {
        t.send(self.answer(&command))?;
        Ok(())
    }
}

impl Redis {
    fn answer(&self, command: &BytesFrame) -> BytesFrame {
        let Array(words) = command else { return Error("ERR a command is an array".into()) };
        let words: Vec<&[u8]> = words.iter().filter_map(BytesFrame::as_bytes).collect();
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match words[..] {
            [name] if name.eq_ignore_ascii_case(b"ping") => SimpleString("PONG".into()),
            [name, key] if name.eq_ignore_ascii_case(b"get") => {
                store.get(key).cloned().map_or(Null, BulkString)
            }
            [name, key, value] if name.eq_ignore_ascii_case(b"set") => {
                store.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                SimpleString("OK".into())
            }
            _ => Error("ERR unknown command; there are PING, GET and SET".into()),
        }
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:6380".into());
    let store = Arc::default();
    let redis = move |_: &ConnectionInfo| Framed::new(Resp2::default(), Redis(Arc::clone(&store)));
    let server = Server::bind(endpoint, redis).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}
