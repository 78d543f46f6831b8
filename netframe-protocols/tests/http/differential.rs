//! Beside hyper: whatever bytes come, this server may be stricter and never laxer. What it answers as
//! a request is one to hyper too, with the same method, target and body, and at the same place.
//!
//! `PROPTEST_CASES` says how many streams of requests are tried.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::Builder;

use netframe_core::{ConnectionInfo, Result, serve_io};
use netframe_protocols::http::{Handler, Http, Request, Responder};

/// What a server has taken for a request. Its body is missing if it was malformed or cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    body: Option<Vec<u8>>,
}

type Log = Arc<Mutex<Vec<Seen>>>;

#[test]
fn nothing_is_a_request_that_is_none_to_hyper() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        cases: cases.unwrap_or(3000),
        failure_persistence: None,
        ..Default::default()
    };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let answered = std::cell::Cell::new(0);
    let input = (wire(), vec(any::<Index>(), 0..3));
    TestRunner::new(config)
        .run(&input, |(wire, cuts)| {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            cuts.sort_unstable();
            let (ours, theirs) =
                runtime.block_on(async { (ours(&wire, &cuts).await, theirs(&wire).await) });
            answered.set(answered.get() + ours.len());
            check(&ours, &theirs).map_err(|error| {
                let wire = wire.escape_ascii();
                TestCaseError::fail(format!("{error}\n{wire}\nours: {ours:?}\nhyper: {theirs:?}"))
            })
        })
        .unwrap();
    assert!(answered.get() > 1000, "what is tried is hardly ever a request: {}", answered.get());
}

fn check(ours: &[Seen], theirs: &[Seen]) -> Result<(), String> {
    if ours.len() > theirs.len() {
        return Err(format!("{} requests, and {} to hyper", ours.len(), theirs.len()));
    }
    for (number, (our, their)) in ours.iter().zip(theirs).enumerate() {
        let same_target = our.target == their.target
            || our.target.parse::<http::Uri>().is_ok_and(|uri| uri.to_string() == their.target);
        if our.method != their.method || !same_target {
            return Err(format!("request {number} is another one to hyper"));
        }
        if our.body.is_some() && our.body != their.body {
            return Err(format!("request {number} has another body to hyper"));
        }
        if our.body.is_none() && number + 1 < ours.len() {
            return Err(format!("something follows request {number}, whose end nobody can tell"));
        }
    }
    Ok(())
}

#[derive(Clone)]
struct Report(Log);

impl Handler for Report {
    async fn handle(&mut self, mut request: Request<'_>, response: Responder<'_>) -> Result {
        let (method, target) = (request.method().to_owned(), request.target().to_owned());
        let body = request.body().collect(100_000).await;
        let read = body.as_ref().ok().map(|body| body.to_vec());
        self.0.lock().unwrap().push(Seen { method, target, body: read });
        let status = if request.method() == "CONNECT" { 405 } else { 200 };
        body?;
        response.status(status).send("")?;
        Ok(())
    }
}

async fn ours(wire: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let log = Log::default();
    let report = Report(Arc::clone(&log));
    let (ours, peer) = duplex(1 << 20);
    let served = serve_io(ours, move |_: &ConnectionInfo| Http::new(report.clone()));
    tokio::join!(served, send(peer, wire, cuts));
    take(&log)
}

