//! `fd://` and `systemd://`: sockets that whoever started the program has bound.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;

use socket2::{Domain, Socket, Type};

use crate::program::{Program, ask};

/// Makes stdin descriptor 3, as which the first socket is passed on.
pub(crate) const AS_3: &str = r#"exec "$0" "$@" 3<&0 </dev/null"#;

/// As systemd passes on one socket, with a name.
const AS_WEB: &str = r#"
    export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web
    exec "$0" "$@" 3<&0 </dev/null"#;

/// As systemd passes on two sockets; they come as stdin and stdout.
const AS_WEB_AND_WEB: &str = r#"
    export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:web
    exec "$0" "$@" 3<&0 4<&1 </dev/null >/dev/null"#;

fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// `netframe serve PROTOCOL ENDPOINT` with this socket is refused with an error that starts so.
#[track_caller]
fn refuses(script: &str, socket: impl Into<OwnedFd>, args: [&str; 2], error: &str) {
    let args = [&["serve"], &args[..]].concat();
    let end = Program::start_by(script, &args, |serve| serve.stdin(socket.into())).end();
    assert!(end.stderr.starts_with(&format!("error: {error}")), "{}", end.stderr);
    assert!(matches!(end.code, Some(1 | 2)), "{end:?}");
}

#[test]
fn a_descriptor_is_served_and_stays_bound() {
    let (listener, addr) = bound();
    for _ in 0..2 {
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        let args = ["serve", "echo", "fd://3"];
        let server = Program::start_by(AS_3, &args, |serve| serve.stdin(socket));
        let server = server.listening("echo", 1);
        assert_eq!(server.addrs, [addr], "the endpoint is the real one");
        assert_eq!(server.ask(b"hello"), b"hello");
        server.signal("TERM");
        assert_eq!(server.end().code, Some(0));
    }
}

#[test]
fn a_name_stands_for_all_its_sockets() {
    let (one, addr) = bound();
    let args = ["serve", "echo", "systemd://web"];
    let server = Program::start_by(AS_WEB, &args, |serve| serve.stdin(OwnedFd::from(one)));
    let server = server.listening("echo", 1);
    assert_eq!(server.addrs, [addr]);
    assert_eq!(server.ask(b"hello"), b"hello");

    let [(one, addr), (two, other)] = [bound(), bound()];
    let _server = Program::start_by(AS_WEB_AND_WEB, &args, |serve| {
        serve.stdin(OwnedFd::from(one)).stdout(OwnedFd::from(two))
    });
    for addr in [addr, other] {
        assert_eq!(ask(addr, b"hello"), b"hello");
    }
}

#[test]
fn a_passed_socket_has_a_number_too() {
    let (listener, addr) = bound();
    let args = ["serve", "echo", "fd://3"];
    let server = Program::start_by(AS_WEB, &args, |serve| serve.stdin(OwnedFd::from(listener)));
    assert_eq!(server.listening("echo", 1).addrs, [addr]);
}

#[test]
fn systemd_socket_activate_starts_it() {
    if Command::new("systemd-socket-activate").arg("--version").output().is_err() {
        return;
    }
    // No other test uses this IP address, so that none takes the port.
    let addr = TcpListener::bind("127.0.0.11:0").unwrap().local_addr().unwrap();
    let script = r#"exec systemd-socket-activate --fdname=web -l "$ADDR" "$0" "$@""#;
    let args = ["serve", "echo", "systemd://web"];
    let mut server = Program::start_by(script, &args, |serve| serve.env("ADDR", addr.to_string()));
    server.await_log("Listening on ");
    assert_eq!(ask(addr, b"first"), b"first");
    let server = server.listening("echo", 1);
    assert_eq!(server.ask(b"second"), b"second");
}

#[test]
fn names_are_refused_with_those_there_are() {
    let refuses = |script: &str, error: &str| {
        let error = format!("cannot listen on systemd://wbe: {error}");
        refuses(script, bound().0, ["echo", "systemd://wbe"], &error);
    };
    refuses(AS_WEB, "no socket was passed as `wbe`; names: `web`\n");
    refuses(AS_3, "no sockets were passed on; start this program by a systemd socket unit with ");
    let others = AS_WEB.replace("LISTEN_PID=$$", "LISTEN_PID=1");
    refuses(&others, "sockets were passed on to process 1 and not to this one, ");
    let missing = AS_WEB.replace("LISTEN_FDS=1", "LISTEN_FDS=two");
    refuses(&missing, "LISTEN_FDS and its like are wrong: invalid LISTEN_FDS\n");
}

#[test]
fn what_cannot_be_served_is_refused_by_its_number() {
    let refuses = |socket: OwnedFd, endpoint: &str, error: &str| {
        let error = format!("cannot listen on {endpoint}: descriptor {error}");
        refuses(AS_3, socket, ["echo", endpoint], &error);
    };
    let listener = || bound().0.into();
    refuses(listener(), "fd://99", "99 is not open; whoever starts this program has to pass ");
    refuses(listener(), "fd://0", "0 is not a socket; pass one that listens\n");
    refuses(listener(), "fd://4", "4 is this program's own; name one that was passed on to it\n");
    for (domain, kind) in [(Domain::IPV4, Type::STREAM), (Domain::UNIX, Type::STREAM)] {
        let socket = Socket::new(domain, kind, None).unwrap();
        refuses(socket.into(), "fd://3", "3 does not listen; pass it on after bind and listen\n");
    }
    let (_listener, addr) = bound();
    let connected = TcpStream::connect(addr).unwrap();
    connected.shutdown(Shutdown::Write).unwrap();
    refuses(connected.into(), "fd://3", "3 is one connection; pass the socket that listens\n");
    let packets = Socket::new(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    refuses(packets.into(), "fd://3", "3 is neither of TCP or UDP nor a Unix socket\n");
}

#[test]
fn datagrams_are_not_for_a_protocol_of_streams() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = "`fd://3` carries datagrams, but the protocol needs a stream; ";
    refuses(AS_3, socket, ["line-echo", "fd://3"], error);
}
