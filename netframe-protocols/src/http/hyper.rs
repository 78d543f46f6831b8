//! [`hyper()`]: a tower service by hyper, over a netframe connection.

use ::hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use netframe_core::{BoxError, Factory, Stream, stream_fn};
use tower_service::Service;

/// A factory that serves a tower service by hyper: for HTTP/2, which a client begins without being
/// asked (prior knowledge), and for upgrades such as WebSockets. HTTP/1.1 is served too, by hyper's rules.
///
/// All limits and timeouts of a connection hold; those of [`HttpOptions`](super::HttpOptions) do not, as
/// hyper has its own. A drain lets the requests under way be answered.
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
        let service = TowerToHyperService::new(service.clone());
        async move {
            stream.ignore_drain();
            let handle = stream.handle();
            let builder = Builder::new(TokioExecutor::new());
            let io = TokioIo::new(stream);
            let mut serving = std::pin::pin!(builder.serve_connection_with_upgrades(io, service));
            tokio::select! {
                biased;
                served = serving.as_mut() => return served,
                () = handle.draining() => serving.as_mut().graceful_shutdown(),
            }
            serving.await
        }
    })
}
