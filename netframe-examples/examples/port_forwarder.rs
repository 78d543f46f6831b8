//! Forwards what comes to one endpoint to another, of any kind, and the answers back.
//!
//! Run it with
//! `cargo run -p netframe-examples --example port_forwarder -- tcp://127.0.0.1:7008 tcp://127.0.0.1:7007`.
//! It prints `listening tcp://127.0.0.1:7008` and serves until Ctrl-C, which lets open connections
//! finish for half a minute. With a server behind it, such as the example `shout`, everything is as
//! if that listened on port 7008.
//!
//! The protocol itself is some hundred lines: `netframe-protocols/src/forward.rs`.

use netframe::protocols::PortForward;
use netframe::{Result, Server};

#[tokio::main]
async fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target] = &args[..] else { return Err("expected `LISTEN TARGET`".into()) };
    let server = Server::bind(&**listen, PortForward::to(target.parse()?)).await?;
    println!("listening {}", server.endpoint());
    let report = server.run_until(tokio::signal::ctrl_c()).await;
    println!("{report}");
    Ok(())
}
