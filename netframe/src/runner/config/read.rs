//! From TOML to settings. All mistakes of form are collected, so that one run tells all of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Table, Value};

use super::source::{Problem, Source};
use super::{FromFile, ProcessSettings};
use crate::endpoint::Address;
use crate::runner::args::MAX_WORKERS;
use crate::runner::choice::Choice;
use crate::runner::service::{At, ServiceSettings};
use crate::{Endpoint, Limits, Timeout};

type Key<'i> = Spanned<Cow<'i, str>>;
type Item<'i> = Spanned<DeValue<'i>>;

const KEYS: [&str; 4] = ["limits", "service", "workers", "drain"];
const PROCESS_LIMITS: [&str; 2] = ["max_connections", "max_queued"];
const SERVICE_KEYS: [&str; 6] = ["protocol", "listen", "name", "refusal", "limits", "options"];

/// Reads a whole file.
pub(super) fn read(source: &Source) -> Result<(ProcessSettings, Vec<FromFile>), Vec<Problem>> {
    let mut reader = Reader { source, problems: Vec::new(), listened: HashMap::new() };
    let root = match DeTable::parse(&source.text) {
        Ok(root) => root.into_inner(),
        Err(error) => {
            let span = error.span().unwrap_or_default();
            return Err(vec![source.problem(span, format!("not TOML: {}", error.message()))]);
        }
    };
    let (mut process, mut services) = (ProcessSettings::default(), Vec::new());
    let mut has_services = false;
    for (key, item) in root {
        match &**key.get_ref() {
            "workers" => process.workers = reader.number(&key, &item, MAX_WORKERS),
            "drain" => process.drain = reader.duration(&key, &item),
            "limits" => reader.process_limits(item, &mut process),
            "service" => {
                has_services = true;
                services = reader.services(item);
            }
            _ => reader.unknown(&key, "key", "keys", &KEYS),
        }
    }
    if !has_services {
        let example =
            "[[service]] with `protocol = \"echo\"` and `listen = \"tcp://127.0.0.1:7007\"`";
        reader.problem(0..0, format!("there is no service; add {example}"));
    }
    if reader.problems.is_empty() { Ok((process, services)) } else { Err(reader.sorted()) }
}

struct Reader<'s> {
    source: &'s Source,
    problems: Vec<(usize, Problem)>,
    /// Where each endpoint was seen first.
    listened: HashMap<String, usize>,
}

