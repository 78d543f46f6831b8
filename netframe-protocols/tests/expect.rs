//! Dialogues, over memory and on a paused clock: what matches, what is kept, and how calls end.

#![cfg(feature = "expect")]
#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use netframe_core::transport::mem;
use netframe_core::{ConnectionInfo, Result, Server, Stream};
use netframe_protocols::expect::{Expect, ExpectError, Match, Pattern};
use netframe_protocols::line::{LineProtocol, LineTransport, Lines};
use netframe_protocols::telnet::{
    Plain, Telnet, TelnetError, TelnetOption, TelnetSettings, telnet_echo,
};
use netframe_protocols::{Echo, echo};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn a_match_takes_what_is_before_it_and_leaves_what_is_behind() {
    let (mut peer, mut device) = pair();
    peer.write_all(b"one login: two login: three").await.unwrap();
    let found = device.expect("login: ").await.unwrap();
    assert_eq!((found.before(), found.matched()), (&b"one "[..], &b"login: "[..]));
    assert_eq!((found.index(), found.group(0), found.group(1)), (0, Some(&b"login: "[..]), None));
    assert_eq!(device.expect(b"login: ").await.unwrap().before(), b"two ");
    assert_eq!(device.buffered(), b"three");
    assert_eq!(device.take(), "three");
    assert_eq!(device.buffered(), b"");
}

