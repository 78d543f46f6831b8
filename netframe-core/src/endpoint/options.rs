//! Options of an endpoint: one plain struct for each kind that has some, and one table beside it
//! from which parsing, printing, checking and suggestions follow.

use std::net::IpAddr;
use std::time::Duration;

use super::error::EndpointError;
use super::kind::EndpointKind;
use super::suggest::nearest;
use super::values::{COUNT, FLAG, GROUP, HOPS, INT, MILLIS, MODE, SECONDS, SIZE};

/// Options of `tcp`. Those for connections hold for accepted and opened ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Connections that wait to be accepted, from 1; the kernel lowers it to its own maximum.
    /// Default 1024.
    pub backlog: u32,
    /// Send small writes at once rather than wait for the peer's acknowledgement (Nagle). netframe
    /// already sends the writes of one turn together. Default true.
    pub nodelay: bool,
    /// Silence after which the kernel probes the peer, whole seconds from 1 s to 32 767 s. Default
    /// none: no probes.
    pub keepalive: Option<Duration>,
    /// Let several sockets listen on one address; the kernel spreads connections over them. Default
    /// false.
    pub reuse_port: bool,
    /// Hops a packet may take, 1 to 255. Default the kernel's.
    pub ttl: Option<u32>,
    /// Bytes the kernel buffers for sending, 1 to `i32::MAX`; Linux doubles the value. Default the
    /// kernel's, which grows with need.
    pub send_buffer: Option<usize>,
    /// Bytes the kernel buffers of what was received; else as `send_buffer`.
    pub recv_buffer: Option<usize>,
    /// Time sent data may stay without acknowledgement before the kernel resets the connection,
    /// whole milliseconds from 1 ms to 480 h. Default the kernel's, about 15 minutes.
    pub user_timeout: Option<Duration>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            backlog: 1024,
            nodelay: true,
            keepalive: None,
            reuse_port: false,
            ttl: None,
            send_buffer: None,
            recv_buffer: None,
            user_timeout: None,
        }
    }
}

/// Options of `udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UdpOptions {
    /// Bytes the kernel buffers of what was received, 1 to `i32::MAX`; more is dropped. Linux
    /// doubles the value. Default the kernel's.
    pub recv_buffer: Option<usize>,
    /// Bytes the kernel buffers for sending, 1 to `i32::MAX`; Linux doubles the value. Default the
    /// kernel's.
    pub send_buffer: Option<usize>,
    /// Peers with a session at once, from 1. When there are as many, the oldest session whose peer
    /// has sent only one datagram is ended for a newcomer; if there is none, the newcomer is dropped.
    /// Default 10 000.
    pub max_sessions: usize,
    /// Silence after which a session ends, whole milliseconds from 1 ms to 480 h. Default 60 s.
    pub session_idle: Duration,
    /// Group to join; other programs may then listen on the same port. Default none.
    pub multicast: Option<IpAddr>,
    /// Number of the interface, from 1, on which the group is joined and from which multicast
    /// datagrams leave. Default the system's choice.
    pub interface: Option<u32>,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            recv_buffer: None,
            send_buffer: None,
            max_sessions: 10_000,
            session_idle: Duration::from_secs(60),
            multicast: None,
            interface: None,
        }
    }
}

/// Options of `unix` and `unixgram`. The latter has the sessions that [`UdpOptions`] gives by
/// default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct UnixOptions {
    /// Permissions of the socket's file, 0o1 to 0o777; octal in text, as `mode=660`. Connecting
    /// needs write permission. An abstract name has none. Default what the umask leaves.
    pub mode: Option<u32>,
}

/// Options of `mem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct MemOptions {
    /// Bytes under way in each direction, 1 to `i32::MAX`. Default 64 KiB.
    pub capacity: usize,
}

impl Default for MemOptions {
    fn default() -> Self {
        Self { capacity: 64 * 1024 }
    }
}

/// One row of a table: an option by its name in the text, which is that of the struct's field.
pub(super) struct Field<T> {
    name: &'static str,
    expected: &'static str,
    /// False when the text is no valid value.
    read: fn(&mut T, &str) -> bool,
    /// `None` when the option is not set.
    write: fn(&T) -> Option<String>,
}

/// The row for a field of type `U` or `Option<U>` whose values have a `Format<U>`.
macro_rules! field {
    ($name:ident, $format:expr) => {
        Field {
            name: stringify!($name),
            expected: $format.expected,
            read: |options, text| {
                ($format.read)(text).map(|value| options.$name = value.into()).is_some()
            },
            write: |options| Option::from(options.$name).map($format.write),
        }
    };
}

pub(super) trait Table: Copy + Default + 'static {
    const FIELDS: &'static [Field<Self>];
}

