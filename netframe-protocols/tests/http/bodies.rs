//! Bodies of requests: lengths, chunks, trailers, what nobody reads, `100 Continue`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use netframe_core::{Limits, Result};
use netframe_protocols::http::{Body, Handler, HttpOptions, Request, Responder};

use crate::requests::ok;
use crate::world::World;

#[tokio::test(start_paused = true)]
async fn chunked_bodies_that_are_read() {
    let world = World::start().await;
    for (body, read) in [
        ("0\r\n\r\n", ""),
        ("3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"),
        ("00000000000000003\r\nabc\r\n0\r\n\r\n", "-"),
        ("0000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
        ("3;x\r\nabc\r\n0;y=z\r\n\r\n", "abc"),
        ("3;x=\"a;\\\"b\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ("3\r\nabc\r\n0\r\nX: y\r\nZ:\r\n\r\n", "abc"),
        ("3\r\n\r\n\r\r\n0\r\n\r\n", "\r\n\r"),
    ] {
        let head = "POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let answer = world.ask_split(format!("{head}{body}{NEXT}").as_bytes()).await;
        if read == "-" {
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        } else {
            assert_eq!(answer, ok(read) + &next(), "{body:?}");
        }
    }
}

const NEXT: &str = "GET /asked HTTP/1.1\r\nHost: a\r\n\r\n";

fn next() -> String {
    ok("GET /asked - a")
}

#[tokio::test(start_paused = true)]
async fn chunked_bodies_that_are_refused() {
    let world = World::start().await;
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(5000));
    let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let many = format!("0\r\n{}\r\n", "X: y\r\n".repeat(33));
    for (body, status) in [
        ("\r\n", "400"),
        ("x\r\n", "400"),
        ("-1\r\n", "400"),
        ("+1\r\na\r\n0\r\n\r\n", "400"),
        ("0x1\r\na\r\n0\r\n\r\n", "400"),
        (" 1\r\na\r\n0\r\n\r\n", "400"),
        ("1 \r\na\r\n0\r\n\r\n", "400"),
        ("1\t;x\r\na\r\n0\r\n\r\n", "400"),
        ("1\na\r\n0\r\n\r\n", "400"),
        ("1\r\na\n0\r\n\r\n", "400"),
        ("1\r\nab\r\n0\r\n\r\n", "400"),
        ("1;x\n\r\na\r\n0\r\n\r\n", "400"),
        ("1;x\ry\r\na\r\n0\r\n\r\n", "400"),
        ("1;x=\"\r\n\"\r\na\r\n0\r\n\r\n", "400"),
        ("1\r\na\r\n0\r\n\n", "400"),
        ("10000000000000000\r\na", "400"),
        ("0\r\nContent-Length: 1\r\n\r\n", "400"),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
        ("0\r\nHost: b\r\n\r\n", "400"),
        ("0\r\nX : y\r\n\r\n", "400"),
        ("0\r\nX: y\n\r\n", "400"),
        (&trailers, "431"),
        (&many, "431"),
        (&long, "400"),
        ("3E9\r\n", "413"), // collected, 1001 bytes: see below
    ] {
        let head = "POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body =
            if body == "3E9\r\n" { format!("{body}{}", "x".repeat(1001)) } else { body.into() };
        let request = format!("{head}{body}{NEXT}");
        let answer = if request.len() < 500 {
            world.ask_split(request.as_bytes()).await
        } else {
            world.ask(&[request.as_bytes()]).await
        };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{body:?} {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_stream_both_ways() {
    let world = World::start().await;
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let answer = world.ask_split(format!("{head}hello{NEXT}").as_bytes()).await;
    assert_eq!(answer, format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{}", next()));

    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = "5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    let answer = world.ask(&[format!("{head}{body}{NEXT}").as_bytes()]).await;
    let want =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n";
    assert_eq!(answer, format!("{want}{}", next()));
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_is_thrown_away_or_ends_the_connection() {
    let world = World::start().await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";
    for body in ["Content-Length: 5\r\n\r\nhello", chunked] {
        let request = format!("POST /ignore HTTP/1.1\r\nHost: a\r\n{body}{NEXT}");
        assert_eq!(world.ask_split(request.as_bytes()).await, ok("ignored") + &next());
    }
    let large = vec![b'x'; 65_537];
    for (len, answers) in [(65_536, 2), (65_537, 1)] {
        let head = format!("POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        let answer = world.ask(&[head.as_bytes(), &large[..len], NEXT.as_bytes()]).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), answers, "{len}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_cut_off_is_no_body() {
    let world = World::start().await;
    for request in [
        "POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell",
        "POST /collect HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r",
    ] {
        let answer = world.ask_split(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    // Nor does a client take half of an answer for one.
    let answer =
        world.ask(&[b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"]).await;
    assert!(answer.contains("Content-Length: 5\r\n") && answer.ends_with("hell"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_is_told_to_go_on() {
    let world = World::start().await;
    let head =
        "POST /collect HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n";
    let answer = world.ask(&[head.as_bytes(), b"hello", NEXT.as_bytes()]).await;
    assert_eq!(answer, format!("HTTP/1.1 100 Continue\r\n\r\n{}{}", ok("hello"), next()));
    // Not where the body is here already, nor where nobody reads it: then it may come or not.
    let answer = world.ask(&[format!("{head}hello{NEXT}").as_bytes()]).await;
    assert_eq!(answer, format!("{}{}", ok("hello"), next()));
    let ignored = head.replace("/collect", "/ignore");
    let answer = world.ask(&[ignored.as_bytes(), b"hello", NEXT.as_bytes()]).await;
    let close = "Content-Length: 7\r\nConnection: close\r\n";
    assert_eq!(answer, ok("ignored").replace("Content-Length: 7\r\n", close));
    let large = head.replace("Content-Length: 5", "Content-Length: 1001");
    let answer = world.ask(&[large.as_bytes()]).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("Connection: close"),
        "{answer}"
    );
}

/// What a handler may do to a body besides reading it.
#[derive(Clone)]
struct Careless;

impl Handler for Careless {
    async fn handle(&mut self, mut request: Request<'_>, response: Responder<'_>) -> Result {
        match request.path() {
            // The error is passed over, and it is read on.
            "/again" => {
                for _ in 0..300 {
                    match request.body().chunk().await {
                        Ok(None) => break,
                        Ok(Some(chunk)) => assert!(chunk.starts_with(b"good"), "{chunk:?}"),
                        Err(_) => {}
                    }
                }
            }
            "/taken" => drop(std::mem::take(request.body())),
            "/put-aside" => {
                let body = std::mem::take(request.body());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    drop(body);
                });
            }
            "/elsewhere" => {
                let mut body = request.into_body();
                tokio::spawn(async move { while let Ok(Some(_)) = body.chunk().await {} });
            }
            _ => {}
        }
        response.send(200, "text/plain", "done")?;
        Ok(())
    }
}

async fn careless() -> World {
    World::with(HttpOptions::default(), Limits::default(), Careless).await
}

#[tokio::test(start_paused = true)]
async fn behind_an_error_in_a_body_nothing_is_read() {
    let world = careless().await;
    let head = "POST /again HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    // Each is well-formed if its begin is read again in the state that its error was found in.
    let extension = format!("4\r\ngood\r\n5;{}\r\nwrong\r\n0\r\n\r\n", "x".repeat(5000));
    for body in [
        &extension,
        "11111111111111111\r\n",
        "4\r\ngood\r\n5;\x01\r\nwrong\r\n0\r\n\r\n",
        "0\r\nX\r\n\r\n",
    ] {
        let answer = world.ask(&[format!("{head}{body}{NEXT}").as_bytes()]).await;
        assert_eq!(answer, ok("done"), "{body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_taken_away_is_not_read_as_a_request() {
    let world = careless().await;
    for path in ["/taken", "/put-aside"] {
        for (framing, body) in [
            (format!("Content-Length: {}", NEXT.len()), NEXT.to_owned()),
            ("Transfer-Encoding: chunked".to_owned(), format!("0\r\n\r\n{NEXT}")),
        ] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
            let answer = world.ask(&[head.as_bytes(), body.as_bytes(), NEXT.as_bytes()]).await;
            assert_eq!(answer, ok("done"), "{path} {framing}");
        }
    }
    // Given away in order, it comes back.
    let head = "POST /elsewhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    let answer = world.ask_split(format!("{head}hello{NEXT}").as_bytes()).await;
    assert_eq!(answer, ok("done").repeat(2));
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_connection_is_not_taken_for_its_own() {
    /// Puts the body of the last request in the place of this one's.
    #[derive(Clone, Default)]
    struct Swap(Arc<Mutex<Body>>);

    impl Handler for Swap {
        async fn handle(&mut self, mut request: Request<'_>, response: Responder<'_>) -> Result {
            std::mem::swap(request.body(), &mut self.0.lock().unwrap());
            response.send(200, "text/plain", "done")?;
            Ok(())
        }
    }

    let world = World::with(HttpOptions::default(), Limits::default(), Swap::default()).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    for _ in 0..2 {
        let answer = world.ask(&[head.as_bytes(), b"hello", NEXT.as_bytes()]).await;
        assert_eq!(answer, ok("done"));
    }
}
