//! A cache in memory that speaks the text protocol of memcached, as its `doc/protocol.txt` describes
//! it, so that the clients of memcached work with it. [`memcached`](memcached()) makes its factory.
//!
//! ```
//! use netframe_core::testing::replay;
//! use netframe_core::{Factory, Transport, testing::Recorder};
//! use netframe_protocols::memcached::{MemcachedOptions, memcached};
//!
//! let cache = memcached(MemcachedOptions::default())?;
//! let connect = || cache.build_protocol(Recorder::new().info()).expect("nobody is refused");
//! let answered = replay(b"set lang 7 0 4\r\nRust\r\nget lang none\r\n", connect);
//! assert_eq!(answered.written, b"STORED\r\nVALUE lang 7 4\r\nRust\r\nEND\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is served
//!
//! `get`, `gets`, `gat`, `gats`, `set`, `add`, `replace`, `append`, `prepend`, `cas`, `delete`, `incr`,
//! `decr`, `touch`, `flush_all`, `stats`, `version`, `verbosity` (which changes nothing) and `quit`,
//! with `noreply` where memcached has it. Mistakes are answered in memcached's words; and as there a
//! client that sends a value whose end is wrong, or one that is too large, is told so, and its next
//! command is looked for behind as many bytes as it announced.
//!
//! There is neither the binary protocol, whose first byte ends the connection, nor the meta commands,
//! authentication or UDP.
//!
//! # Bounds
//!
//! All items together are at most [`MemcachedOptions::memory`], whatever is stored: the bound is exact.
//! They are kept in up to 16 parts of the same size, each with its own lock and its own order: what
//! makes room is what was used longest ago among the items of the same part. Where an item goes is told
//! by a hash with a random key, so that nobody can send items all of which go to the same place.
//!
//! A key has at most 250 bytes, a value [`MemcachedOptions::max_value`], a command line 2048; but a `get`
//! may have any number of keys, which are answered as they come. A value costs memory as it comes, not
//! when it is announced, and must come within 60 s, or at 1 MiB in each 60 s. An idle connection holds no
//! buffer. A client that asks for much is sent it at the speed at which it reads: its next commands wait,
//! in the middle of a `get` too. After 1024 commands or keys other connections have their turn, and after
//! fewer that add to a large value, which is copied for each.
//!
//! # Time
//!
//! An item goes at its time to the millisecond, as far as anybody can see; what it takes is free when its
//! key is used, or when room is needed. Up to 30 days a time counts from now, and more is a Unix time;
//! the system's clock is read when the cache begins.

mod clock;
mod command;
#[doc(hidden)]
pub(crate) mod fuzz;
mod items;
mod options;
mod service;
mod session;
mod stats;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use netframe_core::{
    CloseReason, ConnectionInfo, Factory, Needs, Protocol, ProtocolError, Result, Transport,
};

use self::service::Service;
use self::session::{Coming, MAX_LINE, Run, Session, Step};
use crate::turn;

pub use self::options::{MemcachedOptions, MemcachedOptionsError};

/// Time in which a value must come, or [`VALUE_PART`] of it.
const VALUE_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a value after which it has the same time again.
const VALUE_PART: usize = 1024 * 1024;

/// Clients look at it to see which commands there are: those of memcached 1.5.
const VERSION: &str = concat!("1.5.22-netframe-", env!("CARGO_PKG_VERSION"));
const VERSION_LINE: &str = concat!("VERSION 1.5.22-netframe-", env!("CARGO_PKG_VERSION"), "\r\n");

/// A factory of [`Memcached`]; all connections it makes share one cache.
///
/// ```no_run
/// # async fn run() -> netframe_core::Result {
/// use netframe_core::Server;
/// use netframe_protocols::memcached::{MemcachedOptions, memcached};
///
/// let cache = memcached(MemcachedOptions::default())?;
/// let server = Server::bind("tcp://127.0.0.1:11211", cache).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// An option cannot be.
pub fn memcached(
    options: MemcachedOptions,
) -> Result<impl Factory<Protocol = Memcached>, MemcachedOptionsError> {
    options.validate()?;
    let service = Arc::new(Service::new(options));
    Ok(move |_: &ConnectionInfo| {
        service.enter();
        Memcached { service: Arc::clone(&service), session: Session::default(), watched: None }
    })
}

