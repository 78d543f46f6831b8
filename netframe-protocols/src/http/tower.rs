//! [`service`]: a tower service, such as an axum application, as a [`Handler`].

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use netframe_core::{BoxError, ConnectionInfo, Result};
use tower_service::Service;

use super::error::{BodyError, RequestError};
use super::{Body, Handler, Request, Responder, fields};

/// A tower service as a [`Handler`], one clone of it for each connection: an axum `Router`, the layers
/// and services of tower-http.
///
/// A request has the [`ConnectionInfo`] in its extensions. Bodies stream both ways. An answer that
/// goes on with another protocol, as a WebSocket does, is for hyper alone to give.
///
/// ```
/// use netframe_core::ConnectionInfo;
/// use netframe_protocols::http::{self, Http};
/// # let app = axum::Router::new();
/// // let app = axum::Router::new().route("/", get(|| async { "hello" }));
/// let factory = move |_: &ConnectionInfo| Http::new(http::service(app.clone()));
/// ```
pub fn service<S, B>(service: S) -> Mounted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    B: http_body::Body,
{
    Mounted { service }
}

/// What [`service`] returns.
#[derive(Clone, Debug)]
pub struct Mounted<S> {
    service: S,
}

impl<S, B> Handler for Mounted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    async fn handle(&mut self, request: Request<'_>, response: Responder<'_>) -> Result {
        match convert(request, response.info()) {
            // Boxed, as an idle connection would keep room for it.
            Ok(request) => Box::pin(answer(&mut self.service, request, response)).await,
            Err(error) => {
                response.send_error(error.status(), &error.to_string());
                Ok(())
            }
        }
    }
}

async fn answer<S, B>(
    service: &mut S,
    request: http::Request<Body>,
    response: Responder<'_>,
) -> Result
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    let (head, body) = service.call(request).await.map_err(Into::into)?.into_parts();
    let len = length(head.status, &head.headers, body.size_hint().exact(), response.is_head());
    let mut begun = response.status(head.status);
    for (name, value) in &head.headers {
        if *name == header::CONNECTION {
            if fields::list(value.as_bytes()).any(|option| option.eq_ignore_ascii_case(b"close")) {
                begun = begun.close();
            }
        } else if !HOP_BY_HOP.contains(name) {
            begun = begun.header(name.as_str(), value)?;
        }
    }
    let mut out = begun.stream(len)?;
    let (mut body, mut trailers) = (pin!(body), HeaderMap::new());
    while !out.is_full()
        && let Some(frame) =
            poll_fn(|cx| body.as_mut().poll_frame(cx).map(|frame| Some(frame?.map_err(Into::into))))
                .await
    {
        match frame?.into_data() {
            Ok(mut data) => {
                while data.has_remaining() {
                    let len = data.chunk().len();
                    out.write(data.chunk()).await?;
                    data.advance(len);
                }
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    out.finish_with(&trailers)?;
    Ok(())
}

/// How long the body of an answer is, if that is known.
fn length(
    status: StatusCode,
    headers: &HeaderMap,
    exact: Option<u64>,
    is_head: bool,
) -> Option<u64> {
    if matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        return Some(0);
    }
    let said = headers.get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
    // To HEAD the length is that of a body which is not there.
    if is_head { said.or(exact) } else { exact.or(said) }
}

/// What is of one connection only, and is set by it.
const HOP_BY_HOP: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE];

/// The request with types of its own.
fn convert(
    request: Request<'_>,
    info: &ConnectionInfo,
) -> Result<http::Request<Body>, RequestError> {
    let bad = RequestError::bad;
    let mut headers = HeaderMap::with_capacity(request.headers().len());
    for (name, value) in request.headers() {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("a name is malformed"))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| bad("a value is malformed"))?;
        headers.append(name, value);
    }
    let method = Method::from_bytes(request.method().as_bytes());
    let (uri, version) = (Uri::try_from(request.target()), request.version());
    let mut converted = http::Request::new(request.into_body());
    *converted.method_mut() = method.map_err(|_| bad("the method is malformed"))?;
    *converted.uri_mut() = uri.map_err(|_| bad("the target is no URI"))?;
    *converted.version_mut() = version;
    *converted.headers_mut() = headers;
    converted.extensions_mut().insert(info.clone());
    Ok(converted)
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_chunk(cx).map(|chunk| match chunk {
            Ok(Some(chunk)) => Some(Ok(Frame::data(chunk))),
            Ok(None) => self.take_trailers().map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.len(), Some(0))
    }

    fn size_hint(&self) -> SizeHint {
        self.len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
