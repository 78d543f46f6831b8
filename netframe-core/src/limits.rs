//! [`Limits`]: every bound of a service, with its default. None of them can be zero, and none is
//! off unless "never" is written out.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use tokio::time::Instant;

use crate::endpoint::values::{COUNT, MILLIS, SIZE};

/// Bytes of one delivery to `data_received`, leftover not counted, and of one read.
pub(crate) const MAX_DELIVERY: usize = 64 * 1024;

/// Bytes of input thrown away after our FIN before a closing connection is reset.
pub(crate) const MAX_LINGER: u64 = 1024 * 1024;

/// When `after` has passed; in thirty years where no clock goes as far: `Duration::MAX` is what one
/// writes for never.
pub(crate) fn deadline(after: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);
    let now = Instant::now();
    now.checked_add(after).unwrap_or_else(|| now + YEARS)
}

/// The bounds of a service and of each of its connections.
///
/// ```
/// use std::time::Duration;
/// use netframe_core::{Limits, Timeout};
///
/// let mut limits = Limits::default();
/// limits.max_connections = 1000;
/// limits.idle_timeout = Timeout::After(Duration::from_secs(60));
/// ```
///
/// In a configuration file sizes are bytes, such as `65536`, or text such as `"64KiB"`; timeouts are
/// text such as `"500ms"`, `"5m"` or `"never"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Connections of the service at once, over all its endpoints and workers; exact. Default 65 536.
    #[serde(deserialize_with = "count")]
    pub max_connections: usize,
    /// What becomes of a newcomer when there are as many, or the process has as many as it may.
    /// Default: it waits.
    pub at_limit: AtLimit,
    /// Connections of one peer at once; more are refused. A peer is a prefix of IP addresses, see
    /// below; those without one, such as of Unix sockets, are not counted. Default unlimited.
    pub max_connections_per_peer: Quota,
    /// Connections accepted in a second, and as many at once after a second's silence; beyond that
    /// they wait in the kernel's queue, and new UDP peers are not heard. Default unlimited.
    pub accept_rate: Quota,
    /// Connections of one peer accepted in a second, likewise; beyond that they are refused. Default
    /// unlimited.
    pub accept_rate_per_peer: Quota,
    /// Bits of an IPv4 address that tell peers apart, 0 to 32. Default 32: each address is a peer.
    #[serde(deserialize_with = "bits_v4")]
    pub peer_prefix_v4: u8,
    /// Bits of an IPv6 address that tell peers apart, 0 to 128. Default 64: what one network gets.
    /// IPv4 addresses mapped into IPv6 count as IPv4.
    #[serde(deserialize_with = "bits_v6")]
    pub peer_prefix_v6: u8,
    /// Queued bytes above which a connection stops reading. Default 64 KiB.
    #[serde(with = "size")]
    pub high_watermark: usize,
    /// Queued bytes at which it reads again, and at which `drain` is done. Default 16 KiB.
    #[serde(with = "size")]
    pub low_watermark: usize,
    /// Queued bytes above which a connection ends with `Overflow`, if it goes on writing above the
    /// high watermark. Default 1 MiB, which is also what one connection can cost at worst, but for
    /// a single larger write that began below the mark.
    #[serde(with = "size")]
    pub hard_cap: usize,
    /// Bytes of one connection that are read in a second, and as many at once after a second's silence,
    /// or at first. Beyond that it is not read from: its bytes wait in the kernel, whose window closes,
    /// so that the peer is slowed and nothing is lost. Default unlimited.
    ///
    /// This and the next three are for streams: with an endpoint of datagrams they are an error at the
    /// start. Bytes are those of the connection: what a layer such as TLS adds is not counted. Who is
    /// held back goes on within 100 ms of when it may. The time until then counts to no timeout:
    /// neither the peer nor the protocol is to blame. What is thrown away after the FIN of a close is
    /// not held back.
    #[serde(with = "rate")]
    pub read_rate: Quota,
    /// Bytes of one connection that are sent in a second, likewise; beyond that they wait in its queue,
    /// with the watermarks and the cap that this has. A close sends all of them at this rate, unless the
    /// deadline of a drain comes first. Default unlimited.
    #[serde(with = "rate")]
    pub write_rate: Quota,
    /// Bytes that all connections of the service together read in a second, over all its endpoints and
    /// workers, likewise. Those that would read more take turns, of about the same size, so that none
    /// starves. Default unlimited.
    #[serde(with = "rate")]
    pub service_read_rate: Quota,
    /// Bytes that they send in a second, likewise. Default unlimited.
    #[serde(with = "rate")]
    pub service_write_rate: Quota,
    /// Bytes a protocol may leave unconsumed while it waits for more. Default 64 KiB; a connection
    /// holds at most this and one delivery of 64 KiB.
    #[serde(with = "size")]
    pub max_pending: usize,
    /// Time without a byte in or out after which a connection is closed. Default 5 min.
    pub idle_timeout: Timeout,
    /// Time a close may take without progress: the queue does not move, or no FIN comes from the
    /// peer. Then the connection is reset. Default 10 s.
    pub close_timeout: Timeout,
    /// Time in which the peer must take at least one byte of a waiting queue; then the connection
    /// is reset. Default 60 s.
    pub write_stall_timeout: Timeout,
    /// Time in which a message that has begun must be complete: while a protocol leaves bytes
    /// unconsumed and waits for more. It does not run while a handler is pending or nothing is read.
    /// Default 60 s: a trickle cannot hold a connection, and who types by hand has time.
    pub message_timeout: Timeout,
    /// Bytes in a second that must arrive on the average while a message is incomplete, after its
    /// first 5 s. Default any.
    pub min_message_rate: MinRate,
    /// Time a client's attempt to connect may take. Default 10 s.
    pub connect_timeout: Timeout,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 65_536,
            at_limit: AtLimit::Wait,
            max_connections_per_peer: Quota::Unlimited,
            accept_rate: Quota::Unlimited,
            accept_rate_per_peer: Quota::Unlimited,
            peer_prefix_v4: 32,
            peer_prefix_v6: 64,
            high_watermark: 64 * 1024,
            low_watermark: 16 * 1024,
            hard_cap: 1024 * 1024,
            read_rate: Quota::Unlimited,
            write_rate: Quota::Unlimited,
            service_read_rate: Quota::Unlimited,
            service_write_rate: Quota::Unlimited,
            max_pending: 64 * 1024,
            idle_timeout: Timeout::from_secs(300),
            close_timeout: Timeout::from_secs(10),
            write_stall_timeout: Timeout::from_secs(60),
            message_timeout: Timeout::from_secs(60),
            min_message_rate: MinRate::Any,
            connect_timeout: Timeout::from_secs(10),
        }
    }
}

