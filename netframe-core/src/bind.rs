//! From an endpoint to what it stands for: binds listeners and makes connectors, one match arm per
//! kind. A new kind of transport is added here.

mod each;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::each::bind_each;

use crate::endpoint::{Address, Endpoint, EndpointKind};
use crate::error::Error;
#[cfg(unix)]
use crate::inherited::Inherited;
use crate::limits::Limits;
use crate::listener::{Connect, Listen};
use crate::network::Network;
use crate::protocol::Needs;
use crate::resolve::Resolve;
#[cfg(feature = "sim")]
use crate::testing::sim::SimNetwork;
use crate::transport::datagram::BoundSocket;
use crate::transport::mem;
use crate::transport::stdio::{StdioConnector, StdioListener};
use crate::transport::{tcp, udp};
#[cfg(unix)]
use crate::transport::{unix, unixgram};

/// A bound endpoint, not yet tied to a runtime.
pub(crate) enum Bound {
    Tcp(tcp::Bound),
    #[cfg(unix)]
    Unix(unix::Bound),
    /// Datagrams, for one worker: the first that asks.
    Datagrams {
        socket: BoundSocket,
        taken: AtomicBool,
    },
    /// Listeners that need no runtime of their own. It is taken by the first worker, unless it can
    /// be cloned.
    Other {
        endpoint: Endpoint,
        listener: Mutex<Option<Box<dyn Listen>>>,
    },
}

/// What one worker serves.
pub(crate) enum Open {
    /// Stream connections.
    Listener(Box<dyn Listen>),
    Datagrams(Box<BoundSocket>),
}

impl Bound {
    /// A listener of the user's own.
    pub(crate) fn custom(listener: Box<dyn Listen>) -> Self {
        Self::Other { endpoint: listener.endpoint().clone(), listener: Mutex::new(Some(listener)) }
    }

    fn datagrams(socket: BoundSocket) -> Self {
        Self::Datagrams { socket, taken: AtomicBool::new(false) }
    }

    /// The same for another service, which is to take over from this one; `None` if it cannot be
    /// shared.
    pub(crate) fn try_clone(&self) -> io::Result<Option<Self>> {
        Ok(match self {
            Self::Tcp(tcp) => Some(Self::Tcp(tcp.try_clone()?)),
            #[cfg(unix)]
            Self::Unix(unix) => Some(Self::Unix(unix.try_clone()?)),
            Self::Datagrams { socket, .. } => Some(Self::datagrams(socket.try_clone()?)),
            Self::Other { listener, .. } => match &*slot(listener) {
                Some(listener) => listener.try_clone()?.map(Self::custom),
                None => None,
            },
        })
    }

    /// The endpoint with the real port.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Tcp(tcp) => tcp.endpoint().clone(),
            #[cfg(unix)]
            Self::Unix(unix) => unix.endpoint().clone(),
            Self::Datagrams { socket, .. } => socket.endpoint.clone(),
            Self::Other { endpoint, .. } => endpoint.clone(),
        }
    }

    /// Whether it is a socket of datagrams.
    pub(crate) fn is_datagram(&self) -> bool {
        matches!(self, Self::Datagrams { .. })
    }

    /// What the current runtime is to serve; `None` if there is only one and it is taken.
    pub(crate) fn open(&self) -> io::Result<Option<Open>> {
        match self {
            Self::Tcp(tcp) => Ok(Some(Open::Listener(Box::new(tcp.acceptor()?)))),
            #[cfg(unix)]
            Self::Unix(unix) => Ok(Some(Open::Listener(Box::new(unix.acceptor()?)))),
            Self::Datagrams { socket, taken } => {
                if taken.swap(true, Ordering::Relaxed) {
                    return Ok(None);
                }
                Ok(Some(Open::Datagrams(Box::new(socket.try_clone()?))))
            }
            Self::Other { listener, .. } => {
                let mut slot = slot(listener);
                let Some(listener) = &mut *slot else { return Ok(None) };
                match listener.try_clone()? {
                    Some(clone) => Ok(Some(Open::Listener(clone))),
                    None => Ok(slot.take().map(Open::Listener)),
                }
            }
        }
    }
}

fn slot(listener: &Mutex<Option<Box<dyn Listen>>>) -> MutexGuard<'_, Option<Box<dyn Listen>>> {
    listener.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Binds `endpoint` for a protocol: one or more sockets, as a name may have several addresses, and
