//! [`LineEcho`]: returns every line.

use std::future::{Future, ready};

use netframe_core::{ConnectionInfo, Factory, Result};

use super::{LineFramer, LineOptions, LineOptionsError, LineProtocol, LineTransport, Lines};

/// Returns each line with its delimiter.
///
/// ```
/// use netframe_core::testing::replay;
/// use netframe_protocols::line::{LineEcho, Lines};
///
/// assert_eq!(replay(b"one\ntwo\nthr", || Lines::new(LineEcho)).written, b"one\ntwo\n");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LineEcho;

/// A factory of [`LineEcho`].
///
/// # Errors
///
/// An option cannot be.
pub fn line_echo(
    options: LineOptions,
) -> Result<impl Factory<Protocol = Lines<LineEcho>>, LineOptionsError> {
    let framer = LineFramer::new(options)?;
    Ok(move |_: &ConnectionInfo| Lines::with_framer(LineEcho, framer.clone()))
}

impl LineProtocol for LineEcho {
    fn line_received(
        &mut self,
        t: &mut LineTransport<'_>,
        line: &[u8],
    ) -> impl Future<Output = Result> + Send {
        ready(t.send_line(line).map_err(Into::into))
    }
}