impl Limits {
    /// Checks that the values make sense together; a server does so before it starts.
    ///
    /// # Errors
    ///
    /// The first limit that is zero, or that contradicts another one.
    pub fn validate(&self) -> Result<(), LimitError> {
        for (name, value) in [
            ("max_connections", self.max_connections),
            ("high_watermark", self.high_watermark),
            ("low_watermark", self.low_watermark),
            ("hard_cap", self.hard_cap),
            ("max_pending", self.max_pending),
        ] {
            if value == 0 {
                return Err(LimitError::Zero { name });
            }
        }
        for (name, quota) in [
            ("max_connections_per_peer", self.max_connections_per_peer),
            ("accept_rate", self.accept_rate),
            ("accept_rate_per_peer", self.accept_rate_per_peer),
        ]
        .into_iter()
        .chain(self.rates())
        {
            if quota == Quota::AtMost(0) {
                return Err(LimitError::Zero { name });
            }
        }
        if self.min_message_rate == MinRate::AtLeast(0) {
            return Err(LimitError::Zero { name: "min_message_rate" });
        }
        for (name, bits, max) in [
            ("peer_prefix_v4", self.peer_prefix_v4, 32),
            ("peer_prefix_v6", self.peer_prefix_v6, 128),
        ] {
            if bits > max {
                return Err(LimitError::Prefix { name, bits, max });
            }
        }
        for (name, value) in [
            ("idle_timeout", self.idle_timeout),
            ("close_timeout", self.close_timeout),
            ("write_stall_timeout", self.write_stall_timeout),
            ("message_timeout", self.message_timeout),
            ("connect_timeout", self.connect_timeout),
        ] {
            if value == Timeout::After(Duration::ZERO) {
                return Err(LimitError::ZeroTimeout { name });
            }
        }
        for (small, small_value, large, large_value) in [
            ("low_watermark", self.low_watermark, "high_watermark", self.high_watermark),
            ("high_watermark", self.high_watermark, "hard_cap", self.hard_cap),
        ] {
            if small_value > large_value {
                return Err(LimitError::Order { small, small_value, large, large_value });
            }
        }
        Ok(())
    }

