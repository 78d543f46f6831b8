//! Hello, the client: a protocol for the other side of a connection is written in the same way.
//!
//! Start the example `hello_server`, then run
//! `cargo run -p netframe-examples --example hello_client`; it takes another endpoint as an
//! argument. It prints the answer, `Hello from the server!`, and how the connection ended.

use netframe::{Client, ConnectionInfo, Protocol, Result, Transport, bytes::BytesMut};

/// Says hello, and prints what the server answers.
struct HelloClient;

impl Protocol for HelloClient {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        t.write(b"Hello from the client!");
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        // The answer may come in pieces: what is left in `data` comes back with more behind it.
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        println!("{}", String::from_utf8_lossy(data));
        t.close();
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:12345".into());
    let client = Client::connect(endpoint, |_: &ConnectionInfo| HelloClient).await?;
    let reason = client.closed().await;
    println!("{reason}, {} bytes in, {} bytes out", reason.bytes_in(), reason.bytes_out());
    Ok(())
}
