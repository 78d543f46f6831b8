//! [`Io`]: the byte stream below a connection, and [`Layer`]: a stream built on another stream.

use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::connection::WriteQueue;
use crate::info::Extensions;
use crate::transport::mem::MemStream;

/// A future behind a pointer, as object-safe traits return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream that a connection can run over.
///
/// Any stream does; the two extra methods let a socket say what `AsyncRead` cannot. A layer
/// delegates them to the stream below it.
///
/// `poll_shutdown` ends the sending side (FIN) and leaves the receiving side open. Dropping it
/// releases everything.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Resolves when the peer has reset the connection, without reading what lies unread before
    /// it. A stream that cannot tell never resolves: its reset shows at the next read or write.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing; it is asked for again.
    fn reset(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Makes the coming drop of this stream a reset rather than an orderly end.
    fn set_abort(&mut self) {}

    /// Whether a drop with unread input may destroy what was written last, as that of a socket may.
    /// If so, a connection that closes reads on until the peer's FIN.
    fn lingers(&self) -> bool {
        true
    }
}

/// Puts a byte layer, such as TLS, between a stream and a protocol.
///
/// Given to [`Transport::switch_layer`](crate::Transport::switch_layer).
#[async_trait]
pub trait Layer: Send + 'static {
    /// Builds the layer over `io`; `residue` was received before and stands in front of it.
    ///
    /// # Errors
    ///
    /// The layer could not be built, such as a failed handshake: the connection is reset.
    ///
    /// # Cancel safety
    ///
    /// It is dropped when the connection is aborted or times out; `io` is then lost with it.
    async fn wrap(self: Box<Self>, io: Box<dyn Io>, residue: BytesMut) -> io::Result<Layered>;
}

/// What a [`Layer`] made: the stream above it, and what it knows about the connection.
pub struct Layered {
    /// The stream that the next protocol runs over.
    pub io: Box<dyn Io>,
    /// Facts for [`Transport::extension`](crate::Transport::extension).
    pub extensions: Extensions,
}

impl std::fmt::Debug for Layered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layered").field("extensions", &self.extensions).finish_non_exhaustive()
    }
}

/// Makes an [`Io`] of any stream. One that this crate knows keeps its abilities (a TCP socket tells
/// of resets); of any other, a reset shows at the next read or write.
pub(crate) fn adopt(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Box<dyn Io> {
    let mut slot = Some(io);
    let any: &mut dyn Any = &mut slot;
    if let Some(tcp) = any.downcast_mut::<Option<TcpStream>>().and_then(Option::take) {
        return Box::new(tcp);
    }
    if let Some(mem) = any.downcast_mut::<Option<MemStream>>().and_then(Option::take) {
        return Box::new(mem);
    }
    if let Some(io) = any.downcast_mut::<Option<Box<dyn Io>>>().and_then(Option::take) {
        return io;
    }
    Box::new(Plain(slot))
}

impl Io for TcpStream {
    #[cfg(target_os = "linux")]
    fn reset(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.ready(tokio::io::Interest::ERROR).await.is_err() {
                std::future::pending().await // the runtime is shutting down
            }
        })
    }

    fn set_abort(&mut self) {
        // It fails only on a socket that is dead already.
        drop(self.set_zero_linger());
    }
}

impl Io for Box<dyn Io> {
    fn reset(&mut self) -> BoxFuture<'_, ()> {
        (**self).reset()
    }

    fn set_abort(&mut self) {
        (**self).set_abort();
    }

    fn lingers(&self) -> bool {
        (**self).lingers()
    }
}

/// The stream below a connection.
pub(crate) enum Below {
    /// A socket whose readiness the connection's home tells to the core: it costs no more than its
    /// descriptor. See `poller`.
    #[cfg(unix)]
    Polled(mio::net::TcpStream),
    /// Any other.
    Io(Box<dyn Io>),
}

impl Below {
    /// Nothing, in place of a stream that is over.
    pub(crate) fn nothing() -> Self {
        Self::Io(Box::new(Plain(Some(tokio::io::empty()))))
    }

    /// The stream as one that reads and writes by itself. A polled socket is not to be polled any
    /// more.
    pub(crate) fn into_io(self) -> io::Result<Box<dyn Io>> {
        match self {
            #[cfg(unix)]
            Self::Polled(socket) => {
                let socket = std::os::fd::OwnedFd::from(socket);
                Ok(Box::new(TcpStream::from_std(socket.into())?))
            }
            Self::Io(io) => Ok(io),
        }
    }

