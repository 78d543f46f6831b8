//! HTTP: requests that were sent ahead are answered in order, with bodies of any length, each with its
//! own answer.

use std::sync::Arc;
use std::time::Duration;

use netframe_core::testing::sim::{self, SimNetwork};
use netframe_core::{ConnectionInfo, Result};
use netframe_protocols::http::{Handler, Http, HttpOptions, Request, Responder};

use crate::{SEEDS, bytes, converse};

#[test]
fn each_request_has_its_own_answer() {
    sim::seeds(SEEDS, answered);
}

pub(crate) async fn answered(net: SimNetwork) {
    let mut options = HttpOptions::default();
    options.head_timeout = 600; // the network is slow, and nobody is to blame
    let options = Arc::new(options);
    let factory = move |_: &ConnectionInfo| Http::with_options(Echo, Arc::clone(&options));
    let talk = converse(&net, factory, requests).await;
    talk.check(answers);
    talk.stop().await;
}

/// Answers with the body, at once, later, as it comes, or without having read it.
struct Echo;

impl Handler for Echo {
    async fn handle(&mut self, mut request: Request<'_>, response: Responder<'_>) -> Result {
        let (how, answer) = (request.path(), response.status(200).header("Date", "today")?);
        if how == "/ignored" {
            return Ok(answer.send("")?);
        }
        if how == "/streamed" {
            let mut out = answer.stream(request.body().len())?;
            while let Some(chunk) = request.body().chunk().await? {
                out.write(chunk).await?;
            }
            return Ok(out.finish()?);
        }
        let body = request.body().collect(usize::MAX).await?;
        if how == "/later" {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Ok(answer.send(body)?)
    }
}

const HOW: [&str; 4] = ["/collected", "/ignored", "/later", "/streamed"];

/// Requests of all kinds; some peers leave the head of the last one unfinished.
fn requests(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut requests = Vec::new();
    for _ in 0..rng.usize(0..15) {
        let how = rng.choice(HOW).unwrap();
        let len = if rng.bool() { rng.usize(0..100) } else { rng.usize(0..20_000) };
        let head = format!("POST {how} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        requests.extend_from_slice(head.as_bytes());
        requests.extend(bytes(rng, len));
    }
    if rng.u8(0..4) == 0 {
        requests.extend_from_slice(b"POST / HTTP/1.1\r\nHost");
    }
    requests
}

fn answers(mut sent: &[u8]) -> Vec<u8> {
    let mut answers = Vec::new();
    while let Some(end) = sent.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = str::from_utf8(&sent[..end]).unwrap();
        let len = head.rsplit(' ').next().unwrap().parse().unwrap();
        let body = &sent[end + 4..][..len];
        let is_ignored = head.starts_with("POST /ignored ");
        let said = if is_ignored { &b""[..] } else { body };
        let head =
            format!("HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: {}\r\n\r\n", said.len());
        answers.extend_from_slice(head.as_bytes());
        answers.extend_from_slice(said);
        sent = &sent[end + 4 + len..];
    }
    answers
}
