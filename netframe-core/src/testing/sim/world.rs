//! [`World`]: the state of a simulated network, and the task that lets what is under way arrive.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use fastrand::Rng;
use tokio::time::{Instant, sleep_until};

use super::conditions::{Conditions, hits};
use super::ledger::{EndId, Ledger};
use super::listener::Listening;
use super::socket::{Flying, Mailbox};
use super::trace::Trace;
use crate::service::Service;

/// The address of the first host that gets one.
const FIRST_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// A simulated network, shared by everything that is in it.
pub(super) struct World {
    state: Mutex<State>,
}

/// Two hosts, the lesser name first.
type Pair = [Arc<str>; 2];

pub(super) struct State {
    pub(super) rng: Rng,
    started: Instant,
    pub(super) conditions: Conditions,
    links: BTreeMap<Pair, Conditions>,
    partitions: BTreeSet<Pair>,
    pub(super) listeners: BTreeMap<String, Listening>,
    pub(super) connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    /// Of each connection there has been, by its number less one.
    ledgers: Vec<[Ledger; 2]>,
    pub(super) services: Vec<Arc<Service>>,
    /// Protocols that are checked and live.
    pub(super) protocols: usize,
    pub(super) sockets: BTreeMap<SocketAddr, Mailbox>,
    /// Hosts that have an address in place of their name, in the order in which they got it.
    hosts: Vec<Arc<str>>,
    /// What arrives when. The number keeps those of one time in order.
    agenda: BTreeMap<(Instant, u64), Event>,
    next_event: u64,
    pub(super) trace: Trace,
    pub(super) violations: Vec<String>,
    /// What the simulation may still do before it is taken for one that never ends.
    pub(super) steps_left: u64,
    /// The task that lets things arrive.
    engine: Option<Waker>,
    /// Whoever is to hear that no steps are left.
    pub(super) judge: Option<Waker>,
}

/// What arrives.
enum Event {
    /// The next segment of a connection that this end of it sent.
    Segment {
        number: u64,
        from: usize,
    },
    Datagram(Flying),
    /// The answer to one that nobody listens to.
    Refusal {
        to: SocketAddr,
    },
}

/// A connection: the end that connected, and the one that accepted.
pub(super) struct Connection {
    pub(super) ends: [End; 2],
    /// Nothing arrives any more, and nobody is told.
    silent: bool,
}

/// One end of a connection. Wakers run code of others: they are woken and dropped without the lock.
pub(super) struct End {
    pub(super) host: Arc<str>,
    /// Arrived and not yet read.
    pub(super) input: VecDeque<u8>,
    /// The peer's FIN has arrived.
    pub(super) eof: bool,
    /// A reset has arrived. Implies that `input` is empty.
    pub(super) reset: bool,
    pub(super) dropped: bool,
    pub(super) fin_sent: bool,
    /// What it sent and has not arrived, with its time.
    under_way: VecDeque<(Instant, Segment)>,
    /// Bytes of `under_way`.
    pub(super) flying: usize,
    /// Until when the line is busy with what it sent.
    busy_until: Instant,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) reset_watcher: Option<Waker>,
}

enum Segment {
    Data(Vec<u8>),
    Fin,
    Reset,
}

