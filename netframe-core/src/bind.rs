//! From an endpoint to what it stands for: binds listeners and makes connectors, one match arm per
//! kind. A new kind of transport is added here.

mod each;

pub(crate) use self::each::bind_each;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::endpoint::{Address, Endpoint, EndpointKind};
use crate::error::Error;
#[cfg(unix)]
use crate::inherited::Inherited;
use crate::listener::{Connect, Listen};
use crate::protocol::Needs;
use crate::resolve::Resolve;
use crate::transport::mem::{self, MemNetwork};
use crate::transport::stdio::{StdioConnector, StdioListener};
use crate::transport::tcp;

/// A bound endpoint, not yet tied to a runtime.
pub(crate) enum Bound {
    Tcp(tcp::Bound),
    /// Listeners that need no runtime of their own. It is taken by the first worker, unless it can
    /// be cloned.
    Other {
        endpoint: Endpoint,
        listener: Mutex<Option<Box<dyn Listen>>>,
    },
}

impl Bound {
    /// A listener of the user's own.
    pub(crate) fn custom(listener: Box<dyn Listen>) -> Self {
        Self::Other { endpoint: listener.endpoint().clone(), listener: Mutex::new(Some(listener)) }
    }

    /// The endpoint with the real port.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Tcp(tcp) => tcp.endpoint().clone(),
            Self::Other { endpoint, .. } => endpoint.clone(),
        }
    }

    /// An acceptor for the current runtime; `None` if there is only one and it is taken.
    pub(crate) fn acceptor(&self) -> io::Result<Option<Box<dyn Listen>>> {
        match self {
            Self::Tcp(tcp) => Ok(Some(Box::new(tcp.acceptor()?))),
            Self::Other { listener, .. } => {
                let mut slot = listener.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(listener) = &mut *slot else { return Ok(None) };
                match listener.try_clone()? {
                    Some(clone) => Ok(Some(clone)),
                    None => Ok(slot.take()),
                }
            }
        }
    }
}

/// Binds `endpoint` for a protocol: one or more sockets, as a name may have several addresses,
/// and several inherited sockets one name.
pub(crate) async fn bind(
    endpoint: &Endpoint,
    needs: Needs,
    network: &MemNetwork,
    resolver: &dyn Resolve,
) -> Result<Vec<Bound>, Error> {
    if needs == Needs::Stream && endpoint.kind().is_datagram() {
        return Err(Error::NeedsStream { endpoint: Box::new(endpoint.clone()) });
    }
    built(endpoint)?;
    let refused = |source| Error::Listen { endpoint: Box::new(endpoint.clone()), source };
    match (endpoint.kind(), endpoint.address()) {
        (EndpointKind::Tcp, _) => {
            Ok(tcp::bind(endpoint, resolver).await?.into_iter().map(Bound::Tcp).collect())
        }
        (EndpointKind::Mem, Address::Name(name)) => {
            let listener = network.listen(endpoint.clone(), name, mem::BACKLOG).map_err(refused)?;
            Ok(vec![Bound::custom(Box::new(listener))])
        }
        (EndpointKind::Stdio, _) => {
            let listener = StdioListener::bind(endpoint.clone()).map_err(refused)?;
            Ok(vec![Bound::custom(Box::new(listener))])
        }
        #[cfg(unix)]
        (EndpointKind::Fd, Address::Fd(fd)) => {
            let socket = Inherited::by_number(*fd).map_err(refused)?;
            Ok(vec![adopt(endpoint, needs, socket)?])
        }
        #[cfg(unix)]
        (EndpointKind::Systemd, Address::Name(name)) => {
            let sockets = Inherited::by_name(name).map_err(refused)?;
            sockets.into_iter().map(|socket| adopt(endpoint, needs, socket)).collect()
        }
        _ => Err(unsupported(endpoint)),
    }
}

/// A socket that was bound elsewhere, for a protocol; `endpoint` is what named it.
#[cfg(unix)]
fn adopt(endpoint: &Endpoint, needs: Needs, socket: Inherited) -> Result<Bound, Error> {
    let kind = socket.kind();
    let endpoint = Box::new(endpoint.clone());
    match socket {
        _ if needs == Needs::Stream && kind.is_datagram() => Err(Error::NeedsStream { endpoint }),
        Inherited::Tcp(socket) => match tcp::adopt(socket) {
            Ok(bound) => Ok(Bound::Tcp(bound)),
            Err(source) => Err(Error::Listen { endpoint, source }),
        },
        _ => {
            let what = format!("an inherited socket of the kind `{kind}`");
            Err(Error::Unsupported { endpoint, what })
        }
    }
}

/// What opens connections to `endpoint`.
pub(crate) fn connector(
    endpoint: &Endpoint,
    needs: Needs,
    network: &MemNetwork,
    resolver: &Arc<dyn Resolve>,
) -> Result<Box<dyn Connect>, Error> {
    if needs == Needs::Stream && endpoint.kind().is_datagram() {
        return Err(Error::NeedsStream { endpoint: Box::new(endpoint.clone()) });
    }
    built(endpoint)?;
    match (endpoint.kind(), endpoint.address()) {
        (EndpointKind::Tcp, _) => {
            Ok(Box::new(tcp::TcpConnector::new(endpoint.clone(), Arc::clone(resolver))))
        }
        (EndpointKind::Mem, Address::Name(name)) => Ok(Box::new(network.connector(name))),
        (EndpointKind::Stdio, _) => Ok(Box::new(StdioConnector)),
        _ => Err(unsupported(endpoint)),
    }
}

/// Refuses layers, of which there is none yet.
fn built(endpoint: &Endpoint) -> Result<(), Error> {
    match endpoint.layers().first() {
        Some(layer) => Err(Error::Unsupported {
            endpoint: Box::new(endpoint.clone()),
            what: format!("the layer `{layer}`"),
        }),
        None => Ok(()),
    }
}

fn unsupported(endpoint: &Endpoint) -> Error {
    Error::Unsupported {
        endpoint: Box::new(endpoint.clone()),
        what: format!("the kind `{}`", endpoint.kind()),
    }
}
