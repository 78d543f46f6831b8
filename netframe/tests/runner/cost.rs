//! What a program under test costs.

use std::fs;
use std::time::Duration;

use crate::program::Program;

/// The processor time that a program has used so far.
pub(crate) fn processor_time(program: &Program) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", program.pid())).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap(); // the name may have spaces
    let ticks = |field: usize| fields.split_whitespace().nth(field).unwrap().parse::<u32>();
    // utime and stime of proc_pid_stat(5), in ticks of 10 ms.
    Duration::from_millis(10) * (ticks(11).unwrap() + ticks(12).unwrap())
}
