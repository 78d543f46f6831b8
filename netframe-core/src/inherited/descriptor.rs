//! From the number of a descriptor to the descriptor, the only thing in netframe that needs unsafe
//! code.

#![expect(unsafe_code, reason = "safe Rust has no way from a number to a descriptor")]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use super::refused;

/// A copy of the descriptor `fd`, which this process must have inherited: by its own word if it was
/// `passed` by name, and else as it is not close-on-exec, while all that Rust opens is.
///
/// # Errors
///
/// It is not open, or was opened by this program.
pub(super) fn duplicate(fd: RawFd, passed: bool) -> io::Result<OwnedFd> {
    // SAFETY: it reads a flag of what has this number, if anything has, and touches no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        let text = format!(
            "descriptor {fd} is not open; whoever starts this program has to pass a socket on as {fd}"
        );
        return Err(refused(text));
    }
    if flags & libc::FD_CLOEXEC != 0 && !passed {
        return Err(refused(format!(
            "descriptor {fd} is this program's own; name one that was passed on to it"
        )));
    }
    // SAFETY: it is open, and stays so: it was when the program began, so that nothing in the
    // program owns it and could close it.
    let inherited = unsafe { BorrowedFd::borrow_raw(fd) };
    inherited.try_clone_to_owned()
}
