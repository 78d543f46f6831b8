//! What a program does that cannot give everything back at its end, as a callback of it blocks. It is
//! the program itself, too, when it is started with arguments of `serve`; hence it has no test harness.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use netframe::bytes::BytesMut;
use netframe::runner::{Entry, Runner};
use netframe::{ConnectionInfo, Protocol, Result, Transport};

/// Answers, and then blocks its worker until stdin ends.
struct Blocks;

impl Protocol for Blocks {
    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        println!("blocked");
        io::stdin().read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

fn main() -> ExitCode {
    if env::args().nth(1).is_some_and(|arg| arg == "serve") {
        let blocks = || |_: &ConnectionInfo| Blocks;
        return Runner::new("blocks").protocol(Entry::plain("blocks", "blocks", blocks)).main();
    }
    what_is_not_given_back_is_an_error();
    println!("test what_is_not_given_back_is_an_error ... ok");
    ExitCode::SUCCESS
}

fn what_is_not_given_back_is_an_error() {
    let path = env::temp_dir().join(format!("netframe-leaks-{}.sock", std::process::id()));
    let endpoint = format!("unix://{}", path.to_str().unwrap());
    let mut program = Command::new(env::current_exe().unwrap())
        .args(["serve", "blocks", &endpoint, "--workers", "1", "--drain", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut stderr = BufReader::new(program.stderr.take().unwrap()).lines();
    assert!(stdout.next().unwrap().unwrap().starts_with("listening blocks unix://"));
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"question").unwrap();
    assert_eq!(stdout.next().unwrap().unwrap(), "blocked");

    let pid = program.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let told = "not everything was given back: connections: 1, listeners: 1";
    assert!(stderr.any(|line| line.unwrap().contains(told)), "the log tells of it");
    drop(program.stdin.take()); // and the callback goes on
    let last = stderr.map(io::Result::unwrap).last().unwrap();
    assert_eq!(last, format!("error: {told}"));
    assert_eq!(program.wait().unwrap().code(), Some(1));
}
