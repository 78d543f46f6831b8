//! One thread of a reactor, with its runtime.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::{mpsc, oneshot};

use crate::error::Error;
use crate::inbox::Inbox;
use crate::server::{ReadyServer, ServerPart};

/// One thread with its runtime; it ends when this is dropped.
pub(super) struct Worker {
    link: Link,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker does for the reactor, inside of its runtime.
type Job = Box<dyn FnOnce() + Send>;

impl Worker {
    pub(super) fn spawn(index: usize) -> io::Result<Self> {
        let runtime = runtime()?;
        let inbox = Arc::new(Inbox::default());
        let (jobs, mut todo) = mpsc::unbounded_channel::<Job>();
        let reader = Arc::clone(&inbox);
        let thread = thread::Builder::new().name(format!("netframe-{index}")).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(reader.run());
                while let Some(job) = todo.recv().await {
                    job();
                }
            });
        })?;
        let link = Link { jobs: jobs.downgrade(), inbox };
        Ok(Self { link, jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) fn link(&self) -> Link {
        self.link.clone()
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.link.inbox)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // An error is a panic of the thread, which has been printed.
            let _ = thread.join();
        }
    }
}

/// A worker for those who do not own it.
#[derive(Clone)]
pub(super) struct Link {
    jobs: mpsc::WeakUnboundedSender<Job>,
    inbox: Arc<Inbox>,
}

impl Link {
    /// Starts a server's part on the worker.
    pub(super) async fn start(
        &self,
        server: &Arc<ReadyServer>,
        failed: &mpsc::Sender<io::Error>,
    ) -> Result<ServerPart, Error> {
        let (done, started) = oneshot::channel();
        let (server, failed, inbox) = (Arc::clone(server), failed.clone(), Arc::clone(&self.inbox));
        let job: Job = Box::new(move || {
            // Nobody listens only when the reactor has given up already.
            let _ = done.send(server.start(Some(inbox), &failed));
        });
        let gone = || Error::Worker { source: io::ErrorKind::BrokenPipe.into() };
        self.jobs.upgrade().and_then(|jobs| jobs.send(job).ok()).ok_or_else(gone)?;
        started.await.map_err(|_| gone())?
    }
}

pub(super) fn runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}
