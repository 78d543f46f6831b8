//! `port-forward` and `socks5` as a user sees them: options, what is forwarded, what the log tells.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::thread;

use socket2::{Domain, SockRef, Socket, Type};

use crate::config::Folder;
use crate::datagrams::{peer, received};
use crate::program::{Program, ask, connect};

/// Forwards to there from an endpoint of its own.
fn forward(listen: &str, to: &str, more: &[&str]) -> Program {
    let to = format!("to={to}");
    let args = ["serve", "port-forward", listen, "--set", &to];
    Program::start(&[&args, more].concat()).listening("port-forward", 1)
}

/// Serves one connection, by what is done with it.
fn target(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    addr
}

/// Reads to the end, and answers with all of it.
fn answer(mut stream: impl Read + Write) {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    stream.write_all(&got).unwrap();
}

#[track_caller]
fn refuses(protocol: &str, options: &[&str], want: &str) {
    let mut args = vec!["serve", protocol, "tcp://127.0.0.1:0"];
    args.extend(options.iter().flat_map(|option| ["--set", option]));
    let end = Program::start(&args).end();
    assert_eq!((end.code, end.stderr), (Some(2), format!("error: {want}\n")), "{options:?}");
}

#[test]
fn options_of_port_forward_are_refused_with_what_would_do() {
    let refuses = |options: &[&str], want: &str| refuses("port-forward", options, want);
    refuses(
        &[],
        "`port-forward` needs more options: `to` is not set; name an endpoint, such as \
         tcp://127.0.0.1:8080",
    );
    refuses(
        &["to=127.0.0.1:80"],
        "invalid value of option `to`: `127.0.0.1:80` has no kind; did you mean `tcp://127.0.0.1:80`?",
    );
    refuses(
        &["to=tcp://127.0.0.1:99999"],
        "invalid value of option `to`: invalid port `99999`; expected a number from 0 to 65535",
    );
    refuses(
        &["to=fd://3"],
        "invalid value of option `to`: `fd://3`: an inherited socket is one to listen on; connect to \
         the address it is bound to",
    );
    refuses(
        &["to=stdio:"],
        "invalid value of option `to`: `to` is one connection in the life of a process; name an \
         endpoint that takes many, such as tcp://127.0.0.1:8080",
    );
    for value in ["0", "86401"] {
        let option = format!("connect_timeout={value}");
        let want = format!(
            "invalid value of option `connect_timeout`: `connect_timeout` is {value}; set it from 1 to \
             86400"
        );
        refuses(&[&option], &want);
        refuses(&["to=mem://x", &option], &want);
    }
    refuses(
        &["to=tcp://a:1", "tot=1"],
        "unknown option `tot` of `port-forward`; did you mean `to`? options: connect_timeout, to",
    );
}

#[test]
fn options_of_socks5_are_refused_with_what_would_do() {
    let refuses = |options: &[&str], want: &str| refuses("socks5", options, want);
    refuses(
        &[],
        "`socks5` needs more options: everybody could go everywhere; set `users`, or `allow`, or \
         `open = true` if that is meant",
    );
    refuses(
        &["allow=['example.org']"],
        "invalid value of option `allow`: `allow` has `example.org`; expected a host and a port, such \
         as `example.org:443` or `*:443`",
    );
    refuses(
        &["users={ada=''}"],
        "invalid value of option `users`: `users` has a user or password that has not 1 to 255 bytes: \
         that of `ada`",
    );
    refuses(
        &["open=true", "connect_timeout=0"],
        "invalid value of option `connect_timeout`: `connect_timeout` is 0; set it from 1 to 86400",
    );
    refuses(
        &["open=true", "user='ada'"],
        "unknown option `user` of `socks5`; did you mean `users`? options: allow, connect_timeout, \
         open, private, users",
    );
    let end = Program::start(&["serve", "socks5", "udp://127.0.0.1:0", "--set", "open=true"]).end();
    assert_eq!(end.code, Some(2));
    assert!(end.stderr.contains("carries datagrams, but the protocol needs a stream"));
}

