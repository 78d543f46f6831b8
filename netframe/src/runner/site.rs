//! The protocol `http`: a few answers to try a client, a proxy or a load with, and the files of a
//! folder.

mod files;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::files::Files;
use crate::protocols::http::{Handler, Http, HttpOptions, Request, Responder, ResponseError};
use crate::{BoxError, ConnectionInfo, Factory, Result};

/// The options of `http`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct SiteOptions {
    /// The folder whose files are served.
    root: Option<PathBuf>,
    #[serde(flatten)]
    http: HttpOptions,
}

impl SiteOptions {
    pub(super) fn max_head(&self) -> usize {
        self.http.max_head
    }
}

/// A factory of the protocol `http`.
pub(super) fn site(options: SiteOptions) -> Result<impl Factory, BoxError> {
    options.http.validate()?;
    let files = options.root.map(Files::new).transpose()?;
    let http = Arc::new(options.http);
    Ok(move |_: &ConnectionInfo| {
        Http::with_options(Site { files: files.clone() }, Arc::clone(&http))
    })
}

#[derive(Debug)]
struct Site {
    files: Option<Files>,
}

/// The longest wait of `/slow`.
const MAX_WAIT: u64 = 600_000;

/// The most that `/stream` sends in one chunk.
const MAX_CHUNK: u64 = 16 * 1024 * 1024;

/// The methods of what can be read only.
const READ: &str = "GET, HEAD, OPTIONS";

impl Handler for Site {
    async fn handle(&mut self, request: Request<'_>, response: Responder<'_>) -> Result {
        let (method, path) = (request.method(), request.path());
        let known = allowed(path);
        let Some(allowed) = known.or_else(|| self.files.is_some().then_some(READ)) else {
            return Ok(response.send(404, TEXT, "there is nothing here; see /\n")?);
        };
        match method {
            "OPTIONS" => return Ok(response.status(204).header("Allow", allowed)?.send("")?),
            method if allowed.split(", ").any(|other| other == method) => {}
            _ => {
                let refusal = response.status(405).header("Allow", allowed)?;
                return Ok(refusal.header("Content-Type", TEXT)?.send("see the field Allow\n")?);
            }
        }
        match (path, &mut self.files) {
            (path, Some(files)) if known.is_none() || path == "/" && files.has(path).await => {
                files.handle(request, response).await
            }
            (path, _) => answer(path, request, response).await,
        }
    }
}

/// Answers a path that is known.
async fn answer(path: &str, mut request: Request<'_>, response: Responder<'_>) -> Result {
    match path {
        "/" => Ok(response.send(200, "text/html; charset=utf-8", PAGE)?),
        "/plaintext" => Ok(response.send(200, "text/plain", "Hello, World!")?),
        "/json" => Ok(response.send(200, "application/json", r#"{"message":"Hello, World!"}"#)?),
        "/echo" => echo(&mut request, response).await,
        "/stream" => stream(request, response).await,
        "/slow" => slow(request, response).await,
        path => Ok(status(path, response)?),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The methods of one of the paths that are known.
fn allowed(path: &str) -> Option<&'static str> {
    match path {
        "*" => Some("GET, HEAD, OPTIONS, POST"), // asked for by OPTIONS alone
        "/echo" => Some("HEAD, OPTIONS, POST"),
        "/" | "/plaintext" | "/json" | "/stream" | "/slow" => Some(READ),
        path if path.starts_with("/status/") => Some(READ),
        _ => None,
    }
}

/// The body as it comes.
async fn echo(request: &mut Request<'_>, response: Responder<'_>) -> Result {
    let kind = request.header("content-type").unwrap_or(b"application/octet-stream");
    let len = request.body().len();
    // A client may wait to be told to go on, and an answer would tell it not to.
    let mut next = request.body().chunk().await?;
    let mut out = response.status(200).header("Content-Type", kind)?.stream(len)?;
    while let Some(chunk) = next {
        out.write(chunk).await?;
        next = request.body().chunk().await?;
    }
    Ok(out.finish()?)
}

/// So many chunks of so many bytes.
async fn stream(request: Request<'_>, response: Responder<'_>) -> Result {
    static DOTS: [u8; 32 * 1024] = [b'.'; _];
    let numbers = number(&request, "chunks", 10, u64::MAX)
        .and_then(|chunks| Ok((chunks, number(&request, "size", 1024, MAX_CHUNK)?)));
    let (chunks, size) = match numbers {
        Ok(numbers) => numbers,
        Err(error) => return Ok(response.send(400, TEXT, error)?),
    };
    let mut out = response.status(200).header("Content-Type", TEXT)?.stream(None)?;
    for _ in 0..chunks {
        let mut left = size;
        while left > 0 {
            let piece = &DOTS[..DOTS.len().min(left as usize)];
            out.write(piece).await?;
            left -= piece.len() as u64;
        }
        if out.is_discarded() {
            break; // HEAD
        }
    }
    Ok(out.finish()?)
}

/// An answer that takes its time.
async fn slow(request: Request<'_>, response: Responder<'_>) -> Result {
    match number(&request, "ms", 1000, MAX_WAIT) {
        Ok(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(response.send(200, TEXT, format!("after {ms} ms\n"))?)
        }
        Err(error) => Ok(response.send(400, TEXT, error)?),
    }
}

/// Any status that is asked for.
fn status(path: &str, response: Responder<'_>) -> Result<(), ResponseError> {
    let code = path.strip_prefix("/status/").and_then(|code| code.parse().ok());
    match code.filter(|code| (200..=599).contains(code)) {
        Some(code @ (204 | 205 | 304)) => response.status(code).send(""),
        Some(code) => response.send(code, TEXT, format!("{code}\n")),
        None => response.send(400, TEXT, "a status is a number from 200 to 599\n"),
    }
}

/// A number in the query, or what is wrong with it.
fn number(request: &Request<'_>, name: &str, default: u64, max: u64) -> Result<u64, String> {
    let query = request.query().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, value)) = pairs.find(|(key, _)| *key == name) else { return Ok(default) };
    value.parse().ok().filter(|number| *number <= max).ok_or_else(|| {
        let mut text = format!("`{name}` is a whole number");
        if max < u64::MAX {
            let _ = write!(text, " up to {max}");
        }
        text + "\n"
    })
}

/// The page at `/`.
const PAGE: &str = include_str!("site/index.html");
