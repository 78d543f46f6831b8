//! SOCKS 5: the bytes of RFC 1928 and 1929 at every split, rules, and a real proxy.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Harness, replay};
use netframe_core::{
    CloseKind, ConnectionInfo, Factory, Protocol, Result, Server, Side, Stream, Transport,
};
use netframe_protocols::echo;
use netframe_protocols::socks5::{Socks5, Socks5Options, Socks5OptionsError, socks5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn options(change: impl FnOnce(&mut Socks5Options)) -> Socks5Options {
    let mut options = Socks5Options::default();
    change(&mut options);
    options
}

fn open() -> Socks5Options {
    options(|o| o.open = true)
}

fn users() -> Socks5Options {
    options(|o| drop(o.users.insert("ada".into(), "secret".into())))
}

fn protocol(options: &Socks5Options) -> Socks5 {
    let recorder = netframe_core::testing::Recorder::new();
    let info = recorder.info().clone();
    socks5(options.clone()).unwrap().build_protocol(&info).unwrap()
}

#[test]
fn what_is_refused_is_told_why() {
    let (open, users) = (open(), users());
    let closed = options(|o| o.allow = vec!["example.org:443".into()]);
    for (options, sent, answer) in [
        // Another version, or other methods.
        (&open, &b"\x04\x01\x00\x50"[..], &b""[..]),
        (&open, b"GET / HTTP/1.1\r\n", b""),
        (&open, b"\x05\x01\x01", b"\x05\xff"),
        (&open, b"\x05\x00", b"\x05\xff"),
        (&users, b"\x05\x01\x00", b"\x05\xff"),
        // Wrong users and passwords.
        (&users, b"\x05\x02\x00\x02\x01\x03ada\x06secreT", b"\x05\x02\x01\x01"),
        (&users, b"\x05\x01\x02\x01\x03ada\x05secre", b"\x05\x02\x01\x01"),
        (&users, b"\x05\x01\x02\x01\x03eve\x06secret", b"\x05\x02\x01\x01"),
        (&users, b"\x05\x01\x02\x02\x03ada\x06secret", b"\x05\x02"),
        // Commands, addresses, hosts.
        (
            &open,
            b"\x05\x01\x00\x05\x02\x00\x01\x01\x01\x01\x01\x00\x50",
            b"\x05\x00\x05\x07\x00\x01\0\0\0\0\0\0",
        ),
        (
            &open,
            b"\x05\x01\x00\x05\x01\x00\x02\x01\x01\x01\x01\x00\x50",
            b"\x05\x00\x05\x08\x00\x01\0\0\0\0\0\0",
        ),
        (
            &open,
            b"\x05\x01\x00\x05\x01\x00\x03\x03a/b\x00\x50",
            b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0",
        ),
        (
            &open,
            b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50",
            b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0",
        ),
        (&open, b"\x05\x01\x00\x04\x01\x00\x01\x01\x01\x01\x01\x00\x50", b"\x05\x00"),
        // Where nobody may go.
        (
            &open,
            b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50",
            b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0",
        ),
        (
            &open,
            b"\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50",
            b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0",
        ),
        (
            &open,
            b"\x05\x01\x00\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\x01\x00\x50",
            b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0",
        ),
        (
            &closed,
            b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.com\x01\xbb",
            b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0",
        ),
        (
            &closed,
            b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.org\x00\x50",
            b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0",
        ),
    ] {
        let replayed = replay(sent, || protocol(options));
        assert_eq!(replayed.written, answer, "{}", sent.escape_ascii());
        let mut client = Harness::new(protocol(options));
        client.receive(sent);
        client.receive_eof();
        let reason = client.reason().unwrap();
        assert_eq!((reason.by(), reason.kind()), (Side::Peer, CloseKind::ProtocolError));
    }
}

#[test]
fn a_proxy_that_is_open_by_mistake_is_refused() {
    let refused = |options| socks5(options).err();
    assert_eq!(refused(Socks5Options::default()), Some(Socks5OptionsError::Open));
    assert!(refused(open()).is_none() && refused(users()).is_none());
    for rule in ["example.org", "example.org:x", ":80", "a*b:80", "*x:80", "example.org:70000", ""]
    {
        let error = refused(options(|o| o.allow = vec![rule.into()])).unwrap();
        assert_eq!(error, Socks5OptionsError::Rule { rule: rule.into() });
    }
    let long = refused(options(|o| drop(o.users.insert("ada".into(), "x".repeat(256)))));
    assert_eq!(long, Some(Socks5OptionsError::User { user: "ada".into() }));
    assert!(!format!("{:?}", users()).contains("secret"));
}

/// What one who asks for this gets, up to the end.
async fn ask(proxy: &Server, sent: &[u8]) -> Vec<u8> {
    let mut stream = Stream::connect(proxy.endpoint().clone()).await.unwrap();
    stream.write_all(sent).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    got
}

/// `CONNECT` to a name, and what is said then.
fn connect(host: &str, port: u16, said: &str) -> Vec<u8> {
    let len = host.len() as u8;
    let port = port.to_be_bytes();
    [
        b"\x05\x01\x02\x01\x03ada\x06secret\x05\x01\x00\x03",
        &[len][..],
        host.as_bytes(),
        &port,
        said.as_bytes(),
    ]
    .concat()
}

#[tokio::test]
async fn what_is_said_behind_the_request_goes_to_the_target() {
    let target = Server::bind("tcp://127.0.0.1:0", echo()).await.unwrap();
    let port = target.endpoint().address().socket_addr().unwrap().port();
    let greeter = Server::bind("tcp://127.0.0.1:0", |_: &ConnectionInfo| Greets).await.unwrap();
    let greets = greeter.endpoint().address().socket_addr().unwrap().port();
    let nobody = tokio::net::TcpSocket::new_v4().unwrap(); // bound, but it does not listen
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refuses = nobody.local_addr().unwrap().port();
    let mut into = users();
    into.private = true;
    let proxy = Server::bind("tcp://127.0.0.1:0", socks5(into).unwrap()).await.unwrap();
    let told = |reply: u8| [b"\x05\x02\x01\x00\x05", &[reply][..], b"\x00\x01"].concat();
    for (port, said, begin, end) in [
        (port, "hello", told(0), "hello"),
        // Who speaks first is heard behind the answer.
        (greets, "", told(0), "welcome"),
        (refuses, "hello", told(5), ""),
    ] {
        for host in ["127.0.0.1", "localhost"] {
            let got = ask(&proxy, &connect(host, port, said)).await;
            assert!(got.starts_with(&begin), "{host} {}", got.escape_ascii());
            assert_eq!(&got[begin.len() + 6..], end.as_bytes());
        }
    }
    // By another proxy nobody comes here, whatever the name.
    let proxy = Server::bind("tcp://127.0.0.1:0", socks5(users()).unwrap()).await.unwrap();
    for host in ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433"] {
        let got = ask(&proxy, &connect(host, port, "hello")).await;
        assert!([2, 4].contains(&got[5]), "{host} {}", got.escape_ascii());
        assert!(!got.ends_with(b"hello"));
    }
    for server in [target, greeter, proxy] {
        server.shutdown(std::time::Duration::from_secs(9)).await;
    }
}

struct Greets;

impl Protocol for Greets {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        t.write(b"welcome");
        t.close();
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_must_come_in_time() {
    let (mut peer, connection) =
        netframe_core::testing::serve(socks5(open()).unwrap(), netframe_core::Limits::default());
    peer.write_all(b"\x05").await.unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"");
    drop((peer, connection));
}
