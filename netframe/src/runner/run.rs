//! `netframe run`: all services of a configuration file.

use super::args::Run;
use super::config::{Config, Problem};
use super::failure::Failure;
use super::host::{Hosted, Reload, host, process};
use super::log;
use super::registry::Registry;

/// Serves until a signal, then drains. The file is read again when that is asked for.
pub(super) fn run(args: &Run, registry: &Registry) -> Result<(), Failure> {
    let config = Config::read(&args.config).map_err(wrong)?;
    let planned = config.plan(registry).map_err(wrong)?;
    log::start(&args.log);
    let process = process(&args.process, &config.process);
    let settings = config.services.iter().map(|service| service.settings.clone());
    let services = settings.zip(planned).map(|(settings, planned)| Hosted { settings, planned });
    let reload = Reload { path: &args.config, registry, process: config.process.clone() };
    host(&process, services.collect(), Some(&reload), |index, error| Failure::Located {
        problem: config.locate(&config.services[index], &error).to_string(),
        source: Box::new(error),
    })
}

/// A configuration that cannot be run.
pub(super) fn wrong(problems: Vec<Problem>) -> Failure {
    Failure::Wrong(problems.iter().map(ToString::to_string).collect())
}
