//! An axum application on TCP and on a Unix socket, as a reverse proxy would ask it.
//!
//! Run it with `cargo run -p netframe-examples --example axum_app`; it takes other endpoints as
//! arguments. It prints a line for each, such as `listening tcp://127.0.0.1:7082`, and serves until
//! Ctrl-C: try `curl http://127.0.0.1:7082/user/Ada`, and
//! `curl --unix-socket /tmp/netframe-axum.sock http://localhost/user/Ada`.

use axum::extract::{Extension, Path};
use axum::routing::{get, post};
use axum::{Json, Router};
use netframe::protocols::http::{self, Http};
use netframe::{ConnectionInfo, Result, Server};
use serde::{Deserialize, Serialize};

const ENDPOINTS: [&str; 2] = ["tcp://127.0.0.1:7082", "unix:///tmp/netframe-axum.sock"];

#[derive(Deserialize, Serialize)]
struct Sum {
    numbers: Vec<f64>,
}

/// Nothing in it knows of netframe but what asks for the connection.
fn app() -> Router {
    let greet = async |Path(name): Path<String>, Extension(info): Extension<ConnectionInfo>| {
        format!("hello {name}, over {}\n", info.kind())
    };
    let sum = async |Json(sum): Json<Sum>| Json(sum.numbers.iter().sum::<f64>());
    Router::new().route("/user/{name}", get(greet)).route("/sum", post(sum))
}

#[tokio::main]
async fn main() -> Result {
    let mut endpoints: Vec<String> = std::env::args().skip(1).collect();
    if endpoints.is_empty() {
        endpoints = ENDPOINTS.map(str::to_owned).into();
    }
    let app = app();
    let mut server =
        Server::builder(move |_: &ConnectionInfo| Http::new(http::service(app.clone())));
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