impl World {
    pub(super) fn new(seed: u64, conditions: Conditions, steps: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                rng: Rng::with_seed(seed),
                started: Instant::now(),
                conditions,
                links: BTreeMap::new(),
                partitions: BTreeSet::new(),
                listeners: BTreeMap::new(),
                connections: BTreeMap::new(),
                next_connection: 1,
                ledgers: Vec::new(),
                services: Vec::new(),
                protocols: 0,
                sockets: BTreeMap::new(),
                hosts: Vec::new(),
                agenda: BTreeMap::new(),
                next_event: 0,
                trace: Trace::default(),
                violations: Vec::new(),
                steps_left: steps,
                engine: None,
                judge: None,
            }),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets what is under way arrive in its time, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut alarm = pin!(sleep_until(Instant::now()));
        poll_fn(|cx| {
            loop {
                let mut woken = Vec::new();
                let mut state = self.lock();
                state.arrive(Instant::now(), &mut woken);
                let next = state.agenda.first_key_value().map(|(key, _)| key.0);
                let _old = state.engine.replace(cx.waker().clone());
                drop(state);
                woken.into_iter().for_each(Waker::wake);
                let Some(next) = next else { return Poll::Pending };
                alarm.as_mut().reset(next);
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

impl State {
    pub(super) fn note(&mut self, text: fmt::Arguments<'_>) {
        let at = self.started.elapsed();
        self.trace.add(at, text);
    }

    /// Lets the run fail once it is over.
    pub(super) fn violation(&mut self, text: String) {
        self.note(format_args!("VIOLATION: {text}"));
        self.violations.push(text);
    }

    /// Takes a step; `false` if there were too many, and everything is to stand still.
    pub(super) fn step(&mut self) -> bool {
        self.steps_left = self.steps_left.saturating_sub(1);
        if self.steps_left > 0 {
            return true;
        }
        if let Some(judge) = &self.judge {
            judge.wake_by_ref();
        }
        false
    }

    /// What holds between two hosts.
    pub(super) fn between(&self, one: &Arc<str>, other: &Arc<str>) -> &Conditions {
        self.links.get(&pair(one, other)).unwrap_or(&self.conditions)
    }

    pub(super) fn set_link(&mut self, one: &Arc<str>, other: &Arc<str>, conditions: Conditions) {
        self.note(format_args!("{one} and {other} are linked by {conditions:?}"));
        self.links.insert(pair(one, other), conditions);
    }

    pub(super) fn is_partitioned(&self, one: &Arc<str>, other: &Arc<str>) -> bool {
        self.partitions.contains(&pair(one, other))
    }

    pub(super) fn partition(&mut self, one: &Arc<str>, other: &Arc<str>) {
        self.note(format_args!("{one} and {other} are partitioned"));
        self.partitions.insert(pair(one, other));
    }

    /// Ends a partition: what was sent meanwhile arrives now.
    pub(super) fn heal(&mut self, one: &Arc<str>, other: &Arc<str>) {
        self.note(format_args!("{one} and {other} are healed"));
        self.partitions.remove(&pair(one, other));
        let held: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                let [a, b] = &connection.ends;
                pair(&a.host, &b.host) == pair(one, other)
            })
            .map(|(number, _)| *number)
            .collect();
        for number in held {
            for from in 0..2 {
                self.send_again(number, from);
            }
        }
    }

    /// Has what did not arrive in its time arrive later.
    fn send_again(&mut self, number: u64, from: usize) {
        let now = Instant::now();
        let delay = {
            let Some(connection) = self.connections.get(&number) else { return };
            let [one, other] = &connection.ends;
            self.between(&one.host, &other.host).clone().delay(&mut self.rng)
        };
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let mut put_off = 0;
        for (at, _) in &mut connection.ends[from].under_way {
            if *at < now + delay {
                *at = now + delay;
                put_off += 1;
            }
        }
        for _ in 0..put_off {
            self.schedule(now + delay, Event::Segment { number, from });
        }
    }

    /// Opens a connection between two hosts; returns its number.
    pub(super) fn open(&mut self, from: &Arc<str>, to: &Arc<str>) -> u64 {
        let number = self.next_connection;
        self.next_connection += 1;
        let end = |host: &Arc<str>| End::new(Arc::clone(host));
        let connection = Connection { ends: [end(from), end(to)], silent: false };
        self.connections.insert(number, connection);
        self.ledgers.push(Default::default());
        self.note(format_args!("#{number} from {from} to {to}"));
        number
    }

    /// The account of an end, also of one that is gone.
    pub(super) fn ledger(&mut self, (number, index): EndId) -> &mut Ledger {
        &mut self.ledgers[number as usize - 1][index]
    }

    /// One end and the other.
    pub(super) fn sides(&mut self, number: u64, index: usize) -> (&mut End, &mut End) {
        let connection = self.connections.get_mut(&number);
        let connection = connection.expect("a connection lives as long as its streams");
        let [first, second] = &mut connection.ends;
        if index == 0 { (first, second) } else { (second, first) }
    }

    /// Sends bytes, which arrive in one or more pieces.
    pub(super) fn send(&mut self, number: u64, from: usize, data: Vec<u8>) {
        self.ledger((number, from)).sent += data.len() as u64;
        let (own, peer) = self.sides(number, from);
        own.flying += data.len();
        let [host, to] = [&own.host, &peer.host].map(Arc::clone);
        self.note(format_args!("#{number} {host} sends {} B", data.len()));
        let fragments = self.between(&host, &to).fragments;
        let mut rest = data;
        while rest.len() > 1 && hits(fragments, &mut self.rng) {
            let tail = rest.split_off(self.rng.usize(1..rest.len()));
            self.dispatch(number, from, Segment::Data(rest));
            rest = tail;
        }
        self.dispatch(number, from, Segment::Data(rest));
    }

    pub(super) fn send_fin(&mut self, number: u64, from: usize) {
        let (own, _) = self.sides(number, from);
        if own.fin_sent || own.reset {
            return;
        }
        own.fin_sent = true;
        let host = Arc::clone(&own.host);
        self.note(format_args!("#{number} {host} sends FIN"));
        self.dispatch(number, from, Segment::Fin);
    }

    /// Sends a reset: what is under way before it may or may not arrive.
    pub(super) fn send_reset(&mut self, number: u64, from: usize) {
        let overtakes = self.rng.bool();
        let (own, _) = self.sides(number, from);
        own.fin_sent = true;
        if overtakes {
            own.under_way.clear();
            own.flying = 0;
        }
        let host = Arc::clone(&own.host);
        self.note(format_args!("#{number} {host} sends RST"));
        self.dispatch(number, from, Segment::Reset);
    }

    /// Puts a segment on its way, behind what was sent before.
    fn dispatch(&mut self, number: u64, from: usize, segment: Segment) {
        let now = Instant::now();
        let Self { connections, links, conditions, rng, .. } = self;
        let connection = connections.get_mut(&number);
        let connection = connection.expect("a connection lives as long as its streams");
        let [one, other] = &connection.ends;
        let conditions = links.get(&pair(&one.host, &other.host)).unwrap_or(conditions);
        let own = &mut connection.ends[from];
        let len = if let Segment::Data(data) = &segment { data.len() } else { 0 };
        own.busy_until = own.busy_until.max(now) + conditions.transmission(len);
        let earliest = own.under_way.back().map_or(now, |(at, _)| *at);
        let at = (own.busy_until + conditions.delay(rng)).max(earliest);
        own.under_way.push_back((at, segment));
        self.schedule(at, Event::Segment { number, from });
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.agenda.insert((at, self.next_event), event);
        self.next_event += 1;
        // It takes no lock: waking only puts the task in line.
        if let Some(engine) = &self.engine {
            engine.wake_by_ref();
        }
    }

    /// Lets everything arrive that is due.
    fn arrive(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= now
        {
            let event = entry.remove();
            if !self.step() {
                return;
            }
            match event {
                Event::Segment { number, from } => {
                    self.arrive_segment(now, number, from, woken);
                    self.forget(number);
                }
                Event::Datagram(datagram) => self.arrive_datagram(datagram, woken),
                Event::Refusal { to } => self.arrive_refusal(to, woken),
            }
        }
    }

    fn arrive_segment(&mut self, now: Instant, number: u64, from: usize, woken: &mut Vec<Waker>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let [one, other] = &connection.ends;
        let link = pair(&one.host, &other.host);
        if connection.silent || self.partitions.contains(&link) {
            return; // it waits for the end of the partition
        }
        let (own, peer) = connection.sides(1 - from);
        // What a reset destroyed, or a partition put off, leaves its entry in the agenda.
        let Some((_, segment)) = peer.under_way.pop_front_if(|(at, _)| *at <= now) else { return };
        let host = Arc::clone(&own.host);
        match segment {
            Segment::Data(data) => {
                peer.flying -= data.len();
                if own.reset {
                } else if own.dropped {
                    // Nobody is there to read it.
                    self.send_reset(number, 1 - from);
                } else {
                    own.input.extend(&data);
                    woken.extend(own.reader.take());
                    let conditions = self.links.get(&link).unwrap_or(&self.conditions);
                    let resets = conditions.resets;
                    self.note(format_args!("#{number} {host} gets {} B", data.len()));
                    if hits(resets, &mut self.rng) {
                        self.note(format_args!("#{number} is reset by the network"));
                        self.reset(number, woken);
                    }
                }
            }
            Segment::Fin => {
                own.eof = true;
                woken.extend(own.reader.take());
                self.note(format_args!("#{number} {host} gets FIN"));
            }
            Segment::Reset => {
                own.take_reset(woken);
                self.note(format_args!("#{number} {host} gets RST"));
            }
        }
    }

    /// The address of a host; a name gets one when it is first asked for.
    pub(super) fn ip_of(&mut self, host: &str) -> IpAddr {
        if let Ok(ip) = host.parse() {
            return ip;
        }
        let known = self.hosts.iter().position(|known| &**known == host);
        let index = known.unwrap_or_else(|| {
            self.hosts.push(host.into());
            self.hosts.len() - 1
        });
        Ipv4Addr::from_bits(FIRST_IP.to_bits() + index as u32).into()
    }

    /// The host that has an address.
    pub(super) fn host_of(&self, ip: IpAddr) -> Arc<str> {
        let index = |ip: Ipv4Addr| ip.to_bits().checked_sub(FIRST_IP.to_bits());
        let index = if let IpAddr::V4(ip) = ip { index(ip) } else { None };
        let known = index.and_then(|index| self.hosts.get(index as usize));
        known.map_or_else(|| ip.to_string().into(), Arc::clone)
    }

    /// Sends a datagram, which arrives once, twice, or never.
    pub(super) fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, data: &Bytes) {
        let hosts = [from, to].map(|addr| self.host_of(addr.ip()));
        let conditions = self.between(&hosts[0], &hosts[1]).clone();
        self.note(format_args!("{} sends {} B to {to}", hosts[0], data.len()));
        let copies = 1 + u8::from(hits(conditions.duplication, &mut self.rng));
        for _ in 0..copies {
            if hits(conditions.loss, &mut self.rng) {
                self.note(format_args!("{} B from {from} to {to} are lost", data.len()));
                continue;
            }
            let at = Instant::now() + conditions.datagram_delay(&mut self.rng);
            self.schedule(at, Event::Datagram(Flying { from, to, data: data.clone() }));
        }
    }

    fn arrive_datagram(&mut self, Flying { from, to, data }: Flying, woken: &mut Vec<Waker>) {
        let [host, sender] = [to, from].map(|addr| self.host_of(addr.ip()));
        if self.is_partitioned(&host, &sender) {
            return;
        }
        let conditions = self.between(&host, &sender).clone();
        let Some(socket) = self.sockets.get_mut(&to) else {
            self.note(format_args!("{host} refuses {} B from {from}", data.len()));
            let at = Instant::now() + conditions.datagram_delay(&mut self.rng);
            let waits = self.sockets.get(&from).is_some_and(|socket| socket.peer == Some(to));
            if waits {
                self.schedule(at, Event::Refusal { to: from });
            }
            return;
        };
        let is_fit = socket.peer.is_none_or(|peer| peer == from);
        if is_fit && (socket.len + data.len() <= conditions.capacity || socket.input.is_empty()) {
            socket.len += data.len();
            woken.extend(socket.reader.take());
            self.note(format_args!("{host} gets {} B from {from}", data.len()));
            let socket = self.sockets.get_mut(&to).expect("it was there");
            socket.input.push_back((from, data));
        } else {
            self.note(format_args!("{host} drops {} B from {from}", data.len()));
        }
    }

    fn arrive_refusal(&mut self, to: SocketAddr, woken: &mut Vec<Waker>) {
        if let Some(socket) = self.sockets.get_mut(&to) {
            socket.is_refused = true;
            woken.extend(socket.reader.take());
            self.note(format_args!("{to} is refused"));
        }
    }

    /// Resets a connection for both its ends, at once.
    pub(super) fn reset(&mut self, number: u64, woken: &mut Vec<Waker>) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        for end in &mut connection.ends {
            end.take_reset(woken);
        }
    }

    /// The connections that `is_meant`, by their hosts.
    pub(super) fn find(&self, is_meant: impl Fn(&Arc<str>, &Arc<str>) -> bool) -> Vec<u64> {
        let all = self.connections.iter();
        all.filter(|(_, Connection { ends: [one, other], .. })| is_meant(&one.host, &other.host))
            .map(|(number, _)| *number)
            .collect()
    }

    /// Nothing of a connection arrives any more, and nobody is told.
    pub(super) fn silence(&mut self, number: u64) {
        self.note(format_args!("#{number} goes silent"));
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.silent = true;
        }
    }

    /// Forgets a connection that is over on both sides, with nothing under way.
    pub(super) fn forget(&mut self, number: u64) {
        let is_over = |connection: &Connection| {
            let idle = |end: &End| end.dropped && end.under_way.is_empty();
            connection.ends.iter().all(idle)
                || connection.silent && connection.ends.iter().all(|end| end.dropped)
        };
        if self.connections.get(&number).is_some_and(is_over) {
            self.connections.remove(&number);
        }
    }

    /// Streams and sockets that somebody holds.
    pub(super) fn open_streams(&self) -> usize {
        let ends = self.connections.values().flat_map(|connection| &connection.ends);
        ends.filter(|end| !end.dropped).count() + self.sockets.len()
    }
}

