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
#[cfg(unix)]
use tokio::net::UnixStream;

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
    #[cfg(unix)]
    if let Some(unix) = any.downcast_mut::<Option<UnixStream>>().and_then(Option::take) {
        return Box::new(unix);
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

#[cfg(unix)]
impl Io for UnixStream {
    /// A Unix socket is broken when its peer closed with input unread.
    #[cfg(target_os = "linux")]
    fn reset(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.ready(tokio::io::Interest::ERROR).await.is_err() {
                std::future::pending().await // the runtime is shutting down
            }
        })
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