#[tokio::test(start_paused = true)]
async fn the_earliest_match_wins_and_then_the_first_pattern() {
    let cases: &[(&str, &[Pattern], usize, &str)] = &[
        ("a b c", &["c".into(), "b".into()], 1, "a |b"),
        ("abc", &["bc".into(), "b".into()], 0, "a|bc"),
        ("abc", &["b".into(), "bc".into()], 0, "a|b"),
        ("x1 y", &["y".into(), regex(r"\d")], 1, "x|1"),
        ("x1 y", &[regex("y$"), regex(r"[a-z]\d")], 1, "|x1"),
        ("no yes", &["maybe".into(), regex("(?i)YES")], 1, "no |yes"),
        ("abc", &["".into(), "a".into()], 0, "|"),
    ];
    for (sent, patterns, index, expected) in cases {
        let (mut peer, mut device) = pair();
        peer.write_all(sent.as_bytes()).await.unwrap();
        let found = device.expect_any(*patterns).await.unwrap();
        assert_eq!((found.index(), shown(&found)), (*index, (*expected).to_owned()), "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn groups_tell_what_they_matched() {
    let (mut peer, mut device) = pair();
    peer.write_all(b"> uptime 17 days\r\n").await.unwrap();
    let pattern = regex(r"uptime (\d+) (days|(hours))\r\n");
    let found = device.expect(&pattern).await.unwrap();
    let groups: Vec<_> = (0..5).map(|number| found.group(number)).collect();
    let whole = &b"uptime 17 days\r\n"[..];
    assert_eq!(groups, [Some(whole), Some(b"17"), Some(b"days"), None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_may_come_in_any_pieces() {
    let wire = b"aab\xffaaab\xff$ ";
    for chunk_len in 1..=wire.len() {
        let (mut peer, mut device) = pair();
        let feed = async {
            for chunk in wire.chunks(chunk_len) {
                peer.write_all(chunk).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let read = async {
            let first = device.expect(b"aaab").await.unwrap();
            let second = device.expect(regex(r"(?-u)(\xff)\$ ")).await.unwrap();
            (shown(&first), shown(&second))
        };
        let ((), found) = tokio::join!(feed, read);
        assert_eq!(found, (r"aab\xff|aaab".into(), r"|\xff$ ".into()), "chunk_len={chunk_len}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_in_time_is_told_and_nothing_is_lost() {
    let (mut peer, device) = pair();
    let mut device = device.timeout(Duration::from_secs(7));
    peer.write_all(b"starting\r\n\x1b[0mlog").await.unwrap();
    let began = Instant::now();
    let error = device.expect_any(["login: ".into(), regex("(?i)user")]).await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(7));
    assert_eq!(
        error.to_string(),
        r#""login: " or /(?i)user/ did not come within 7s; what came ends with "starting\r\n\x1b[0mlog""#
    );
    device.set_timeout(Duration::from_secs(1));
    peer.write_all(b"in: ").await.unwrap();
    assert_eq!(device.expect("login: ").await.unwrap().before(), b"starting\r\n\x1b[0m");
    assert!(matches!(device.expect("x").await.unwrap_err(), ExpectError::Timeout { .. }));
    assert_eq!(began.elapsed(), Duration::from_secs(8));
}

#[tokio::test(start_paused = true)]
async fn an_error_shows_the_end_of_much_that_came() {
    let (mut peer, mut device) = pair();
    peer.write_all(&[&[b'x'; 5000][..], b"end"].concat()).await.unwrap();
    drop(peer);
    let error = device.expect("never").await.unwrap_err().to_string();
    let tail = format!("…\"{}end\"", "x".repeat(197));
    assert_eq!(error, format!("input ended before \"never\"; it ends with {tail}"));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_input_comes_behind_what_matches() {
    let (mut peer, mut device) = pair();
    peer.write_all(b"one two").await.unwrap();
    drop(peer);
    device.expect("one").await.unwrap();
    let error = device.expect("three").await.unwrap_err();
    assert!(matches!(error, ExpectError::Eof { .. }));
    assert_eq!(error.to_string(), r#"input ended before "three"; it ends with " two""#);
    assert_eq!(device.expect("two").await.unwrap().before(), b" ", "it is still there");
    assert_eq!(device.expect_eof().await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn all_up_to_the_end_can_be_taken() {
    let (mut peer, device) = pair();
    let mut device = device.timeout(Duration::from_secs(1));
    peer.write_all(b"one").await.unwrap();
    let error = device.expect_eof().await.unwrap_err().to_string();
    assert_eq!(error, r#"the end of input did not come within 1s; what came ends with "one""#);
    peer.write_all(b" two").await.unwrap();
    drop(peer);
    assert_eq!(device.expect_eof().await.unwrap(), "one two");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_than_is_allowed() {
    for len in [99, 100] {
        let (mut peer, device) = pair();
        let mut device = device.max_buffer(100);
        peer.write_all(&[&vec![b'x'; len - 1][..], b"$"].concat()).await.unwrap();
        assert_eq!(device.expect("$").await.unwrap().before().len(), len - 1);
    }
    let (mut peer, device) = pair();
    let mut device = device.max_buffer(100);
    peer.write_all(&[&[b'x'; 100][..], b"$"].concat()).await.unwrap();
    let error = device.expect("$").await.unwrap_err();
    assert!(matches!(error, ExpectError::TooLong { max_buffer: 100, .. }));
    let text = error.to_string();
    assert!(text.starts_with(r#"100 bytes came without "$"; raise `max_buffer`"#), "{text}");
    assert_eq!(device.take(), [b'x'; 100][..]);
    assert_eq!(device.expect("$").await.unwrap().before(), b"", "the rest has not been lost");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_loses_nothing() {
    let (mut peer, mut device) = pair();
    peer.write_all(b"one tw").await.unwrap();
    for _ in 0..3 {
        let call = timeout(Duration::from_millis(5), device.expect("two"));
        assert!(call.await.is_err());
    }
    peer.write_all(b"o").await.unwrap();
    assert_eq!(device.expect("two").await.unwrap().before(), b"one ");

    // What was to be sent is sent once, with whatever comes next.
    let (mut peer, io) = duplex(4);
    let mut device = Expect::over(io);
    assert!(timeout(Duration::from_millis(5), device.send("0123456789")).await.is_err());
    let mut seen = [0; 10];
    let read = peer.read_exact(&mut seen);
    let next = timeout(Duration::from_millis(50), device.expect("never"));
    let (read, _) = tokio::join!(read, next);
    read.unwrap();
    assert_eq!(&seen, b"0123456789");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_ends_a_send() {
    let (_peer, io) = duplex(4);
    let mut device = Expect::over(io).timeout(Duration::from_secs(3));
    let error = device.send("0123456789").await.unwrap_err();
    assert!(matches!(error, ExpectError::Unsent { len: 6, .. }));
    assert_eq!(error.to_string(), "the peer did not take 6 bytes within 3s");
    let (peer, io) = duplex(4);
    drop(peer);
    assert!(matches!(Expect::over(io).send("x").await.unwrap_err(), ExpectError::Io(_)));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_echoes_much_does_not_wait() {
    let network = mem::MemNetwork::new();
    let server = Server::builder(echo()).network(network.clone());
    let server = server.listen("mem://echo").unwrap().bind().await.unwrap();
    let stream = Stream::builder().network(network).connect("mem://echo").await.unwrap();
    let mut device = Expect::over(stream);
    let text = "x".repeat(700_000);
    device.send_line(&text).await.unwrap();
    assert_eq!(device.expect("\n").await.unwrap().before(), text.as_bytes());
    device.shutdown().await.unwrap();
    assert_eq!(device.expect_eof().await.unwrap(), "");
    drop(device);
    server.shutdown(Duration::from_secs(9)).await;
}

#[tokio::test(start_paused = true)]
async fn lines_end_as_the_device_wants() {
    let (mut peer, device) = pair();
    let mut device = device.line_end("\r");
    device.send_line("one").await.unwrap();
    device.send(b"two\xff").await.unwrap();
    device.shutdown().await.unwrap();
    let mut seen = Vec::new();
    peer.read_to_end(&mut seen).await.unwrap();
    assert_eq!(seen, b"one\rtwo\xff");
}

// Over Telnet.

#[tokio::test(start_paused = true)]
async fn telnet_below_is_answered_and_out_of_the_text() {
    let (mut peer, device) = pair();
    let mut device = device.telnet(TelnetSettings::client());
    // WILL ECHO, WILL SGA, DO TERMINAL-TYPE, DO NAWS, a command in the prompt, a byte 255.
    let wire = b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x18\xff\xfd\x1flog\xff\xf1in\xff\xff: \r\nx\r\0y";
    for byte in wire {
        peer.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(device.expect(b"login\xff: \r\n").await.unwrap().before(), b"");
    device.expect("x\ry").await.unwrap();
    device.send_line(b"ada\xff").await.unwrap();
    let answers = b"\xff\xfd\x01\xff\xfd\x03\xff\xfc\x18\xff\xfc\x1f";
    assert_eq!(read(&mut peer).await, [&answers[..], b"ada\xff\xff\r\n"].concat());
}

#[tokio::test(start_paused = true)]
async fn a_terminal_and_a_window_are_told_if_there_are_any() {
    let (mut peer, device) = pair();
    let mut settings = TelnetSettings::client();
    settings.terminal_types = vec!["dumb".into()];
    settings.window_size = Some((500, 0));
    let mut device = device.telnet(settings);
    peer.write_all(b"\xff\xfd\x18\xff\xfa\x18\x01\xff\xf0\xff\xfd\x1f$").await.unwrap();
    device.expect("$").await.unwrap();
    device.send("").await.unwrap();
    let told =
        b"\xff\xfb\x18\xff\xfa\x18\0dumb\xff\xf0\xff\xfb\x1f\xff\xfa\x1f\x01\xf4\0\0\xff\xf0";
    assert_eq!(read(&mut peer).await, told);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_telnet_is_an_error_behind_what_was() {
    let (mut peer, device) = pair();
    let mut device = device.telnet(TelnetSettings::client());
    peer.write_all(b"one\xff\xfa\x18\xff\x01two").await.unwrap();
    assert_eq!(device.expect("one").await.unwrap().before(), b"");
    let error = device.expect("two").await.unwrap_err();
    assert!(matches!(error, ExpectError::Telnet(TelnetError::Unescaped { byte: 1 })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_negotiates_and_does_not_read_is_not_read_from() {
    let (mut peer, io) = duplex(64);
    let mut device =
        Expect::over(io).telnet(TelnetSettings::client()).timeout(Duration::from_secs(5));
    let flood = tokio::spawn(async move {
        let mut sent = 0;
        while let Ok(Ok(len)) =
            timeout(Duration::from_secs(1), peer.write(&[255, 253, 201].repeat(100))).await
        {
            sent += len;
        }
        (peer, sent)
    });
    let error = device.expect("$").await.unwrap_err();
    assert!(matches!(error, ExpectError::Timeout { .. }), "{error:?}");
    let (_peer, sent) = flood.await.unwrap();
    assert!((64 * 1024..80 * 1024).contains(&sent), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_pauses_keeps_nobody_waiting() {
    for sends_too in [false, true] {
        let mut device = Expect::over(Endless).telnet(TelnetSettings::client());
        let other = tokio::spawn(tokio::time::advance(Duration::from_secs(60)));
        let error = match sends_too {
            true => device.send("x").await.unwrap_err(),
            false => device.expect("$").await.unwrap_err(),
        };
        assert!(matches!(error, ExpectError::Timeout { .. } | ExpectError::Unsent { .. }));
        other.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_answered_does_not_wait_for_the_next_call() {
    let (mut peer, device) = pair();
    let mut device = device.telnet(TelnetSettings::client());
    peer.write_all(b"\xff\xfb\x01login: ").await.unwrap();
    device.expect("login: ").await.unwrap();
    assert_eq!(read(&mut peer).await, b"\xff\xfd\x01");
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_device() {
    let network = mem::MemNetwork::new();
    let device = |_: &ConnectionInfo| Telnet::server(Plain(Lines::new(Console::default())));
    let server = Server::builder(device).network(network.clone());
    let server = server.listen("mem://device").unwrap().bind().await.unwrap();
    let stream = Stream::builder().network(network).connect("mem://device").await.unwrap();
    let mut session = Expect::over(stream).telnet(TelnetSettings::client());
    session.expect("login: ").await.unwrap();
    session.send_line("ada").await.unwrap();
    let prompt = [Pattern::from("denied"), regex(r"(\w+)@device> ")];
    let found = session.expect_any(&prompt).await.unwrap();
    assert_eq!((found.index(), found.group(1)), (1, Some(&b"ada"[..])));
    for (command, answer) in [("one", "ONE"), ("two\nthree", "TWO\r\nada@device> THREE")] {
        session.send_line(command).await.unwrap();
        for _ in command.lines() {
            session.expect_any(&prompt).await.unwrap();
        }
        session.send_line(command).await.unwrap();
        let mut seen = Vec::new();
        for _ in command.lines() {
            let found = session.expect_any(&prompt).await.unwrap();
            seen.extend_from_slice(found.before());
            seen.extend_from_slice(found.matched());
        }
        assert_eq!(String::from_utf8(seen).unwrap(), format!("{answer}\r\nada@device> "));
    }
    session.send_line("exit").await.unwrap();
    assert_eq!(session.expect_eof().await.unwrap(), "bye\r\n");
    drop(session);
    server.shutdown(Duration::from_secs(9)).await;
}

#[tokio::test(start_paused = true)]
async fn both_sides_agree_on_a_terminal_and_a_window() {
    let network = mem::MemNetwork::new();
    let server = Server::builder(telnet_echo(Default::default()).unwrap());
    let server =
        server.network(network.clone()).listen("mem://echo").unwrap().bind().await.unwrap();
    let mut settings = TelnetSettings::client();
    settings.terminal_types = ["VT\u{ff}", "DUMB"].map(Into::into).to_vec();
    settings.window_size = Some((255, 65535));
    for (settings, status) in [
        (TelnetSettings::client(), "terminal not told, window not told"),
        (settings, r"terminal VT\xc3\xbf, window 255 x 65535"),
    ] {
        let stream = Stream::builder().network(network.clone()).connect("mem://echo").await;
        let mut device = Expect::over(stream.unwrap()).telnet(settings);
        // Whatever was to be agreed on has been once an answer to what was sent behind it is here.
        for _ in 0..2 {
            device.send_line("hello").await.unwrap();
            assert_eq!(device.expect("hello\r\n").await.unwrap().before(), b"");
        }
        device.send_line("/status").await.unwrap();
        let told = device.expect("\r\n").await.unwrap();
        assert_eq!(str::from_utf8(told.before()), Ok(status));
    }
    server.shutdown(Duration::from_secs(9)).await;
}

#[tokio::test(start_paused = true)]
async fn a_binary_session_sends_bytes_as_they_are() {
    let mut settings = TelnetSettings::server();
    settings.peer.push(TelnetOption::BINARY);
    settings.local.push(TelnetOption::BINARY);
    let mut client = TelnetSettings::client();
    client.local.push(TelnetOption::BINARY);
    client.peer.push(TelnetOption::BINARY);
    let (stream, ours) = mem::pair(1024);
    let server = move |_: &ConnectionInfo| Telnet::new(Plain(Echo), settings.clone());
    let _server = netframe_core::Client::builder(server).adopt(ours).unwrap();
    let mut device = Expect::over(stream).telnet(client);
    device.send("a\nb").await.unwrap();
    device.expect("a\r\nb").await.unwrap();
    // The server is asked by hand, as a client that speaks binary would: DO and WILL.
    device.get_mut().write_all(b"\xff\xfd\0\xff\xfb\0").await.unwrap();
    device.send("?").await.unwrap();
    device.expect("?").await.unwrap(); // behind what the server has answered
    device.send("c\nd").await.unwrap();
    device.expect("c").await.unwrap();
    assert_eq!(device.expect("d").await.unwrap().before(), b"\n");
}

proptest! {
    /// Whatever the pieces, the first match is that of a search in all of it.
    #[test]
    fn any_pieces_give_the_first_match(
        text in "[ab]{0,40}",
        needles in vec("[ab]{1,6}", 1..4),
        cuts in vec(1..9_usize, 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let found = runtime.unwrap().block_on(async {
            let (mut peer, mut device) = pair();
            let feed = async move {
                let (mut rest, mut cuts) = (text.as_bytes(), cuts.into_iter().cycle());
                while !rest.is_empty() {
                    let (piece, behind) = rest.split_at(rest.len().min(cuts.next().unwrap()));
                    peer.write_all(piece).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    rest = behind;
                }
                drop(peer);
                text
            };
            // One after the other, so that each is found where a search in all finds it.
            let read = async {
                let mut found = Vec::new();
                for needle in &needles {
                    match device.expect(needle.as_str()).await {
                        Ok(matched) => found.push(shown(&matched)),
                        Err(_) => found.push(format!("none in {}", device.buffered().escape_ascii())),
                    }
                }
                found
            };
            tokio::join!(feed, read)
        });
        let (text, found) = found;
        let (mut rest, mut expected) = (text.as_str(), Vec::new());
        for needle in &needles {
            match rest.split_once(needle.as_str()) {
                Some((before, behind)) => {
                    expected.push(format!("{before}|{needle}"));
                    rest = behind;
                }
                None => expected.push(format!("none in {rest}")),
            }
        }
        prop_assert_eq!(found, expected);
    }
}

fn pair() -> (DuplexStream, Expect<DuplexStream>) {
    let (peer, io) = duplex(64 * 1024);
    (peer, Expect::over(io))
}

fn regex(pattern: &str) -> Pattern {
    Pattern::regex(pattern).unwrap()
}

/// What came before a match, and the match.
fn shown(found: &Match) -> String {
    format!("{}|{}", found.before().escape_ascii(), found.matched().escape_ascii())
}

/// What has been sent to a peer.
async fn read(peer: &mut DuplexStream) -> Vec<u8> {
    let mut seen = vec![0; 1000];
    let len = timeout(Duration::from_secs(99), peer.read(&mut seen)).await.unwrap().unwrap();
    seen.truncate(len);
    seen
}

/// A peer that always has another command to give, and takes nothing.
struct Endless;

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buf.put_slice(b"\xff\xf1");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A console that asks who is there, and answers in upper case.
#[derive(Default)]
struct Console {
    user: Option<String>,
}

impl LineProtocol for Console {
    async fn connection_made(&mut self, t: &mut LineTransport<'_>) -> Result {
        t.write(b"\nlogin: ");
        Ok(())
    }

    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        match &self.user {
            None => self.user = Some(String::from_utf8(line.to_vec())?),
            Some(_) if line == b"exit" => {
                t.send_line("bye")?;
                t.close();
                return Ok(());
            }
            Some(_) => t.send_line(line.to_ascii_uppercase())?,
        }
        let user = self.user.as_deref().unwrap_or_default();
        t.write(format!("{user}@device> ").as_bytes());
        Ok(())
    }
}
