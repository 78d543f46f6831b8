//! Messages without a network: codecs that others wrote, at every split; errors of either side;
//! pauses, the end of input, what a message costs.

use std::io;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use netframe_core::bytes::{Buf, BufMut, Bytes, BytesMut};
use netframe_core::testing::{Harness, Recorder, Transcript, replay, replay_with};
use netframe_core::{CloseKind, Protocol, ProtocolError, Residue, Result, Side};
use netframe_protocols::Discard;
use netframe_protocols::codec::{
    CodecError, Decoder, Encoder, FrameCodec, Framed, Json, MessageProtocol, MessageTransport, Raw,
};
use netframe_protocols::frame::{Endian, FrameError, Prefixed};
use serde::{Deserialize, Serialize};
use tokio_util::codec::{LengthDelimitedCodec, LinesCodec};

/// Keeps lines, and does what some of them say.
#[derive(Default)]
struct Log {
    seen: Vec<String>,
    lost: Vec<CloseKind>,
}

impl<C> MessageProtocol<C> for Log
where
    C: Decoder<Item = String> + Encoder<String, Error: Into<netframe_core::BoxError>> + Send,
    C: 'static,
{
    async fn connection_made(&mut self, t: &mut MessageTransport<'_, C>) -> Result {
        t.send("hello".into()).map_err(Into::into)
    }

    async fn message_received(
        &mut self,
        t: &mut MessageTransport<'_, C>,
        message: String,
    ) -> Result {
        self.seen.push(message.clone());
        match message.as_str() {
            "pause" => t.pause_reading(),
            "blink" => {
                t.pause_reading();
                t.resume_reading();
            }
            "close" => t.close(),
            "abort" => t.abort(),
            "fail" => Err("asked to")?,
            "switch" => t.switch_to(Discard, Residue::Feed),
            _ => {}
        }
        Ok(())
    }

    async fn notified(&mut self, t: &mut MessageTransport<'_, C>) -> Result {
        t.resume_reading();
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut MessageTransport<'_, C>) -> Result {
        self.seen.push("(end)".into());
        t.close();
        Ok(())
    }

    fn connection_lost(&mut self, reason: &netframe_core::CloseReason) {
        self.lost.push(reason.kind());
    }
}

/// What a log of lines of up to 10 bytes has seen, however the bytes were cut.
fn lines(wire: &[u8]) -> (Vec<String>, Transcript) {
    let (replayed, seen) = replay_with(
        wire,
        || Framed::new(LinesCodec::new_with_max_length(10), Log::default()),
        |framed| framed.get_ref().seen.clone(),
    );
    (seen, replayed)
}

#[test]
fn one_callback_is_one_message() {
    let (seen, replayed) = lines(b"a\n\nbc\r\nlast");
    assert_eq!(seen, ["a", "", "bc", "last", "(end)"]);
    assert_eq!(replayed.written, b"hello\n");
    assert_eq!(replayed.ended, Some((Side::Peer, CloseKind::Eof)));
}

#[test]
fn nothing_is_delivered_behind_a_close() {
    for (word, kind) in
        [("close", CloseKind::Closed), ("abort", CloseKind::Aborted), ("fail", CloseKind::Error)]
    {
        let (seen, replayed) = lines(format!("a\n{word}\nb\nc").as_bytes());
        assert_eq!(seen, ["a", word]);
        assert_eq!(replayed.ended, Some((Side::Local, kind)));
    }
}

#[test]
fn an_error_of_the_decoder_is_the_fault_of_the_peer() {
    let (seen, replayed) = lines(b"a\nb\n12345678901\nc\n");
    assert_eq!(seen, ["a", "b"]);
    assert_eq!(replayed.ended, Some((Side::Peer, CloseKind::ProtocolError)));

    let mut peer = Harness::new(Framed::new(LinesCodec::new_with_max_length(3), Log::default()));
    peer.receive(b"1234\n");
    peer.receive_eof();
    let reason = peer.reason().unwrap();
    assert_eq!(reason.to_string(), "protocol error by peer: max line length exceeded");
    assert!(reason.source().unwrap().downcast_ref::<ProtocolError>().is_some());
}

