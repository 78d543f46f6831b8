//! What the fuzz targets of HTTP call: heads, chunked bodies and whole connections, each compared with
//! the plainest way to read it.

use std::sync::Arc;

use netframe_core::testing::Harness;
use netframe_core::{CloseKind, ConnectionInfo, Result};

use super::chunked::{ChunkedDecoder, Decoded};
use super::fields::{self, Framing};
use super::head::{Head, Scanner};
use super::{Http, HttpOptions, Request, Responder};
use crate::Echo;

/// Parses the head that the input begins with. What is accepted is exactly its parts with the usual
/// bytes between them, decides about its framing as a plain look at its fields does, and ends where the
/// scanner finds the end, in pieces too.
pub fn http_head(input: &[u8]) {
    let mut options = HttpOptions::default();
    (options.max_target, options.max_head, options.max_fields) = (200, 2000, 16);
    let mut head = Head::default();
    let max = input.len().min(options.max_head);
    let Ok(Some(len)) = head.parse(&input[..max], &options) else { return };
    let head_bytes = &input[..len];
    let mut scanner = Scanner::default();
    let end = (1..=input.len())
        .find_map(|end| scanner.scan(&input[..end], &options).expect("it has been accepted"));
    assert_eq!(end, Some(len), "each byte is looked at, and none behind the end");

    let lines: Vec<_> = split_crlf(&head_bytes[..len - 4]).collect();
    let part = |range| &head_bytes[range];
    let version: &[u8] = if head.is_v1_0 { b"HTTP/1.0" } else { b"HTTP/1.1" };
    let line = [part(head.method.range()), part(head.target.range()), version].join(&b' ');
    assert_eq!(lines[0], line);
    assert_eq!(lines.len(), 1 + head.fields.len());
    let mut known = Known::default();
    for (line, field) in lines[1..].iter().zip(&head.fields) {
        let (name, value) = (part(field.name.range()), part(field.value.range()));
        let rest = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(b":"));
        assert_eq!(rest.map(without_space), Some(value), "{}", line.escape_ascii());
        assert!(fields::is_token(name) && fields::is_value(value));
        known.see(name, value);
    }
    assert!(part(head.target.range()).iter().all(u8::is_ascii_graphic));
    assert!(known.hosts == 1 || head.is_v1_0 && known.hosts == 0);
    assert!(head.authority.is_some() || head.is_v1_0);
    assert_eq!(head.framing, known.framing());
}

fn split_crlf(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r\n").unwrap_or(line))
}

/// Fields that decide, seen once more.
#[derive(Default)]
struct Known {
    hosts: usize,
    lengths: Vec<u64>,
    codings: Vec<Vec<u8>>,
}

impl Known {
    fn see(&mut self, name: &[u8], value: &[u8]) {
        match &name.to_ascii_lowercase()[..] {
            b"host" => self.hosts += 1,
            b"content-length" => {
                assert!(value.iter().all(u8::is_ascii_digit), "{}", value.escape_ascii());
                let text = str::from_utf8(value).expect("digits are text");
                self.lengths.push(text.parse().expect("larger ones are refused"));
            }
            b"transfer-encoding" => self.codings.push(value.to_ascii_lowercase()),
            _ => {}
        }
    }

    fn framing(&self) -> Framing {
        match (&self.lengths[..], &self.codings[..]) {
            ([] | [0], []) => Framing::None,
            ([length], []) => Framing::Length(*length),
            ([], [coding]) if coding == b"chunked" => Framing::Chunked,
            _ => panic!("{:?} {:?} are accepted", self.lengths, self.codings),
        }
    }
}

/// Decodes a chunked body, in pieces whose length is the first byte; what comes out, where it ends and
/// whether it is refused is as a plain reader of all of it says.
pub fn http_chunked(input: &[u8]) {
    let &[piece_len, ref wire @ ..] = input else { return };
    let mut decoder = ChunkedDecoder::default();
    let (mut data, mut at, mut end) = (Vec::new(), 0, 0);
    let found = loop {
        match decoder.decode(&wire[at..end]) {
            Ok((framing, decoded)) => {
                at += framing;
                match decoded {
                    Decoded::Data(len) => {
                        assert!(len > 0);
                        data.extend_from_slice(&wire[at..at + len]);
                        at += len;
                    }
                    Decoded::End => break Some(Ok(at)),
                    Decoded::More if end == wire.len() => break None,
                    Decoded::More => end = wire.len().min(end + 1 + usize::from(piece_len) % 8),
                }
            }
            Err(error) => {
                assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(error), "it stays malformed");
                break Some(Err(error));
            }
        }
    };
    let mut plain = Plain { wire, at: 0, data: Vec::new() };
    let wanted = plain.body();
    match (found, wanted) {
        (Some(Ok(at)), Ok(end)) => assert_eq!((at, data), (end, plain.data)),
        (None, Err(Fault::Short)) | (Some(Err(_)), Err(Fault::Wrong)) => {
            assert!(plain.data.starts_with(&data) || data.starts_with(&plain.data));
        }
        // What is cut off may be known to be wrong already, and the other way round within a line.
        (Some(Err(_)), Err(Fault::Short)) => {}
        (found, wanted) => panic!("{found:?}, but {wanted:?}"),
    }
}

/// Reads a chunked body that is here, as the grammar has it (RFC 9112, section 7.1).
struct Plain<'a> {
    wire: &'a [u8],
    at: usize,
    data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It ends too early.
    Short,
    Wrong,
}

