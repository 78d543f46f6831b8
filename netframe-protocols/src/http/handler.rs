//! [`Handler`]: what answers the requests of one connection.

use std::future::{Future, ready};

use netframe_core::Result;

use super::{Request, Responder};

/// Answers the requests of one connection, one after the other.
///
/// While a handler waits, what it has written leaves, and nothing more is read than it asks for: the
/// next request waits. It is dropped where it waits when the client resets the connection.
///
/// # Errors
///
/// An error or a panic is answered 500, or with the status of a [`BodyError`](super::BodyError);
/// if an answer has begun, the connection is cut. Either way it then closes, with the error as its reason;
/// a `BodyError` is the client's fault.
///
/// # Examples
///
/// ```
/// use netframe_core::{ConnectionInfo, Result, testing::Harness};
/// use netframe_protocols::http::{Handler, Http, Request, Responder};
///
/// /// Counts the requests of each connection.
/// #[derive(Default)]
/// struct Count(u32);
///
/// impl Handler for Count {
///     async fn handle(&mut self, request: Request<'_>, response: Responder<'_>) -> Result {
///         match request.path() {
///             "/count" => {
///                 self.0 += 1;
///                 response.send(200, "text/plain", format!("{}\n", self.0))?;
///             }
///             _ => response.send(404, "text/plain", "there is only /count\n")?,
///         }
///         Ok(())
///     }
/// }
///
/// let factory = |_: &ConnectionInfo| Http::new(Count::default()); // for a server
///
/// let mut client = Harness::new(Http::new(Count::default()));
/// client.receive(b"GET /count HTTP/1.1\r\nHost: example.org\r\n\r\n");
/// assert!(client.take_written().starts_with(b"HTTP/1.1 200 OK\r\n"));
/// ```
pub trait Handler: Send + 'static {
    /// Answers one request.
    fn handle(
        &mut self,
        request: Request<'_>,
        response: Responder<'_>,
    ) -> impl Future<Output = Result> + Send;
}

/// A function that answers at once is a handler. One that waits is better an `impl` of
/// [`Handler`].
impl<F> Handler for F
where
    F: FnMut(Request<'_>, Responder<'_>) -> Result + Send + 'static,
{
    fn handle(
        &mut self,
        request: Request<'_>,
        response: Responder<'_>,
    ) -> impl Future<Output = Result> + Send {
        ready(self(request, response))
    }
}
