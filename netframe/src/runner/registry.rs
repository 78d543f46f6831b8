//! The protocols that can be served by name: each a name, typed options, and how a factory is made
//! of them. It knows nothing of command lines and files.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::choice::Choice;
use crate::{BoxError, Factory, Limits, Needs, Protocol, Server, ServerBuilder};

/// A protocol that can be served by its name, with options of the type `O`.
///
/// The options are any type that serde reads and writes as a table, and that has defaults; their
/// names, types and defaults are those that it has. TOML bounds them: an integer is at most
/// `i64::MAX`, so that "unlimited" is better an `Option` than a `usize::MAX`.
///
/// ```
/// use netframe::runner::{Entry, Memory, Runner};
/// use netframe::{ConnectionInfo, Protocol, Result, Transport, bytes::BytesMut};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Deserialize, Serialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct ShoutOptions {
///     suffix: String,
/// }
///
/// struct Shout(ShoutOptions);
///
/// impl Protocol for Shout {
///     async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
///         t.write(&data.split().to_ascii_uppercase());
///         t.write(self.0.suffix.as_bytes());
///         Ok(())
///     }
/// }
///
/// let shout = Entry::new("shout", "answers in upper case", |options: ShoutOptions| {
///     Ok(move |_: &ConnectionInfo| Shout(options.clone()))
/// });
/// let shout = shout.option("suffix", "put behind each answer").memory(|options| Memory {
///     shared: 0,
///     per_connection: size_of::<Shout>() + options.suffix.len(),
/// });
/// let runner = Runner::new("shoutd").protocol(shout);
/// // runner.main()
/// ```
pub struct Entry<O = NoOptions> {
    name: &'static str,
    about: &'static str,
    needs: Needs,
    abouts: Vec<(&'static str, &'static str)>,
    secrets: Vec<&'static str>,
    build: Build<O>,
    limits: Raise<O>,
    memory: Box<dyn Fn(&O) -> Memory + Send + Sync>,
    descriptors: usize,
    refusal: &'static [u8],
    /// What is to be done by who wants it over datagrams, which it does not run over by itself.
    datagrams: Option<&'static str>,
}

type Build<O> = Box<dyn Fn(O) -> Result<ServerBuilder, BoxError> + Send + Sync>;
type Raise<O> = Box<dyn Fn(&O, &mut Limits) + Send + Sync>;

/// The options of a protocol that has none.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// Bytes that a protocol holds at most, besides what its connections have queued and pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// For all connections together, such as a history.
    pub shared: usize,
    /// For each connection.
    pub per_connection: usize,
}

impl<O> Entry<O> {
    /// A protocol whose factory is made from its options by `build`.
    ///
    /// An error of `build` is shown to whoever has set the options; it should name the option, and
    /// say what would do.
    pub fn new<F: Factory>(
        name: &'static str,
        about: &'static str,
        build: impl Fn(O) -> Result<F, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            about,
            needs: F::Protocol::NEEDS,
            abouts: Vec::new(),
            secrets: Vec::new(),
            build: Box::new(move |options| Ok(Server::builder(build(options)?))),
            limits: Box::new(|_, _| {}),
            memory: Box::new(|_| Memory { shared: 0, per_connection: size_of::<F::Protocol>() }),
            descriptors: 0,
            refusal: b"",
            datagrams: None,
        }
    }

    /// Has the options choose between this protocol and one that runs over datagrams too: `build` makes
    /// a server of that one where it is asked for, and else none. `how` says how to ask for it.
    pub(super) fn datagrams_if<F: Factory>(
        mut self,
        how: &'static str,
        build: impl Fn(&O) -> Result<Option<F>, BoxError> + Send + Sync + 'static,
    ) -> Self
    where
        O: 'static,
    {
        let streams = self.build;
        self.build = Box::new(move |options| match build(&options)? {
            Some(factory) => Ok(Server::builder(factory)),
            None => streams(options),
        });
        self.datagrams = Some(how);
        self
    }

    /// Says what an option is for, in a few words. One whose default is `None` exists only with this,
    /// as nothing else tells of it.
    pub fn option(mut self, name: &'static str, about: &'static str) -> Self {
        self.abouts.push((name, about));
        self
    }

    /// As [`option`](Self::option), of one whose value nobody is to read: `check` does not show it.
    pub fn secret(mut self, name: &'static str, about: &'static str) -> Self {
        self.secrets.push(name);
        self.option(name, about)
    }

    /// Raises the limits that the options need to be higher, such as `max_pending` for long
    /// messages.
    pub fn limits(mut self, raise: impl Fn(&O, &mut Limits) + Send + Sync + 'static) -> Self {
        self.limits = Box::new(raise);
        self
    }

    /// What a peer is sent that is refused because of a limit, where a service does not say it itself.
    pub fn refusal(mut self, bytes: &'static [u8]) -> Self {
        self.refusal = bytes;
        self
    }

    /// Says how many descriptors each connection takes besides its own, such as one that a forwarder
    /// opens for it; none where this is not called.
    pub fn descriptors(mut self, per_connection: usize) -> Self {
        self.descriptors = per_connection;
        self
    }

    /// Says what the protocol holds at most; the size of its type for each connection where this is
    /// not called.
    pub fn memory(mut self, of: impl Fn(&O) -> Memory + Send + Sync + 'static) -> Self {
        self.memory = Box::new(of);
        self
    }
}

