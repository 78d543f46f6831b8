//! [`ConnectionInfo`]: who is connected, and how.

use std::any::{Any, TypeId};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::addr::Addr;
use crate::endpoint::EndpointKind;

/// Who is connected, and how. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    pub(crate) id: ConnectionId,
    pub(crate) peer: Addr,
    pub(crate) origin: Arc<Origin>,
}

impl ConnectionInfo {
    /// Describes a connection with a new id; for tests and for streams of one's own.
    pub fn new(kind: EndpointKind, peer: Addr, local: Addr) -> Self {
        Self::with_origin(peer, Arc::new(Origin::new(kind, local)))
    }

    pub(crate) fn with_origin(peer: Addr, origin: Arc<Origin>) -> Self {
        Self { id: ConnectionId::next(), peer, origin }
    }

    /// Number of the connection, unique in this process.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The other end.
    pub fn peer(&self) -> &Addr {
        &self.peer
    }

    /// This end.
    pub fn local(&self) -> &Addr {
        &self.origin.local
    }

    /// Kind of the endpoint: `tcp`, `mem`, …
    pub fn kind(&self) -> EndpointKind {
        self.origin.kind
    }

    /// Whether bytes come as datagrams, each a message of its own, rather than as a stream.
    pub fn is_datagram(&self) -> bool {
        self.origin.kind.is_datagram()
    }

    /// A fact of type `T` about the connection, which its listener or a layer published.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.origin.extensions.get()
    }

    pub(crate) fn extension(&self, id: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        self.origin.extensions.get_any(id)
    }
}

/// Number of a connection, unique in this process and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(NonZeroU64);

impl ConnectionId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(NonZeroU64::new(id).expect("2^64 connections take centuries"))
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the connections of one listener have in common; shared, so that each pays one pointer.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) kind: EndpointKind,
    pub(crate) local: Addr,
    pub(crate) extensions: Extensions,
}

impl Origin {
    pub(crate) fn new(kind: EndpointKind, local: Addr) -> Self {
        Self { kind, local, extensions: Extensions::default() }
    }
}

/// Facts about a connection, one of each type: a layer puts them in, a protocol reads them.
///
/// ```
/// use netframe_core::Extensions;
///
/// #[derive(Debug, PartialEq)]
/// struct ServerName(String);
///
/// let mut facts = Extensions::default();
/// facts.insert(ServerName("example.org".into()));
/// assert_eq!(facts.get::<ServerName>().unwrap().0, "example.org");
/// ```
#[derive(Clone, Default)]
pub struct Extensions(Vec<Arc<dyn Any + Send + Sync>>);

impl Extensions {
    /// Adds a fact, in place of an earlier one of the same type.
    pub fn insert<T: Any + Send + Sync>(&mut self, fact: T) {
        self.0.retain(|old| (**old).type_id() != TypeId::of::<T>());
        self.0.push(Arc::new(fact));
    }

    /// The fact of type `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.get_any(TypeId::of::<T>())?.downcast_ref()
    }

    /// Adds all facts of `other`, in place of earlier ones of the same types.
    pub(crate) fn merge(&mut self, other: Self) {
        for fact in other.0 {
            self.0.retain(|old| (**old).type_id() != (*fact).type_id());
            self.0.push(fact);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get_any(&self, id: TypeId) -> Option<&(dyn Any + Send + Sync)> {
        self.0.iter().find(|fact| (***fact).type_id() == id).map(|fact| &**fact)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extensions({})", self.0.len())
    }
}
