//! [`hyper()`]: a tower service by hyper, over a netframe connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ::hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use netframe_core::{BoxError, Factory, Result, Stream, stream_fn};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tower_service::Service;

/// A factory that serves a tower service by hyper: for HTTP/2, which a client begins without being
/// asked (prior knowledge), and for upgrades such as WebSockets. HTTP/1.1 is served too, by hyper's rules.
///
/// All limits and timeouts of a connection hold; those of [`HttpOptions`](super::HttpOptions) do not, as
/// hyper has its own. A drain lets the requests under way be answered; an upgraded connection is not told
/// of it, and ends at the deadline if not before.
///
/// ```
/// # let app = axum::Router::new();
/// // let app = axum::Router::new().route("/ws", any(handler));
/// let factory = netframe_protocols::http::hyper(app);
/// ```
pub fn hyper<S, B>(service: S) -> impl Factory
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    stream_fn(move |stream: Stream| {
        let (held, released) = oneshot::channel();
        let service = TowerToHyperService::new(service.clone());
        async move {
            serve(Held { stream, _held: held }, service).await?;
            // Whoever it was handed to by an upgrade may hold it still. Nothing is ever sent.
            let _ = released.await;
            Ok(())
        }
    })
}

async fn serve<S, B>(io: Held, service: TowerToHyperService<S>) -> Result
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    io.stream.ignore_drain();
    let handle = io.stream.handle();
    let builder = Builder::new(TokioExecutor::new());
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        biased;
        served = serving.as_mut() => return served,
        () = handle.draining() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

/// A stream, and the other end of what tells that it was dropped: its connection closes when the
/// function that was given it returns.
struct Held {
    stream: Stream,
    _held: oneshot::Sender<()>,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
