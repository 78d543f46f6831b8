//! Tests without a network: a [`Recorder`] to call callbacks by hand, a [`Harness`] that drives a
//! protocol as a connection does but in the test's own thread, [`replay`] for the same bytes at
//! every split, and [`serve`] for a connection in memory. With the feature `conformance`, the module
//! `conformance` checks codecs.

#[cfg(feature = "conformance")]
pub mod conformance;
mod harness;
mod recorder;
#[cfg(feature = "sim")]
pub mod sim;

use crate::client::Client;
use crate::factory::Factory;
use crate::limits::Limits;
use crate::transport::mem::{self, MemStream};

pub use self::harness::{Harness, Transcript, replay, replay_with};
pub use self::recorder::{Recorder, SentDatagram};

/// Runs `factory`'s protocol on one end of a pair in memory, and returns the other end.
///
/// ```
/// # use netframe_core::{ConnectionInfo, Limits, Protocol, Result, Transport, testing};
/// # use netframe_core::bytes::BytesMut;
/// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// # struct Echo;
/// # impl Protocol for Echo {
/// #     async fn data_received(&mut self, t: &mut dyn Transport, d: &mut BytesMut) -> Result {
/// #         t.write_bytes(d.split().freeze());
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result {
/// let (mut peer, connection) = testing::serve(|_: &ConnectionInfo| Echo, Limits::default());
/// peer.write_all(b"hello").await?;
/// peer.shutdown().await?;
/// let mut answer = String::new();
/// peer.read_to_string(&mut answer).await?;
/// assert_eq!(answer, "hello");
/// assert_eq!(connection.closed().await.bytes_in(), 5);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// Outside of a tokio runtime, or if `limits` cannot be.
pub fn serve(factory: impl Factory, limits: Limits) -> (MemStream, Client) {
    let (peer, ours) = mem::pair(mem::DEFAULT_CAPACITY);
    let client = Client::builder(factory).limits(limits).adopt(ours);
    (peer, client.expect("the limits of a test are valid"))
}
