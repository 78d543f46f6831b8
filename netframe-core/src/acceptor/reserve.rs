//! [`Reserve`]: a descriptor kept for the time when there are no others.

use std::fs::File;
use std::io;

use super::{AcceptError, sort};

/// A descriptor that is given up to accept those who wait, and close them.
///
/// Whoever else accepts may have been faster, and have it for a connection. As long as it is missing
/// nobody could be told that there is no room: the next descriptor that can be had is for it.
pub(super) struct Reserve {
    held: Option<File>,
    open: fn() -> io::Result<File>,
}

impl Reserve {
    pub(super) fn new() -> Self {
        Self::of(|| File::open("/dev/null"))
    }

    /// A descriptor that is got by `open`.
    pub(super) fn of(open: fn() -> io::Result<File>) -> Self {
        Self { held: open().ok(), open }
    }

    pub(super) fn give_up(&mut self) {
        self.held = None;
    }

    /// Holds it again where that can be; false if there is no descriptor for it.
    pub(super) fn regain(&mut self) -> bool {
        if self.held.is_some() {
            return true;
        }
        match (self.open)() {
            Ok(file) => {
                self.held = Some(file);
                true
            }
            // Any other error, such as of a system without the file, is no reason to serve nobody.
            Err(error) => sort(&error) != AcceptError::NoDescriptors,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn it_is_missed_only_for_want_of_descriptors() {
        static FULL: AtomicBool = AtomicBool::new(false);
        let mut reserve = Reserve::of(|| {
            let full = FULL.load(Ordering::Relaxed);
            if full {
                Err(io::Error::from_raw_os_error(libc::EMFILE))
            } else {
                File::open("/dev/null")
            }
        });
        assert!(reserve.regain());
        FULL.store(true, Ordering::Relaxed);
        assert!(reserve.regain(), "it is held");
        reserve.give_up();
        assert!(!reserve.regain());
        FULL.store(false, Ordering::Relaxed);
        assert!(reserve.regain());

        let mut none = Reserve::of(|| Err(io::ErrorKind::NotFound.into()));
        assert!(none.regain(), "there is no such file, which is no want of descriptors");
    }
}