impl Connection {
    fn sides(&mut self, index: usize) -> (&mut End, &mut End) {
        let [first, second] = &mut self.ends;
        if index == 0 { (first, second) } else { (second, first) }
    }
}

impl End {
    fn new(host: Arc<str>) -> Self {
        Self {
            host,
            input: VecDeque::new(),
            eof: false,
            reset: false,
            dropped: false,
            fin_sent: false,
            under_way: VecDeque::new(),
            flying: 0,
            busy_until: Instant::now(),
            reader: None,
            writer: None,
            reset_watcher: None,
        }
    }

    /// The connection is broken here: what is unread is gone, and so is what has not left.
    fn take_reset(&mut self, woken: &mut Vec<Waker>) {
        self.reset = true;
        self.input.clear();
        self.under_way.clear();
        self.flying = 0;
        let wakers = [&mut self.reader, &mut self.writer, &mut self.reset_watcher];
        woken.extend(wakers.into_iter().filter_map(Option::take));
    }
}

fn pair(one: &Arc<str>, other: &Arc<str>) -> Pair {
    let mut pair = [Arc::clone(one), Arc::clone(other)];
    pair.sort();
    pair
}

/// Stores the waker of `cx`; the one that it replaces is to be dropped outside the lock.
pub(super) fn park(slot: &mut Option<Waker>, cx: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => None,
        _ => slot.replace(cx.waker().clone()),
    }
}
