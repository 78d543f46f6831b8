//! The server: orders, bounds, peers that do not read, what a codec still holds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use netframe_core::bytes::{Bytes, BytesMut};
use netframe_core::testing::{self, replay};
use netframe_core::transport::mem::{self};
use netframe_core::{CloseKind, ConnectionInfo, Factory, Limits, Result, Side};
use netframe_protocols::codec::{Decoder, Encoder, FrameCodec, Raw};
use netframe_protocols::frame::{Endian, Prefixed};
use netframe_protocols::requests::{RequestServer, WithId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{LinesCodec, LinesCodecError};

use super::{LONG, late, shout, some, tagged_lines};

#[test]
fn requests_are_answered_in_order_however_they_are_cut() {
    for max in [1, 2, 100] {
        let server = || {
            RequestServer::in_order(LinesCodec::new_with_max_length(10), shout)
                .max_in_flight(some(max))
        };
        let replayed = replay(b"a\nb\n\nlast", server);
        assert_eq!(replayed.written, b"A\nB\n\nLAST\n");
        assert_eq!(replayed.ended, Some((Side::Peer, CloseKind::Eof)));

        let replayed = replay(b"a\n12345678901\nb\n", server);
        assert_eq!(replayed.written, b"A\n");
        assert_eq!(replayed.ended, Some((Side::Peer, CloseKind::ProtocolError)));

        let replayed = replay(b"a\nfail\nb\n", server);
        assert_eq!(replayed.written, b"A\n");
        assert_eq!(replayed.ended, Some((Side::Local, CloseKind::Error)));
    }
}

#[test]
fn an_answer_has_the_id_of_its_request() {
    let echo = || {
        let codec = FrameCodec::new(Prefixed::int8(), WithId(Raw));
        RequestServer::by_id(codec, async |request: Bytes| Ok(request))
    };
    let wire = b"\x09\0\0\0\0\0\0\0\x07a\x08\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(replay(wire, echo).written, wire);
    let replayed = replay(b"\x08\0\0\0\0\0\0\0\x01\x07\0\0\0\0\0\0\0", echo);
    assert_eq!(replayed.written, b"\x08\0\0\0\0\0\0\0\x01");
    assert_eq!(replayed.ended, Some((Side::Peer, CloseKind::ProtocolError)));
}

/// What a server of lines answers to all of `sent`.
async fn answers(server: impl Factory, sent: &str) -> String {
    let (mut peer, connection) = testing::serve(server, Limits::default());
    peer.write_all(sent.as_bytes()).await.unwrap();
    peer.shutdown().await.unwrap();
    let mut answers = String::new();
    peer.read_to_string(&mut answers).await.unwrap();
    connection.closed().await;
    answers
}

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_carried_out_at_once_and_answered_in_order() {
    let server = |_: &ConnectionInfo| {
        RequestServer::in_order(LinesCodec::new(), late).max_in_flight(some(9))
    };
    let start = Instant::now();
    assert_eq!(answers(server, "30 a\n10 b\n20 c\n").await, "30 a\n10 b\n20 c\n");
    assert_eq!(start.elapsed(), Duration::from_millis(30));
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_waits_for_the_one_before() {
    let server = |_: &ConnectionInfo| RequestServer::in_order(LinesCodec::new(), late);
    let start = Instant::now();
    assert_eq!(answers(server, "30 a\n10 b\n").await, "30 a\n10 b\n");
    assert_eq!(start.elapsed(), Duration::from_millis(40));
}

#[tokio::test(start_paused = true)]
async fn answers_with_an_id_come_as_they_are_ready() {
    let server = |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), late);
    assert_eq!(answers(server, "1 30\n2 10\n3 20\n").await, "2 10\n3 20\n1 30\n");
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_in_flight_than_may_be() {
    for in_order in [false, true] {
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let answer = {
            let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
            move |line: String| {
                let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
                async move {
                    peak.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                    sleep(Duration::from_millis(10)).await;
                    now.fetch_sub(1, Relaxed);
                    Ok(line)
                }
            }
        };
        let sent: String = (0..50).map(|id| format!("{id} x\n")).collect();
        let answered = if in_order {
            let server = move |_: &ConnectionInfo| {
                RequestServer::in_order(LinesCodec::new(), answer.clone()).max_in_flight(some(3))
            };
            answers(server, &sent).await
        } else {
            let server = move |_: &ConnectionInfo| {
                RequestServer::by_id(tagged_lines(), answer.clone()).max_in_flight(some(3))
            };
            answers(server, &sent).await
        };
        let mut lines: Vec<_> = answered.lines().collect();
        if !in_order {
            lines.sort_by_key(|line| line.split(' ').next().unwrap().parse::<u32>().unwrap());
        }
        assert_eq!(lines.join("\n") + "\n", sent);
        assert_eq!(peak.load(Relaxed), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_has_few_answers_made() {
    const ANSWER: usize = 10_000;
    let made = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&made);
    let answer = move |_: Bytes| {
        let made = Arc::clone(&counts);
        async move {
            made.fetch_add(1, Relaxed);
            Ok(Bytes::from(vec![b'x'; ANSWER]))
        }
    };
    let server = move |_: &ConnectionInfo| {
        let codec = FrameCodec::new(Prefixed::int16(Endian::Big), WithId(Raw));
        RequestServer::by_id(codec, answer.clone())
    };
    let (mut peer, connection) = testing::serve(server, Limits::default());
    let request = b"\0\x08\0\0\0\0\0\0\0\x01";
    peer.write_all(&request.repeat(1000)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    // What memory transport and queue hold, and not one answer for each request.
    let most = (mem::DEFAULT_CAPACITY + Limits::default().high_watermark) / ANSWER + 2;
    assert!(made.load(Relaxed) <= most, "{} answers were made", made.load(Relaxed));
    let mut answers = vec![0; 1000 * (ANSWER + 10)];
    peer.read_exact(&mut answers).await.unwrap();
    drop(peer);
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn requests_end_with_their_connection() {
    let (dropped, mut ended) = oneshot::channel::<()>();
    let dropped = Arc::new(std::sync::Mutex::new(Some(dropped)));
    let server = move |_: &ConnectionInfo| {
        let dropped = Arc::clone(&dropped);
        RequestServer::by_id(tagged_lines(), move |line: String| {
            let guard = dropped.lock().unwrap().take();
            async move {
                sleep(LONG).await;
                drop(guard);
                Ok(line)
            }
        })
    };
    let (mut peer, connection) = testing::serve(server, Limits::default());
    peer.write_all(b"1 a\n").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(ended.try_recv().is_err());
    connection.handle().abort();
    connection.closed().await;
    assert!(timeout(Duration::from_secs(1), ended).await.unwrap().is_err(), "it was dropped");
}

/// Says each word of a line by itself: it holds requests of which no byte is left.
#[derive(Default)]
struct Words {
    held: VecDeque<String>,
    lines: LinesCodec,
}

impl Words {
    fn split(&mut self, line: Option<String>) -> Option<String> {
        self.held.extend(line.iter().flat_map(|line| line.split(' ')).map(str::to_owned));
        self.held.pop_front()
    }
}

impl Decoder for Words {
    type Item = String;
    type Error = LinesCodecError;

    fn decode(&mut self, data: &mut BytesMut) -> Result<Option<String>, LinesCodecError> {
        let line = if self.held.is_empty() { self.lines.decode(data)? } else { None };
        Ok(self.split(line))
    }

    fn decode_eof(&mut self, data: &mut BytesMut) -> Result<Option<String>, LinesCodecError> {
        let line = if self.held.is_empty() { self.lines.decode_eof(data)? } else { None };
        Ok(self.split(line))
    }
}

impl Encoder<String> for Words {
    type Error = LinesCodecError;

    fn encode(&mut self, word: String, out: &mut BytesMut) -> Result<(), LinesCodecError> {
        self.lines.encode(word, out)
    }
}

/// Each answer is more than the high watermark.
const LARGE: usize = 100_000;

async fn large(word: String) -> Result<String> {
    Ok(word.repeat(LARGE))
}

#[tokio::test(start_paused = true)]
async fn requests_without_bytes_of_their_own_are_answered_when_there_is_room() {
    let slow = async |word: String| {
        sleep(Duration::from_millis(1)).await;
        large(word).await
    };
    for max in [1, 2, 9] {
        let server = move |_: &ConnectionInfo| {
            RequestServer::in_order(Words::default(), slow).max_in_flight(some(max))
        };
        let (mut peer, connection) = testing::serve(server, Limits::default());
        peer.write_all(b"a b c d e f g h i j k l m n o p\n").await.unwrap();
        let mut answers = vec![0; 16 * (LARGE + 1)];
        timeout(Duration::from_secs(9), peer.read_exact(&mut answers)).await.unwrap().unwrap();
        let firsts: Vec<_> = answers.chunks(LARGE + 1).map(|answer| answer[0]).collect();
        assert_eq!(firsts, b"abcdefghijklmnop", "{max} in flight");
        drop(peer);
        connection.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_end_of_input_completes_is_answered_as_the_peer_takes_it() {
    for max in [1, 9] {
        let server = move |_: &ConnectionInfo| {
            RequestServer::in_order(Words::default(), large).max_in_flight(some(max))
        };
        let answers = answers(server, "a b c d e f g h i j k l m n o p").await;
        assert_eq!(answers.len(), 16 * (LARGE + 1), "{max} in flight");
    }
}