impl Reader<'_> {
    fn problem(&mut self, span: Range<usize>, text: String) {
        self.problems.push((span.start, self.source.problem(span, text)));
    }

    /// The problems in the order of the file.
    fn sorted(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(offset, _)| *offset);
        self.problems.into_iter().map(|(_, problem)| problem).collect()
    }

    fn unknown(&mut self, key: &Key<'_>, what: &str, plural: &'static str, known: &[&str]) {
        let choice = Choice::new(key.get_ref(), plural, known.iter().copied());
        self.problem(key.span(), format!("unknown {what} `{}`; {choice}", key.get_ref()));
    }

    fn expected(&mut self, key: &str, item: &Item<'_>, expected: &str) {
        self.problem(item.span(), format!("invalid value of `{key}`: expected {expected}"));
    }

    fn number(&mut self, key: &Key<'_>, item: &Item<'_>, max: usize) -> Option<NonZeroUsize> {
        let number = match item.get_ref() {
            DeValue::Integer(digits) => usize::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| *number <= max).and_then(NonZeroUsize::new);
        if number.is_none() {
            self.expected(key.get_ref(), item, &format!("a whole number from 1 to {max}"));
        }
        number
    }

    /// Bytes, as the limit of one connection's queue is written.
    fn size(&mut self, key: &Key<'_>, item: Item<'_>) -> Option<NonZeroUsize> {
        let span = item.span();
        let value = Value::deserialize(ValueDeserializer::from(item)).ok();
        let limits = value.map(|value| Table::from_iter([("hard_cap".to_owned(), value)]));
        match limits.map(Limits::deserialize) {
            Some(Ok(limits)) => NonZeroUsize::new(limits.hard_cap),
            Some(Err(error)) => {
                let text = format!("invalid value of `{}`: {}", key.get_ref(), error.message());
                self.problem(span, text);
                None
            }
            None => None,
        }
    }

    fn duration(&mut self, key: &Key<'_>, item: &Item<'_>) -> Option<Duration> {
        let text = match item.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => None,
        };
        let value = Value::String(text.unwrap_or("").to_owned());
        let duration = match Timeout::deserialize(value) {
            // A stop that waits for ever would wait for whoever never ends.
            Ok(Timeout::After(duration)) => Some(duration),
            _ => None,
        };
        if duration.is_none() {
            let expected = "a duration from 1ms to 480h, such as `500ms`, `30s`, `5m` or `1h`";
            self.expected(key.get_ref(), item, expected);
        }
        duration
    }

    fn table<'i>(&mut self, key: &str, item: Item<'i>) -> Option<DeTable<'i>> {
        if let DeValue::Table(_) = item.get_ref() {
            let DeValue::Table(table) = item.into_inner() else { return None };
            return Some(table);
        }
        self.expected(key, &item, "a table");
        None
    }

    fn process_limits(&mut self, item: Item<'_>, process: &mut ProcessSettings) {
        for (key, item) in self.table("limits", item).unwrap_or_default() {
            match &**key.get_ref() {
                "max_connections" => {
                    process.max_connections = self.number(&key, &item, i32::MAX as usize);
                }
                "max_queued" => process.max_queued = self.size(&key, item),
                _ => {
                    let what = "limit of the process";
                    self.unknown(&key, what, "limits of the process", &PROCESS_LIMITS);
                }
            }
        }
    }

    fn services(&mut self, item: Item<'_>) -> Vec<FromFile> {
        let DeValue::Array(_) = item.get_ref() else {
            self.expected("service", &item, "tables, each under a heading of its own: [[service]]");
            return Vec::new();
        };
        let DeValue::Array(items) = item.into_inner() else { return Vec::new() };
        items.into_iter().filter_map(|item| self.service(item)).collect()
    }

    fn service(&mut self, item: Item<'_>) -> Option<FromFile> {
        let whole = item.span();
        let mut spans = HashMap::from([(At::Service, whole.clone())]);
        let (mut protocol, mut name, mut endpoints) = (None, None, None);
        let mut refusal = None;
        let (mut limits, mut options) = (Table::new(), Table::new());
        for (key, item) in self.table("service", item)? {
            match &**key.get_ref() {
                "protocol" => {
                    spans.insert(At::Protocol, item.span());
                    protocol = Some(self.text(&key, &item, "the name of a protocol"));
                }
                "name" => name = Some(self.text(&key, &item, "a name")),
                "refusal" => refusal = self.text(&key, &item, "what a refused peer is sent"),
                "listen" => endpoints = Some(self.endpoints(&key, item, &mut spans)),
                "limits" => {
                    spans.insert(At::Limits, key.span());
                    limits = self.settings("limits", item, &mut spans, At::Limit);
                }
                "options" => {
                    spans.insert(At::Options, key.span());
                    options = self.settings("options", item, &mut spans, At::Option);
                }
                _ => self.unknown(&key, "key of a service", "keys", &SERVICE_KEYS),
            }
        }
        if protocol.is_none() {
            let text = "the service has no protocol; add `protocol = \"echo\"`, or another one";
            self.problem(whole.clone(), text.to_owned());
        }
        if endpoints.is_none() {
            let text = "the service listens nowhere; add `listen = \"tcp://127.0.0.1:7007\"`";
            self.problem(whole, text.to_owned());
        }
        // `None` inside means that the problem has been told.
        let (protocol, endpoints) = (protocol??, endpoints?);
        let name = name.flatten().unwrap_or_else(|| protocol.clone());
        let settings = ServiceSettings { name, protocol, endpoints, refusal, limits, options };
        Some(FromFile { settings, spans })
    }

    fn text(&mut self, key: &Key<'_>, item: &Item<'_>, expected: &str) -> Option<String> {
        match item.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(text.clone().into_owned()),
            _ => {
                self.expected(key.get_ref(), item, &format!("{expected}, as text"));
                None
            }
        }
    }

    fn endpoints(
        &mut self,
        key: &Key<'_>,
        item: Item<'_>,
        spans: &mut HashMap<At, Range<usize>>,
    ) -> Vec<Endpoint> {
        let span = item.span();
        let items = match item.get_ref() {
            DeValue::String(_) => vec![item],
            DeValue::Array(items) if !items.is_empty() => items.iter().cloned().collect(),
            _ => {
                self.expected(key.get_ref(), &item, "an endpoint, or a list of at least one");
                return Vec::new();
            }
        };
        let mut endpoints = Vec::new();
        for item in items {
            let DeValue::String(text) = item.get_ref() else {
                let expected = "an endpoint as text, such as \"tcp://127.0.0.1:7007\"";
                self.expected(key.get_ref(), &item, expected);
                continue;
            };
            match text.parse::<Endpoint>() {
                Err(error) => self.problem(item.span(), error.to_string()),
                Ok(endpoint) => {
                    self.listen_once(&endpoint, item.span());
                    spans.insert(At::Listen(endpoints.len()), item.span());
                    endpoints.push(endpoint);
                }
            }
        }
        spans.insert(At::Listen(endpoints.len()), span);
        endpoints
    }

    /// Two services cannot have one endpoint; any free port is another one each time.
    fn listen_once(&mut self, endpoint: &Endpoint, span: Range<usize>) {
        if matches!(endpoint.address(), Address::Inet { port: 0, .. }) {
            return;
        }
        let place = match endpoint.address() {
            Address::None => endpoint.to_string(),
            address => format!("{}://{address}", endpoint.kind()),
        };
        if let Some(first) = self.listened.get(&place) {
            let (line, _) = self.source.position(*first);
            let text =
                format!("`{place}` is listened on already in line {line}; choose another one");
            self.problem(span, text);
        } else {
            self.listened.insert(place, span.start);
        }
    }

    /// A table whose content is another one's affair; its keys keep their places.
    fn settings(
        &mut self,
        key: &str,
        item: Item<'_>,
        spans: &mut HashMap<At, Range<usize>>,
        at: fn(String) -> At,
    ) -> Table {
        let mut table = Table::new();
        for (key, item) in self.table(key, item).unwrap_or_default() {
            let name = key.get_ref().clone().into_owned();
            spans.insert(at(name.clone()), key.span());
            let span = item.span();
            match Value::deserialize(ValueDeserializer::from(item)) {
                Ok(value) => {
                    table.insert(name, value);
                }
                Err(error) => self.problem(span, error.message().to_owned()),
            }
        }
        table
    }
}
