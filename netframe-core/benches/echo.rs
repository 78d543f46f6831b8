//! Echo over TCP: netframe beside a plain tokio loop, in the same run. One connection sends a
//! message and waits for it; one sends in a stream. Quote the ratio, not the times:
//! `cargo bench -p netframe-core --bench echo`.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::future::{Future, ready};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netframe_core::bytes::BytesMut;
use netframe_core::{ConnectionInfo, Protocol, Result, Server, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Echo;

impl Protocol for Echo {
    fn data_received(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        t.write_bytes(data.split().freeze());
        ready(Ok(()))
    }
}

async fn netframe(bound: mpsc::Sender<SocketAddr>) {
    let server = Server::bind("tcp://127.0.0.1:0", |_: &ConnectionInfo| Echo).await.unwrap();
    bound.send(server.endpoint().address().socket_addr().unwrap()).unwrap();
    server.run_until(std::future::pending::<()>()).await;
}

async fn tokio_loop(bound: mpsc::Sender<SocketAddr>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    bound.send(listener.local_addr().unwrap()).unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut buf = vec![0; 64 * 1024];
            while let Ok(len @ 1..) = stream.read(&mut buf).await {
                if stream.write_all(&buf[..len]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Starts a server on a thread of its own, which lives as long as the process.
fn start<Fut: Future<Output = ()>>(
    server: impl FnOnce(mpsc::Sender<SocketAddr>) -> Fut + Send + 'static,
) -> SocketAddr {
    let (bound, addr) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(server(bound));
    });
    addr.recv().unwrap()
}

fn echo(c: &mut Criterion) {
    let servers = [("netframe", start(netframe)), ("tokio loop", start(tokio_loop))];
    for (name, in_flight) in [("ping-pong", 1), ("pipelined", 32)] {
        let mut group = c.benchmark_group(name);
        for len in [16, 1024, 64 * 1024] {
            group.throughput(Throughput::Bytes((len * in_flight) as u64));
            for (server, addr) in servers {
                let mut client = TcpStream::connect(addr).unwrap();
                client.set_nodelay(true).unwrap();
                let mut writer = client.try_clone().unwrap();
                let (message, mut answer) = (vec![7; len], vec![0; len]);
                group.bench_function(BenchmarkId::new(server, len), |b| {
                    b.iter(|| {
                        thread::scope(|scope| {
                            if in_flight * len > 64 * 1024 {
                                // More than the sockets hold: it must be read meanwhile.
                                scope.spawn(|| {
                                    for _ in 0..in_flight {
                                        writer.write_all(&message).unwrap();
                                    }
                                });
                            } else {
                                for _ in 0..in_flight {
                                    writer.write_all(&message).unwrap();
                                }
                            }
                            for _ in 0..in_flight {
                                client.read_exact(black_box(&mut answer)).unwrap();
                            }
                        });
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, echo);
criterion_main!(benches);
