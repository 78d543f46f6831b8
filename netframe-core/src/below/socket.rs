//! [`Socket`]: an accepted stream socket, of any family, that its connection's home polls.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use crate::io::Io;

/// A non-blocking stream socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Does the same with either.
macro_rules! either {
    ($self:expr, $socket:ident => $do:expr) => {
        match $self {
            Socket::Tcp($socket) => $do,
            Socket::Unix($socket) => $do,
        }
    };
}

impl Socket {
    /// As a stream that reads and writes by itself, in the current runtime.
    pub(crate) fn into_io(self) -> io::Result<Box<dyn Io>> {
        Ok(match self {
            Self::Tcp(tcp) => {
                let tcp = OwnedFd::from(tcp).into();
                Box::new(tokio::net::TcpStream::from_std(tcp)?)
            }
            Self::Unix(unix) => {
                let unix = OwnedFd::from(unix).into();
                Box::new(tokio::net::UnixStream::from_std(unix)?)
            }
        })
    }

    /// Ends the sending side.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        either!(self, socket => socket.shutdown(Shutdown::Write))
    }

    /// Makes the coming drop a reset, as far as there is one: Unix sockets have none on request.
    pub(crate) fn set_abort(&self) {
        if let Self::Tcp(tcp) = self {
            // It fails only on a socket that is dead already.
            drop(socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO)));
        }
    }

    /// The error of a broken socket, if it has one to tell.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        either!(self, socket => socket.take_error().ok().flatten())
    }
}

impl Read for Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        either!(self, socket => socket.read(buf))
    }
}

impl Write for Socket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        either!(self, socket => socket.write(data))
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, socket => socket.write_vectored(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Socket {
    fn register(&mut self, to: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        either!(self, socket => socket.register(to, token, interests))
    }

    fn reregister(&mut self, to: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        either!(self, socket => socket.reregister(to, token, interests))
    }

    fn deregister(&mut self, from: &Registry) -> io::Result<()> {
        either!(self, socket => socket.deregister(from))
    }
}