    /// The rates at which bytes move, by name.
    fn rates(&self) -> [(&'static str, Quota); 4] {
        [
            ("read_rate", self.read_rate),
            ("write_rate", self.write_rate),
            ("service_read_rate", self.service_read_rate),
            ("service_write_rate", self.service_write_rate),
        ]
    }

    /// The first limit by which streams are shaped, if there is one.
    pub(crate) fn shaped_by(&self) -> Option<&'static str> {
        let limited = self.rates().into_iter().find(|(_, rate)| *rate != Quota::Unlimited);
        limited.map(|(name, _)| name)
    }
}

/// What becomes of a newcomer when a service is full. Sessions of datagrams have a rule of their own:
/// one whose peer has sent only once makes way.
///
/// In a configuration file `"wait"`, `"refuse"` or `"end-idle"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AtLimit {
    /// The service stops accepting, and newcomers wait in the kernel's queue.
    #[default]
    Wait,
    /// It is accepted, sent the [refusal](crate::ServerBuilder::refusal), and closed.
    Refuse,
    /// The connection that has been idle for the longest time ends for it, with
    /// [`CloseKind::Limit`](crate::CloseKind::Limit): of those on the same worker. If none is idle it
    /// is refused. Time is coarse: a byte that moved lately may not be known yet.
    EndIdle,
}

/// So many, or any number: unlimited is said in words, not with a zero.
///
/// In a configuration file it is a number, or `"unlimited"`; a number of bytes may be text with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// At most this many.
    AtMost(usize),
    /// Any number.
    Unlimited,
}

impl Quota {
    /// The number, or `None` for unlimited.
    pub const fn at_most(self) -> Option<usize> {
        match self {
            Self::AtMost(count) => Some(count),
            Self::Unlimited => None,
        }
    }
}

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quota = match Value::deserialize(deserializer)? {
            Value::Number(number) => (COUNT.read)(&number.to_string()).map(Self::AtMost),
            Value::Text(text) if text == "unlimited" => Some(Self::Unlimited),
            _ => None,
        };
        let expected = || format!("expected {}, or `unlimited`", COUNT.expected);
        quota.ok_or_else(|| D::Error::custom(expected()))
    }
}

impl Serialize for Quota {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost(count) => serializer.serialize_u64(*count as u64),
            Self::Unlimited => serializer.serialize_str("unlimited"),
        }
    }
}

/// A rate below which a peer is too slow, or any: that is said in words, not with a zero.
///
/// In a configuration file it is a number of bytes in a second, or `"any"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinRate {
    /// At least this many bytes in a second.
    AtLeast(usize),
    /// However slow.
    Any,
}

impl MinRate {
    /// The bytes in a second, or `None` for any.
    pub const fn at_least(self) -> Option<usize> {
        match self {
            Self::AtLeast(rate) => Some(rate),
            Self::Any => None,
        }
    }
}

impl<'de> Deserialize<'de> for MinRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rate = match Value::deserialize(deserializer)? {
            Value::Number(number) => (SIZE.read)(&number.to_string()).map(Self::AtLeast),
            Value::Text(text) if text == "any" => Some(Self::Any),
            Value::Text(text) => (SIZE.read)(&text).map(Self::AtLeast),
            Value::Other(_) => None,
        };
        let expected = || format!("expected {} in a second, or `any`", SIZE.expected);
        rate.ok_or_else(|| D::Error::custom(expected()))
    }
}

impl Serialize for MinRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtLeast(rate) => serializer.serialize_str(&(SIZE.write)(*rate)),
            Self::Any => serializer.serialize_str("any"),
        }
    }
}

/// A timeout, or none: never is said in words, not with a zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// It passes after this long.
    After(Duration),
    /// It never passes.
    Never,
}

