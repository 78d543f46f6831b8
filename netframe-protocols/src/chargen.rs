//! `chargen`: characters without end (RFC 864).

use std::future::{Future, ready};

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::{ConnectionInfo, Factory, Needs, Protocol, Result, Transport};

/// Characters in a line, which CR and LF follow.
const WIDTH: usize = 72;

/// The printing characters of ASCII; each line begins with the next one.
const FIRST: u8 = b' ';
const COUNT: usize = 95;

/// Sends lines of 72 printing characters for as long as the peer reads, and drops what arrives.
///
/// Only over streams: over UDP it would answer whoever is named as the sender with more than it was
/// sent, as which it is used in attacks.
#[derive(Clone, Debug)]
pub struct Chargen {
    lines: Bytes,
}

impl Default for Chargen {
    fn default() -> Self {
        let line = |first: usize| {
            let characters = (first..first + WIDTH).map(|at| FIRST + (at % COUNT) as u8);
            characters.chain(*b"\r\n")
        };
        Self { lines: (0..COUNT).flat_map(line).collect() }
    }
}

/// A factory of [`Chargen`], whose connections share the lines.
///
/// ```no_run
/// # async fn run() -> netframe_core::Result {
/// use netframe_core::Server;
///
/// let server = Server::bind("tcp://127.0.0.1:7019", netframe_protocols::chargen()).await?;
/// # Ok(())
/// # }
/// ```
pub fn chargen() -> impl Factory<Protocol = Chargen> {
    let chargen = Chargen::default();
    move |_: &ConnectionInfo| chargen.clone()
}

impl Protocol for Chargen {
    const NEEDS: Needs = Needs::Stream;

    fn connection_made(&mut self, t: &mut dyn Transport) -> impl Future<Output = Result> + Send {
        let (handle, lines) = (t.handle(), self.lines.clone());
        // Beside the callbacks, so that none of them waits for a slow peer. A write waits while the
        // queue is above the high watermark, and fails once the connection ends.
        t.spawn(async move { while handle.write(lines.clone()).await.is_ok() {} });
        ready(Ok(()))
    }

    fn data_received(
        &mut self,
        _: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        data.clear();
        ready(Ok(()))
    }

    /// There is no other end.
    fn draining(&mut self, t: &mut dyn Transport) -> impl Future<Output = Result> + Send {
        t.close();
        ready(Ok(()))
    }
}
