//! `fd://N` and `systemd://name`: sockets that another process opened, bound and passed on to this
//! one.
//!
//! They are duplicated and never taken: a server that is stopped closes its copy, so that another
//! can be started on the same socket, and what is bound stays bound. Of a file of a Unix socket the
//! other process is the owner.

mod descriptor;

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process;

use socket2::{Socket, Type};

use crate::endpoint::EndpointKind;

/// A socket that was passed on. What it is, it says itself.
#[derive(Debug)]
pub(crate) enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
    Udp(UdpSocket),
    UnixDatagram(UnixDatagram),
}

impl Inherited {
    /// The socket that is descriptor `fd`.
    ///
    /// # Errors
    ///
    /// It is not open, not inherited, or not a socket to serve on; the text says what to do.
    pub(crate) fn by_number(fd: RawFd) -> io::Result<Self> {
        let passed = sd_notify::listen_fds().is_ok_and(|mut passed| passed.any(|it| it == fd));
        Self::of(descriptor::duplicate(fd, passed)?, &format!("descriptor {fd}"))
    }

    /// The sockets that systemd, or whoever speaks its protocol, passed on under `name`; several
    /// may have the same one.
    ///
    /// # Errors
    ///
    /// There is none, or one of them is not a socket to serve on; the text says what to do.
    pub(crate) fn by_name(name: &str) -> io::Result<Vec<Self>> {
        let activated = activated()?;
        if activated.is_empty() {
            return Err(none_passed(name));
        }
        let named: Vec<_> = activated.iter().filter(|(_, known)| known == name).collect();
        if named.is_empty() {
            let mut known: Vec<_> = activated.into_iter().map(|(_, known)| known).collect();
            known.sort_unstable();
            known.dedup();
            let known = known.join("`, `");
            return Err(refused(format!("no socket was passed as `{name}`; names: `{known}`")));
        }
        let socket = |(fd, name): &(RawFd, String)| {
            Self::of(descriptor::duplicate(*fd, true)?, &format!("descriptor {fd}, `{name}`,"))
        };
        named.into_iter().map(socket).collect()
    }

    /// The kind of endpoint that would have bound it.
    pub(crate) fn kind(&self) -> EndpointKind {
        match self {
            Self::Tcp(_) => EndpointKind::Tcp,
            Self::Unix(_) => EndpointKind::Unix,
            Self::Udp(_) => EndpointKind::Udp,
            Self::UnixDatagram(_) => EndpointKind::UnixDatagram,
        }
    }

    /// What the socket is; `called` is how an error calls it.
    fn of(fd: OwnedFd, called: &str) -> io::Result<Self> {
        let refuse = |text: &str| Err(refused(format!("{called} {text}")));
        let socket = Socket::from(fd);
        let kind = match socket.r#type() {
            Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {
                return refuse("is not a socket; pass one that listens");
            }
            kind => kind?,
        };
        let addr = socket.local_addr()?;
        let (inet, unix) = (addr.is_ipv4() || addr.is_ipv6(), addr.is_unix());
        if kind == Type::STREAM && (inet || unix) {
            if socket.peer_addr().is_ok() {
                return refuse("is one connection; pass the socket that listens");
            }
            if !listens(&socket)? {
                return refuse("does not listen; pass it on after bind and listen");
            }
        }
        // The mode is that of the socket, for everyone who has it: the runtime waits in no other.
        socket.set_nonblocking(true)?;
        match kind {
            Type::STREAM if inet => Ok(Self::Tcp(socket.into())),
            Type::STREAM if unix => Ok(Self::Unix(socket.into())),
            Type::DGRAM if inet => Ok(Self::Udp(socket.into())),
            Type::DGRAM if unix => Ok(Self::UnixDatagram(socket.into())),
            _ => refuse("is neither of TCP or UDP nor a Unix socket"),
        }
    }
}

#[cfg(target_os = "linux")]
fn listens(socket: &Socket) -> io::Result<bool> {
    socket.is_listener()
}

/// Where the socket does not tell, the first accept does.
#[cfg(not(target_os = "linux"))]
fn listens(_: &Socket) -> io::Result<bool> {
    Ok(true)
}

/// Descriptors with their names, as sd_listen_fds(3) has them.
fn activated() -> io::Result<Vec<(RawFd, String)>> {
    let wrong = |error| refused(format!("LISTEN_FDS and its like are wrong: {error}"));
    if sd_notify::listen_fds().map_err(wrong)?.len() == 0 {
        return Ok(Vec::new()); // there may be names, of what another process was passed
    }
    Ok(sd_notify::listen_fds_with_names().map_err(wrong)?.collect())
}

fn none_passed(name: &str) -> io::Error {
    let pid = std::env::var("LISTEN_PID").ok().filter(|pid| *pid != process::id().to_string());
    if let Some(pid) = pid {
        let text = format!(
            "sockets were passed on to process {pid} and not to this one, {}; a shell between them \
             has to `exec` it",
            process::id()
        );
        return refused(text);
    }
    refused(format!(
        "no sockets were passed on; start this program by a systemd socket unit with \
         `FileDescriptorName={name}`, or try `systemd-socket-activate --fdname={name} -l 7007 …`"
    ))
}

fn refused(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
