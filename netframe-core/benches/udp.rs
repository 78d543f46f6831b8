//! Echo over UDP: sessions and a `DatagramProtocol` beside a plain tokio loop, in the same run. One
//! peer sends a datagram and waits for it; many send and wait together. Quote the ratio, not the
//! times: `cargo bench -p netframe-core --bench udp`.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::future::{Future, ready};
use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netframe_core::bytes::BytesMut;
use netframe_core::{
    ConnectionInfo, Datagram, DatagramProtocol, DatagramTransport, Factory, Protocol, Result,
    Server, Transport, datagrams,
};

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

struct EchoAll;

impl DatagramProtocol for EchoAll {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        t.reply(&datagram, &datagram.data)?;
        Ok(())
    }
}

async fn netframe(factory: impl Factory, bound: mpsc::Sender<SocketAddr>) {
    let server = Server::bind("udp://127.0.0.1:0", factory).await.unwrap();
    bound.send(server.endpoint().address().socket_addr().unwrap()).unwrap();
    server.run_until(std::future::pending::<()>()).await;
}

async fn tokio_loop(bound: mpsc::Sender<SocketAddr>) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    bound.send(socket.local_addr().unwrap()).unwrap();
    let mut buf = vec![0; 64 * 1024];
    loop {
        let (len, from) = socket.recv_from(&mut buf).await.unwrap();
        socket.send_to(&buf[..len], from).await.unwrap();
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
    let servers = [
        ("sessions", start(|bound| netframe(|_: &ConnectionInfo| Echo, bound))),
        ("datagrams", start(|bound| netframe(datagrams(|_| EchoAll), bound))),
        ("tokio loop", start(tokio_loop)),
    ];
    for (name, peers) in [("one peer", 1), ("32 peers", 32)] {
        let mut group = c.benchmark_group(name);
        for len in [16, 1024] {
            group.throughput(Throughput::Elements(peers));
            for (server, addr) in servers {
                let peers: Vec<_> = (0..peers).map(|_| connect(addr)).collect();
                let (message, mut answer) = (vec![7; len], vec![0; len]);
                group.bench_function(BenchmarkId::new(server, len), |b| {
                    b.iter(|| {
                        for peer in &peers {
                            peer.send(&message).unwrap();
                        }
                        for peer in &peers {
                            assert_eq!(peer.recv(black_box(&mut answer)).unwrap(), len);
                        }
                    });
                });
            }
        }
        group.finish();
    }
}

fn connect(addr: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(addr).unwrap();
    socket
}

criterion_group!(benches, echo);
criterion_main!(benches);
