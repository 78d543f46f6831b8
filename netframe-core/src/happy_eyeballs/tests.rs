//! The state machine as tables, then the driver on a paused clock.

use std::sync::{Arc, Mutex};

use tokio::time::sleep;

use super::*;

const V4_1: &str = "127.0.0.1:1";
const V4_2: &str = "127.0.0.1:2";
const V4_3: &str = "127.0.0.1:3";
const V6_1: &str = "[::1]:1";
const V6_2: &str = "[::1]:2";

#[test]
fn families_alternate_and_the_first_address_begins() {
    for (given, want) in [
        (&[][..], &[][..]),
        (&[V4_1], &[V4_1]),
        (&[V6_1, V6_2, V4_1, V4_2], &[V6_1, V4_1, V6_2, V4_2]),
        (&[V4_1, V4_2, V6_1, V6_2], &[V4_1, V6_1, V4_2, V6_2]),
        (&[V4_1, V4_2, V4_3, V6_1], &[V4_1, V6_1, V4_2, V4_3]),
        (&[V6_1, V4_1, V4_2, V4_3], &[V6_1, V4_1, V4_2, V4_3]),
        (&[V4_2, V4_1, V4_3], &[V4_2, V4_1, V4_3]),
        (&[V4_1, V6_1, V4_1, V6_1, V4_2], &[V4_1, V6_1, V4_2]), // each address once
    ] {
        assert_eq!(HappyEyeballs::new(addrs(given)).waiting, addrs(want), "{given:?}");
    }
}

#[test]
fn attempts_start_a_quarter_of_a_second_apart() {
    Script::new(&[V4_1, V4_2, V4_3])
        .at(0, "start 127.0.0.1:1")
        .at(0, "wait until 250")
        .at(249, "wait until 250")
        .at(250, "start 127.0.0.1:2")
        .at(250, "wait until 500")
        .at(700, "start 127.0.0.1:3") // late
        .at(700, "wait")
        .at(100_000, "wait");
}

#[test]
fn a_failure_starts_the_next_attempt_at_once() {
    Script::new(&[V4_1, V4_2, V4_3, V6_1])
        .at(0, "start 127.0.0.1:1")
        .fails(V4_1)
        .at(10, "start [::1]:1")
        .at(10, "wait until 260")
        .at(260, "start 127.0.0.1:2")
        .at(260, "wait until 510")
        .fails(V6_1) // it is not the latest that fails
        .at(300, "start 127.0.0.1:3")
        .at(300, "wait");
}

#[test]
fn failures_that_come_together_start_one_attempt() {
    Script::new(&[V4_1, V4_2, V4_3, V6_1])
        .at(0, "start 127.0.0.1:1")
        .at(250, "start [::1]:1")
        .fails(V4_1)
        .fails(V6_1)
        .at(300, "start 127.0.0.1:2")
        .at(300, "wait until 550");
}

#[test]
fn it_fails_when_every_attempt_has() {
    Script::new(&[V4_1, V4_2, V6_1])
        .at(0, "start 127.0.0.1:1")
        .at(250, "start [::1]:1")
        .fails(V6_1)
        .at(300, "start 127.0.0.1:2")
        .fails(V4_2)
        .at(310, "wait")
        .fails(V4_1)
        .at(320, "fail: 127.0.0.1:1: refused; [::1]:1: refused; 127.0.0.1:2: refused");
}

#[test]
fn one_address_fails_with_its_own_error() {
    Script::new(&[V4_1, V4_1])
        .at(0, "start 127.0.0.1:1")
        .at(0, "wait")
        .fails(V4_1)
        .at(5, "fail: refused");
}

#[test]
fn no_address_fails() {
    Script::new(&[]).at(0, "fail: there is no address to try");
}

