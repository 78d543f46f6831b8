//! [`ServiceSettings`]: one service as it was asked for, by a file or a command line, and
//! [`Planned`]: what it comes to.

use serde::Deserialize;
use toml::Table;

use super::choice::Choice;
use super::failure::Chain;
use super::registry::{Configured, Memory, OptionError, Registry};
use crate::{Endpoint, Error, LimitError, Limits, Needs, ServerBuilder};

/// One service as it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServiceSettings {
    /// Its name in logs; that of the protocol where none is given.
    pub(super) name: String,
    pub(super) protocol: String,
    pub(super) endpoints: Vec<Endpoint>,
    /// What is sent to those that are refused because of a limit; what the protocol says where none is
    /// given.
    pub(super) refusal: Option<String>,
    /// Only those that were set.
    pub(super) limits: Table,
    /// Likewise.
    pub(super) options: Table,
}

/// A service that can be served.
pub(super) struct Planned {
    pub(super) server: ServerBuilder,
    pub(super) needs: Needs,
    pub(super) limits: Limits,
    pub(super) memory: Memory,
    /// Of each connection, besides its own.
    pub(super) descriptors: usize,
    /// The names of limits that are higher because of the options.
    pub(super) raised: Vec<String>,
    /// Options whose values nobody is to read.
    pub(super) secrets: Vec<&'static str>,
}

/// What is wrong with a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: At,
    pub(super) text: String,
}

/// The setting that a fault is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum At {
    Service,
    Protocol,
    Listen(usize),
    Limits,
    Limit(String),
    Options,
    Option(String),
}

impl ServiceSettings {
    /// Checks everything that can be without the network.
    pub(super) fn plan(&self, registry: &Registry) -> Result<Planned, Vec<Fault>> {
        let mut faults = Vec::new();
        let limits = self.read_limits().map_err(|found| faults.extend(found)).ok();
        let base = limits.clone().unwrap_or_default();
        let configured = match registry.find(&self.protocol) {
            Err(error) => {
                faults.push(Fault { at: At::Protocol, text: error.to_string() });
                None
            }
            Ok(entry) => match entry.configure(&self.options, &base) {
                Ok(configured) => Some(configured),
                Err(error) => {
                    faults.push(option_fault(&error));
                    None
                }
            },
        };
        let (Some(limits), Some(configured)) = (limits, configured) else { return Err(faults) };
        let Configured { server, needs, limits: needed, memory, descriptors, secrets, datagrams } =
            configured;
        let (set, wanted) = (written(&limits), written(&needed));
        let raised: Vec<_> =
            wanted.iter().filter(|(name, need)| set.get(*name) != Some(need)).collect();
        for (name, need) in &raised {
            if let Some(value) = self.limits.get(*name) {
                let protocol = &self.protocol;
                let text = format!(
                    "limit `{name}` is {value}, and `{protocol}` needs {need} with these options; \
                     raise it, or leave it out"
                );
                faults.push(Fault { at: At::Limit((*name).clone()), text });
            }
        }
        let raised = raised.into_iter().map(|(name, _)| name.clone()).collect();
        let mut server = server.name(&self.name).limits(needed.clone());
        if let Some(refusal) = &self.refusal {
            server = server.refusal(refusal.clone());
        }
        for endpoint in &self.endpoints {
            server = match server.listen(endpoint.clone()) {
                Ok(server) => server,
                Err(never) => {
                    faults.push(Fault { at: At::Service, text: never.to_string() });
                    return Err(faults);
                }
            };
        }
        if let Err(error) = server.validate() {
            let at = self.place_of(error.endpoint());
            let text = match (&error, datagrams) {
                (Error::NeedsStream { endpoint }, Some(how)) => format!("`{endpoint}` {how}"),
                _ => error.to_string(),
            };
            faults.push(Fault { at, text });
        }
        if faults.is_empty() {
            Ok(Planned { server, needs, limits: needed, memory, descriptors, raised, secrets })
        } else {
            Err(faults)
        }
    }

    /// Where an endpoint was asked for.
    pub(super) fn place_of(&self, endpoint: Option<&Endpoint>) -> At {
        let index = self.endpoints.iter().position(|asked| Some(asked) == endpoint);
        index.map_or(At::Service, At::Listen)
    }

    fn read_limits(&self) -> Result<Limits, Vec<Fault>> {
        let known = written(&Limits::default());
        let mut faults = Vec::new();
        for (name, value) in &self.limits {
            let text = if known.contains_key(name) {
                let alone = Table::from_iter([(name.clone(), value.clone())]);
                match Limits::deserialize(alone) {
                    Ok(_) => continue,
                    Err(error) => format!("invalid value of limit `{name}`: {}", error.message()),
                }
            } else {
                let choice = Choice::new(name, "limits", known.keys().map(String::as_str));
                format!("unknown limit `{name}`; {choice}")
            };
            faults.push(Fault { at: At::Limit(name.clone()), text });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let fault = |at, text| vec![Fault { at, text }];
        let limits = Limits::deserialize(self.limits.clone())
            .map_err(|error| fault(At::Limits, error.message().to_owned()))?;
        limits.validate().map_err(|error| fault(self.limit_at(&error), error.to_string()))?;
        Ok(limits)
    }

    /// The limit that was set and is in the way.
    fn limit_at(&self, error: &LimitError) -> At {
        let names = match error {
            LimitError::Zero { name } | LimitError::ZeroTimeout { name } => vec![*name],
            LimitError::Order { small, large, .. } => vec![*small, *large],
            _ => Vec::new(),
        };
        let set = names.into_iter().find(|name| self.limits.contains_key(*name));
        set.map_or(At::Limits, |name| At::Limit(name.to_owned()))
    }
}

/// All limits by their names, as a file would have them.
pub(super) fn written(limits: &Limits) -> Table {
    Table::try_from(limits).expect("limits are texts and numbers")
}

fn option_fault(error: &OptionError) -> Fault {
    let at = match error {
        OptionError::Unknown { found: name, .. } | OptionError::Invalid { option: name, .. } => {
            At::Option(name.clone())
        }
        OptionError::Missing { .. } | OptionError::Together { .. } => At::Options,
    };
    Fault { at, text: Chain(error).to_string() }
}
