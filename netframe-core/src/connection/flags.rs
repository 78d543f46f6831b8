//! The phases and requests of a connection as bits of one word.

use std::fmt;
use std::ops::BitOr;

/// A set of flags.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(u64);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Flags {
            $($(#[$doc])* pub(crate) const $name: Self = Self(1 << $bit);)*
        }

        impl fmt::Debug for Flags {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut set = f.debug_set();
                $(if self.any(Self::$name) { set.entry(&format_args!(stringify!($name))); })*
                set.finish()
            }
        }
    };
}

flags! {
    /// `close` was called, or something else ends the connection in order.
    CLOSING = 0;
    /// The connection is over: nothing is sent or delivered any more.
    ABORTED = 1;
    /// The transport below failed; a reset of ours would be pointless.
    IO_FAILED = 2;
    /// The cause of the close does not wait for a pending handler.
    INTERRUPT = 3;
    /// A write went beyond the hard cap; the handler's next return or await ends the connection.
    OVERFLOW = 4;
    /// `close_write` was called.
    FIN_WANTED = 5;
    /// Our FIN has left.
    FIN_SENT = 6;
    /// The peer's FIN has been read.
    EOF_SEEN = 7;
    /// `eof_received` has been called.
    EOF_DONE = 8;
    /// `pause_reading` is in force.
    PAUSED = 9;
    /// The queue went above the high watermark and is not yet at the low one.
    HELD = 10;
    /// Reading does not wait for the queue.
    UNCOUPLED = 11;
    /// `wants_data` said no during this handler.
    REFUSED = 12;
    /// The leftover is to be delivered again, without new bytes.
    REDELIVER = 13;
    /// `notified` is to be called.
    NOTIFIED = 14;
    /// `timed_out` is to be called.
    TIMED_OUT = 15;
    /// `draining` is to be called.
    DRAINING = 16;
    /// The service drains.
    DRAINED = 17;
    /// Close as soon as there is nothing to do.
    IDLE_CLOSE = 18;
    /// Another protocol takes over.
    SWITCHING = 19;
    /// A stream waits for bytes.
    PULL = 20;
    /// Somebody waits for the peer's FIN.
    WATCH_EOF = 21;
    /// The driver waits to be woken.
    PARKED = 22;
    /// A byte moved since the timer last looked.
    ACTIVE = 23;
    /// A byte left since the timer last looked.
    PROGRESS = 24;
    /// The transport below did not take the whole queue.
    STALLED = 25;
    /// A deadline is to be set or moved: the driver knows the time.
    ARM = 26;
    /// The layer below may hold back bytes that it took.
    UNFLUSHED = 27;
    /// A byte moved since the service began to drain.
    MOVED = 28;
    /// The linger of a drain was long enough, or none is needed: the end is no reset.
    LINGERED = 29;
    /// The socket is polled by the home: it is read and written only when it is ready.
    POLLED = 30;
    /// A polled socket has input, as far as is known.
    READABLE = 31;
    /// A polled socket takes output, as far as is known.
    WRITABLE = 32;
    /// A polled socket's input ends with a FIN or a reset, which is told only once.
    READ_CLOSED = 33;
    /// A polled socket is broken.
    BROKEN = 34;
    /// The last callback was `notified`.
    NOTED = 35;
    /// The transport below carries datagrams.
    DATAGRAM = 36;
    /// Input is handed in by whoever reads from the socket; the driver never reads.
    FED = 37;
    /// A handler waits.
    PENDING = 38;
    /// A stream was given bytes since it last wrote.
    HEARD = 39;
    /// A drain does not end the input of a stream.
    STAYS = 40;
    /// The drain has ended the input of a stream.
    DRAIN_EOF = 41;
    /// A close was cut off by its timeout.
    CLOSE_TIMED_OUT = 42;
    /// The peer has begun a message that is not complete.
    MESSAGE = 43;
    /// It began since the timer last looked, or could not go on.
    MESSAGE_NEW = 44;
    /// Shaping lets nothing be read for now.
    READ_HELD_BACK = 45;
    /// Shaping lets nothing be sent for now.
    WRITE_HELD_BACK = 46;
    /// What a handler reads by itself comes too slowly; it has not been told yet.
    LATE = 47;
}

impl Flags {
    pub(crate) fn any(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    pub(crate) fn all(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    pub(crate) fn set(&mut self, flags: Self) {
        self.0 |= flags.0;
    }

    pub(crate) fn unset(&mut self, flags: Self) {
        self.0 &= !flags.0;
    }

    pub(crate) fn put(&mut self, flags: Self, on: bool) {
        if on { self.set(flags) } else { self.unset(flags) }
    }

    /// Sets the flag if `on`, and else leaves it as it is.
    pub(crate) fn put_if(&mut self, flag: Self, on: bool) {
        if on {
            self.set(flag);
        }
    }

    /// Unsets the flag and says whether it was set.
    pub(crate) fn take(&mut self, flag: Self) -> bool {
        let was = self.any(flag);
        self.unset(flag);
        was
    }

    /// Unsets all others.
    pub(crate) fn keep(&mut self, flags: Self) {
        self.0 &= flags.0;
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
