//! The small services over streams and datagrams: echo (RFC 862), discard (863), chargen (864), quote of
//! the day (865), daytime (867) and time (868).

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::datagrams::{peer, received};
use crate::program::Program;

/// Serves it over both, with options.
fn serve(protocol: &str, options: &[&str]) -> (Program, UdpSocket) {
    let mut args = vec![protocol, "tcp://127.0.0.1:0", "udp://127.0.0.1:0"];
    args.extend(options.iter().flat_map(|option| ["--set", option]));
    let server = Program::serve(&args);
    let peer = peer(server.addrs[1]);
    (server, peer)
}

/// Sends a datagram, and returns the one that answers it.
fn exchange(peer: &UdpSocket, question: &[u8]) -> Vec<u8> {
    peer.send(question).unwrap();
    received(|answer| peer.recv(answer))
}

#[test]
fn echo_returns_streams_and_datagrams() {
    let (server, peer) = serve("echo", &[]);
    assert_eq!(server.ask(b"any \0\xff bytes"), b"any \0\xff bytes");
    for question in [&b""[..], b"\0", &[7; 60_000]] {
        assert_eq!(exchange(&peer, question), question);
    }
}

#[test]
fn discard_answers_neither_streams_nor_datagrams() {
    let (server, peer) = serve("discard", &[]);
    assert_eq!(server.ask(&[b'x'; 100_000]), b"");
    peer.send(b"anybody?").unwrap();
    peer.send(b"").unwrap();
    // Nothing has been answered: what was received is counted at the end, and what was sent.
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains(" bytes_out=0 "), "{}", end.stderr);
    peer.set_nonblocking(true).unwrap();
    assert!(peer.recv(&mut [0; 9]).is_err());
}

#[test]
fn chargen_sends_lines_and_a_part_of_them_for_each_datagram() {
    let (server, peer) = serve("chargen", &["datagrams=true"]);
    let mut stream = server.connect();
    stream.write_all(b"is thrown away").unwrap();
    let mut lines = vec![0; 74 * 96];
    stream.read_exact(&mut lines).unwrap();
    assert!(lines.starts_with(b" !\"#") && lines[..74].ends_with(b"fg\r\n"));
    assert_eq!(lines[74 * 95..], lines[..74], "they begin anew");
    for _ in 0..20 {
        // So long that three times as much is enough for any answer.
        let answer = exchange(&peer, &[b'?'; 171]);
        assert!(answer.len() <= 512 && lines.starts_with(&answer), "{}", answer.escape_ascii());
    }
}

#[test]
fn qotd_says_its_quote_and_ends_or_answers_each_datagram() {
    let long = "q".repeat(510);
    let (server, peer) = serve("qotd", &["datagrams=true", &format!("quotes=['{long}']")]);
    let quote = format!("{long}\r\n").into_bytes();
    assert_eq!(server.ask(b"is not read"), quote);
    assert_eq!(exchange(&peer, &[b'?'; 171]), quote, "at most three times as much");
    assert_eq!(exchange(&peer, b""), quote, "who has sent twice gets more");

    let (server, peer) = serve("qotd", &["datagrams=true"]);
    assert_eq!(server.ask(b""), b"It has to work. (RFC 1925)\r\n");
    peer.send(b"").unwrap();
    assert_eq!(exchange(&peer, b""), b"It has to work. (RFC 1925)\r\n");
    assert_eq!(received(|answer| peer.recv(answer)), b"It has to work. (RFC 1925)\r\n");
}

#[test]
fn what_amplifies_serves_datagrams_only_where_that_is_asked_for() {
    for protocol in ["chargen", "qotd"] {
        let end = Program::start(&["serve", protocol, "udp://127.0.0.1:0"]).end();
        assert_eq!(
            (end.code, &*end.stderr),
            (
                Some(2),
                "error: `udp://127.0.0.1:0` carries datagrams, whose senders can be forged, and each \
                 would be answered with more than it has; use tcp://, or set the option \
                 `datagrams = true` where nobody can forge one\n"
            ),
            "{protocol}"
        );
        let wrong = ["serve", protocol, "udp://127.0.0.1:0", "--set", "datagrams=often"];
        let end = Program::start(&wrong).end();
        assert_eq!(end.code, Some(2));
        let want = "error: invalid value of option `datagrams`: invalid type: string";
        assert!(end.stderr.starts_with(want), "{}", end.stderr);
        let told = Program::start(&["protocols", protocol]).end().stdout;
        assert!(told.contains("fits streams:") && told.contains("datagrams = false\n"), "{told}");
    }
}

#[test]
fn daytime_tells_the_time_as_text() {
    let (server, peer) = serve("daytime", &[]);
    let is_time = |text: &[u8]| text.len() == 31 && text.ends_with(b" GMT\r\n");
    assert!(is_time(&server.ask(b"is not read")));
    assert!(is_time(&exchange(&peer, b"what time is it")));
    assert!(is_time(&exchange(&peer, b"")));
}

#[test]
fn time_tells_the_seconds_since_1900() {
    let (server, peer) = serve("time", &[]);
    let now = || {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        (since_1970 + 2_208_988_800) as u32
    };
    let before = now();
    peer.send(b"").unwrap();
    let answers = [server.ask(b"is not read"), exchange(&peer, b""), received(|a| peer.recv(a))];
    for answer in answers {
        let told = u32::from_be_bytes(answer.try_into().unwrap());
        assert!((before..=now()).contains(&told), "{told}");
    }
}