/// several inherited sockets one name.
pub(crate) async fn bind(
    endpoint: &Endpoint,
    needs: Needs,
    network: &Network,
    resolver: &dyn Resolve,
) -> Result<Vec<Bound>, Error> {
    check(endpoint, needs)?;
    #[cfg(feature = "sim")]
    if let (EndpointKind::Udp, Some(sim)) = (endpoint.kind(), &network.sim) {
        let socket = sim.bind_datagrams(endpoint);
        let socket = socket
            .map_err(|source| Error::Listen { endpoint: Box::new(endpoint.clone()), source })?;
        return Ok(vec![Bound::datagrams(socket)]);
    }
    let refused = |source| Error::Listen { endpoint: Box::new(endpoint.clone()), source };
    match (endpoint.kind(), endpoint.address()) {
        (EndpointKind::Tcp, _) => {
            Ok(tcp::bind(endpoint, resolver).await?.into_iter().map(Bound::Tcp).collect())
        }
        (EndpointKind::Udp, _) => {
            Ok(udp::bind(endpoint, resolver).await?.into_iter().map(Bound::datagrams).collect())
        }
        #[cfg(unix)]
        (EndpointKind::Unix, _) => Ok(vec![Bound::Unix(unix::bind(endpoint).await?)]),
        #[cfg(unix)]
        (EndpointKind::UnixDatagram, _) => {
            Ok(vec![Bound::datagrams(unixgram::bind(endpoint).await?)])
        }
        (EndpointKind::Mem, Address::Name(name)) => {
            let listener =
                network.mem.listen(endpoint.clone(), name, mem::BACKLOG).map_err(refused)?;
            Ok(vec![Bound::custom(Box::new(listener))])
        }
        #[cfg(feature = "sim")]
        (EndpointKind::Sim, Address::Name(name)) => {
            let sim = simulated(endpoint, network)?;
            let listener = sim.listen(endpoint.clone(), name).map_err(refused)?;
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
        _ => Err(not_listened_on(endpoint)),
    }
}

/// What of [`bind`] needs no network: refuses what cannot be listened on, or not by the protocol.
pub(crate) fn check(endpoint: &Endpoint, needs: Needs) -> Result<(), Error> {
    built(endpoint)?;
    fits(endpoint, endpoint.kind(), needs)?;
    match (endpoint.kind(), endpoint.address()) {
        (EndpointKind::Tcp | EndpointKind::Udp | EndpointKind::Stdio, _)
        | (EndpointKind::Mem, Address::Name(_)) => Ok(()),
        #[cfg(feature = "sim")]
        (EndpointKind::Sim, Address::Name(_)) => Ok(()),
        #[cfg(unix)]
        (EndpointKind::Unix | EndpointKind::UnixDatagram, _)
        | (EndpointKind::Fd, Address::Fd(_))
        | (EndpointKind::Systemd, Address::Name(_)) => Ok(()),
        _ => Err(not_listened_on(endpoint)),
    }
}

fn not_listened_on(endpoint: &Endpoint) -> Error {
    match endpoint.kind() {
        EndpointKind::Custom => {
            unsupported(endpoint, "a listener of one's own is given to `listen_on`")
        }
        _ => not_built(endpoint),
    }
}

/// A socket that was bound elsewhere, for a protocol; `endpoint` is what named it.
#[cfg(unix)]
fn adopt(endpoint: &Endpoint, needs: Needs, socket: Inherited) -> Result<Bound, Error> {
    fits(endpoint, socket.kind(), needs)?;
    let bound = match socket {
        Inherited::Tcp(socket) => tcp::adopt(socket).map(Bound::Tcp),
        Inherited::Unix(socket) => unix::adopt(socket, endpoint).map(Bound::Unix),
        Inherited::Udp(socket) => udp::adopt(socket).map(Bound::datagrams),
        Inherited::UnixDatagram(socket) => unixgram::adopt(socket, endpoint).map(Bound::datagrams),
    };
    bound.map_err(|source| Error::Listen { endpoint: Box::new(endpoint.clone()), source })
}

/// What opens connections to `endpoint`.
pub(crate) fn connector(
    endpoint: &Endpoint,
    needs: Needs,
    network: &Network,
    resolver: &Arc<dyn Resolve>,
) -> Result<Box<dyn Connect>, Error> {
    built(endpoint)?;
    fits(endpoint, endpoint.kind(), needs)?;
    let to = endpoint.clone();
    #[cfg(feature = "sim")]
    if let (EndpointKind::Udp, Some(sim)) = (endpoint.kind(), &network.sim) {
        return Ok(Box::new(sim.datagram_connector(to, needs)));
    }
    match (endpoint.kind(), endpoint.address()) {
        (EndpointKind::Tcp, _) => Ok(Box::new(tcp::TcpConnector::new(to, Arc::clone(resolver)))),
        (EndpointKind::Udp, _) => {
            Ok(Box::new(udp::UdpConnector::new(to, needs, Arc::clone(resolver))))
        }
        #[cfg(unix)]
        (EndpointKind::Unix, _) => Ok(Box::new(unix::UnixConnector::new(to))),
        #[cfg(unix)]
        (EndpointKind::UnixDatagram, _) => {
            Ok(Box::new(unixgram::UnixgramConnector::new(to, needs)))
        }
        (EndpointKind::Mem, Address::Name(name)) => Ok(Box::new(network.mem.connector(name))),
        #[cfg(feature = "sim")]
        (EndpointKind::Sim, Address::Name(name)) => {
            Ok(Box::new(simulated(endpoint, network)?.connector(name)))
        }
        (EndpointKind::Stdio, _) => Ok(Box::new(StdioConnector)),
        (EndpointKind::Fd | EndpointKind::Systemd, _) => {
            let what =
                "an inherited socket is one to listen on; connect to the address it is bound to";
            Err(unsupported(endpoint, what))
        }
        (EndpointKind::Custom, _) => {
            Err(unsupported(endpoint, "a connector of one's own is given to `connect_with`"))
        }
        _ => Err(not_built(endpoint)),
    }
}

/// The network that a simulated endpoint is in.
#[cfg(feature = "sim")]
fn simulated<'a>(endpoint: &Endpoint, network: &'a Network) -> Result<&'a SimNetwork, Error> {
    let what = "give the builder the `SimNetwork` of the simulation by `network`";
    network.sim.as_ref().ok_or_else(|| unsupported(endpoint, what))
}

