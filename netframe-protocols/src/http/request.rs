//! [`Request`]: what a client asks, as a view into the receive buffer.

use std::fmt;

use http::Version;

use super::Body;
use super::body::Lent;
use super::head::{Head, Span};

/// What a client asks. The head is a view into the receive buffer, so that no request costs an
/// allocation; what outlives the handler must be copied.
///
/// ```
/// use netframe_core::Result;
/// use netframe_protocols::http::{Request, Responder};
///
/// fn greet(request: Request<'_>, response: Responder<'_>) -> Result {
///     let name = request.query().and_then(|query| query.strip_prefix("name="));
///     let text = format!("hello {}\n", name.unwrap_or("stranger"));
///     response.send(200, "text/plain", text)?;
///     Ok(())
/// }
/// ```
pub struct Request<'a> {
    head: &'a Head,
    bytes: &'a [u8],
    body: &'a mut Lent,
}

impl<'a> Request<'a> {
    pub(super) fn new(head: &'a Head, bytes: &'a [u8], body: &'a mut Lent) -> Self {
        Self { head, bytes, body }
    }

    /// The method, such as `GET`; in any case that the client has chosen, as methods are case-sensitive.
    pub fn method(&self) -> &'a str {
        self.text(self.head.method)
    }

    /// The request target as it came: a path with its query, a whole URL, an authority (of CONNECT), or
    /// `*` (of OPTIONS).
    pub fn target(&self) -> &'a str {
        self.text(self.head.target)
    }

    /// The path, still percent-encoded; `/` if a URL has none, `*` of such an OPTIONS, empty of CONNECT.
    pub fn path(&self) -> &'a str {
        let path = self.path_and_query();
        let end = memchr::memchr(b'?', path.as_bytes()).unwrap_or(path.len());
        match &path[..end] {
            "" if self.method() != "CONNECT" => "/",
            path => path,
        }
    }

    /// What is behind the `?`, still encoded.
    pub fn query(&self) -> Option<&'a str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    /// The host, and perhaps the port, that is asked: of the target if it has one, else of `Host`.
    /// Only HTTP/1.0 may leave it out.
    pub fn authority(&self) -> Option<&'a str> {
        self.head.authority.map(|authority| self.text(authority))
    }

    /// HTTP/1.0 or HTTP/1.1.
    pub fn version(&self) -> Version {
        self.head.version()
    }

    /// The first field of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All fields, in order, as they came.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> {
        let (head, bytes) = (self.head, self.bytes);
        head.fields.iter().map(move |field| {
            (text(bytes, field.name), bytes.get(field.value.range()).unwrap_or_default())
        })
    }

    /// Whether the client asks to go on with another protocol, and names this one: see
    /// [`Responder::upgrade`](super::Responder::upgrade). A request that has a body asks for none.
    pub fn asks_for_upgrade(&self, protocol: &str) -> bool {
        self.head.wants_upgrade
            && self.headers().any(|(name, value)| {
                name.eq_ignore_ascii_case("upgrade")
                    && super::fields::list(value)
                        .any(|asked| asked.eq_ignore_ascii_case(protocol.as_bytes()))
            })
    }

    /// The body, to be read.
    pub fn body(&mut self) -> &mut Body {
        self.body.get_mut()
    }

    /// The body, which may outlive the request.
    pub fn into_body(self) -> Body {
        self.body.take()
    }

    fn path_and_query(&self) -> &'a str {
        self.text(self.head.path)
    }

    fn text(&self, span: Span) -> &'a str {
        text(self.bytes, span)
    }
}

/// A piece of the head that has been found to be ASCII.
fn text(bytes: &[u8], span: Span) -> &str {
    bytes.get(span.range()).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("target", &self.target())
            .field("version", &self.version())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}
