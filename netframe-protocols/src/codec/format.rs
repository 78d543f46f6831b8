//! [`Format`]: what is in a frame; [`Raw`] bytes, or `Json`.

#[cfg(feature = "json")]
use std::{fmt, marker::PhantomData};

use netframe_core::BoxError;
use netframe_core::bytes::{BufMut, Bytes, BytesMut};
#[cfg(feature = "json")]
use serde::{Serialize, de::DeserializeOwned};

/// How a message is read from the inside of a frame, and written into one.
/// [`FrameCodec`](super::FrameCodec) makes a codec of it and a framer.
pub trait Format: Send + 'static {
    /// A message that arrives.
    type Read: Send + 'static;
    /// A message to send.
    type Write;

    /// The message in a frame.
    ///
    /// # Errors
    ///
    /// There is none; the peer is to blame.
    fn read(&mut self, frame: &[u8]) -> Result<Self::Read, BoxError>;

    /// Appends the inside of the frame that `message` goes in.
    ///
    /// # Errors
    ///
    /// It cannot be written; what was appended until then is dropped.
    fn write(&mut self, message: Self::Write, frame: &mut BytesMut) -> Result<(), BoxError>;
}

/// The bytes of a frame, as they are. Those that arrive are a copy, so that a message which is kept
/// does not keep a whole receive buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Format for Raw {
    type Read = Bytes;
    type Write = Bytes;

    fn read(&mut self, frame: &[u8]) -> Result<Bytes, BoxError> {
        Ok(Bytes::copy_from_slice(frame))
    }

    fn write(&mut self, message: Bytes, frame: &mut BytesMut) -> Result<(), BoxError> {
        frame.put_slice(&message);
        Ok(())
    }
}

/// JSON (RFC 8259) by serde: messages of type `R` arrive, and those of type `W` are sent. Needs the
/// feature `json`.
///
/// ```
/// use netframe_core::bytes::BytesMut;
/// use netframe_protocols::codec::{Decoder, Encoder, FrameCodec, Json};
/// use netframe_protocols::frame::Prefixed;
///
/// let mut codec = FrameCodec::new(Prefixed::netstring(), Json::<Vec<u32>, &str>::default());
/// let mut wire = BytesMut::new();
/// codec.encode("hi", &mut wire)?;
/// assert_eq!(wire, "4:\"hi\",");
/// assert_eq!(codec.decode(&mut BytesMut::from("7:[1,2,3],"))?, Some(vec![1, 2, 3]));
/// # Ok::<(), netframe_protocols::codec::CodecError>(())
/// ```
#[cfg(feature = "json")]
pub struct Json<R, W = R> {
    messages: PhantomData<fn(W) -> R>,
}

#[cfg(feature = "json")]
impl<R, W> Format for Json<R, W>
where
    R: DeserializeOwned + Send + 'static,
    W: Serialize + 'static,
{
    type Read = R;
    type Write = W;

    fn read(&mut self, frame: &[u8]) -> Result<R, BoxError> {
        Ok(serde_json::from_slice(frame)?)
    }

    fn write(&mut self, message: W, frame: &mut BytesMut) -> Result<(), BoxError> {
        Ok(serde_json::to_writer(frame.writer(), &message)?)
    }
}

#[cfg(feature = "json")]
impl<R, W> Default for Json<R, W> {
    fn default() -> Self {
        Self { messages: PhantomData }
    }
}

#[cfg(feature = "json")]
impl<R, W> Clone for Json<R, W> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(feature = "json")]
impl<R, W> fmt::Debug for Json<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json")
    }
}
