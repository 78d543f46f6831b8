//! One client that behaves, and what it feels of others that do not.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::program::{PATIENCE, connect};

/// The noise of a busy machine does not decide: one of so many rounds has to be quiet enough.
const ROUNDS: usize = 4;

/// A client that asks one question again and again.
pub(crate) struct Good {
    stream: TcpStream,
    question: Vec<u8>,
    answer: Vec<u8>,
    is_answer: fn(&[u8]) -> bool,
}

impl Good {
    /// Its answers have so many bytes, by which they are told to be right.
    pub(crate) fn new(
        addr: SocketAddr,
        question: &[u8],
        len: usize,
        is_answer: fn(&[u8]) -> bool,
    ) -> Self {
        let stream = connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut good = Self { stream, question: question.into(), answer: vec![0; len], is_answer };
        good.ask_while(|count| count < 1000); // whatever is done at first has been done
        good
    }

    /// Asks, and reads the answer, as long as that is wanted; returns the time within which 99 of 100
    /// answers came.
    fn ask_while(&mut self, more: impl Fn(usize) -> bool) -> Duration {
        let mut times = Vec::new();
        while more(times.len()) {
            let asked = Instant::now();
            self.stream.write_all(&self.question).unwrap();
            self.stream.read_exact(&mut self.answer).unwrap();
            times.push(asked.elapsed());
            assert!((self.is_answer)(&self.answer), "{}", String::from_utf8_lossy(&self.answer));
        }
        times.sort_unstable();
        times[times.len() * 99 / 100]
    }

    /// Asks for a while, and then beside bad clients, each of which does something at every pace until it
    /// returns false: its p99 may double, and be 5 ms more. Returns how many rounds that took.
    pub(crate) fn is_served_beside<C: Send>(
        &mut self,
        alone: Duration,
        pace: Duration,
        mut come: impl FnMut() -> Vec<C>,
        go_on: impl Fn(&mut C) -> bool + Sync,
    ) -> usize {
        for round in 1..=ROUNDS {
            let began = Instant::now();
            let alone = self.ask_while(|_| began.elapsed() < alone);
            let mut clients = come();
            let count = clients.len();
            let began = Instant::now();
            let beside = thread::scope(|scope| {
                let bad_ones = scope.spawn(|| {
                    while !clients.is_empty() && began.elapsed() < PATIENCE {
                        clients.retain_mut(&go_on);
                        thread::sleep(pace); // which is what they do
                    }
                });
                self.ask_while(|_| !bad_ones.is_finished())
            });
            assert!(clients.is_empty(), "{} bad clients are still served", clients.len());
            println!("p99 {alone:?} alone, {beside:?} beside {count} bad ones");
            if beside <= 2 * alone + Duration::from_millis(5) {
                return round;
            }
        }
        panic!("the good client waits for the bad ones");
    }
}

/// Connects without waiting for anything later, and with little room in the kernel.
pub(crate) fn connect_small(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.set_send_buffer_size(16 * 1024).unwrap();
    socket.connect_timeout(&addr.into(), PATIENCE).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// Whether a client that does not wait goes on: all is well, or there is nothing to be done for now.
pub(crate) fn goes_on(done: &io::Result<()>) -> bool {
    done.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::WouldBlock)
}
