//! What a scenario left behind: nothing may hold a connection, and services are as they began.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::world::World;
use crate::service::{Service, Stats};

impl World {
    /// What is not over yet, if there is anything. `Err` is what can never be over again.
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
    let permits = service.permits.live();
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
