//! SOCKS 5 (RFC 1928), the proxy's side: connects to where a client asks, and forwards.
//!
//! Of the commands there is CONNECT, of the methods none and user with password (RFC 1929). Who may
//! go where is for [`Socks5Options`] to say: a proxy that is open to everybody is refused unless it
//! is asked for, and so are ways into the network that it stands in.
//!
//! ```
//! use netframe_protocols::socks5::{Socks5Options, socks5};
//!
//! let mut options = Socks5Options::default();
//! assert!(socks5(options.clone()).is_err(), "it would be open to everybody");
//! options.users.insert("ada".into(), "secret".into());
//! let factory = socks5(options)?; // for a server
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod fuzz;
mod options;
mod places;
mod rules;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use netframe_core::{
    Client, CloseKind, CloseReason, ConnectionInfo, Endpoint, EndpointError, Error, Factory,
    Handle, Limits, Needs, Network, Protocol, ProtocolError, Residue, Result, Timeout, Transport,
};

use self::options::Policy;
pub use self::options::{Socks5Options, Socks5OptionsError};
use self::places::Places;
use self::rules::Guard;
use self::wire::{Reply, Request, WireError};
use crate::Forward;

/// Time from the connection up to a complete request.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A factory of [`Socks5`].
///
/// # Errors
///
/// An option cannot be, or all of them together make a proxy that is open to everybody.
pub fn socks5(
    options: Socks5Options,
) -> Result<impl Factory<Protocol = Socks5>, Socks5OptionsError> {
    build(options, Places::tcp())
}

/// As [`socks5`], for clients that ask for what is in `network`, such as services of this process:
/// `find` says which endpoint a host and a port are. What [`Socks5Options`] say about hosts and ports
/// holds; where a name leads to is for `find` to say.
///
/// ```
/// use netframe_core::transport::mem::MemNetwork;
/// use netframe_protocols::socks5::{Socks5Options, socks5_to};
///
/// let mut options = Socks5Options::default();
/// options.allow = vec!["echo:7".into()];
/// let factory = socks5_to(options, MemNetwork::new(), |host, _| format!("mem://{host}").parse())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`socks5`].
pub fn socks5_to(
    options: Socks5Options,
    network: impl Into<Network>,
    find: impl Fn(&str, u16) -> Result<Endpoint, EndpointError> + Send + Sync + 'static,
) -> Result<impl Factory<Protocol = Socks5>, Socks5OptionsError> {
    build(options, Places::of(network.into(), find))
}

fn build(
    options: Socks5Options,
    places: Places,
) -> Result<impl Factory<Protocol = Socks5>, Socks5OptionsError> {
    let shared = Arc::new(Shared { policy: Policy::new(options)?, places });
    Ok(move |_: &ConnectionInfo| Socks5 {
        shared: Arc::clone(&shared),
        stage: Stage::Greeting,
        other: None,
    })
}

/// The proxy's side of one connection; from [`socks5`].
#[derive(Debug)]
pub struct Socks5 {
    shared: Arc<Shared>,
    stage: Stage,
    /// The other side, once it is open: up to the switch nobody else would end it.
    other: Option<Handle>,
}

#[derive(Debug)]
struct Shared {
    policy: Policy,
    places: Places,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The client is to name its methods.
    Greeting,
    /// It is to give user and password.
    Login,
    /// It is to say where to.
    Request,
}

