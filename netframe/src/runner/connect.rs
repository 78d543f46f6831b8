//! `netframe connect`: stdin goes to an endpoint, and what comes from there to stdout.
//!
//! A thread reads stdin and a thread writes stdout, as both may block, whatever they are; the
//! connection between them is a [`Client`]. Both directions wait for whoever takes their bytes and
//! queue no more than a few chunks, and neither waits for the other.

mod datagrams;

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;

use crate::bytes::{Bytes, BytesMut};
use crate::{
    Client, CloseKind, ConnectionInfo, EndpointKind, Handle, Limits, Protocol, Result, Timeout,
    Transport,
};
use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, oneshot};

use super::args::Connect;
use super::failure::Failure;
use super::{log, signals};

/// Bytes of stdin read at once. No more fit into a pipe.
const CHUNK_LEN: usize = 64 * 1024;

/// Chunks that may wait for the thread that writes stdout.
const CHUNKS: usize = 4;

/// Connects stdin and stdout until the peer has ended, or a signal ends it.
pub(super) fn connect(args: Connect) -> Result<ExitCode, Failure> {
    if args.endpoint.kind() == EndpointKind::Stdio {
        return Err(Failure::ConnectStdio);
    }
    log::start(&args.log);
    let signals = signals::watch(&signals::OF_CLIENTS);
    let mut signals = signals.map_err(|source| Failure::Signals { source })?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime: Runtime = runtime.map_err(|source| Failure::Runtime { source })?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            Some(signal) = signals.recv() => Ok(ExitCode::from(signal.exit_code())),
            outcome = converse(args) => outcome.map(|()| ExitCode::SUCCESS),
        }
    })
}

/// Everything from the first packet to the last byte on stdout.
async fn converse(args: Connect) -> Result<(), Failure> {
    let Connect { endpoint, timeout, chunk, wait, .. } = args;
    let (received, chunks) = mpsc::channel(CHUNKS);
    let mut limits = Limits::default();
    limits.high_watermark = CHUNKS * CHUNK_LEN;
    limits.low_watermark = limits.high_watermark / 2;
    limits.connect_timeout = timeout.into();
    // Whoever is at a terminal may think, and a peer may be slow.
    limits.idle_timeout = Timeout::Never;
    limits.write_stall_timeout = Timeout::Never;
    let of_datagrams = endpoint.kind().is_datagram();
    let client = if of_datagrams {
        let to_stdout = move |_: &_| datagrams::ToStdout::new(received.clone(), wait);
        Client::builder(crate::datagrams(to_stdout)).limits(limits).connect(&endpoint).await?
    } else {
        let to_stdout = move |_: &ConnectionInfo| ToStdout(received.clone());
        Client::builder(to_stdout).limits(limits).connect(&endpoint).await?
    };

    let (stdin_broke, mut stdin) = oneshot::channel();
    let (stdout_broke, stdout) = oneshot::channel();
    let handle = client.handle();
    let source = move || {
        if of_datagrams {
            datagrams::send_all(io::stdin(), chunk, &handle)
        } else {
            send_all(io::stdin(), &handle)
        }
    };
    start("stdin", client.handle(), source, stdin_broke)?;
    start("stdout", client.handle(), move || write_all(io::stdout(), chunks), stdout_broke)?;

    let reason = client.closed().await;
    // What was received is still being written.
    if let Ok(source) = stdout.await {
        return Err(Failure::Stdout { source });
    }
    if let Ok(source) = stdin.try_recv() {
        return Err(match source.kind() {
            io::ErrorKind::InvalidInput if of_datagrams => Failure::Datagram { source },
            _ => Failure::Stdin { source },
        });
    }
    match reason.kind() {
        CloseKind::Eof | CloseKind::Closed => Ok(()),
        CloseKind::Error if of_datagrams => Err(Failure::Unreachable {
            endpoint: Box::new(endpoint),
            cause: reason.source().map_or_else(|| reason.to_string(), ToString::to_string),
        }),
        _ => Err(Failure::Lost { endpoint: Box::new(endpoint), reason }),
    }
}

/// Runs one side on a thread, which nobody waits for. Its error ends the connection.
fn start(
    name: &str,
    handle: Handle,
    side: impl FnOnce() -> io::Result<()> + Send + 'static,
    broke: oneshot::Sender<io::Error>,
) -> Result<(), Failure> {
    let run = move || {
        if let Err(error) = side() {
            // Nobody waits for it when the connection has ended already.
            let _ = broke.send(error);
            handle.abort();
        }
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map(drop).map_err(|source| Failure::Runtime { source })
}

/// Sends all of stdin, then FIN. It waits while the connection has enough to send, and reads the
/// next chunk while that one leaves.
fn send_all(mut stdin: impl Read, handle: &Handle) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().build()?;
    let mut buffer = BytesMut::new();
    loop {
        // The same memory again, once the connection keeps no piece of it.
        buffer.clear();
        buffer.resize(CHUNK_LEN, 0);
        match stdin.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                let chunk = buffer.split_to(len).freeze();
                if runtime.block_on(handle.write(chunk)).is_err() {
                    return Ok(()); // the connection has ended, and says why
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    handle.close_write();
    Ok(())
}

/// Writes what was received until the connection ends.
fn write_all(mut stdout: impl Write, mut chunks: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(chunk) = chunks.blocking_recv() {
        stdout.write_all(&chunk)?;
        stdout.flush()?;
    }
    Ok(())
}

/// Hands what arrives to the thread that writes stdout. While that has enough to do the handler
/// waits, and so does the peer.
struct ToStdout(mpsc::Sender<Bytes>);

impl Protocol for ToStdout {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        // Else a peer that reads only while it is read from would wait for us, and we for it.
        t.set_coupled(false);
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.0.send(data.split().freeze()).await?;
        Ok(())
    }
}