#[test]
fn a_failure_of_what_does_not_run_changes_nothing() {
    Script::new(&[V4_1, V4_2])
        .fails(V4_1)
        .at(0, "start 127.0.0.1:1")
        .fails(V4_2)
        .at(0, "wait until 250")
        .fails(V4_1)
        .at(10, "start 127.0.0.1:2")
        .fails(V4_1) // for the second time
        .at(10, "wait");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_spaced_and_the_winner_drops_the_others() {
    let net = FakeNet::new(&[(V6_1, Hangs), (V6_2, Answers(1000)), (V4_1, Answers(400))]);
    assert_eq!(net.race(&[V6_1, V6_2, V4_1]).await.unwrap(), V4_1);
    assert_eq!(
        net.log(),
        [
            "0: start [::1]:1",
            "250: start 127.0.0.1:1",
            "500: start [::1]:2",
            "650: drop 127.0.0.1:1", // with its connection
            "650: drop [::1]:1",
            "650: drop [::1]:2",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_late_may_still_win() {
    let net = FakeNet::new(&[(V6_1, Answers(300)), (V4_1, Hangs)]);
    assert_eq!(net.race(&[V6_1, V4_1]).await.unwrap(), V6_1);
    assert_eq!(net.log().last().unwrap(), "300: drop 127.0.0.1:1");
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_starts_nothing_else() {
    let net = FakeNet::new(&[(V6_1, Answers(249))]);
    assert_eq!(net.race(&[V6_1, V4_1]).await.unwrap(), V6_1);
    assert_eq!(net.log(), ["0: start [::1]:1", "249: drop [::1]:1"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_the_next_attempt_starts_at_once() {
    let net = FakeNet::new(&[(V6_1, Fails(20)), (V4_1, Fails(0)), (V6_2, Answers(0))]);
    assert_eq!(net.race(&[V6_1, V6_2, V4_1]).await.unwrap(), V6_2);
    assert_eq!(
        net.log(),
        [
            "0: start [::1]:1",
            "20: drop [::1]:1",
            "20: start 127.0.0.1:1",
            "20: drop 127.0.0.1:1",
            "20: start [::1]:2",
            "20: drop [::1]:2",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn all_errors_are_told() {
    let net = FakeNet::new(&[(V6_1, Fails(1000)), (V4_1, Fails(100)), (V4_2, Fails(0))]);
    let error = net.race(&[V6_1, V4_1, V4_2]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(
        error.to_string(),
        "[::1]:1: refused at 1000; 127.0.0.1:1: refused at 350; 127.0.0.1:2: refused at 350"
    );
}

#[tokio::test(start_paused = true)]
async fn one_address_is_tried_once_and_its_error_is_plain() {
    let net = FakeNet::new(&[(V4_1, Fails(7))]);
    let error = net.race(&[V4_1, V4_1]).await.unwrap_err();
    assert_eq!(error.to_string(), "refused at 7");
    assert_eq!(net.log(), ["0: start 127.0.0.1:1", "7: drop 127.0.0.1:1"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_to_try_is_an_error() {
    let error = FakeNet::new(&[]).race(&[]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_race_drops_every_attempt() {
    let net = FakeNet::new(&[(V6_1, Hangs), (V4_1, Hangs)]);
    let late = Duration::from_millis(300);
    tokio::time::timeout(late, net.race(&[V6_1, V4_1, V4_2])).await.unwrap_err();
    assert_eq!(net.log()[2..], ["300: drop [::1]:1", "300: drop 127.0.0.1:1"]);
}

/// A machine under test, at times in milliseconds since the start.
struct Script {
    race: HappyEyeballs,
    start: Instant,
}

impl Script {
    fn new(given: &[&str]) -> Self {
        Self { race: HappyEyeballs::new(addrs(given)), start: Instant::now() }
    }

    #[track_caller]
    fn at(mut self, millis: u64, want: &str) -> Self {
        let step = match self.race.poll_step(self.start + Duration::from_millis(millis)) {
            Step::Start(addr) => format!("start {addr}"),
            Step::Wait(None) => "wait".to_owned(),
            Step::Wait(Some(at)) => format!("wait until {}", (at - self.start).as_millis()),
            Step::Fail(error) => format!("fail: {error}"),
        };
        assert_eq!(step, want, "at {millis} ms");
        self
    }

    fn fails(mut self, addr: &str) -> Self {
        let error = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        self.race.handle_failed(addr.parse().unwrap(), error);
        self
    }
}

/// What an address does to those who connect, after so many milliseconds.
#[derive(Clone, Copy)]
enum Fate {
    Answers(u64),
    Fails(u64),
    Hangs,
}
use Fate::{Answers, Fails, Hangs};

/// Addresses with their fates, and a log of the attempts.
struct FakeNet {
    fates: Vec<(SocketAddr, Fate)>,
    log: Log,
}

impl FakeNet {
    fn new(fates: &[(&str, Fate)]) -> Self {
        let fates = fates.iter().map(|(addr, fate)| (addr.parse().unwrap(), *fate)).collect();
        Self { fates, log: Log { start: Instant::now(), lines: Arc::default() } }
    }

    /// The address that won.
    async fn race(&self, given: &[&str]) -> io::Result<String> {
        race(addrs(given), |addr| {
            self.log.add(format_args!("start {addr}"));
            let fate = self.fates.iter().find(|(of, _)| *of == addr).expect("it has a fate").1;
            attempt(Dropped { addr, log: self.log.clone() }, fate)
        })
        .await
    }

    fn log(&self) -> Vec<String> {
        self.log.lines.lock().unwrap().clone()
    }
}

async fn attempt(dropped: Dropped, fate: Fate) -> io::Result<String> {
    match fate {
        Answers(after) => sleep(Duration::from_millis(after)).await,
        Fails(after) => {
            sleep(Duration::from_millis(after)).await;
            let text = format!("refused at {}", dropped.log.millis());
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
        }
        Hangs => std::future::pending().await,
    }
    Ok(dropped.addr.to_string())
}

#[derive(Clone)]
struct Log {
    start: Instant,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    fn add(&self, what: impl std::fmt::Display) {
        self.lines.lock().unwrap().push(format!("{}: {what}", self.millis()));
    }

    fn millis(&self) -> u128 {
        self.start.elapsed().as_millis()
    }
}

/// Tells when an attempt is dropped.
struct Dropped {
    addr: SocketAddr,
    log: Log,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.log.add(format_args!("drop {}", self.addr));
    }
}

fn addrs(given: &[&str]) -> Vec<SocketAddr> {
    given.iter().map(|text| text.parse().unwrap()).collect()
}
