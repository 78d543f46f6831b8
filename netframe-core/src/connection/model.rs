//! The connection core beside a model that is too plain to be wrong: any sequence of operations of
//! a handler, of handles, of the peer and of the driver must do to both the same. For tests and fuzz
//! targets.

mod world;

use crate::close_reason::{CloseKind, Side};
use crate::limits::{Limits, MAX_LINGER};
use crate::transport::Residue;

pub(crate) use self::world::World;

/// What a connection is, in the words of the contract.
#[derive(Debug, Default)]
struct Model {
    queued: usize,
    /// Bytes that were taken for the peer, and those that left.
    accepted: u64,
    sent: u64,
    unsent: u64,
    /// Bytes that came for the protocol, those that it consumed, and those not yet offered to it.
    received: u64,
    consumed: u64,
    ahead: u64,
    discarded: u64,
    lingered: u64,
    closing: bool,
    aborted: bool,
    interrupted: bool,
    overflow: bool,
    fin_wanted: bool,
    fin_sent: bool,
    eof_seen: bool,
    eof_done: bool,
    paused: bool,
    held: bool,
    uncoupled: bool,
    idle_close: bool,
    drained: bool,
    watch_eof: bool,
    unflushed: bool,
    switching: Option<Residue>,
    draining: bool,
    notified: bool,
    timed_out: bool,
    /// The last callback was `notified`.
    noted: bool,
    /// The handler was told that it is to take no more data.
    refused: bool,
    /// What is left over is to be offered again without new bytes.
    owed: bool,
    cause: Option<(Side, CloseKind)>,
    ended: bool,
}

impl Model {
    fn is_writable(&self) -> bool {
        !(self.closing || self.aborted || self.fin_wanted || self.overflow)
    }

    fn wants_data(&self) -> bool {
        let over = self.closing || self.aborted || self.overflow || self.switching.is_some();
        !over && !self.paused && (!self.held || self.uncoupled)
    }

    /// A write of the protocol (rule 6). Says whether it is taken.
    fn write(&mut self, len: usize, limits: &Limits) -> bool {
        if len == 0 {
            return true;
        }
        let room = self.queued <= limits.high_watermark || self.queued + len <= limits.hard_cap;
        if self.is_writable() && room {
            self.queued += len;
            self.accepted += len as u64;
            self.held |= self.queued > limits.high_watermark;
            return true;
        }
        if self.is_writable() {
            self.overflow = true;
            self.cause.get_or_insert((Side::Local, CloseKind::Overflow));
        }
        self.unsent += len as u64;
        false
    }

    fn flushed(&mut self, len: usize, limits: &Limits) {
        self.queued -= len;
        self.sent += len as u64;
        self.held &= self.queued > limits.low_watermark;
    }

    fn close(&mut self) {
        self.close_because(if self.eof_seen {
            (Side::Peer, CloseKind::Eof)
        } else {
            (Side::Local, CloseKind::Closed)
        });
    }

    fn close_because(&mut self, cause: (Side, CloseKind)) {
        if !self.closing && !self.aborted {
            self.cause.get_or_insert(cause);
            self.closing = true;
        }
    }

    fn abort(&mut self, cause: (Side, CloseKind)) {
        self.cause.get_or_insert(cause);
        self.aborted = true;
    }

    fn discard(&mut self, len: usize) {
        self.discarded += len as u64;
        if self.fin_sent {
            self.lingered += len as u64;
            if self.lingered > MAX_LINGER {
                self.abort((Side::Local, CloseKind::Aborted));
            }
        }
    }

    /// A handler returned, with so many bytes left over of those that it was offered.
    fn returned(
        &mut self,
        failed: bool,
        delivered: bool,
        (offered, left, fresh): (usize, usize, bool),
        limits: &Limits,
    ) {
        if self.overflow {
            self.abort((Side::Local, CloseKind::Overflow));
        }
        if failed {
            return self.close_because((Side::Local, CloseKind::Error));
        }
        let wants = self.wants_data();
        let again = !wants || (delivered && self.refused && (fresh || left < offered));
        if delivered {
            self.owed = left > 0 && again;
            if left > limits.max_pending && !again {
                self.close_because((Side::Peer, CloseKind::Limit));
            }
        } else if left > 0 && !wants {
            self.owed = true;
        }
    }

    /// Another protocol took over: what was asked for by the old one is forgotten.
    fn switched(&mut self) {
        (self.paused, self.held, self.uncoupled, self.idle_close) = (false, false, false, false);
        (self.notified, self.timed_out, self.eof_done) = (false, false, false);
        (self.switching, self.owed, self.draining) = (None, true, self.drained);
    }

