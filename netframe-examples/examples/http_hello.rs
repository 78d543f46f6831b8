//! A handler of HTTP requests of one's own.
//!
//! Run it with `cargo run -p netframe-examples --example http_hello`; it takes another endpoint as an
//! argument. It prints `listening tcp://127.0.0.1:7081` and serves until Ctrl-C: try
//! `curl http://127.0.0.1:7081/hello` and `curl --data-binary @README.md http://127.0.0.1:7081/count`.

use netframe::protocols::http::{Handler, Http, Request, Responder};
use netframe::{ConnectionInfo, Result, Server};

/// Greets, and counts what it is sent.
struct Hello;

impl Handler for Hello {
    async fn handle(&mut self, mut request: Request<'_>, response: Responder<'_>) -> Result {
        match (request.method(), request.path()) {
            ("GET" | "HEAD", "/hello") => response.send(200, "text/plain", "hello\n")?,
            ("POST", "/count") => {
                let mut count = 0;
                while let Some(chunk) = request.body().chunk().await? {
                    count += chunk.len(); // however long the body is, it is never in memory
                }
                response.send(200, "text/plain", format!("{count} bytes\n"))?;
            }
            _ => response.send(404, "text/plain", "there are GET /hello and POST /count\n")?,
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7081".into());
    let server = Server::bind(endpoint, |_: &ConnectionInfo| Http::new(Hello)).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}
