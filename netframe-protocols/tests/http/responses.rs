//! What is answered: framing, fields, errors of handlers.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use netframe_core::testing::Harness;
use netframe_core::{ConnectionInfo, Result};
use netframe_protocols::http::{Http, Request, Responder, ResponseError};

use crate::requests::ok;
use crate::world::World;

#[tokio::test(start_paused = true)]
async fn answers_without_a_body() {
    let world = World::start().await;
    for (request, answer) in [
        (
            "HEAD /asked",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\n",
        ),
        ("GET /status?204", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET /status?304", "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("GET /status?205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
        ("GET /status?299", "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"),
        ("HEAD /echo", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ] {
        let request = format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2);
        assert_eq!(world.ask_split(request.as_bytes()).await, answer.repeat(2), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_of_unknown_length_is_chunked_or_ends_with_the_connection() {
    let world = World::start().await;
    let ask = |method: &str, version: &str| {
        format!("{method} /unknown HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
    };
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let closes = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    for (method, version, answer) in [
        ("GET", "1.1", format!("{chunked}5\r\nwhole\r\n0\r\n\r\n").repeat(2)),
        ("HEAD", "1.1", chunked.repeat(2)),
        ("GET", "1.0", format!("{closes}whole")),
        ("HEAD", "1.0", closes.to_owned()),
    ] {
        let twice = ask(method, version).repeat(2);
        assert_eq!(world.ask_split(twice.as_bytes()).await, answer, "{method} {version}");
    }
    // To who cannot see that it is cut off in any other way, it is by a reset.
    let mut stream = world.connect().await;
    stream.write_all(b"GET /cut HTTP/1.0\r\n\r\n").await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn interim_responses_come_before_the_answer() {
    let world = World::start().await;
    let want = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>";
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    let answer = world.ask(&[b"GET /hints HTTP/1.1\r\nHost: a\r\n\r\n"]).await;
    assert_eq!(answer, format!("{hints}{want}"));
    let answer = world.ask(&[b"GET /hints HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"]).await;
    assert!(!answer.contains("103"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn errors_of_handlers_are_answered_and_end_the_connection() {
    let world = World::start().await;
    for path in ["/fail", "/panic", "/silence"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2);
        let answer = world.ask(&[request.as_bytes()]).await;
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("Connection: close"));
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        assert!(!answer.contains("purpose"), "what went wrong is for the log: {answer}");
    }
    for (path, want) in [("/cut", "4\r\nhalf\r\n"), ("/short", "half")] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(2);
        let answer = world.ask(&[request.as_bytes()]).await;
        assert!(answer.ends_with(&format!("\r\n\r\n{want}")), "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn connection_close() {
    let world = World::start().await;
    let next = "GET /asked HTTP/1.1\r\nHost: a\r\n\r\n";
    for request in [
        "GET /asked HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /asked HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n",
        "GET /asked HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        "GET /close HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = world.ask_split(format!("{request}{next}").as_bytes()).await;
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

/// What a handler is told that answers so.
fn told(answer: fn(Responder<'_>) -> Result<(), ResponseError>) -> (Option<ResponseError>, String) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let handler = move |_: Request<'_>, response: Responder<'_>| {
        let result = answer(response);
        sender.send(result).unwrap();
        Ok(())
    };
    let mut client = Harness::new(Http::new(handler));
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let written = String::from_utf8_lossy(&client.take_written()).into_owned();
    (receiver.recv().unwrap().err(), written)
}

#[test]
fn nothing_can_be_put_into_an_answer_that_another_would_read() {
    type Answer = fn(Responder<'_>) -> Result<(), ResponseError>;
    let cases: &[(ResponseError, Answer)] = &[
        (ResponseError::Value, |r| r.status(200).header("X", "a\r\nY: b")?.send("")),
        (ResponseError::Value, |r| r.status(200).header("X", "a\nb")?.send("")),
        (ResponseError::Value, |r| r.status(200).header("X", "a\rb")?.send("")),
        (ResponseError::Value, |r| r.status(200).header("X", "a\0b")?.send("")),
        (ResponseError::Value, |r| r.send(200, "text/html\r\nX: y", "")),
        (ResponseError::Name, |r| r.status(200).header("X: y\r\nZ", "a")?.send("")),
        (ResponseError::Name, |r| r.status(200).header("", "a")?.send("")),
        (ResponseError::Name, |r| r.status(200).header("X ", "a")?.send("")),
        (ResponseError::Reserved("Content-Length"), |r| {
            r.status(200).header("content-length", "1")?.send("")
        }),
        (ResponseError::Reserved("Transfer-Encoding"), |r| {
            r.status(200).header("transfer-encoding", "chunked")?.send("")
        }),
        (ResponseError::Status, |r| r.status(100).send("")),
        (ResponseError::Status, |r| r.status(1000).send("")),
        (ResponseError::NoBody, |r| r.status(204).send("x")),
        (ResponseError::NoBody, |r| r.status(304).send("x")),
        (ResponseError::Interim, |mut r| r.interim(200, &[])),
        (ResponseError::Interim, |mut r| r.interim(101, &[])),
        (ResponseError::Value, |mut r| r.interim(103, &[("X", "\r\n")])),
    ];
    for (error, answer) in cases {
        let (told, written) = told(*answer);
        assert_eq!(told, Some(*error));
        assert!(written.starts_with("HTTP/1.1 500 "), "nothing of it was sent: {written}");
    }
}

#[test]
fn an_upgrade_hands_over_what_came_behind() {
    let upgrade = |request: Request<'_>, response: Responder<'_>| {
        if request.asks_for_upgrade("echo") {
            let echo = |_: &ConnectionInfo| netframe_protocols::Echo;
            response.upgrade("echo", std::sync::Arc::new(echo))?;
        } else {
            response.send(426, "text/plain", "ask for an upgrade to echo")?;
        }
        Ok(())
    };
    let ask = |fields: &str, behind: &str| {
        let mut client = Harness::new(Http::new(upgrade));
        client.receive(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{behind}").as_bytes());
        let written = String::from_utf8_lossy(&client.take_written()).into_owned();
        (written, client.is_switched(), String::from_utf8_lossy(client.leftover()).into_owned())
    };
    let (answer, switched, rest) = ask("Connection: Upgrade\r\nUpgrade: x, Echo\r\n", "hello");
    let want = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    assert_eq!((answer.as_str(), switched, rest.as_str()), (want, true, "hello"));
    for fields in [
        "Upgrade: echo\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: other\r\n",
        // What comes behind is a body, and no part of the other protocol.
        "Connection: upgrade\r\nUpgrade: echo\r\nContent-Length: 1\r\n",
        "Connection: upgrade\r\nUpgrade: echo\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let (answer, switched, _) = ask(fields, "");
        assert!(answer.starts_with("HTTP/1.1 426 ") && !switched, "{answer}");
    }
}

#[test]
fn a_tunnel_begins_behind_its_answer() {
    let tunnel = |request: Request<'_>, response: Responder<'_>| {
        assert_eq!((request.authority(), request.path()), (Some("b:80"), ""));
        let echo = |_: &ConnectionInfo| netframe_protocols::Echo;
        response.tunnel(std::sync::Arc::new(echo))?;
        Ok(())
    };
    let mut client = Harness::new(Http::new(tunnel));
    client.receive(b"CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\nhello");
    assert_eq!(&client.take_written()[..], b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(client.is_switched() && client.leftover() == b"hello");
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_order() {
    let world = World::start().await;
    let (one, other) =
        ("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", "GET /asked HTTP/1.1\r\nHost: a\r\n\r\n");
    let requests = [one, other, one, other].concat();
    let want = [ok("slow"), ok("GET /asked - a")].concat().repeat(2);
    assert_eq!(world.ask(&[requests.as_bytes()]).await, want);
}
