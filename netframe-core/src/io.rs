//! [`Io`]: the byte stream below a connection, and [`Layer`]: a stream built on another stream.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::info::Extensions;

/// A future behind a pointer, as object-safe traits return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream that a connection can run over.
///
/// [`AnyIo`] makes one of any tokio stream. The three methods let a socket say what `AsyncRead`
/// cannot; a layer delegates them to the stream below it.
///
/// `poll_shutdown` ends the sending side (FIN) and leaves the receiving side open. Dropping it
/// releases everything.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an `Io`",
    note = "`AnyIo::new(stream)` makes one of any tokio stream"
)]
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

/// Any tokio stream as an [`Io`].
///
/// # Examples
///
/// ```
/// use netframe_core::{Addr, AnyIo, Incoming, Io};
/// use tokio::io::{BufStream, empty, join, sink};
///
/// // A stream of which nothing more is known:
/// let incoming = Incoming::new(AnyIo::new(join(empty(), sink())), Addr::UNNAMED, Addr::UNNAMED);
///
/// // One over another stream; for tokio-rustls it would be `|tls| tls.get_mut().0`.
/// let below: Box<dyn Io> = incoming.into_io().unwrap();
/// let layer = AnyIo::over(BufStream::new(below), |buffered| buffered.get_mut());
/// assert!(layer.lingers());
/// ```
pub struct AnyIo<T> {
    stream: T,
    below: Option<fn(&mut T) -> &mut dyn Io>,
    lingers: bool,
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> AnyIo<T> {
    /// A stream of which nothing more is known: a reset shows at the next read or write, an abort
    /// is a drop like any other, and a close reads on until the peer's FIN.
    pub fn new(stream: T) -> Self {
        Self { stream, below: None, lingers: true }
    }

    /// A stream over another one, to which `below` leads: resets and aborts pass through it.
    pub fn over(mut stream: T, below: fn(&mut T) -> &mut dyn Io) -> Self {
        let lingers = below(&mut stream).lingers();
        Self { stream, below: Some(below), lingers }
    }

    /// The stream.
    pub fn into_inner(self) -> T {
        self.stream
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for AnyIo<T> {
    fn reset(&mut self) -> BoxFuture<'_, ()> {
        match self.below {
            Some(below) => below(&mut self.stream).reset(),
            None => Box::pin(std::future::pending()),
        }
    }

    fn set_abort(&mut self) {
        if let Some(below) = self.below {
            below(&mut self.stream).set_abort();
        }
    }

    fn lingers(&self) -> bool {
        self.lingers
    }
}

impl<T> std::fmt::Debug for AnyIo<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnyIo")
    }
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

impl Io for DuplexStream {}

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

impl<T: AsyncRead + Unpin> AsyncRead for AnyIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for AnyIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
