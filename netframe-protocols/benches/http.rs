//! HTTP/1.1 beside hyper, in the same run: CPU time of the server's thread for a request, one at a
//! time and 16 pipelined. The two take turns, so that what disturbs one disturbs the other. Quote
//! the ratio, not the times: `cargo bench -p netframe-protocols --bench http`.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::convert::Infallible;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use netframe_core::{ConnectionInfo, Server};
use netframe_protocols::http::{Http, Request, Responder};
use nix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const ROUNDS: usize = 15;
const REQUESTS: usize = 48_000;
const CONNECTIONS: usize = 8;

const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\n\
    Accept: text/plain,text/html;q=0.9,*/*;q=0.1\r\nConnection: keep-alive\r\n\r\n";

/// A server, and how to ask for the CPU time that its thread has taken.
struct Running {
    name: &'static str,
    addr: SocketAddr,
    clock: tokio::sync::mpsc::UnboundedSender<oneshot::Sender<Duration>>,
}

impl Running {
    fn start<Fut: Future<Output = ()>>(
        name: &'static str,
        server: impl FnOnce(mpsc::Sender<SocketAddr>) -> Fut + Send + 'static,
    ) -> Self {
        let (bound, addr) = mpsc::channel();
        let (clock, mut asked) =
            tokio::sync::mpsc::unbounded_channel::<oneshot::Sender<Duration>>();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let tell = async {
                    while let Some(answer) = asked.recv().await {
                        let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
                        answer.send(now.into()).unwrap();
                    }
                };
                tokio::join!(server(bound), tell)
            });
        });
        Self { name, addr: addr.recv().unwrap(), clock }
    }

    fn cpu(&self) -> Duration {
        let (sender, answer) = oneshot::channel();
        self.clock.send(sender).unwrap();
        answer.blocking_recv().unwrap()
    }

    /// CPU time for a request.
    fn round(&self, pipelined: usize) -> f64 {
        let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(self.addr)).collect();
        let ask = |clients: &mut Vec<Client>, requests| {
            let batch = REQUEST.repeat(pipelined);
            for _ in 0..requests / pipelined / CONNECTIONS {
                clients
                    .iter_mut()
                    .for_each(|client| client.stream.write_all(batch.as_bytes()).unwrap());
                clients.iter_mut().for_each(|client| client.receive(pipelined));
            }
        };
        ask(&mut clients, REQUESTS / 10);
        let before = self.cpu();
        ask(&mut clients, REQUESTS);
        (self.cpu() - before).as_secs_f64() / REQUESTS as f64
    }
}

struct Client {
    stream: TcpStream,
    /// Bytes of one answer, once known.
    len: usize,
}

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, len: 0 };
        client.stream.write_all(REQUEST.as_bytes()).unwrap();
        let mut got = [0; 1024];
        while !got[..client.len].ends_with(b"Hello, World!") {
            client.len += client.stream.read(&mut got[client.len..]).unwrap();
        }
        client
    }

    fn receive(&mut self, answers: usize) {
        let mut got = [0; 16 * 1024];
        let mut left = self.len * answers;
        while left > 0 {
            let max = left.min(got.len());
            left -= self.stream.read(&mut got[..max]).unwrap();
        }
    }
}

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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let servers = [Running::start("netframe", netframe), Running::start("hyper", by_hyper)];
    for (name, pipelined) in [("one at a time", 1), ("16 pipelined", 16)] {
        let mut times = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            for (server, times) in servers.iter().zip(&mut times) {
                times.push(server.round(pipelined));
            }
        }
        let ratios = times[0].iter().zip(&times[1]).map(|(ours, other)| ours / other).collect();
        let [ours, other] = times.map(median);
        println!(
            "{name}: {} takes {:.2} times the CPU of {} (medians; of the ratios of the rounds {:.2})",
            servers[0].name,
            ours / other,
            servers[1].name,
            median(ratios),
        );
        println!("    {:.0} ns and {:.0} ns for a request", ours * 1e9, other * 1e9);
    }
}
