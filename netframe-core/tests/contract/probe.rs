//! [`Probe`]: a protocol that logs every callback and does in it what a test says. A test reads the
//! log through [`Events`].

use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use netframe_core::bytes::BytesMut;
use netframe_core::{
    BoxFuture, CloseKind, CloseReason, ConnectionInfo, Factory, Handle, Protocol, Result, Side,
    Transport,
};

/// Sends everything back.
pub(crate) struct Echo;

impl Protocol for Echo {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

pub(crate) fn echo(_: &ConnectionInfo) -> Echo {
    Echo
}

type Hook = Arc<dyn for<'a> Fn(&'a mut dyn Transport) -> BoxFuture<'a, Result> + Send + Sync>;
type DataHook = Arc<
    dyn for<'a> Fn(&'a mut dyn Transport, &'a mut BytesMut) -> BoxFuture<'a, Result> + Send + Sync,
>;
type LostHook = Arc<dyn Fn(&CloseReason) + Send + Sync>;

/// A factory of protocols that log their callbacks, and do nothing else unless told to.
#[derive(Clone)]
pub(crate) struct Probe {
    log: Log,
    made: Hook,
    data: DataHook,
    eof: DataHook,
    notified: Hook,
    timed_out: Hook,
    draining: Hook,
    lost: LostHook,
}

impl Probe {
    pub(crate) fn new() -> (Self, Events) {
        let (log, events) = mpsc::unbounded_channel();
        let probe = Self {
            log: Log(log),
            made: Arc::new(|_| done(())),
            data: Arc::new(|_, data| done(data.clear())),
            eof: Arc::new(|t, _| done(t.close())),
            notified: Arc::new(|_| done(())),
            timed_out: Arc::new(|t| done(t.close())),
            draining: Arc::new(|t| done(t.close_when_idle())),
            lost: Arc::new(|_| ()),
        };
        (probe, Events(events))
    }

    /// For notes of the test's own between the callbacks.
    pub(crate) fn log(&self) -> Log {
        self.log.clone()
    }

    pub(crate) fn on_made<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut dyn Transport) -> BoxFuture<'a, Result> + Send + Sync + 'static,
    {
        self.made = Arc::new(hook);
        self
    }

    pub(crate) fn on_data<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut dyn Transport, &'a mut BytesMut) -> BoxFuture<'a, Result>
            + Send
            + Sync
            + 'static,
    {
        self.data = Arc::new(hook);
        self
    }

    pub(crate) fn on_eof<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut dyn Transport, &'a mut BytesMut) -> BoxFuture<'a, Result>
            + Send
            + Sync
            + 'static,
    {
        self.eof = Arc::new(hook);
        self
    }

    pub(crate) fn on_notified<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut dyn Transport) -> BoxFuture<'a, Result> + Send + Sync + 'static,
    {
        self.notified = Arc::new(hook);
        self
    }

    pub(crate) fn on_timed_out<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut dyn Transport) -> BoxFuture<'a, Result> + Send + Sync + 'static,
    {
        self.timed_out = Arc::new(hook);
        self
    }

    pub(crate) fn on_draining<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut dyn Transport) -> BoxFuture<'a, Result> + Send + Sync + 'static,
    {
        self.draining = Arc::new(hook);
        self
    }

    pub(crate) fn on_lost(mut self, hook: impl Fn(&CloseReason) + Send + Sync + 'static) -> Self {
        self.lost = Arc::new(hook);
        self
    }
}

/// The outcome of a hook that has nothing to wait for.
pub(crate) fn done<'a>((): ()) -> BoxFuture<'a, Result> {
    Box::pin(std::future::ready(Ok(())))
}

/// A hook that fails.
pub(crate) fn fail<'a>(text: &'static str) -> BoxFuture<'a, Result> {
    Box::pin(std::future::ready(Err(text.into())))
}

impl Factory for Probe {
    type Protocol = Self;

    fn build_protocol(&self, _: &ConnectionInfo) -> Option<Self> {
        Some(self.clone())
    }
}

impl Protocol for Probe {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.log.send(Seen::Made(t.handle()));
        (self.made)(t).await
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.log.send(Seen::Data(data.to_vec()));
        (self.data)(t, data).await
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.log.send(Seen::Eof(data.to_vec()));
        (self.eof)(t, data).await
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        self.log.note("notified");
        (self.notified)(t).await
    }

    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        self.log.note("timed_out");
        (self.timed_out)(t).await
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        self.log.note("draining");
        (self.draining)(t).await
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.log.send(Seen::Lost(reason.clone()));
        (self.lost)(reason);
    }
}

/// What a probe saw, or a note of the test's own.
#[derive(Debug)]
pub(crate) enum Seen {
    Made(Handle),
    Data(Vec<u8>),
    Eof(Vec<u8>),
    Lost(CloseReason),
    Note(&'static str),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(_) => f.write_str("made"),
            Self::Data(data) => write!(f, "data {}", data.escape_ascii()),
            Self::Eof(data) => write!(f, "eof {}", data.escape_ascii()),
            Self::Lost(reason) => write!(f, "lost {} by {}", reason.kind(), reason.by()),
            Self::Note(note) => f.write_str(note),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Log(mpsc::UnboundedSender<Seen>);

impl Log {
    pub(crate) fn note(&self, note: &'static str) {
        self.send(Seen::Note(note));
    }

    /// A guard that notes its drop.
    pub(crate) fn on_drop(&self, note: &'static str) -> OnDrop {
        OnDrop(self.clone(), note)
    }

    fn send(&self, seen: Seen) {
        // The test may have stopped to listen.
        let _ = self.0.send(seen);
    }
}

pub(crate) struct OnDrop(Log, &'static str);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// The log of all connections of a probe.
pub(crate) struct Events(mpsc::UnboundedReceiver<Seen>);

impl Events {
    pub(crate) async fn next(&mut self) -> Seen {
        self.0.recv().await.expect("some probe is left to log")
    }

    /// Expects that this happens next.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move { assert_eq!(self.next().await.to_string(), text, "at {caller}") }
    }

    /// Expects a new connection.
    pub(crate) async fn made(&mut self) -> Handle {
        match self.next().await {
            Seen::Made(handle) => handle,
            other => panic!("expected a new connection, not `{other}`"),
        }
    }

    /// The end of a connection, whatever comes before.
    pub(crate) async fn lost(&mut self) -> CloseReason {
        self.until_lost().await.1
    }

    /// What comes before the end of a connection, and the end.
    pub(crate) async fn until_lost(&mut self) -> (Vec<String>, CloseReason) {
        let mut before = Vec::new();
        loop {
            match self.next().await {
                Seen::Lost(reason) => return (before, reason),
                other => before.push(other.to_string()),
            }
        }
    }

    /// What has happened since, without waiting.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).map(|seen| seen.to_string()).collect()
    }
}

/// Who ended a connection, and how.
pub(crate) fn why(reason: &CloseReason) -> (Side, CloseKind) {
    (reason.by(), reason.kind())
}
