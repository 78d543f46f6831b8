//! Each protocol answers as its description says, over TCP.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::program::{Program, ask};

#[test]
fn echo_returns_every_byte() {
    let server = Program::serve(&["echo", "tcp://127.0.0.1:0"]);
    assert_eq!(server.ask(b"hello\n"), b"hello\n");
    let long: Vec<u8> = (0..100_000).map(|i| i as u8).collect();
    assert_eq!(server.ask(&long), long);
}

#[test]
fn every_endpoint_is_served_and_announced_in_order() {
    let endpoints = ["tcp://127.0.0.1:0", "tcp://127.0.0.2:0", "tcp://localhost:0"];
    let server = Program::serve(&[&["echo"], &endpoints[..]].concat());
    assert!(server.addrs.len() >= 3, "`localhost` may have several addresses");
    assert_eq!(server.addrs[0].ip().to_string(), "127.0.0.1");
    assert_eq!(server.addrs[1].ip().to_string(), "127.0.0.2");
    for addr in &server.addrs {
        assert_eq!(ask(*addr, b"hello"), b"hello");
    }
}

#[test]
fn hello_answers_whatever_comes_first_and_closes() {
    let server = Program::serve(&["hello", "tcp://127.0.0.1:0"]);
    let mut peer = server.connect();
    peer.write_all(b"anybody there?").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap(); // the peer has not closed: the server does
    assert_eq!(answer, "Hello from the server!");
}

#[test]
fn discard_answers_nothing() {
    let server = Program::serve(&["discard", "tcp://127.0.0.1:0"]);
    assert_eq!(server.ask(&[b'x'; 100_000]), b"");
}

#[test]
fn line_echo_returns_whole_lines_as_its_options_say() {
    let server = Program::serve(&["line-echo", "tcp://127.0.0.1:0"]);
    assert_eq!(server.ask(b"one\n\ntwo\r\nthr"), b"one\n\ntwo\r\n");

    let crlf = ["--set", "delimiter=crlf", "--set", "max_length=5"];
    let server = Program::serve(&[&["line-echo", "tcp://127.0.0.1:0"], &crlf[..]].concat());
    assert_eq!(server.ask(b"one\r\n\ntwo\r\nthree\n"), b"one\r\n\ntwo\r\n");
    assert_eq!(server.ask(b"12345\r\n123456\r\n1\r\n"), b"12345\r\n", "ended by the long line");
}

#[test]
fn an_unfinished_line_that_is_too_long_ends_the_connection() {
    let limit = ["--set", "max_length=5"];
    let server = Program::serve(&[&["line-echo", "tcp://127.0.0.1:0"], &limit[..]].concat());
    let mut peer = server.connect();
    peer.write_all(b"one\n123456").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "one\n");
    assert_eq!(server.ask(b"two\n"), b"two\n", "the others go on");
}

#[test]
fn frames_are_returned_as_their_options_say() {
    let serve = |protocol: &str, settings: &[&str]| {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let args: Vec<_> = [protocol, "tcp://127.0.0.1:0"].into_iter().chain(settings).collect();
        Program::serve(&args)
    };
    let server = serve("netstring-echo", &[]);
    assert_eq!(server.ask(b"5:hello,0:,3:cut"), b"5:hello,0:,");
    assert_eq!(server.ask(b"1:a,05:hello,1:b,"), b"1:a,", "ended by the leading zero");
    // `max_pending` is raised to what such a frame needs.
    let longest = [b"100000:", &[b'x'; 100_000][..], b","].concat();
    assert_eq!(server.ask(&longest), longest);
    assert_eq!(server.ask(b"0:,100001:"), b"0:,");

    assert_eq!(serve("int8-echo", &[]).ask(b"\x03abc\0\x02d"), b"\x03abc\0");
    let server = serve("int8-echo", &["max_length=3"]);
    assert_eq!(server.ask(b"\x03abc\x04abcd\0"), b"\x03abc");
    assert_eq!(serve("int16-echo", &[]).ask(b"\0\x03abc\0\0\0"), b"\0\x03abc\0\0");
    let server = serve("int16-echo", &["endian=little"]);
    assert_eq!(server.ask(b"\x03\0abc\0\0\0"), b"\x03\0abc\0\0");
    assert_eq!(serve("int32-echo", &[]).ask(b"\0\0\0\x03abc\0\0\0\x04a"), b"\0\0\0\x03abc");
    let server = serve("int32-echo", &["endian=little", "max_length=3"]);
    assert_eq!(server.ask(b"\x03\0\0\0abc\x04\0\0\0abcd"), b"\x03\0\0\0abc");
    let long = [&[0xac, 2][..], &[7; 300]].concat();
    let server = serve("varint-echo", &[]);
    assert_eq!(server.ask(&[&long[..], b"\x01a\x80\0"].concat()), [&long[..], b"\x01a"].concat());
}

