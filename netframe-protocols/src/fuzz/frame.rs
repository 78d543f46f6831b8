//! Frames.

use std::ops::RangeInclusive;

use crate::frame::{Endian, Fixed, FrameError, Framer, Prefixed};

/// Frames bytes in chunks, and compares with all frames that are possible. The first three bytes pick
/// the framer, the limit and the length of the chunks.
pub fn frame(input: &[u8]) {
    let &[kind, max_length, chunk_len, ref wire @ ..] = input else { return };
    // Around where netstrings and varints get another byte.
    let max_length = 1 + [0, 8, 9, 15, 99, 127, 128, 254][usize::from(max_length) % 8];
    let chunk_len = 1 + usize::from(chunk_len) % 8;
    let fits = "every prefix takes so much, and it is more than nothing";
    let endian = if kind & 0x80 == 0 { Endian::Big } else { Endian::Little };
    match kind & 0x7f {
        0 => {
            let framer = Prefixed::netstring().with_max_length(max_length).expect(fits);
            check_frames(framer, 0..=max_length, 1, 0, wire, chunk_len);
        }
        1 => {
            let framer = Prefixed::varint().with_max_length(max_length).expect(fits);
            check_frames(framer, 0..=max_length, 0, 2, wire, chunk_len);
        }
        2 => {
            let framer = Fixed::new(max_length).expect(fits);
            check_frames(framer, max_length..=max_length, 0, 0, wire, chunk_len);
        }
        other => {
            let (width, framer) = match other % 3 {
                0 => (1, Prefixed::int8()),
                1 => (2, Prefixed::int16(endian)),
                _ => (4, Prefixed::int32(endian)),
            };
            let framer = framer.with_max_length(max_length).expect(fits);
            check_frames(framer, 0..=max_length, 0, width, wire, chunk_len);
        }
    }
}

/// What a framer finds is what it would have sent, what it waits for can still be a frame, and what it
/// refuses cannot: of no length that is allowed, whatever follows. Some may wait for `prefix_len` bytes
/// before they refuse.
fn check_frames<F: Framer>(
    mut framer: F,
    lengths: RangeInclusive<usize>,
    suffix_len: usize,
    prefix_len: usize,
    wire: &[u8],
    chunk_len: usize,
) {
    let (mut start, mut end) = (0, 0);
    loop {
        let rest = &wire[start..end];
        match framer.next_frame(rest) {
            Ok(Some(frame)) => {
                let payload = &rest[frame.payload];
                assert!(lengths.contains(&payload.len()));
                assert_eq!(encode(&framer, payload), rest[..frame.wire_length]);
                start += frame.wire_length;
            }
            found => {
                let possible = lengths.clone().any(|length| {
                    let sent = encode(&framer, &vec![0; length]);
                    let payload = sent.len() - length - suffix_len..sent.len() - suffix_len;
                    let is_same =
                        |(at, (a, b)): (usize, (&u8, &u8))| a == b || payload.contains(&at);
                    rest.iter().zip(&sent).enumerate().all(is_same) && rest.len() < sent.len()
                });
                let is_open = found.is_ok() && rest.len() < prefix_len;
                assert!(possible == found.is_ok() || is_open, "{found:?}");
                match found {
                    Ok(_) if end < wire.len() => end = wire.len().min(end + chunk_len),
                    Ok(_) => return,
                    Err(error) => return assert_eq!(framer.next_frame(rest), Err(error)),
                }
            }
        }
    }
}

fn encode(framer: &impl Framer, frame: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let encoded: Result<(), FrameError> = framer.encode(frame, &mut |parts| wire = parts.concat());
    encoded.expect("it is no longer than what is received");
    wire
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_netstrings(
            head in any::<[u8; 2]>(),
            wire in vec(prop::sample::select(&b"0123:,,,"[..]), 0..80),
        ) {
            super::frame(&[&[0], &head[..], &wire].concat());
        }

        #[test]
        fn any_prefixes(
            kind in any::<u8>(),
            head in any::<[u8; 2]>(),
            wire in vec(prop::sample::select(&[0, 0, 0, 1, 1, 2, 3, 100, 0x80, 0x81, 255][..]), 0..80),
        ) {
            super::frame(&[&[kind], &head[..], &wire].concat());
        }

        #[test]
        fn any_bytes_to_framers(kind in 0..9_u8, input in vec(any::<u8>(), 0..200)) {
            super::frame(&[&[kind], &input[..]].concat());
        }
    }
}
