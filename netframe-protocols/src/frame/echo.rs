//! [`FrameEcho`]: returns every frame.

use std::future::{Future, ready};

use netframe_core::{ConnectionInfo, Factory, Result};

use super::{FrameProtocol, FrameTransport, Framer, Frames};

/// Returns each frame.
///
/// ```
/// use netframe_core::testing::replay;
/// use netframe_protocols::frame::{FrameEcho, Frames, Prefixed};
///
/// let echo = || Frames::new(FrameEcho, Prefixed::int8());
/// assert_eq!(replay(b"\x03one\x03tw", echo).written, b"\x03one");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameEcho;

/// A factory of [`FrameEcho`], with a clone of `framer` for each connection.
pub fn frame_echo<F: Framer + Clone>(framer: F) -> impl Factory<Protocol = Frames<FrameEcho, F>> {
    move |_: &ConnectionInfo| Frames::new(FrameEcho, framer.clone())
}

impl FrameProtocol for FrameEcho {
    fn frame_received(
        &mut self,
        t: &mut FrameTransport<'_>,
        frame: &[u8],
    ) -> impl Future<Output = Result> + Send {
        ready(t.send_frame(frame).map_err(Into::into))
    }
}
