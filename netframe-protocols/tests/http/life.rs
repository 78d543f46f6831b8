//! A connection's life: deadlines, idle time, drain.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use netframe_core::{AtLimit, CloseKind, Io, Limits, MinRate, Timeout};
use netframe_protocols::http::HttpOptions;

use crate::world::{App, World};

const SECOND: Duration = Duration::from_secs(1);

/// All that comes, and how long it took.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> (String, Duration) {
    let started = Instant::now();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    (String::from_utf8(got).unwrap(), started.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_head_must_come_in_time() {
    let world = World::start().await;
    let (mut reader, mut writer) = tokio::io::split(world.connect().await);
    sleep(30 * SECOND).await; // nothing has begun
    let trickle = tokio::spawn(async move {
        for byte in b"GET /asked HTTP/1.1\r\nHost: a\r\n\r\n" {
            sleep(SECOND).await;
            if writer.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    });
    let (answer, took) = until_closed(&mut reader).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("Connection: close"),
        "{answer}"
    );
    assert!(took > 10 * SECOND && took < 13 * SECOND, "{took:?}");
    trickle.abort();
}

#[tokio::test(start_paused = true)]
async fn each_head_has_its_own_time() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    for _ in 0..20 {
        for piece in ["GET /asked HTTP/1.1\r\n", "Host: a\r\n\r\nGET /asked HT"] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            sleep(6 * SECOND).await;
        }
        stream.write_all(b"TP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    }
    stream.shutdown().await.unwrap();
    let (answer, _) = until_closed(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 40);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    let (answer, took) = until_closed(&mut stream).await;
    assert_eq!(answer, "");
    assert!(took >= 60 * SECOND && took < 75 * SECOND, "{took:?}");
    let mut stream = world.connect().await;
    for _ in 0..5 {
        stream.write_all(b"GET /asked HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        sleep(50 * SECOND).await;
    }
    let (answer, took) = until_closed(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 5);
    assert!(took >= 9 * SECOND && took < 30 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_must_come_in_time() {
    let mut limits = Limits::default();
    limits.min_message_rate = MinRate::AtLeast(100);
    let world = World::with(HttpOptions::default(), limits, App).await;
    for (path, status) in [("/collect", "408"), ("/echo", "200")] {
        let (mut reader, mut writer) = tokio::io::split(world.connect().await);
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n");
        writer.write_all(head.as_bytes()).await.unwrap();
        let trickle = tokio::spawn(async move {
            while writer.write_all(b"x").await.is_ok() {
                sleep(SECOND).await;
            }
        });
        let (answer, took) = until_closed(&mut reader).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(took > 5 * SECOND && took < 8 * SECOND, "{took:?}");
        trickle.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_must_come_in_time() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    stream
        .write_all(b"POST /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx")
        .await
        .unwrap();
    let (answer, took) = until_closed(&mut stream).await;
    assert!(answer.ends_with("ignored"), "{answer}");
    assert!(took > 10 * SECOND && took < 13 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_what_is_in_flight() {
    let world = World::start().await;
    let mut idle = world.connect().await;
    let mut busy = world.connect().await;
    let mut begun = world.connect().await;
    let request = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
    busy.write_all(request).await.unwrap();
    begun.write_all(&request[..20]).await.unwrap();
    sleep(SECOND).await;
    let drain = tokio::spawn(world.server.shutdown(30 * SECOND));
    let (answer, took) = until_closed(&mut idle).await;
    assert_eq!(answer, "");
    assert!(took < SECOND, "{took:?}");
    begun.write_all(&request[20..]).await.unwrap();
    for stream in [&mut busy, &mut begun] {
        let (answer, _) = until_closed(stream).await;
        assert!(answer.contains("Connection: close\r\n") && answer.ends_with("slow"), "{answer}");
    }
    drop((idle, busy, begun));
    let report = drain.await.unwrap();
    assert_eq!(report.aborted, 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_resets_stops_the_handler() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    sleep(SECOND).await;
    stream.set_abort();
    drop(stream);
    while world.server.stats().live > 0 {
        sleep(SECOND / 10).await;
    }
    let closed = world.server.stats();
    assert_eq!(closed.closed(CloseKind::Reset), 1, "{closed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_half_close_still_gets_its_answers() {
    let mut limits = Limits::default();
    limits.message_timeout = Timeout::Never;
    let world = World::with(HttpOptions::default(), limits, App).await;
    let requests = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    let answer = world.ask(&[requests.as_bytes()]).await; // which ends with FIN
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 3);
    let answer = world.ask(&[b"GET /asked HTTP/1.1\r\nHost: a\r\n\r\nGET /as"]).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_sent_ahead_is_answered_whatever_waits() {
    let world = World::start().await;
    let (mut reader, mut writer) = tokio::io::split(world.connect().await);
    let requests = "GET /asked HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000);
    let send = tokio::spawn(async move {
        writer.write_all(requests.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    sleep(30 * SECOND).await; // nothing is read: both sides are full
    let (answer, _) = until_closed(&mut reader).await;
    assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 10_000);
    send.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_for_a_limit_is_answered_503() {
    let mut limits = Limits::default();
    (limits.max_connections, limits.at_limit) = (1, AtLimit::Refuse);
    let world = World::with(HttpOptions::default(), limits, App).await;
    let mut first = world.connect().await;
    first.write_all(b"GET /asked HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    first.read_exact(&mut [0; 9]).await.unwrap();
    let (answer, _) = until_closed(&mut world.connect().await).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(head.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{answer}");
}
