//! HTTP/2 and WebSockets, which hyper adds for an axum application.
//!
//! Run it with `cargo run -p netframe-examples --example http2_websocket`; it takes another endpoint
//! as an argument. It prints `listening tcp://127.0.0.1:7083` and serves until Ctrl-C. Try
//! `curl --http2-prior-knowledge http://127.0.0.1:7083/`, and in the console of a browser
//! `let s = new WebSocket("ws://127.0.0.1:7083/shout"); s.onmessage = m => console.log(m.data);
//! s.onopen = () => s.send("hello")`: it says `HELLO`.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::Version;
use axum::routing::{any, get};
use netframe::protocols::http;
use netframe::{Result, Server};

/// Answers each message in upper case.
async fn shout(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        let answer = Message::text(text.to_uppercase());
        if socket.send(answer).await.is_err() {
            return; // who asked is gone
        }
    }
}

fn app() -> Router {
    let upgrade = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(shout);
    let version = async |version: Version| format!("{version:?}\n");
    Router::new().route("/", get(version)).route("/shout", any(upgrade))
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7083".into());
    let server = Server::bind(endpoint, http::hyper(app())).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}