#[test]
fn telnet_lines_come_back_and_the_terminal_is_told() {
    let server = Program::serve(&["telnet-echo", "tcp://127.0.0.1:0", "--set", "max_length=9"]);
    let asks = b"\xff\xfd\x18\xff\xfd\x1f"; // DO TERMINAL-TYPE, DO NAWS
    let plain = server.ask(b"one\r\ntwo\n/status\r\n");
    let told = b"one\r\ntwo\r\nterminal not told, window not told\r\n";
    assert_eq!(plain, [&asks[..], told].concat());
    let long = server.ask(b"123456789\r\n1234567890\r\n");
    assert_eq!(long, [&asks[..], b"123456789\r\n"].concat(), "ended by the long line");

    let mut peer = server.connect();
    let agree =
        b"\xff\xfb\x18\xff\xfa\x18\0XTERM\xff\xf0\xff\xfb\x1f\xff\xfa\x1f\0\x84\0\x2b\xff\xf0";
    peer.write_all(&[&agree[..], b"/status\r\n\xff\xf6\xff\xfd\x01"].concat()).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let mut seen = Vec::new();
    peer.read_to_end(&mut seen).unwrap();
    let send = b"\xff\xfa\x18\x01\xff\xf0"; // asks for the name once it is agreed on
    let told = b"terminal XTERM, window 132 x 43\r\n\r\n[yes]\r\n\xff\xfc\x01";
    assert_eq!(seen, [&asks[..], send, told].concat());
}

#[test]
fn small_services_answer_whoever_connects() {
    let server = Program::serve(&["daytime", "tcp://127.0.0.1:0"]);
    let text = String::from_utf8(server.ask(b"")).unwrap();
    assert!(text.len() == 31 && text.ends_with(" GMT\r\n"), "{text}");

    let server = Program::serve(&["time", "tcp://127.0.0.1:0"]);
    assert_eq!(server.ask(b"is not read").len(), 4);

    let server = Program::serve(&["qotd", "tcp://127.0.0.1:0"]);
    assert_eq!(server.ask(b""), b"It has to work. (RFC 1925)\r\n");
    let quotes = ["--set", "quotes=['So it goes.']"];
    let server = Program::serve(&[&["qotd", "tcp://127.0.0.1:0"], &quotes[..]].concat());
    assert_eq!(server.ask(b""), b"So it goes.\r\n");

    let server = Program::serve(&["chargen", "tcp://127.0.0.1:0"]);
    let mut line = [0; 74];
    server.connect().read_exact(&mut line).unwrap();
    assert!(line.starts_with(b" !\"#") && line.ends_with(b"fg\r\n"), "{line:?}");
}

