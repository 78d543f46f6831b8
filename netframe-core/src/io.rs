//! [`Io`]: the byte stream below a connection, and [`Layer`]: a stream built on another stream.

use std::any::Any;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

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
    async fn wrap(self: Box<Self>, io: AnyIo, residue: BytesMut) -> io::Result<Layered>;
}

/// What a [`Layer`] made: the stream above it, and what it knows about the connection.
#[derive(Debug)]
pub struct Layered {
    /// The stream that the next protocol runs over.
    pub io: AnyIo,
    /// Facts for [`Transport::extension`](crate::Transport::extension).
    pub extensions: Extensions,
}

/// The stream below a connection: a socket, or any other [`Io`] behind a pointer.
pub struct AnyIo(Kind);

enum Kind {
    /// Inline, as it is by far the most common.
    Tcp(TcpStream),
    Other(Box<dyn Io>),
}

impl AnyIo {
    /// Wraps a stream of one's own.
    pub fn new(io: impl Io) -> Self {
        Self(Kind::Other(Box::new(io)))
    }

    /// Adopts any stream. One that this crate knows keeps its abilities (a TCP socket tells of
    /// resets); of any other, a reset shows at the next read or write.
    pub fn adopt(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let mut slot = Some(io);
        let any: &mut dyn Any = &mut slot;
        if let Some(tcp) = any.downcast_mut::<Option<TcpStream>>().and_then(Option::take) {
            return tcp.into();
        }
        if let Some(mem) = any.downcast_mut::<Option<MemStream>>().and_then(Option::take) {
            return Self::new(mem);
        }
        if let Some(known) = any.downcast_mut::<Option<Self>>().and_then(Option::take) {
            return known;
        }
        Self::new(Plain(slot))
    }

    /// Resolves when the peer has reset the connection.
    pub(crate) async fn reset(&mut self) {
        match &mut self.0 {
            #[cfg(target_os = "linux")]
            Kind::Tcp(tcp) => {
                if tcp.ready(Interest::ERROR).await.is_err() {
                    std::future::pending().await // the runtime is shutting down
                }
            }
            #[cfg(not(target_os = "linux"))]
            Kind::Tcp(_) => std::future::pending().await,
            Kind::Other(io) => io.reset().await,
        }
    }

    /// Whether it may hold back bytes that it took, until it is flushed.
    pub(crate) fn holds_back(&self) -> bool {
        matches!(self.0, Kind::Other(_))
    }

    /// Makes the coming drop a reset.
    pub(crate) fn set_abort(&mut self) {
        match &mut self.0 {
            // It fails only on a socket that is dead already.
            Kind::Tcp(tcp) => drop(tcp.set_zero_linger()),
            Kind::Other(io) => io.set_abort(),
        }
    }
}

impl From<TcpStream> for AnyIo {
    fn from(tcp: TcpStream) -> Self {
        Self(Kind::Tcp(tcp))
    }
}

impl std::fmt::Debug for AnyIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Kind::Tcp(_) => "AnyIo(tcp)",
            Kind::Other(_) => "AnyIo(other)",
        })
    }
}

impl AsyncRead for AnyIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Kind::Other(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for AnyIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_write(cx, data),
            Kind::Other(io) => Pin::new(io).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, data),
            Kind::Other(io) => Pin::new(io).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Kind::Tcp(tcp) => tcp.is_write_vectored(),
            Kind::Other(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Kind::Other(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Kind::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Kind::Other(io) => Pin::new(io).poll_shutdown(cx),
        }
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
    fn a_socket_costs_no_more_inside_any_io() {
        assert_eq!(size_of::<AnyIo>(), size_of::<TcpStream>());
    }
}
