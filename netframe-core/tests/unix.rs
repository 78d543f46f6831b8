//! What is special to Unix sockets, of streams and of datagrams: their files and who may use them,
//! abstract names, credentials, datagrams without a sender. Other systems have no abstract names,
//! and give a client's socket none, so that no datagram server could answer it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::env;
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{
    SocketAddr, UnixDatagram as StdDatagram, UnixListener as StdListener, UnixStream as StdStream,
};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::transport::unix::PeerCredentials;
use netframe_core::{
    Addr, Client, CloseReason, ConnectionInfo, Datagram, DatagramProtocol, DatagramTransport,
    Endpoint, Error, Protocol, Reactor, Result, Server, Stream, Transport, Workers, datagrams,
    stream_fn,
};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Barrier, mpsc};
use tokio::time::timeout;

const KINDS: [&str; 2] = ["unix", "unixgram"];

const NO_SOCKET: &str =
    "there is a file already that is no socket; remove it, or choose another path";

const IN_USE: &str = "it is in use already; end what listens there, or choose another";

#[tokio::test]
async fn a_file_that_is_left_over_is_replaced() {
    for (at, path, _folder) in paths() {
        leave_a_socket(&path);
        let _server = echo(&at).await;
        ask(&at).await;
    }
}

#[tokio::test]
async fn a_file_that_another_kind_of_socket_left_is_replaced_too() {
    for (at, path, _folder) in paths() {
        drop(if at.starts_with("unix:") {
            OwnedFd::from(StdDatagram::bind(&path).unwrap())
        } else {
            OwnedFd::from(StdListener::bind(&path).unwrap())
        });
        let _server = echo(&at).await;
        ask(&at).await;
    }
}

#[tokio::test]
async fn a_socket_in_use_is_an_error_and_is_left_alone() {
    for (at, path, _folder) in paths() {
        let server = echo(&at).await;
        let before = inode(&path);
        for other in paths_at(&path) {
            assert_eq!(
                refusal(&other).await,
                format!(
                    "cannot listen on {other}: {IN_USE} path: {}",
                    io::Error::from_raw_os_error(libc::EADDRINUSE)
                )
            );
        }
        assert_eq!(inode(&path), before);
        ask(&at).await;
        assert_eq!(server.stats().accepted, 1, "it was looked for without a connection");
    }
}

#[tokio::test]
async fn sockets_that_take_no_connection_are_in_use_all_the_same() {
    let folder = Folder::new();
    // Bound, and about to listen; then with a full backlog; and one of a type of its own.
    let (path, socket) = folder.bound("x", Type::STREAM);
    let before = inode(&path);
    assert!(refusal(&at("unix", &path)).await.contains(IN_USE));
    socket.listen(0).unwrap();
    let _waits = StdStream::connect(&path).unwrap();
    assert!(refusal(&at("unix", &path)).await.contains(IN_USE));
    assert_eq!(inode(&path), before);
    let (path, _socket) = folder.bound("y", Type::SEQPACKET);
    assert!(refusal(&at("unix", &path)).await.contains(IN_USE));
    assert!(refusal(&at("unixgram", &path)).await.contains(IN_USE));
}

#[tokio::test]
async fn a_datagram_socket_that_is_connected_elsewhere_is_in_use() {
    let folder = Folder::new();
    let (peer, _peer) = folder.bound("peer", Type::DGRAM);
    let (path, socket) = folder.bound("x", Type::DGRAM);
    socket.connect(&SockAddr::unix(peer).unwrap()).unwrap();
    assert!(refusal(&at("unixgram", &path)).await.contains(IN_USE));
}

