//! [`Client`]: opens one connection and runs a protocol on it. [`serve_io`] does so on a stream
//! that is open already.

use std::fmt;
use std::sync::Arc;

use tokio::time::timeout;

use crate::addr::Addr;
use crate::bind::{can_shape, carries_streams, connector};
use crate::close_reason::CloseReason;
use crate::driver::Conn;
use crate::endpoint::{Endpoint, EndpointKind};
use crate::error::Error;
use crate::factory::{DynFactory, Factory};
use crate::handle::Handle;
use crate::home::Home;
use crate::info::{ConnectionInfo, Origin};
use crate::io::Io;
use crate::limits::Limits;
use crate::listener::{Connect, Incoming};
use crate::network::Network;
use crate::pool;
use crate::resolve::{Resolve, ResolveError, SystemResolver};
use crate::service::Service;

/// An open connection to a server, with its protocol running on it. [`Stream::connect`] opens one
/// for straight-line code instead.
///
/// [`Stream::connect`]: crate::Stream::connect
///
/// Dropping it aborts the connection; await [`closed`](Self::closed), or [`detach`](Self::detach) it,
/// to let it run to its end.
#[must_use = "dropping a client aborts its connection"]
#[derive(Debug)]
pub struct Client {
    handle: Handle,
    detached: bool,
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
            network: Network::default(),
            resolver: Arc::new(SystemResolver),
        }
    }

    /// A handle to the connection, which does not abort it when dropped.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Lets go of the connection, which runs on to its end as one of a server does; the handle still
    /// reaches it.
    pub fn detach(mut self) -> Handle {
        self.detached = true;
        self.handle()
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

    fn of(handle: Handle) -> Self {
        Self { handle, detached: false }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.detached {
            self.handle.abort();
        }
    }
}

/// Builds a [`Client`].
pub struct ClientBuilder {
    factory: Arc<dyn DynFactory>,
    limits: Limits,
    network: Network,
    resolver: Arc<dyn Resolve>,
}

impl ClientBuilder {
    /// The limits of the connection.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The network in which names such as those of `mem://` live; the process's own where none is given.
    pub fn network(mut self, network: impl Into<Network>) -> Self {
        self.network = network.into();
        self
    }

    /// Who is asked for the addresses of a name; the operating system where none is given.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Checks what of connecting to `endpoint` can be without the network: that it is one that can be
    /// connected to and that the protocol fits, and that the limits make sense.
    ///
    /// # Errors
    ///
    /// The first that is not so. What only the network can tell is the error of
    /// [`connect`](Self::connect).
    pub fn validate<E>(&self, endpoint: E) -> Result<(), Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        let endpoint = endpoint.try_into()?;
        connector(&endpoint, self.factory.needs(), &self.network, &self.resolver)?;
        self.fits_limits(&endpoint)
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
        let dialer = self.dialer(endpoint.try_into()?)?;
        let incoming = dialer.dial().await?;
        Ok(Client::of(dialer.start(incoming, &dialer.home()).0))
    }

    /// Connects by a connector of one's own, in the time that [`Limits::connect_timeout`] gives. Its
    /// addresses, and what it published, are those of the connection.
    ///
    /// `endpoint` is what logs and errors say, such as `custom://name`, or the endpoint that is
    /// reached in this way.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`]; or `endpoint` is one of datagrams, which a connector does not open.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::io;
    /// # use netframe_core::{ConnectionInfo, Protocol, Result, Transport, bytes::BytesMut};
    /// # use netframe_core::transport::mem;
    /// # struct Quiet;
    /// # impl Protocol for Quiet {
    /// #     async fn data_received(&mut self, _: &mut dyn Transport, d: &mut BytesMut) -> Result {
    /// #         d.clear();
    /// #         Ok(())
    /// #     }
    /// # }
    /// use netframe_core::{Addr, Client, Connect, Incoming, async_trait};
    ///
    /// struct Local;
    ///
    /// #[async_trait]
    /// impl Connect for Local {
    ///     async fn connect(&self) -> io::Result<Incoming> {
    ///         let (peer, stream) = mem::pair(1024);
    /// #       drop(peer);
    ///         // … hand `peer` to whoever serves it
    ///         Ok(Incoming::new(stream, Addr::named("somebody"), Addr::UNNAMED))
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result {
    /// let quiet = |info: &ConnectionInfo| {
    ///     assert_eq!(info.peer().name(), Some("somebody"));
    ///     Quiet
    /// };
    /// let client = Client::builder(quiet).connect_with("custom://local", Local).await?;
    /// # client.closed().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_with<E>(
        self,
        endpoint: E,
        connector: impl Connect,
    ) -> Result<Client, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        let dialer = self.dialer_with(endpoint.try_into()?, connector)?;
        let incoming = dialer.dial().await?;
        Ok(Client::of(dialer.start(incoming, &dialer.home()).0))
    }

    /// What opens connections to `endpoint`. Its errors are lasting ones: another attempt would
    /// meet them too.
    pub(crate) fn dialer(self, endpoint: Endpoint) -> Result<Dialer, Error> {
        let needs = self.factory.needs();
        let connector = connector(&endpoint, needs, &self.network, &self.resolver)?;
        self.dialer_over(endpoint, connector)
    }

    /// As [`dialer`](Self::dialer), by a connector of the user's own.
    pub(crate) fn dialer_with(
        self,
        endpoint: Endpoint,
        connector: impl Connect,
    ) -> Result<Dialer, Error> {
        carries_streams(&endpoint, self.factory.needs())?;
        self.dialer_over(endpoint, Box::new(connector))
    }

    fn dialer_over(self, endpoint: Endpoint, connector: Box<dyn Connect>) -> Result<Dialer, Error> {
        self.fits_limits(&endpoint)?;
        let Self { factory, limits, network, .. } = self;
        Ok(Dialer { endpoint, connector, factory, limits, network })
    }

    fn fits_limits(&self, endpoint: &Endpoint) -> Result<(), Error> {
        self.limits.validate()?;
        can_shape(endpoint, endpoint.kind().is_datagram(), &self.limits)
    }

    /// Runs the protocol on a stream that is open already, as [`serve_io`].
    ///
    /// # Errors
    ///
    /// A limit cannot be.
    pub fn adopt(self, io: impl Io) -> Result<Client, Error> {
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
/// A `TcpStream`, a `UnixStream` or a `DuplexStream` is given as it is, any other tokio stream in an
/// [`AnyIo`](crate::AnyIo).
///
/// # Cancel safety
///
/// Dropping the future aborts the connection; its `connection_lost` is still called.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub async fn serve_io(io: impl Io, factory: impl Factory) -> CloseReason {
    start_on(io, &factory, Limits::default()).closed().await
}

