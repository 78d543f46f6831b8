use netframe_core::bytes::BytesMut;
use netframe_core::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Echo;
impl Protocol for Echo {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

#[tokio::test]
async fn echo_tcp() {
    let server = Server::bind("tcp://127.0.0.1:0", |_: &ConnectionInfo| Echo).await.unwrap();
    let addr = server.endpoint().address().socket_addr().unwrap();
    let mut c = tokio::net::TcpStream::connect(addr).await.unwrap();
    c.write_all(b"hello").await.unwrap();
    let mut b = [0; 5];
    c.read_exact(&mut b).await.unwrap();
    assert_eq!(&b, b"hello");
    let (mut r, mut w) = c.into_split();
    let n = 8 << 20;
    let writer = tokio::spawn(async move {
        let chunk = vec![7u8; 65536];
        for _ in 0..n / 65536 {
            w.write_all(&chunk).await.unwrap();
        }
        w.shutdown().await.unwrap();
    });
    let mut all = Vec::new();
    r.read_to_end(&mut all).await.unwrap();
    assert_eq!(all.len(), n);
    writer.await.unwrap();
    let report = server.shutdown(std::time::Duration::from_secs(5)).await;
    println!("{report}");
    assert_eq!(report.aborted, 0);
}

#[test]
fn echo_reactor() {
    let reactor = Reactor::builder().build().unwrap().listen("tcp://127.0.0.1:0", |_: &ConnectionInfo| Echo).unwrap();
    let addr = reactor.endpoints().next().unwrap().address().socket_addr().unwrap();
    let report = reactor.run_until(async move {
        for _ in 0..10 {
            let mut c = tokio::net::TcpStream::connect(addr).await.unwrap();
            c.write_all(b"hello").await.unwrap();
            let mut b = [0; 5];
            c.read_exact(&mut b).await.unwrap();
        }
    }).unwrap();
    println!("{report}");
}
