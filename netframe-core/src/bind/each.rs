//! [`bind_each`]: a socket at every address of an endpoint, as a client may use any of them.

use std::io;
use std::net::SocketAddr;

use tracing::debug;

use crate::addr_errors::{AddrErrors, is_absent};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::resolve::{Resolve, resolve};

/// Ports that are tried where any will do, but the same for every address.
const PORT_TRIES: usize = 16;

/// Binds every address of `endpoint`, and returns the sockets with their real endpoints.
///
/// `bind` binds one address, and returns the socket with its real address. Port 0 is the same port
/// at every address. An address that this machine does not have is passed over, as long as there is
/// another; any other error is that of the whole endpoint, and leaves nothing bound.
pub(crate) async fn bind_each<T>(
    endpoint: &Endpoint,
    resolver: &dyn Resolve,
    bind: impl FnMut(SocketAddr) -> io::Result<(T, SocketAddr)>,
) -> Result<Vec<(T, Endpoint)>, Error> {
    let addrs = resolve(endpoint, resolver)
        .await
        .map_err(|source| Error::Resolve { endpoint: Box::new(endpoint.clone()), source })?;
    let bound = bind_all(&addrs, bind)
        .map_err(|source| Error::Listen { endpoint: Box::new(endpoint.clone()), source })?;
    let real = |(socket, addr)| (socket, endpoint.with_socket_addr(addr));
    Ok(bound.into_iter().map(real).collect())
}

fn bind_all<T>(
    addrs: &[SocketAddr],
    mut bind: impl FnMut(SocketAddr) -> io::Result<(T, SocketAddr)>,
) -> io::Result<Vec<(T, SocketAddr)>> {
    let mut tries_left = PORT_TRIES;
    loop {
        tries_left -= 1;
        match bind_once(addrs, &mut bind) {
            Err(failed) if failed.for_this_port && tries_left > 0 => {}
            done => return done.map_err(|failed| AddrErrors::into_io(failed.errors, addrs.len())),
        }
    }
}

/// Why an endpoint was not bound.
struct Failed {
    errors: Vec<(SocketAddr, io::Error)>,
    /// The port that was free at one address is taken at another; the next one may not be.
    for_this_port: bool,
}