impl Entry {
    /// A protocol without options.
    pub fn plain<F: Factory>(
        name: &'static str,
        about: &'static str,
        factory: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, about, move |NoOptions {}| Ok(factory()))
    }
}

impl<O> fmt::Debug for Entry<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An [`Entry`] whatever the type of its options.
pub(super) trait Registered: Send + Sync {
    fn name(&self) -> &'static str;
    fn about(&self) -> &'static str;
    fn needs(&self) -> Needs;
    fn options(&self) -> Vec<OptionInfo>;

    /// What is served with these options. Those that are not given have their defaults.
    fn configure(&self, options: &Table, limits: &Limits) -> Result<Configured, OptionError>;
}

/// A protocol with its options.
pub(super) struct Configured {
    /// Still without endpoints and limits.
    pub(super) server: ServerBuilder,
    pub(super) needs: Needs,
    /// Raised where the options need it.
    pub(super) limits: Limits,
    pub(super) memory: Memory,
    /// Of each connection, besides its own.
    pub(super) descriptors: usize,
    /// Options whose values nobody is to read.
    pub(super) secrets: Vec<&'static str>,
    /// How to have it run over datagrams, if it does not by itself.
    pub(super) datagrams: Option<&'static str>,
}

/// An option of a protocol.
#[derive(Clone, Debug)]
pub(super) struct OptionInfo {
    pub(super) name: String,
    pub(super) about: &'static str,
    /// `None` where it has none.
    pub(super) default: Option<Value>,
}

impl OptionInfo {
    /// What it must be, in the words of TOML.
    pub(super) fn kind(&self) -> &'static str {
        self.default.as_ref().map_or("any", Value::type_str)
    }

    /// As it would be set on a command line.
    pub(super) fn setting(&self) -> String {
        let default = match &self.default {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        format!("{}={default}", self.name)
    }
}

impl<O: Default + Serialize + DeserializeOwned + 'static> Registered for Entry<O> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn needs(&self) -> Needs {
        self.needs
    }

    fn options(&self) -> Vec<OptionInfo> {
        let defaults = Table::try_from(O::default()).unwrap_or_else(|error| {
            panic!("the options of `{}` have defaults that are no TOML: {error}", self.name)
        });
        let about = |name: &str| self.abouts.iter().find(|(other, _)| *other == name);
        let mut options: Vec<_> = defaults
            .into_iter()
            .map(|(name, default)| OptionInfo {
                about: about(&name).map_or("", |(_, about)| about),
                default: Some(default),
                name,
            })
            .collect();
        // An `Option` that is `None` does not show in what serde writes.
        for (name, about) in &self.abouts {
            if !options.iter().any(|option| option.name == *name) {
                options.push(OptionInfo { name: (*name).to_owned(), about, default: None });
            }
        }
        options
    }

    fn configure(&self, options: &Table, limits: &Limits) -> Result<Configured, OptionError> {
        let known = self.options();
        let names = || known.iter().map(|option| option.name.as_str());
        let read = |options: Table| -> Result<(O, ServerBuilder), BoxError> {
            let parse = || O::deserialize(options.clone());
            let read = parse().map_err(|error| error.message().to_owned())?;
            // Again, as one of them goes to the factory.
            let kept = parse().map_err(|error| error.message().to_owned())?;
            Ok((kept, (self.build)(read)?))
        };
        for name in options.keys() {
            if !names().any(|known| known == name) {
                let choice = Choice::new(name, "options", names());
                let (found, protocol) = (name.clone(), self.name);
                return Err(OptionError::Unknown { found, protocol, choice });
            }
        }
        let (options, server) = read(options.clone()).map_err(|source| {
            let protocol = self.name;
            // What is wrong without any option, such as one that must be given, is the fault of none.
            let missing = read(Table::new()).err().map(|error| error.to_string());
            let is_missing = |error: &BoxError| missing.as_ref() == Some(&error.to_string());
            // The first that fails alone is the one; else each is good, but not with the others.
            let alone = |(name, value): (&String, &Value)| {
                let alone = Table::from_iter([(name.clone(), value.clone())]);
                let source = read(alone).err().filter(|error| !is_missing(error))?;
                Some(OptionError::Invalid { option: name.clone(), source })
            };
            options.iter().find_map(alone).unwrap_or_else(|| {
                if is_missing(&source) {
                    OptionError::Missing { protocol, source }
                } else {
                    OptionError::Together { protocol, source }
                }
            })
        })?;
        let mut limits = limits.clone();
        (self.limits)(&options, &mut limits);
        let server = server.refusal(self.refusal);
        let (memory, secrets) = ((self.memory)(&options), self.secrets.clone());
        let (needs, datagrams) = (self.needs, self.datagrams);
        let descriptors = self.descriptors;
        Ok(Configured { server, needs, limits, memory, descriptors, secrets, datagrams })
    }
}

