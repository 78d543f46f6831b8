//! What one client says, and what it is answered: bytes in, bytes out, however they are cut.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

use super::clock::Millis;
use super::command::{Announced, Command, Get, MAX_KEY, Refusal, Storing, key, parse, parse_long};
use super::items::{END, Item};
use super::service::Service;
use super::stats;
use super::store::{Counted, Outcome};

/// Bytes of a command line at most, its end included, as of memcached. Only the keys of a `get` may go
/// on, as clients put all keys of one call in one line: they are answered as they come.
pub(super) const MAX_LINE: usize = 2048;

/// Values from this many bytes on are sent by reference, as by the out queue: below, a copy is cheaper.
const BY_REFERENCE: usize = 16 * 1024;

/// Bytes of answers after which it is looked whether the client takes them. With one more value it is
/// still a buffer that the thread keeps for the next time.
const MAX_OUT: usize = 32 * 1024;

/// Bytes that an `append` copies and that count as another command: so what a turn copies is about
/// what one delivery brings.
const COPIED: usize = 64;

/// First bytes of messages of the binary protocol.
const BINARY: [u8; 2] = [0x80, 0x81];

const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";
const BAD_CHUNK: &[u8] = b"CLIENT_ERROR bad data chunk\r\n";
const NOT_NUMERIC: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
const NOT_FOUND: &[u8] = b"NOT_FOUND\r\n";

/// One client's part of the conversation.
#[derive(Debug, Default)]
pub(super) struct Session {
    state: State,
    /// Bytes of an unfinished line that have been searched for its end.
    searched: usize,
    /// A value that is to be sent before anything else; empty if there is none.
    value: Bytes,
    /// Values that have come in pieces, or are coming.
    values: u32,
}

/// A value that is coming in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Coming {
    /// Which one, of its session.
    pub(super) value: u32,
    /// Bytes that have come.
    pub(super) len: usize,
}

/// What comes next.
#[derive(Debug, Default)]
enum State {
    #[default]
    Line,
    /// Keys of a `get`, up to the end of its line.
    Keys(Get),
    /// The rest of a line that nobody wants.
    SkipLine,
    /// The rest of a value.
    Value(Box<Arriving>),
    /// So many bytes that nobody wants.
    Swallow(usize),
}

/// A value that has not come as a whole, with what was announced.
#[derive(Debug)]
struct Arriving {
    key: Box<[u8]>,
    header: Header,
    /// Its bytes so far.
    data: Vec<u8>,
}

/// What was announced of a value, beside its key.
#[derive(Clone, Copy, Debug)]
struct Header {
    how: Storing,
    flags: u32,
    exptime: i64,
    /// Bytes of the value, its end included.
    len: usize,
    quiet: bool,
}

/// Why a session has come no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It needs more bytes.
    More,
    /// There is much to send already.
    Full,
    /// [`Session::take_value`] is to be sent before it goes on.
    Value,
    /// Others have their turn.
    Spent,
    /// The client is done.
    Quit,
    /// The line is too long.
    TooLong,
    /// What comes is no text.
    Binary,
}

/// What a session runs with.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) service: &'a Service,
    pub(super) now: Millis,
    /// What has come; what has been taken is cut off.
    pub(super) input: &'a [u8],
    /// Where the answers go.
    pub(super) out: &'a mut BytesMut,
    /// Commands and keys that may still be taken.
    pub(super) budget: usize,
}

impl Session {
    /// Goes as far as it can.
    pub(super) fn run(&mut self, run: &mut Run<'_>) -> Step {
        loop {
            if !self.value.is_empty() {
                return Step::Value;
            } else if run.out.len() >= MAX_OUT {
                return Step::Full;
            } else if run.input.is_empty() {
                return Step::More;
            } else if run.budget == 0 {
                return Step::Spent;
            }
            match &mut self.state {
                State::Line => {
                    if let Some(step) = self.line(run) {
                        return step;
                    }
                }
                State::Keys(get) => {
                    let get = *get;
                    if let Some(step) = self.key(get, run) {
                        return step;
                    }
                }
                State::SkipLine => {
                    let end = memchr(b'\n', run.input);
                    run.take(end.map_or(usize::MAX, |end| end + 1));
                    if end.is_some() {
                        self.state = State::Line;
                    }
                }
                State::Value(arriving) => {
                    if run.arrive(arriving) {
                        self.state = State::Line;
                    }
                }
                State::Swallow(left) => {
                    *left -= run.take(*left).len();
                    if *left == 0 {
                        self.state = State::Line;
                    }
                }
            }
        }
    }

