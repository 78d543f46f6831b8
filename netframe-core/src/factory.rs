//! [`Factory`]: makes one protocol per connection, or refuses it. A closure is a factory.

use std::fmt;
use std::sync::{Arc, Mutex};

use crate::driver::Conn;
use crate::info::ConnectionInfo;
use crate::protocol::{Needs, Protocol};

/// Makes one protocol per connection, or refuses it.
///
/// `|_: &ConnectionInfo| Echo` is a factory; [`factory_fn`] makes one that can refuse, and
/// [`stream_fn`](crate::stream_fn) one from straight-line async code.
pub trait Factory: Send + Sync + 'static {
    /// What it makes.
    type Protocol: Protocol;

    /// Makes the protocol of a new connection; `None` refuses it, and it is closed.
    ///
    /// Runs where connections are accepted: it must not block. A panic in it ends that connection.
    fn build_protocol(&self, info: &ConnectionInfo) -> Option<Self::Protocol>;
}

impl<F, P> Factory for F
where
    F: Fn(&ConnectionInfo) -> P + Send + Sync + 'static,
    P: Protocol,
{
    type Protocol = P;

    fn build_protocol(&self, info: &ConnectionInfo) -> Option<P> {
        Some(self(info))
    }
}

/// A factory from a function that may refuse a connection by returning `None`.
///
/// ```
/// # use netframe_core::{factory_fn, ConnectionInfo, Protocol, Result, Transport, bytes::BytesMut};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
/// #         t.write_bytes(d.split().freeze());
/// #         Ok(())
/// #     }
/// # }
/// let local_only = factory_fn(|info: &ConnectionInfo| {
///     info.peer().ip().is_some_and(|ip| ip.is_loopback()).then_some(Echo)
/// });
/// ```
pub fn factory_fn<F, P>(f: F) -> FactoryFn<F>
where
    F: Fn(&ConnectionInfo) -> Option<P> + Send + Sync + 'static,
    P: Protocol,
{
    FactoryFn(f)
}

/// What [`factory_fn`] returns.
#[derive(Clone, Copy)]
pub struct FactoryFn<F>(F);

impl<F, P> Factory for FactoryFn<F>
where
    F: Fn(&ConnectionInfo) -> Option<P> + Send + Sync + 'static,
    P: Protocol,
{
    type Protocol = P;

    fn build_protocol(&self, info: &ConnectionInfo) -> Option<P> {
        (self.0)(info)
    }
}

impl<F> fmt::Debug for FactoryFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactoryFn")
    }
}

/// A [`Factory`] with its type erased, once per connection; every factory is one.
///
/// It is what servers keep and what [`Transport::switch`](crate::Transport::switch) takes.
#[expect(private_bounds, reason = "sealed: only factories are DynFactories")]
pub trait DynFactory: Erased {}

impl<F: Factory> DynFactory for F {}

impl fmt::Debug for dyn DynFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DynFactory")
    }
}

/// What the driver needs of a factory whose protocol type it does not know.
pub(crate) trait Erased: Send + Sync + 'static {
    /// The transports that its protocol fits.
    fn needs(&self) -> Needs;

    /// Builds the protocol and starts a task that runs the connection to its end.
    fn spawn(&self, conn: Conn);
}

/// A factory for one connection, from a protocol that exists already.
pub(crate) fn once(protocol: impl Protocol) -> Arc<dyn DynFactory> {
    let cell = Mutex::new(Some(protocol));
    Arc::new(factory_fn(move |_: &ConnectionInfo| {
        cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }))
}
