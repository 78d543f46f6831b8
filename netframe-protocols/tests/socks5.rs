//! SOCKS 5: the bytes of RFC 1928 and 1929 at every split, rules, and a real proxy.

#![expect(clippy::unwrap_used, reason = "a test fails where an unwrap does")]

use std::net::IpAddr;
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::testing::{Harness, replay, serve};
use netframe_core::transport::mem::MemNetwork;
use netframe_core::{
    CloseKind, CloseReason, ConnectionInfo, Factory, Limits, Protocol, Result, Server, Side,
    Stream, Transport,
};
use netframe_protocols::echo;
use netframe_protocols::socks5::{Socks5, Socks5Options, Socks5OptionsError, socks5, socks5_to};
use tokio::io::{AsyncReadExt, AsyncWriteExt, split};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

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

/// Where nobody may go: no host has such a name.
fn nowhere() -> Socks5Options {
    options(|o| o.allow = vec!["!:1".into()])
}

/// What a client that is let in is answered up to its request, at every split.
#[track_caller]
fn answered(request: &[u8]) -> Vec<u8> {
    let sent = [b"\x05\x01\x00", request].concat();
    let written = replay(&sent, || protocol(&nowhere())).written;
    written.strip_prefix(b"\x05\x00").expect("it is let in").to_vec()
}

fn refusal(reply: u8) -> Vec<u8> {
    [b"\x05", &[reply][..], b"\x00\x01\0\0\0\0\0\0"].concat()
}

/// RFC 1928, section 4.
#[test]
fn each_field_of_a_request_is_checked() {
    const NOT_ALLOWED: u8 = 2; // the request itself was read to its end
    const COMMAND: u8 = 7;
    const ADDRESS: u8 = 8;
    let to = |command: u8, reserved: u8, kind: u8| {
        [&[5, command, reserved, kind][..], &[192, 0, 2, 1, 0, 80]].concat()
    };
    assert_eq!(answered(&to(1, 0, 1)), refusal(NOT_ALLOWED));
    for version in [0, 1, 4, 6, 0xff] {
        assert_eq!(answered(&[version, 1, 0, 1, 192, 0, 2, 1, 0, 80]), b"");
    }
    for command in [0, 2, 3, 4, 0x80, 0xff] {
        assert_eq!(answered(&to(command, 0, 1)), refusal(COMMAND), "2 is BIND, 3 UDP ASSOCIATE");
    }
    for reserved in [1, 0xff] {
        assert_eq!(answered(&to(1, reserved, 1)), refusal(1));
    }
    for kind in [0, 2, 5, 0xff] {
        assert_eq!(answered(&to(1, 0, kind)), refusal(ADDRESS));
    }
}

/// RFC 1928, section 5.
#[test]
fn each_type_of_address_has_its_length() {
    let to = |kind: u8, address: &[u8]| [&[5, 1, 0, kind][..], address, &[1, 0xbb]].concat();
    let host = |len: u8| [&[len][..], &vec![b'a'; len.into()]].concat();
    for (kind, address) in [
        (1, vec![192, 0, 2, 1]),
        (4, [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[1]].concat()),
        (3, host(1)),
        (3, host(254)),
        (3, host(255)),
        (3, b"\x0b2001:db8::1".to_vec()), // an address as text
    ] {
        let request = to(kind, &address);
        assert_eq!(answered(&request), refusal(2));
        for len in 0..request.len() {
            assert_eq!(answered(&request[..len]), b"", "{len} of {}", request.len());
        }
    }
    for name in [&b"\x00"[..], b"\x01/", b"\x03a b", b"\x03a\0b", b"\x03\xc3\xa4x", b"\x04a\r\nb"] {
        assert_eq!(answered(&to(3, name)), refusal(4), "{}", name.escape_ascii());
    }
}