impl Timeout {
    /// A timeout of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self::After(Duration::from_secs(secs))
    }

    /// The duration, or `None` for never.
    pub const fn duration(self) -> Option<Duration> {
        match self {
            Self::After(duration) => Some(duration),
            Self::Never => None,
        }
    }
}

impl From<Duration> for Timeout {
    fn from(duration: Duration) -> Self {
        Self::After(duration)
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(duration) => write!(f, "{duration:?}"),
            Self::Never => f.write_str("never"),
        }
    }
}

/// As in a configuration file: `"never"`, or a duration such as `"500ms"`, `"30s"`, `"5m"`, `"1h"`.
impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = || D::Error::custom(format!("expected {}, or `never`", MILLIS.expected));
        match Value::deserialize(deserializer)? {
            Value::Text(text) if text == "never" => Ok(Self::Never),
            Value::Text(text) => (MILLIS.read)(&text).map(Self::After).ok_or_else(expected),
            _ => Err(expected()),
        }
    }
}

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::After(duration) => serializer.serialize_str(&(MILLIS.write)(*duration)),
            Self::Never => serializer.serialize_str("never"),
        }
    }
}

/// What a configuration file may have in the place of a limit.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Number(u64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let number = match Value::deserialize(deserializer)? {
        Value::Number(number) => (COUNT.read)(&number.to_string()),
        _ => None,
    };
    number.ok_or_else(|| D::Error::custom(format!("expected {}", COUNT.expected)))
}

fn bits_v4<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    bits(deserializer, 32)
}

fn bits_v6<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    bits(deserializer, 128)
}

fn bits<'de, D: Deserializer<'de>>(deserializer: D, max: u8) -> Result<u8, D::Error> {
    let bits = match Value::deserialize(deserializer)? {
        Value::Number(number) => u8::try_from(number).ok().filter(|bits| *bits <= max),
        _ => None,
    };
    bits.ok_or_else(|| D::Error::custom(format!("expected a number of bits from 0 to {max}")))
}

/// A number of bytes, or text with a unit.
mod size {
    use super::{Deserializer, SIZE, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
        crate::size::read(d, &SIZE)
    }

    pub(super) fn serialize<S: Serializer>(size: &usize, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&(SIZE.write)(*size))
    }
}

/// A number of bytes in a second, or text with a unit, or unlimited.
mod rate {
    use super::{Deserialize, Deserializer, Quota, SIZE, Serialize, Serializer, Value};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Quota, D::Error> {
        let bytes = |text: &str| (SIZE.read)(text).map(Quota::AtMost);
        let rate = match Value::deserialize(d)? {
            Value::Number(number) => bytes(&number.to_string()),
            Value::Text(text) if text == "unlimited" => Some(Quota::Unlimited),
            Value::Text(text) => bytes(&text),
            Value::Other(_) => None,
        };
        let expected = || format!("expected {} in a second, or `unlimited`", SIZE.expected);
        rate.ok_or_else(|| serde::de::Error::custom(expected()))
    }

    pub(super) fn serialize<S: Serializer>(rate: &Quota, s: S) -> Result<S::Ok, S::Error> {
        match rate {
            Quota::AtMost(bytes) => s.serialize_str(&(SIZE.write)(*bytes)),
            Quota::Unlimited => rate.serialize(s),
        }
    }
}