fn bind_once<T>(
    addrs: &[SocketAddr],
    bind: &mut impl FnMut(SocketAddr) -> io::Result<(T, SocketAddr)>,
) -> Result<Vec<(T, SocketAddr)>, Failed> {
    let mut bound = Vec::with_capacity(addrs.len());
    let mut errors = Vec::new();
    let mut free_port = None;
    for &(mut addr) in addrs {
        let any_port = addr.port() == 0;
        if any_port {
            addr.set_port(free_port.unwrap_or(0));
        }
        match bind(addr) {
            Ok((socket, real)) => {
                if any_port {
                    free_port = Some(real.port());
                }
                bound.push((socket, real));
            }
            Err(error) if is_absent(&error) => {
                debug!(%addr, %error, "this machine has no such address; it is passed over");
                errors.push((addr, error));
            }
            Err(error) => {
                let for_this_port =
                    any_port && free_port.is_some() && error.kind() == io::ErrorKind::AddrInUse;
                errors.push((addr, error));
                return Err(Failed { errors, for_this_port });
            }
        }
    }
    if bound.is_empty() { Err(Failed { errors, for_this_port: false }) } else { Ok(bound) }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    const A: &str = "10.0.0.1";
    const B: &str = "10.0.0.2";
    const C: &str = "[fd00::3]";

    #[test]
    fn every_address_is_bound_at_the_port_given() {
        let kernel = Kernel::default();
        assert_eq!(kernel.bind(&[A, B, C], 80).unwrap(), "10.0.0.1:80 10.0.0.2:80 [fd00::3]:80");
    }

    #[test]
    fn port_0_is_the_same_port_everywhere() {
        let kernel = Kernel::default();
        assert_eq!(kernel.bind(&[A, C], 0).unwrap(), "10.0.0.1:1001 [fd00::3]:1001");
        assert_eq!(kernel.bind(&[A, C], 0).unwrap(), "10.0.0.1:1002 [fd00::3]:1002");
    }

    #[test]
    fn a_port_that_is_taken_at_another_address_is_given_up() {
        let kernel = Kernel::default();
        kernel.refuse(B, 1001, libc::EADDRINUSE);
        kernel.refuse(C, 1002, libc::EADDRINUSE);
        let bound = kernel.bind(&[A, B, C], 0).unwrap();
        assert_eq!(bound, "10.0.0.1:1003 10.0.0.2:1003 [fd00::3]:1003");
        assert_eq!(kernel.open.get(), 3, "what was bound before is closed");
    }

    #[test]
    fn the_search_for_a_port_has_an_end() {
        let kernel = Kernel::default();
        for port in 1001..2000 {
            kernel.refuse(B, port, libc::EADDRINUSE);
        }
        let error = kernel.bind(&[A, B], 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with("10.0.0.2:1016: "), "{error}");
        assert_eq!(kernel.open.get(), 0);
    }

    #[test]
    fn an_address_that_the_machine_does_not_have_is_passed_over() {
        for errno in [libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT] {
            for hosts in [[C, A, B], [A, C, B], [A, B, C]] {
                let kernel = Kernel::default();
                kernel.refuse(C, 0, errno);
                kernel.refuse(C, 1001, errno);
                assert_eq!(kernel.bind(&hosts, 0).unwrap(), "10.0.0.1:1001 10.0.0.2:1001");
            }
        }
    }

    #[test]
    fn an_endpoint_of_which_the_machine_has_no_address_is_an_error() {
        let kernel = Kernel::default();
        kernel.refuse(A, 80, libc::EADDRNOTAVAIL);
        kernel.refuse(C, 80, libc::EAFNOSUPPORT);
        let error = kernel.bind(&[A, C], 80).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(error.to_string().contains("; [fd00::3]:80: "), "{error}");
        let error = kernel.bind(&[A], 80).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL), "alone it is as it came");
    }

    #[test]
    fn any_other_error_is_final_and_nothing_stays_open() {
        for (port, errno) in
            [(80, libc::EADDRINUSE), (80, libc::EACCES), (0, libc::EACCES), (0, libc::EMFILE)]
        {
            let kernel = Kernel::default();
            kernel.refuse(B, if port == 0 { 1001 } else { port }, errno);
            let error = kernel.bind(&[A, B, C], port).unwrap_err();
            assert_eq!(error.kind(), io::Error::from_raw_os_error(errno).kind());
            assert!(error.to_string().starts_with("10.0.0.2:"), "{error}");
            assert_eq!(kernel.open.get(), 0);
        }
    }

    #[test]
    fn a_first_address_without_a_free_port_is_final() {
        let kernel = Kernel::default();
        kernel.refuse(A, 0, libc::EADDRINUSE);
        kernel.bind(&[A, B], 0).unwrap_err();
        assert_eq!(kernel.next_port.get(), 1001, "no other port is free either");
    }

    /// Binds everything but what it is to refuse; its free ports are 1001, 1002, …
    struct Kernel {
        next_port: Cell<u16>,
        refused: RefCell<Vec<(SocketAddr, i32)>>,
        open: Cell<usize>,
    }

    impl Default for Kernel {
        fn default() -> Self {
            Self { next_port: Cell::new(1001), refused: RefCell::default(), open: Cell::new(0) }
        }
    }

    impl Kernel {
        fn refuse(&self, host: &str, port: u16, errno: i32) {
            self.refused.borrow_mut().push((addr(host, port), errno));
        }

        /// The addresses that are bound, which stay so.
        fn bind(&self, hosts: &[&str], port: u16) -> io::Result<String> {
            let addrs: Vec<_> = hosts.iter().map(|host| addr(host, port)).collect();
            let bound = bind_all(&addrs, |addr| self.bind_one(addr))?;
            let text = |(socket, addr): (Open<'_>, SocketAddr)| {
                std::mem::forget(socket);
                addr.to_string()
            };
            Ok(bound.into_iter().map(text).collect::<Vec<_>>().join(" "))
        }

        fn bind_one(&self, mut addr: SocketAddr) -> io::Result<(Open<'_>, SocketAddr)> {
            if let Some((_, errno)) = self.refused.borrow().iter().find(|(at, _)| *at == addr) {
                return Err(io::Error::from_raw_os_error(*errno));
            }
            if addr.port() == 0 {
                addr.set_port(self.next_port.replace(self.next_port.get() + 1));
            }
            self.open.set(self.open.get() + 1);
            Ok((Open(&self.open), addr))
        }
    }

    /// A socket that is open until it is dropped.
    struct Open<'a>(&'a Cell<usize>);

    impl Drop for Open<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    fn addr(host: &str, port: u16) -> SocketAddr {
        format!("{host}:{port}").parse().unwrap()
    }
}