#[test]
fn nothing_is_delivered_during_a_pause() {
    let mut peer = Harness::new(Framed::new(LinesCodec::new(), Log::default()));
    peer.receive(b"a\npause\nb\npause\nc");
    assert_eq!(seen(&peer), ["a", "pause"]);
    assert_eq!(peer.leftover(), b"b\npause\nc");
    peer.receive_eof();
    assert_eq!(seen(&peer), ["a", "pause"]);
    peer.notify();
    assert_eq!(seen(&peer), ["a", "pause", "b", "pause"]);
    peer.notify();
    assert_eq!(seen(&peer), ["a", "pause", "b", "pause", "c", "(end)"]);
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
}

#[test]
fn a_pause_that_ends_in_the_same_callback_does_not_recurse() {
    let mut peer = Harness::new(Framed::new(LinesCodec::new(), Log::default()));
    peer.receive(&b"blink\n".repeat(100_000));
    assert_eq!(seen(&peer).len(), 100_000);
}

#[test]
fn a_switch_leaves_what_is_behind_its_message() {
    let mut peer = Harness::new(Framed::new(LinesCodec::new(), Log::default()));
    peer.receive(b"a\nswitch\nb\nc");
    assert!(peer.is_switched());
    assert_eq!(seen(&peer), ["a", "switch"]);
    assert_eq!(peer.leftover(), b"b\nc");
}

/// Says each word of a line by itself: it holds messages of which no byte is left.
#[derive(Default)]
struct Words {
    held: std::collections::VecDeque<String>,
    lines: LinesCodec,
}

impl Decoder for Words {
    type Item = String;
    type Error = tokio_util::codec::LinesCodecError;

    fn decode(&mut self, data: &mut BytesMut) -> Result<Option<String>, Self::Error> {
        while self.held.is_empty() {
            let Some(line) = self.lines.decode(data)? else { return Ok(None) };
            self.held.extend(line.split(' ').map(str::to_owned));
        }
        Ok(self.held.pop_front())
    }

    fn decode_eof(&mut self, data: &mut BytesMut) -> Result<Option<String>, Self::Error> {
        while self.held.is_empty() {
            let Some(line) = self.lines.decode_eof(data)? else { return Ok(None) };
            self.held.extend(line.split(' ').map(str::to_owned));
        }
        Ok(self.held.pop_front())
    }
}

impl Encoder<String> for Words {
    type Error = tokio_util::codec::LinesCodecError;

    fn encode(&mut self, word: String, out: &mut BytesMut) -> Result<(), Self::Error> {
        self.lines.encode(word, out)
    }
}

#[test]
fn messages_without_bytes_of_their_own_wait_for_the_end_of_a_pause() {
    let mut peer = Harness::new(Framed::new(Words::default(), Log::default()));
    peer.receive(b"a pause b\n");
    assert_eq!((seen(&peer), peer.leftover()), (vec!["a", "pause"], &b""[..]));
    peer.notify();
    assert_eq!(seen(&peer), ["a", "pause", "b"]);
    peer.receive(b"c pause d pause");
    peer.receive_eof();
    for _ in 0..2 {
        assert_eq!(peer.reason().map(|reason| reason.kind()), None);
        peer.notify();
    }
    assert_eq!(seen(&peer), ["a", "pause", "b", "c", "pause", "d", "pause", "(end)"]);
    assert_eq!(peer.reason().unwrap().kind(), CloseKind::Eof);
}

