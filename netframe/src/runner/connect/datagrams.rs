//! What `netframe connect` does where the endpoint carries datagrams: one line of stdin is one
//! datagram, or one chunk if a length is given. As there is no end to wait for, it ends once stdin
//! has and nothing has come for a while.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use crate::bytes::Bytes;
use crate::{Addr, Datagram, DatagramProtocol, DatagramTransport, Handle, Result};
use tokio::runtime;
use tokio::sync::mpsc;

/// Bytes of a line at most; no datagram is that long.
const MAX_LINE: u64 = 64 * 1024 + 1;

/// Hands what arrives to the thread that writes stdout. A refusal ends it.
pub(super) struct ToStdout {
    chunks: mpsc::Sender<Bytes>,
    wait: Duration,
    /// Stdin has ended.
    over: bool,
}

impl ToStdout {
    pub(super) fn new(chunks: mpsc::Sender<Bytes>, wait: Duration) -> Self {
        Self { chunks, wait, over: false }
    }
}

impl DatagramProtocol for ToStdout {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        if self.over {
            t.set_timeout(Some(self.wait));
        }
        // It is gone when stdout broke, which ends the connection.
        Ok(self.chunks.send(datagram.data.freeze()).await?)
    }

    async fn error_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        error: io::Error,
        _: Option<Addr>,
    ) -> Result {
        Err(error.into())
    }

    /// Stdin has ended.
    async fn notified(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        self.over = true;
        t.set_timeout(Some(self.wait));
        Ok(())
    }

    async fn timed_out(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        t.close();
        Ok(())
    }
}

/// Sends all of stdin: a datagram for each line with its line feed, or for every `chunk` bytes.
pub(super) fn send_all(stdin: impl Read, chunk: Option<u64>, handle: &Handle) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().build()?;
    let mut stdin = BufReader::new(stdin);
    loop {
        let mut data = Vec::new();
        match chunk {
            Some(len) => stdin.by_ref().take(len).read_to_end(&mut data)?,
            None => stdin.by_ref().take(MAX_LINE).read_until(b'\n', &mut data)?,
        };
        if data.is_empty() {
            handle.notify();
            return Ok(());
        }
        if let Err(error) = runtime.block_on(handle.write(data)) {
            if handle.is_closed() {
                return Ok(()); // the connection says why
            }
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error.to_string()));
        }
    }
}
