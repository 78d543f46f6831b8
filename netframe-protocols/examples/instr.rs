use netframe_core::Protocol;
use netframe_core::bytes::BytesMut;
use netframe_core::testing::Recorder;
use netframe_protocols::http::{Http, Request, Responder};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
fn main() {
    let hello = |request: Request<'_>, response: Responder<'_>| {
        match request.path() {
            "/plaintext" => response.send(200, "text/plain", "Hello, World!")?,
            _ => response.send(404, "text/plain", "")?,
        }
        Ok(())
    };
    const REQUEST: &str = "GET /plaintext HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench\r\nAccept: text/plain,text/html;q=0.9,*/*;q=0.1\r\nConnection: keep-alive\r\n\r\n";
    let batch = REQUEST.repeat(16);
    let rounds: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let mut http = Http::new(hello);
    let mut t = Recorder::new();
    let mut all = BytesMut::from(batch.repeat(rounds).as_bytes());
    for _ in 0..rounds {
        let mut data = all.split_to(batch.len());
        {
            let mut f = pin!(http.data_received(&mut t, &mut data));
            assert!(matches!(
                f.as_mut().poll(&mut Context::from_waker(Waker::noop())),
                Poll::Ready(Ok(()))
            ));
        }
        assert!(t.take_written().len() > 100);
    }
}