/// One connection to a cache. See the [module](self).
#[derive(Debug)]
pub struct Memcached {
    service: Arc<Service>,
    session: Session,
    /// The value that is coming, as it was when its timeout was set.
    watched: Option<Coming>,
}

impl Protocol for Memcached {
    const NEEDS: Needs = Needs::Stream;

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let now = self.service.store.clock().now();
        let mut budget = turn::MESSAGES;
        while !data.is_empty() && t.wants_data() {
            match self.run(t, data, now, &mut budget) {
                Step::More => break,
                Step::Full => {}
                // What was written before it may be as much as the client is to have at once.
                Step::Value if !t.wants_data() => break,
                Step::Value => t.write_bytes(self.session.take_value()),
                Step::Spent => {
                    turn::deliver_again(t);
                    break;
                }
                Step::Quit => t.close(),
                Step::TooLong => {
                    t.write(b"CLIENT_ERROR line too long\r\n");
                    return Err(ProtocolError::new(MemcachedError::LineTooLong).into());
                }
                Step::Binary => {
                    t.write(b"CLIENT_ERROR the binary protocol is not served; use the text protocol\r\n");
                    return Err(ProtocolError::new(MemcachedError::Binary).into());
                }
            }
        }
        self.watch(t);
        if t.is_draining() && !self.session.is_busy() {
            t.close_when_idle();
        }
        Ok(())
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        if data.is_empty() && !self.session.is_busy() {
            t.close();
            return Ok(());
        }
        Err(ProtocolError::new(MemcachedError::UnexpectedEof).into())
    }

    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        let (Some(coming), Some(watched)) = (self.session.coming(), self.watched) else {
            return Ok(()); // it has come meanwhile
        };
        // While nothing is read, as what was answered before is not taken, nothing can come.
        if t.wants_data() && coming.len.saturating_sub(watched.len) < VALUE_PART {
            return Err(ProtocolError::new(MemcachedError::SlowValue).into());
        }
        self.watched = Some(coming);
        t.set_timeout(Some(VALUE_TIMEOUT));
        Ok(())
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        // A value that comes is still taken, and keys that do are answered.
        if !self.session.is_busy() {
            t.close_when_idle();
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        self.service.leave();
    }
}

impl Memcached {
    /// Answers what is in `data`, as far as it goes in one piece.
    fn run(
        &mut self,
        t: &mut dyn Transport,
        data: &mut BytesMut,
        now: clock::Millis,
        budget: &mut usize,
    ) -> Step {
        let (service, session) = (&*self.service, &mut self.session);
        let (mut left, mut step) = (data.len(), Step::More);
        t.with_buffer(&mut |out| {
            let mut run = Run { service, now, input: data, out, budget: *budget };
            step = session.run(&mut run);
            (left, *budget) = (run.input.len(), run.budget);
        });
        data.advance(data.len() - left);
        step
    }

    /// Sets a timeout for a value that comes in pieces, once, and none where there is no such value.
    fn watch(&mut self, t: &mut dyn Transport) {
        let coming = self.session.coming();
        if coming.map(|coming| coming.value) != self.watched.map(|watched| watched.value) {
            self.watched = coming;
            t.set_timeout(coming.map(|_| VALUE_TIMEOUT));
        }
    }
}

/// What ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemcachedError {
    /// A command line has no end.
    #[error("a command line has more than {MAX_LINE} bytes")]
    LineTooLong,
    /// The client speaks the binary protocol.
    #[error(
        "the client speaks the binary protocol, which is not served; have it use the text protocol"
    )]
    Binary,
    /// A value does not come.
    #[error("a value came at less than {VALUE_PART} bytes in {VALUE_TIMEOUT:?}")]
    SlowValue,
    /// The input ends inside a command or its value.
    #[error("the input ended inside a command")]
    UnexpectedEof,
}