#[tokio::test]
async fn what_is_no_socket_is_never_touched() {
    for (at, path, folder) in paths() {
        let refused = format!("cannot listen on {at}: {NO_SOCKET}");

        fs::write(&path, "precious").unwrap();
        assert_eq!(refusal(&at).await, refused);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        fs::remove_file(&path).unwrap();

        fs::create_dir(&path).unwrap();
        assert_eq!(refusal(&at).await, refused);
        fs::remove_dir(&path).unwrap();

        let target = folder.path("target");
        symlink(&target, &path).unwrap();
        assert_eq!(refusal(&at).await, refused, "a link to nothing");
        assert!(!target.exists());
        leave_a_socket(&target);
        assert_eq!(refusal(&at).await, refused, "a link to a socket that was left over");
        assert!(fs::symlink_metadata(&target).unwrap().file_type().is_socket());
        assert_eq!(fs::read_link(&path).unwrap(), target);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_that_race_for_a_file_exactly_one_wins() {
    const RACERS: usize = 4;
    for round in 0..50 {
        for (at, path, _folder) in paths() {
            if round % 2 == 0 {
                leave_a_socket(&path);
            }
            let start = Arc::new(Barrier::new(RACERS));
            let racers = (0..RACERS).map(|_| {
                let (at, start) = (at.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    Server::bind(&*at, |_: &ConnectionInfo| Echo).await
                })
            });
            let mut servers = Vec::new();
            for racer in racers.collect::<Vec<_>>() {
                match racer.await.unwrap() {
                    Ok(server) => servers.push(server),
                    Err(Error::Listen { source, .. }) => {
                        assert_eq!(source.kind(), io::ErrorKind::AddrInUse, "{source}");
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(servers.len(), 1, "{at}, round {round}");
            ask(&at).await;
            assert_eq!(servers[0].stats().accepted, 1);
        }
    }
}

/// Runs a test anew, in a process with another umask. That no file is ever wider than asked, not
/// even before `bind` returns, is tested beside the code: nobody here can look at such a moment.
#[tokio::test]
async fn the_mode_is_exact_whatever_the_umask() {
    if env::var_os("NETFRAME_MODES").is_some() {
        return modes().await;
    }
    for umask in ["000", "027", "777"] {
        let script = format!("umask {umask}; exec \"$0\" --exact \"$1\"");
        let mut child = Command::new("sh");
        child.arg("-c").arg(script).arg(env::current_exe().unwrap());
        child.arg("the_mode_is_exact_whatever_the_umask").env("NETFRAME_MODES", "1");
        let output = child.output().unwrap();
        assert!(output.status.success(), "umask {umask}: {output:?}");
    }
}

async fn modes() {
    for (at, path, _folder) in paths() {
        for mode in [0o600, 0o660, 0o666, 0o777, 0o200] {
            let server = echo(&format!("{at}?mode={mode:o}")).await;
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
            server.shutdown(Duration::ZERO).await;
        }
    }
}

#[tokio::test]
async fn the_file_goes_with_the_server() {
    for (at, path, _folder) in paths() {
        let server = echo(&at).await;
        ask(&at).await;
        server.shutdown(Duration::from_secs(20)).await;
        assert!(!path.exists(), "after a shutdown");

        let server = echo(&at).await;
        ask(&at).await;
        drop(server);
        until(|| !path.exists()).await;

        let server = Server::builder(|_: &ConnectionInfo| Echo).listen(&*at).unwrap();
        let server = server.listen(format!("unix://{}", path.join("x").display())).unwrap();
        assert!(matches!(server.bind().await, Err(Error::Listen { .. })));
        assert!(!path.exists(), "after a later endpoint could not be bound");
    }
}

#[tokio::test]
async fn the_file_of_a_whole_sockets_protocol_goes_with_its_server() {
    let folder = Folder::new();
    let path = folder.path("x");
    let (log, _seen) = mpsc::unbounded_channel();
    let server = Server::bind(at("unixgram", &path), datagrams(move |_| Log(log.clone())));
    let server = server.await.unwrap();
    server.shutdown(Duration::from_secs(20)).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn another_file_in_its_place_stays() {
    for (at, path, folder) in paths() {
        let server = echo(&at).await;
        let other = folder.path("other");
        let _socket = StdListener::bind(&other).unwrap();
        fs::rename(&other, &path).unwrap();
        let before = inode(&path);
        server.shutdown(Duration::from_secs(20)).await;
        assert_eq!(inode(&path), before);
    }
}

#[tokio::test]
async fn a_file_that_was_removed_does_no_harm() {
    for (at, path, _folder) in paths() {
        let server = echo(&at).await;
        fs::remove_file(&path).unwrap();
        let report = server.shutdown(Duration::from_secs(20)).await;
        assert!(report.failure.is_none());
    }
}

#[tokio::test]
async fn a_server_can_be_started_again_at_once() {
    for (at, _path, _folder) in paths() {
        for round in 0..50 {
            let server = Server::bind(&*at, |_: &ConnectionInfo| Echo).await;
            let server = server.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
            ask(&at).await;
            // Its session lives, so that the drain has something to end.
            server.shutdown(Duration::from_secs(20)).await;
        }
    }
}

#[tokio::test]
async fn abstract_names_have_no_file() {
    for kind in KINDS {
        let name = format!("netframe test {}/{kind}", process::id());
        let at = format!("{kind}://@{}", name.replace(' ', "%20"));
        for _ in 0..10 {
            let server = echo(&at).await;
            assert_eq!(server.endpoint().to_string(), at);
            ask(&at).await;
            assert_eq!(
                refusal(&at).await,
                format!(
                    "cannot listen on {at}: {IN_USE} name: {}",
                    io::Error::from_raw_os_error(libc::EADDRINUSE)
                )
            );
            server.shutdown(Duration::from_secs(20)).await;
        }
        // Nothing of netframe's takes it: neither it nor a zero byte is left out of the name.
        let addr = SocketAddr::from_abstract_name(&name).unwrap();
        drop(StdListener::bind_addr(&addr).unwrap());
    }
}

#[tokio::test]
async fn a_missing_folder_is_an_error_that_says_so() {
    let folder = Folder::new();
    for kind in KINDS {
        let at = at(kind, &folder.path("none").join("x"));
        let absent = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(
            refusal(&at).await,
            format!("cannot listen on {at}: its folder does not exist; make it first: {absent}")
        );
    }
}

#[tokio::test]
async fn a_missing_permission_is_an_error_that_says_so() {
    for (at, path, folder) in paths() {
        fs::set_permissions(&folder.0, Permissions::from_mode(0o555)).unwrap();
        if fs::write(&path, "").is_ok() {
            return; // root may do anything
        }
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let hint = "choose a folder in which this user may make and remove files";
        let text = format!("cannot listen on {at}: no permission; {hint}: {denied}");
        assert_eq!(refusal(&at).await, text);

        // It needs no permission to list the folder.
        fs::set_permissions(&folder.0, Permissions::from_mode(0o333)).unwrap();
        let server = echo(&at).await;
        ask(&at).await;
        server.shutdown(Duration::from_secs(20)).await;
        fs::set_permissions(&folder.0, Permissions::from_mode(0o755)).unwrap();
    }
}

#[tokio::test]
async fn nobody_to_connect_to_is_an_error() {
    let folder = Folder::new();
    for kind in KINDS {
        for (path, errno) in [("none", libc::ENOENT), ("left", libc::ECONNREFUSED)] {
            let path = folder.path(path);
            if errno == libc::ECONNREFUSED {
                leave_a_socket(&path);
            }
            let at = at(kind, &path);
            let error = Client::connect(&*at, |_: &ConnectionInfo| Echo).await.unwrap_err();
            let source = io::Error::from_raw_os_error(errno);
            assert_eq!(format!("{error:?}"), format!("cannot connect to {at}: {source}"));
            let _ = fs::remove_file(&path);
        }
    }
}

#[tokio::test]
async fn both_ends_know_the_credentials_of_the_other() {
    struct Tell(mpsc::UnboundedSender<Option<PeerCredentials>>);
    impl Protocol for Tell {
        async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
            self.0.send(t.get::<PeerCredentials>().copied())?;
            Ok(())
        }
        async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
            data.clear();
            Ok(())
        }
    }
    let (folder, (log, mut seen)) = (Folder::new(), mpsc::unbounded_channel());
    let (one, _other) = UnixStream::pair().unwrap();
    let own = one.peer_cred().unwrap();
    let abstract_name = format!("unix://@netframe-{}-credentials", process::id());
    for at in [at("unix", &folder.path("x")), abstract_name] {
        let (server_log, client_log) = (log.clone(), log.clone());
        let server = Server::bind(&*at, move |_: &ConnectionInfo| Tell(server_log.clone()));
        let _server = server.await.unwrap();
        let client = Client::connect(&*at, move |_: &ConnectionInfo| Tell(client_log.clone()));
        let _client = client.await.unwrap();
        for _ in 0..2 {
            let peer = seen.recv().await.unwrap().expect("a Unix stream tells");
            assert_eq!(peer.pid, Some(process::id()));
            assert_eq!((peer.uid, peer.gid), (own.uid(), own.gid()));
        }
    }
}

#[tokio::test]
async fn a_stream_knows_the_credentials_of_its_peer() {
    let folder = Folder::new();
    let tell = stream_fn(|mut stream: Stream| async move {
        let peer = stream.get::<PeerCredentials>().ok_or("a Unix stream tells")?;
        assert_eq!(stream.info().get::<PeerCredentials>(), Some(peer));
        let pid = peer.pid.ok_or("Linux tells")?;
        stream.write_u32(pid).await?;
        Ok(())
    });
    let server = Server::bind(&*at("unix", &folder.path("x")), tell).await.unwrap();
    let mut client = UnixStream::connect(folder.path("x")).await.unwrap();
    assert_eq!(client.read_u32().await.unwrap(), process::id());
    drop((client, server));
}

#[tokio::test]
async fn any_byte_may_be_in_a_path() {
    let folder = Folder::new();
    for kind in KINDS {
        let path = folder.path("a b?c%2F#&ü");
        let at = at(kind, &path);
        let text = at.replace(' ', "%20").replace('?', "%3F").replace('#', "%23");
        let text = text.replace("%2F", "%252F").replace('&', "%26").replace('ü', "%C3%BC");
        let server = echo(&text).await;
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        assert_eq!(server.endpoint(), &text.parse::<Endpoint>().unwrap());
        ask(&server.endpoint().to_string()).await;
        server.shutdown(Duration::from_secs(20)).await;
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn the_longest_path_is_served() {
    let folder = Folder::new();
    let len = 107 - folder.path("").as_os_str().len();
    let path = folder.path(&"x".repeat(len));
    for kind in KINDS {
        let server = echo(&at(kind, &path)).await;
        ask(&at(kind, &path)).await;
        server.shutdown(Duration::from_secs(20)).await;
        assert!(!path.exists());
    }
}

#[test]
fn a_reactor_serves_a_file_with_all_its_workers() {
    for (at, path, _folder) in paths() {
        let workers = Workers::Count(NonZeroUsize::new(2).unwrap());
        let reactor = Reactor::builder().workers(workers).build().unwrap();
        let reactor = reactor.listen(&*at, |_: &ConnectionInfo| Echo).unwrap();
        let report = reactor.run_until(async {
            for _ in 0..20 {
                ask(&at).await;
            }
            assert!(path.exists());
        });
        assert!(report.unwrap().failure.is_none());
        assert!(!path.exists());

        // One that was never run.
        let reactor = Reactor::builder().workers(workers).build().unwrap();
        drop(reactor.listen(&*at, |_: &ConnectionInfo| Echo).unwrap());
        assert!(!path.exists());
    }
}

/// Runs a test anew, in a process that inherits the socket as its standard input.
#[tokio::test]
async fn an_inherited_socket_keeps_its_file() {
    const PATH: &str = "NETFRAME_INHERITED";
    if let Some(at) = env::var(PATH).ok().filter(|at| !at.is_empty()) {
        let server = echo("fd://0").await;
        assert_eq!(server.endpoint().to_string(), at);
        ask(&at).await;
        server.shutdown(Duration::from_secs(20)).await;
        return;
    }
    for (at, path, _folder) in paths() {
        let stream = at.starts_with("unix:");
        let (kept, socket): (_, OwnedFd) = if stream {
            let listener = StdListener::bind(&path).unwrap();
            (listener.try_clone().unwrap().into(), listener.into())
        } else {
            let socket = StdDatagram::bind(&path).unwrap();
            (OwnedFd::from(socket.try_clone().unwrap()), socket.into())
        };
        let before = inode(&path);
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "an_inherited_socket_keeps_its_file"]).env(PATH, &at).stdin(socket);
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(inode(&path), before, "the file is not the child's to remove");
        drop(kept);
    }
}

#[tokio::test]
async fn a_datagram_that_is_cut_off_is_flagged_or_dropped() {
    let (folder, long) = (Folder::new(), vec![7; 64 * 1024 + 1]);
    let (log, mut seen) = mpsc::unbounded_channel();
    let at_whole = at("unixgram", &folder.path("whole"));
    let whole = Server::bind(&*at_whole, datagrams(move |_| Log(log.clone()))).await.unwrap();
    let sender = folder.sender("sender");
    for data in [&long[..], &long[..64 * 1024]] {
        sender.send_to(data, folder.path("whole")).unwrap();
        let datagram = seen.recv().await.unwrap();
        assert_eq!(datagram.data.len(), 64 * 1024);
        assert_eq!(datagram.truncated, data.len() > 64 * 1024);
    }
    assert_eq!(whole.stats().datagrams.truncated, 0);

    let plain = echo(&at("unixgram", &folder.path("plain"))).await;
    sender.send_to(&long, folder.path("plain")).unwrap();
    until(|| plain.stats().datagrams.truncated == 1).await;
    sender.send_to(&long[..64 * 1024], folder.path("plain")).unwrap();
    assert_eq!(receive(&sender).await.len(), 64 * 1024);
    assert_eq!(plain.stats().accepted, 1);

    // Over a connected socket, as a client has it.
    let peer = folder.sender("peer");
    let (log, mut reasons) = mpsc::unbounded_channel();
    let client =
        Client::connect(at("unixgram", &folder.path("peer")), move |_: &ConnectionInfo| Ask {
            answer: mpsc::unbounded_channel().0,
            lost: log.clone(),
        });
    let client = client.await.unwrap();
    let mut question = [0; 16];
    let (len, from) = nonblocking(|| peer.recv_from(&mut question)).await;
    assert_eq!(question[..len], *b"question");
    peer.send_to_addr(&long, &from).unwrap();
    peer.send_to_addr(b"short", &from).unwrap();
    client.closed().await;
    assert_eq!(reasons.recv().await.unwrap().bytes_in(), 5);
}

#[tokio::test]
async fn a_sender_without_a_name_is_heard_but_cannot_be_answered() {
    let folder = Folder::new();
    let (log, mut seen) = mpsc::unbounded_channel();
    let whole = Server::bind(at("unixgram", &folder.path("whole")), {
        datagrams(move |_| Log(log.clone()))
    });
    let whole = whole.await.unwrap();
    let unnamed = StdDatagram::unbound().unwrap();
    unnamed.send_to(b"reply", folder.path("whole")).unwrap();
    let datagram = seen.recv().await.unwrap();
    assert_eq!((&datagram.from, &datagram.data[..]), (&Addr::UNNAMED, &b"reply"[..]));
    until(|| whole.stats().datagrams.errors == 1).await; // `SendError::NoPeer`

    let (log, mut reasons) = mpsc::unbounded_channel();
    let plain = Server::bind(at("unixgram", &folder.path("plain")), move |_: &ConnectionInfo| {
        EchoOnce(log.clone())
    });
    let plain = plain.await.unwrap();
    unnamed.send_to(b"hello", folder.path("plain")).unwrap();
    let reason = reasons.recv().await.unwrap();
    assert_eq!((reason.bytes_in(), reason.bytes_out(), reason.bytes_unsent()), (5, 0, 5));
    ask(&plain.endpoint().to_string()).await;
}

#[tokio::test]
async fn answers_to_nobody_hold_nobody_up() {
    struct Long(mpsc::UnboundedSender<()>);

    impl Protocol for Long {
        async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
            data.clear();
            t.write(&[0; 70_000]); // more than the high watermark
            Ok(self.0.send(())?)
        }
    }

    let folder = Folder::new();
    let (log, mut delivered) = mpsc::unbounded_channel();
    let long = move |_: &ConnectionInfo| Long(log.clone());
    let _server = Server::bind(at("unixgram", &folder.path("x")), long).await.unwrap();
    let unnamed = StdDatagram::unbound().unwrap();
    for _ in 0..3 {
        unnamed.send_to(b"?", folder.path("x")).unwrap();
        timeout(Duration::from_secs(20), delivered.recv()).await.expect("it is held").unwrap();
    }
}

#[tokio::test]
async fn a_peer_that_is_gone_harms_nobody() {
    let folder = Folder::new();
    let (log, mut reasons) = mpsc::unbounded_channel();
    let server = Server::bind(at("unixgram", &folder.path("x")), move |_: &ConnectionInfo| {
        EchoOnce(log.clone())
    });
    let server = server.await.unwrap();
    // Without its file, and with a file that nothing is bound to any more.
    for keep in [false, true] {
        let peer = folder.sender("peer");
        peer.send_to(b"hello", folder.path("x")).unwrap();
        drop(peer);
        if !keep {
            fs::remove_file(folder.path("peer")).unwrap();
        }
        let reason = reasons.recv().await.unwrap();
        assert_eq!((reason.bytes_out(), reason.bytes_unsent()), (0, 5), "{reason}");
        let stats = server.stats().datagrams;
        assert_eq!((stats.unsent, stats.refused), (1, u64::from(keep)));
    }
    ask(&server.endpoint().to_string()).await;
}

#[tokio::test]
async fn a_peer_whose_buffer_others_have_filled_is_answered_when_it_reads() {
    let folder = Folder::new();
    let server = echo(&at("unixgram", &folder.path("x"))).await;
    let (peer, others) = (folder.sender("peer"), folder.sender("others"));
    let filled = fill(&others, &folder.path("peer"));
    peer.send_to(b"question", folder.path("x")).unwrap();
    until(|| server.stats().highest_queue > 0).await; // the answer waits
    for _ in 0..filled {
        assert_eq!(receive(&peer).await, b"full");
    }
    assert_eq!(receive(&peer).await, b"question");
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_in_nobodys_way() {
    let folder = Folder::new();
    let (log, mut seen) = mpsc::unbounded_channel();
    let log = datagrams(move |_| Log(log.clone()));
    let server = Server::bind(at("unixgram", &folder.path("x")), log).await.unwrap();
    let (deaf, others) = (folder.sender("deaf"), folder.sender("others"));
    fill(&others, &folder.path("deaf"));
    for _ in 0..5 {
        deaf.send_to(b"reply", folder.path("x")).unwrap();
        seen.recv().await.unwrap();
    }
    let peer = folder.sender("peer");
    peer.send_to(b"reply", folder.path("x")).unwrap();
    assert_eq!(receive(&peer).await, b"!");
    assert_eq!(server.stats().datagrams.unsent, 5);
}

#[test]
fn what_waits_for_a_peer_leaves_though_the_socket_was_taken_over() {
    const COUNT: usize = 50;
    let folder = Folder::new();
    let at = at("unixgram", &folder.path("x"));
    let server = || Server::builder(|_: &ConnectionInfo| Many(COUNT)).listen(&*at).unwrap();
    let reactor = Reactor::builder().workers(Workers::Count(NonZeroUsize::MIN)).build().unwrap();
    let report = reactor.serve(server()).unwrap().run(|running| {
        let (new, folder) = (server(), &folder);
        async move {
            let peer = folder.sender("peer");
            peer.send_to(b"?", folder.path("x")).unwrap();
            until(|| running.services()[0].stats.highest_queue > 0).await;
            let old = running.services()[0].id;
            running.replace(&[old], vec![new], Duration::from_secs(50)).await.unwrap();
            for number in 0..COUNT {
                assert_eq!(receive(&peer).await, number.to_string().as_bytes());
            }
            until(|| running.services().len() == 1).await;
            tokio::time::Instant::now()
        }
    });
    assert!(report.unwrap().failure.is_none());
}

/// Answers with many datagrams.
struct Many(usize);

impl Protocol for Many {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        for number in 0..self.0 {
            t.write(number.to_string().as_bytes());
            t.drain().await?; // each is one
        }
        Ok(())
    }
}

struct Echo;

impl Protocol for Echo {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        Ok(())
    }
}

/// Echoes once, closes, and tells how that went.
struct EchoOnce(mpsc::UnboundedSender<CloseReason>);

impl Protocol for EchoOnce {
    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        t.write_bytes(data.split().freeze());
        t.close();
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        // An error means that nobody asks any more.
        let _ = self.0.send(reason.clone());
    }
}

