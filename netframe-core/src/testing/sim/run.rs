//! [`Sim`], [`run`] and [`seeds`]: a scenario from its seed to the checks at its end.

use std::env;
use std::future::poll_fn;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

use super::SimNetwork;
use super::conditions::Conditions;
use super::trace::Trace;
use super::world::World;
use crate::driver::forget_read_buffer;

/// Lines of the trace that a run prints when it fails.
const TAIL: usize = 200;

/// Time after a scenario in which what it left behind is to end by itself: longer than any timeout of
/// a close.
const SETTLE: Duration = Duration::from_secs(60);

/// Runs a scenario with this seed, and returns what it does. See [`Sim`] for what fails it.
///
/// # Panics
///
/// The scenario does, or a check at its end fails.
pub fn run<T>(seed: u64, scenario: impl AsyncFnOnce(SimNetwork) -> T) -> T {
    Sim::new(seed).run(scenario).output
}

/// Runs a scenario with `count` seeds, from 0 on; or with those that `NETFRAME_SEEDS` says, which is
/// another count or a range as `50..500`; or with the one of `NETFRAME_SEED` alone. It prints how many
/// there were, which `cargo test -- --show-output` shows.
///
/// # Panics
///
/// The scenario does, or a check at its end fails; or the variables are no numbers.
pub fn seeds(count: u64, scenario: impl AsyncFn(SimNetwork)) {
    let started = std::time::Instant::now();
    let seeds = match (env::var("NETFRAME_SEED"), env::var("NETFRAME_SEEDS")) {
        (Ok(one), _) => parse(&one, "NETFRAME_SEED").map(|seed| seed..seed.saturating_add(1)),
        (_, Ok(all)) => parse_range(&all),
        _ => Ok(0..count),
    };
    let seeds = seeds.unwrap_or_else(|wrong| panic!("{wrong}"));
    for seed in seeds.clone() {
        run(seed, &scenario);
    }
    let (count, took) = (seeds.end - seeds.start, started.elapsed().as_secs_f64());
    let thread = std::thread::current();
    println!("simulated {count} seeds of {} in {took:.2} s", thread.name().unwrap_or("a scenario"));
}

/// The seeds of `NETFRAME_SEEDS`.
fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").unwrap_or(("0", text));
    let seeds = parse(from, "NETFRAME_SEEDS")?..parse(to, "NETFRAME_SEEDS")?;
    if seeds.is_empty() {
        return Err(format!(
            "NETFRAME_SEEDS={text} has no seeds; 50..500 are those from 50 to 499"
        ));
    }
    Ok(seeds)
}

fn parse(number: &str, name: &str) -> Result<u64, String> {
    number.parse().map_err(|_| {
        format!(
            "{name} has {number:?} for a number; it is one as 17, or for NETFRAME_SEEDS 50..500"
        )
    })
}

