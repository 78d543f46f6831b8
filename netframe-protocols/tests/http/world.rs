//! A server in memory, and a client that sends bytes and reads what comes.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use netframe_core::transport::mem::{MemNetwork, MemStream};
use netframe_core::{ConnectionInfo, Limits, Result, Server};
use netframe_protocols::http::{Handler, Http, HttpOptions, Request, Responder, refusal};

/// What answers in most tests: what it was asked, or the body.
#[derive(Clone, Debug)]
pub(crate) struct App;

impl Handler for App {
    async fn handle(&mut self, mut request: Request<'_>, mut response: Responder<'_>) -> Result {
        match request.path() {
            "/asked" => {
                let (method, query) = (request.method(), request.query().unwrap_or("-"));
                let authority = request.authority().unwrap_or("-");
                let text = format!("{method} {} {query} {authority}", request.path());
                response.send(200, "text/plain", text)?;
            }
            "/collect" => {
                let body = request.body().collect(1000).await?;
                response.send(200, "text/plain", body)?;
            }
            "/echo" => {
                let len = request.body().len();
                let mut out = response.status(200).stream(len)?;
                while let Some(chunk) = request.body().chunk().await? {
                    out.write(chunk).await?;
                }
                out.finish_with(&request.body().trailers())?;
            }
            "/ignore" => response.send(200, "text/plain", "ignored")?,
            "/status" => {
                let status: u16 = request.query().unwrap().parse().unwrap();
                response.status(status).send("")?;
            }
            "/close" => {
                response.close();
                response.send(200, "text/plain", "bye")?;
            }
            "/slow" => {
                sleep(Duration::from_secs(5)).await;
                response.send(200, "text/plain", "slow")?;
            }
            "/fail" => return Err("on purpose".into()),
            "/panic" => panic!("on purpose"),
            "/silence" => {}
            "/cut" => {
                let mut out = response.status(200).stream(None)?;
                out.write("half").await?;
                return Err("on purpose".into());
            }
            "/short" => {
                let mut out = response.status(200).stream(Some(10))?;
                out.write("half").await?;
                out.finish()?;
            }
            "/unknown" => {
                let mut out = response.status(200).stream(None)?;
                out.write("whole").await?;
                out.finish()?;
            }
            "/hints" => {
                response.interim(103, &[("Link", "</style.css>; rel=preload")])?;
                response.send(200, "text/html", "<p>")?;
            }
            "*" => response.status(204).send("")?,
            _ => response.send(404, "text/plain", "nothing here")?,
        }
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) server: Server,
    network: MemNetwork,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(HttpOptions::default(), Limits::default(), App).await
    }

    pub(crate) async fn with(
        options: HttpOptions,
        limits: Limits,
        handler: impl Handler + Clone + Sync,
    ) -> Self {
        let network = MemNetwork::new();
        let options = Arc::new(options);
        let factory =
            move |_: &ConnectionInfo| Http::with_options(handler.clone(), Arc::clone(&options));
        let builder =
            Server::builder(factory).network(network.clone()).limits(limits).refusal(refusal());
        let server = builder.listen("mem://http").unwrap().bind().await.unwrap();
        Self { server, network }
    }

    pub(crate) async fn connect(&self) -> MemStream {
        self.network.connect("http").await.unwrap()
    }

    /// Sends these pieces, with pauses, then FIN; returns all that is answered, without dates.
    pub(crate) async fn ask(&self, pieces: &[&[u8]]) -> String {
        let (mut reader, mut writer) = tokio::io::split(self.connect().await);
        let send = async {
            for piece in pieces {
                // A connection that was closed takes no more.
                if writer.write_all(piece).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
            }
            let _ = writer.shutdown().await;
        };
        let mut answer = Vec::new();
        let receive = async {
            // It may end with a reset, where the answer says so.
            let _ = reader.read_to_end(&mut answer).await;
        };
        tokio::join!(send, receive);
        without_dates(&answer)
    }

    /// As [`ask`](Self::ask), at every split; the answer must be the same.
    #[track_caller]
    pub(crate) fn ask_split(&self, bytes: &[u8]) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let whole = self.ask(&[bytes]).await;
            for at in 1..bytes.len() {
                let (one, other) = bytes.split_at(at);
                let split = self.ask(&[one, other]).await;
                assert_eq!(split, whole, "split at {at}, {caller}");
            }
            let each: Vec<_> = bytes.chunks(1).collect();
            assert_eq!(self.ask(&each).await, whole, "byte by byte, {caller}");
            whole
        }
    }
}

/// An answer as text, without the fields that change.
fn without_dates(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: "));
    lines.collect()
}
