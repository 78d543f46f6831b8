//! What a scenario left behind: nothing may hold a connection, and services are as they began.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::world::World;
use crate::service::{Service, Stats};

impl World {
    /// What is not over yet, if there is anything.
    pub(super) fn left_behind(&self) -> Option<String> {
        let tasks = Handle::current().metrics().num_alive_tasks().saturating_sub(1); // the network's
        let state = self.lock();
        let streams = state.open_streams();
        if tasks > 0 || streams > 0 {
            return Some(format!("{tasks} tasks and {streams} streams are left behind"));
        }
        if state.protocols > 0 {
            return Some(format!("{} protocols are left behind", state.protocols));
        }
        state.services.iter().find_map(held)
    }

    /// What is wrong with what services have counted, once all is over.
    pub(super) fn miscounted(&self) -> Option<String> {
        self.lock().services.iter().find_map(|service| miscount(service))
    }
}

/// What is held of a service that is over.
fn held(service: &Arc<Service>) -> Option<String> {
    let name = &service.name;
    let permits = service.permits.taken();
    if permits > 0 {
        return Some(format!("{permits} permits of {name} are left behind"));
    }
    let queued = service.permits.budget().map_or(0, |budget| budget.used());
    if queued > 0 {
        return Some(format!("{queued} queued bytes of {name} are left behind"));
    }
    // Its homes, and with them connections, sessions and their handles; one is the simulation's.
    let holders = Arc::strong_count(service) - 1;
    (holders > 0).then(|| format!("{name} is over, but {holders} still hold it"))
}

fn miscount(service: &Service) -> Option<String> {
    let name = &service.name;
    let stats = Stats::new(service, []);
    let ended: u64 = stats.closed_by_kind().map(|(_, count)| count).sum();
    if ended != stats.accepted {
        return Some(format!("{name} began {} connections and ended {ended}", stats.accepted));
    }
    let (queue, cap) = (stats.highest_queue, service.limits.hard_cap);
    (queue > cap).then(|| format!("{queue} B were queued by {name}, above its cap of {cap} B"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use bytes::BytesMut;
    use tokio::io::AsyncReadExt;
    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep, timeout};

    use crate::budget::{Budget, Process};
    use crate::close_reason::CloseKind;
    use crate::info::ConnectionInfo;
    use crate::io::Io;
    use crate::limits::Limits;
    use crate::protocol::{Protocol, Result};
    use crate::server::Server;
    use crate::service::Stats;
    use crate::testing::sim::{Conditions, SimNetwork, seeds};
    use crate::transport::Transport;

    #[test]
    fn queues_stay_within_the_budget_of_the_process_which_gets_all_of_it_back() {
        let overflows = Cell::new(0);
        seeds(20, async |net| overflows.set(overflows.get() + slow_readers(net).await));
        assert!(overflows.get() > 0 || std::env::var("NETFRAME_SEED").is_ok(), "it is never full");
    }

    const MAX_QUEUED: usize = 20_000;

    /// Writes more each time its timer passes.
    struct Writes(fastrand::Rng);

    impl Protocol for Writes {
        async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
            self.timed_out(t).await
        }

        async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
            data.clear();
            Ok(())
        }

        async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
            if t.wants_data() {
                t.write(&vec![7; self.0.usize(0..3000)]);
            }
            t.set_timeout(Some(Duration::from_millis(self.0.u64(1..200))));
            Ok(())
        }
    }

    /// Returns how many connections had to go.
    async fn slow_readers(net: SimNetwork) -> u64 {
        let mut rng = net.rng();
        let mut conditions = Conditions::random(&mut rng);
        conditions.capacity = 300;
        net.set_conditions(conditions);
        let mut limits = Limits::default();
        (limits.high_watermark, limits.low_watermark, limits.hard_cap) = (8000, 2000, 12_000);
        let writes = {
            let net = net.clone();
            net.clone().checked(move |_: &ConnectionInfo| Writes(net.rng()))
        };
        let process = Process { connections: None, queued: Some(Budget::new(MAX_QUEUED)) };
        let server = Server::builder(writes).network(net.clone()).limits(limits);
        let server = server.listen("sim://server").unwrap();
        let ready = server.prepare(&mut Vec::new(), process.into()).await.unwrap();
        let (failed, _failures) = mpsc::channel(1);
        let part = ready.start(None, &failed).unwrap();
        ready.accept();
        let names: Vec<_> = (0..6).map(|number| format!("peer{number}")).collect();
        let readers: Vec<_> = names.iter().map(|name| tokio::spawn(read(net.host(name)))).collect();
        let watch = async {
            for _ in 0..200 {
                sleep(Duration::from_millis(10)).await;
                let connections = part.home().connections();
                let queued: usize = connections.iter().map(|one| one.lock().queued()).sum();
                assert!(queued <= MAX_QUEUED, "{queued} B wait");
            }
        };
        tokio::join!(biased; net.trouble("server", &names, 5), watch);
        part.stop();
        part.accepted().await;
        let overflows = Stats::new(&ready.service, []).closed(CloseKind::Overflow);
        part.drain(Instant::now() + Duration::from_secs(5)).await;
        for reader in readers {
            reader.await.unwrap();
        }
        overflows
    }

    /// Reads slowly, or not at all, for a while.
    async fn read(net: SimNetwork) {
        let mut rng = net.rng();
        let Ok(mut stream) = net.connect("server").await else { return };
        let reads = rng.u8(0..3) > 0;
        let read = async {
            while reads && stream.read(&mut [0; 1000]).await.is_ok_and(|len| len > 0) {
                sleep(Duration::from_millis(rng.u64(0..100))).await;
            }
            sleep(Duration::from_secs(10)).await;
        };
        let _ = timeout(Duration::from_secs(100), read).await;
        stream.set_abort();
    }
}
