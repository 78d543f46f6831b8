//! [`Pool`]: what it hands out, what it keeps, and that there is never a connection too many. Over
//! memory on a paused clock; what is special about sockets and threads is tested with them.

#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use netframe_core::bytes::BytesMut;
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    BoxError, BoxFuture, Checkout, Client, ConnectionId, ConnectionInfo, Endpoint, Handle, Pool,
    PoolError, PoolLimits, Pooled, Protocol, Resolve, Result, Server, Stream, Timeout, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::Barrier;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

const X: &str = "mem://x";
const Y: &str = "mem://y";

const SECOND: Duration = Duration::from_secs(1);

// What is handed out.

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|_| {});
    let first = ask(&pool, X, b"one").await;
    let second = ask(&pool, X, b"two").await;
    assert_eq!(first, second);
    let status = pool.status();
    assert_eq!((status.stats.dialled, status.stats.reused), (1, 1));
    assert_eq!(counts(&pool), [1, 0, 0, 0, 0]);
    assert_eq!(status.endpoints[0].0.to_string(), X);
    assert_eq!(status.endpoints[0].1, status.total);
    assert_eq!(status.total.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_used_again() {
    let net = Net::serving([X]).await;
    let mem = net.mem.clone();
    let pool = Pool::new(move |endpoint: Endpoint| {
        Client::builder(|_: &ConnectionInfo| Quiet).network(mem.clone()).connect(endpoint)
    });
    let first = pool.get(X).await.unwrap().handle().id();
    assert_eq!(pool.get(X).await.unwrap().handle().id(), first);
    // One that is closed ends in order, not by the abort of a dropped client.
    let checkout = pool.get(X).await.unwrap();
    let handle = checkout.handle();
    checkout.close();
    assert_eq!(handle.closed().await.to_string(), "closed by local");
    settle().await;
    assert_eq!(counts(&pool), [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn one_whose_peer_ends_it_while_idle_is_not_handed_out() {
    for end in [Handle::close, Handle::close_write, Handle::abort] {
        let net = Net::serving([X]).await;
        let pool = net.pool(|limits| limits.max_connections = 1);
        let first = ask(&pool, X, b"one").await;
        end(&net.servers_side());
        settle().await;
        assert_eq!(counts(&pool), [0; 5], "it was noticed while nobody asked");
        assert_ne!(ask(&pool, X, b"two").await, first);
        let stats = pool.status().stats;
        assert_eq!((stats.dialled, stats.found_dead, stats.reused), (2, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_ended_while_in_use_does_not_come_back() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| limits.max_connections = 1);
    let mut stream = pool.get(X).await.unwrap();
    settle().await;
    net.servers_side().abort();
    assert_eq!(stream.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    settle().await;
    // Its place is free already, as there is no socket any more.
    let second = pool.get(X).await.unwrap();
    drop(stream);
    assert_eq!(counts(&pool), [0, 1, 0, 0, 0]);
    assert_eq!(pool.status().stats.found_dead, 0);
    drop(second);
    assert_eq!(counts(&pool), [1, 0, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_has_sent_its_fin_is_not_used_again() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|_| {});
    let mut stream = pool.get(X).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    settle().await;
    assert_eq!(counts(&pool), [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_an_answer_that_nobody_read_is_not_used_again() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| limits.max_connections = 1);
    // The answer comes while it is idle: another one is dialled in its place.
    let mut stream = pool.get(X).await.unwrap();
    let first = stream.info().id();
    stream.write_all(b"one").await.unwrap();
    drop(stream);
    settle().await;
    assert_eq!(counts(&pool), [1, 0, 0, 0, 0]);
    let second = ask(&pool, X, b"two").await;
    assert_ne!(first, second);
    assert_eq!(pool.status().stats.found_dead, 1);
    // It is there when the stream comes back: that one is closed at once.
    let mut stream = pool.get(X).await.unwrap();
    assert_eq!(stream.info().id(), second);
    stream.write_all(b"one").await.unwrap();
    settle().await;
    drop(stream);
    settle().await;
    assert_eq!(counts(&pool), [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn the_type_of_a_connection_may_refuse_to_be_used_again() {
    struct Picky(Stream, u8);
    impl Pooled for Picky {
        fn handle(&self) -> Handle {
            self.0.handle()
        }

        fn is_reusable(&self) -> bool {
            assert!(self.1 < 2, "this type panics");
            self.1 == 0
        }
    }
    let net = Net::serving([X]).await;
    let connect = net.connect();
    let pool = Pool::new(move |endpoint| {
        let connecting = connect(endpoint);
        async { Ok::<_, BoxError>(Picky(connecting.await?, 0)) }
    });
    for (state, dialled) in [(0, 1), (1, 1), (0, 2), (2, 2), (0, 3)] {
        pool.get(X).await.unwrap().1 = state;
        settle().await;
        assert_eq!(pool.status().stats.dialled, dialled);
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_user_panics_is_not_used_again() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|_| {});
    let stream = pool.get(X).await.unwrap();
    let user = tokio::spawn(async move {
        let _stream = stream;
        panic!("in the middle of a message")
    });
    assert!(user.await.unwrap_err().is_panic());
    settle().await;
    assert_eq!(counts(&pool), [0; 5]);
}

// Bounds.

#[tokio::test(start_paused = true)]
async fn a_connection_counts_until_it_has_ended() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| limits.max_connections = 1);
    for end in
        [Checkout::close, Checkout::abort, |it| drop(it.into_inner())] as [fn(Checkout<Stream>); 3]
    {
        let stream = pool.get(X).await.unwrap();
        let handle = stream.handle();
        end(stream);
        assert!(!handle.is_closed());
        assert_eq!(pool.status().total.connections(), 1);
        let next = pool.get(X).await.unwrap();
        assert!(handle.is_closed(), "there were two at once");
        drop(next.into_inner());
    }
    let taken = pool.get(X).await.unwrap().into_inner();
    assert_eq!(counts(&pool), [0, 1, 0, 0, 0]);
    taken.abort();
    settle().await;
    assert_eq!(counts(&pool), [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_attempt_had_opened_counts_until_it_has_ended() {
    // The connect succeeds, and then the login fails.
    let net = Net::serving([X]).await;
    let opened = Arc::new(Mutex::new(Vec::new()));
    let connect = net.connect();
    let handles = Arc::clone(&opened);
    let mut limits = PoolLimits::default();
    limits.max_connections = 1;
    limits.get_timeout = SECOND.into();
    let pool = Pool::builder(move |endpoint| {
        let (connecting, handles) = (connect(endpoint), Arc::clone(&handles));
        async move {
            let stream = connecting.await?;
            let mut handles = handles.lock().unwrap();
            handles.push(stream.handle());
            if handles.len() == 1 {
                Err("wrong password".into())
            } else {
                Ok::<_, BoxError>(stream)
            }
        }
    });
    let pool = pool.limits(limits).build().unwrap();
    let error = pool.get(X).await.unwrap_err();
    let want = "cannot open a connection to mem://x for the pool: wrong password";
    assert_eq!(format!("{error:?}"), want);
    let first = opened.lock().unwrap()[0].clone();
    assert!(!first.is_closed());
    assert_eq!(counts(&pool), [0, 0, 0, 1, 0]);
    let _second = pool.get(X).await.unwrap();
    assert!(first.is_closed(), "there were two at once");
    assert_eq!(pool.status().stats.failed, 1);
}

#[tokio::test(start_paused = true)]
async fn one_of_no_use_has_ended_before_another_is_dialled_in_its_place() {
    let net = Net::serving([X]).await;
    let (connect, last) = (net.connect(), Arc::new(Mutex::new(None::<Handle>)));
    let mut limits = PoolLimits::default();
    limits.max_connections = 1;
    let pool = Pool::builder(move |endpoint| {
        let (connecting, last) = (connect(endpoint), Arc::clone(&last));
        async move {
            let is_over = last.lock().unwrap().take().is_none_or(|last| last.is_closed());
            assert!(is_over, "there would be two at once");
            let stream = connecting.await?;
            *last.lock().unwrap() = Some(stream.handle());
            Ok::<_, BoxError>(stream)
        }
    });
    let pool = pool.limits(limits).build().unwrap();
    let mut stream = pool.get(X).await.unwrap();
    stream.write_all(b"an answer comes while it is idle").await.unwrap();
    drop(stream);
    settle().await;
    ask(&pool, X, b"hello").await;
    assert_eq!(pool.status().stats.found_dead, 1);
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_of_another_endpoint_makes_room() {
    let net = Net::serving([X, Y]).await;
    let pool = net.pool(|limits| limits.max_connections = 2);
    let [older, newer] = [pool.get(X).await.unwrap(), pool.get(X).await.unwrap()];
    let [one, other] = [older.handle(), newer.handle()];
    drop(older);
    sleep(SECOND).await;
    drop(newer);
    let _y = pool.get(Y).await.unwrap();
    assert!(one.is_closed() && !other.is_closed());
    assert_eq!(pool.status().stats.evicted, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_one_that_does_not_close_is_reset() {
    // Nobody reads there, and no FIN comes.
    let net = Net::serving([Y]).await;
    let _listener = net.mem.listen(X.parse().unwrap(), "x", 1).unwrap();
    let pool = net.pool(|limits| limits.max_connections = 1);
    drop(pool.get(X).await.unwrap());
    let started = Instant::now();
    drop(pool.get(Y).await.unwrap());
    assert_eq!(started.elapsed().as_millis() / 10, 10, "a tenth of a second");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_order() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| limits.max_per_endpoint = 1);
    let first = pool.get(X).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..10 {
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let _stream = pool.get(X).await.unwrap();
            order.lock().unwrap().push(number);
            sleep(SECOND).await;
        }));
        settle().await;
    }
    assert_eq!(counts(&pool), [0, 1, 0, 0, 10]);
    waiting.remove(4).abort(); // who goes away disturbs nobody
    drop(first);
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(pool.status().stats.dialled, 1);
}

#[tokio::test(start_paused = true)]
async fn so_many_wait_and_no_more() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| {
        limits.max_connections = 1;
        limits.max_waiting = 2;
    });
    let _first = pool.get(X).await.unwrap();
    let waiting = [(); 2].map(|()| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.get(X).await.map(drop) })
    });
    settle().await;
    let error = pool.get(X).await.unwrap_err();
    assert!(matches!(error, PoolError::TooManyWaiting { max_waiting: 2 }), "{error:?}");
    assert_eq!(pool.status().stats.refused, 1);
    drop(_first);
    for waiting in waiting {
        waiting.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn unusable_limits_are_refused() {
    let mut limits = PoolLimits::default();
    limits.max_waiting = 0;
    let pool = Pool::builder(|endpoint: Endpoint| Stream::connect(endpoint)).limits(limits);
    let error = pool.build().unwrap_err().to_string();
    assert_eq!(error, "`max_waiting` is 0, which would stop everything; set it above 0");
    let pool = Pool::new(|endpoint: Endpoint| Stream::connect(endpoint));
    assert!(matches!(pool.get("nonsense").await.unwrap_err(), PoolError::Endpoint(_)));
}

// Time.

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_time() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| limits.idle_timeout = (10 * SECOND).into());
    let [one, other] = [pool.get(X).await.unwrap(), pool.get(X).await.unwrap()];
    let [first, second] = [one.handle(), other.handle()];
    settle().await; // the timer has nothing to wait for yet
    drop(one);
    sleep(4 * SECOND).await;
    drop(other);
    let started = Instant::now();
    first.closed().await;
    assert_eq!(started.elapsed().as_secs(), 6);
    second.closed().await;
    assert_eq!(started.elapsed().as_secs(), 10);
    assert_eq!(pool.status().stats.expired, 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_not_used_beyond_its_lifetime() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| {
        limits.max_lifetime = (10 * SECOND).into();
        limits.idle_timeout = Timeout::Never;
    });
    let mut used = Vec::new();
    for pause in [0, 3, 6, 2, 3, 3] {
        sleep(pause * SECOND).await; // at 0, 3, 9, 11, 14 and 17
        used.push(ask(&pool, X, b"hello").await);
    }
    assert!(used[..3].iter().all(|id| *id == used[0]) && used[3] != used[0]);
    assert!(used[3..].iter().all(|id| *id == used[3]));
    assert_eq!(pool.status().stats.expired, 1);
}

#[tokio::test(start_paused = true)]
async fn the_time_to_get_one_is_for_waiting_and_dialling_together() {
    let hanging = Arc::new(AtomicUsize::new(0));
    let net = Net::serving([X]).await;
    let (connect, hangs) = (net.connect(), Arc::clone(&hanging));
    let mut limits = PoolLimits::default();
    limits.max_connections = 1;
    limits.get_timeout = (5 * SECOND).into();
    let pool = Pool::builder(move |endpoint| {
        let (connecting, hangs) = (connect(endpoint), hangs.load(Ordering::SeqCst) > 0);
        async move { if hangs { pending().await } else { connecting.await } }
    });
    let pool = pool.limits(limits).build().unwrap();
    let stream = pool.get(X).await.unwrap();
    let started = Instant::now();
    let error = pool.get(X).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 5);
    assert_eq!(
        error.to_string(),
        "no connection to mem://x became free within 5s; give connections back sooner, or raise \
         `max_per_endpoint` or `max_connections`"
    );
    assert!(matches!(error, PoolError::WaitTimeout { .. }));
    // Three seconds of waiting leave two for dialling.
    hanging.store(1, Ordering::SeqCst);
    tokio::spawn(async move {
        sleep(3 * SECOND).await;
        stream.abort();
    });
    let started = Instant::now();
    let error = pool.get(X).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 5);
    assert!(matches!(error, PoolError::DialTimeout { .. }), "{error:?}");
    let stats = pool.status().stats;
    assert_eq!((stats.timed_out, stats.failed, counts(&pool)), (2, 1, [0; 5]));
}

// Failures, and who goes away.

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_is_told_to_who_asked_and_frees_its_place() {
    let net = Net::serving([Y]).await;
    let pool = net.pool(|limits| limits.max_connections = 1);
    let first = pool.get(Y).await.unwrap();
    let waiting = [X, X, Y].map(|endpoint| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.get(endpoint).await.map(drop) })
    });
    settle().await;
    drop(first);
    let mut ends = Vec::new();
    for waiting in waiting {
        ends.push(waiting.await.unwrap());
    }
    for end in &ends[..2] {
        let Err(PoolError::Connect { endpoint, source }) = end else { panic!("{end:?}") };
        assert_eq!(endpoint.to_string(), X);
        assert_eq!(source.to_string(), "cannot connect to mem://x");
    }
    ends.pop().unwrap().unwrap();
    assert_eq!(pool.status().stats.failed, 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_connect_function_frees_its_place() {
    let calls = Arc::new(AtomicUsize::new(0));
    let net = Net::serving([X]).await;
    let connect = net.connect();
    let mut limits = PoolLimits::default();
    limits.max_connections = 1;
    let pool = Pool::builder(move |endpoint| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        assert_ne!(call, 0, "before there is a future");
        let connecting = connect(endpoint);
        async move {
            let stream = connecting.await;
            assert_ne!(call, 1, "with an open connection");
            stream
        }
    });
    let pool = pool.limits(limits).build().unwrap();
    for text in ["before there is a future", "with an open connection"] {
        let error = pool.get(X).await.unwrap_err();
        assert!(matches!(error, PoolError::Panic { .. }), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
    drop(pool.get(X).await.unwrap());
    assert_eq!(pool.status().stats.failed, 2);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_gives_back_what_it_was_granted() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| limits.max_connections = 1);
    // It waits.
    let first = pool.get(X).await.unwrap();
    let id = first.info().id();
    given_up(pool.get(X)).await;
    assert_eq!(counts(&pool), [0, 1, 0, 0, 0]);
    // It was granted a connection, and does not know yet.
    {
        let mut late = pin!(pool.get(X));
        assert!(poll_once(late.as_mut()).await.is_none());
        drop(first);
        assert_eq!(counts(&pool), [0, 1, 0, 0, 0], "it is granted");
        let mut next = pin!(pool.get(X));
        assert!(poll_once(next.as_mut()).await.is_none());
        late.set(pool.get(X)); // drops the one before
        let stream = next.await.unwrap();
        assert_eq!(stream.info().id(), id);
        stream.abort();
    }
    // It dials.
    settle().await;
    let listener = net.mem.listen(Y.parse().unwrap(), "y", 1).unwrap();
    let _fills_the_backlog = net.mem.connect("y").await.unwrap();
    given_up(pool.get(Y)).await;
    assert_eq!(counts(&pool), [0; 5]);
    drop(listener);
    ask(&pool, X, b"still").await;
}

// Its end.

#[tokio::test(start_paused = true)]
async fn a_closed_pool_gives_no_more() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|limits| limits.max_connections = 2);
    let [one, other] = [pool.get(X).await.unwrap(), pool.get(X).await.unwrap()];
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get(X).await.map(drop) }
    });
    settle().await;
    pool.close();
    assert!(matches!(waiting.await.unwrap(), Err(PoolError::Closed)));
    assert!(matches!(pool.get(X).await, Err(PoolError::Closed)));
    assert!(pool.is_closed());
    // What is checked out works on, and is closed as it comes back.
    let mut one = one;
    one.write_all(b"hello").await.unwrap();
    one.read_exact(&mut [0; 5]).await.unwrap();
    let handle = one.handle();
    drop(one);
    handle.closed().await;
    assert_eq!(counts(&pool), [0, 1, 0, 0, 0]);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_is_under_way_ends_with_the_pool() {
    let pool = Pool::new(|_| pending::<Result<Stream>>());
    let dialling = tokio::spawn({
        let pool = pool.clone();
        async move { pool.get(X).await.map(drop) }
    });
    settle().await;
    assert_eq!(counts(&pool), [0, 0, 1, 0, 0]);
    let report = pool.shutdown(SECOND).await;
    assert!(matches!(dialling.await.unwrap(), Err(PoolError::Closed)));
    assert_eq!((report.aborted, report.leaks.connections), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_and_then_aborts() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|_| {});
    let [short, long, idle] =
        [pool.get(X).await.unwrap(), pool.get(X).await.unwrap(), pool.get(X).await.unwrap()];
    drop(idle);
    tokio::spawn(async move {
        sleep(SECOND).await;
        drop(short);
    });
    let started = Instant::now();
    let report = pool.shutdown(5 * SECOND).await;
    assert_eq!(started.elapsed().as_secs(), 5);
    assert_eq!((report.drained, report.aborted), (2, 1));
    assert!(report.leaks.is_empty() && long.handle().is_closed());
    assert_eq!(counts(&pool), [0; 5]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_closes_idle_ones() {
    let net = Net::serving([X]).await;
    let pool = net.pool(|_| {});
    let [idle, used] = [pool.get(X).await.unwrap(), pool.get(X).await.unwrap()];
    let [first, second] = [idle.handle(), used.handle()];
    drop(idle);
    let clone = pool.clone();
    drop(pool);
    settle().await;
    assert!(!first.is_closed());
    drop(clone);
    assert_eq!(first.closed().await.to_string(), "closed by local");
    assert!(!second.is_closed());
    drop(used);
    second.closed().await;
}

#[test]
fn a_pool_ends_with_its_runtime() {
    let own = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pool = own.block_on(async {
        let net = Net::serving([X]).await;
        let pool = net.pool(|_| {});
        ask(&pool, X, b"hello").await;
        pool
    });
    drop(own);
    assert_eq!(counts(&pool), [0; 5]);
    let other = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = other.block_on(pool.get(X)).unwrap_err();
    assert!(matches!(error, PoolError::Closed), "{error:?}");
}

// Sockets and threads.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_users_of_a_real_server_have_exactly_as_many_connections_as_may_be() {
    const MAX: usize = 8;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = tokio::spawn({
        let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
        async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let now = Arc::clone(&now);
                tokio::spawn(async move {
                    let mut byte = [0];
                    // Ends with the FIN of the pool, whose own end of it waits for this one's.
                    while matches!(stream.read(&mut byte).await, Ok(1)) {
                        stream.write_all(&byte).await.unwrap();
                    }
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    });
    let mut limits = PoolLimits::default();
    limits.max_per_endpoint = MAX;
    let pool = Pool::builder(|endpoint: Endpoint| Stream::connect(endpoint));
    let pool = pool.limits(limits).build().unwrap();
    let (first, all_there) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(MAX)));
    let users: Vec<_> = (0..200u8)
        .map(|user| {
            let (pool, endpoint) = (pool.clone(), endpoint.clone());
            let (first, all_there) = (Arc::clone(&first), Arc::clone(&all_there));
            tokio::spawn(async move {
                for turn in 0..10 {
                    let mut stream = pool.get(endpoint.clone()).await.unwrap();
                    stream.write_all(&[user]).await.unwrap();
                    assert_eq!(stream.read_u8().await.unwrap(), user);
                    assert!(pool.status().total.connections() <= MAX);
                    if first.fetch_add(1, Ordering::SeqCst) < MAX {
                        all_there.wait().await;
                    }
                    if (turn + usize::from(user)) % 7 == 0 {
                        stream.close();
                    }
                }
            })
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
    assert_eq!(peak.load(Ordering::SeqCst), MAX);
    let report = pool.shutdown(10 * SECOND).await;
    assert!(report.aborted == 0 && report.leaks.is_empty(), "{report}");
    let stats = pool.status().stats;
    assert_eq!(stats.dialled + stats.reused, 2000);
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_goes_away_while_others_come_and_go_leaves_nothing_behind() {
    const MAX: usize = 3;
    let net = Net::serving([X, Y]).await;
    let pool = net.pool(|limits| limits.max_connections = MAX);
    let user = async |pool: &Pool<Stream>, mut rng: fastrand::Rng| {
        for _ in 0..200 {
            let endpoint = [X, Y][rng.usize(0..2)];
            // Some go away just as they are granted something.
            let got = patient(pool.get(endpoint), rng.usize(1..8)).await;
            assert!(pool.status().total.connections() <= MAX);
            match got {
                Some(stream) if rng.u8(0..8) == 0 => stream.unwrap().close(),
                Some(stream) if rng.u8(0..8) == 0 => stream.unwrap().abort(),
                Some(stream) => {
                    let _stream = stream.unwrap();
                    yield_now().await;
                }
                None => {}
            }
        }
    };
    let users: Vec<_> = (0..32)
        .map(|seed| {
            let pool = pool.clone();
            tokio::spawn(async move { user(&pool, fastrand::Rng::with_seed(seed)).await })
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
    for endpoint in [X, Y] {
        ask(&pool, endpoint, b"still here").await;
    }
    let [_, in_use, dialling, _, waiting] = counts(&pool);
    assert_eq!((in_use, dialling, waiting), (0, 0, 0));
    let report = pool.shutdown(10 * SECOND).await;
    assert!(report.aborted == 0 && report.leaks.is_empty(), "{report}");
}

#[tokio::test]
async fn a_name_that_moved_is_reached_by_the_next_dial() {
    let [old, new] = [tcp().await, tcp().await];
    let names = Names::default();
    names.set("moving.test", addr(&old));
    let resolver = names.clone();
    let pool = Pool::new(move |endpoint: Endpoint| {
        Stream::builder().resolver(resolver.clone()).connect(endpoint)
    });
    let at = "tcp://moving.test:9";
    let peer = async || pool.get(at).await.unwrap().info().peer().clone();
    assert_eq!(peer().await, addr(&old).into());
    names.set("moving.test", addr(&new));
    assert_eq!(peer().await, addr(&old).into(), "the connection is still good");
    old.shutdown(SECOND).await;
    while pool.status().total.connections() > 0 {
        yield_now().await;
    }
    assert_eq!(peer().await, addr(&new).into());
}

// Helpers.

/// Servers of the names that are given, and what connects to them.
struct Net {
    mem: MemNetwork,
    _servers: Vec<Server>,
    handles: Handles,
}

/// The connections of the servers.
type Handles = Arc<Mutex<Vec<Handle>>>;

impl Net {
    async fn serving<const N: usize>(endpoints: [&str; N]) -> Self {
        let (mem, handles) = (MemNetwork::new(), Handles::default());
        let mut servers = Vec::new();
        for endpoint in endpoints {
            let handles = Arc::clone(&handles);
            let factory = move |_: &ConnectionInfo| Served(Arc::clone(&handles));
            let server = Server::builder(factory).network(mem.clone());
            servers.push(server.listen(endpoint).unwrap().bind().await.unwrap());
        }
        Self { mem, _servers: servers, handles }
    }

    fn connect(&self) -> impl Fn(Endpoint) -> BoxConnect + Send + Sync + Clone + 'static {
        let mem = self.mem.clone();
        move |endpoint| {
            let stream = Stream::builder().network(mem.clone());
            Box::pin(async move { Ok(stream.connect(endpoint).await?) })
        }
    }

    fn pool(&self, change: impl FnOnce(&mut PoolLimits)) -> Pool<Stream> {
        let mut limits = PoolLimits::default();
        change(&mut limits);
        Pool::builder(self.connect()).limits(limits).build().unwrap()
    }

    /// The latest connection, as its server has it.
    fn servers_side(&self) -> Handle {
        self.handles.lock().unwrap().last().unwrap().clone()
    }
}

type BoxConnect = BoxFuture<'static, Result<Stream>>;

/// Answers what it is sent, and tells of its connection.
struct Served(Handles);

impl Protocol for Served {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.0.lock().unwrap().push(t.handle());
        Ok(())
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

/// Throws away what it is sent.
struct Quiet;

impl Protocol for Quiet {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

/// Asks, gets the answer, and gives the connection back; returns which one it was.
async fn ask(pool: &Pool<Stream>, endpoint: &str, question: &[u8]) -> ConnectionId {
    let mut stream = pool.get(endpoint).await.unwrap();
    stream.write_all(question).await.unwrap();
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, question);
    stream.info().id()
}

/// Idle, in use, dialling, closing, and waiting.
fn counts<T: Pooled>(pool: &Pool<T>) -> [usize; 5] {
    let total = pool.status().total;
    [total.idle, total.in_use, total.dialling, total.closing, total.waiting]
}

/// Lets all that can happen without time passing happen.
async fn settle() {
    for _ in 0..100 {
        yield_now().await;
    }
}

/// What the future comes to if it is polled once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// What the future comes to if it is polled so many times, others in between; then it is dropped.
async fn patient<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = poll_once(future.as_mut()).await;
        if polled.is_some() {
            return polled;
        }
        yield_now().await;
    }
    None
}

/// Begins, and does not go on.
async fn given_up<F: Future>(future: F) {
    assert!(poll_once(pin!(future)).await.is_none());
}

async fn tcp() -> Server {
    Server::bind("tcp://127.0.0.1:0", |_: &ConnectionInfo| Quiet).await.unwrap()
}

fn addr(server: &Server) -> SocketAddr {
    server.endpoint().to_string().strip_prefix("tcp://").unwrap().parse().unwrap()
}

/// Names, whose addresses change.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<BTreeMap<&'static str, SocketAddr>>>);

impl Names {
    fn set(&self, name: &'static str, addr: SocketAddr) {
        self.0.lock().unwrap().insert(name, addr);
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "not known here");
        self.0.lock().unwrap().get(host).map(|addr| vec![*addr]).ok_or_else(unknown)
    }
}