async fn theirs(wire: &[u8]) -> Vec<Seen> {
    let log = Log::default();
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let log = Arc::clone(&log);
        async move {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            let status = if method == "CONNECT" { 405 } else { 200 };
            let body = request.into_body().collect().await.ok();
            let body = body.map(|body| body.to_bytes().to_vec());
            log.lock().unwrap().push(Seen { method, target, body });
            let answer = hyper::Response::builder().status(status).body(Empty::<Bytes>::new());
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    let (theirs, peer) = duplex(1 << 20);
    let mut http = hyper::server::conn::http1::Builder::new();
    let served = http.half_close(true).serve_connection(TokioIo::new(theirs), service);
    let (_, ()) = tokio::join!(served, send(peer, wire, &[]));
    take(&log)
}

fn take(log: &Log) -> Vec<Seen> {
    std::mem::take(&mut log.lock().unwrap())
}

/// Sends the bytes in pieces, then FIN, and reads to the end.
async fn send(mut peer: DuplexStream, wire: &[u8], cuts: &[usize]) {
    let mut from = 0;
    for to in cuts.iter().copied().chain([wire.len()]) {
        if peer.write_all(&wire[from..to]).await.is_err() {
            return;
        }
        for _ in 0..4 {
            tokio::task::yield_now().await; // the other side reads it
        }
        from = to;
    }
    let _ = peer.shutdown().await;
    let _ = peer.read_to_end(&mut Vec::new()).await;
}

/// Some requests behind each other, changed in some places.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    (vec(request(), 1..4), prop_oneof![Just(Vec::new()), vec(change(), 1..3)]).prop_map(
        |(requests, changes)| {
            let mut wire = requests.concat();
            for (change, at, byte) in changes {
                let at = at.index(wire.len() + 1);
                match change {
                    Change::Insert => wire.insert(at, byte),
                    Change::Set if at < wire.len() => wire[at] = byte,
                    Change::Remove if at < wire.len() => drop(wire.remove(at)),
                    Change::Again => {
                        let line = wire[at..].split_inclusive(|byte| *byte == b'\n').next();
                        let line = line.unwrap_or_default().to_vec();
                        drop(wire.splice(at..at, line));
                    }
                    Change::Flip if at < wire.len() => wire[at] ^= 0x20,
                    _ => {}
                }
            }
            // In a path hyper refuses it, in a query it does not. RFC 3986, section 3.3, has it in neither;
            // browsers leave it in a query, and it ends no target for anybody.
            wire.iter_mut().filter(|byte| **byte == b'`').for_each(|byte| *byte = b'_');
            wire
        },
    )
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Insert,
    Set,
    Remove,
    /// The rest of a line comes twice.
    Again,
    /// A letter in the other case.
    Flip,
}

fn change() -> impl Strategy<Value = (Change, Index, u8)> {
    let change =
        select(vec![Change::Insert, Change::Set, Change::Remove, Change::Again, Change::Flip]);
    let byte = prop_oneof![3 => select(&b"\r\n\0 \t:;,=\"0123456789abF\x0b\x0c\x7f\x85\xa0"[..]), 1 => any::<u8>()];
    (change, any::<Index>(), byte)
}

/// One request, which may be wrong in what it is made of.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![
        20 => select(&["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "get", "X-Y"][..]),
        1 => select(&["CONNECT", "G@T", "", "PRI", "Content-Length:"][..]),
    ];
    let target = prop_oneof![
        20 => select(&["/", "/a?b=c", "http://a/b", "http://a", "//x", "/%41%zz", "/a|b"][..]),
        1 => select(&["a:80", "*", "", "/#x", "ftp://a/", "/\"", "/ /", "https://[::1]:8/x?"][..]),
    ];
    let version = prop_oneof![
        20 => Just(" HTTP/1.1\r\n"),
        4 => Just(" HTTP/1.0\r\n"),
        1 => select(&[" HTTP/1.2\r\n", "\r\n", " HTTP/1.1\n", "  HTTP/1.1\r\n", " HTTP/1.1 \r\n"][..]),
    ];
    let field = prop_oneof![
        8 => select(&["X: y\r\n", "Accept: */*\r\n", "Cookie:\r\n", "X:\t \u{e9} \r\n"][..]),
        1 => select(ODD_FIELDS),
    ];
    let host =
        prop_oneof![9 => Just("Host: a\r\n"), 1 => select(&["", "hOsT:b:8\r\n", "Host:\r\n"][..])];
    let parts = (method, target, version, vec(field, 0..4), host, message());
    parts.prop_map(|(method, target, version, fields, host, (framing, body))| {
        let head = format!("{method} {target}{version}{host}{}{framing}\r\n", fields.concat());
        [head.as_bytes(), body.as_bytes()].concat()
    })
}

