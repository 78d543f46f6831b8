//! `stdio:`: one connection on standard input and output, whatever these are: terminals, pipes,
//! files.
//!
//! A thread reads the one and a thread writes the other, as neither can be done from a task: tokio's
//! own stdin reads on a thread that the end of a runtime waits for, and `O_NONBLOCK` on an inherited
//! descriptor would change it for every other process that has it, such as the shell. The threads
//! are detached. One that waits for input is there until the process ends, which it does not hold
//! up.

use std::io::{self, Read, Write};
use std::mem;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::addr::Addr;
use crate::endpoint::Endpoint;
use crate::io::Io;
use crate::listener::{Connect, Incoming, Listen};

/// Bytes that a thread reads or writes at once. A direction has room for twice as many.
const CHUNK_LEN: usize = 64 * 1024;

/// Standard input and output as a place where one connection comes from.
pub(crate) struct StdioListener {
    endpoint: Endpoint,
    /// Until the connection has come.
    claim: Option<Claim>,
}

impl StdioListener {
    /// # Errors
    ///
    /// `AddrInUse`: they are claimed already.
    pub(crate) fn bind(endpoint: Endpoint) -> io::Result<Self> {
        Ok(Self { endpoint, claim: Some(Claim::new()?) })
    }
}

#[async_trait]
impl Listen for StdioListener {
    async fn accept(&mut self) -> io::Result<Incoming> {
        let incoming = open()?;
        if let Some(claim) = self.claim.take() {
            claim.keep();
        }
        Ok(incoming)
    }

