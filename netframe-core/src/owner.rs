//! One protocol for a whole datagram socket: a [`DatagramProtocol`](crate::DatagramProtocol).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::acceptor::Backoff;
use crate::close_reason::{CloseKind, CloseReason};
use crate::connection::Core;
use crate::driver::Conn;
use crate::endpoint::Endpoint;
use crate::factory::DynFactory;
use crate::handle::Handle;
use crate::home::Home;
use crate::info::Origin;
use crate::server::PassedOn;
use crate::transport::datagram::{DatagramSocket, whole};

/// A protocol that has run for so long is not one that fails again and again.
const LASTING: Duration = Duration::from_secs(10);

/// Runs a protocol on `socket` until `stop`, or until it closes the socket itself. One that fails
/// is built anew, with growing delays: a bug that one datagram can hit does not end the service.
/// After the stop it receives no more if the socket was `passed_on`.
///
/// # Errors
///
/// The socket is broken.
pub(crate) async fn own(
    socket: Arc<DatagramSocket>,
    passed_on: PassedOn,
    endpoint: Endpoint,
    factory: Arc<dyn DynFactory>,
    home: Arc<Home>,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut backoff = Backoff::default();
    let origin = Arc::new(Origin::new(endpoint.kind(), socket.local().clone()));
    let current = Mutex::new(None::<Handle>);
    let now = || current.lock().unwrap_or_else(PoisonError::into_inner);
    let run = async {
        loop {
            home.service.permits.with_permit(std::future::ready(())).await;
            let conn = Conn::start(whole(&socket), &origin, &home);
            let handle = Handle::new(Arc::clone(conn.shared()));
            *now() = Some(handle.clone());
            factory.spawn(conn);
            let since = Instant::now();
            let reason = handle.closed().await;
            if since.elapsed() >= LASTING {
                backoff.reset();
            }
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
        () = stop.cancelled() => {}
        ended = run => return ended,
    }
    if passed_on.get()
        && let Some(handle) = now().take()
    {
        handle.shared().change(Core::stop_receiving);
    }
    Ok(())
}

fn broken(reason: &CloseReason) -> io::Error {
    io::Error::other(reason.to_string())
}