/// Refuses a protocol that cannot run on what the endpoint carries.
fn fits(endpoint: &Endpoint, kind: EndpointKind, needs: Needs) -> Result<(), Error> {
    let later = matches!(kind, EndpointKind::Fd | EndpointKind::Systemd);
    if later || needs.fit(kind.is_datagram()) {
        return Ok(()); // of an inherited socket, itself will tell what it carries
    }
    let endpoint = Box::new(endpoint.clone());
    Err(match needs {
        Needs::Datagram => Error::NeedsDatagrams { endpoint },
        _ => Error::NeedsStream { endpoint },
    })
}

/// Refuses rates for datagrams.
pub(crate) fn can_shape(
    endpoint: &Endpoint,
    is_datagram: bool,
    limits: &Limits,
) -> Result<(), Error> {
    match limits.shaped_by() {
        Some(limit) if is_datagram => {
            Err(Error::ShapesStreams { endpoint: Box::new(endpoint.clone()), limit })
        }
        _ => Ok(()),
    }
}

/// Refuses what does not fit streams that the user opens: an endpoint of datagrams, or a protocol
/// that needs them.
pub(crate) fn carries_streams(endpoint: &Endpoint, needs: Needs) -> Result<(), Error> {
    if endpoint.kind().is_datagram() {
        return Err(unsupported(endpoint, "a connector of one's own opens streams, not datagrams"));
    }
    fits(endpoint, endpoint.kind(), needs)
}

/// Refuses layers, of which there is none yet.
fn built(endpoint: &Endpoint) -> Result<(), Error> {
    match endpoint.layers().first() {
        Some(layer) => Err(unsupported(endpoint, format!("the layer `{layer}` is not built yet"))),
        None => Ok(()),
    }
}

fn not_built(endpoint: &Endpoint) -> Error {
    let kind = endpoint.kind();
    let what = match kind {
        EndpointKind::Unix
        | EndpointKind::UnixDatagram
        | EndpointKind::Fd
        | EndpointKind::Systemd => format!("this system has no `{kind}`"),
        EndpointKind::Sim => "the feature `sim` of netframe-core is off".to_owned(),
        _ => format!(
            "the kind `{kind}` is not built yet; tcp, udp, unix, unixgram, mem and stdio are"
        ),
    };
    unsupported(endpoint, what)
}

fn unsupported(endpoint: &Endpoint, what: impl Into<String>) -> Error {
    Error::Unsupported { endpoint: Box::new(endpoint.clone()), what: what.into() }
}