#[test]
fn a_port_is_forwarded_to_a_name_and_to_a_path() {
    let to = target(answer);
    let server = forward("tcp://127.0.0.1:0", &format!("tcp://localhost:{}", to.port()), &[]);
    let sent: Vec<u8> = (0..1_000_000).map(|n: u32| n.to_le_bytes()[1]).collect();
    assert!(server.ask(&sent) == sent);

    let path = std::env::temp_dir().join(format!("netframe-{}-forward.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || answer(listener.accept().unwrap().0));
    let server = forward("tcp://127.0.0.1:0", &format!("unix://{}", path.display()), &[]);
    assert!(server.ask(&sent) == sent);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn datagrams_are_forwarded_for_each_peer() {
    let target = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = format!("udp://{}", target.local_addr().unwrap());
    let server = forward("udp://127.0.0.1:0", &to, &[]);
    let peers = [peer(server.addrs[0]), peer(server.addrs[0])];
    let mut seen = Vec::new();
    for (number, peer) in peers.iter().enumerate() {
        peer.send(&[number as u8; 100]).unwrap();
        let mut from = None;
        let got = received(|some| {
            let (len, addr) = target.recv_from(some)?;
            from = Some(addr);
            Ok(len)
        });
        assert_eq!(got, [number as u8; 100]);
        seen.push(from.unwrap());
    }
    assert_ne!(seen[0], seen[1], "the target tells them apart");
    for (number, peer) in peers.iter().enumerate().rev() {
        target.send_to(&[number as u8; 50], seen[number]).unwrap();
        assert_eq!(received(|some| peer.recv(some)), [number as u8; 50]);
    }
}

#[test]
fn a_target_that_refuses_is_told_in_the_log_and_counted() {
    let nobody = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    nobody.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap(); // and it does not listen
    let to = format!("tcp://{}", nobody.local_addr().unwrap().as_socket().unwrap());
    let mut server = forward("tcp://127.0.0.1:0", &to, &["--log", "debug"]);
    assert_eq!(server.ask(b"anybody?"), b"", "the connection ends without a byte");
    let told = server.await_log("connection closed");
    let want = format!("reason=error by local: cannot connect to {to}: Connection refused");
    assert!(told.contains(&want), "{told}");
    server.signal("TERM");
    let end = server.end();
    assert!(end.stderr.contains("closed=\"error by local: 1\""), "{}", end.stderr);
}

#[test]
fn a_target_that_resets_is_no_end_in_order() {
    let to = target(|mut stream| {
        stream.write_all(b"half of an ans").unwrap();
        stream.read_exact(&mut [0; 3]).unwrap();
        SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    });
    let server = forward("tcp://127.0.0.1:0", &format!("tcp://{to}"), &[]);
    let mut client = server.connect();
    client.read_exact(&mut [0; 14]).unwrap();
    client.write_all(b"who").unwrap();
    let error = client.read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn a_drain_waits_for_what_is_forwarded() {
    let to = target(|mut stream| {
        stream.write_all(b"begin").unwrap();
        answer(stream);
    });
    let mut server = forward("tcp://127.0.0.1:0", &format!("tcp://{to}"), &[]);
    let mut client = server.connect();
    client.read_exact(&mut [0; 5]).unwrap();
    server.signal("TERM");
    server.await_log("draining");
    while connect(server.addrs[0]).is_ok() {} // until nothing is accepted any more
    client.write_all(b"and go on").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"and go on");
    drop(client);
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(end.stderr.contains(" drained, 0 aborted"), "{}", end.stderr);
    assert!(end.stderr.contains("closed=\"eof by peer: 1"), "{}", end.stderr);
}

#[test]
fn a_proxy_lets_those_in_that_its_file_names() {
    let folder = Folder::with(
        "[[service]]\nprotocol = 'socks5'\nlisten = 'tcp://127.0.0.1:0'\n\
         [service.options]\nusers = { ada = 's3cret' }\nprivate = true\n\
         allow = ['localhost:*', '127.0.0.1:*']\n",
    );
    let server = folder.start(&["run", "net.toml"]).listening("socks5", 1);
    let request = |password: &str, host: &str, port: u16| {
        let login =
            format!("\x05\x01\x02\x01\x03ada{}{password}", char::from(password.len() as u8));
        let name = format!("\x05\x01\0\x03{}{host}", char::from(host.len() as u8));
        [login.as_bytes(), name.as_bytes(), &port.to_be_bytes()].concat()
    };
    let addr = server.addrs[0];
    for host in ["localhost", "127.0.0.1"] {
        let port = target(answer).port();
        let got = ask(addr, &[&request("s3cret", host, port)[..], b"hello"].concat());
        assert!(
            got.starts_with(b"\x05\x02\x01\0\x05\0\0\x01\x7f\0\0\x01"),
            "{}",
            got.escape_ascii()
        );
        assert_eq!(got[4 + 10..], *b"hello");
    }
    assert_eq!(ask(addr, &request("secret", "localhost", 80)), b"\x05\x02\x01\x01");
    let refused = b"\x05\x02\x01\0\x05\x02\0\x01\0\0\0\0\0\0";
    assert_eq!(ask(addr, &request("s3cret", "example.org", 80)), refused);
    let mut client = connect(addr).unwrap();
    client.write_all(b"\x05\x01\0").unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"\x05\xff", "nobody is let in without a password");
    drop(client);
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(!end.stderr.contains("s3cret") && !end.stderr.contains("secret"), "{}", end.stderr);
}
