//! What threads do to each other, in many orders. A wake-up that is lost shows as a deadlock, which
//! the scheduler reports with the order that led to it.

use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use shuttle::future::block_on;
use shuttle::sync::atomic::AtomicUsize;
use shuttle::thread;
use tokio::time::Instant;

use crate::budget::Process;
use crate::connection::{Blocked, Event, Next};
use crate::group::{Group, GroupLimits, Policy};
use crate::handle::Handle;
use crate::inbox::Inbox;
use crate::limits::{Limits, Quota};
use crate::mailbox::{Mailbox, TrySendError};
use crate::service::{Count, Service};
use crate::shaping::Shaping;
use crate::shared::Shared;
use crate::testing::Recorder;
use crate::transport::Transport;

/// Orders that are tried of each test, half of them at random.
const ORDERS: usize = 2000;

fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(test, ORDERS / 2);
    shuttle::check_pct(test, ORDERS / 2, 4);
}

#[test]
fn permits_are_exact_and_nobody_waits_for_ever() {
    check(|| {
        let process = Arc::new(Process { connections: Some(Count::new(2)), queued: None });
        let live: Arc<[AtomicUsize; 3]> = Arc::default();
        let services = [2, 1].map(|max_connections| {
            let limits = Limits { max_connections, ..Limits::default() };
            Service::of_process("service", limits, Bytes::new(), Arc::clone(&process))
        });
        let threads: Vec<_> = [0, 0, 0, 1, 1]
            .into_iter()
            .map(|which| {
                let (service, live) = (Arc::clone(&services[which]), Arc::clone(&live));
                thread::spawn(move || {
                    block_on(service.permits.with_permit(async {}));
                    // The last one counts those of both services.
                    for (which, max) in [(which, service.limits.max_connections), (2, 2)] {
                        assert!(live[which].fetch_add(1, Ordering::SeqCst) < max, "too many");
                    }
                    for which in [which, 2] {
                        live[which].fetch_sub(1, Ordering::SeqCst);
                    }
                    service.permits.release();
                })
            })
            .collect();
        join(threads);
        assert!(services[0].permits.try_acquire() && services[1].permits.try_acquire());
        assert!(!services[0].permits.try_acquire(), "the process is full");
    });
}

#[test]
fn a_permit_is_not_lost_with_an_acceptor_that_waits_for_the_network() {
    check(|| {
        let limits = Limits { max_connections: 1, ..Limits::default() };
        let service = Service::new("service", limits);
        let threads = (0..3).map(|_| {
            let service = Arc::clone(&service);
            thread::spawn(move || {
                let mut waited = false;
                // Pending once, with a wake-up to come: the permit is given back meanwhile.
                let attempt = poll_fn(|cx| {
                    if std::mem::replace(&mut waited, true) {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                });
                block_on(service.permits.with_permit(attempt));
                service.permits.release();
            })
        });
        join(threads.collect());
        assert!(service.permits.try_acquire());
    });
}

#[test]
fn connections_share_a_bucket_and_lose_no_byte_of_it() {
    check(|| {
        let limits = Limits { service_read_rate: Quota::AtMost(6), ..Limits::default() };
        let shaping = Shaping::new(&limits).unwrap();
        let now = Instant::now();
        let threads: Vec<_> = (1..=3)
            .map(|unused| {
                let [mut lane, _] = shaping.lanes(now);
                thread::spawn(move || {
                    let mut moved = 0;
                    for _ in 0..2 {
                        // Who finds nothing queues for a turn, and gives it back at its end.
                        if let Ok(bytes) = lane.take(4, now) {
                            let bytes = bytes.saturating_sub(unused);
                            lane.moved(bytes, true);
                            moved += bytes;
                        }
                    }
                    moved
                })
            })
            .collect();
        let moved: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(moved <= 6, "{moved} of 6 bytes");
        let [mut lane, _] = shaping.lanes(now);
        assert_eq!(lane.take(100, now).unwrap_or(0), 6 - moved, "the others are back");
    });
}

#[test]
fn an_inbox_loses_no_wake_up() {
    check(|| {
        let inbox = Arc::new(Inbox::default());
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let (inbox, woken) = (Arc::clone(&inbox), Arc::clone(&woken));
                thread::spawn(move || {
                    let waker = || Waker::from(Arc::clone(&woken));
                    if number == 0 {
                        inbox.wake_all(&mut vec![waker(), waker()]);
                    } else {
                        inbox.wake(waker());
                    }
                })
            })
            .collect();
        let mut run = pin!(Arc::clone(&inbox).run());
        block_on(poll_fn(|cx| {
            assert!(run.as_mut().poll(cx).is_pending());
            if woken.0.load(Ordering::SeqCst) == 4 { Poll::Ready(()) } else { Poll::Pending }
        }));
        join(threads);
    });
}

#[test]
fn a_mailbox_delivers_all_of_each_sender_in_order() {
    check(|| {
        let mut t = Recorder::new();
        let shared = Arc::clone(t.handle().shared());
        let one = NonZeroUsize::MIN;
        let (mut mailbox, sender) = Mailbox::new(t.handle(), one);
        let threads = (0..2).map(|number| {
            let sender = sender.clone();
            thread::spawn(move || {
                for count in 0..2 {
                    block_on(sender.send((number, count))).unwrap();
                }
            })
        });
        let threads = threads.collect();
        let mut seen = [0; 2];
        while seen != [2; 2] {
            notified(&shared);
            while let Some((number, count)) = mailbox.pop() {
                assert_eq!(seen[number], count, "out of order");
                seen[number] += 1;
            }
        }
        join(threads);
    });
}

