//! [`FrameProtocol`]: what happens on one connection, in frames.

use std::future::{Future, ready};

use netframe_core::{CloseReason, Result};

use super::{FrameError, FrameTransport};

/// Reacts to the events of one connection that speaks in frames; [`Frames`](super::Frames) runs it,
/// with whatever framer.
///
/// Implementors write plain `async fn`s; only [`frame_received`](Self::frame_received) is required.
/// Order of calls, cancellation and errors are as for [`Protocol`](netframe_core::Protocol), whose
/// other callbacks pass through.
pub trait FrameProtocol: Send + 'static {
    /// The connection is open; nothing has been read yet.
    fn connection_made(
        &mut self,
        t: &mut FrameTransport<'_>,
    ) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// A frame arrived; `frame` is without its borders, and has at most `max_length` bytes.
    ///
    /// It is a view into the receive buffer: no frame costs an allocation, and what outlives the
    /// callback must be copied.
    fn frame_received(
        &mut self,
        t: &mut FrameTransport<'_>,
        frame: &[u8],
    ) -> impl Future<Output = Result> + Send;

    /// The peer will send nothing more. `rest` is what came of an unfinished frame, its borders
    /// included, and empty if nothing is missing.
    ///
    /// By default an empty `rest` closes the connection, and any other is the peer's error
    /// [`FrameError::UnexpectedEof`], as half a frame must not pass for a whole one.
    fn eof_received(
        &mut self,
        t: &mut FrameTransport<'_>,
        rest: &[u8],
    ) -> impl Future<Output = Result> + Send {
        ready(if rest.is_empty() {
            t.close();
            Ok(())
        } else {
            Err(FrameError::UnexpectedEof { len: rest.len() }.blame())
        })
    }

    /// [`Handle::notify`](netframe_core::Handle::notify) was called since the last time.
    fn notified(&mut self, t: &mut FrameTransport<'_>) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// The time set by `set_timeout` passed. By default the connection closes.
    fn timed_out(&mut self, t: &mut FrameTransport<'_>) -> impl Future<Output = Result> + Send {
        t.close();
        ready(Ok(()))
    }

    /// The server drains. By default the connection closes once nothing is queued, unread or left
    /// over.
    fn draining(&mut self, t: &mut FrameTransport<'_>) -> impl Future<Output = Result> + Send {
        t.close_when_idle();
        ready(Ok(()))
    }

    /// The connection is over; called exactly once, last, and never waits.
    fn connection_lost(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}
