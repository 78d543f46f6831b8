//! One command line: bytes in, what they ask for out. Nothing is copied, nothing is read ahead, and no
//! number is guessed.

/// Bytes of a key at most.
pub(super) const MAX_KEY: usize = 250;

/// Bytes of a value that can be announced: memcached counts them in a C `int`, with two more.
const MAX_ANNOUNCED: usize = i32::MAX as usize - 2;

/// Words behind the name of a command, of the longest one: `cas` with `noreply`.
const MAX_WORDS: usize = 6;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) command: Result<Command<'a>, Refusal>,
    /// The client wants no answer, not even to a mistake.
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Get(Get),
    Store(Announced<'a>),
    Delete {
        key: &'a [u8],
    },
    /// `incr` and `decr`.
    Count {
        key: &'a [u8],
        delta: u64,
        up: bool,
    },
    Touch {
        key: &'a [u8],
        exptime: i64,
    },
    Flush {
        delay: i64,
    },
    /// With the word behind it, if any.
    Stats(&'a [u8]),
    Version,
    Verbosity,
    Quit,
}

/// `get`, `gets`, `gat` and `gats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Get {
    /// Where the keys begin in the line. They have not been looked at.
    pub(super) keys: usize,
    pub(super) unique: bool,
    pub(super) exptime: Option<i64>,
}

/// A value that comes behind the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced<'a> {
    pub(super) how: Storing,
    pub(super) key: &'a [u8],
    pub(super) flags: u32,
    pub(super) exptime: i64,
    /// Bytes, the end of the line behind them not counted.
    pub(super) len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storing {
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    /// If the item still has this number.
    Cas(u64),
}

/// What is wrong with a line; the connection goes on with the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such command, or it has another number of words.
    Unknown,
    Format,
    Exptime,
    Delta,
    Delete,
}

impl Refusal {
    /// The answer, in memcached's words.
    pub(super) fn text(self) -> &'static [u8] {
        match self {
            Self::Unknown => b"ERROR\r\n",
            Self::Format => b"CLIENT_ERROR bad command line format\r\n",
            Self::Exptime => b"CLIENT_ERROR invalid exptime argument\r\n",
            Self::Delta => b"CLIENT_ERROR invalid numeric delta argument\r\n",
            Self::Delete => {
                b"CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"
            }
        }
    }
}

/// Reads a line, without its end.
pub(super) fn parse(line: &[u8]) -> Request<'_> {
    let mut words = Words::new(line);
    let name = words.next().unwrap_or_default();
    if let Some(get) = get(name, &mut words) {
        // Only of those that touch there may be no key.
        let mut has_keys = |get: &Get| get.exptime.is_some() || words.next().is_some();
        let command = get.and_then(|get| has_keys(&get).then_some(get).ok_or(Refusal::Unknown));
        return loud(command.map(Command::Get));
    }
    let Some(words) = Arguments::new(words) else { return loud(Err(Refusal::Unknown)) };
    let args = words.get();
    let store = |how| store(how, args);
    let (count, command) = match name {
        b"set" => (4..=5, store(Storing::Set)),
        b"add" => (4..=5, store(Storing::Add)),
        b"replace" => (4..=5, store(Storing::Replace)),
        b"append" => (4..=5, store(Storing::Append)),
        b"prepend" => (4..=5, store(Storing::Prepend)),
        b"cas" => (5..=6, store(Storing::Cas(0))),
        b"delete" => (1..=3, delete(args)),
        b"incr" | b"decr" => (2..=3, count(args, name == b"incr")),
        b"touch" => (2..=3, touch(args)),
        b"flush_all" => (0..=2, flush(args)),
        b"verbosity" => (1..=2, verbosity(args)),
        b"version" => (0..=0, Ok(Command::Version)),
        b"quit" => (0..=0, Ok(Command::Quit)),
        b"stats" => (0..=1, Ok(Command::Stats(args.first().copied().unwrap_or_default()))),
        _ => return loud(Err(Refusal::Unknown)),
    };
    if !count.contains(&args.len()) {
        return loud(Err(Refusal::Unknown));
    }
    // There the word is what is to be told, or a key.
    let is_other = matches!((name, args), (b"stats", _) | (b"delete", [_]));
    Request { command, quiet: is_quiet(args) && !is_other }
}

fn loud(command: Result<Command<'_>, Refusal>) -> Request<'_> {
    Request { command, quiet: false }
}

/// Whether the last word says that there is to be no answer.
fn is_quiet(args: &[&[u8]]) -> bool {
    args.last().is_some_and(|last| *last == b"noreply")
}

/// What comes before the keys, if the command has keys.
fn get(name: &[u8], words: &mut Words<'_>) -> Option<Result<Get, Refusal>> {
    let (unique, touches) = match name {
        b"get" => (false, false),
        b"gets" => (true, false),
        b"gat" => (false, true),
        b"gats" => (true, true),
        _ => return None,
    };
    if !touches {
        return Some(Ok(Get { keys: words.at, unique, exptime: None }));
    }
    let exptime = match words.next().map(signed) {
        None => return Some(Err(Refusal::Unknown)),
        Some(None) => return Some(Err(Refusal::Exptime)),
        exptime => exptime.flatten(),
    };
    Some(Ok(Get { keys: words.at, unique, exptime }))
}

/// The beginning of a line that is long: only one with keys may be.
pub(super) fn parse_long(beginning: &[u8]) -> Option<Get> {
    let mut words = Words::new(beginning);
    let name = words.next()?;
    // What the beginning ends with may not be a whole word.
    get(name, &mut words)?.ok().filter(|get| get.keys < beginning.len())
}

fn store<'a>(how: Storing, args: &[&'a [u8]]) -> Result<Command<'a>, Refusal> {
    let &[name, flags, exptime, len, ref rest @ ..] = args else { return Err(Refusal::Unknown) };
    let how = match (how, rest) {
        (Storing::Cas(_), [unique, ..]) => Storing::Cas(number(unique).ok_or(Refusal::Format)?),
        _ => how,
    };
    let small = |word| number(word).and_then(|number| u32::try_from(number).ok());
    let len = small(len).map(|len| len as usize).filter(|len| *len <= MAX_ANNOUNCED);
    Ok(Command::Store(Announced {
        how,
        key: key(name)?,
        flags: small(flags).ok_or(Refusal::Format)?,
        exptime: signed(exptime).ok_or(Refusal::Format)?,
        len: len.ok_or(Refusal::Format)?,
    }))
}

