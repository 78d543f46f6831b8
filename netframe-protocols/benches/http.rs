//! HTTP/1.1 beside hyper: `cargo bench -p netframe-protocols --bench http`.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

mod beside;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::mpsc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use netframe_core::{ConnectionInfo, Server};
use netframe_protocols::http::{Http, Request, Responder};
use tokio::net::TcpListener;

use self::beside::{Ask, Running, compare};

const ASK: Ask = Ask {
    request: b"GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\n\
        Accept: text/plain,text/html;q=0.9,*/*;q=0.1\r\nConnection: keep-alive\r\n\r\n",
    answer_end: b"Hello, World!",
};

async fn netframe(bound: mpsc::Sender<SocketAddr>) {
    let hello = |request: Request<'_>, response: Responder<'_>| {
        match request.path() {
            "/plaintext" => response.send(200, "text/plain", "Hello, World!")?,
            _ => response.send(404, "text/plain", "")?,
        }
        Ok(())
    };
    let factory = move |_: &ConnectionInfo| Http::new(hello);
    let server = Server::bind("tcp://127.0.0.1:0", factory).await.unwrap();
    bound.send(server.endpoint().address().socket_addr().unwrap()).unwrap();
    server.run_until(std::future::pending::<()>()).await;
}

async fn by_hyper(bound: mpsc::Sender<SocketAddr>) {
    let hello = async |request: hyper::Request<Incoming>| {
        let (status, body) = match request.uri().path() {
            "/plaintext" => (200, "Hello, World!"),
            _ => (404, ""),
        };
        let answer = hyper::Response::builder().status(status).header("Content-Type", "text/plain");
        Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    bound.send(listener.local_addr().unwrap()).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.pipeline_flush(true);
            let _ = builder.serve_connection(TokioIo::new(stream), service_fn(hello)).await;
        });
    }
}

fn main() {
    let servers = [Running::start("netframe", netframe), Running::start("hyper", by_hyper)];
    compare(&servers, &ASK);
}