/// A limit that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// A size or count is zero.
    #[error("`{name}` is 0, which would stop everything; set it above 0")]
    Zero {
        /// The limit's name.
        name: &'static str,
    },
    /// A timeout is zero.
    #[error("`{name}` is 0s; set it above zero, or to never")]
    ZeroTimeout {
        /// The limit's name.
        name: &'static str,
    },
    /// An address has not so many bits.
    #[error("`{name}` is {bits}, and such addresses have {max} bits; set at most {max}")]
    Prefix {
        /// The limit's name.
        name: &'static str,
        /// Its value.
        bits: u8,
        /// The most it can be.
        max: u8,
    },
    /// Two limits are in the wrong order.
    #[error(
        "`{small}` ({small_value}) is above `{large}` ({large_value}); lower the one or raise the other"
    )]
    Order {
        /// The limit that must be the smaller one.
        small: &'static str,
        /// Its value.
        small_value: usize,
        /// The limit that must be the larger one.
        large: &'static str,
        /// Its value.
        large_value: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Limits::default().validate().unwrap();
    }

    #[test]
    fn configuration_is_read_by_name() {
        let text = r#"{"max_connections":10,"hard_cap":"2MiB","max_pending":1000,"idle_timeout":"90s",
            "close_timeout":"never"}"#;
        let limits: Limits = serde_json::from_str(text).unwrap();
        assert_eq!(
            (limits.max_connections, limits.hard_cap, limits.max_pending),
            (10, 2 << 20, 1000)
        );
        assert_eq!(limits.idle_timeout, Timeout::from_secs(90));
        assert_eq!(limits.close_timeout, Timeout::Never);
        assert_eq!(limits.connect_timeout, Limits::default().connect_timeout);
        let written = serde_json::to_value(&limits).unwrap();
        assert_eq!(written["hard_cap"], "2MiB");
        assert_eq!(written["idle_timeout"], "90s");
        assert_eq!(written["close_timeout"], "never");
        assert_eq!(serde_json::from_value::<Limits>(written).unwrap(), limits);
    }

    #[test]
    fn rates_are_sizes_or_unlimited() {
        let text = r#"{"read_rate":1000,"write_rate":"1MiB","service_read_rate":"unlimited"}"#;
        let limits: Limits = serde_json::from_str(text).unwrap();
        assert_eq!(limits.read_rate, Quota::AtMost(1000));
        assert_eq!(limits.write_rate, Quota::AtMost(1 << 20));
        assert_eq!(limits.service_read_rate, Quota::Unlimited);
        assert_eq!(limits.shaped_by(), Some("read_rate"));
        assert_eq!(Limits::default().shaped_by(), None);
        let written = serde_json::to_value(&limits).unwrap();
        assert_eq!(
            (&written["read_rate"], &written["write_rate"]),
            (&"1000".into(), &"1MiB".into())
        );
        assert_eq!(written["service_write_rate"], "unlimited");
        assert_eq!(serde_json::from_value::<Limits>(written).unwrap(), limits);
    }

    #[test]
    fn configuration_is_refused_with_what_is_expected() {
        let refusal = |text: &str| serde_json::from_str::<Limits>(text).unwrap_err().to_string();
        let size = "expected bytes from 1 to 2147483647, such as `65536`, `64KiB` or `1MiB`";
        for value in ["0", "-1", "1.5", "\"64K\"", "true", "[1]", "4294967296"] {
            assert!(refusal(&format!(r#"{{"hard_cap":{value}}}"#)).starts_with(size), "{value}");
        }
        for value in ["0", "60", "\"0s\"", "\"60\"", "\"off\"", "{}"] {
            let error = refusal(&format!(r#"{{"idle_timeout":{value}}}"#));
            assert!(error.starts_with("expected a duration from 1ms to 480h"), "{error}");
        }
        let count = "expected a whole number from 1 to 2147483647";
        for value in ["0", "\"10\"", "\"1KiB\""] {
            assert!(refusal(&format!(r#"{{"max_connections":{value}}}"#)).starts_with(count));
        }
        assert!(refusal(r#"{"max_conections":1}"#).contains("unknown field `max_conections`"));
    }

    #[test]
    fn zero_and_disorder_are_refused_by_name() {
        let error = |change: fn(&mut Limits)| {
            let mut limits = Limits::default();
            change(&mut limits);
            limits.validate().unwrap_err().to_string()
        };
        assert!(error(|l| l.max_pending = 0).starts_with("`max_pending` is 0"));
        assert!(error(|l| l.idle_timeout = Duration::ZERO.into()).contains("or to never"));
        assert!(error(|l| l.low_watermark = 1 << 20).contains("`high_watermark` (65536)"));
        assert!(error(|l| l.hard_cap = 1000).starts_with("`high_watermark` (65536)"));
        assert!(error(|l| l.accept_rate = Quota::AtMost(0)).starts_with("`accept_rate` is 0"));
        assert!(error(|l| l.write_rate = Quota::AtMost(0)).starts_with("`write_rate` is 0"));
        assert!(error(|l| l.peer_prefix_v4 = 33).contains("have 32 bits; set at most 32"));
    }
}
