//! [`StreamBuilder`]: opens a connection for straight-line code, which owns it as a [`Stream`].

use std::fmt;

use bytes::BytesMut;

use super::Stream;
use crate::client::{Client, ClientBuilder, Dialer};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::info::ConnectionInfo;
use crate::limits::Limits;
use crate::listener::Connect;
use crate::network::Network;
use crate::protocol::{Needs, Protocol, Result};
use crate::resolve::Resolve;
use crate::transport::Transport;

/// Opens a connection for straight-line code; from [`Stream::builder`].
pub struct StreamBuilder {
    client: ClientBuilder,
}

impl StreamBuilder {
    pub(super) fn new() -> Self {
        Self { client: Client::builder(|_: &ConnectionInfo| Held) }
    }

    /// The limits of the connection.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.client = self.client.limits(limits);
        self
    }

    /// The network in which names such as those of `mem://` live; the process's own where none is given.
    pub fn network(mut self, network: impl Into<Network>) -> Self {
        self.client = self.client.network(network);
        self
    }

    /// Who is asked for the addresses of a name; the operating system where none is given.
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.client = self.client.resolver(resolver);
        self
    }

    /// Connects, as [`Stream::connect`].
    ///
    /// # Errors
    ///
    /// As [`Stream::connect`]; or a limit cannot be.
    pub async fn connect<E>(self, endpoint: E) -> Result<Stream, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        open(self.client.dialer(endpoint.try_into()?)?).await
    }

    /// Connects by a connector of one's own, as [`ClientBuilder::connect_with`].
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::connect_with`].
    pub async fn connect_with<E>(
        self,
        endpoint: E,
        connector: impl Connect,
    ) -> Result<Stream, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        open(self.client.dialer_with(endpoint.try_into()?, connector)?).await
    }
}

impl fmt::Debug for StreamBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamBuilder").field("client", &self.client).finish()
    }
}

async fn open(dialer: Dialer) -> Result<Stream, Error> {
    let incoming = dialer.dial().await?;
    let (handle, info) = dialer.start(incoming, &dialer.home());
    Ok(Stream { handle, info, owns: true })
}

/// Does nothing until the connection is closed: its stream reads and writes by itself.
struct Held;

impl Protocol for Held {
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        t.handle().closing().await;
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        Ok(()) // nothing is delivered while `connection_made` waits
    }
}