/// A time may be given that is zero: early versions of memcached had one.
fn delete<'a>(args: &[&'a [u8]]) -> Result<Command<'a>, Refusal> {
    let &[name, ref rest @ ..] = args else { return Err(Refusal::Unknown) };
    let key = key(name)?;
    match rest {
        [] | [b"0"] | [b"noreply"] | [b"0", b"noreply"] => Ok(Command::Delete { key }),
        _ => Err(Refusal::Delete),
    }
}

fn count<'a>(args: &[&'a [u8]], up: bool) -> Result<Command<'a>, Refusal> {
    let &[name, delta, ..] = args else { return Err(Refusal::Unknown) };
    let key = key(name)?;
    Ok(Command::Count { key, delta: number(delta).ok_or(Refusal::Delta)?, up })
}

fn touch<'a>(args: &[&'a [u8]]) -> Result<Command<'a>, Refusal> {
    let &[name, exptime, ..] = args else { return Err(Refusal::Unknown) };
    let key = key(name)?;
    Ok(Command::Touch { key, exptime: signed(exptime).ok_or(Refusal::Exptime)? })
}

fn flush<'a>(args: &[&'a [u8]]) -> Result<Command<'a>, Refusal> {
    match args {
        [] | [b"noreply"] => Ok(Command::Flush { delay: 0 }),
        [delay, ..] => Ok(Command::Flush { delay: signed(delay).ok_or(Refusal::Exptime)? }),
    }
}

fn verbosity<'a>(args: &[&'a [u8]]) -> Result<Command<'a>, Refusal> {
    match args {
        [b"noreply"] => Ok(Command::Verbosity),
        [level, ..] if number(level).is_some() => Ok(Command::Verbosity),
        _ => Err(Refusal::Format),
    }
}

/// A key may have all bytes but spaces, those that end lines, and NUL. By the words of memcached no control
/// byte is to be in one; but it takes them, and a load generator of its clients sends them.
pub(super) fn key(word: &[u8]) -> Result<&[u8], Refusal> {
    let fits = word.len() <= MAX_KEY && word.iter().all(|byte| is_of_key(*byte));
    fits.then_some(word).ok_or(Refusal::Format)
}

fn is_of_key(byte: u8) -> bool {
    !matches!(byte, 0 | b'\t'..=b'\r' | b' ')
}

/// Decimal digits and nothing else.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    let digit = |number: u64, byte: &u8| {
        let digit = byte.wrapping_sub(b'0');
        number.checked_mul(10)?.checked_add(digit.into()).filter(|_| digit < 10)
    };
    word.iter().try_fold(0, digit).filter(|_| !word.is_empty())
}

/// Decimal digits, perhaps with a minus before them.
fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => i64::try_from(number(digits)?).ok().map(|number| -number),
        None => i64::try_from(number(word)?).ok(),
    }
}

/// What stands between spaces.
struct Words<'a> {
    line: &'a [u8],
    /// How far the words have been taken.
    at: usize,
}

impl<'a> Words<'a> {
    fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = &self.line[self.at..];
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let word = &rest[start..];
        let len = word.iter().position(|byte| *byte == b' ').unwrap_or(word.len());
        self.at += start + len;
        Some(&word[..len])
    }
}

/// The words behind the name of a command.
struct Arguments<'a> {
    words: [&'a [u8]; MAX_WORDS],
    count: usize,
}

impl<'a> Arguments<'a> {
    /// `None` if there are more than any command has.
    fn new(words: Words<'a>) -> Option<Self> {
        let mut arguments = Self { words: [b""; MAX_WORDS], count: 0 };
        for word in words {
            *arguments.words.get_mut(arguments.count)? = word;
            arguments.count += 1;
        }
        Some(arguments)
    }

    fn get(&self) -> &[&'a [u8]] {
        &self.words[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_fit() {
        for (word, value) in [
            (&b"0"[..], Some(0)),
            (b"007", Some(7)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"+1", None),
            (b"-1", None),
            (b"1x", None),
            (b"1:", None),
            (b"0x1", None),
        ] {
            assert_eq!(number(word), value, "{}", word.escape_ascii());
        }
        for (word, value) in [
            (&b"-1"[..], Some(-1)),
            (b"-0", Some(0)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"9223372036854775808", None),
            (b"-9223372036854775807", Some(-i64::MAX)),
            (b"-9223372036854775808", None),
            (b"-", None),
            (b"--1", None),
        ] {
            assert_eq!(signed(word), value, "{}", word.escape_ascii());
        }
    }

    #[test]
    fn words_are_taken_as_they_come() {
        let mut words = Words::new(b"  one two   ");
        assert_eq!((words.next(), words.at), (Some(&b"one"[..]), 5));
        assert_eq!((words.next(), words.at), (Some(&b"two"[..]), 9));
        assert_eq!((words.next(), words.at), (None, 9));
    }
}