    /// The core has closed the connection by itself, with this left over. `held_back` says that there may
    /// be more to read.
    fn closes_by_itself(&mut self, leftover: usize, held_back: bool) {
        let nothing_left = leftover == 0 && self.ahead == 0;
        if self.switching == Some(Residue::Reject) && !nothing_left {
            self.close_because((Side::Peer, CloseKind::ProtocolError));
        } else if self.fin_sent && self.eof_done {
            self.close_because((Side::Peer, CloseKind::Eof));
        } else {
            assert!(self.idle_close && nothing_left && self.queued == 0, "it closes by itself");
            assert!(!held_back, "it closes before it has looked for input");
            if self.drained && !self.eof_seen {
                self.close_because((Side::System, CloseKind::Shutdown));
            } else {
                self.close();
            }
        }
    }
}

/// One thing that happens. Those of a handler are done to nothing while none runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Write(usize),
    WriteTwo(usize),
    WriteBytes(usize),
    PollDrain,
    AskWantsData,
    Close,
    CloseWhenIdle,
    Abort,
    CloseWrite,
    Pause,
    Resume,
    SetCoupled(bool),
    Switch(Residue),
    /// The handler waits, and the driver does what it can meanwhile.
    Await,
    /// The handler is done, and leaves so much of what it was offered.
    Return {
        leaves: usize,
        fails: bool,
    },
    Panic,
    HandleWrite(usize),
    /// As `HandleWrite`, but in the middle of the next flush.
    HandleWriteInFlush(usize),
    HandleClose,
    HandleCloseWrite,
    HandleAbort,
    Notify,
    WatchEof,
    TimeOut,
    IdleTimeout,
    WriteStalls,
    Drain,
    ShutDown,
    PeerSends(usize),
    PeerEnds,
    PeerResets,
    PeerReads(usize),
    /// The socket takes nothing more until the peer reads.
    PeerStalls,
    /// Time passes, in ticks of the timer wheel.
    Pass(usize),
    /// The driver runs until there is a handler to run or nothing to do.
    Turn,
}

impl Op {
    /// Reads an operation from any two bytes.
    pub(crate) fn decode(kind: u8, arg: u8) -> Self {
        // Most are about the watermarks; a few are large.
        let len = match arg {
            0..=199 => usize::from(arg),
            200..=249 => usize::from(arg - 199) * 16,
            250..=253 => 20_000,
            254 => 70_000,
            255 => 600_000,
        };
        // What ends a connection is rare, so that much happens before.
        match kind % 64 {
            11 | 13 | 31 | 34 | 36 | 41 | 42 | 44 | 50 if !arg.is_multiple_of(8) => Self::Turn,
            0..=3 | 7 => Self::Write(len),
            4 => Self::WriteTwo(len),
            5 | 6 => Self::WriteBytes(len),
            8 => Self::PollDrain,
            9 | 10 => Self::AskWantsData,
            11 => Self::Close,
            12 => Self::CloseWhenIdle,
            13 => Self::Abort,
            14 => Self::CloseWrite,
            15 | 16 => Self::Pause,
            17 | 18 => Self::Resume,
            19 => Self::SetCoupled(arg.is_multiple_of(2)),
            20 => Self::Switch([Residue::Feed, Residue::Reject, Residue::Discard][len % 3]),
            21 | 22 => Self::Await,
            23..=29 => {
                Self::Return { leaves: if arg.is_multiple_of(2) { 0 } else { len }, fails: false }
            }
            30 => Self::Return { leaves: len, fails: arg.is_multiple_of(8) },
            31 => Self::Panic,
            32 => Self::HandleWrite(len),
            33 => Self::HandleWriteInFlush(len),
            34 => Self::HandleClose,
            35 => Self::HandleCloseWrite,
            36 => Self::HandleAbort,
            37 | 38 => Self::Notify,
            39 => Self::WatchEof,
            40 => Self::TimeOut,
            41 => Self::IdleTimeout,
            42 => Self::WriteStalls,
            43 => Self::Drain,
            44 => Self::ShutDown,
            45..=48 => Self::PeerSends(len),
            49 => Self::PeerEnds,
            50 => Self::PeerResets,
            51..=53 => Self::PeerReads(len),
            54 => Self::PeerStalls,
            55 | 56 => Self::Pass(usize::from(arg % 16)),
            _ => Self::Turn,
        }
    }
}
