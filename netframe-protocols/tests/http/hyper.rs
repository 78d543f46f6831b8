//! hyper over netframe: HTTP/2, and a WebSocket of axum.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::routing::{any, get, post};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use netframe_core::{Server, Stream};
use netframe_protocols::http;

fn app() -> Router {
    let echo = async |mut socket: WebSocket| {
        while let Some(Ok(Message::Text(text))) = socket.recv().await {
            socket.send(Message::Text(text)).await.unwrap();
        }
    };
    Router::new()
        .route("/", get(async || "hello"))
        .route("/echo", post(async |body: Bytes| body))
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_millis(200)).await;
                "slow"
            }),
        )
        .route("/ws", any(async move |ws: WebSocketUpgrade| ws.on_upgrade(echo)))
}

async fn serve(name: &str) -> (Server, Stream) {
    let server = Server::bind(format!("mem://{name}").as_str(), http::hyper(app())).await.unwrap();
    let stream = Stream::connect(server.endpoint().clone()).await.unwrap();
    (server, stream)
}

#[tokio::test(start_paused = true)]
async fn http_2_is_served() {
    let (server, stream) = serve("h2").await;
    let connecting =
        ::hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (client, connection) = connecting.await.unwrap();
    let connection = tokio::spawn(connection);
    let ask = |method: &str, path: &str, body: &'static str| {
        let request = ::hyper::Request::builder().method(method).uri(format!("http://a{path}"));
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        let answer = client.clone().send_request(request);
        async move {
            let answer = answer.await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), answer.version()),
                (200, ::hyper::Version::HTTP_2)
            );
            answer.into_body().collect().await.unwrap().to_bytes()
        }
    };
    let (one, other) = tokio::join!(ask("GET", "/", ""), ask("POST", "/echo", "some bytes"));
    assert_eq!((&one[..], &other[..]), (&b"hello"[..], &b"some bytes"[..]));
    // A drain lets what is under way be answered.
    let slow = tokio::spawn(ask("GET", "/slow", ""));
    tokio::task::yield_now().await;
    let report = tokio::spawn(server.shutdown(Duration::from_secs(30)));
    assert_eq!(&slow.await.unwrap()[..], b"slow");
    drop(client);
    connection.await.unwrap().unwrap();
    assert_eq!(report.await.unwrap().aborted, 0);
}

#[tokio::test]
async fn a_websocket_is_served() {
    let (server, mut stream) = serve("ws").await;
    let request = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    // The example of RFC 6455, section 1.3.
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    // Text, masked with zeros; it comes back without a mask (section 5.2).
    stream.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
    let mut frame = [0; 7];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\x81\x05hello");
    drop(stream);
    server.shutdown(Duration::from_secs(9)).await;
}
