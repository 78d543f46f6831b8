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

mod options;
mod rules;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use netframe_core::{
    Client, ConnectionInfo, Endpoint, Error, Factory, Handle, Limits, Needs, Protocol,
    ProtocolError, Residue, Result, Timeout, Transport,
};

use self::options::Policy;
pub use self::options::{Socks5Options, Socks5OptionsError};
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
    let policy = Arc::new(Policy::new(options)?);
    Ok(move |_: &ConnectionInfo| Socks5 { policy: Arc::clone(&policy), stage: Stage::Greeting })
}

/// The proxy's side of one connection; from [`socks5`].
#[derive(Debug)]
pub struct Socks5 {
    policy: Arc<Policy>,
    stage: Stage,
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
}

/// The address that an answer names when there is none.
const UNKNOWN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl Socks5 {
    /// Chooses a method; returns how many bytes that took, once they are there.
    fn greet(&mut self, t: &mut dyn Transport, data: &[u8]) -> Result<Option<usize>> {
        let Some((methods, len)) = wire::greeting(data).map_err(ProtocolError::new)? else {
            return Ok(None);
        };
        let (method, stage) = match self.policy.has_users() {
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
        let is_known = self.policy.knows(user, password);
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
        if !self.policy.allows(&request.host, request.port) {
            refused(t, Reply::NotAllowed);
            return Err(ProtocolError::new(WireError::NotAllowed).into());
        }
        match self.open(t.handle(), &request).await {
            Ok((other, local)) => {
                t.write(&wire::answer(Reply::Succeeded, local));
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
        let endpoint = Endpoint::new_tcp(&request.host, request.port)?;
        let mut limits = Limits::default();
        limits.connect_timeout = Timeout::from_secs(self.policy.connect_timeout());
        let (local, told) = tokio::sync::oneshot::channel();
        let local = std::sync::Mutex::new(Some(local));
        let other = move |info: &ConnectionInfo| {
            if let Some(local) = local.lock().ok().and_then(|mut local| local.take()) {
                let _ = local.send(info.local().socket());
            }
            Forward::held(back.clone()) // the answer goes first
        };
        let client = Client::builder(other).limits(limits).resolver(Guard::new(&self.policy));
        let client = client.connect(endpoint).await?;
        let local = told.await.ok().flatten().unwrap_or(UNKNOWN);
        Ok((client.detach(), local))
    }
}

/// What a client is told of an error.
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
        _ if matches!(error, Error::Resolve { .. } | Error::Endpoint(_)) => Reply::HostUnreachable,
        _ => Reply::Failed,
    }
}