/// One run of a simulation, before it has begun.
///
/// A run fails if
/// - the scenario panics, or takes longer than it may;
/// - something was called a [violation](SimNetwork::violation), as a factory that is
///   [`checked`](SimNetwork::checked) does;
/// - 60 simulated seconds after the scenario's end a task still lives, somebody holds a stream, a
///   socket, a checked protocol, or a handle to a connection, or a service has permits or queued bytes
///   of connections that are gone: what a scenario returns must not hold on to them;
/// - of a service fewer or more connections ended than began;
/// - more bytes waited in a queue than its hard cap. What is written at once has to fit between the
///   high watermark and the cap, as a longer write is taken whole.
///
/// It then prints its seed, and what happened last. Nothing detects a task that runs for ever
/// without touching the network.
#[derive(Clone, Debug)]
pub struct Sim {
    seed: u64,
    conditions: Conditions,
    time: Duration,
    steps: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Simulated<T> {
    /// What the scenario returned.
    pub output: T,
    /// What happened.
    pub trace: Trace,
    /// How long it took, in simulated time.
    pub took: Duration,
}

impl Sim {
    /// A run with this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            conditions: Conditions::default(),
            time: Duration::from_secs(24 * 60 * 60),
            steps: 1_000_000,
        }
    }

    /// How bad the network is at first.
    pub fn conditions(mut self, conditions: Conditions) -> Self {
        self.conditions = conditions;
        self
    }

    /// Simulated time that the scenario may take. Default one day.
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Steps of the network (a read, a write, an arrival) that the scenario may take. Default one
    /// million.
    pub fn steps(mut self, steps: u64) -> Self {
        self.steps = steps;
        self
    }

    /// Runs the scenario in a runtime of its own, on this thread.
    ///
    /// # Panics
    ///
    /// The scenario does, or a check at its end fails; or it is called inside of a runtime.
    pub fn run<T>(self, scenario: impl AsyncFnOnce(SimNetwork) -> T) -> Simulated<T> {
        let Self { seed, conditions, time, steps } = self;
        // For whatever takes its random numbers from there, as a `ReconnectingClient` does.
        fastrand::seed(seed);
        forget_read_buffer();
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without sockets needs nothing of the system");
        let guard = runtime.enter();
        let world = World::new(seed, conditions, steps);
        drop(guard);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(play(Arc::clone(&world), time, scenario))
        }));
        let failed = match ran {
            Ok(Ok(run)) => return run,
            Ok(Err(text)) => Box::new(text),
            Err(panic) => panic,
        };
        let state = world.lock();
        // What was seen first is nearer to the cause than the panic that came of it.
        let seen = state.violations.first().or_else(|| failed.downcast_ref());
        let text = seen.map_or("a panic", |text| text);
        let tail = state.trace.tail(TAIL);
        eprintln!("{tail}\nseed {seed} failed: {text}\nto run it again: NETFRAME_SEED={seed}");
        drop(state);
        drop(catch_unwind(AssertUnwindSafe(|| drop(runtime))));
        resume_unwind(failed)
    }
}

/// Runs the scenario, lets what it left behind end, and checks.
async fn play<T>(
    world: Arc<World>,
    time: Duration,
    scenario: impl AsyncFnOnce(SimNetwork) -> T,
) -> Result<Simulated<T>, String> {
    let started = Instant::now();
    let engine = tokio::spawn(Arc::clone(&world).run());
    let network = SimNetwork::new(Arc::clone(&world));
    let output = {
        let mut scenario = pin!(timeout(time, scenario(network)));
        let judged = poll_fn(|cx| {
            let replaced = world.lock().judge.replace(cx.waker().clone());
            drop(replaced);
            let polled = scenario.as_mut().poll(cx);
            if world.lock().steps_left == 0 {
                return Poll::Ready(Err("it takes too many steps".to_owned()));
            }
            polled.map_err(|_| format!("it is not over after {time:?} of simulated time"))
        });
        judged.await?
    };
    let took = started.elapsed();
    settle(&world).await?;
    engine.abort();
    let state = world.lock();
    match state.violations.first() {
        Some(violation) => Err(violation.clone()),
        None => Ok(Simulated { output, trace: state.trace.clone(), took }),
    }
}

/// Waits until nothing is left of the scenario but the task of the network.
async fn settle(world: &World) -> Result<(), String> {
    let until = Instant::now() + SETTLE;
    while let Some(left) = world.left_behind() {
        if Instant::now() >= until {
            return Err(left);
        }
        sleep(Duration::from_millis(10)).await;
    }
    world.miscounted().map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_count_or_a_range() {
        assert_eq!(parse_range("200"), Ok(0..200));
        assert_eq!(parse_range("50..200"), Ok(50..200));
        for none in ["0", "5..5", "6..5"] {
            let wrong = parse_range(none).unwrap_err();
            assert!(wrong.starts_with(&format!("NETFRAME_SEEDS={none} has no seeds")), "{wrong}");
        }
        for text in ["", "x", "1..", "..5", "1..=5", "-1"] {
            let wrong = parse_range(text).unwrap_err();
            assert!(wrong.starts_with("NETFRAME_SEEDS has "), "{text}: {wrong}");
        }
    }
}
