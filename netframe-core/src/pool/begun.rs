//! Which connections a connect function has opened so far. One that is given up half-way, such as
//! between the connect and a login, leaves connections that still have to end: until then its place
//! is taken.

use std::sync::{Arc, Mutex, PoisonError};

use crate::handle::Handle;

tokio::task_local! {
    static BEGUN: Begun;
}

/// The connections that were opened by one call of a connect function.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Vec<Handle>>>);

impl Begun {
    /// Runs `dial`, and notes the connections that it opens by itself, not in other tasks.
    pub(super) async fn during<F: Future>(&self, dial: F) -> F::Output {
        BEGUN.scope(self.clone(), dial).await
    }

    /// Those that have not ended.
    pub(super) fn take(&self) -> Vec<Handle> {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        begun.drain(..).filter(|handle| !handle.is_closed()).collect()
    }
}

/// A client opens a connection.
pub(crate) fn begins(handle: &Handle) {
    // An error: no pool dials it.
    let _ = BEGUN.try_with(|begun| {
        begun.0.lock().unwrap_or_else(PoisonError::into_inner).push(handle.clone());
    });
}
