//! [`Order`]: how an answer is known to be that of a request.

use netframe_core::BoxError;
use netframe_core::bytes::{Buf, BufMut, BytesMut};

use crate::codec::Format;

/// How an answer is known to be that of a request: [`InOrder`], or [`ById`].
#[expect(private_bounds, reason = "sealed: there is no third way")]
pub trait Order: Sealed + Send + Sync + 'static {
    /// What the codec carries for a request or an answer of type `M`.
    type Message<M: Send>: Send;

    /// Answers come in the order of their requests.
    #[doc(hidden)]
    const IN_ORDER: bool;

    /// The id of a message, 0 if it has none, and what is in it.
    #[doc(hidden)]
    fn open<M: Send>(message: Self::Message<M>) -> (u64, M);

    /// A message with this id, if it has one.
    #[doc(hidden)]
    fn seal<M: Send>(id: u64, content: M) -> Self::Message<M>;
}

trait Sealed {}
impl Sealed for InOrder {}
impl Sealed for ById {}

/// Answers come in the order of their requests, as in HTTP/1.1, Redis or SMTP.
#[derive(Clone, Copy, Debug)]
pub enum InOrder {}

impl Order for InOrder {
    type Message<M: Send> = M;

    const IN_ORDER: bool = true;

    fn open<M: Send>(message: M) -> (u64, M) {
        (0, message)
    }

    fn seal<M: Send>(_: u64, content: M) -> M {
        content
    }
}

/// Each request has an id, and its answer the same one: answers come as they are ready. The messages
/// of the codec are [`Tagged`].
#[derive(Clone, Copy, Debug)]
pub enum ById {}

impl Order for ById {
    type Message<M: Send> = Tagged<M>;

    const IN_ORDER: bool = false;

    fn open<M: Send>(Tagged { id, content }: Tagged<M>) -> (u64, M) {
        (id, content)
    }

    fn seal<M: Send>(id: u64, content: M) -> Tagged<M> {
        Tagged { id, content }
    }
}

/// A request or an answer, with its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tagged<M> {
    /// What whoever asks has chosen: no other request that waits for its answer has the same.
    pub id: u64,
    /// The request, or the answer.
    pub content: M,
}

/// A [`Format`] that writes the id of a [`Tagged`] before its content, in eight bytes, the most
/// significant one first.
///
/// ```
/// use netframe_core::bytes::{Bytes, BytesMut};
/// use netframe_protocols::codec::{Encoder, FrameCodec, Raw};
/// use netframe_protocols::frame::Prefixed;
/// use netframe_protocols::requests::{Tagged, WithId};
///
/// let mut codec = FrameCodec::new(Prefixed::int8(), WithId(Raw));
/// let mut wire = BytesMut::new();
/// codec.encode(Tagged { id: 7, content: Bytes::from("hi") }, &mut wire)?;
/// assert_eq!(wire, b"\x0a\0\0\0\0\0\0\0\x07hi"[..]);
/// # Ok::<(), netframe_protocols::codec::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WithId<M>(pub M);

impl<M: Format> Format for WithId<M> {
    type Read = Tagged<M::Read>;
    type Write = Tagged<M::Write>;

    fn read(&mut self, mut frame: &[u8]) -> Result<Self::Read, BoxError> {
        let id = frame.try_get_u64().map_err(|_| "a message is too short for its id")?;
        Ok(Tagged { id, content: self.0.read(frame)? })
    }

    fn write(&mut self, message: Self::Write, frame: &mut BytesMut) -> Result<(), BoxError> {
        frame.put_u64(message.id);
        self.0.write(message.content, frame)
    }
}
