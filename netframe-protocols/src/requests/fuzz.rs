//! What the fuzz target of requests calls.

use std::num::NonZeroUsize;

use netframe_core::bytes::Bytes;
use netframe_core::testing::Harness;
use netframe_core::{Protocol, Result};

use super::{RequestServer, WithId};
use crate::codec::{FrameCodec, Raw};
use crate::frame::Prefixed;

/// Answers requests in chunks, and compares with what is answered to all of it at once. The first two
/// bytes pick the order, how many may be in flight, and the length of the chunks.
///
/// # Panics
///
/// A promise is broken.
pub fn asked(input: &[u8]) {
    let &[head, chunk_len, ref wire @ ..] = input else { return };
    let chunk_len = 1 + usize::from(chunk_len) % 16;
    let max = NonZeroUsize::MIN.saturating_add(usize::from(head >> 1) % 4);
    let framer = || Prefixed::int8().with_max_length(100).expect("the prefix takes so much");
    if head & 1 == 0 {
        check_answers(wire, chunk_len, || {
            RequestServer::in_order(FrameCodec::new(framer(), Raw), reverse).max_in_flight(max)
        });
    } else {
        check_answers(wire, chunk_len, || {
            let codec = FrameCodec::new(framer(), WithId(Raw));
            RequestServer::by_id(codec, reverse).max_in_flight(max)
        });
    }
}

/// The bytes in reverse order; no answer to a request that begins with 0xff.
async fn reverse(request: Bytes) -> Result<Bytes> {
    if request.first() == Some(&0xff) {
        return Err("asked to fail".into());
    }
    Ok(request.iter().rev().copied().collect())
}

fn check_answers<P: Protocol>(wire: &[u8], chunk_len: usize, server: impl Fn() -> P) {
    let answers = |chunk_len| {
        let mut peer = Harness::new(server());
        wire.chunks(chunk_len).for_each(|chunk| peer.receive(chunk));
        peer.receive_eof();
        (peer.take_written(), peer.reason().map(|reason| (reason.by(), reason.kind())))
    };
    assert_eq!(answers(chunk_len), answers(usize::MAX));
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_requests(
            head in any::<[u8; 2]>(),
            wire in vec(prop::sample::select(&[0, 0, 0, 1, 2, 8, 9, 10, 20, 101, 255][..]), 0..80),
        ) {
            super::asked(&[&head[..], &wire].concat());
        }
    }
}