    fn is_exhausted(&self) -> bool {
        self.claim.is_none()
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn local_addr(&self) -> Addr {
        addr()
    }
}

/// Opens the connection from the side of a client.
pub(crate) struct StdioConnector;

#[async_trait]
impl Connect for StdioConnector {
    async fn connect(&self) -> io::Result<Incoming> {
        let claim = Claim::new()?;
        let incoming = open()?;
        claim.keep();
        Ok(incoming)
    }
}

fn open() -> io::Result<Incoming> {
    Ok(Incoming::new(Stdio::start(io::stdin(), io::stdout())?, addr(), addr()))
}

fn addr() -> Addr {
    Addr::named("stdio")
}

/// The right to standard input and output, of which a process has one. Dropping it gives it back.
struct Claim(());

static CLAIMED: AtomicBool = AtomicBool::new(false);

impl Claim {
    fn new() -> io::Result<Self> {
        if CLAIMED.swap(true, Ordering::SeqCst) {
            let text = "standard input and output carry one connection in the life of a process, \
                        and it is taken";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        Ok(Self(()))
    }

    /// Keeps it for ever: what the thread has begun to read belongs to this connection and would be
    /// missing from another.
    fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.store(false, Ordering::SeqCst);
    }
}

/// A stream over a reader and a writer that block.
///
/// `poll_flush` and `poll_shutdown` are ready when the writer has everything. An error of the writer
/// is that of the next write or flush. Dropping it waits for nothing: what was taken is still
/// written, as far as the process lives long enough.
struct Stdio {
    input: Arc<Lane>,
    output: Arc<Lane>,
}

impl Stdio {
    fn start(
        input: impl Read + Send + 'static,
        output: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let stdio = Self { input: Arc::default(), output: Arc::default() };
        // The reader comes last: once it runs, it takes input that must not be lost.
        let lane = Arc::clone(&stdio.output);
        thread::Builder::new().name("stdout".to_owned()).spawn(move || lane.empty_into(output))?;
        let lane = Arc::clone(&stdio.input);
        thread::Builder::new().name("stdin".to_owned()).spawn(move || lane.fill_from(input))?;
        Ok(stdio)
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        self.input.end();
        self.output.end();
    }
}

impl Io for Stdio {
    /// What the writer has written is out of reach of anything that happens to the input.
    fn lingers(&self) -> bool {
        false
    }
}

impl AsyncRead for Stdio {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.input.lock();
        if state.chunk.is_empty() {
            state.check()?;
            return if state.over { Poll::Ready(Ok(())) } else { state.park(cx) };
        }
        let bytes = state.chunk.bytes();
        let len = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..len]);
        state.chunk.advance(len);
        let empty = state.chunk.is_empty();
        drop(state);
        if empty {
            self.input.turn.notify_one();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stdio {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.output.lock();
        state.check()?;
        if state.over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let len = state.chunk.push(data);
        if len == 0 && !data.is_empty() {
            return state.park(cx);
        }
        drop(state);
        self.output.turn.notify_one();
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.output.lock();
        state.check()?;
        if state.busy || !state.chunk.is_empty() { state.park(cx) } else { Poll::Ready(Ok(())) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.as_mut().poll_flush(cx);
        if flushed.is_ready() {
            self.output.end();
        }
        flushed
    }
}

/// One direction: a chunk that a task and a thread hand to each other. The thread has another one
/// to work with meanwhile, and they are swapped, so that no byte is copied under way and nothing is
/// allocated.
#[derive(Default)]
struct Lane {
    state: Mutex<State>,
    /// Wakes the thread: the chunk is for it to fill or to empty, or all is over.
    turn: Condvar,
}

#[derive(Default)]
struct State {
    chunk: Chunk,
    /// The thread is writing what it took out.
    busy: bool,
    /// No more bytes come into the chunk, or nobody would take them.
    over: bool,
    error: Option<io::Error>,
    /// Of the task, while it waits.
    waker: Option<Waker>,
}

impl Lane {
    /// The thread that reads: to the end of input, to an error, or until nobody wants more.
    fn fill_from(&self, mut input: impl Read) {
        let mut chunk = Chunk::default();
        loop {
            let read = chunk.read_from(&mut input);
            let mut state = self.wait_while(|state| !state.over && !state.chunk.is_empty());
            if state.over {
                return;
            }
            match read {
                Ok(()) => {
                    state.over = chunk.is_empty();
                    mem::swap(&mut state.chunk, &mut chunk);
                }
                Err(error) => state.fail(error),
            }
            let over = state.over;
            wake(state);
            if over {
                return;
            }
        }
    }

    /// The thread that writes: to an error, or until nothing more comes.
    fn empty_into(&self, mut output: impl Write) {
        let mut chunk = Chunk::default();
        loop {
            let mut state = self.wait_while(|state| !state.over && state.chunk.is_empty());
            if state.chunk.is_empty() {
                return;
            }
            mem::swap(&mut state.chunk, &mut chunk);
            state.busy = true;
            wake(state);
            let written = output.write_all(chunk.bytes()).and_then(|()| output.flush());
            chunk.clear();
            let mut state = self.lock();
            state.busy = false;
            if let Err(error) = written {
                state.fail(error);
                state.chunk.clear();
            }
            wake(state);
        }
    }

    /// Tells the thread that there is nothing more to do.
    fn end(&self) {
        self.lock().over = true;
        self.turn.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, mut wait: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let woken = self.turn.wait_while(self.lock(), |state| wait(state));
        woken.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Has the task woken at the next change.
    fn park<T>(&mut self, cx: &Context<'_>) -> Poll<T> {
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn fail(&mut self, error: io::Error) {
        self.error = Some(error);
        self.over = true;
    }

    /// Tells the error, once as it was.
    fn check(&mut self) -> io::Result<()> {
        match &mut self.error {
            Some(error) => Err(mem::replace(error, io::ErrorKind::BrokenPipe.into())),
            None => Ok(()),
        }
    }
}

/// Wakes the task, without the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A buffer of `CHUNK_LEN` bytes, and which of them are taken.
struct Chunk {
    buffer: Box<[u8]>,
    taken: Range<usize>,
}

impl Default for Chunk {
    fn default() -> Self {
        Self { buffer: vec![0; CHUNK_LEN].into(), taken: 0..0 }
    }
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.taken.clone()]
    }

    fn advance(&mut self, len: usize) {
        self.taken.start += len;
    }

    fn clear(&mut self) {
        self.taken = 0..0;
    }

    /// Appends as much of `data` as there is room for.
    fn push(&mut self, data: &[u8]) -> usize {
        let free = &mut self.buffer[self.taken.end..];
        let len = data.len().min(free.len());
        free[..len].copy_from_slice(&data[..len]);
        self.taken.end += len;
        len
    }

    /// Reads once in place of what it held; nothing at the end of input.
    fn read_from(&mut self, input: &mut impl Read) -> io::Result<()> {
        loop {
            match input.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map(|len| self.taken = 0..len),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, pipe};
    use std::sync::mpsc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_to_the_end() {
        let (mut stdio, mut stdin, mut stdout) = piped();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
        let (question, answer) = (sent.clone(), sent.clone());
        let peer = thread::spawn(move || {
            stdin.write_all(&question).unwrap();
            drop(stdin);
            let mut got = Vec::new();
            stdout.read_to_end(&mut got).unwrap();
            got
        });
        let mut got = Vec::new();
        stdio.read_to_end(&mut got).await.unwrap();
        assert!(got == sent);
        stdio.write_all(&answer).await.unwrap();
        stdio.shutdown().await.unwrap();
        assert!(peer.join().unwrap() == sent);
        let late = stdio.write_all(b"late").await;
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn flush_waits_for_the_writer() {
        let (mut stdio, _stdin, mut stdout) = piped();
        let len = 200_000; // more than a pipe and a chunk have room for
        stdio.write_all(&[b'x'; CHUNK_LEN]).await.unwrap();
        let reader = thread::spawn(move || {
            let mut got = vec![0; len];
            stdout.read_exact(&mut got).unwrap();
            stdout
        });
        stdio.write_all(&vec![b'x'; len - CHUNK_LEN]).await.unwrap();
        stdio.flush().await.unwrap();
        let _stdout = reader.join().unwrap();
    }

    #[tokio::test]
    async fn a_broken_stdout_is_the_error_of_the_next_write() {
        let (mut stdio, _stdin, stdout) = piped();
        drop(stdout);
        stdio.write_all(b"nobody reads this").await.unwrap();
        assert_eq!(stdio.flush().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(stdio.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_broken_stdin_is_an_error_after_what_came_before() {
        struct Failing(&'static [u8]);
        impl Read for Failing {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                match Read::read(&mut self.0, buf)? {
                    0 => Err(io::Error::other("unplugged")),
                    len => Ok(len),
                }
            }
        }

        let mut stdio = Stdio::start(Failing(b"before"), io::sink()).unwrap();
        let mut got = Vec::new();
        let error = stdio.read_to_end(&mut got).await.unwrap_err();
        assert_eq!((got.as_slice(), error.to_string().as_str()), (&b"before"[..], "unplugged"));
    }

    #[tokio::test]
    async fn a_drop_waits_for_nobody_and_ends_the_threads() {
        /// Tells of its drop, which is the end of its thread.
        struct Watched<T>(T, #[expect(dead_code, reason = "dropped")] mpsc::Sender<()>);
        impl<T: Read> Read for Watched<T> {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.0.read(buf)
            }
        }
        impl<T: Write> Write for Watched<T> {
            fn write(&mut self, data: &[u8]) -> io::Result<usize> {
                self.0.write(data)
            }
            fn flush(&mut self) -> io::Result<()> {
                self.0.flush()
            }
        }

        let (input, mut stdin) = pipe().unwrap();
        let (mut stdout, output) = pipe().unwrap();
        let (alive, ended) = mpsc::channel();
        let input = Watched(input, alive.clone());
        let mut stdio = Stdio::start(input, Watched(output, alive)).unwrap();
        stdio.write_all(b"taken").await.unwrap();
        drop(stdio); // while the one thread waits for input
        let mut got = String::new();
        stdout.read_to_string(&mut got).unwrap();
        assert_eq!(got, "taken");
        stdin.write_all(b"ends the thread").unwrap();
        assert!(ended.recv().is_err(), "both have ended");
    }

    #[tokio::test]
    async fn a_process_has_one() {
        let claim = Claim::new().unwrap();
        assert_eq!(Claim::new().err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(claim); // no connection has come
        Claim::new().unwrap().keep();
        assert_eq!(StdioConnector.connect().await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    /// A stream over two pipes, and their far ends.
    fn piped() -> (Stdio, PipeWriter, PipeReader) {
        let (input, stdin) = pipe().unwrap();
        let (stdout, output) = pipe().unwrap();
        (Stdio::start(input, output).unwrap(), stdin, stdout)
    }
}