impl Protocol for Socks5 {
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        t.set_timeout(Some(HANDSHAKE));
        Ok(())
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        while t.wants_data() {
            let taken = match self.stage {
                Stage::Greeting => self.greet(t, data)?,
                Stage::Login => self.log_in(t, data)?,
                Stage::Request => {
                    let Some((request, len)) = wire::request(data).map_err(|error| {
                        if let Some(reply) = error.reply() {
                            t.write(&wire::answer(reply, UNKNOWN));
                        }
                        ProtocolError::new(error)
                    })?
                    else {
                        return Ok(());
                    };
                    data.advance(len);
                    t.set_timeout(None);
                    return self.connect(t, request).await;
                }
            };
            match taken {
                Some(len) => data.advance(len),
                None => break,
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        // It may end before the answer has left; then there is no switch.
        if let Some(other) = &self.other
            && reason.kind() != CloseKind::Switched
        {
            other.abort();
        }
    }
}

/// The address that an answer names when there is none.
const UNKNOWN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Socks5 {
    /// Chooses a method; returns how many bytes that took, once they are there.
    fn greet(&mut self, t: &mut dyn Transport, data: &[u8]) -> Result<Option<usize>> {
        let Some((methods, len)) = wire::greeting(data).map_err(ProtocolError::new)? else {
            return Ok(None);
        };
        let (method, stage) = match self.shared.policy.has_users() {
            true => (wire::PASSWORD, Stage::Login),
            false => (wire::NO_AUTHENTICATION, Stage::Request),
        };
        if !methods.contains(&method) {
            t.write(&[wire::VERSION, wire::NO_METHOD]);
            return Err(ProtocolError::new(WireError::Method).into());
        }
        t.write(&[wire::VERSION, method]);
        self.stage = stage;
        Ok(Some(len))
    }

    /// Checks user and password (RFC 1929).
    fn log_in(&mut self, t: &mut dyn Transport, data: &[u8]) -> Result<Option<usize>> {
        let Some((user, password, len)) = wire::login(data).map_err(ProtocolError::new)? else {
            return Ok(None);
        };
        let is_known = self.shared.policy.knows(user, password);
        t.write(&[wire::LOGIN_VERSION, u8::from(!is_known)]);
        if !is_known {
            return Err(ProtocolError::new(WireError::Login).into());
        }
        self.stage = Stage::Request;
        Ok(Some(len))
    }

    /// Connects to where the client asks, and forwards from then on; or says why not.
    async fn connect(&mut self, t: &mut dyn Transport, request: Request) -> Result {
        let refused = |t: &mut dyn Transport, reply| t.write(&wire::answer(reply, UNKNOWN));
        if !self.shared.policy.allows(&request.host, request.port) {
            refused(t, Reply::NotAllowed);
            return Err(ProtocolError::new(WireError::NotAllowed).into());
        }
        match self.open(t.handle(), &request).await {
            Ok((other, local)) => {
                t.write(&wire::answer(Reply::Succeeded, local));
                self.other = Some(other.clone());
                t.switch_to(Forward::joined(other), Residue::Feed);
                Ok(())
            }
            Err(error) => {
                refused(t, reply_to(&error));
                Err(error.into())
            }
        }
    }

    /// Opens the other side, and tells where it was opened from.
    async fn open(&self, back: Handle, request: &Request) -> Result<(Handle, SocketAddr), Error> {
        let Shared { policy, places } = &*self.shared;
        let endpoint = places.find(&request.host, request.port)?;
        let mut limits = Limits::default();
        limits.connect_timeout = Timeout::from_secs(policy.connect_timeout());
        let (local, told) = tokio::sync::oneshot::channel();
        let local = std::sync::Mutex::new(Some(local));
        let other = move |info: &ConnectionInfo| {
            if let Some(local) = local.lock().ok().and_then(|mut local| local.take()) {
                let _ = local.send(info.local().socket());
            }
            Forward::held(back.clone()) // the answer goes first
        };
        let client = Client::builder(other).limits(limits).resolver(Guard::new(policy));
        let client = places.within(client).connect(endpoint).await?;
        let local = told.await.ok().flatten().unwrap_or(UNKNOWN);
        Ok((client.detach(), local))
    }
}

/// What a client is told of an error. Linux tells of a packet whose time to live has expired as of a host
/// that is unreachable, so that the reply for it, 6, is never given.
fn reply_to(error: &Error) -> Reply {
    use io::ErrorKind;
    let source = std::error::Error::source(error);
    let kind = source.and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    match kind {
        Some(ErrorKind::PermissionDenied) => Reply::NotAllowed,
        Some(ErrorKind::ConnectionRefused) => Reply::Refused,
        Some(ErrorKind::NetworkUnreachable) => Reply::NetworkUnreachable,
        Some(ErrorKind::HostUnreachable | ErrorKind::TimedOut | ErrorKind::NotFound) => {
            Reply::HostUnreachable
        }
        _ if matches!(
            error,
            Error::Resolve { .. } | Error::Endpoint(_) | Error::ConnectTimeout { .. }
        ) =>
        {
            Reply::HostUnreachable
        }
        _ => Reply::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_reply() {
        let endpoint = || Box::new(Endpoint::new_tcp("example.org", 80).unwrap());
        let error = |kind: io::ErrorKind| Error::Connect {
            endpoint: endpoint(),
            source: io::Error::from(kind),
        };
        let timeout = Error::ConnectTimeout { endpoint: endpoint(), after: Duration::from_secs(9) };
        let unknown =
            Error::Resolve { endpoint: endpoint(), source: io::Error::other("no such name") };
        let guarded =
            Error::Resolve { endpoint: endpoint(), source: io::ErrorKind::PermissionDenied.into() };
        let refused_endpoint = Error::from(Endpoint::new_tcp("", 80).unwrap_err());
        for (error, reply) in [
            (error(io::ErrorKind::NetworkUnreachable), Reply::NetworkUnreachable),
            (error(io::ErrorKind::HostUnreachable), Reply::HostUnreachable),
            (error(io::ErrorKind::TimedOut), Reply::HostUnreachable),
            (error(io::ErrorKind::ConnectionRefused), Reply::Refused),
            (error(io::ErrorKind::Other), Reply::Failed),
            (timeout, Reply::HostUnreachable),
            (unknown, Reply::HostUnreachable),
            (guarded, Reply::NotAllowed),
            (refused_endpoint, Reply::HostUnreachable),
        ] {
            assert_eq!(reply_to(&error), reply, "{error}");
        }
    }
}
