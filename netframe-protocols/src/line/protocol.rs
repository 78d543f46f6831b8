//! [`LineProtocol`]: what happens on one connection, in lines.

use std::future::{Future, ready};

use netframe_core::bytes::BytesMut;
use netframe_core::{CloseReason, Result};

use super::{LineError, LineTransport};

/// Reacts to the events of one connection that speaks in lines; [`Lines`](super::Lines) runs it.
///
/// Implementors write plain `async fn`s; only [`line_received`](Self::line_received) is required.
/// Order of calls, cancellation and errors are as for [`Protocol`](netframe_core::Protocol), whose
/// other callbacks pass through.
pub trait LineProtocol: Send + 'static {
    /// The connection is open; nothing has been read yet.
    fn connection_made(
        &mut self,
        t: &mut LineTransport<'_>,
    ) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// A line arrived; `line` is without its delimiter, and has at most `max_length` bytes.
    ///
    /// It is a view into the receive buffer: no line costs an allocation, and what outlives the
    /// callback must be copied.
    fn line_received(
        &mut self,
        t: &mut LineTransport<'_>,
        line: &[u8],
    ) -> impl Future<Output = Result> + Send;

    /// Bytes arrived in raw mode, those behind the line that began it first.
    ///
    /// As [`Protocol::data_received`](netframe_core::Protocol::data_received): consume what is
    /// complete; the rest comes back with more bytes behind it. After
    /// [`set_line_mode`](LineTransport::set_line_mode) the rest is lines again.
    ///
    /// By default an error, as a protocol that never asks for raw mode gets none.
    fn raw_received(
        &mut self,
        t: &mut LineTransport<'_>,
        data: &mut BytesMut,
    ) -> impl Future<Output = Result> + Send {
        let _ = (t, data);
        ready(Err("raw mode was set by a protocol without `raw_received`".into()))
    }

    /// The peer will send nothing more. `rest` is the last line if it has no delimiter (in raw
    /// mode: what `raw_received` left), and empty if nothing is missing.
    ///
    /// By default an empty `rest` closes the connection, and any other is the peer's error
    /// [`LineError::UnexpectedEof`], as half a line must not pass for a whole one. To accept it:
    ///
    /// ```
    /// # use netframe_core::{Result, testing::replay};
    /// # use netframe_protocols::line::{LineProtocol, LineTransport, Lines};
    /// # struct Lenient;
    /// impl LineProtocol for Lenient {
    /// #   async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
    /// #       t.send_line(line)?;
    /// #       Ok(())
    /// #   }
    ///     async fn eof_received(&mut self, t: &mut LineTransport<'_>, rest: &[u8]) -> Result {
    ///         if !rest.is_empty() {
    ///             self.line_received(t, rest).await?;
    ///         }
    ///         t.close();
    ///         Ok(())
    ///     }
    /// }
    /// # assert_eq!(replay(b"a\nb", || Lines::new(Lenient)).written, b"a\nb\n");
    /// ```
    fn eof_received(
        &mut self,
        t: &mut LineTransport<'_>,
        rest: &[u8],
    ) -> impl Future<Output = Result> + Send {
        ready(if rest.is_empty() {
            t.close();
            Ok(())
        } else {
            Err(LineError::UnexpectedEof { len: rest.len() }.blame())
        })
    }

    /// [`Handle::notify`](netframe_core::Handle::notify) was called since the last time.
    fn notified(&mut self, t: &mut LineTransport<'_>) -> impl Future<Output = Result> + Send {
        let _ = t;
        ready(Ok(()))
    }

    /// The time set by `set_timeout` passed. By default the connection closes.
    fn timed_out(&mut self, t: &mut LineTransport<'_>) -> impl Future<Output = Result> + Send {
        t.close();
        ready(Ok(()))
    }

    /// The server drains. By default the connection closes once nothing is queued, unread or left
    /// over.
    fn draining(&mut self, t: &mut LineTransport<'_>) -> impl Future<Output = Result> + Send {
        t.close_when_idle();
        ready(Ok(()))
    }

    /// The connection is over; called exactly once, last, and never waits.
    fn connection_lost(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}
