//! Small services that answer a datagram with more than it has, and so serve datagrams only where that
//! is asked for.

use serde::{Deserialize, Serialize};

use crate::protocols::{self, QotdOptions, chargen_datagrams, qotd_datagrams};
use crate::runner::registry::Entry;

/// Behind the endpoint.
const HOW: &str = "carries datagrams, whose senders can be forged, and each would be answered with more \
    than it has; use tcp://, or set the option `datagrams = true` where nobody can forge one";

const DATAGRAMS: &str = "whether datagrams are answered too: with more than they have, so beware";

/// `chargen`.
pub(super) fn chargen() -> Entry<Options> {
    let about = "sends characters for as long as they are read";
    Entry::new("chargen", about, |_| Ok(protocols::chargen()))
        .option("datagrams", DATAGRAMS)
        .datagrams_if(HOW, |options: &Options| Ok(options.datagrams.then(chargen_datagrams)))
}

/// `qotd`.
pub(super) fn qotd() -> Entry<QuoteOptions> {
    let build = |options: QuoteOptions| Ok(protocols::qotd(options.quotes())?);
    Entry::new("qotd", "tells the quote of the day", build)
        .option("quotes", "one for each day in turn, of at most 510 bytes")
        .option("datagrams", DATAGRAMS)
        .datagrams_if(HOW, |options: &QuoteOptions| {
            let datagrams = options.datagrams.then(|| qotd_datagrams(options.quotes()));
            Ok(datagrams.transpose()?)
        })
}

/// The options of `chargen`.
#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Options {
    datagrams: bool,
}

/// The options of `qotd`.
#[derive(Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct QuoteOptions {
    quotes: Vec<String>,
    datagrams: bool,
}

impl Default for QuoteOptions {
    fn default() -> Self {
        Self { quotes: QotdOptions::default().quotes, datagrams: false }
    }
}

impl QuoteOptions {
    fn quotes(&self) -> QotdOptions {
        let mut options = QotdOptions::default();
        options.quotes.clone_from(&self.quotes);
        options
    }
}
