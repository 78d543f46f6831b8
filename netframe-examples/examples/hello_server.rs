//! Hello, the server: says `Hello from the server!` to whatever arrives first, then closes.
//!
//! Run it with `cargo run -p netframe-examples --example hello_server`; it takes another endpoint as
//! an argument. It prints `listening tcp://127.0.0.1:12345` and serves until Ctrl-C. Then run the
//! example `hello_client` beside it, or press Enter in `nc 127.0.0.1 12345`.

use netframe::protocols::hello;
use netframe::{Result, Server};

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:12345".into());
    let server = Server::bind(endpoint, hello()).await?;
    println!("listening {}", server.endpoint());
    let report = server.run_until(tokio::signal::ctrl_c()).await;
    println!("stopped: {report}");
    Ok(())
}
