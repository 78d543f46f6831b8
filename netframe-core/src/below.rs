//! [`Below`]: what a connection runs over: a polled socket, any other stream, or datagrams.

#[cfg(unix)]
mod socket;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(unix)]
pub(crate) use self::socket::Socket;
use crate::connection::WriteQueue;
use crate::io::{AnyIo, Io};
use crate::transport::datagram::Channel;

/// What is below a connection.
pub(crate) enum Below {
    /// A socket whose readiness the connection's home tells to the core: it costs no more than its
    /// descriptor. See `poller`.
    #[cfg(unix)]
    Polled(Socket),
    /// Any other stream.
    Io(Box<dyn Io>),
    /// Datagrams, of which it is no stream: nothing is read or written, but received and sent.
    Datagrams(Box<Channel>),
}

impl Below {
    /// Nothing, in place of a stream that is over.
    pub(crate) fn nothing() -> Self {
        Self::Io(Box::new(AnyIo::new(tokio::io::empty())))
    }

    /// The stream as one that reads and writes by itself. A polled socket is not to be polled any
    /// more.
    pub(crate) fn into_io(self) -> io::Result<Box<dyn Io>> {
        match self {
            #[cfg(unix)]
            Self::Polled(socket) => socket.into_io(),
            Self::Io(io) => Ok(io),
            Self::Datagrams(_) => Err(no_stream()),
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
            Self::Datagrams(_) => Poll::Ready(Err(no_stream())),
        }
    }

    /// Writes up to `max` bytes of the front of `queue` once; returns how much was taken, and whether that
    /// is all that was offered.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        queue: &WriteQueue,
        max: usize,
    ) -> Poll<io::Result<Sent>> {
        if let Some(slice) = queue.as_single() {
            let slice = &slice[..slice.len().min(max)];
            let polled = match self {
                #[cfg(unix)]
                Self::Polled(socket) => unblocked(|| io::Write::write(socket, slice)),
                Self::Io(io) => Pin::new(io).poll_write(cx, slice),
                Self::Datagrams(_) => Poll::Ready(Err(no_stream())),
            };
            return polled.map_ok(|taken| Sent { taken, all: taken == slice.len() });
        }
        queue.with_slices(max, |slices| {
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            let polled = match self {
                #[cfg(unix)]
                Self::Polled(socket) => unblocked(|| io::Write::write_vectored(socket, slices)),
                Self::Io(io) => Pin::new(io).poll_write_vectored(cx, slices),
                Self::Datagrams(_) => Poll::Ready(Err(no_stream())),
            };
            polled.map_ok(|taken| Sent { taken, all: taken == offered })
        })
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            #[cfg(unix)]
            Self::Polled(_) => Poll::Ready(Ok(())),
            Self::Io(io) => Pin::new(io).poll_flush(cx),
            Self::Datagrams(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ends the sending side; of datagrams it has no end that a peer could see.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            #[cfg(unix)]
            Self::Polled(socket) => Poll::Ready(socket.shutdown()),
            Self::Io(io) => Pin::new(io).poll_shutdown(cx),
            Self::Datagrams(_) => Poll::Ready(Ok(())),
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
            Self::Datagrams(_) => false,
        }
    }

    /// Makes the coming drop a reset.
    pub(crate) fn set_abort(&mut self) {
        match self {
            #[cfg(unix)]
            Self::Polled(socket) => socket.set_abort(),
            Self::Io(io) => io.set_abort(),
            Self::Datagrams(_) => {}
        }
    }

    /// The error of a broken socket; a reset where it has none to tell.
    pub(crate) fn take_error(&self) -> io::Error {
        let error = match self {
            #[cfg(unix)]
            Self::Polled(socket) => socket.take_error(),
            Self::Io(_) | Self::Datagrams(_) => None,
        };
        error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// Resolves when the peer has reset the connection; of a polled socket the core hears itself.
    pub(crate) async fn reset(&mut self) {
        match self {
            #[cfg(unix)]
            Self::Polled(_) => std::future::pending().await,
            Self::Io(io) => io.reset().await,
            Self::Datagrams(_) => std::future::pending().await,
        }
    }
}

/// What is asked of datagrams that only a stream can do, such as to carry a layer.
fn no_stream() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "datagrams are no stream")
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
            Self::Datagrams(_) => "Below(datagrams)",
        })
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
