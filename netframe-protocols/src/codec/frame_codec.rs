//! [`FrameCodec`]: a framer and a format as a codec.

use std::cell::Cell;
use std::io;

use netframe_core::BoxError;
use netframe_core::bytes::{Buf, BytesMut};

use super::{Decoder, Encoder, Format, Raw};
use crate::frame::{FrameError, Framer};

/// Bytes of the scratch buffer that a thread keeps between messages.
const SCRATCH: usize = 64 * 1024;

thread_local! {
    /// Where a message is written to before its length is known.
    static FRAME: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// A codec whose messages are in the frames of `F`, written as `M` says: plain bytes, or JSON, or
/// a [`Format`] of one's own.
///
/// ```
/// use netframe_core::bytes::{Bytes, BytesMut};
/// use netframe_protocols::codec::{Decoder, Encoder, FrameCodec, Raw};
/// use netframe_protocols::frame::{Endian, Prefixed};
///
/// let mut codec = FrameCodec::new(Prefixed::int16(Endian::Big), Raw);
/// let mut wire = BytesMut::new();
/// codec.encode(Bytes::from("hello"), &mut wire)?;
/// assert_eq!(wire, "\0\x05hello");
/// assert_eq!(codec.decode(&mut wire)?, Some(Bytes::from("hello")));
/// # Ok::<(), netframe_protocols::codec::CodecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FrameCodec<F, M = Raw> {
    framer: F,
    format: M,
}

impl<F: Framer, M: Format> FrameCodec<F, M> {
    /// Messages in the format `format`, between the borders of `framer`, which is a new one.
    pub fn new(framer: F, format: M) -> Self {
        Self { framer, format }
    }
}

impl<F: Framer, M: Format> Decoder for FrameCodec<F, M> {
    type Item = M::Read;
    type Error = CodecError;

    fn decode(&mut self, data: &mut BytesMut) -> Result<Option<M::Read>, CodecError> {
        let Some(frame) = self.framer.next_frame(data)? else { return Ok(None) };
        let message = self.format.read(&data[frame.payload]).map_err(CodecError::Message)?;
        data.advance(frame.wire_length);
        Ok(Some(message))
    }

    fn decode_eof(&mut self, data: &mut BytesMut) -> Result<Option<M::Read>, CodecError> {
        match self.decode(data)? {
            None if !data.is_empty() => Err(FrameError::UnexpectedEof { len: data.len() }.into()),
            decoded => Ok(decoded),
        }
    }
}

impl<F: Framer, M: Format> Encoder<M::Write> for FrameCodec<F, M> {
    type Error = CodecError;

    fn encode(&mut self, message: M::Write, out: &mut BytesMut) -> Result<(), CodecError> {
        let mut frame = FRAME.take(); // an empty one stays, for a format that encodes in between
        let written = self.format.write(message, &mut frame).map_err(CodecError::Message);
        let mut write = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        let encoded = written.and_then(|()| Ok(self.framer.encode(&frame, &mut write)?));
        if frame.capacity() <= SCRATCH {
            frame.clear();
            FRAME.set(frame);
        }
        encoded
    }
}

/// What is wrong with a message of a [`FrameCodec`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Its frame is no frame, or cannot be one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The inside of the frame cannot be read, or the message not be written, says its format.
    #[error("a message is not in its format")]
    Message(#[source] BoxError),
    /// Of whoever reads or writes; a codec itself does neither.
    #[error(transparent)]
    Io(#[from] io::Error),
}
