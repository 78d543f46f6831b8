//! What a module of netframe logs. A test that asks for it has a process of its own: whether anybody
//! listens to an event is remembered for all threads, and must not be asked by a test beside it.

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps the level and the text of each event below some modules.
#[derive(Clone)]
pub(crate) struct Log {
    targets: &'static [&'static str],
    events: Arc<Mutex<Vec<String>>>,
}

impl Log {
    pub(crate) fn of(targets: &'static [&'static str]) -> Self {
        Self { targets, events: Arc::default() }
    }

    /// What was logged since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        mem::take(&mut self.events.lock().unwrap())
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && self.targets.iter().any(|of| metadata.target().starts_with(of))
    }

    fn event(&self, event: &Event<'_>) {
        struct Text(String);

        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }

        let mut text = Text(String::new());
        event.record(&mut text);
        self.events.lock().unwrap().push(format!("{} {}", event.metadata().level(), text.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