#[test]
fn a_cache_is_shared_by_its_connections_and_bounded_as_its_options_say() {
    let server = Program::serve(&["memcached", "tcp://127.0.0.1:0"]);
    assert_eq!(
        server.ask(b"set a 5 0 3\r\none\r\nadd a 0 0 1\r\nx\r\n"),
        b"STORED\r\nNOT_STORED\r\n"
    );
    assert_eq!(server.ask(b"get a none\r\nquit\r\n"), b"VALUE a 5 3\r\none\r\nEND\r\n");
    let long = [b"set b 0 0 1048576\r\n", &[b'x'; 1 << 20][..], b"\r\n"].concat();
    assert_eq!(server.ask(&long), b"STORED\r\n");
    let many = server.ask(format!("get{}\r\n", " b".repeat(40)).as_bytes());
    assert_eq!(many.len(), 40 * ("VALUE b 0 1048576\r\n\r\n".len() + (1 << 20)) + "END\r\n".len());
    assert!(server.ask(b"\x80\0").starts_with(b"CLIENT_ERROR the binary protocol is not served"));

    let small = ["--set", "memory=2KiB", "--set", "max_value=100"];
    let server = Program::serve(&[&["memcached", "tcp://127.0.0.1:0"], &small[..]].concat());
    assert!(server.ask(b"set a 0 0 101\r\n").starts_with(b"SERVER_ERROR object too large"));
    let sets = (0..20).map(|key| format!("set {key} 0 0 1 noreply\r\nx\r\n"));
    assert_eq!(server.ask(sets.collect::<String>().as_bytes()), b"");
    let told = String::from_utf8(server.ask(b"get 0 19\r\nstats\r\n")).unwrap();
    assert!(told.starts_with("VALUE 19 0 1\r\nx\r\nEND\r\n"), "{told}");
    assert!(told.contains("STAT limit_maxbytes 2048\r\n"), "{told}");
    assert!(
        told.contains("STAT curr_items 12\r\n") && told.contains("STAT evictions 8\r\n"),
        "{told}"
    );
}

#[test]
fn protocols_are_listed_and_described() {
    let list = Program::start(&["protocols"]).end();
    assert_eq!(list.code, Some(0));
    let names = [
        "echo",
        "discard",
        "line-echo",
        "netstring-echo",
        "telnet-echo",
        "chat",
        "http",
        "memcached",
        "socks5",
        "qotd",
    ];
    for name in names {
        let line = list.stdout.lines().find(|line| line.split(' ').next() == Some(name));
        assert!(line.is_some_and(|line| line.len() > 20), "{name}: {}", list.stdout);
    }
    let one = Program::start(&["protocols", "line-echo"]).end();
    assert_eq!(
        one.stdout,
        "line-echo: sends back every line once it is complete\n\n\
         fits streams: tcp, unix, mem, stdio; fd and systemd if the socket is one\n\n\
         option      type     default  what it is\n\
         delimiter   string   \"lf\"     what ends a line: lf or crlf\n\
         max_length  integer  16384    bytes of a line; a longer one ends the connection\n\n\
         [[service]]\nprotocol = \"line-echo\"\nlisten = \"tcp://127.0.0.1:7007\"\n\
         [service.options]\ndelimiter = \"lf\"\nmax_length = 16384\n"
    );
    let unknown = Program::start(&["protocols", "ehco"]).end();
    assert!(unknown.stderr.contains("did you mean `echo`?"), "{}", unknown.stderr);
    assert_eq!(unknown.code, Some(2));
}

#[test]
fn limits_are_set_on_the_command_line() {
    let one = ["echo", "tcp://127.0.0.1:0", "--limit", "max_connections=1"];
    let server = Program::serve(&[&one[..], &["--limit", "idle_timeout=200ms"]].concat());
    let mut first = server.connect();
    let mut second = server.connect();
    second.write_all(b"waits").unwrap();
    let mut end = Vec::new();
    first.read_to_end(&mut end).unwrap(); // it was idle
    drop(first); // else its close would wait for our end
    let mut answer = [0; 5];
    second.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"waits");
}

#[test]
fn shells_get_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Program::start(&["completions", shell]).end();
        assert!(script.stdout.contains("protocols"), "{shell}: {}", script.stderr);
        assert_eq!(script.code, Some(0));
    }
}
