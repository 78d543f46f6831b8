//! An axum application and tower-http's services, over TCP, Unix sockets and memory.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Extension, Multipart, Path, Query};
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::services::ServeDir;

use netframe_core::{ConnectionInfo, Server, Stream};
use netframe_protocols::http::{self, Http};

#[derive(serde::Deserialize, serde::Serialize)]
struct Greeting {
    name: String,
}

fn app(files: &std::path::Path) -> Router {
    let events = async || {
        let texts = ["one", "two"].map(|text| Ok::<_, Infallible>(Event::default().data(text)));
        Sse::new(futures_util::stream::iter(texts))
    };
    let parts = async |mut form: Multipart| {
        let mut told = String::new();
        while let Some(field) = form.next_field().await.unwrap() {
            let name = field.name().unwrap().to_owned();
            told += &format!("{name}={} ", field.text().await.unwrap());
        }
        told
    };
    Router::new()
        .route("/", get(async || "hello"))
        .route("/user/{id}", get(async |Path(id): Path<u32>| format!("user {id}")))
        .route("/query", get(async |Query(g): Query<Greeting>| g.name))
        .route("/json", post(async |Json(g): Json<Greeting>| Json(g)))
        .route("/echo", post(async |body: axum::body::Body| body))
        .route("/limited", post(async |body: Bytes| body).layer(RequestBodyLimitLayer::new(10)))
        .route(
            "/peer",
            get(async |Extension(info): Extension<ConnectionInfo>| info.kind().to_string()),
        )
        .route("/events", get(events))
        .route("/parts", post(parts))
        .route("/text", get(async || "again ".repeat(1000)).layer(CompressionLayer::new()))
        .route("/empty", get(async || StatusCode::NO_CONTENT))
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .nest_service("/files", ServeDir::new(files))
}

/// One request on a connection of its own; head and body of the answer.
async fn ask(server: &Server, request: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut stream = Stream::connect(server.endpoint().clone()).await.unwrap();
    let (line, fields) = request.split_once('\n').unwrap_or((request, ""));
    let fields = fields.replace('\n', "\r\n");
    let len = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len}\r\n{fields}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

async fn serves(endpoint: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "0123456789").unwrap();
    let app = app(folder.path());
    let factory = move |_: &ConnectionInfo| Http::new(http::service(app.clone()));
    let server = Server::bind(endpoint, factory).await.unwrap();
    let kind = endpoint.split(':').next().unwrap();
    for (request, body, status, answer) in [
        ("GET /", "", 200, "hello"),
        ("GET /user/7", "", 200, "user 7"),
        ("GET /user/x", "", 400, "Invalid URL: Cannot parse `x` to a `u32`"),
        ("GET /query?name=Ada", "", 200, "Ada"),
        (
            "POST /json\nContent-Type: application/json\n",
            "{\"name\":\"Ada\"}",
            200,
            "{\"name\":\"Ada\"}",
        ),
        ("POST /echo", "some bytes", 200, "some bytes"),
        ("POST /limited", "0123456789", 200, "0123456789"),
        ("POST /limited", "0123456789a", 413, "length limit exceeded"),
        ("GET /peer", "", 200, kind),
        ("GET /empty", "", 204, ""),
        ("GET /missing", "", 404, ""),
        ("DELETE /", "", 405, ""),
        ("GET /files/a.txt", "", 200, "0123456789"),
        ("GET /files/a.txt\nRange: bytes=2-4\n", "", 206, "234"),
        ("GET /files/../Cargo.toml", "", 404, ""),
        ("GET /files/%2e%2e/Cargo.toml", "", 404, ""),
        (
            "POST /parts\nContent-Type: multipart/form-data; boundary=b\n",
            "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--\r\n",
            200,
            "x=1 ",
        ),
    ] {
        let (head, got) = ask(&server, request, body.as_bytes()).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {head}");
        assert_eq!(String::from_utf8_lossy(&got), answer, "{request}");
    }
    let (head, got) = ask(&server, "HEAD /files/a.txt", b"").await;
    assert!(head.contains("content-length: 10\r\n") || head.contains("Content-Length: 10\r\n"));
    assert!(got.is_empty());
    let (head, got) = ask(&server, "GET /events", b"").await;
    assert!(head.contains("text/event-stream") && head.contains("Transfer-Encoding: chunked"));
    let got = String::from_utf8(got).unwrap();
    assert!(got.contains("data: one\n\n") && got.ends_with("0\r\n\r\n"), "{got}");
    let (head, got) = ask(&server, "GET /text\nAccept-Encoding: gzip\n", b"").await;
    assert!(head.contains("gzip") && got.len() < 1000, "{head}");
    let (head, _) = ask(&server, "GET /panic", b"").await;
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
    server.shutdown(Duration::from_secs(9)).await;
}

#[tokio::test]
async fn an_application_is_served_over_tcp() {
    serves("tcp://127.0.0.1:0").await;
}

#[cfg(unix)]
#[tokio::test]
async fn an_application_is_served_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    serves(&format!("unix://{}", path.to_str().unwrap())).await;
}

#[tokio::test]
async fn an_application_is_served_in_memory() {
    serves("mem://http-application").await;
}
