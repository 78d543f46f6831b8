//! One protocol for a whole datagram socket: a [`DatagramProtocol`](crate::DatagramProtocol).

use std::io;
use std::sync::Arc;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::acceptor::Backoff;
use crate::close_reason::{CloseKind, CloseReason};
use crate::driver::Conn;
use crate::endpoint::Endpoint;
use crate::factory::DynFactory;
use crate::handle::Handle;
use crate::home::Home;
use crate::info::Origin;
use crate::transport::datagram::{DatagramSocket, whole};

/// Runs a protocol on `socket` until `stop`, or until it closes the socket itself. One that fails
/// is built anew, with growing delays: a bug that one datagram can hit does not end the service.
///
/// # Errors
///
/// The socket is broken.
pub(crate) async fn own(
    socket: Arc<DatagramSocket>,
    endpoint: Endpoint,
    factory: Arc<dyn DynFactory>,
    home: Arc<Home>,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut backoff = Backoff::default();
    let origin = Arc::new(Origin::new(endpoint.kind(), socket.local().clone()));
    let run = async {
        loop {
            home.service.permits.with_permit(std::future::ready(())).await;
            let conn = Conn::start(whole(&socket), &origin, &home);
            let handle = Handle::new(Arc::clone(conn.shared()));
            factory.spawn(conn);
            let reason = handle.closed().await;
            match reason.kind() {
                CloseKind::Closed | CloseKind::Aborted | CloseKind::Shutdown => return Ok(()),
                CloseKind::Reset => return Err(broken(&reason)),
                _ => {
                    warn!(service = %home.service.name, %endpoint, %reason, "the protocol is built anew");
                    sleep(backoff.next()).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        ended = run => ended,
    }
}

fn broken(reason: &CloseReason) -> io::Error {
    io::Error::other(reason.to_string())
}
