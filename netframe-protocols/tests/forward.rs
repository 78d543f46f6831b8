//! `port-forward` between real servers: targets of every kind, ends and failures of either side, a drain.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::net::Ipv4Addr;
use std::time::Duration;

use netframe_core::transport::mem::MemNetwork;
use netframe_core::{CloseKind, Endpoint, Error, Factory, Limits, Server, Side, Stream, stream_fn};
use netframe_protocols::{PortForward, echo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_target_is_named_or_a_path_or_in_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let network = MemNetwork::new();
    let bind = async |endpoint: String| {
        let server = Server::builder(echo()).network(network.clone());
        server.listen(endpoint).unwrap().bind().await.unwrap()
    };
    let by_name = bind("tcp://localhost:0".into()).await;
    let port = by_name.endpoint().address().socket_addr().unwrap().port();
    let unix = format!("unix://{}", folder.path().join("app.sock").display());
    let others = [bind(unix.clone()).await, bind("mem://app".into()).await];
    for to in [format!("tcp://localhost:{port}"), unix, "mem://app".into()] {
        let front = front(PortForward::to(to.parse().unwrap()).network(network.clone())).await;
        let sent: Vec<u8> = (0..200_000).map(|n: u32| n.to_le_bytes()[1]).collect();
        let mut client = connect(&front).await;
        let (mut input, mut output) = client.split();
        let (mut got, ask) = (Vec::new(), async {
            output.write_all(&sent).await?;
            output.shutdown().await
        });
        tokio::try_join!(ask, input.read_to_end(&mut got)).unwrap();
        assert!(got == sent, "{to}: {} B", got.len());
        drop(client);
        assert_eq!(front.shutdown(LONG).await.aborted, 0);
    }
    for server in others.into_iter().chain([by_name]) {
        assert_eq!(server.shutdown(LONG).await.aborted, 0);
    }
}

#[tokio::test]
async fn datagrams_go_to_a_target_in_a_session_for_each_peer() {
    let target = Server::bind("udp://127.0.0.1:0", echo()).await.unwrap();
    let front = Server::bind("udp://127.0.0.1:0", PortForward::to(target.endpoint().clone()));
    let front = front.await.unwrap();
    let addr = front.endpoint().address().socket_addr().unwrap();
    for peer in 0..3_u8 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(addr).await.unwrap();
        for datagram in [vec![peer], vec![peer; 9000], vec![]] {
            socket.send(&datagram).await.unwrap();
            let mut got = vec![0; 10_000];
            let len = socket.recv(&mut got).await.unwrap();
            assert_eq!(got[..len], datagram);
        }
    }
    assert_eq!((front.stats().accepted, target.stats().accepted), (3, 3));
    front.shutdown(LONG).await;
    target.shutdown(LONG).await;
}

#[tokio::test]
async fn each_direction_ends_by_itself() {
    for client_ends_first in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = front(PortForward::to(endpoint(&listener))).await;
        let mut client = connect(&front).await;
        let (mut target, _) = listener.accept().await.unwrap();
        let (first, second) = match client_ends_first {
            true => (&mut client, &mut target),
            false => (&mut target, &mut client),
        };
        first.write_all(b"all that I have").await.unwrap();
        first.shutdown().await.unwrap();
        let mut got = Vec::new();
        second.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"all that I have");
        // Long after that, and more than any buffer holds.
        let answer = vec![7; 3_000_000];
        let ((), got) = tokio::join!(
            async {
                second.write_all(&answer).await.unwrap();
                second.shutdown().await.unwrap();
            },
            async {
                let mut got = Vec::new();
                first.read_to_end(&mut got).await.unwrap();
                got
            }
        );
        assert!(got == answer, "{} B", got.len());
        drop((client, target));
        assert_eq!(closed(&front).await, [(CloseKind::Eof, Side::Peer, 1)]);
        front.shutdown(LONG).await;
    }
}

#[tokio::test]
async fn a_target_that_refuses_ends_the_connection_without_a_byte() {
    let nobody = tokio::net::TcpSocket::new_v4().unwrap(); // bound, but it does not listen
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let to = format!("tcp://{}", nobody.local_addr().unwrap()).parse().unwrap();
    let front = front(PortForward::to(to)).await;
    let mut client = connect(&front).await;
    client.write_all(b"anybody?").await.unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"");
    drop(client);
    assert_eq!(closed(&front).await, [(CloseKind::Error, Side::Local, 1)]);
    front.shutdown(LONG).await;
}

