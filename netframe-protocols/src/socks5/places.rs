//! [`Places`]: what a host and a port are.

use std::fmt;

use netframe_core::{ClientBuilder, Endpoint, EndpointError, Network};

/// Where clients are connected to.
pub(super) struct Places {
    find: Box<Find>,
    network: Option<Network>,
}

type Find = dyn Fn(&str, u16) -> Result<Endpoint, EndpointError> + Send + Sync;

impl Places {
    /// Hosts by TCP.
    pub(super) fn tcp() -> Self {
        Self { find: Box::new(Endpoint::new_tcp), network: None }
    }

    pub(super) fn of(
        network: Network,
        find: impl Fn(&str, u16) -> Result<Endpoint, EndpointError> + Send + Sync + 'static,
    ) -> Self {
        Self { find: Box::new(find), network: Some(network) }
    }

    pub(super) fn find(&self, host: &str, port: u16) -> Result<Endpoint, EndpointError> {
        (self.find)(host, port)
    }

    /// Has a client connect in the network.
    pub(super) fn within(&self, client: ClientBuilder) -> ClientBuilder {
        match &self.network {
            Some(network) => client.network(network.clone()),
            None => client,
        }
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("network", &self.network).finish_non_exhaustive()
    }
}