/// Asks, and closes with the first answer.
struct Ask {
    answer: mpsc::UnboundedSender<Vec<u8>>,
    lost: mpsc::UnboundedSender<CloseReason>,
}

impl Protocol for Ask {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        t.write(b"question");
        Ok(())
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let _ = self.answer.send(data.split().to_vec());
        t.close();
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        let _ = self.lost.send(reason.clone());
    }
}

/// Tells every datagram, and answers one that asks for it.
struct Log(mpsc::UnboundedSender<Datagram>);

impl DatagramProtocol for Log {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        let answer = if datagram.data == b"reply"[..] { t.reply(&datagram, b"!") } else { Ok(()) };
        self.0.send(datagram)?;
        Ok(answer?)
    }
}

async fn echo(at: &str) -> Server {
    Server::bind(at, |_: &ConnectionInfo| Echo).await.unwrap()
}

/// Expects an echo at the endpoint.
async fn ask(at: &str) {
    let (answer, mut answers) = mpsc::unbounded_channel();
    let (lost, _) = mpsc::unbounded_channel();
    let client = Client::connect(at, move |_: &ConnectionInfo| Ask {
        answer: answer.clone(),
        lost: lost.clone(),
    });
    let client = client.await.unwrap();
    let answered = timeout(Duration::from_secs(60), answers.recv()).await;
    assert_eq!(answered.expect("an answer comes").unwrap(), b"question");
    client.closed().await;
}