#[test]
fn messages_without_bytes_of_their_own_wait_for_a_peer_that_reads() {
    /// Answers with more than the high watermark.
    #[derive(Default)]
    struct Large(Vec<String>);
    impl MessageProtocol<Words> for Large {
        async fn message_received(
            &mut self,
            t: &mut MessageTransport<'_, Words>,
            word: String,
        ) -> Result {
            t.send(word.repeat(100_000))?;
            self.0.push(word);
            Ok(())
        }
    }
    let mut peer = Harness::new(Framed::new(Words::default(), Large::default()));
    peer.receive(b"a b c\n");
    assert_eq!(peer.protocol().get_ref().0, ["a", "b", "c"]);
}

#[test]
fn a_delivery_of_tiny_messages_is_many() {
    /// Counts its messages, and how many came before a notification.
    #[derive(Default)]
    struct Count {
        messages: usize,
        notified_at: Option<usize>,
    }
    impl MessageProtocol<LinesCodec> for Count {
        async fn message_received(
            &mut self,
            t: &mut MessageTransport<'_, LinesCodec>,
            _: String,
        ) -> Result {
            if self.messages == 0 {
                t.handle().notify();
            }
            self.messages += 1;
            Ok(())
        }
        async fn notified(&mut self, _: &mut MessageTransport<'_, LinesCodec>) -> Result {
            self.notified_at = Some(self.messages);
            Ok(())
        }
    }
    let mut peer = Harness::new(Framed::new(LinesCodec::new(), Count::default()));
    peer.receive(&b"\n".repeat(10_000));
    let count = peer.protocol().get_ref();
    assert_eq!((count.messages, count.notified_at), (10_000, Some(1024)));
}

/// Numbers of four bytes; 13 cannot be sent.
#[derive(Clone, Copy)]
struct Numbers;

impl Decoder for Numbers {
    type Item = u32;
    type Error = io::Error;

    fn decode(&mut self, data: &mut BytesMut) -> io::Result<Option<u32>> {
        Ok((data.len() >= 4).then(|| data.get_u32()))
    }
}

impl Encoder<u32> for Numbers {
    type Error = io::Error;

    fn encode(&mut self, number: u32, out: &mut BytesMut) -> io::Result<()> {
        out.put_u32(number);
        if number == 13 { Err(io::Error::other("13 is unlucky")) } else { Ok(()) }
    }
}

/// Answers each number with the next one, or with 0 if that cannot be sent.
struct Successor;

impl MessageProtocol<Numbers> for Successor {
    async fn message_received(
        &mut self,
        t: &mut MessageTransport<'_, Numbers>,
        number: u32,
    ) -> Result {
        if let Err(error) = t.send(number + 1) {
            assert_eq!(error.to_string(), "13 is unlucky");
            t.send(0)?;
        }
        Ok(())
    }
}

#[test]
fn an_error_of_the_encoder_surfaces_at_the_call_and_nothing_is_queued() {
    let wire = [0, 0, 0, 1, 0, 0, 0, 12, 0, 0, 0, 3];
    let replayed = replay(&wire, || Framed::new(Numbers, Successor));
    assert_eq!(replayed.written, [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4]);
}

#[test]
fn input_that_ends_inside_a_message_is_an_error_of_the_peer() {
    let replayed = replay(&[0, 0, 0, 1, 0, 0], || Framed::new(Numbers, Successor));
    assert_eq!(replayed.written, [0, 0, 0, 2]);
    assert_eq!(replayed.ended, Some((Side::Peer, CloseKind::ProtocolError)));
}

#[test]
fn no_message_costs_an_allocation() {
    let mut framed = Framed::new(Numbers, Successor);
    let mut t = Recorder::new();
    let mut receive = |numbers: std::ops::Range<u32>| {
        let mut wire: BytesMut = numbers.flat_map(u32::to_be_bytes).collect();
        let allocations = measure(|| {
            let received = std::pin::pin!(framed.data_received(&mut t, &mut wire));
            let polled = received.poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Ok(()))));
        });
        (t.take_written().len(), allocations.count_total)
    };
    receive(100..200); // the queue gets its buffer
    assert_eq!(receive(100..200), (400, 0));
}