    /// Reads once. `Pending` of a polled socket wakes nobody: the core hears of its readiness.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            #[cfg(unix)]
            Self::Polled(socket) => unblocked(|| io::Read::read(socket, buf)),
            Self::Io(io) => {
                let mut buf = ReadBuf::new(buf);
                Pin::new(io).poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
            }
        }
    }

    /// Writes the front of `queue` once; returns how much was offered and how much was taken.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        queue: &WriteQueue,
    ) -> Poll<io::Result<Sent>> {
        if let Some(slice) = queue.as_single() {
            let polled = match self {
                #[cfg(unix)]
                Self::Polled(socket) => unblocked(|| io::Write::write(socket, slice)),
                Self::Io(io) => Pin::new(io).poll_write(cx, slice),
            };
            return polled.map_ok(|taken| Sent { taken, all: taken == slice.len() });
        }
        queue.with_slices(|slices| {
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let polled = match self {
                #[cfg(unix)]
                Self::Polled(socket) => unblocked(|| io::Write::write_vectored(socket, slices)),
                Self::Io(io) => Pin::new(io).poll_write_vectored(cx, slices),
            };
            polled.map_ok(|taken| Sent { taken, all: taken == offered })
        })
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            #[cfg(unix)]
            Self::Polled(_) => Poll::Ready(Ok(())),
            Self::Io(io) => Pin::new(io).poll_flush(cx),
        }
    }

    /// Ends the sending side.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            #[cfg(unix)]
            Self::Polled(socket) => Poll::Ready(socket.shutdown(std::net::Shutdown::Write)),
            Self::Io(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    /// Whether it may hold back bytes that it took, until it is flushed.
    pub(crate) fn holds_back(&self) -> bool {
        matches!(self, Self::Io(_))
    }

    /// Whether a close reads on until the peer's FIN.
    pub(crate) fn lingers(&self) -> bool {
        match self {
            #[cfg(unix)]
            Self::Polled(_) => true,
            Self::Io(io) => io.lingers(),
        }
    }

    /// Makes the coming drop a reset.
    pub(crate) fn set_abort(&mut self) {
        match self {
            // It fails only on a socket that is dead already.
            #[cfg(unix)]
            Self::Polled(socket) => {
                drop(socket2::SockRef::from(&*socket).set_linger(Some(std::time::Duration::ZERO)));
            }
            Self::Io(io) => io.set_abort(),
        }
    }

    /// The error of a broken socket; a reset where it has none to tell.
    pub(crate) fn take_error(&self) -> io::Error {
        let error = match self {
            #[cfg(unix)]
            Self::Polled(socket) => socket.take_error().ok().flatten(),
            Self::Io(_) => None,
        };
        error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// Resolves when the peer has reset the connection; of a polled socket the core hears itself.
    pub(crate) async fn reset(&mut self) {
        match self {
            #[cfg(unix)]
            Self::Polled(_) => std::future::pending().await,
            Self::Io(io) => io.reset().await,
        }
    }
}

/// How much of what was offered was taken by a write.
pub(crate) struct Sent {
    pub(crate) taken: usize,
    pub(crate) all: bool,
}

impl Sent {
    pub(crate) const NOTHING: Self = Self { taken: 0, all: false };
}

/// A system call that does not block, as a poll.
#[cfg(unix)]
fn unblocked<T>(mut call: impl FnMut() -> io::Result<T>) -> Poll<io::Result<T>> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return Poll::Ready(done),
        }
    }
}

impl std::fmt::Debug for Below {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            #[cfg(unix)]
            Self::Polled(_) => "Below(polled)",
            Self::Io(_) => "Below(io)",
        })
    }
}

/// A stream of which nothing more is known; always there, but for the moment of its adoption.
struct Plain<T>(Option<T>);

impl<T> Plain<T> {
    fn get(self: Pin<&mut Self>) -> Pin<&mut T>
    where
        T: Unpin,
    {
        Pin::new(self.get_mut().0.as_mut().expect("there is a stream: see `adopt`"))
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for Plain<T> {}

impl<T: AsyncRead + Unpin> AsyncRead for Plain<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get().poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Plain<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get().poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get().poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.as_ref().is_some_and(T::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_below_costs_little() {
        assert!(size_of::<Below>() <= 24);
    }
}
