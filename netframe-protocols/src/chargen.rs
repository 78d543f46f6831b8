//! `chargen`: characters without end, or some for each datagram (RFC 864).

use std::future::{Future, ready};

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::{ConnectionInfo, Factory, Needs, Protocol, Result, Transport};

/// Characters in a line, which CR and LF follow.
const WIDTH: usize = 72;

/// The printing characters of ASCII; each line begins with the next one.
const FIRST: u8 = b' ';
const COUNT: usize = 95;

/// Characters that a datagram has at most.
const MOST: usize = 512;

/// Sends lines of 72 printing characters for as long as the peer reads, and drops what arrives.
///
/// Only over streams: over UDP it would answer whoever is named as the sender with more than it was
/// sent, as which it is used in attacks. [`chargen_datagrams`] is for who means it.
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

/// A factory of [`ChargenDatagrams`]: of `chargen` over datagrams too.
///
/// It answers each datagram with up to 512 characters, and so multiplies what somebody sends in the
/// name of another. Until a second datagram comes from an address, that one is sent at most three
/// times the bytes of the first, and the rest is held back; but who forges one sender can forge it
/// twice. Serve it only where nobody can, as in a network of one's own.
///
/// ```
/// use netframe_core::Server;
///
/// let server = Server::builder(netframe_protocols::chargen_datagrams());
/// server.listen("udp://127.0.0.1:7019")?.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn chargen_datagrams() -> impl Factory<Protocol = ChargenDatagrams> {
    let chargen = Chargen::default();
    move |_: &ConnectionInfo| ChargenDatagrams(chargen.clone())
}

/// [`Chargen`] over a stream; over datagrams it answers each, whatever is in it, with 0 to 512 characters
/// of the same lines, as many as chance says. From [`chargen_datagrams`].
#[derive(Clone, Debug)]
pub struct ChargenDatagrams(Chargen);

impl Protocol for ChargenDatagrams {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        if t.info().is_datagram() { Ok(()) } else { self.0.connection_made(t).await }
    }

    fn data_received(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        data.clear();
        if t.info().is_datagram() {
            t.write_bytes(self.0.lines.slice(..fastrand::usize(..=MOST)));
        }
        ready(Ok(()))
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        self.0.draining(t).await
    }
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

#[cfg(test)]
mod tests {
    use netframe_core::testing::Harness;

    use super::*;

    #[test]
    fn each_datagram_is_answered_with_up_to_512_characters() {
        fastrand::seed(7);
        let chargen = || ChargenDatagrams(Chargen::default());
        let mut peer = Harness::datagrams(chargen());
        assert_eq!(peer.take_sent().len(), 0, "nobody is sent anything unasked");
        // So long that three times as much is enough for any answer; then it has sent twice.
        peer.receive(&[b'?'; 171]);
        assert_eq!(peer.take_sent().len(), 1);
        let mut lengths = Vec::new();
        for asked in [&b""[..], b"whatever"].repeat(1000) {
            peer.receive(asked);
            let sent = peer.take_sent();
            let [answer] = &sent[..] else { panic!("{} datagrams", sent.len()) };
            assert!(chargen().0.lines.starts_with(&answer.data));
            lengths.push(answer.data.len());
        }
        lengths.sort_unstable();
        assert!(lengths[0] < 20 && (MOST - 20..=MOST).contains(&lengths[1999]), "{lengths:?}");
        peer.drain();
        assert!(peer.reason().is_some(), "a session has no end of its own");
    }
}
