//! `netframe serve`: one protocol on its endpoints.

use super::args::Serve;
use super::config::ProcessSettings;
use super::failure::Failure;
use super::host::{Hosted, host, process};
use super::registry::Registry;
use super::service::ServiceSettings;
use super::{log, setting};

/// Serves until a signal, then drains.
pub(super) fn serve(args: Serve, registry: &Registry) -> Result<(), Failure> {
    let settings = ServiceSettings {
        name: args.protocol.clone(),
        protocol: args.protocol,
        endpoints: args.endpoints,
        refusal: None,
        limits: setting::table("limit", args.limits)?,
        options: setting::table("option", args.settings)?,
    };
    let planned = settings
        .plan(registry)
        .map_err(|faults| Failure::Wrong(faults.into_iter().map(|fault| fault.text).collect()))?;
    log::start(&args.log);
    let process = process(&args.process, &ProcessSettings::default());
    host(&process, vec![Hosted { settings, planned }], None, |_, error| error.into())
}
