//! The program `netframe`: serves protocols by their names, and connects to them.

use netframe::runner::Runner;

fn main() -> std::process::ExitCode {
    Runner::new("netframe").ready_protocols().main()
}
