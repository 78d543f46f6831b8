//! [`Input`]: what the peer sends, for a handler that reads by itself.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::connection::Core;
use crate::handle::Handle;
use crate::limits::MAX_DELIVERY;

/// Reads what the peer sends while a handler waits: for a message that is too long to be left in
/// `data` until its end has come, such as a body. From `t.input()`.
///
/// It may go to a task that the handler started; but it is of use only until the handler returns, as
/// everything that comes then is given to the next callback. What the handler was given in `data`
/// comes before what is read here, and what it leaves in `data` goes before what was not read.
///
/// Reading here ignores `pause_reading` and the watermarks: who reads asks for it. The peer has
/// [`Limits::message_timeout`](crate::Limits::message_timeout) to send the next bytes, and must keep to
/// [`Limits::min_message_rate`](crate::Limits::min_message_rate).
///
/// ```
/// use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
///
/// /// Counts what comes until the peer's FIN.
/// struct Count;
///
/// impl Protocol for Count {
///     async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
///         let mut count = data.split().len();
///         let mut input = t.input();
///         loop {
///             match input.read().await? {
///                 bytes if bytes.is_empty() => break,
///                 bytes => count += bytes.len(),
///             }
///         }
///         t.write(format!("{count} bytes\n").as_bytes());
///         Ok(())
///     }
/// }
/// ```
pub struct Input {
    handle: Handle,
}

impl Input {
    pub(crate) fn new(handle: Handle) -> Self {
        handle.shared().change(Core::ignore_drain);
        Self { handle }
    }

    /// The next bytes, at most 64 KiB; none at the peer's FIN.
    ///
    /// They are a piece of a larger buffer: what is to be kept for long should be copied.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`]: the peer is too slow; the connection is still open. Others: the
    /// connection has ended or is closing.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses nothing.
    pub async fn read(&mut self) -> io::Result<Bytes> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// As [`read`](Self::read); the task of the last call is woken.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let shared = self.handle.shared();
        let mut core = shared.lock();
        let polled = core.poll_input(cx, MAX_DELIVERY);
        shared.arm(&mut core);
        let waker = core.unpark();
        drop(core);
        shared.wake_driver(waker);
        Poll::Ready(ready!(polled))
    }

    /// The connection.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({})", self.handle.id())
    }
}