impl Table for TcpOptions {
    const FIELDS: &'static [Field<Self>] = &[
        field!(backlog, INT),
        field!(nodelay, FLAG),
        field!(keepalive, SECONDS),
        field!(reuse_port, FLAG),
        field!(ttl, HOPS),
        field!(send_buffer, SIZE),
        field!(recv_buffer, SIZE),
        field!(user_timeout, MILLIS),
    ];
}

impl Table for UdpOptions {
    const FIELDS: &'static [Field<Self>] = &[
        field!(recv_buffer, SIZE),
        field!(send_buffer, SIZE),
        field!(max_sessions, COUNT),
        field!(session_idle, MILLIS),
        field!(multicast, GROUP),
        field!(interface, INT),
    ];
}

impl Table for UnixOptions {
    const FIELDS: &'static [Field<Self>] = &[field!(mode, MODE)];
}

impl Table for MemOptions {
    const FIELDS: &'static [Field<Self>] = &[field!(capacity, SIZE)];
}

/// What a table gives, without its type.
trait OptionSet {
    fn names(&self) -> Vec<&'static str>;
    /// Options that differ from their default, as they are written.
    fn changed(&self) -> Vec<(&'static str, String)>;
    /// `None` when there is no such option.
    fn set(&mut self, name: &str, value: &str) -> Option<Result<(), EndpointError>>;
}

impl<T: Table> OptionSet for T {
    fn names(&self) -> Vec<&'static str> {
        T::FIELDS.iter().map(|field| field.name).collect()
    }

    fn changed(&self) -> Vec<(&'static str, String)> {
        let default = T::default();
        let changed = |field: &Field<T>| {
            let value = (field.write)(self)?;
            (Some(&value) != (field.write)(&default).as_ref()).then_some((field.name, value))
        };
        T::FIELDS.iter().filter_map(changed).collect()
    }

    fn set(&mut self, name: &str, value: &str) -> Option<Result<(), EndpointError>> {
        let field = T::FIELDS.iter().find(|field| field.name == name)?;
        Some(if (field.read)(self, value) {
            Ok(())
        } else {
            let (option, expected) = (field.name, field.expected);
            Err(EndpointError::InvalidValue { option, found: value.to_owned(), expected })
        })
    }
}

/// Options of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Options {
    Tcp(TcpOptions),
    Udp(UdpOptions),
    Unix(UnixOptions),
    Mem(MemOptions),
    None,
}

impl Options {
    /// The defaults of `kind`.
    pub(super) fn of(kind: EndpointKind) -> Self {
        match kind {
            EndpointKind::Tcp => Self::Tcp(TcpOptions::default()),
            EndpointKind::Udp => Self::Udp(UdpOptions::default()),
            EndpointKind::Unix | EndpointKind::UnixDatagram => Self::Unix(UnixOptions::default()),
            EndpointKind::Mem => Self::Mem(MemOptions::default()),
            _ => Self::None,
        }
    }

    pub(super) fn set(
        &mut self,
        kind: EndpointKind,
        name: &str,
        value: &str,
    ) -> Result<(), EndpointError> {
        self.table_mut().and_then(|table| table.set(name, value)).unwrap_or_else(|| {
            let suggestion = nearest(name, self.names()).map(str::to_owned);
            Err(EndpointError::UnknownOption { found: name.to_owned(), kind, suggestion })
        })
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.table().map_or_else(Vec::new, OptionSet::names)
    }

    pub(super) fn changed(&self) -> Vec<(&'static str, String)> {
        self.table().map_or_else(Vec::new, OptionSet::changed)
    }

    /// Checks that these are options of `kind`, and that each could be read back.
    pub(super) fn check(&self, kind: EndpointKind) -> Result<(), EndpointError> {
        let mut copy = Self::of(kind);
        if std::mem::discriminant(&copy) != std::mem::discriminant(self) {
            return Err(EndpointError::ForeignOptions { options: self.kind(), kind });
        }
        self.changed().iter().try_for_each(|(name, value)| copy.set(kind, name, value))
    }

    fn kind(&self) -> EndpointKind {
        match self {
            Self::Tcp(_) => EndpointKind::Tcp,
            Self::Udp(_) => EndpointKind::Udp,
            Self::Unix(_) => EndpointKind::Unix,
            Self::Mem(_) => EndpointKind::Mem,
            Self::None => EndpointKind::Custom,
        }
    }

    fn table(&self) -> Option<&dyn OptionSet> {
        match self {
            Self::Tcp(options) => Some(options),
            Self::Udp(options) => Some(options),
            Self::Unix(options) => Some(options),
            Self::Mem(options) => Some(options),
            Self::None => None,
        }
    }

    fn table_mut(&mut self) -> Option<&mut dyn OptionSet> {
        match self {
            Self::Tcp(options) => Some(options),
            Self::Udp(options) => Some(options),
            Self::Unix(options) => Some(options),
            Self::Mem(options) => Some(options),
            Self::None => None,
        }
    }
}
