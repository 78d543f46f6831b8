//! What is a request, and what is refused, with its status: `docs/http.md` has the rules.

use netframe_core::Limits;
use netframe_protocols::http::HttpOptions;

use crate::world::{App, World};

/// An answer that the connection goes on after.
pub(crate) fn ok(body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n\r\n{body}")
}

/// The status and the body of one answer that closes the connection.
#[track_caller]
fn refusal(answer: &str) -> &str {
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let line = head.split("\r\n").next().unwrap();
    let status = line.strip_prefix("HTTP/1.1 ").unwrap();
    assert!(body.starts_with(&format!("{status}: ")), "{answer}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    status.split(' ').next().unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_answered() {
    let world = World::start().await;
    for (request, body) in [
        ("GET /asked HTTP/1.1\r\nHost: a\r\n\r\n", "GET /asked - a"),
        ("GET /asked?x=1&y HTTP/1.1\r\nhOST:\ta:80 \r\n\r\n", "GET /asked x=1&y a:80"),
        ("GET /asked HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET /asked - [::1]:8080"),
        ("GET /asked HTTP/1.1\r\nHost: a:\r\n\r\n", "GET /asked - a:"),
        ("GET http://b/asked?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /asked q b"),
        ("GET HTTPS://b:1/asked HTTP/1.1\r\nHost: a\r\n\r\n", "GET /asked - b:1"),
        ("get /asked HTTP/1.1\r\nHost: a\r\n\r\n", "get /asked - a"),
        ("M!#$%&'*+-.^_`|~9 /asked HTTP/1.1\r\nHost: a\r\n\r\n", "M!#$%&'*+-.^_`|~9 /asked - a"),
        ("\r\nGET /asked HTTP/1.1\r\nHost: a\r\n\r\n", "GET /asked - a"),
        ("\r\n\r\nGET /asked HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET /asked HTTP/1.1\r\nHost: %41-a\r\n\r\n", "GET /asked - %41-a"),
        ("GET /asked HTTP/1.1\r\nHost: a\r\nX:\r\nY: \x07f\u{e9}\r\n\r\n", ""),
        ("GET /asked HTTP/1.1\r\nHost: a\r\nX:\r\nY: \u{e9}\r\n\r\n", "GET /asked - a"),
        ("GET /asked HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "GET /asked - a"),
        ("POST /collect HTTP/1.1\r\nHost: a\r\n\r\n", "EMPTY"),
        ("POST /collect HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "abc"),
    ] {
        let answer = world.ask_split(request.as_bytes()).await;
        match body {
            "" => assert_eq!(refusal(&answer), "400", "{request}"),
            "EMPTY" => assert_eq!(answer, ok(""), "{request}"),
            body => assert_eq!(answer, ok(body), "{request}"),
        }
    }
    let answer = world.ask_split(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer, "HTTP/1.1 204 No Content\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn request_lines_that_are_refused() {
    let world = World::start().await;
    for (line, status) in [
        // RFC 9112, section 3: one space, and nothing else, between the parts.
        ("GET  / HTTP/1.1", "400"),
        ("GET\t/ HTTP/1.1", "400"),
        (" GET / HTTP/1.1", "400"),
        ("GET / HTTP/1.1 ", "400"),
        ("GET /", "400"),
        ("GET", "400"),
        ("", "400"),
        ("GET / x HTTP/1.1", "400"),
        // Section 3.1: the method is a token.
        ("G@T / HTTP/1.1", "400"),
        ("GE\u{e9} / HTTP/1.1", "400"),
        (&format!("{} / HTTP/1.1", "M".repeat(33)), "501"),
        // Section 2.3: the version.
        ("GET / HTTP/1.2", "505"),
        ("GET / HTTP/2.0", "505"),
        ("GET / HTTP/0.9", "505"),
        ("PRI * HTTP/2.0", "505"),
        ("GET / HTTP/1", "400"),
        ("GET / http/1.1", "400"),
        ("GET / HTTP/1.10", "400"),
        ("GET / HTTP/1.1x", "400"),
        ("GET / HTTX/1.1", "400"),
        // Section 3.2: the forms of the target.
        ("GET asked HTTP/1.1", "400"),
        ("GET * HTTP/1.1", "400"),
        ("GET a:80 HTTP/1.1", "400"),
        ("GET ftp://a/ HTTP/1.1", "400"),
        ("GET http:///x HTTP/1.1", "400"),
        ("GET http://u@a/ HTTP/1.1", "400"),
        ("GET /#x HTTP/1.1", "400"),
        ("GET /\u{e9} HTTP/1.1", "400"),
        ("GET /\x7f HTTP/1.1", "400"),
        ("GET /\"x\" HTTP/1.1", "400"),
        ("CONNECT / HTTP/1.1", "400"),
        ("CONNECT a HTTP/1.1", "400"),
        ("CONNECT a: HTTP/1.1", "400"),
        ("CONNECT u@a:80 HTTP/1.1", "400"),
        ("CONNECT a:66000 HTTP/1.1", "400"),
        ("GET http://a%4/ HTTP/1.1", "400"),
    ] {
        let answer = world.ask_split(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert_eq!(refusal(&answer), status, "{line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn fields_that_are_refused() {
    let world = World::start().await;
    for (fields, status) in [
        // RFC 9112, section 5: names, colons, folding.
        ("Host: a\r\nX : y\r\n", "400"),
        ("Host: a\r\n: y\r\n", "400"),
        ("Host: a\r\nX\r\n", "400"),
        ("Host: a\r\nX(: y\r\n", "400"),
        ("Host: a\r\nX: y\r\n z\r\n", "400"),
        ("Host: a\r\nX: y\r\n\tz\r\n", "400"),
        (" X: y\r\nHost: a\r\n", "400"),
        // RFC 9110, section 5.5: values.
        ("Host: a\r\nX: y\0z\r\n", "400"),
        ("Host: a\r\nX: y\rz\r\n", "400"),
        ("Host: a\r\nX: y\r\r\n", "400"),
        ("Host: a\r\nX: \x7f\r\n", "400"),
        // Section 2.2: lines end with CRLF.
        ("Host: a\nX: y\r\n", "400"),
        ("Host: a\r\nX: y\n", "400"),
        // Section 3.2: one valid `Host`.
        ("", "400"),
        ("X: y\r\n", "400"),
        ("Host: a\r\nHost: a\r\n", "400"),
        ("Host:\r\n", "400"),
        ("Host: a b\r\n", "400"),
        ("Host: a,b/\r\n", "400"),
        ("Host: u@a\r\n", "400"),
        ("Host: a:x\r\n", "400"),
        ("Host: a:65536\r\n", "400"),
        ("Host: [::1\r\n", "400"),
        ("Host: [::1]x\r\n", "400"),
        ("Host: [a]\r\n", "400"),
        ("Host: http://a\r\n", "400"),
        ("Host: a%4\r\n", "400"),
        ("Host: a%4g\r\n", "400"),
        // Section 6: framing.
        ("Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n", "400"),
        ("Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "400"),
        ("Host: a\r\nContent-Length: 1, 1\r\n", "400"),
        ("Host: a\r\nContent-Length:\r\n", "400"),
        ("Host: a\r\nContent-Length: +1\r\n", "400"),
        ("Host: a\r\nContent-Length: -1\r\n", "400"),
        ("Host: a\r\nContent-Length: 0x1\r\n", "400"),
        ("Host: a\r\nContent-Length: 1 1\r\n", "400"),
        ("Host: a\r\nContent-Length: 1.0\r\n", "400"),
        ("Host: a\r\nContent-Length: 99999999999999999999\r\n", "413"),
        ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: chunked, chunked\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: chunked, gzip\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", "501"),
        ("Host: a\r\nTransfer-Encoding: gzip\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: identity\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: xchunked\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: \"chunked\"\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: chunked;q=1\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding: , chunked\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding:\r\n", "400"),
        ("Host: a\r\nTransfer-Encoding : chunked\r\n", "400"),
        // RFC 9110, section 10.1.1.
        ("Host: a\r\nExpect: 200-ok\r\n", "417"),
    ] {
        let request = format!("POST /collect HTTP/1.1\r\n{fields}\r\n");
        let answer = world.ask_split(request.as_bytes()).await;
        assert_eq!(refusal(&answer), status, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn http_1_0() {
    let world = World::start().await;
    let answer = world.ask_split(b"GET /asked HTTP/1.0\r\n\r\nGET /asked HTTP/1.0\r\n\r\n").await;
    let (one, close) = (ok("GET /asked - -"), "Content-Length: 14\r\nConnection: close\r\n");
    assert_eq!(answer, one.replace("Content-Length: 14\r\n", close));
    let twice = "GET /asked HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n".repeat(2);
    let keep = "Content-Length: 14\r\nConnection: keep-alive\r\n";
    let answer = world.ask_split(twice.as_bytes()).await;
    assert_eq!(answer, one.replace("Content-Length: 14\r\n", keep).repeat(2));
    for (request, status) in [
        ("POST /collect HTTP/1.0\r\n\r\n", "411"),
        ("PUT /collect HTTP/1.0\r\nContent-Lengt5: 1\r\n\r\n", "411"),
        ("POST /collect HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("GET /asked HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "400"),
    ] {
        assert_eq!(refusal(&world.ask_split(request.as_bytes()).await), status, "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn heads_that_are_too_large() {
    let mut options = HttpOptions::default();
    (options.max_target, options.max_head, options.max_fields) = (50, 400, 5);
    let world = World::with(options, Limits::default(), App).await;
    let target = |len: usize| format!("GET /asked?{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len));
    assert!(world.ask_split(target(43).as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(refusal(&world.ask_split(target(44).as_bytes()).await), "414");
    // And without an end, or with one that comes too late to matter.
    assert_eq!(refusal(&world.ask_split(&[b'x'; 200]).await), "414");
    assert_eq!(refusal(&world.ask_split(&[&[b'x'; 200][..], b"\n"].concat()).await), "414");
    let method = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(200));
    assert_eq!(refusal(&world.ask_split(method.as_bytes()).await), "414");
    let head =
        |len: usize| format!("GET /asked HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(len));
    let fits = 400 - head(0).len();
    assert!(world.ask_split(head(fits).as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(refusal(&world.ask(&[head(fits + 1).as_bytes()]).await), "431");
    let fields =
        |count| format!("GET /asked HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert!(world.ask_split(fields(4).as_bytes()).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(refusal(&world.ask_split(fields(5).as_bytes()).await), "431");
}

#[tokio::test(start_paused = true)]
async fn a_head_without_its_end_is_not_answered() {
    let world = World::start().await;
    for head in ["GET /asked HTTP/1.1\r\nHost: a\r\n", "GET /asked HTTP/1.1\r\nX : y\r\n", "\r\n"] {
        assert_eq!(world.ask_split(head.as_bytes()).await, "", "{head:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_head_request_gets_no_body() {
    let world = World::start().await;
    let answer = world.ask_split(b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_a_tunnel_or_the_last_request() {
    let world = World::start().await;
    let inside = "GET /asked HTTP/1.1\r\nHost: b\r\n\r\n";
    for (fields, status) in [
        ("", "404"),
        ("Content-Length: 0\r\n", "404"),
        ("Content-Length: 37\r\n", "400"),
        ("Transfer-Encoding: chunked\r\n", "400"),
    ] {
        let request = format!("CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n{fields}\r\n{inside}");
        let answer = world.ask_split(request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_refused_request_is_not_answered() {
    let world = World::start().await;
    let smuggled = "GET /asked HTTP/1.1\r\nHost: b\r\n\r\n";
    for request in [
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!(
            "POST /ignore HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n{smuggled}"
        ),
        format!("GET / HTTP/1.1\r\nHost: a\r\n\n{smuggled}"),
    ] {
        let answer = world.ask_split(request.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_url_without_a_path_asks_for_the_root() {
    let world = World::start().await;
    for target in ["http://a", "http://a?x", "http://a/"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(world.ask(&[request.as_bytes()]).await.ends_with("nothing here"));
    }
}
