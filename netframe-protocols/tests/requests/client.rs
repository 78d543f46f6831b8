//! The client: whose answer it is, deadlines, what is given up, ends of connections.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use netframe_core::bytes::Bytes;
use netframe_core::testing::{self, Harness, Recorder};
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    Client, CloseKind, ConnectionInfo, Factory, Limits, ReconnectingClient, Server, Transport,
    factory_fn,
};
use netframe_protocols::codec::{FrameCodec, Raw};
use netframe_protocols::frame::{Endian, Prefixed};
use netframe_protocols::requests::{
    CallError, RequestClient, RequestOptions, RequestServer, WithId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::LinesCodec;

use super::{LONG, by_id, connect, in_flight, late, serve, shout, some, tagged_lines};

#[tokio::test(start_paused = true)]
async fn many_calls_share_a_connection_and_each_gets_its_own_answer() {
    let (client, connection, server) = by_id(late, RequestOptions::default()).await;
    let calls: Vec<_> = (0..1000_u32)
        .map(|call| {
            let client = client.clone();
            tokio::spawn(async move {
                let asked = format!("{} {call}", (call * 7919) % 100);
                assert_eq!(client.call(asked.clone()).await.unwrap(), asked);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    drop(connection);
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn calls_in_order_get_their_own_answers_and_wait_for_room() {
    let server = |_: &ConnectionInfo| {
        RequestServer::in_order(LinesCodec::new(), late).max_in_flight(some(9))
    };
    let (network, server) = serve(server).await;
    for (max, took) in [(1, 60), (2, 40), (9, 30)] {
        let options = in_flight(max);
        let (client, connections) =
            RequestClient::<String, String>::in_order(LinesCodec::new, options);
        let connection = connect(&network, connections).await;
        let start = Instant::now();
        let call = async |line: &str| client.call(line.to_owned()).await.unwrap();
        let answers = tokio::join!(call("30 a"), call("10 b"), call("20 c"));
        assert_eq!(answers, ("30 a".into(), "10 b".into(), "20 c".into()));
        assert!(start.elapsed() >= Duration::from_millis(took), "{:?}", start.elapsed());
        drop(connection);
    }
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_with_an_id_is_dropped_and_the_connection_goes_on() {
    let mut options = RequestOptions::default();
    options.deadline = Duration::from_secs(1);
    let (client, connection, server) = by_id(late, options).await;
    let error = client.call("1500 a".into()).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 1s");
    assert!(matches!(error, CallError::Late { is_sent: true, .. }));
    // Its answer comes while this one is waited for.
    assert_eq!(client.call("700 b".into()).await.unwrap(), "700 b");
    let patient = client.call_within(Duration::from_secs(2), "1500 c".into());
    assert_eq!(patient.await.unwrap(), "1500 c");
    drop(connection);
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_in_order_ends_the_connection() {
    let server = |_: &ConnectionInfo| RequestServer::in_order(LinesCodec::new(), late);
    let (network, server) = serve(server).await;
    let (client, connections) =
        RequestClient::<String, String>::in_order(LinesCodec::new, Default::default());
    let connection = connect(&network, connections).await;
    let call = |millis, line: &str| client.call_within(Duration::from_millis(millis), line.into());
    let (late, behind) = tokio::join!(call(1000, "5000 a"), call(9000, "0 b"));
    assert!(matches!(late.unwrap_err(), CallError::Late { is_sent: true, .. }));
    let behind = behind.unwrap_err();
    assert!(behind.is_sent(), "{behind}");
    assert_eq!(behind.to_string(), "the connection ended before the answer: aborted by local");
    assert_eq!(connection.closed().await.kind(), CloseKind::Aborted);
    let error = client.call("c".into()).await.unwrap_err();
    assert!(matches!(error, CallError::NotConnected), "{error}");
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_keeps_its_place_in_order() {
    let server = |_: &ConnectionInfo| {
        RequestServer::in_order(LinesCodec::new(), late).max_in_flight(some(9))
    };
    let (network, server) = serve(server).await;
    let options = in_flight(2);
    let (client, connections) = RequestClient::<String, String>::in_order(LinesCodec::new, options);
    let connection = connect(&network, connections).await;
    let short = Duration::from_millis(1);
    for call in ["50 a", "60 b", "0 c"] {
        // The third one has no room, and is never sent.
        assert!(timeout(short, client.call(call.into())).await.is_err());
    }
    let start = Instant::now();
    assert_eq!(client.call("0 d".into()).await.unwrap(), "0 d");
    assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
    let together = tokio::join!(client.call("10 e".into()), client.call("10 f".into()));
    assert_eq!((together.0.unwrap(), together.1.unwrap()), ("10 e".into(), "10 f".into()));
    assert!(!connection.handle().is_closed());
    drop(connection);
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_encoder_surfaces_at_the_call() {
    let (client, connection, server) = by_id(shout, Default::default()).await;
    let call = |line: &str| client.call(line.to_owned());
    let (first, wrong, last) = tokio::join!(call("a"), call("b\nc"), call("d"));
    assert_eq!((first.unwrap(), last.unwrap()), ("A".into(), "D".into()));
    let wrong = wrong.unwrap_err();
    assert!(matches!(&wrong, CallError::Encode(error) if error.to_string() == "a line has no LF"));
    assert!(!wrong.is_sent());
    drop(connection);
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_calls_fail_as_soon_as_there_can_be_none() {
    let network = MemNetwork::new();
    let (client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let start = Instant::now();
    let connect = async {
        sleep(Duration::from_secs(1)).await;
        Client::builder(connections).network(network.clone()).connect("mem://nobody").await
    };
    let (connected, called) = tokio::join!(connect, client.call("a".into()));
    assert!(connected.is_err());
    assert!(matches!(called.unwrap_err(), CallError::NotConnected));
    assert!(matches!(client.call("b".into()).await.unwrap_err(), CallError::NotConnected));
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_fails_what_was_sent() {
    let (network, server) = {
        let server = |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), late);
        serve(server).await
    };
    let (client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let connection = connect(&network, connections).await;
    let end = async {
        sleep(Duration::from_secs(1)).await;
        server.shutdown(Duration::from_millis(1)).await
    };
    let (called, _) = tokio::join!(client.call("20000 a".into()), end);
    let error = called.unwrap_err();
    assert!(matches!(&error, CallError::Lost { .. }) && error.is_sent(), "{error}");
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_goes_over_the_next_connection() {
    let network = MemNetwork::new();
    let (client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let reconnecting = ReconnectingClient::builder(connections).network(network.clone());
    let reconnecting = reconnecting.connect("mem://server").unwrap();
    let serve = async {
        sleep(Duration::from_secs(3)).await;
        let server = |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), shout);
        let server = Server::builder(server).network(network.clone());
        server.listen("mem://server").unwrap().bind().await.unwrap()
    };
    let (called, server) = tokio::join!(client.call("a".into()), serve);
    assert_eq!(called.unwrap(), "A");
    server.shutdown(LONG).await;
    let server = |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), shout);
    let server = Server::builder(server).network(network.clone()).listen("mem://server").unwrap();
    let server = server.bind().await.unwrap();
    assert_eq!(client.call("b".into()).await.unwrap(), "B");
    reconnecting.shutdown(LONG).await;
    assert!(matches!(client.call("c".into()).await.unwrap_err(), CallError::NotConnected));
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_either_side_waits_for_the_answers() {
    let server = |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), late);
    let (network, server) = serve(server).await;
    let (client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let reconnecting = ReconnectingClient::builder(connections).network(network.clone());
    let reconnecting = reconnecting.connect("mem://server").unwrap();
    let stop = async {
        sleep(Duration::from_millis(100)).await;
        reconnecting.shutdown(LONG).await
    };
    let (called, _) = tokio::join!(client.call("1000 a".into()), stop);
    assert_eq!(called.unwrap(), "1000 a");

    let (client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let connection = connect(&network, connections).await;
    let stop = async {
        sleep(Duration::from_millis(100)).await;
        server.shutdown(LONG).await
    };
    let (first, second, report) =
        tokio::join!(client.call("1000 a".into()), client.call("500 b".into()), stop);
    assert_eq!((first.unwrap(), second.unwrap()), ("1000 a".into(), "500 b".into()));
    assert_eq!(report.aborted, 0);
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_order_that_nobody_asked_for_is_an_error_of_the_server() {
    let (_client, connections) =
        RequestClient::<String, String>::in_order(LinesCodec::new, Default::default());
    let (mut peer, connection) = testing::serve(connections, Limits::default());
    peer.write_all(b"surprise\n").await.unwrap();
    drop(peer);
    let reason = connection.closed().await;
    assert_eq!(
        reason.to_string(),
        "protocol error by peer: an answer came, and no request waits for one"
    );
}

#[tokio::test(start_paused = true)]
async fn both_sides_may_send_more_than_anybody_holds() {
    const LEN: usize = 300_000; // more than the transport and both queues hold
    let server = |_: &ConnectionInfo| {
        let framer = Prefixed::int32(Endian::Big).with_max_length(LEN + 8).unwrap();
        RequestServer::by_id(FrameCodec::new(framer, WithId(Raw)), async |request: Bytes| {
            Ok(request)
        })
    };
    let codec = || {
        let framer = Prefixed::int32(Endian::Big).with_max_length(LEN + 8).unwrap();
        FrameCodec::new(framer, WithId(Raw))
    };
    let mut limits = Limits::default();
    limits.max_pending = LEN + 12;
    let network = MemNetwork::new();
    let server = Server::builder(server).limits(limits.clone()).network(network.clone());
    let server = server.listen("mem://server").unwrap().bind().await.unwrap();
    let (client, connections) = RequestClient::by_id(codec, Default::default());
    let builder = Client::builder(connections).limits(limits).network(network.clone());
    let connection = builder.connect("mem://server").await.unwrap();
    let calls: Vec<_> = (0..50_u8)
        .map(|byte| {
            let client = client.clone();
            tokio::spawn(async move {
                let asked = Bytes::from(vec![byte; LEN]);
                assert_eq!(client.call(asked.clone()).await.unwrap(), asked);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    drop(connection);
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn ids_begin_again_behind_the_greatest_and_skip_those_in_use() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let (mut peer, connection) = {
        let mut options = in_flight(9); // three ids are enough for three
        (options.max_id, options.deadline) = (2, LONG / 2);
        let (client, connections) = RequestClient::by_id(tagged_lines, options);
        tokio::spawn(async move {
            let slow = client.call("slow".into());
            let fast = async {
                for _ in 0..5 {
                    let answer = client.call("fast".into()).await.unwrap();
                    sees.lock().unwrap().push(answer);
                }
            };
            let _ = tokio::join!(slow, fast);
        });
        testing::serve(connections, Limits::default())
    };
    let mut ids = Vec::new();
    let mut line = String::new();
    while ids.len() < 6 {
        match peer.read_u8().await.unwrap() {
            b'\n' => {
                let (id, what) = line.split_once(' ').unwrap();
                ids.push(id.parse::<u64>().unwrap());
                if what == "fast" {
                    peer.write_all(format!("{id} done\n").as_bytes()).await.unwrap();
                }
                line.clear();
            }
            byte => line.push(byte.into()),
        }
    }
    assert_eq!(ids, [1, 2, 0, 2, 0, 2]);
    drop(peer);
    connection.closed().await;
    assert_eq!(*seen.lock().unwrap(), ["done"; 5]);
}

#[tokio::test]
async fn a_factory_makes_one_connection_at_a_time() {
    let network = MemNetwork::new();
    let server = |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), shout);
    let server = Server::builder(server).network(network.clone());
    let server = server.listen("mem://server").unwrap().bind().await.unwrap();
    let (client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let connections = Arc::new(connections);
    let shares = || {
        let shared = Arc::clone(&connections);
        factory_fn(move |info: &ConnectionInfo| shared.build_protocol(info))
    };
    let first =
        Client::builder(shares()).network(network.clone()).connect("mem://server").await.unwrap();
    assert_eq!(client.call("a".into()).await.unwrap(), "A");
    let second =
        Client::builder(shares()).network(network.clone()).connect("mem://server").await.unwrap();
    second.closed().await;
    assert_eq!(client.call("b".into()).await.unwrap(), "B");
    drop(first);
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn a_codec_that_cannot_be_made_costs_one_connection() {
    let server = |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), shout);
    let (network, server) = serve(server).await;
    let made = AtomicUsize::new(0);
    let codec = move || {
        assert!(made.fetch_add(1, Relaxed) > 0, "the first one is a failure");
        tagged_lines()
    };
    let (client, connections) = RequestClient::by_id(codec, Default::default());
    let reconnecting = ReconnectingClient::builder(connections).network(network);
    let reconnecting = reconnecting.connect("mem://server").unwrap();
    assert_eq!(client.call("a".into()).await.unwrap(), "A");
    reconnecting.shutdown(LONG).await;
    server.shutdown(LONG).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_learns_of_the_end_of_a_connection_can_make_another() {
    /// Asks the factory for a connection as soon as it is woken.
    struct Again<F>(F, AtomicUsize);
    impl<F: Factory> Wake for Again<F> {
        fn wake(self: Arc<Self>) {
            let built = self.0.build_protocol(Recorder::new().info());
            self.1.store(if built.is_some() { 1 } else { 2 }, Relaxed);
        }
    }
    let (_client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let connections = Arc::new(connections);
    let shared = Arc::clone(&connections);
    let (_peer, connection) = testing::serve(
        factory_fn(move |info: &ConnectionInfo| shared.build_protocol(info)),
        Limits::default(),
    );
    let again = Arc::new(Again(
        factory_fn(move |info: &ConnectionInfo| connections.build_protocol(info)),
        AtomicUsize::new(0),
    ));
    let waker = Waker::from(Arc::clone(&again));
    let handle = connection.handle();
    let mut closed = pin!(handle.closed());
    assert!(closed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    handle.abort();
    while again.1.load(Relaxed) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(again.1.load(Relaxed), 1, "it was refused");
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_the_answer_to_a_call_that_was_given_up() {
    let server = |_: &ConnectionInfo| RequestServer::by_id(tagged_lines(), late);
    let (network, server) = serve(server).await;
    let (client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let reconnecting = ReconnectingClient::builder(connections).network(network);
    let reconnecting = reconnecting.connect("mem://server").unwrap();
    let start = Instant::now();
    let stop = async {
        sleep(Duration::from_millis(100)).await;
        reconnecting.shutdown(LONG).await;
        start.elapsed()
    };
    let call = client.call_within(Duration::from_secs(1), "60000 a".into());
    let (called, stopped) = tokio::join!(call, stop);
    assert!(matches!(called.unwrap_err(), CallError::Late { is_sent: true, .. }));
    assert!(stopped < Duration::from_secs(2), "{stopped:?}");
    server.shutdown(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_with_the_last_answer_of_a_whole_turn() {
    const TURN: usize = 1024;
    let (client, connections) = RequestClient::by_id(tagged_lines, in_flight(TURN));
    let mut server = Harness::new(connections.build_protocol(Recorder::new().info()).unwrap());
    let call = |_| Box::pin(unconstrained(client.call("a".into())));
    let mut calls: Vec<_> = (0..TURN).map(call).collect();
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    server.settle();
    let asked = server.take_written();
    server.drain();
    assert!(!server.transport().is_closed());
    server.receive(&asked);
    assert!(server.transport().is_closed());
}

#[tokio::test(start_paused = true)]
async fn what_a_closed_connection_does_not_send_counts_as_not_sent() {
    let (client, connections) = RequestClient::by_id(tagged_lines, Default::default());
    let mut call = pin!(client.call("a".into()));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (peer, connection) = testing::serve(connections, Limits::default());
    connection.handle().close(); // before its protocol hears of it
    drop(peer);
    assert_eq!(connection.closed().await.bytes_unsent(), 0);
    assert!(matches!(call.await.unwrap_err(), CallError::NotConnected));
}
