//! Rule 7: what is written before an await leaves while the handler waits; the writes of one turn
//! leave in one send.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use netframe_core::{Addr, Client, Endpoint, Incoming, Io, Limits, Listen, Server};

use crate::probe::{Probe, done, echo};
use crate::world::{Dialer, Gate, Net, Raw, World, pattern};

on_every_transport! {
    rule7_bytes_leave_while_the_handler_waits,
    rule7_bytes_of_a_handle_leave_while_the_handler_waits,
    rule7_large_writes_leave_while_the_handler_waits,
    rule7_the_writes_of_one_turn_leave_in_one_send,
    rule7_an_echoed_message_costs_one_send,
}

async fn rule7_bytes_leave_while_the_handler_waits(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let door = gate.clone();
    let probe = probe.on_data(move |t, data| {
        let door = door.clone();
        Box::pin(async move {
            data.clear();
            for step in ["one", "two", "six"] {
                t.write(step.as_bytes());
                door.pass().await;
            }
            t.close();
            Ok(())
        })
    });
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    client.send("go").await;
    for step in ["one", "two", "six"] {
        assert_eq!(client.receive(3).await, step.as_bytes());
        gate.open();
    }
    assert_eq!(client.receive_all().await, b"");
    drop(client);
    seen.lost().await;
    world.stop().await;
}

async fn rule7_bytes_of_a_handle_leave_while_the_handler_waits(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_made(|_| Box::pin(std::future::pending()));
    let world = World::start(net, probe).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    for n in 0..100 {
        handle.try_write(vec![n; 10]).unwrap();
        assert_eq!(client.receive(10).await, [n; 10]);
    }
    handle.abort();
    seen.lost().await;
    world.stop().await;
}

async fn rule7_large_writes_leave_while_the_handler_waits(net: Net) {
    let (probe, mut seen) = Probe::new();
    let gate = Gate::new();
    let door = gate.clone();
    let probe = probe.on_made(move |t| {
        let door = door.clone();
        Box::pin(async move {
            t.write_bytes(pattern(3 << 20).into());
            door.pass().await;
            Ok(())
        })
    });
    let world = World::narrow(net, Limits::default(), probe).await;
    let mut client = world.connect().await;
    assert!(client.receive(3 << 20).await == pattern(3 << 20));
    gate.open();
    drop(client);
    seen.lost().await;
    world.stop().await;
}

/// Counts the sends that take bytes.
struct Counting {
    below: Raw,
    sends: Arc<AtomicUsize>,
}

impl Io for Counting {}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sends.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.below).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sends.fetch_add(1, Ordering::SeqCst);
        let data: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        Pin::new(&mut self.below).poll_write(cx, &data)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.below).poll_shutdown(cx)
    }
}

/// A connected pair: the peer's bare end, and ours, whose sends are counted.
async fn counting_pair(net: Net) -> (Raw, Counting) {
    let network = netframe_core::transport::mem::MemNetwork::new();
    let sends = Arc::default();
    match net {
        Net::Tcp => {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let endpoint: Endpoint = format!("tcp://{addr}").parse().unwrap();
            let peer = Dialer::new(network, endpoint).connect().await.unwrap();
            let (ours, _) = listener.accept().await.unwrap();
            (peer, Counting { below: Raw::Tcp(ours), sends })
        }
        Net::Unix => {
            let (peer, ours) = tokio::net::UnixStream::pair().unwrap();
            (Raw::Unix(peer), Counting { below: Raw::Unix(ours), sends })
        }
        Net::Mem => {
            let (peer, ours) = netframe_core::transport::mem::pair(64 * 1024);
            (Raw::Mem(peer), Counting { below: Raw::Mem(ours), sends })
        }
    }
}

async fn rule7_the_writes_of_one_turn_leave_in_one_send(net: Net) {
    let (probe, mut seen) = Probe::new();
    let probe = probe.on_data(|t, data| {
        data.clear();
        for n in 0..10 {
            t.write(&[n; 10]);
            t.with_buffer(&mut |buffer| buffer.extend_from_slice(&[n; 5]));
        }
        t.write_bytes(vec![b'-'; 20_000].into()); // by reference
        t.write(b"last");
        done(())
    });
    let (mut peer, ours) = counting_pair(net).await;
    let sends = Arc::clone(&ours.sends);
    let connection = Client::builder(probe).adopt(ours).unwrap();
    peer.send("go").await;
    let got = peer.receive(150 + 20_000 + 4).await;
    assert_eq!((&got[..11], &got[20_150..]), (&[0; 11][..], &b"last"[..]));
    assert_eq!(sends.load(Ordering::SeqCst), 1);
    peer.half_close().await;
    seen.lost().await;
    connection.closed().await;
}

async fn rule7_an_echoed_message_costs_one_send(net: Net) {
    struct One(Option<Counting>, Endpoint);

    #[async_trait]
    impl Listen for One {
        async fn accept(&mut self) -> io::Result<Incoming> {
            match self.0.take() {
                Some(io) => Ok(Incoming::new(io, Addr::UNNAMED, Addr::UNNAMED)),
                None => std::future::pending().await,
            }
        }

        fn endpoint(&self) -> &Endpoint {
            &self.1
        }
    }

    let (mut peer, ours) = counting_pair(net).await;
    let sends = Arc::clone(&ours.sends);
    let listener = One(Some(ours), net.endpoint("counted"));
    let server = Server::builder(echo).listen_on(listener).bind().await.unwrap();
    for _ in 0..100 {
        peer.ping(b"message").await;
    }
    assert_eq!(sends.load(Ordering::SeqCst), 100);
    drop(peer);
    server.shutdown(std::time::Duration::from_secs(30)).await;
}
