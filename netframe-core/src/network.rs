//! [`Network`]: where the names of endpoints live that are no addresses of this machine.

use std::sync::Arc;

use crate::service::Service;
#[cfg(feature = "sim")]
use crate::testing::sim::SimNetwork;
use crate::transport::mem::MemNetwork;

/// Where the names of `mem://` live, and in a simulation those of `sim://`.
///
/// A [`MemNetwork`] or a `SimNetwork` becomes one, so that builders take either; the default has the
/// `mem://` names of the process.
#[derive(Clone, Debug)]
pub struct Network {
    pub(crate) mem: MemNetwork,
    #[cfg(feature = "sim")]
    pub(crate) sim: Option<SimNetwork>,
}

impl Network {
    /// Has a simulation check what is left of a service in the end.
    pub(crate) fn watch(&self, service: &Arc<Service>) {
        #[cfg(feature = "sim")]
        if let Some(sim) = &self.sim {
            sim.watch(service);
        }
        #[cfg(not(feature = "sim"))]
        let _ = service;
    }
}

impl Default for Network {
    fn default() -> Self {
        MemNetwork::global().into()
    }
}

impl From<MemNetwork> for Network {
    fn from(mem: MemNetwork) -> Self {
        Self {
            mem,
            #[cfg(feature = "sim")]
            sim: None,
        }
    }
}

/// The simulated network, and a memory network of its own.
#[cfg(feature = "sim")]
impl From<SimNetwork> for Network {
    fn from(sim: SimNetwork) -> Self {
        Self { mem: sim.mem(), sim: Some(sim) }
    }
}
