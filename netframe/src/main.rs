//! The program `netframe`: serves protocols by their names.

mod runner;

fn main() -> std::process::ExitCode {
    runner::main()
}