#[test]
fn a_codec_of_length_prefixes_that_others_wrote() {
    struct Echo;
    impl MessageProtocol<LengthDelimitedCodec> for Echo {
        async fn message_received(
            &mut self,
            t: &mut MessageTransport<'_, LengthDelimitedCodec>,
            message: BytesMut,
        ) -> Result {
            t.send(message.freeze())?;
            Ok(())
        }
    }
    let wire = b"\0\0\0\x05hello\0\0\0\0\0\0\0\x01x";
    assert_eq!(replay(wire, || Framed::new(LengthDelimitedCodec::new(), Echo)).written, wire);
    let too_long = b"\0\0\0\x05hello\xff\xff\xff\xffx";
    let replayed = replay(too_long, || Framed::new(LengthDelimitedCodec::new(), Echo));
    assert_eq!(replayed.written, b"\0\0\0\x05hello");
    assert_eq!(replayed.ended, Some((Side::Peer, CloseKind::ProtocolError)));
}

#[derive(Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Point {
    x: i32,
    y: i32,
}

type Points = FrameCodec<Prefixed<netframe_protocols::frame::Netstring>, Json<Point>>;

/// Answers each point with its mirror image.
struct Mirror;

impl MessageProtocol<Points> for Mirror {
    async fn message_received(
        &mut self,
        t: &mut MessageTransport<'_, Points>,
        Point { x, y }: Point,
    ) -> Result {
        t.send(Point { x: y, y: x })?;
        Ok(())
    }
}

#[test]
fn messages_that_serde_reads_and_writes() {
    let codec = || FrameCodec::new(Prefixed::netstring(), Json::default());
    let mirror = || Framed::new(codec(), Mirror);
    let replayed = replay(br#"13:{"x":1,"y":2},15:{"y": 3,"x": 4},"#, mirror);
    assert_eq!(replayed.written, br#"13:{"x":2,"y":1},13:{"x":3,"y":4},"#);

    for (wire, error) in [
        (
            &br#"7:{"x":1},"#[..],
            "a message is not in its format: missing field `y` at line 1 column 7",
        ),
        (b"05:", "byte 1 of a frame is 0x35, which cannot be in its length"),
        (b"5:{", "input ended after 3 bytes of an unfinished frame"),
    ] {
        let mut peer = Harness::new(mirror());
        peer.receive(br#"13:{"x":1,"y":2},"#);
        peer.receive(wire);
        peer.receive_eof();
        assert_eq!(peer.take_written().len(), 17);
        let reason = peer.reason().unwrap().to_string();
        assert_eq!(reason, format!("protocol error by peer: {error}"));
    }
}

#[test]
fn a_frame_that_cannot_be_leaves_nothing() {
    let mut codec = FrameCodec::new(Prefixed::int8(), Raw);
    let mut wire = BytesMut::from("before");
    let error = codec.encode(Bytes::from(vec![b'x'; 256]), &mut wire).unwrap_err();
    assert!(matches!(error, CodecError::Frame(FrameError::TooLongForPrefix { length: 256, .. })));
    assert_eq!(wire, "before");
    codec.encode(Bytes::from("x"), &mut wire).unwrap();
    assert_eq!(wire, "before\x01x", "nothing of the one before");
}

#[test]
fn a_message_longer_than_the_scratch_buffer_is_sent_whole() {
    let mut codec = FrameCodec::new(Prefixed::int32(Endian::Big), Raw);
    let mut wire = BytesMut::new();
    for len in [1_000_000, 10] {
        codec.encode(Bytes::from(vec![b'x'; len]), &mut wire).unwrap();
        assert_eq!(wire.len(), len + 4);
        wire.clear();
    }
}

fn seen<C>(peer: &Harness<Framed<C, Log>>) -> Vec<&str>
where
    C: Decoder<Item = String> + Encoder<String, Error: Into<netframe_core::BoxError>> + Send,
    C: Decoder<Error: Into<netframe_core::BoxError> + Send> + 'static,
{
    peer.protocol().get_ref().seen.iter().map(String::as_str).collect()
}