/// All protocols that a runner has, in the order in which they are listed.
#[derive(Default)]
pub(super) struct Registry {
    entries: Vec<Box<dyn Registered>>,
}

impl Registry {
    /// Adds a protocol, in place of one that has the same name.
    ///
    /// # Panics
    ///
    /// The defaults of its options cannot be written as TOML.
    pub(super) fn add(&mut self, entry: impl Registered + 'static) {
        entry.options(); // a default that cannot be is told of at once, and not when it is used
        self.entries.retain(|other| other.name() != entry.name());
        self.entries.push(Box::new(entry));
    }

    /// The protocol of this name.
    pub(super) fn find(&self, name: &str) -> Result<&dyn Registered, UnknownProtocol> {
        self.entries().find(|entry| entry.name() == name).ok_or_else(|| UnknownProtocol {
            found: name.to_owned(),
            choice: Choice::new(name, "protocols", self.entries().map(Registered::name)),
        })
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &dyn Registered> {
        self.entries.iter().map(AsRef::as_ref)
    }
}

/// No protocol has this name.
#[derive(Debug, thiserror::Error)]
#[error("unknown protocol `{found}`; {choice}")]
pub(super) struct UnknownProtocol {
    found: String,
    choice: Choice,
}

/// Why a protocol does not take its options.
#[derive(Debug, thiserror::Error)]
pub(super) enum OptionError {
    #[error("unknown option `{found}` of `{protocol}`; {choice}")]
    Unknown { found: String, protocol: &'static str, choice: Choice },
    #[error("invalid value of option `{option}`")]
    Invalid { option: String, source: BoxError },
    #[error("`{protocol}` needs more options")]
    Missing { protocol: &'static str, source: BoxError },
    #[error("the options of `{protocol}` do not fit together")]
    Together { protocol: &'static str, source: BoxError },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::failure::Chain;
    use crate::runner::ready;
    use crate::runner::service::ServiceSettings;
    use crate::{Datagram, DatagramProtocol, DatagramTransport};

    #[derive(Default, Deserialize, Serialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        root: Option<String>,
        count: u32,
        names: Vec<String>,
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        let build = |_: Options| Ok(crate::protocols::echo());
        registry.add(Entry::new("files", "serves files", build).option("root", "their folder"));
        registry
    }

    #[test]
    fn options_are_known_by_their_defaults_and_descriptions() {
        let registry = registry();
        let options = registry.find("files").unwrap().options();
        let told: Vec<_> =
            options.iter().map(|option| (option.setting(), option.kind(), option.about)).collect();
        let want = [
            ("count=0", "integer", ""),
            ("names=[]", "array", ""),
            ("root=", "any", "their folder"),
        ];
        assert_eq!(told, want.map(|(setting, kind, about)| (setting.to_owned(), kind, about)));
    }

    #[test]
    fn an_option_without_a_default_can_be_set() {
        let registry = registry();
        let options = toml::from_str("root = \"/srv\"").unwrap();
        registry.find("files").unwrap().configure(&options, &Limits::default()).unwrap();
    }

    #[test]
    fn an_option_that_must_be_given_is_missed_and_no_other_is_blamed() {
        let mut registry = Registry::default();
        let build = |options: Options| match options.root {
            Some(_) if options.count > 9 => Err("`count` is above 9".into()),
            Some(_) => Ok(crate::protocols::echo()),
            None => Err("`root` is not set; name a folder".into()),
        };
        registry.add(Entry::new("files", "serves files", build).option("root", "their folder"));
        let error = |options: &str| {
            let options = toml::from_str(options).unwrap();
            let configured =
                registry.find("files").unwrap().configure(&options, &Limits::default());
            Chain(&configured.err().unwrap()).to_string()
        };
        let missing = "`files` needs more options: `root` is not set; name a folder";
        assert_eq!(error(""), missing);
        assert_eq!(error("count = 1"), missing);
        assert!(
            error("count = 'one'").starts_with("invalid value of option `count`: invalid type")
        );
        assert!(error("root = '/srv'\ncount = 10").ends_with("together: `count` is above 9"));
    }

    #[test]
    #[should_panic(expected = "the options of `files` have defaults that are no TOML: ")]
    fn defaults_that_toml_does_not_have_are_refused_at_once() {
        #[derive(Deserialize, Serialize)]
        struct Unlimited {
            max: u64,
        }

        impl Default for Unlimited {
            fn default() -> Self {
                Self { max: u64::MAX }
            }
        }

        let entry = Entry::new("files", "", |_: Unlimited| Ok(crate::protocols::echo()));
        Registry::default().add(entry);
    }

    #[test]
    fn any_factory_makes_an_entry() {
        struct Ignore;

        impl DatagramProtocol for Ignore {
            async fn datagram_received(
                &mut self,
                _: &mut DatagramTransport<'_>,
                _: Datagram,
            ) -> crate::Result {
                Ok(())
            }
        }

        let mut registry = Registry::default();
        registry.add(Entry::plain("datagrams", "", || crate::datagrams(|_| Ignore)));
        registry.add(Entry::plain("stream", "", || crate::stream_fn(async |_| Ok(()))));
        let fits = |name, endpoint: &str| {
            let entry = registry.find(name).unwrap();
            let configured = entry.configure(&Table::new(), &Limits::default()).unwrap();
            configured.server.listen(endpoint).unwrap().validate().is_ok()
        };
        assert!(fits("datagrams", "udp://127.0.0.1:0") && !fits("datagrams", "tcp://127.0.0.1:0"));
        assert!(fits("stream", "tcp://127.0.0.1:0") && !fits("stream", "udp://127.0.0.1:0"));
    }

    #[tokio::test]
    async fn a_refusal_is_that_of_the_protocol_where_none_is_set() {
        use tokio::io::AsyncReadExt;

        let mut registry = Registry::default();
        let entry = Entry::plain("echo", "", crate::protocols::echo).refusal(b"later\n");
        registry.add(entry);
        for (set, sent) in [(None, "later\n"), (Some("no\n".to_owned()), "no\n")] {
            let settings = ServiceSettings {
                name: "echo".to_owned(),
                protocol: "echo".to_owned(),
                endpoints: vec!["mem://refusal-of-an-entry".parse().unwrap()],
                refusal: set,
                limits: toml::from_str("max_connections = 1\nat_limit = 'refuse'").unwrap(),
                options: Table::new(),
            };
            let planned = settings.plan(&registry).unwrap_or_else(|faults| panic!("{faults:?}"));
            let server = planned.server.bind().await.unwrap();
            let _first = crate::Stream::connect(server.endpoint().clone()).await.unwrap();
            let mut second = crate::Stream::connect(server.endpoint().clone()).await.unwrap();
            let mut told = String::new();
            second.read_to_string(&mut told).await.unwrap();
            assert_eq!(told, sent);
            server.shutdown(std::time::Duration::from_secs(9)).await;
        }
    }

    #[test]
    fn a_later_entry_takes_the_place_of_one_with_the_same_name() {
        let mut registry = registry();
        registry.add(Entry::plain("files", "nothing", crate::protocols::discard));
        assert_eq!(registry.entries().count(), 1);
        assert_eq!(registry.find("files").unwrap().about(), "nothing");
    }

    #[test]
    fn every_ready_protocol_is_described_and_takes_its_defaults() {
        let mut registry = Registry::default();
        ready::add_to(&mut registry);
        for entry in registry.entries() {
            assert!(!entry.about().is_empty(), "{}", entry.name());
            let defaults = entry.options().into_iter().filter_map(|option| {
                assert!(!option.about.is_empty(), "{} of {}", option.name, entry.name());
                Some((option.name, option.default?))
            });
            let configured = match entry.configure(&defaults.collect(), &Limits::default()) {
                Err(OptionError::Missing { protocol: "port-forward" | "socks5", .. }) => continue,
                configured => configured.unwrap(),
            };
            configured.server.limits(configured.limits).validate().unwrap();
        }
    }
}
