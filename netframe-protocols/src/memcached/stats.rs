//! What `stats` tells.

use std::fmt::Write;
use std::ops::AddAssign;

use bytes::BytesMut;

use super::clock::Millis;
use super::command::Refusal;
use super::service::Service;

/// What is counted with each command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) get: Found,
    pub(super) touch: Found,
    pub(super) delete: Found,
    pub(super) incr: Found,
    pub(super) decr: Found,
    /// Found, whether or not it had changed.
    pub(super) cas: Found,
    /// Found, and changed.
    pub(super) cas_badval: u64,
    pub(super) set: u64,
    pub(super) flush: u64,
}

/// How often an item was there, or was not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) hits: u64,
    pub(super) misses: u64,
}

impl Found {
    pub(super) fn add(&mut self, found: bool) {
        self.hits += u64::from(found);
        self.misses += u64::from(!found);
    }

    fn all(self) -> u64 {
        self.hits + self.misses
    }
}

impl AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.get += other.get;
        self.touch += other.touch;
        self.delete += other.delete;
        self.incr += other.incr;
        self.decr += other.decr;
        self.cas += other.cas;
        self.cas_badval += other.cas_badval;
        self.set += other.set;
        self.flush += other.flush;
    }
}

/// Answers `stats`, with the word behind it.
pub(super) fn answer(service: &Service, of: &[u8], now: Millis, out: &mut BytesMut) {
    match of {
        b"" => general(service, now, out),
        b"settings" => settings(service, out),
        // Items are not kept by their size.
        b"items" | b"slabs" => {}
        b"reset" => {
            service.store.reset_counters();
            return out.extend_from_slice(b"RESET\r\n");
        }
        _ => return out.extend_from_slice(Refusal::Unknown.text()),
    }
    out.extend_from_slice(b"END\r\n");
}

/// The general figures, under memcached's names.
fn general(service: &Service, now: Millis, out: &mut BytesMut) {
    let figures = service.store.figures();
    let counted = figures.counters;
    let clock = service.store.clock();
    let mut tell = |name: &str, value: u64| line(out, name, &value);
    tell("pid", std::process::id().into());
    tell("uptime", now / 1000);
    tell("time", clock.unix(now));
    tell("pointer_size", usize::BITS.into());
    tell("curr_connections", service.live());
    tell("total_connections", service.accepted());
    tell("cmd_get", counted.get.all());
    tell("cmd_set", counted.set);
    tell("cmd_flush", counted.flush);
    tell("cmd_touch", counted.touch.all());
    tell("get_hits", counted.get.hits);
    tell("get_misses", counted.get.misses);
    tell("delete_hits", counted.delete.hits);
    tell("delete_misses", counted.delete.misses);
    tell("incr_hits", counted.incr.hits);
    tell("incr_misses", counted.incr.misses);
    tell("decr_hits", counted.decr.hits);
    tell("decr_misses", counted.decr.misses);
    tell("cas_hits", counted.cas.hits - counted.cas_badval);
    tell("cas_misses", counted.cas.misses);
    tell("cas_badval", counted.cas_badval);
    tell("touch_hits", counted.touch.hits);
    tell("touch_misses", counted.touch.misses);
    tell("limit_maxbytes", service.options.memory as u64);
    tell("bytes", figures.bytes as u64);
    tell("curr_items", figures.items as u64);
    tell("total_items", figures.total);
    tell("evictions", figures.evicted);
    tell("reclaimed", figures.over);
    line(out, "version", &super::VERSION);
}

/// What was set, and what is as it is.
fn settings(service: &Service, out: &mut BytesMut) {
    let options = &service.options;
    line(out, "maxbytes", &options.memory);
    line(out, "item_size_max", &options.max_value);
    line(out, "evictions", &"on");
    line(out, "cas_enabled", &"yes");
    line(out, "flush_enabled", &"yes");
    line(out, "binding_protocol", &"ascii");
    line(out, "auth_enabled_sasl", &"no");
}

fn line(out: &mut BytesMut, name: &str, value: &dyn std::fmt::Display) {
    // A `BytesMut` takes all that memory does.
    let _ = write!(out, "STAT {name} {value}\r\n");
}
