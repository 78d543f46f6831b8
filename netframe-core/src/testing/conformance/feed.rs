//! [`Feed`]: one decoder and its buffer, fed in pieces as a connection does, with everything counted
//! that can be seen from outside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;

use super::Property;
use super::subject::Subject;
use crate::driver::panic_text;
use crate::protocol::Result;

/// One decoder that is fed.
pub(super) struct Feed<'a, I, F> {
    subject: Box<dyn Subject<I, F> + 'a>,
    pub(super) buffer: BytesMut,
    pub(super) frames: Vec<F>,
    /// The error that ended it.
    pub(super) failed: Option<String>,
    /// Bytes fed.
    pub(super) fed: usize,
    /// Bytes that calls have moved elsewhere in memory.
    pub(super) moved: usize,
    /// The largest buffer that a call made for itself.
    pub(super) reserved: usize,
}

/// Not an error of the input: the decoder itself is at fault.
#[derive(Debug)]
pub(super) struct Broken(pub(super) Property, pub(super) String);

impl<'a, I, F> Feed<'a, I, F> {
    pub(super) fn new(subject: Box<dyn Subject<I, F> + 'a>) -> Self {
        Self {
            subject,
            buffer: BytesMut::new(),
            frames: Vec::new(),
            failed: None,
            fed: 0,
            moved: 0,
            reserved: 0,
        }
    }

    /// Appends a piece and takes out the frames, up to the first error.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Broken> {
        self.append(piece);
        while self.failed.is_none() && self.call(false)? {}
        Ok(())
    }

    /// Appends a piece.
    pub(super) fn append(&mut self, piece: &[u8]) {
        self.fed += piece.len();
        self.buffer.extend_from_slice(piece);
    }

    /// The input ends: takes out what the rest makes.
    pub(super) fn end(&mut self) -> Result<(), Broken> {
        while self.failed.is_none() && self.call(true)? {}
        Ok(())
    }

    /// Calls the decoder once, whatever came before; says whether there was a frame.
    pub(super) fn call(&mut self, eof: bool) -> Result<bool, Broken> {
        let (len, capacity) = (self.buffer.len(), self.buffer.capacity());
        let end = self.buffer.as_ptr_range().end;
        let subject = AssertUnwindSafe((&mut self.subject, &mut self.buffer));
        let called = catch_unwind(move || {
            let AssertUnwindSafe((subject, buffer)) = { subject };
            if eof { subject.decode_eof(buffer) } else { subject.decode(buffer) }
        });
        let decoded = called.map_err(|panic| {
            let name = if eof { "decode_eof" } else { "decode" };
            Broken(Property::Panic, format!("`{name}` panics: {}", panic_text(&*panic)))
        })?;
        if self.buffer.capacity() > capacity {
            self.reserved = self.reserved.max(self.buffer.capacity());
        }
        // What is consumed is taken from the front: the end stays where it is.
        if !self.buffer.is_empty() && self.buffer.as_ptr_range().end != end {
            self.moved += self.buffer.len().min(len);
        }
        match decoded {
            Ok(None) => Ok(false),
            Ok(Some(frame)) => {
                self.frames.push(frame);
                if self.frames.len() > self.fed {
                    let (frames, fed) = (self.frames.len(), self.fed);
                    let text = format!("{frames} frames come out of {fed} bytes, and more would");
                    return Err(Broken(Property::Progress, text));
                }
                Ok(true)
            }
            Err(error) => {
                self.failed = Some(error);
                Ok(false)
            }
        }
    }
}

/// Cuts `wire` into pieces of these lengths, again and again; all at once if there are none.
pub(super) fn pieces<'w>(wire: &'w [u8], lens: &[usize]) -> Vec<&'w [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), wire);
    let mut lens = lens.iter().copied().cycle();
    while !rest.is_empty() {
        let len = lens.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (piece, behind) = rest.split_at(len);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}
