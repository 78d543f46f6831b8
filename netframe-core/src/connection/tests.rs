//! What only the core itself can show: events that come in the middle of a turn.

mod model;

use std::io;

use super::*;
use crate::below::Sent;
use crate::poller::Readiness;

const READABLE: Readiness =
    Readiness { readable: true, writable: false, read_closed: false, error: false };
const WRITABLE: Readiness =
    Readiness { readable: false, writable: true, read_closed: false, error: false };
const NONE: Blocked = Blocked { read: false, write: false, spent: false };

#[test]
fn input_that_comes_after_a_blocked_read_is_read_in_the_same_turn() {
    let mut core = polled();
    assert_eq!(core.next(NONE, 0), Next::Wait { watch_reset: false });
    core.ready(READABLE);
    assert_eq!(core.next(NONE, 0), Next::Read);
    let blocked = Blocked { read: true, ..NONE };
    core.ready(READABLE); // after the read found nothing, before the driver parks
    assert_eq!(core.next(blocked, 0), Next::Read);
    assert_eq!(core.next(blocked, 0), Next::Wait { watch_reset: false });
}

#[test]
fn room_that_comes_after_a_blocked_write_is_used_in_the_same_turn() {
    let mut core = polled();
    core.write(&[b"bytes"], &Limits::default());
    assert_eq!(core.next(NONE, 0), Next::Flush);
    let queue = core.start_flush();
    core.finish_flush(queue, &Sent::NOTHING, false, &Limits::default()).wake();
    let blocked = Blocked { write: true, ..NONE };
    assert!(core.may_park(blocked));
    core.ready(WRITABLE);
    assert!(!core.may_park(blocked), "not while a handler is pending either");
    assert_eq!(core.next(blocked, 0), Next::Flush);
}

#[test]
fn the_end_of_input_is_tried_once_in_a_turn() {
    let mut core = polled();
    core.ready(Readiness { read_closed: true, ..Readiness::default() });
    assert_eq!(core.next(NONE, 0), Next::Read);
    let blocked = Blocked { read: true, ..NONE };
    assert_eq!(core.next(blocked, 0), Next::Wait { watch_reset: false });
    assert_eq!(core.next(NONE, 0), Next::Read);
}

#[test]
fn notifications_and_input_take_turns() {
    let mut core = polled();
    let mut calls = Vec::new();
    for _ in 0..4 {
        core.notify();
        core.ready(READABLE);
        calls.push(core.next(NONE, 0));
    }
    let notified = Next::Call(Event::Notified);
    assert_eq!(calls, [notified, Next::Read, notified, Next::Read]);
}

#[test]
fn an_idle_close_does_not_take_a_spent_budget_for_silence() {
    let mut core = Core::default();
    core.close_when_idle();
    let blocked = Blocked { read: true, spent: true, ..NONE };
    assert_eq!(core.next(blocked, 0), Next::Wait { watch_reset: false });
    assert_eq!(core.next(Blocked { read: true, ..NONE }, 0), Next::Fin);
}

#[test]
fn an_empty_write_is_no_overflow() {
    let mut core = Core::default();
    let limits = Limits::default();
    core.write(&[&vec![0; limits.hard_cap + 1]], &limits);
    core.write(&[b""], &limits);
    assert!(core.is_writable());
    core.write(&[b"x"], &limits);
    assert!(!core.is_writable());
}

#[test]
fn errors_that_nobody_can_be_told_yet_are_not_hoarded() {
    let mut core = Core::default();
    core.start_datagrams(Setup {
        socket: None,
        peer: Peer::None,
        max_len: 100,
        idle: Idle::Never,
        guarded: false,
        reports: true,
        fed: false,
    });
    core.set_pending(true);
    for _ in 0..1000 {
        core.arrive(Arrival::Failed { error: io::ErrorKind::HostUnreachable.into(), peer: None });
    }
    let told = std::iter::from_fn(|| core.take_arrived(&mut BytesMut::new()).then_some(()));
    assert_eq!(told.count(), 16);
}

fn polled() -> Core {
    let mut core = Core::default();
    core.start_polling();
    core
}
