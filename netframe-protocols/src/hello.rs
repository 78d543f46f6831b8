//! [`Hello`]: the smallest server that says something.

use std::future::{Future, ready};

use netframe_core::bytes::BytesMut;
use netframe_core::{ConnectionInfo, Factory, Protocol, Result, Transport};

/// What [`Hello`] says, without a line end.
pub const GREETING: &str = "Hello from the server!";

/// Answers [`GREETING`] to whatever arrives first, then closes.
///
/// A peer that ends its sending side without having sent anything gets no greeting. Over UDP a first
/// datagram of less than eight bytes gets it only when another one follows: until then a peer is
/// sent at most three times what it sent.
///
/// ```
/// use netframe_core::testing::replay;
/// use netframe_protocols::Hello;
///
/// assert_eq!(replay(b"hi", || Hello).written, b"Hello from the server!");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Hello;

/// A factory of [`Hello`].
pub fn hello() -> impl Factory<Protocol = Hello> {
    |_: &ConnectionInfo| Hello
}

impl Protocol for Hello {
    fn data_received(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        data.clear();
        t.write_bytes(GREETING.into());
        t.close();
        ready(Ok(()))
    }
}
