//! One protocol on any transport: a string says which, and nothing in the code does.
//!
//! Run it with `cargo run -p netframe-examples --example any_transport`; it takes other endpoints as
//! arguments. It prints a line for each, such as `listening udp://127.0.0.1:7007`, and serves until
//! Ctrl-C. Whatever is sent is answered with over what it came, and how many bytes it was, such as
//! `udp 6`: try `echo hello | nc 127.0.0.1 7007`, `echo hello | nc -u -w1 127.0.0.1 7007`, and
//! `echo hello | socat - UNIX-CONNECT:/tmp/netframe-example.sock`.

use netframe::{ConnectionInfo, Protocol, Result, Server, Transport, bytes::BytesMut};

const ENDPOINTS: [&str; 3] =
    ["tcp://127.0.0.1:7007", "udp://127.0.0.1:7007", "unix:///tmp/netframe-example.sock"];

/// Answers whatever comes with how much it is.
struct Count;

impl Protocol for Count {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        // Short: over UDP a new peer is sent at most three times what it sent itself.
        let answer = format!("{} {}\n", t.info().kind(), data.len());
        data.clear();
        t.write(answer.as_bytes());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result {
    let mut endpoints: Vec<String> = std::env::args().skip(1).collect();
    if endpoints.is_empty() {
        endpoints = ENDPOINTS.map(str::to_owned).into();
    }
    let mut server = Server::builder(|_: &ConnectionInfo| Count);
    for endpoint in endpoints {
        server = server.listen(endpoint)?;
    }
    let server = server.bind().await?;
    for endpoint in server.endpoints() {
        println!("listening {endpoint}");
    }
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}