#[test]
fn nobody_waits_for_a_mailbox_that_is_gone() {
    check(|| {
        let mut t = Recorder::new();
        let (mut mailbox, sender) = Mailbox::new(t.handle(), NonZeroUsize::MIN);
        let threads = (0..2).map(|_| {
            let sender = sender.clone();
            thread::spawn(move || {
                for _ in 0..3 {
                    match block_on(sender.send(())) {
                        Ok(()) => {}
                        Err(TrySendError::Closed(())) => return,
                        Err(TrySendError::Full(())) => panic!("it waits for room"),
                    }
                }
            })
        });
        let threads = threads.collect();
        mailbox.pop();
        drop(mailbox);
        join(threads);
        assert!(sender.is_closed());
    });
}

#[test]
fn a_group_has_all_messages_for_all_members_in_one_order() {
    check(|| {
        let group = Group::new(GroupLimits { max_backlog: 10_000 });
        let limits = Limits { low_watermark: 1, high_watermark: 2, ..Limits::default() };
        let members: Vec<_> = [Policy::Disconnect, Policy::DropOldest, Policy::KeepLatest]
            .into_iter()
            .map(|policy| {
                let mut t = Recorder::with_limits(limits.clone());
                let member = group.join(t.handle(), policy);
                thread::spawn(move || {
                    let mut seen = Vec::new();
                    while seen.len() < 12 {
                        seen.extend(read(&mut t));
                    }
                    assert_eq!(member.missed(), 0);
                    drop(member);
                    seen
                })
            })
            .collect();
        let senders = (0..2).map(|sender| {
            let group = group.clone();
            thread::spawn(move || {
                for count in 0..2 {
                    group.try_send(vec![b'a' + 2 * sender + count; 3]);
                }
            })
        });
        join(senders.collect());
        let seen = members.into_iter().map(|member| member.join().unwrap());
        let seen: Vec<_> = seen.collect();
        assert!(seen.iter().all(|other| *other == seen[0]), "{seen:?}");
        let place = |byte: u8| seen[0].iter().position(|other| *other == byte);
        assert!(place(b'a') < place(b'b') && place(b'c') < place(b'd'), "a sender's own order");
        assert_eq!(group.stats().backlog, 0, "nothing waits for nobody");
    });
}

#[test]
fn a_member_that_leaves_holds_up_nobody() {
    check(|| {
        let group = Group::new(GroupLimits { max_backlog: 10_000 });
        let limits = Limits { low_watermark: 1, high_watermark: 2, ..Limits::default() };
        let mut slow = Recorder::with_limits(limits.clone());
        let mut other = Recorder::with_limits(limits);
        let leaves = group.join(slow.handle(), Policy::DropOldest);
        let stays = group.join(other.handle(), Policy::DropOldest);
        let sender = {
            let group = group.clone();
            thread::spawn(move || {
                for count in 0..3 {
                    group.try_send(vec![count; 3]);
                }
            })
        };
        let leaver = thread::spawn(move || drop((leaves, slow)));
        let mut seen = Vec::new();
        while seen.len() < 9 {
            seen.extend(read(&mut other));
        }
        assert_eq!(seen, [0, 0, 0, 1, 1, 1, 2, 2, 2]);
        join(vec![sender, leaver]);
        assert_eq!((group.stats().backlog, group.len()), (0, 1));
        drop(stays);
    });
}

#[test]
fn a_handle_that_writes_is_woken_by_room_and_by_the_end() {
    check(|| {
        let limits = Limits { low_watermark: 1, high_watermark: 2, ..Limits::default() };
        let mut t = Recorder::with_limits(limits);
        let writers = [t.handle(), t.handle()].map(|handle: Handle| {
            thread::spawn(move || {
                while block_on(handle.write(&b"abc"[..])).is_ok() {}
                assert!(handle.try_write(&b"x"[..]).is_err());
            })
        });
        let mut seen = 0;
        while seen < 12 {
            seen += read(&mut t).len();
        }
        t.handle().close();
        join(writers.into());
    });
}

/// Counts how often it is woken.
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits, as a driver does, until there is something to send, and sends it.
fn read(t: &mut Recorder) -> Vec<u8> {
    let shared = Arc::clone(t.handle().shared());
    block_on(poll_fn(|cx| park_until(&shared, cx, Next::Flush)));
    t.take_written().to_vec()
}

/// Waits, as a driver does, until `notified` is to be called.
fn notified(shared: &Shared) {
    block_on(poll_fn(|cx| park_until(shared, cx, Next::Call(Event::Notified))));
}

fn park_until(shared: &Shared, cx: &Context<'_>, wanted: Next) -> Poll<()> {
    let mut core = shared.lock();
    match core.next(Blocked { read: true, write: false, spent: false }, 0) {
        next if next == wanted => Poll::Ready(()),
        Next::Wait { .. } => {
            core.park(cx.waker());
            Poll::Pending
        }
        other => panic!("{other:?}, expected {wanted:?}"),
    }
}

fn join(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("a panic of a thread ends the test by itself");
    }
}
