//! [`Sim`], [`run`] and [`seeds`]: a scenario from its seed to the checks at its end.

use std::env;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep, timeout};

use super::SimNetwork;
use super::conditions::Conditions;
use super::trace::Trace;
use super::world::World;

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

/// Runs a scenario with `count` seeds, or as many as `NETFRAME_SEEDS` says; with only one if there is
/// a `NETFRAME_SEED`.
///
/// # Panics
///
/// The scenario does, or a check at its end fails; or the variables are no numbers.
pub fn seeds(count: u64, scenario: impl AsyncFn(SimNetwork)) {
    if let Some(seed) = variable("NETFRAME_SEED") {
        return run(seed, &scenario);
    }
    for seed in 0..variable("NETFRAME_SEEDS").unwrap_or(count) {
        run(seed, &scenario);
    }
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

/// One run of a simulation, before it has begun.
///
/// A run fails if
/// - the scenario panics, or takes longer than it may;
/// - something was called a [violation](SimNetwork::violation), as a factory that is
///   [`checked`](SimNetwork::checked) does;
/// - 60 simulated seconds after the scenario's end a task still lives, or somebody holds a stream.
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
        let tail = world.lock().trace.tail(TAIL);
        let text = failed.downcast_ref::<String>().map_or("a panic", |text| text);
        eprintln!("{tail}\nseed {seed} failed: {text}\nto run it again: NETFRAME_SEED={seed}");
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
    let metrics = Handle::current().metrics();
    let until = Instant::now() + SETTLE;
    loop {
        let (tasks, streams) = (metrics.num_alive_tasks(), world.lock().open_streams());
        if tasks <= 1 && streams == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            let tasks = tasks.saturating_sub(1);
            return Err(format!("{tasks} tasks and {streams} streams are left behind"));
        }
        sleep(Duration::from_millis(10)).await;
    }
}
