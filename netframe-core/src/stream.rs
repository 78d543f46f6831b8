//! [`stream_fn`] and [`Stream`]: straight-line async code instead of callbacks, over the same
//! connection core.

mod builder;

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use self::builder::StreamBuilder;
use crate::connection::Core;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::factory::Factory;
use crate::handle::Handle;
use crate::info::ConnectionInfo;
use crate::limits::MAX_DELIVERY;
use crate::protocol::{Needs, Protocol, Result};
use crate::transport::Transport;

/// A factory from an async function that is given each connection as a [`Stream`].
///
/// The connection closes in order when the function returns: what was written leaves, then FIN. An
/// `Err` closes it so too, and is the close reason; [`Stream::abort`] resets it instead. All limits
/// and timeouts of callbacks hold; on a reset, an abort or a system timeout the function is dropped
/// where it waits.
///
/// # Drain
///
/// When the server drains, a stream that is idle reads EOF, as if the peer had sent its FIN: one that
/// waits in a read, finds nothing there, and has written since it last read anything, or read nothing
/// yet. So a request that has come in part is waited for, and one that is being answered is answered.
/// A function that never answers, or waits for something else, is dropped at the deadline; it may
/// await [`Handle::draining`], and one that an EOF would mislead, such as a relay, calls
/// [`Stream::ignore_drain`].
///
/// # Examples
///
/// ```
/// use netframe_core::{Stream, stream_fn};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let greeter = stream_fn(|mut stream: Stream| async move {
///     stream.write_all(b"name? ").await?;
///     let mut name = [0; 64];
///     let len = stream.read(&mut name).await?;
///     stream.write_all(&[b"hello ", &name[..len]].concat()).await?;
///     Ok(())
/// });
/// # let _ = greeter;
/// ```
pub fn stream_fn<F, Fut>(f: F) -> StreamFn<F, Fut>
where
    F: Fn(Stream) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    StreamFn { f, future: PhantomData }
}

/// What [`stream_fn`] returns.
pub struct StreamFn<F, Fut> {
    f: F,
    future: PhantomData<fn() -> Fut>,
}

impl<F, Fut> fmt::Debug for StreamFn<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamFn")
    }
}

impl<F, Fut> Factory for StreamFn<F, Fut>
where
    F: Fn(Stream) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    type Protocol = StreamProtocol<F, Fut>;

    fn build_protocol(&self, _: &ConnectionInfo) -> Option<Self::Protocol> {
        Some(StreamProtocol { f: self.f.clone(), future: PhantomData })
    }
}

/// A connection that is run by an async function: one long `connection_made`.
pub struct StreamProtocol<F, Fut> {
    f: F,
    future: PhantomData<fn() -> Fut>,
}

impl<F, Fut> fmt::Debug for StreamProtocol<F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamProtocol")
    }
}

impl<F, Fut> Protocol for StreamProtocol<F, Fut>
where
    F: Fn(Stream) -> Fut + Send + 'static,
    Fut: Future<Output = Result> + Send + 'static,
{
    const NEEDS: Needs = Needs::Stream;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        let stream = Stream { handle: t.handle(), info: t.info().clone(), owns: false };
        (self.f)(stream).await?;
        t.close();
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        Ok(()) // nothing is delivered: the stream reads by itself
    }
}

/// A connection as a byte stream, for straight-line async code and for any tokio library.
///
/// Reads take what the peer sent; nothing is read before it is asked for. Writes are queued, wait
/// while the queue is above its watermarks, and leave when the task next waits. `shutdown` flushes
/// and sends FIN.
///
/// One that was [connected](Self::connect) owns its connection: dropping it closes that in order, as
/// the return of the function does for a stream of [`stream_fn`]. What was written leaves in the
/// background, while the runtime lives.
pub struct Stream {
    handle: Handle,
    info: ConnectionInfo,
    owns: bool,
}

impl Stream {
    /// Connects to `endpoint`, with default limits.
    ///
    /// The limits and timeouts of every connection hold, such as the idle timeout of 5 min. When the
    /// connection has ended, reads and writes fail, and [`Handle::closed`] tells why.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`](crate::Client::connect); or the endpoint is one of datagrams.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the attempt up.
    ///
    /// # Examples
    ///
    /// ```
    /// # use netframe_core::{Result, Server, stream_fn};
    /// use netframe_core::Stream;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result {
    /// # let server = Server::bind("mem://greeter", stream_fn(|mut stream: Stream| async move {
    /// #     let mut name = String::new();
    /// #     stream.read_to_string(&mut name).await?;
    /// #     stream.write_all(format!("hello {name}").as_bytes()).await?;
    /// #     Ok(())
    /// # })).await?;
    /// let mut stream = Stream::connect("mem://greeter").await?;
    /// stream.write_all(b"Ada").await?;
    /// stream.shutdown().await?;
    /// let mut answer = String::new();
    /// stream.read_to_string(&mut answer).await?;
    /// assert_eq!(answer, "hello Ada");
    /// # drop(stream);
    /// # server.shutdown(std::time::Duration::from_secs(9)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect<E>(endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        Error: From<E::Error>,
    {
        Self::builder().connect(endpoint).await
    }

    /// A stream with limits, a network, a resolver or a connector of its own.
    pub fn builder() -> StreamBuilder {
        StreamBuilder::new()
    }

    /// Who is connected, and how.
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// A fact of type `T` about the connection, such as the `PeerCredentials` of a Unix socket.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.info.get()
    }

    /// A handle to the connection.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends the connection at once, with a reset: what is queued is dropped, and so is the function
    /// of [`stream_fn`] where it next waits.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Whether bytes were read ahead that nobody has taken.
    pub(crate) fn has_unread(&self) -> bool {
        self.handle.shared().lock().has_inbound()
    }

    /// From now on a drain does not end what is read: see [`stream_fn`].
    pub fn ignore_drain(&self) {
        self.handle.shared().change(Core::ignore_drain);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.owns {
            self.handle.close();
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("info", &self.info).finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let max = buf.remaining();
        match ready!(self.handle.shared().change(|core| core.poll_pull(cx, max))) {
            Ok(bytes) => buf.put_slice(&bytes),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let shared: &Arc<_> = self.handle.shared();
        let data = &data[..data.len().min(MAX_DELIVERY)];
        shared.change(|core| core.poll_push(cx, data, shared.limits()))
    }

    /// Ready at once: what is queued leaves by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.handle.shared().change(|core| core.poll_close_write(cx))
    }
}