#[tokio::test]
async fn a_reset_of_either_side_reaches_the_other() {
    for target_resets in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = front(PortForward::to(endpoint(&listener))).await;
        let client = connect(&front).await;
        let (target, _) = listener.accept().await.unwrap();
        let (mut resets, mut other) =
            if target_resets { (target, client) } else { (client, target) };
        resets.write_all(b"half of what I").await.unwrap();
        other.read_exact(&mut [0; 14]).await.unwrap();
        socket2::SockRef::from(&resets).set_linger(Some(Duration::ZERO)).unwrap();
        drop(resets);
        let error = other.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        front.shutdown(LONG).await;
    }
}

#[tokio::test]
async fn a_drain_lets_what_is_forwarded_come_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = front(PortForward::to(endpoint(&listener))).await;
    let mut client = connect(&front).await;
    let (mut target, _) = listener.accept().await.unwrap();
    client.write_all(b"a question").await.unwrap();
    target.read_exact(&mut [0; 10]).await.unwrap();
    let talk = async {
        for _ in 0..100 {
            tokio::task::yield_now().await; // the drain has begun, and each connection was asked
        }
        for word in ["an ", "answer ", "in ", "words"] {
            target.write_all(word.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        target.shutdown().await.unwrap();
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "an answer in words");
        client.write_all(b"thanks").await.unwrap();
        client.shutdown().await.unwrap();
        let mut got = String::new();
        target.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "thanks");
    };
    let (report, ()) = tokio::join!(biased; front.shutdown(LONG), talk);
    assert_eq!((report.drained, report.aborted), (1, 0));
}

#[tokio::test]
async fn the_deadline_of_a_drain_resets_both_sides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = front(PortForward::to(endpoint(&listener))).await;
    let mut client = connect(&front).await;
    let (mut target, _) = listener.accept().await.unwrap();
    client.write_all(b"a question").await.unwrap();
    target.read_exact(&mut [0; 10]).await.unwrap();
    let report = front.shutdown(Duration::ZERO).await;
    assert_eq!((report.drained, report.aborted), (0, 1));
    for side in [&mut client, &mut target] {
        let error = side.read(&mut [0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

/// Neither side holds more than its buffers, however much the other sends.
#[tokio::test]
async fn a_side_that_does_not_read_holds_the_other_back() {
    let network = MemNetwork::new();
    let (told, mut tells) = tokio::sync::mpsc::channel(1);
    // Counts what it can send to a client that does not read.
    let sends = stream_fn(move |mut stream: Stream| {
        let told = told.clone();
        async move {
            let piece = vec![7; 16 * 1024];
            for sent in 1.. {
                tokio::select! {
                    biased;
                    written = stream.write_all(&piece) => written?,
                    () = tokio::time::sleep(Duration::from_secs(5)) => {
                        told.send(sent * piece.len()).await?;
                        break;
                    }
                }
            }
            Ok(())
        }
    });
    let target = Server::builder(sends).network(network.clone());
    let target = target.listen("mem://target").unwrap().bind().await.unwrap();
    let forward = PortForward::to("mem://target".parse().unwrap()).network(network.clone());
    let front = Server::builder(forward).network(network.clone());
    let front = front.listen("mem://front").unwrap().bind().await.unwrap();
    tokio::time::pause();
    let client = network.connect("front").await.unwrap();
    let sent = tells.recv().await.unwrap();
    // Twice 64 KiB on the way, and on each of three queues a high watermark with a delivery above it.
    assert!((64 * 1024..640 * 1024).contains(&sent), "{sent} B");
    drop(client);
    front.shutdown(LONG).await;
    target.shutdown(LONG).await;
}

#[test]
fn what_cannot_be_connected_to_is_told_before() {
    let validate = |to: &str| PortForward::to(to.parse().unwrap()).validate();
    for to in ["tcp://example.org:80", "udp://127.0.0.1:9", "unix:///run/x.sock", "mem://nobody"] {
        assert!(validate(to).is_ok(), "{to}");
    }
    for to in ["fd://3", "systemd://web", "quic://example.org:443"] {
        assert!(matches!(validate(to), Err(Error::Unsupported { .. })), "{to}");
    }
    let mut limits = Limits::default();
    limits.high_watermark = 0;
    let forward = PortForward::to("mem://nobody".parse().unwrap()).limits(limits);
    assert!(matches!(forward.validate(), Err(Error::Limits(_))));
}

async fn front(forward: impl Factory) -> Server {
    Server::bind("tcp://127.0.0.1:0", forward).await.unwrap()
}

async fn connect(front: &Server) -> TcpStream {
    TcpStream::connect(front.endpoint().address().socket_addr().unwrap()).await.unwrap()
}

fn endpoint(listener: &TcpListener) -> Endpoint {
    format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap()
}

/// How its connections have ended, once all have.
async fn closed(front: &Server) -> Vec<(CloseKind, Side, u64)> {
    while front.stats().live > 0 {
        tokio::task::yield_now().await;
    }
    front.stats().closed_by_cause().collect()
}
