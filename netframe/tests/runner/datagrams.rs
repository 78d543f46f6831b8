//! Datagrams through the program: the same protocol beside streams, `connect`, sockets passed on, and
//! a crowd of peers.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Stdio;

use crate::inherited::AS_3;
use crate::program::{PATIENCE, Program, ask};

/// A path for a socket that no other test uses.
fn path(name: &str) -> String {
    let name = format!("netframe-{}-{name}.sock", std::process::id());
    std::env::temp_dir().join(name).to_str().unwrap().to_owned()
}

pub(crate) fn peer(of: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(of).unwrap();
    socket
}

#[track_caller]
fn ping(socket: &UdpSocket, bytes: &[u8]) {
    socket.send(bytes).unwrap();
    let answer = received(|answer| socket.recv(answer));
    assert!(answer == bytes, "{} bytes", bytes.len());
}

/// A datagram. A wait with a time limit is not taken up again after a signal, such as the end of
/// another test's program.
pub(crate) fn received(mut receive: impl FnMut(&mut [u8]) -> io::Result<usize>) -> Vec<u8> {
    let mut bytes = vec![0; 70_000];
    loop {
        match receive(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            len => {
                bytes.truncate(len.unwrap());
                return bytes;
            }
        }
    }
}

fn ask_unix(path: &str, question: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(question).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// Gives `input` to `netframe connect ENDPOINT` and returns exit code, stdout and stderr.
fn connect(args: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let args = [&["connect"], args].concat();
    let mut program = Program::start_with(&args, |command| command.stdin(Stdio::piped()));
    // An error means that it has ended before it read all.
    let _ = program.stdin().write_all(input);
    let end = program.end();
    (end.code, end.stdout, end.stderr)
}

#[test]
fn one_protocol_is_served_on_every_transport() {
    let path = path("every");
    let unix = format!("unix://{path}");
    let args = ["echo", "tcp://127.0.0.1:0", "udp://127.0.0.1:0", &unix];
    let server = Program::serve(&args);
    assert_eq!(ask(server.addrs[0], b"over tcp"), b"over tcp");
    ping(&peer(server.addrs[1]), b"over udp");
    assert_eq!(ask_unix(&path, b"over unix"), b"over unix");
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(!std::fs::exists(path).unwrap(), "the socket is removed");
}

#[test]
fn connect_sends_a_datagram_for_each_line_or_chunk() {
    let path = path("lines");
    let unixgram = format!("unixgram://{path}");
    let server = Program::serve(&["echo", "udp://127.0.0.1:0", &unixgram]);
    let udp = format!("udp://{}", server.addrs[0]);
    for endpoint in [&udp, &unixgram] {
        let (code, stdout, stderr) = connect(&[endpoint], b"one\n\nthree");
        assert_eq!((code, &*stdout, &*stderr), (Some(0), "one\n\nthree", ""));
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let endpoint = format!("udp://{}", socket.local_addr().unwrap());
    let sender = std::thread::spawn(move || connect(&["--chunk", "4", &endpoint], b"12\n345678x"));
    let mut datagrams = Vec::new();
    for _ in 0..3 {
        datagrams.push(received(|bytes| socket.recv(bytes)));
    }
    assert_eq!(datagrams, [&b"12\n3"[..], b"4567", b"8x"]);
    assert_eq!(sender.join().unwrap().0, Some(0));
}

#[test]
fn connect_tells_what_cannot_be_sent() {
    let nobody = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let (code, _, stderr) = connect(&[&format!("udp://{nobody}")], b"anybody?\n");
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with(&format!("error: cannot reach udp://{nobody}: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");

    let server = Program::serve(&["discard", "udp://127.0.0.1:0"]);
    let endpoint = format!("udp://{}", server.addrs[0]);
    let (code, _, stderr) = connect(&[&endpoint], &[b'x'; 65_508]);
    assert_eq!(code, Some(1));
    assert_eq!(
        stderr,
        "error: cannot send what is on stdin, of which `--chunk` makes shorter datagrams: a datagram \
         of 65508 bytes is too long; the most is 65507\n"
    );

    let gone = format!("unixgram://{}", path("gone"));
    let (code, _, stderr) = connect(&[&gone], b"");
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with(&format!("error: cannot connect to {gone}: ")), "{stderr}");
}

#[test]
fn protocols_that_need_streams_are_refused() {
    let end = Program::start(&["serve", "line-echo", "udp://127.0.0.1:0"]).end();
    assert_eq!(end.code, Some(2));
    assert_eq!(
        end.stderr,
        "error: `udp://127.0.0.1:0` carries datagrams, but the protocol needs a stream; use tcp://\n"
    );
}

#[test]
fn sockets_of_every_kind_are_taken_over() {
    let serve = |socket: OwnedFd| {
        let server = Program::start_by(AS_3, &["serve", "echo", "fd://3"], |c| c.stdin(socket));
        server.listening("echo", 1)
    };
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = udp.local_addr().unwrap();
    let server = serve(udp.into());
    assert_eq!(server.addrs, [addr], "the endpoint is the real one");
    ping(&peer(addr), b"hello");
    drop(server);

    let path = path("passed");
    let _server = serve(UnixListener::bind(&path).unwrap().into());
    assert_eq!(ask_unix(&path, b"hello"), b"hello");
    std::fs::remove_file(&path).expect("the file is not the program's to remove");

    let server = serve(UnixDatagram::bind(&path).unwrap().into());
    let own = self::path("asks");
    let socket = UnixDatagram::bind(&own).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"hello", &path).unwrap();
    assert_eq!(received(|answer| socket.recv(answer)), b"hello");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(0));
    std::fs::remove_file(own).unwrap();
    std::fs::remove_file(&path).expect("nor is this one");
}

/// More peers than there may be sessions: each gets its answer, and memory stays bounded.
#[test]
#[cfg(target_os = "linux")]
fn twenty_thousand_peers_cost_ten_thousand_sessions() {
    let mut server = Program::serve(&["echo", "udp://127.0.0.1:0"]);
    let confirmed = peer(server.addrs[0]);
    ping(&confirmed, b"1");
    ping(&confirmed, b"2");
    for i in 0..20_000_u32 {
        let own = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + i);
        let socket = UdpSocket::bind((own, 0)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(server.addrs[0]).unwrap();
        ping(&socket, &[7; 100]);
    }
    ping(&confirmed, b"3");
    let peak = server.peak_memory();
    println!("{peak} KiB at the most");
    assert!(peak < 60 * 1024, "{peak} KiB");
    server.signal("TERM");
    server.await_log("open=10000");
    let end = server.end();
    for counted in ["accepted=20001 ", "datagrams=\"evicted: 10001\""] {
        assert!(end.stderr.contains(counted), "{counted}: {}", end.stderr);
    }
}