    /// The value that is to be sent.
    pub(super) fn take_value(&mut self) -> Bytes {
        std::mem::take(&mut self.value)
    }

    /// The value that is coming, if one is.
    pub(super) fn coming(&self) -> Option<Coming> {
        match &self.state {
            State::Value(arriving) => Some(Coming { value: self.values, len: arriving.data.len() }),
            _ => None,
        }
    }

    /// Whether a command is under way, an unfinished line aside.
    pub(super) fn is_busy(&self) -> bool {
        !matches!(self.state, State::Line)
    }

    /// Takes a line, if it has come as a whole.
    fn line(&mut self, run: &mut Run<'_>) -> Option<Step> {
        let input = run.input;
        if BINARY.contains(&input[0]) {
            return Some(Step::Binary);
        }
        let end = memchr(b'\n', &input[self.searched..]).map(|at| self.searched + at);
        if end.unwrap_or(input.len()) >= MAX_LINE {
            let Some(get) = parse_long(&input[..MAX_LINE]) else { return Some(Step::TooLong) };
            self.begin(get, run);
            return None;
        }
        let Some(end) = end else {
            self.searched = input.len();
            return Some(Step::More);
        };
        let request = parse(without_cr(&input[..end]));
        if let Ok(Command::Get(get)) = request.command {
            self.begin(get, run);
            return None;
        }
        self.searched = 0;
        run.budget -= 1;
        run.take(end + 1);
        match request.command {
            Ok(Command::Store(announced)) => self.announced(announced, request.quiet, run),
            Ok(Command::Quit) => return Some(Step::Quit),
            Ok(command) => run.obey(command, request.quiet),
            Err(refusal) => run.answer(request.quiet, refusal.text()),
        }
        None
    }

    /// Goes on with the keys of a line.
    fn begin(&mut self, get: Get, run: &mut Run<'_>) {
        self.searched = 0;
        run.budget -= 1;
        run.take(get.keys);
        self.state = State::Keys(get);
    }

    /// Answers one key, or the end of its line.
    fn key(&mut self, get: Get, run: &mut Run<'_>) -> Option<Step> {
        let spaces = run.input.iter().take_while(|byte| **byte == b' ').count();
        run.take(spaces);
        let input = run.input;
        let Some(len) = memchr2(b' ', b'\n', input) else {
            // A CR may turn out to be of the end of the line.
            if input.len() <= MAX_KEY + 1 {
                return Some(Step::More);
            }
            self.refuse(run);
            return None;
        };
        let word = if input[len] == b'\n' { without_cr(&input[..len]) } else { &input[..len] };
        if word.is_empty() {
            run.take(len + 1);
            run.out.extend_from_slice(b"END\r\n");
            self.state = State::Line;
        } else if key(word).is_err() {
            self.refuse(run);
        } else {
            run.budget -= 1;
            run.take(word.len());
            let (out, value) = (&mut *run.out, &mut self.value);
            run.service.store.get(word, get.exptime, run.now, |item| {
                put_head(out, word, item, get.unique);
                if item.data.len() < BY_REFERENCE {
                    out.extend_from_slice(&item.data);
                } else {
                    *value = item.data.clone();
                }
            });
        }
        None
    }

    /// Ends the answer to a `get` because of a key; the rest of its line is of no use.
    fn refuse(&mut self, run: &mut Run<'_>) {
        run.answer(false, Refusal::Format.text());
        self.state = State::SkipLine;
    }

    /// Takes the value that was announced: at once if it is there, as it comes, or not at all. A client
    /// that was told that it is too large sends it nevertheless.
    fn announced(&mut self, announced: Announced<'_>, quiet: bool, run: &mut Run<'_>) {
        let Announced { how, key, flags, exptime, len } = announced;
        let header = Header { how, flags, exptime, len: len + END.len(), quiet };
        if len > run.service.options.max_value {
            run.answer(quiet, TOO_LARGE);
            // The old value would pass for the one that was refused.
            if how == Storing::Set {
                run.service.store.forget(key, run.now);
            }
            self.state = State::Swallow(header.len);
        } else if let Some((data, rest)) = run.input.split_at_checked(header.len) {
            run.input = rest;
            let data = data.ends_with(END).then(|| Bytes::copy_from_slice(data));
            run.store(key, header, data);
        } else {
            let arriving = Arriving { key: key.into(), header, data: Vec::new() };
            self.state = State::Value(Box::new(arriving));
            self.values = self.values.wrapping_add(1);
        }
    }
}

