//! [`Subject`]: a codec under test, its types erased but for items and frames, and [`FnCodec`]: one
//! made of functions.

use std::fmt::{self, Debug};

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::protocol::{BoxError, Result};

/// A codec, whose errors are only shown.
pub(super) trait Subject<I, F> {
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<F>, String>;
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<F>, String>;
    fn encode(&mut self, item: I, out: &mut BytesMut) -> Result<(), String>;
}

impl<C, I, F> Subject<I, F> for C
where
    C: Decoder<Item = F, Error: Debug> + Encoder<I, Error: Debug>,
{
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<F>, String> {
        Decoder::decode(self, buffer).map_err(show)
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<F>, String> {
        Decoder::decode_eof(self, buffer).map_err(show)
    }

    fn encode(&mut self, item: I, out: &mut BytesMut) -> Result<(), String> {
        Encoder::encode(self, item, out).map_err(show)
    }
}

fn show(error: impl Debug) -> String {
    format!("{error:?}")
}

/// A codec made of three functions over a state, for a framer that does not implement the traits of
/// `tokio_util`.
///
/// ```
/// use netframe_core::bytes::{Buf, BufMut, BytesMut};
/// use netframe_core::testing::conformance::FnCodec;
/// use tokio_util::codec::Decoder;
///
/// let mut bytes = FnCodec::new(
///     (), // a framer, whose type is `&mut` to all three
///     |(), data| Ok((!data.is_empty()).then(|| data.get_u8())),
///     |(), rest| Ok((!rest.is_empty()).then(|| rest.get_u8())),
///     |(), item: u8, out| Ok(out.put_u8(item)),
/// );
/// assert_eq!(bytes.decode(&mut BytesMut::from("a")).unwrap(), Some(b'a'));
/// ```
pub struct FnCodec<S, D, E, W> {
    state: S,
    decode: D,
    decode_eof: E,
    encode: W,
}

impl<S, D, E, W> FnCodec<S, D, E, W> {
    /// A codec of these functions, which do what the methods of the traits with these names do:
    /// `decode` takes the next frame out of what has come, `decode_eof` out of what is left at the
    /// end of input, and `encode` appends an item.
    pub fn new<F, I>(state: S, decode: D, decode_eof: E, encode: W) -> Self
    where
        D: FnMut(&mut S, &mut BytesMut) -> Result<Option<F>>,
        E: FnMut(&mut S, &mut BytesMut) -> Result<Option<F>>,
        W: FnMut(&mut S, I, &mut BytesMut) -> Result,
    {
        Self { state, decode, decode_eof, encode }
    }
}

impl<S, D, E, W, F> Decoder for FnCodec<S, D, E, W>
where
    D: FnMut(&mut S, &mut BytesMut) -> Result<Option<F>>,
    E: FnMut(&mut S, &mut BytesMut) -> Result<Option<F>>,
{
    type Item = F;
    type Error = BoxError;

    fn decode(&mut self, data: &mut BytesMut) -> Result<Option<F>> {
        (self.decode)(&mut self.state, data)
    }

    fn decode_eof(&mut self, rest: &mut BytesMut) -> Result<Option<F>> {
        (self.decode_eof)(&mut self.state, rest)
    }
}

impl<S, D, E, W, I> Encoder<I> for FnCodec<S, D, E, W>
where
    W: FnMut(&mut S, I, &mut BytesMut) -> Result,
{
    type Error = BoxError;

    fn encode(&mut self, item: I, out: &mut BytesMut) -> Result {
        (self.encode)(&mut self.state, item, out)
    }
}

impl<S: Debug, D, E, W> Debug for FnCodec<S, D, E, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnCodec").field("state", &self.state).finish_non_exhaustive()
    }
}
