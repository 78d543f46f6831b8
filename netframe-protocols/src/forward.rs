//! [`PortForward`]: what comes to one endpoint goes to another, of any kind, and the answers back.

use std::sync::Arc;

use netframe_core::bytes::BytesMut;
use netframe_core::{
    Client, ClientBuilder, CloseKind, CloseReason, ConnectionInfo, Endpoint, Error, Factory,
    Handle, Limits, Network, Protocol, Result, Transport,
};

use crate::discard;

/// A factory of [`Forward`]s to one endpoint, whose name is looked up for each connection.
///
/// Each direction has a flow control of its own: what one side does not read is soon not read from the
/// other either, and nothing is kept but what is under way. A FIN is passed on, and what comes after
/// it from the other side still arrives; a connection that does not end in order is reset on the other
/// side, as what was cut off must not look complete.
///
/// A connection whose target cannot be reached is closed, without a byte; its reason says why.
///
/// In a drain a forwarded stream goes on to its end, or to the deadline. Datagrams are forwarded in
/// a session for each peer.
///
/// ```no_run
/// # async fn run() -> netframe_core::Result {
/// use netframe_core::Server;
/// use netframe_protocols::PortForward;
///
/// let forward = PortForward::to("unix:///run/app.sock".parse()?);
/// let server = Server::bind("tcp://127.0.0.1:7008", forward).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PortForward {
    target: Arc<Target>,
}

/// Where to, and how.
#[derive(Clone, Debug)]
struct Target {
    endpoint: Endpoint,
    limits: Limits,
    network: Option<Network>,
}

impl PortForward {
    /// Forwards to `endpoint`, with default limits on that side.
    pub fn to(endpoint: Endpoint) -> Self {
        let target = Target { endpoint, limits: Limits::default(), network: None };
        Self { target: Arc::new(target) }
    }

    /// The limits of the connections to the other side, such as their `connect_timeout`.
    pub fn limits(mut self, limits: Limits) -> Self {
        Arc::make_mut(&mut self.target).limits = limits;
        self
    }

    /// The network of the other side, for `mem://` and in tests.
    pub fn network(mut self, network: impl Into<Network>) -> Self {
        Arc::make_mut(&mut self.target).network = Some(network.into());
        self
    }

    /// Checks what can be without the network: that the endpoint is one to connect to, and that the
    /// limits make sense.
    ///
    /// # Errors
    ///
    /// As [`ClientBuilder::validate`].
    pub fn validate(&self) -> Result<(), Error> {
        let target = &*self.target;
        target.settings(Client::builder(discard())).validate(target.endpoint.clone())
    }
}

impl Target {
    /// Gives a client what was set for this side.
    fn settings(&self, client: ClientBuilder) -> ClientBuilder {
        let client = client.limits(self.limits.clone());
        match &self.network {
            Some(network) => client.network(network.clone()),
            None => client,
        }
    }
}

impl Factory for PortForward {
    type Protocol = Forward;

    fn build_protocol(&self, _: &ConnectionInfo) -> Option<Forward> {
        Some(Forward(Half::Accepted(Arc::clone(&self.target))))
    }
}

/// One of two connections: what it receives is written to the other.
#[derive(Debug)]
pub struct Forward(Half);

#[derive(Debug)]
enum Half {
    /// The other is still to be opened.
    Accepted(Arc<Target>),
    Joined(Handle),
    /// As `Joined`, and nothing is read before the other one begins.
    Held(Handle),
}

impl Forward {
    /// One that writes to `other`, which is open already; the protocol of that one has to be such a one
    /// too, with a handle to this connection.
    pub fn joined(other: Handle) -> Self {
        Self(Half::Joined(other))
    }

    /// As [`joined`](Self::joined), for one whose other has something else to say first: nothing is read
    /// before that has become a `Forward` too.
    pub(crate) fn held(other: Handle) -> Self {
        Self(Half::Held(other))
    }

    fn other(&self) -> Option<&Handle> {
        match &self.0 {
            Half::Accepted(_) => None,
            Half::Joined(other) | Half::Held(other) => Some(other),
        }
    }
}

impl Protocol for Forward {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        // What waits for this peer must not stop what comes from it: if it writes before it reads,
        // and the other peer does so too, both would wait for ever.
        t.set_coupled(false);
        match &self.0 {
            Half::Accepted(target) => {
                let back = t.handle();
                let other = Client::builder(move |_: &ConnectionInfo| Self::joined(back.clone()));
                let other = target.settings(other).connect(target.endpoint.clone()).await?;
                self.0 = Half::Joined(other.detach());
            }
            Half::Joined(other) => other.notify(), // it may be held
            Half::Held(_) => t.pause_reading(),
        }
        Ok(())
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        t.resume_reading();
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        if let Some(other) = self.other() {
            // Nothing more is read from this side until the other has room.
            other.write(data.split()).await?;
        }
        Ok(())
    }

    async fn eof_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        if let Some(other) = self.other() {
            other.close_write();
        }
        Ok(())
    }

    /// A stream goes on to its end: that nothing waits now does not mean that nothing more will
    /// come. Datagrams have no end.
    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        if t.info().is_datagram() {
            t.close_when_idle();
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        // In order means a FIN in both directions.
        if let Some(other) = self.other()
            && reason.kind() != CloseKind::Eof
        {
            other.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use netframe_core::testing::{Harness, Recorder};

    use super::*;

    #[test]
    fn what_one_side_sends_the_other_gets_after_a_fin_too() {
        let (mut client, mut server) = joined();
        client.receive(b"question");
        client.receive_eof();
        server.settle();
        assert_eq!(server.take_written(), b"question"[..]);
        server.receive(b"answer");
        assert_eq!((client.reason().is_some(), server.reason().is_some()), (false, false));
        server.receive_eof();
        client.settle();
        assert_eq!(client.take_written(), b"answer"[..]);
        for side in [client, server] {
            assert_eq!(side.reason().unwrap().kind(), CloseKind::Eof);
        }
    }

    #[test]
    fn a_reset_is_passed_on() {
        let (mut client, mut server) = joined();
        server.receive(b"half of an ans");
        server.receive_reset();
        client.settle();
        assert_eq!(server.reason().unwrap().kind(), CloseKind::Reset);
        assert_eq!(client.reason().unwrap().kind(), CloseKind::Aborted);
    }

    /// Two connections that are each other's other.
    fn joined() -> (Harness<Forward>, Harness<Forward>) {
        let mut client = Harness::new(Forward::joined(Recorder::new().handle()));
        let mut server = Harness::new(Forward::joined(client.transport().handle()));
        *client.protocol_mut() = Forward::joined(server.transport().handle());
        (client, server)
    }
}
