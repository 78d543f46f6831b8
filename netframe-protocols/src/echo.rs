//! [`Echo`]: returns every byte to its sender (RFC 862).

use std::future::{Future, ready};

use netframe_core::bytes::BytesMut;
use netframe_core::{ConnectionInfo, Factory, Protocol, Result, Transport};

/// Returns what arrives, without a copy of its own.
///
/// A peer that half-closes gets everything back before the connection closes. One that does not
/// read is not read from either, once its answers reach the high watermark. On a datagram transport
/// each datagram is returned as one.
///
/// ```
/// use netframe_core::testing::replay;
/// use netframe_protocols::Echo;
///
/// assert_eq!(replay(b"any bytes", || Echo).written, b"any bytes");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

/// A factory of [`Echo`].
pub fn echo() -> impl Factory<Protocol = Echo> {
    |_: &ConnectionInfo| Echo
}

impl Protocol for Echo {
    // Not an `async fn`: a ready future is smaller, and lies in the task of each idle connection.
    fn data_received(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        t.write_bytes(data.split().freeze());
        ready(Ok(()))
    }
}
