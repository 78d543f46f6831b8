//! [`MessageTransport`]: a transport that also sends messages.

use std::fmt;
use std::ops::{Deref, DerefMut};

use netframe_core::Transport;

use super::Encoder;

/// What a [`MessageProtocol`](super::MessageProtocol) writes to: the [`Transport`], which it
/// dereferences to, and [`send`](Self::send).
pub struct MessageTransport<'a, C> {
    inner: &'a mut (dyn Transport + 'a),
    codec: &'a mut C,
}

impl<'a, C> MessageTransport<'a, C> {
    pub(crate) fn new(inner: &'a mut (dyn Transport + 'a), codec: &'a mut C) -> Self {
        Self { inner, codec }
    }

    /// Encodes `message` in the out buffer; limits as [`write`](Transport::write).
    ///
    /// # Errors
    ///
    /// That of the encoder. Nothing was queued, whatever it had written until then.
    pub fn send<M>(&mut self, message: M) -> Result<(), C::Error>
    where
        C: Encoder<M>,
    {
        let mut message = Some(message);
        let mut sent = Ok(());
        self.inner.with_buffer(&mut |out| {
            let Some(message) = message.take() else { return };
            let len = out.len();
            sent = self.codec.encode(message, out);
            if sent.is_err() {
                out.truncate(len);
            }
        });
        sent
    }

    /// The codec of the connection, to change how it goes on, such as its limit after a login.
    pub fn codec_mut(&mut self) -> &mut C {
        self.codec
    }
}

impl<'a, C> Deref for MessageTransport<'a, C> {
    type Target = dyn Transport + 'a;

    fn deref(&self) -> &Self::Target {
        self.inner
    }
}

impl<C> DerefMut for MessageTransport<'_, C> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.inner
    }
}

impl<C> fmt::Debug for MessageTransport<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageTransport").field("info", self.inner.info()).finish_non_exhaustive()
    }
}