/// RFC 1928, section 3.
#[test]
fn a_method_is_chosen_of_up_to_255() {
    let greeting = |methods: &[u8]| [&[5, methods.len() as u8][..], methods].concat();
    let others: Vec<u8> = (3..=0xff).collect();
    for (options, method) in [(nowhere(), 0), (users(), 2)] {
        let chosen = |methods: &[u8]| replay(&greeting(methods), || protocol(&options)).written;
        assert_eq!(chosen(&[method]), [5, method]);
        assert_eq!(chosen(&[0, 2]), [5, method]);
        assert_eq!(chosen(&[&others[..], &[method]].concat()), [5, method]);
        assert_eq!(chosen(&[method; 255]), [5, method]);
        assert_eq!(chosen(&others), [5, 0xff]);
        assert_eq!(chosen(&[]), [5, 0xff]);
    }
}

/// RFC 1929, section 2.
#[test]
fn users_and_passwords_have_1_to_255_bytes() {
    let longest = "x".repeat(255);
    let options = options(|o| {
        o.users.insert("a".into(), longest.clone());
        o.users.insert(longest.clone(), "b".into());
        o.allow = vec!["!:1".into()];
    });
    let told = |user: &str, password: &str| {
        let login = [
            &[5, 1, 2, 1, user.len() as u8][..],
            user.as_bytes(),
            &[password.len() as u8],
            password.as_bytes(),
        ];
        let written = replay(&login.concat(), || protocol(&options)).written;
        written.strip_prefix(b"\x05\x02").expect("it is asked for its password").to_vec()
    };
    assert_eq!(told("a", &longest), [1, 0]);
    assert_eq!(told(&longest, "b"), [1, 0]);
    for (user, password) in [
        ("", ""),
        ("a", ""),
        ("", &longest),
        ("a", &longest[1..]),
        (&longest[1..], "b"),
        ("A", "b"),
    ] {
        assert_eq!(told(user, password), [1, 1], "{user:.9} {password:.9}");
    }
    for options in [
        self::options(|o| drop(o.users.insert("ada".into(), String::new()))),
        self::options(|o| drop(o.users.insert(String::new(), "secret".into()))),
        self::options(|o| drop(o.users.insert("x".repeat(256), "secret".into()))),
    ] {
        let error = socks5(options).err().unwrap();
        assert!(matches!(error, Socks5OptionsError::User { .. }), "{error}");
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
        server.shutdown(Duration::from_secs(9)).await;
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

/// Where the other side was opened from (RFC 1928, section 6: BND.ADDR), in the family of that address.
#[tokio::test]
async fn the_answer_names_an_address_of_the_targets_family() {
    let mut into = open();
    into.private = true;
    let proxy = Server::bind("tcp://127.0.0.1:0", socks5(into).unwrap()).await.unwrap();
    for host in ["127.0.0.1", "::1"] {
        let ip: IpAddr = host.parse().unwrap();
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port().to_be_bytes();
        let (kind, address) = match ip {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (4, ip.octets().to_vec()),
        };
        let mut client = Stream::connect(proxy.endpoint().clone()).await.unwrap();
        let request = [&[5, 1, 0, 5, 1, 0, kind][..], &address, &port].concat();
        client.write_all(&request).await.unwrap();
        let (_target, from) = listener.accept().await.unwrap();
        let mut answer = vec![0; 2 + 4 + address.len() + 2];
        client.read_exact(&mut answer).await.unwrap();
        let port = from.port().to_be_bytes();
        assert_eq!(answer, [&[5, 0, 5, 0, 0, kind][..], &address, &port].concat());
    }
    proxy.shutdown(Duration::from_secs(9)).await;
}

/// In this process, so that a whole conversation can be had at every split.
#[tokio::test(start_paused = true)]
async fn a_conversation_is_the_same_at_every_split() {
    let network = MemNetwork::new();
    let target = Server::builder(echo()).network(network.clone());
    let target = target.listen("mem://echo").unwrap().bind().await.unwrap();
    let mut options = users();
    options.allow = vec!["echo:7".into(), "nobody:7".into()];
    let find = |host: &str, _| format!("mem://{host}").parse();
    let proxy = || socks5_to(options.clone(), network.clone(), find).unwrap();
    for (host, port, told, end) in [
        ("echo", 7, 0, "hello"),
        ("ECHO", 7, 0, "hello"), // names have no case
        ("echo", 8, 2, ""),
        ("nobody", 7, 5, ""), // nobody listens
    ] {
        let wire = connect(host, port, "hello");
        for chunk_len in 1..=wire.len() {
            let (mut peer, connection) = serve(proxy(), Limits::default());
            for chunk in wire.chunks(chunk_len) {
                // Whoever is refused is not read from to the end.
                let _ = peer.write_all(chunk).await;
                tokio::task::yield_now().await;
            }
            peer.shutdown().await.unwrap();
            let mut got = Vec::new();
            peer.read_to_end(&mut got).await.unwrap();
            let want = [b"\x05\x02\x01\x00", &refusal(told)[..], end.as_bytes()].concat();
            assert_eq!(got, want, "{host}:{port} chunk_len={chunk_len}");
            connection.closed().await;
        }
    }
    target.shutdown(Duration::from_secs(9)).await;
}

/// Tells how its connection ended.
struct Target(mpsc::UnboundedSender<CloseKind>);

impl Protocol for Target {
    async fn data_received(&mut self, _: &mut dyn Transport, _: &mut BytesMut) -> Result {
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.0.send(reason.kind()).unwrap();
    }
}

/// The answer is on its way, and nobody reads it: there is no forwarding yet that could end it all.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_with_its_answer_unread_leaves_nothing_open() {
    let network = MemNetwork::new();
    let (lost, mut ends) = mpsc::unbounded_channel();
    let target = Server::builder(move |_: &ConnectionInfo| Target(lost.clone()));
    let target = target.network(network.clone()).listen("mem://target").unwrap();
    let target = target.bind().await.unwrap();
    let find = |host: &str, _| format!("mem://{host}").parse();
    let proxy = Server::builder(socks5_to(open(), network.clone(), find).unwrap());
    let proxy = proxy.network(network.clone()).listen("mem://proxy?capacity=3").unwrap();
    let proxy = proxy.bind().await.unwrap();
    let client = Stream::builder().network(network.clone());
    let mut client = client.connect("mem://proxy").await.unwrap();
    client.write_all(b"\x05\x01\x00\x05\x01\x00\x03\x06target\x00\x07").await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(ends.try_recv().is_err(), "the target is open");
    client.abort();
    let end = timeout(Duration::from_secs(60), ends.recv()).await;
    assert_eq!(end.unwrap(), Some(CloseKind::Reset));
    proxy.shutdown(Duration::from_secs(9)).await;
    target.shutdown(Duration::from_secs(9)).await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_trickles_gets_no_more_time() {
    let (peer, _connection) = serve(socks5(users()).unwrap(), Limits::default());
    let (mut input, mut output) = split(peer);
    let wire = connect("example.org", 80, "");
    let trickle = async {
        for byte in &wire {
            output.write_all(&[*byte]).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    };
    let (began, mut got) = (Instant::now(), Vec::new());
    tokio::select! {
        read = input.read_to_end(&mut got) => drop(read.unwrap()),
        () = trickle => panic!("all of it was taken"),
    }
    let took = began.elapsed();
    assert!((10..13).contains(&took.as_secs()), "{took:?}");
    assert_eq!(got, b"\x05\x02", "there was no time for more");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_must_come_in_time() {
    let (mut peer, connection) = serve(socks5(open()).unwrap(), Limits::default());
    peer.write_all(b"\x05").await.unwrap();
    let mut got = Vec::new();
    peer.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"");
    drop((peer, connection));
}
