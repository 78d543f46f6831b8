//! What the tests with many clients share.

use std::fs;
use std::process::Command;

use crate::program::Program;

/// What `check` says the file allows, bytes.
pub(crate) fn worst_case(config: &str) -> usize {
    let check = Program::start(&["check", config]).end();
    let worst = check.stdout.lines().last().unwrap();
    let worst = worst.strip_prefix("memory at worst: ").expect(worst);
    let mib = worst.strip_suffix(" MiB").expect(worst).parse::<f64>().unwrap();
    (mib * f64::from(1 << 20)) as usize
}

/// As many clients as the limit of descriptors leaves room for.
pub(crate) fn room(wanted: usize) -> usize {
    let limit = Command::new("sh").args(["-c", "ulimit -n 8192 2>/dev/null; ulimit -n"]).output();
    let limit = String::from_utf8(limit.unwrap().stdout).unwrap();
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let own = own.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let own = own.split_whitespace().nth(3).unwrap();
    let smallest = [limit.trim(), own].map(|text| text.parse().unwrap_or(usize::MAX));
    let clients = wanted.min(smallest[0].min(smallest[1]) * 4 / 5 - 100);
    if clients < wanted {
        println!("{clients} clients, as there are no descriptors for more");
    }
    clients
}

/// The counters of a server's only service.
#[derive(Debug)]
pub(crate) struct Report(String);

impl Report {
    /// What the server has seen so far.
    pub(crate) fn ask(server: &mut Program) -> Self {
        server.signal("USR1");
        Self(server.await_log("so far "))
    }

    /// What it had seen at its end, from its log.
    pub(crate) fn at_the_end(log: &str) -> Self {
        let line = log.lines().find(|line| line.contains("in all ")).expect(log);
        Self(line.to_owned() + "\n")
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        let rest = self.0.split(&format!(" {name}=")).nth(1).expect(&self.0);
        rest.split(' ').next().unwrap().parse().expect(&self.0)
    }

    /// The connections that have ended, by their reasons.
    pub(crate) fn closed(&self) -> Vec<(&str, u64)> {
        let rest = self.0.split(" closed=\"").nth(1).expect(&self.0);
        let closed = rest.split('"').next().unwrap();
        let counts = closed.split(", ").filter(|count| !count.is_empty());
        counts
            .map(|count| count.rsplit_once(": ").unwrap())
            .map(|(r, n)| (r, n.parse().unwrap()))
            .collect()
    }

    /// Every connection lives, or has ended for one reason.
    #[track_caller]
    pub(crate) fn check_sum(&self) {
        let closed: u64 = self.closed().iter().map(|(_, count)| count).sum();
        assert_eq!(self.number("accepted"), closed + self.number("live"), "{}", self.0);
    }
}
