//! A program of one's own that serves one's own protocol by its name: with options, from a command
//! line or a configuration file.
//!
//! Run it with `cargo run -p netframe-examples --example shoutd -- run netframe-examples/shoutd.toml`;
//! it prints `listening shout tcp://127.0.0.1:7010` and serves until Ctrl-C. `nc 127.0.0.1 7010`
//! answers `hello` with `HELLO!!`. The program also has the commands `serve`, `check`, `protocols`,
//! `connect` and `completions`; `-- --help` tells more.

use std::process::ExitCode;

use netframe::protocols::line::{LineProtocol, LineTransport, Lines};
use netframe::runner::{Entry, Runner};
use netframe::{BoxError, ConnectionInfo, Factory, Result};
use serde::{Deserialize, Serialize};

/// What a configuration file can set.
#[derive(Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    suffix: String,
    times: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { suffix: "!".to_owned(), times: 1 }
    }
}

/// Answers each line in upper case.
struct Shout(String);

impl LineProtocol for Shout {
    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        t.send_line([&line.to_ascii_uppercase()[..], self.0.as_bytes()].concat())?;
        Ok(())
    }
}

/// From the options to a factory, or to what is wrong with them.
fn shout(options: Options) -> Result<impl Factory, BoxError> {
    if options.times > 10 {
        return Err("`times` is above 10, which is too loud; set at most 10".into());
    }
    let suffix = options.suffix.repeat(options.times);
    Ok(move |_: &ConnectionInfo| Lines::new(Shout(suffix.clone())))
}

fn main() -> ExitCode {
    let entry = Entry::new("shout", "answers each line in upper case", shout)
        .option("suffix", "put behind each answer")
        .option("times", "how often it is put there");
    Runner::new("shoutd").about("Shouts back at whoever connects").protocol(entry).main()
}
