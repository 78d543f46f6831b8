//! Users of a pool, through partitions, resets, silence and accept errors, who lose patience, go away
//! half-way, or leave questions unanswered: no connection is too many, and no answer is that of another.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{
    Client, CloseReason, ConnectionInfo, Endpoint, Handle, Limits, Pool, PoolLimits, PoolStats,
    Pooled, Protocol, Result, Transport,
};

use crate::echo::Echo;
use crate::{LONG, SEEDS, serve};

const ENDPOINTS: [&str; 3] = ["sim://a", "sim://b", "sim://c"];
const MAX: usize = 5;
const MAX_PER_ENDPOINT: usize = 3;
const MAX_WAITING: usize = 8;

#[test]
fn bounds_hold_and_answers_are_ones_own() {
    let sums = Cell::new([0; 6]);
    sim::seeds(SEEDS, async |net| {
        let stats = stats_of(net).await;
        let more = [
            stats.failed,
            stats.reused,
            stats.expired,
            stats.evicted,
            stats.found_dead,
            stats.timed_out,
        ];
        sums.set(std::array::from_fn(|i| sums.get()[i] + more[i]));
    });
    let sums = sums.get();
    assert!(
        sums.iter().all(|sum| *sum > 0) || std::env::var("NETFRAME_SEED").is_ok(),
        "something never happens: {sums:?}"
    );
}

pub(crate) async fn crowded(net: SimNetwork) {
    stats_of(net).await;
}

async fn stats_of(net: SimNetwork) -> PoolStats {
    let mut rng = net.rng();
    net.set_conditions(Conditions::random(&mut rng));
    let mut servers = Vec::new();
    for name in ["a", "b", "c"] {
        servers.push(serve(&net, name, |_: &ConnectionInfo| Echo).await);
    }
    let pool = pool(&net);
    let users: Vec<_> = (0..12).map(|_| tokio::spawn(user(pool.clone(), net.clone()))).collect();
    for _ in 0..12 {
        let server = ["a", "b", "c"][rng.usize(0..3)];
        match rng.u8(0..6) {
            0 => net.partition("client", server),
            1 => net.reset(server),
            2 => net.silence(server),
            3 => net.fail_accept(server, [libc::EMFILE, libc::ECONNABORTED][rng.usize(0..2)]),
            _ => net.heal("client", server),
        }
        sleep(Duration::from_millis(rng.u64(0..5000))).await;
        check(&net, &pool);
    }
    for server in ["a", "b", "c"] {
        net.heal("client", server);
    }
    for user in users {
        user.await.unwrap();
    }
    // All is as if nothing had been.
    net.set_conditions(Conditions::default());
    for endpoint in ENDPOINTS {
        let mut attempts = 1..=20;
        while ask(&pool, endpoint, 7).await.is_err() {
            attempts.next().expect("an answer");
        }
    }
    let report = pool.shutdown(Duration::from_secs(60)).await;
    assert!(report.leaks.is_empty(), "{report}");
    assert_eq!(pool.status().total.connections(), 0);
    sleep(Duration::from_secs(1)).await; // its tasks end
    for server in servers {
        server.shutdown(LONG).await;
    }
    pool.status().stats
}

fn pool(net: &SimNetwork) -> Pool<Asker> {
    let mut limits = PoolLimits::default();
    limits.max_connections = MAX;
    limits.max_per_endpoint = MAX_PER_ENDPOINT;
    limits.max_waiting = MAX_WAITING;
    limits.get_timeout = Duration::from_secs(15).into();
    limits.idle_timeout = Duration::from_secs(3).into();
    limits.max_lifetime = Duration::from_secs(9).into();
    let (net, open) = (net.clone(), Open::default());
    let connect = move |endpoint: Endpoint| connect(net.clone(), open.clone(), endpoint);
    Pool::builder(connect).limits(limits).build().unwrap()
}

