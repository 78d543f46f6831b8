//! The program under test: one process, which ends with the test whatever happens.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Becomes the program, with room for a thousand connections where the limit of descriptors is the
/// usual 1024 and may be raised.
const EXEC: &str = r#"ulimit -n 2048 2>/dev/null; exec "$0" "$@""#;

/// A running `netframe`.
pub(crate) struct Program {
    child: Child,
    stdout: Option<Receiver<String>>,
    stderr: Receiver<String>,
    logged: String,
    /// Where it listens by IP, in the order of its lines on stdout.
    pub(crate) addrs: Vec<SocketAddr>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct End {
    /// `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Starts `netframe` with these arguments, and with nothing on stdin.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with(args, |command| command)
    }

    /// Starts `netframe` after a change of its surroundings, such as a stdin.
    pub(crate) fn start_with(
        args: &[&str],
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        Self::start_by(EXEC, args, change)
    }

    /// Starts `netframe` by a shell script that becomes it.
    pub(crate) fn start_by(
        script: &str,
        args: &[&str],
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let mut command = Command::new("sh");
        command
            .args(["-c", script, env!("CARGO_BIN_EXE_netframe")])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = change(&mut command).spawn().unwrap();
        let stdout = child.stdout.take().map(lines);
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stdout, stderr, logged: String::new(), addrs: Vec::new() }
    }

    /// Starts `netframe serve` and waits until all its endpoints are ready.
    pub(crate) fn serve(args: &[&str]) -> Self {
        let program = Self::start(&[&["serve"], args].concat());
        program.listening(args[0], args.iter().filter(|arg| arg.contains("://")).count())
    }

    /// Waits until it serves this protocol on as many endpoints.
    pub(crate) fn listening(mut self, protocol: &str, count: usize) -> Self {
        for _ in 0..count {
            let Some(line) = self.stdout.as_ref().and_then(next) else {
                panic!("it ended: {}", self.end().stderr);
            };
            let endpoint = line.strip_prefix(&format!("listening {protocol} ")).expect(&line);
            let (_, address) = endpoint.trim_end().split_once("://").expect(&line);
            let address = address.split('?').next().expect(&line);
            if !address.starts_with(['/', '@']) {
                self.addrs.push(address.parse().expect(&line));
            }
        }
        self
    }

    /// Connects to its first endpoint.
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.addrs[0]).unwrap()
    }

    /// Sends bytes and FIN to its first endpoint; returns the whole answer.
    pub(crate) fn ask(&self, question: &[u8]) -> Vec<u8> {
        ask(self.addrs[0], question)
    }

    /// Its stdin, which was asked for at the start.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(kill.success());
    }

    /// The most memory it has used so far, in KiB.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on its stdout.
    pub(crate) fn await_line(&self) -> String {
        self.stdout.as_ref().and_then(next).expect("it has ended")
    }

    /// Waits until it logs a line with this text, and returns the line.
    pub(crate) fn await_log(&mut self, text: &str) -> String {
        while let Some(line) = next(&self.stderr) {
            self.logged += &line;
            if line.contains(text) {
                return line;
            }
        }
        panic!("it ended without having logged `{text}`: {}", self.logged);
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> End {
        let stdout = self.stdout.iter().flat_map(rest).collect();
        let stderr = std::mem::take(&mut self.logged) + &rest(&self.stderr).collect::<String>();
        // Its stderr is closed: it is about to end, if it has not yet.
        let code = self.child.wait().unwrap().code();
        End { code, stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects, with timeouts so that no test hangs.
pub(crate) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends bytes and FIN; returns the whole answer.
pub(crate) fn ask(addr: SocketAddr, question: &[u8]) -> Vec<u8> {
    let mut stream = connect(addr).unwrap();
    stream.write_all(question).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// The lines of a pipe, each with its line feed.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (line, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut text = String::new();
        while pipe.read_line(&mut text).is_ok_and(|len| len > 0) {
            // A test that has failed already reads no more.
            let _ = line.send(std::mem::take(&mut text));
        }
    });
    lines
}

fn next(lines: &Receiver<String>) -> Option<String> {
    match lines.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing was printed for {PATIENCE:?}"),
    }
}

fn rest(lines: &Receiver<String>) -> impl Iterator<Item = String> {
    std::iter::from_fn(|| next(lines))
}