/// Why the endpoint cannot be listened on, with all sources.
async fn refusal(at: &str) -> String {
    let error = Server::bind(at, |_: &ConnectionInfo| Echo).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }));
    format!("{error:?}")
}

/// For streams and for datagrams: an endpoint, its path, and the folder of that.
fn paths() -> impl Iterator<Item = (String, PathBuf, Folder)> {
    KINDS.into_iter().map(|kind| {
        let folder = Folder::new();
        let path = folder.path("x.sock");
        (at(kind, &path), path, folder)
    })
}

/// The endpoints of either kind at one path.
fn paths_at(path: &Path) -> [String; 2] {
    KINDS.map(|kind| at(kind, path))
}

fn at(kind: &str, path: &Path) -> String {
    format!("{kind}://{}", path.display())
}

/// What a server leaves behind that is killed.
fn leave_a_socket(path: &Path) {
    drop(StdListener::bind(path).unwrap());
    assert!(fs::symlink_metadata(path).unwrap().file_type().is_socket());
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// Lets other tasks run until `condition` holds: for what has no event of its own.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("it does not happen");
}

/// Lets other tasks run until `call` has something.
async fn nonblocking<T>(mut call: impl FnMut() -> io::Result<T>) -> T {
    let wait = async {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::task::yield_now().await;
                }
                done => return done.unwrap(),
            }
        }
    };
    timeout(Duration::from_secs(60), wait).await.expect("nothing comes")
}

/// Sends until the buffer of the socket at `path` is full; says how much that was.
fn fill(sender: &StdDatagram, path: &Path) -> usize {
    let sent = std::iter::repeat_with(|| sender.send_to(b"full", path));
    sent.take_while(|sent| sent.is_ok()).count()
}

async fn receive(socket: &StdDatagram) -> Vec<u8> {
    let mut bytes = vec![0; 70_000];
    let len = nonblocking(|| (&*SockRef::from(socket)).read(&mut bytes)).await;
    bytes.truncate(len);
    bytes
}

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("netframe-unix-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A bound socket.
    fn bound(&self, name: &str, kind: Type) -> (PathBuf, Socket) {
        let path = self.path(name);
        let socket = Socket::new(Domain::UNIX, kind, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        (path, socket)
    }

    /// A datagram socket with a name, in place of an earlier one.
    fn sender(&self, name: &str) -> StdDatagram {
        // An error means that there was none.
        let _ = fs::remove_file(self.path(name));
        let socket = StdDatagram::bind(self.path(name)).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // An error leaves a folder behind among the temporary ones.
        let _ = fs::remove_dir_all(&self.0);
    }
}