impl<'a> Run<'a> {
    /// Takes at most so many bytes of the input.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.input.split_at(len.min(self.input.len()));
        self.input = rest;
        taken
    }

    fn answer(&mut self, quiet: bool, answer: &[u8]) {
        if !quiet {
            self.out.extend_from_slice(answer);
        }
    }

    /// Does what a line says that has neither keys nor a value behind it.
    fn obey(&mut self, command: Command<'_>, quiet: bool) {
        let (store, now) = (&self.service.store, self.now);
        match command {
            Command::Delete { key } => {
                let found = store.delete(key, now);
                self.answer(quiet, if found { b"DELETED\r\n" } else { NOT_FOUND });
            }
            Command::Count { key, delta, up } => match store.count(key, delta, up, now) {
                Counted::Now(_) if quiet => {}
                Counted::Now(value) => {
                    put_number(self.out, value);
                    self.out.extend_from_slice(END);
                }
                Counted::NotFound => self.answer(quiet, NOT_FOUND),
                Counted::NotNumeric => self.answer(quiet, NOT_NUMERIC),
                Counted::TooLong => self.answer(quiet, TOO_LARGE),
            },
            Command::Touch { key, exptime } => {
                let found = store.touch(key, exptime, now);
                self.answer(quiet, if found { b"TOUCHED\r\n" } else { NOT_FOUND });
            }
            Command::Flush { delay } => {
                store.flush(delay, now);
                self.answer(quiet, b"OK\r\n");
            }
            Command::Verbosity => self.answer(quiet, b"OK\r\n"),
            Command::Version => self.answer(quiet, super::VERSION_LINE.as_bytes()),
            Command::Stats(of) => stats::answer(self.service, of, now, self.out),
            Command::Get(_) | Command::Store(_) | Command::Quit => {
                debug_assert!(false, "the session does these");
            }
        }
    }

    /// Takes more of a value; says whether it is complete.
    fn arrive(&mut self, arriving: &mut Arriving) -> bool {
        let Arriving { key, header, data } = arriving;
        let more = self.take(header.len - data.len());
        if data.capacity() < data.len() + more.len() {
            // The room for it grows with what has come, whatever was announced, and never beyond that.
            let room = (data.len() + more.len()).max(2 * data.len()).min(header.len);
            data.reserve_exact(room - data.len());
        }
        data.extend_from_slice(more);
        if data.len() < header.len {
            return false;
        }
        let data = std::mem::take(data);
        self.store(key, *header, data.ends_with(END).then(|| data.into()));
        true
    }

    /// Stores a value, and tells what became of it. Without data it has no end where that was announced:
    /// what is there stays.
    fn store(&mut self, key: &[u8], header: Header, data: Option<Bytes>) {
        let Header { how, flags, exptime, quiet, .. } = header;
        let Some(data) = data else { return self.answer(quiet, BAD_CHUNK) };
        let deadline = self.service.store.clock().deadline(exptime, self.now);
        let item = Item { data, flags, deadline, unique: 0 };
        let answer: &[u8] = match self.service.store.store(how, key, item, self.now) {
            Outcome::Done { copied } => {
                self.budget = self.budget.saturating_sub(copied / COPIED);
                b"STORED\r\n"
            }
            Outcome::Refused => b"NOT_STORED\r\n",
            Outcome::Exists => b"EXISTS\r\n",
            Outcome::NotFound => NOT_FOUND,
        };
        self.answer(quiet, answer);
    }
}

/// What comes before a value.
fn put_head(out: &mut BytesMut, key: &[u8], item: &Item, unique: bool) {
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(key);
    out.extend_from_slice(b" ");
    put_number(out, item.flags.into());
    out.extend_from_slice(b" ");
    put_number(out, item.value().len() as u64);
    if unique {
        out.extend_from_slice(b" ");
        put_number(out, item.unique);
    }
    out.extend_from_slice(END);
}

fn put_number(out: &mut BytesMut, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