const ODD_FIELDS: &[&str] = &[
    "Host : a\r\n",
    "Host: a\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Connection: Keep-Alive, x\r\n",
    "Connection: x,close\r\n",
    "X: y\r\n z\r\n",
    "X\r\n",
    ": y\r\n",
    "X: y\n",
    "X: y\r\r\n",
    "\r\n",
    "Expect: 100-continue\r\n",
    "Content-Length: 1\r\n",
    "Content-Length:0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
];

/// How the body is framed, and the body.
fn message() -> impl Strategy<Value = (String, String)> {
    let none = Just((String::new(), String::new()));
    let text = select(TEXTS);
    let length = (
        prop_oneof![4 => text.clone(), 1 => Just("")],
        prop_oneof![12 => Just(""), 1 => select(ODD_LENGTHS)],
    )
        .prop_map(|(text, odd)| {
            let len = text.len();
            let value =
                if odd.is_empty() { len.to_string() } else { odd.replace('N', &len.to_string()) };
            (format!("Content-Length: {value}\r\n"), text.to_owned())
        });
    let coding = prop_oneof![12 => Just("chunked"), 1 => select(ODD_CODINGS)];
    let chunk = (text, extension(), end());
    let chunked = (coding, vec(chunk, 0..3), any::<bool>(), trailers()).prop_map(
        |(coding, chunks, upper, trailers)| {
            let mut body = String::new();
            for (text, extension, end) in chunks {
                let size =
                    if upper { format!("{:X}", text.len()) } else { format!("0{:x}", text.len()) };
                body += &format!("{size}{extension}\r\n{text}{end}");
            }
            (format!("Transfer-Encoding: {coding}\r\n"), body + trailers)
        },
    );
    prop_oneof![2 => none, 3 => length, 4 => chunked]
}

/// What is in a body, or in a chunk, of which the empty one is the last.
const TEXTS: &[&str] = &["a", "hello", "GET /in HTTP/1.1\r\nHost: a\r\n\r\n", "0\r\n\r\n"];

const ODD_LENGTHS: &[&str] =
    &["+N", "-N", "0N", " N ", "N,N", "N, N", "0xN", "N\t", "N;", "18446744073709551616"];

const ODD_CODINGS: &[&str] = &[
    "Chunked",
    "chunked ",
    "gzip, chunked",
    "chunked, gzip",
    "chunked;q=1",
    "\"chunked\"",
    "xchunked",
    "chunked,",
    ",chunked",
    "identity",
];

/// Behind the size of a chunk.
fn extension() -> impl Strategy<Value = &'static str> {
    let odd =
        &[" ", "\t;x", ";", ";x=y", ";x=\"a;b\"", ";x=\"\r\n", ";\n", ";x\ry", " ;x", "x", "\n"];
    prop_oneof![12 => Just(""), 1 => select(&odd[..])]
}

/// Behind the data of a chunk.
fn end() -> impl Strategy<Value = &'static str> {
    prop_oneof![20 => Just("\r\n"), 1 => select(&["\n", "", "\r", "x\r\n", "\r\n\r\n"][..])]
}

/// The last chunk, and what is behind it.
fn trailers() -> impl Strategy<Value = &'static str> {
    let odd = &[
        "0\r\nX: y\r\n\r\n",
        "0;x\r\n\r\n",
        "00\r\n\r\n",
        "0\n\n",
        "0\r\n\n",
        "0\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\r\n\r\n",
        "",
    ];
    prop_oneof![12 => Just("0\r\n\r\n"), 2 => select(&odd[..])]
}
