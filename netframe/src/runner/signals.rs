//! SIGINT and SIGTERM: the first asks the server to end, the second ends the program.

use std::fmt;
use std::io;
use std::process;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::complain;

/// A signal that ends the program.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    /// The exit code of a program that this signal has ended, as shells have it.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Takes over both signals. The receiver gets the first of them; the second ends the process.
///
/// They are waited for on a thread of their own, so that the second one is heard even when a
/// protocol blocks its worker and the reactor cannot end.
pub(super) fn watch() -> io::Result<oneshot::Receiver<Signal>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let context = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(context);
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
        }
    };
    let (first, asked) = oneshot::channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            // Nobody waits for it when the server is ending already.
            let _ = first.send(next().await);
            let signal = next().await;
            complain(format_args!("{signal} again: stopped at once; open connections are cut off"));
            process::exit(signal.exit_code().into());
        })
    })?;
    Ok(asked)
}