/// Opens a connection, and says hello on it, which may fail half-way.
async fn connect(net: SimNetwork, open: Open, endpoint: Endpoint) -> Result<Asker> {
    let (answered, answers) = mpsc::unbounded_channel();
    let at = endpoint.to_string();
    let factory = {
        let net = net.clone();
        move |_: &ConnectionInfo| Answers {
            answered: answered.clone(),
            open: open.enter(&net, &at),
        }
    };
    let mut limits = Limits::default();
    limits.close_timeout = Duration::from_secs(2).into();
    let client = Client::builder(net.checked(factory)).network(net.host("client")).limits(limits);
    let mut asker = Asker { client: client.connect(endpoint).await?, answers, pending: 0 };
    timeout(Duration::from_secs(5), asker.ask(0)).await??;
    Ok(asker)
}

async fn user(pool: Pool<Asker>, net: SimNetwork) {
    let mut rng = net.rng();
    for number in 1..20 {
        let endpoint = ENDPOINTS[rng.usize(0..3)];
        let patience = Duration::from_millis([50, 500, 20_000][rng.usize(0..3)]);
        // Whoever loses patience may leave a question without its answer.
        let _ = match rng.u8(0..8) {
            0 => timeout(patience, pool.get(endpoint))
                .await
                .map(|got| got.map(|it| it.close()).is_ok()),
            1 => timeout(patience, pool.get(endpoint))
                .await
                .map(|got| got.map(|it| it.abort()).is_ok()),
            _ => timeout(patience, ask(&pool, endpoint, number)).await.map(|asked| asked.is_ok()),
        };
        check(&net, &pool);
        sleep(Duration::from_millis(rng.u64(0..2000))).await;
    }
}

async fn ask(pool: &Pool<Asker>, endpoint: &str, number: u32) -> Result {
    pool.get(endpoint).await?.ask(number).await
}

fn check(net: &SimNetwork, pool: &Pool<Asker>) {
    let status = pool.status();
    let (total, mut too_many) = (status.total, status.total.connections() > MAX);
    too_many |= total.waiting > MAX_WAITING;
    too_many |= status.endpoints.iter().any(|(_, at)| at.connections() > MAX_PER_ENDPOINT);
    if too_many {
        net.violation(format!("too many: {status:?}"));
    }
}

/// A client that asks one question at a time, and knows whether it was answered.
struct Asker {
    client: Client,
    answers: mpsc::UnboundedReceiver<u32>,
    pending: usize,
}

impl Asker {
    async fn ask(&mut self, number: u32) -> Result {
        self.pending += 1;
        self.client.handle().write(number.to_be_bytes().to_vec()).await?;
        let answer = self.answers.recv().await.ok_or("the connection ended")?;
        self.pending -= 1;
        assert_eq!(answer, number, "the answer of another");
        Ok(())
    }
}

impl Pooled for Asker {
    fn handle(&self) -> Handle {
        self.client.handle()
    }

    fn is_reusable(&self) -> bool {
        self.pending == 0 && self.answers.is_empty()
    }
}

struct Answers {
    answered: mpsc::UnboundedSender<u32>,
    open: Entered,
}

impl Protocol for Answers {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        while let Some((number, _)) = data.split_first_chunk::<4>() {
            // Nobody may listen any more.
            let _ = self.answered.send(u32::from_be_bytes(*number));
            let _ = data.split_to(4);
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        self.open.leave();
    }
}

/// How many connections really are open, by endpoint.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<BTreeMap<String, usize>>>);

struct Entered(Open, String);

impl Open {
    fn enter(&self, net: &SimNetwork, at: &str) -> Entered {
        let mut open = self.0.lock().unwrap();
        *open.entry(at.to_owned()).or_default() += 1;
        if open[at] > MAX_PER_ENDPOINT || open.values().sum::<usize>() > MAX {
            net.violation(format!("too many are open: {open:?}"));
        }
        Entered(self.clone(), at.to_owned())
    }
}

impl Entered {
    fn leave(&mut self) {
        *self.0.0.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}
