//! [`Client`]: opens one connection and runs a protocol on it. [`serve_io`] does so on a stream
//! that is open already.

use std::fmt;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::addr::Addr;
use crate::bind::connector;
use crate::close_reason::CloseReason;
use crate::driver::Conn;
use crate::endpoint::{Endpoint, EndpointKind};
use crate::error::Error;
use crate::factory::{DynFactory, Factory};
use crate::handle::Handle;
use crate::home::Home;
use crate::info::Origin;
use crate::io::adopt;
use crate::limits::Limits;
use crate::listener::Incoming;
use crate::resolve::{Resolve, ResolveError, SystemResolver};
use crate::service::Service;
use crate::transport::mem::MemNetwork;

/// An open connection to a server, with its protocol running on it.
///
/// Dropping it aborts the connection; await [`closed`](Self::closed) to let it run to its end.
#[must_use = "dropping a client aborts its connection"]
#[derive(Debug)]
pub struct Client {
    handle: Handle,
}

impl Client {
    /// Connects to `endpoint` and runs the protocol that `factory` builds, with default limits.
    ///
    /// A name is looked up anew each time. If it has several addresses, attempts start 250 ms apart,
    /// or as soon as one fails, and the first that succeeds is taken (Happy Eyeballs, RFC 8305). The
    /// connect timeout is for the lookup and all attempts together.
    ///
    /// # Errors
    ///
    /// The endpoint is malformed or does not fit the protocol, its name has no address, or the peer
    /// cannot be reached in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    pub async fn connect<E>(endpoint: E, factory: impl Factory) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        Self::builder(factory).connect(endpoint).await
    }

    /// A client with limits, a network or a resolver of its own.
    pub fn builder(factory: impl Factory) -> ClientBuilder {
        ClientBuilder {
            factory: Arc::new(factory),
            limits: Limits::default(),
            network: MemNetwork::global(),
            resolver: Arc::new(SystemResolver),
        }
    }

    /// A handle to the connection, which does not abort it when dropped.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for the end of the connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the client, which aborts the connection. To wait and keep it, use
    /// [`Handle::closed`].
    pub async fn closed(self) -> CloseReason {
        self.handle.closed().await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Builds a [`Client`].
pub struct ClientBuilder {
    factory: Arc<dyn DynFactory>,
    limits: Limits,
    network: MemNetwork,
    resolver: Arc<dyn Resolve>,
}

impl ClientBuilder {
    /// The limits of the connection.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The network in which `mem://` names live; the process's own where none is given.
    pub fn network(mut self, network: MemNetwork) -> Self {
        self.network = network;
        self
    }

    /// Who is asked for the addresses of a name; the operating system where none is given.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Connects, as [`Client::connect`].
    ///
    /// # Errors
    ///
    /// As [`Client::connect`]; or a limit cannot be.
    pub async fn connect<E>(self, endpoint: E) -> Result<Client, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        let endpoint = endpoint.try_into()?;
        self.limits.validate()?;
        let connector = connector(&endpoint, self.factory.needs(), &self.network, &self.resolver)?;
        let connected = match self.limits.connect_timeout.duration() {
            None => connector.connect().await,
            Some(after) => match timeout(after, connector.connect()).await {
                Ok(connected) => connected,
                Err(_) => {
                    return Err(Error::ConnectTimeout { endpoint: Box::new(endpoint), after });
                }
            },
        };
        let incoming = match connected {
            Ok(incoming) => incoming,
            Err(source) if ResolveError::is_in(&source) => {
                return Err(Error::Resolve { endpoint: Box::new(endpoint), source });
            }
            Err(source) => return Err(Error::Connect { endpoint: Box::new(endpoint), source }),
        };
        Ok(start(incoming, endpoint.kind(), endpoint.to_string(), &*self.factory, self.limits))
    }

    /// Runs the protocol on a stream that is open already.
    ///
    /// # Errors
    ///
    /// A limit cannot be.
    pub fn adopt(
        self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Client, Error> {
        self.limits.validate()?;
        Ok(start_on(io, &*self.factory, self.limits))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Runs a protocol on a stream that is open already, to its end, with default limits.
///
/// Any tokio stream does. A `TcpStream` keeps the ability to tell of resets at once.
///
/// # Cancel safety
///
/// Dropping the future aborts the connection; its `connection_lost` is still called.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub async fn serve_io(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    factory: impl Factory,
) -> CloseReason {
    start_on(io, &factory, Limits::default()).closed().await
}

fn start_on(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    factory: &dyn DynFactory,
    limits: Limits,
) -> Client {
    let incoming = Incoming::new(adopt(io), Addr::UNNAMED, Addr::UNNAMED);
    start(incoming, EndpointKind::Custom, "io".to_owned(), factory, limits)
}

fn start(
    incoming: Incoming,
    kind: EndpointKind,
    name: String,
    factory: &dyn DynFactory,
    limits: Limits,
) -> Client {
    let service = Service::new(name, limits);
    let acquired = service.permits.try_acquire();
    debug_assert!(acquired, "limits are valid, so the first connection has a permit");
    let home = Home::start(service, None);
    let origin = Arc::new(Origin::new(kind, incoming.local.clone()));
    let conn = Conn::start(incoming, &origin, &home);
    let handle = Handle::new(Arc::clone(conn.shared()));
    factory.spawn(conn);
    Client { handle }
}
