//! [`Discard`]: reads and drops (RFC 863).

use std::future::{Future, ready};

use netframe_core::bytes::BytesMut;
use netframe_core::{ConnectionInfo, Factory, Protocol, Result, Transport};

/// Drops what arrives and never answers; it closes when the peer does.
///
/// ```
/// use netframe_core::testing::replay;
/// use netframe_protocols::Discard;
///
/// assert_eq!(replay(b"any bytes", || Discard).written, b"");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

/// A factory of [`Discard`].
pub fn discard() -> impl Factory<Protocol = Discard> {
    |_: &ConnectionInfo| Discard
}

impl Protocol for Discard {
    fn data_received(
        &mut self,
        _: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        data.clear();
        ready(Ok(()))
    }
}