fn start_on(io: impl Io, factory: &dyn DynFactory, limits: Limits) -> Client {
    let incoming = Incoming::new(io, Addr::UNNAMED, Addr::UNNAMED);
    let home = Home::start(Service::new("io", limits), None);
    Client::of(start(incoming, EndpointKind::Custom, factory, &home).0)
}

/// Opens connections to one endpoint, one at a time, and runs a protocol on each.
pub(crate) struct Dialer {
    pub(crate) endpoint: Endpoint,
    connector: Box<dyn Connect>,
    factory: Arc<dyn DynFactory>,
    pub(crate) limits: Limits,
    network: Network,
}

impl Dialer {
    /// A home for the connections, in the current runtime.
    pub(crate) fn home(&self) -> Arc<Home> {
        let service = Service::new(self.endpoint.to_string(), self.limits.clone());
        self.network.watch(&service);
        Home::start(service, None)
    }

    /// Opens a connection, within the connect timeout.
    pub(crate) async fn dial(&self) -> Result<Incoming, Error> {
        let endpoint = || Box::new(self.endpoint.clone());
        let connected = match self.limits.connect_timeout.duration() {
            None => self.connector.connect().await,
            Some(after) => match timeout(after, self.connector.connect()).await {
                Ok(connected) => connected,
                Err(_) => return Err(Error::ConnectTimeout { endpoint: endpoint(), after }),
            },
        };
        connected.map_err(|source| {
            if ResolveError::is_in(&source) {
                Error::Resolve { endpoint: endpoint(), source }
            } else {
                Error::Connect { endpoint: endpoint(), source }
            }
        })
    }

    /// Runs the protocol on a connection. The one before it in `home` has ended.
    pub(crate) fn start(&self, incoming: Incoming, home: &Arc<Home>) -> (Handle, ConnectionInfo) {
        start(incoming, self.endpoint.kind(), &*self.factory, home)
    }
}

fn start(
    incoming: Incoming,
    kind: EndpointKind,
    factory: &dyn DynFactory,
    home: &Arc<Home>,
) -> (Handle, ConnectionInfo) {
    let acquired = home.service.permits.try_acquire();
    debug_assert!(acquired, "limits are valid, so that one connection has a permit");
    let origin = Arc::new(Origin::new(kind, incoming.local.clone()));
    let conn = Conn::start(incoming, &origin, home);
    let opened = (Handle::new(Arc::clone(conn.shared())), conn.info().clone());
    pool::begins(&opened.0);
    factory.spawn(conn);
    opened
}
