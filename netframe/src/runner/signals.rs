//! Signals: SIGINT and SIGTERM ask the program to end, and the second of them ends it; a server also
//! hears SIGHUP and SIGUSR1.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::process;
use std::task::Poll;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::failure::complain;

/// A signal that the program obeys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Interrupt,
    Terminate,
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGUSR1: tell the counters.
    Report,
}

/// What a client hears. Others do what they do to any program.
pub(super) const OF_CLIENTS: [Signal; 2] = [Signal::Interrupt, Signal::Terminate];

/// What a server hears.
pub(super) const OF_SERVERS: [Signal; 4] =
    [Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::Report];

impl Signal {
    fn kind(self) -> SignalKind {
        match self {
            Self::Interrupt => SignalKind::interrupt(),
            Self::Terminate => SignalKind::terminate(),
            Self::Hangup => SignalKind::hangup(),
            Self::Report => SignalKind::user_defined1(),
        }
    }

    fn ends(self) -> bool {
        matches!(self, Self::Interrupt | Self::Terminate)
    }

    /// The exit code of a program that this signal has ended, as shells have it.
    pub(super) fn exit_code(self) -> u8 {
        128 + self.kind().as_raw_value() as u8
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
            Self::Report => "SIGUSR1",
        })
    }
}

/// Takes these signals over. The receiver gets them up to the first that asks for the end; the
/// second that does ends the process.
///
/// They are waited for on a thread of their own, so that the second one is heard even when a
/// protocol blocks its worker and the reactor cannot end.
pub(super) fn watch(signals: &[Signal]) -> io::Result<UnboundedReceiver<Signal>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let context = runtime.enter();
    let mut streams = Vec::new();
    for kind in signals {
        streams.push((*kind, signal(kind.kind())?));
    }
    drop(context);
    let mut next = async move || {
        poll_fn(|cx| {
            for (signal, stream) in &mut streams {
                if stream.poll_recv(cx).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    };
    let (heard, receiver) = unbounded_channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut asked = false;
            loop {
                let signal = next().await;
                if signal.ends() && std::mem::replace(&mut asked, true) {
                    complain(format_args!(
                        "{signal} again: stopped at once; open connections are cut off"
                    ));
                    process::exit(signal.exit_code().into());
                }
                // Nobody waits for it when the program is ending already.
                let _ = heard.send(signal);
            }
        })
    })?;
    Ok(receiver)
}
