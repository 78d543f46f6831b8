//! The time of responses: their `Date`, made once a second on each thread, and whether they come at
//! once.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

/// `Date: Sun, 06 Nov 1994 08:49:37 GMT` and CRLF.
const LEN: usize = 37;

struct Line {
    second: u64,
    bytes: [u8; LEN],
}

thread_local! {
    static WAITED: Cell<bool> = const { Cell::new(false) };
    static LINE: RefCell<Line> = const { RefCell::new(Line { second: u64::MAX, bytes: [0; LEN] }) };
}

/// Looks at the clock, for the lines that follow.
pub(super) fn refresh() {
    LINE.with_borrow_mut(Line::refresh);
}

/// Appends the line as of the last look on this thread, or of now if it has not looked yet.
pub(super) fn put_line(out: &mut Vec<u8>) {
    LINE.with_borrow_mut(|line| {
        if line.second == u64::MAX {
            line.refresh();
        }
        out.extend_from_slice(&line.bytes);
    });
}

/// A handler goes on, for the first time or after it has waited.
pub(super) fn enter(waited: bool) {
    WAITED.set(waited);
    if waited {
        refresh();
    }
}

/// Whether the handler that runs has waited since its request came.
pub(super) fn has_waited() -> bool {
    WAITED.get()
}

impl Line {
    fn refresh(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.second != second {
            self.second = second;
            // The date has a fixed length up to the year 9999.
            let _ = write!(&mut self.bytes[..], "Date: {}\r\n", HttpDate::from(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_whole_field() {
        // On a thread that has not looked at the clock yet, as one may be that a handler moved to.
        let mut line = Vec::new();
        std::thread::scope(|scope| drop(scope.spawn(|| put_line(&mut line)).join()));
        let line = String::from_utf8(line).unwrap();
        let date = line.strip_prefix("Date: ").unwrap().strip_suffix("\r\n").unwrap();
        let ago = httpdate::parse_http_date(date).unwrap().elapsed().unwrap();
        assert!(ago.as_secs() < 60, "{date}");
    }
}
