//! [`SocketFile`]: the file of a Unix socket. It outlives its socket, unlike a port: what a crashed
//! server has left is replaced, what somebody still uses is not.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mode_t};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::sleep;

use super::sock_addr;
use crate::endpoint::{Address, Endpoint};

/// Attempts to become the only one who replaces a file, and the time between them.
const LOCK_ATTEMPTS: usize = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A file that a socket is bound to; removed on drop, if it is still the same.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let id = id(&path)?;
        Ok(Self { path, id })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another one there; or taken it away, which is as well.
        if id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device and inode.
fn id(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Binds a non-blocking socket to the endpoint's path or abstract name.
pub(crate) async fn bind_socket(
    endpoint: &Endpoint,
    kind: Type,
) -> io::Result<(Socket, Option<SocketFile>)> {
    let addr = sock_addr(endpoint.address())?;
    let mode = endpoint.unix().and_then(|options| options.mode);
    let Address::Path(path) = endpoint.address() else {
        return Ok((bind_once(&addr, kind, None)?, None));
    };
    // Two servers that start at once must not remove each other's new file: only who has locked the
    // folder makes or removes any. A lock file would be one more that is left behind.
    let locked = lock(path.parent().ok_or(io::ErrorKind::InvalidInput)?).await;
    let socket = match bind_once(&addr, kind, mode) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if is_in_use(path, &addr)? {
                return Err(error);
            }
            // Where the folder cannot be locked, nothing in it is replaced.
            let _locked = locked?;
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            bind_once(&addr, kind, mode)?
        }
        bound => bound?,
    };
    let file = SocketFile::new(path.clone())?;
    if let Some(mode) = mode {
        // Adds what the umask took away. Who may write to the folder must not have us change the
        // file behind a link instead.
        let mode = Mode::from_bits_truncate(mode as mode_t);
        fchmodat(AT_FDCWD, path, mode, FchmodatFlags::NoFollowSymlink)?;
    }
    Ok((socket, Some(file)))
}

fn bind_once(addr: &SockAddr, kind: Type, mode: Option<u32>) -> io::Result<Socket> {
    let mut socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?;
    if let Some(mode) = mode {
        // The file is made with the mode of the socket, so that it is at no time more open than
        // asked. Systems other than Linux may refuse; there nobody gets in before `listen` either.
        let file = File::from(OwnedFd::from(socket));
        let _ = file.set_permissions(Permissions::from_mode(mode));
        socket = OwnedFd::from(file).into();
    }
    socket.bind(addr)?;
    Ok(socket)
}

/// Whether the file at `path` must not be replaced: a socket is bound to it.
fn is_in_use(path: &Path, addr: &SockAddr) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            let text =
                "there is a file already that is no socket; remove it, or choose another path";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        // Gone since: nothing is in the way any more.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    // A datagram socket finds out of streams too whether they are there: they are of another type.
    // It disturbs nobody, and finds one that does not listen yet.
    let probe = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    match probe.connect(addr) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        // Another type, a peer of its own, no permission: somebody is there.
        _ => Ok(true),
    }
}

/// Locks a folder against others who replace a socket in it.
async fn lock(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => sleep(LOCK_PAUSE).await,
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    let text = format!("{} is locked by another program", folder.display());
    Err(io::Error::new(io::ErrorKind::WouldBlock, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The umask that tests run with takes less away than is asked for here.
    #[test]
    fn a_file_is_made_no_wider_than_asked() {
        let name = format!("netframe-mode-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        for kind in [Type::STREAM, Type::DGRAM] {
            let socket = bind_once(&SockAddr::unix(&path).unwrap(), kind, Some(0o600)).unwrap();
            let mode = fs::metadata(&path).unwrap().mode();
            drop((SocketFile::new(path.clone()).unwrap(), socket));
            assert_eq!(mode & 0o177, 0, "{mode:o}, before anything else was done");
        }
    }
}
