//! How the values of options are read and written. A value that its reader refuses is out of range:
//! parsing and typed options share this one check.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How values of one type are read and written.
pub(crate) struct Format<T: 'static> {
    /// What a value must look like, for an error.
    pub(crate) expected: &'static str,
    /// `None` when the text is something else, or the value is outside its range.
    pub(crate) read: fn(&str) -> Option<T>,
    /// The canonical text. Any value can be written, even one that would not be read.
    pub(crate) write: fn(T) -> String,
}

pub(super) const FLAG: Format<bool> = Format {
    expected: "`true` or `false`",
    read: |text| match text {
        "true" | "on" => Some(true),
        "false" | "off" => Some(false),
        _ => None,
    },
    write: |flag| flag.to_string(),
};

/// The kernel takes a backlog, and the number of an interface, as C `int`.
pub(super) const INT: Format<u32> = Format {
    expected: "a whole number from 1 to 2147483647",
    read: |text| number(text, 1..=INT_MAX)?.try_into().ok(),
    write: |count| count.to_string(),
};

pub(crate) const COUNT: Format<usize> = Format {
    expected: "a whole number from 1 to 2147483647",
    read: |text| number(text, 1..=INT_MAX)?.try_into().ok(),
    write: |count| count.to_string(),
};

/// The field has 8 bits, RFC 791, section 3.1, and a packet with 0 goes nowhere.
pub(super) const HOPS: Format<u32> = Format {
    expected: "a whole number from 1 to 255",
    read: |text| number(text, 1..=255)?.try_into().ok(),
    write: |hops| hops.to_string(),
};

/// The kernel takes the length of a buffer as C `int`.
pub(crate) const SIZE: Format<usize> = Format {
    expected: "bytes from 1 to 2147483647, such as `65536`, `64KiB` or `1MiB`",
    read: |text| {
        let bytes = scaled(text, &SIZE_UNITS)?;
        (1..=INT_MAX).contains(&bytes).then_some(bytes)?.try_into().ok()
    },
    write: |bytes| unscaled(bytes as u64, &SIZE_UNITS),
};

/// What is kept in memory: no kernel has a say in it.
pub(crate) const SPACE: Format<usize> = Format {
    expected: "bytes from 1 to 1024GiB, such as `65536`, `64KiB` or `1GiB`",
    read: |text| {
        let bytes = scaled(text, &SIZE_UNITS)?;
        (1..=1 << 40).contains(&bytes).then_some(bytes)?.try_into().ok()
    },
    write: SIZE.write,
};

/// The kernel measures in milliseconds, in a C `int`.
pub(crate) const MILLIS: Format<Duration> = Format {
    expected: "a duration from 1ms to 480h, such as `500ms`, `30s`, `5m` or `1h`",
    read: |text| duration(text, Duration::from_millis(1)..=Duration::from_hours(480)),
    write: write_duration,
};

/// The kernel measures keepalive in seconds, at most `MAX_TCP_KEEPIDLE`.
pub(super) const SECONDS: Format<Duration> = Format {
    expected: "whole seconds from 1s to 32767s, such as `30s`, `5m` or `1h`",
    read: |text| {
        duration(text, Duration::from_secs(1)..=Duration::from_secs(32_767))
            .filter(|time| time.subsec_nanos() == 0)
    },
    write: write_duration,
};

pub(super) const MODE: Format<u32> = Format {
    expected: "octal permissions from 1 to 777, such as `660`",
    read: |text| {
        number(text, 1..=777)?;
        u32::from_str_radix(text, 8).ok()
    },
    write: |mode| format!("{mode:o}"),
};

pub(super) const GROUP: Format<IpAddr> = Format {
    expected: "a multicast address, such as `239.1.2.3` or `ff02::1:3`",
    read: |text| text.parse().ok().filter(IpAddr::is_multicast),
    write: |group| group.to_string(),
};

const INT_MAX: u64 = i32::MAX as u64;

/// Units in descending order; a number without a unit is in bytes.
const SIZE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

/// Units in descending order, milliseconds each; every duration has a unit.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Decimal digits and nothing else: `str::parse` would take a `+` too.
pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|ch: char| !ch.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number(count, 0..=u64::MAX)?.checked_mul(*scale)
}

/// In the largest unit that needs no fraction.
fn unscaled(value: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().find(|(_, scale)| value != 0 && value.is_multiple_of(*scale));
    exact.map_or_else(|| value.to_string(), |(unit, scale)| format!("{}{unit}", value / scale))
}

fn duration(text: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
    let time = Duration::from_millis(scaled(text, &TIME_UNITS)?);
    range.contains(&time).then_some(time)
}

fn write_duration(time: Duration) -> String {
    match u64::try_from(time.as_millis()) {
        Ok(millis) if millis > 0 && time.subsec_nanos().is_multiple_of(1_000_000) => {
            unscaled(millis, &TIME_UNITS)
        }
        // No text would be read as such a value; this one is for the error.
        _ => format!("{time:?}"),
    }
}