impl<'a> Plain<'a> {
    /// Where it ends.
    fn body(&mut self) -> Result<usize, Fault> {
        let mut extensions = 0;
        loop {
            let line = self.line()?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let (size, extension) = line.split_at(digits);
            if digits == 0 || digits > 16 || !matches!(extension, [] | [b';', ..]) {
                return Err(Fault::Wrong);
            }
            extensions += extension.len().saturating_sub(1);
            if extensions > 4096 || !is_extension(extension) {
                return Err(Fault::Wrong);
            }
            let size =
                str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
            match size.and_then(|size| usize::try_from(size).ok()).ok_or(Fault::Wrong)? {
                0 => return self.trailers(),
                size => self.chunk(size)?,
            }
        }
    }

    fn chunk(&mut self, size: usize) -> Result<(), Fault> {
        let rest = &self.wire[self.at..];
        let Some((data, rest)) = rest.split_at_checked(size) else {
            self.data.extend_from_slice(rest);
            return Err(Fault::Short);
        };
        self.data.extend_from_slice(data);
        match rest {
            [b'\r', b'\n', ..] => self.at += size + 2,
            [] | [b'\r'] => return Err(Fault::Short),
            _ => return Err(Fault::Wrong),
        }
        Ok(())
    }

    fn trailers(&mut self) -> Result<usize, Fault> {
        let (mut count, mut good) = (0, true);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return if good && count <= 32 { Ok(self.at) } else { Err(Fault::Wrong) };
            }
            count += 1;
            let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
            let (name, value) = (&line[..colon], without_space(&line[colon + 1..]));
            let belongs = ["host", "content-length", "transfer-encoding"];
            let is_of_head = belongs.iter().any(|of| name.eq_ignore_ascii_case(of.as_bytes()));
            good &= fields::is_token(name) && fields::is_value(value) && !is_of_head;
        }
    }

    /// The next line; one that ends with LF alone is none.
    fn line(&mut self) -> Result<&'a [u8], Fault> {
        let rest = &self.wire[self.at..];
        let lf = rest.iter().position(|byte| *byte == b'\n').ok_or(Fault::Short)?;
        self.at += lf + 1;
        rest[..lf].strip_suffix(b"\r").ok_or(Fault::Wrong)
    }
}

/// Without the spaces and tabs around it.
fn without_space(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether all but control characters is in an extension; in quotes there is no less.
fn is_extension(bytes: &[u8]) -> bool {
    let mut quoted = false;
    let mut escaped = false;
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
    }
    fields::is_value(bytes) && !quoted && !escaped
}

/// A whole connection. The answers are the same however the bytes are cut; they are whole messages with
/// a length; nothing follows one that closes; and what waits is bounded.
pub fn http(input: &[u8]) {
    let &[piece_len, ref wire @ ..] = input else { return };
    // Whether the body is here decides whether it was asked for.
    if wire.to_ascii_lowercase().windows(6).any(|six| six == b"expect") {
        return;
    }
    let whole = answers(wire, wire.len().max(1));
    let pieces = answers(wire, 1 + usize::from(piece_len) % 32);
    assert_eq!(pieces, whole);
    check_answers(&whole.0, whole.1);
}

/// What is answered, whether another protocol took over, and how it ended.
fn answers(wire: &[u8], piece_len: usize) -> (String, bool, Option<CloseKind>) {
    let answer = |request: Request<'_>, response: Responder<'_>| -> Result {
        let text = format!("{} {} {}", request.method(), request.path(), request.headers().len());
        if request.asks_for_upgrade("echo") {
            response.upgrade("echo", Arc::new(|_: &ConnectionInfo| Echo))?;
        } else if request.method() == "CONNECT" {
            response.send(405, "text/plain", text)?;
        } else {
            response.send(200, "text/plain", text)?;
        }
        Ok(())
    };
    let mut options = HttpOptions::default();
    (options.max_target, options.max_head) = (200, 1000);
    let mut client = Harness::new(Http::with_options(answer, Arc::new(options)));
    for piece in wire.chunks(piece_len) {
        client.receive(piece);
        // A head that has not ended, and what came with its last byte.
        assert!(client.is_switched() || client.leftover().len() <= 1000 + piece_len);
    }
    client.receive_eof();
    let written = String::from_utf8_lossy(&client.take_written()).into_owned();
    let lines = written.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: "));
    (lines.collect(), client.is_switched(), client.reason().map(|reason| reason.kind()))
}

/// Reads them as a client does that knows what it has asked.
fn check_answers(written: &str, is_switched: bool) {
    let mut rest = written;
    while let Some(answer) = rest.strip_prefix("HTTP/1.1 ") {
        let (head, behind) = answer.split_once("\r\n\r\n").expect("a head is whole");
        if head.starts_with("101 ") {
            assert!(is_switched && behind.is_empty(), "{behind}");
            return;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).expect("it has a length");
        // To HEAD there is no body: what follows is the next answer, or nothing.
        let is_bodiless = behind.is_empty() || behind.starts_with("HTTP/1.1 ");
        rest = if is_bodiless { behind } else { &behind[length..] };
        if head.contains("\r\nConnection: close") {
            assert_eq!(rest, "", "something follows the last answer");
        }
    }
    assert_eq!(rest, "", "it is no answer");
}
