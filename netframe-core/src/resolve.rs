//! [`Resolve`]: from names to addresses. Which of several addresses is used, and how, is left to
//! those who connect and listen.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::net::lookup_host;

use crate::endpoint::{Address, Endpoint, Host};

/// Finds the addresses of a name.
///
/// It is asked anew each time a connection is opened or an endpoint is bound, so that an answer may
/// change; a resolver that remembers answers does so by itself. It is not asked where an endpoint
/// has an address in place of a name.
///
/// # Examples
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
///
/// use netframe_core::{Resolve, Server, async_trait};
/// # use netframe_core::{ConnectionInfo, Protocol, Result, Transport};
/// # use netframe_core::bytes::BytesMut;
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
/// #         t.write_bytes(d.split().freeze());
/// #         Ok(())
/// #     }
/// # }
///
/// /// Knows one name, whatever the machine says.
/// struct Fixed;
///
/// #[async_trait]
/// impl Resolve for Fixed {
///     async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
///         match host {
///             "echo.test" => Ok(vec![([127, 0, 0, 1], port).into()]),
///             _ => Err(io::ErrorKind::NotFound.into()),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// let server = Server::builder(|_: &ConnectionInfo| Echo).resolver(Fixed);
/// let server = server.listen("tcp://echo.test:0")?.bind().await?;
/// assert!(server.endpoint().to_string().starts_with("tcp://127.0.0.1:"));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, in order of preference, each with the port it is reached at, which
    /// is `port` unless the resolver knows better. The name is in lower case and never an address.
    ///
    /// # Errors
    ///
    /// The name is not known, or nobody can be asked. Having no address is an error too, or an
    /// empty list, which is taken for one. The error need not tell the name.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the connect timeout passes, and must leave nothing half done.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// So that several servers and clients can share a resolver.
#[async_trait]
impl<R: Resolve + ?Sized> Resolve for Arc<R> {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (**self).resolve(host, port).await
    }
}

/// Asks the operating system, as other programs do: `/etc/hosts`, then DNS, or what it is told.
///
/// A lookup takes a thread of tokio's blocking pool until it is answered, even where nobody waits
/// for it any more.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }
}

/// A name that has no address, or whose addresses could not be asked for: the error inside of an
/// `io::Error` of the same kind.
#[derive(Debug, thiserror::Error)]
#[error("cannot look up `{name}`")]
pub struct ResolveError {
    name: String,
    source: io::Error,
}

impl ResolveError {
    /// The name that was looked up.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is what `error` is about.
    pub(crate) fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// The addresses of an endpoint with host and port: at least one, and each once.
///
/// # Errors
///
/// A [`ResolveError`] inside; or the endpoint has no host and port.
pub(crate) async fn resolve(
    endpoint: &Endpoint,
    resolver: &dyn Resolve,
) -> io::Result<Vec<SocketAddr>> {
    let Address::Inet { host: Host::Name(name), port } = endpoint.address() else {
        let addr = endpoint.address().socket_addr();
        let missing = || io::Error::new(io::ErrorKind::InvalidInput, "it has no host and port");
        return addr.map(|addr| vec![addr]).ok_or_else(missing);
    };
    let found = match resolver.resolve(name, *port).await {
        Ok(found) if found.is_empty() => {
            Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"))
        }
        found => found,
    };
    match found {
        Ok(found) => Ok(unique(found)),
        Err(source) => {
            Err(io::Error::new(source.kind(), ResolveError { name: name.clone(), source }))
        }
    }
}

/// Each address once, where it came first.
pub(crate) fn unique(addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = Vec::with_capacity(addrs.len());
    for addr in addrs {
        if !seen.contains(&addr) {
            seen.push(addr);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_taken_as_they_are() {
        for text in ["127.0.0.1:7", "[::1]:7", "[fe80::1%2]:7"] {
            for kind in ["tcp", "udp"] {
                let found = lookup(&format!("{kind}://{text}"), &Answer(|| panic!("asked"))).await;
                assert_eq!(found.unwrap(), [text.parse().unwrap()]);
            }
        }
    }

    #[tokio::test]
    async fn names_are_asked_for_and_each_address_comes_once() {
        let addrs = ["[::1]:9", "127.0.0.1:9", "[::1]:9"].map(|text| text.parse().unwrap());
        let found = lookup("tcp://Host.test:9", &Answer(move || Ok(addrs.to_vec()))).await;
        assert_eq!(found.unwrap(), addrs[..2]);
    }

    #[tokio::test]
    async fn errors_tell_the_name() {
        let refused = Answer(|| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")));
        check(&refused, io::ErrorKind::TimedOut, "no answer").await;
        check(&Answer(|| Ok(Vec::new())), io::ErrorKind::NotFound, "it has no address").await;
    }

    #[tokio::test]
    async fn an_endpoint_without_host_and_port_has_no_address() {
        let error = lookup("mem://name", &SystemResolver).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!ResolveError::is_in(&error));
    }

    async fn check(resolver: &dyn Resolve, kind: io::ErrorKind, source: &str) {
        let error = lookup("tcp://host.test:9", resolver).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.to_string(), "cannot look up `host.test`");
        assert!(ResolveError::is_in(&error));
        let below = std::error::Error::source(&error).unwrap();
        assert_eq!(below.to_string(), source);
    }

    async fn lookup(endpoint: &str, resolver: &dyn Resolve) -> io::Result<Vec<SocketAddr>> {
        resolve(&endpoint.parse().unwrap(), resolver).await
    }

    struct Answer<F>(F);

    #[async_trait]
    impl<F> Resolve for Answer<F>
    where
        F: Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    {
        async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            assert_eq!((host, port), ("host.test", 9));
            (self.0)()
        }
    }
}
