//! A protocol of one's own in twenty lines, with its test: the ones in README.md.
//!
//! Run it with `cargo run -p netframe-examples --example shout`; it takes another endpoint as an
//! argument. It prints `listening tcp://127.0.0.1:7007` and serves until Ctrl-C. What is typed into
//! `nc 127.0.0.1 7007` comes back in upper case: `hello` as `HELLO`.
//!
//! Test it with `cargo test -p netframe-examples --example shout`.

use netframe::{ConnectionInfo, Protocol, Result, Server, Transport, bytes::BytesMut};

/// Answers everything in upper case.
struct Shout;

impl Protocol for Shout {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write(&data.split().to_ascii_uppercase());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let server = Server::bind(endpoint, |_: &ConnectionInfo| Shout).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use netframe::testing::replay;

    #[test]
    fn answers_in_upper_case_however_the_bytes_are_cut() {
        assert_eq!(replay(b"Hello, world!\n", || Shout).written, b"HELLO, WORLD!\n");
    }
}
