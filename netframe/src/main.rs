//! The program `netframe`: serves protocols by their names, and connects to them.

mod runner;

fn main() -> std::process::ExitCode {
    runner::main()
}
