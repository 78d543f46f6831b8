//! Servers beside each other, in the same run: CPU time of a server's thread for a request, one at a
//! time and 16 pipelined. They take turns, so that what disturbs one disturbs the others. Quote the
//! ratio, not the times.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail loudly")]

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

const ROUNDS: usize = 15;
const REQUESTS: usize = 48_000;
const CONNECTIONS: usize = 8;

/// What is asked, and what the answer ends with.
pub(crate) struct Ask {
    pub(crate) request: &'static [u8],
    pub(crate) answer_end: &'static [u8],
}

/// A server, and how to ask for the CPU time that its thread has taken.
pub(crate) struct Running {
    name: &'static str,
    addr: SocketAddr,
    clock: tokio::sync::mpsc::UnboundedSender<oneshot::Sender<Duration>>,
}

impl Running {
    /// Starts a server on a thread of its own; it tells where it listens.
    pub(crate) fn start<Fut: Future<Output = ()>>(
        name: &'static str,
        server: impl FnOnce(mpsc::Sender<SocketAddr>) -> Fut + Send + 'static,
    ) -> Self {
        let (bound, addr) = mpsc::channel();
        let (clock, mut asked) =
            tokio::sync::mpsc::unbounded_channel::<oneshot::Sender<Duration>>();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let tell = async {
                    while let Some(answer) = asked.recv().await {
                        let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
                        answer.send(now.into()).unwrap();
                    }
                };
                tokio::join!(server(bound), tell)
            });
        });
        Self { name, addr: addr.recv().unwrap(), clock }
    }

    fn cpu(&self) -> Duration {
        let (sender, answer) = oneshot::channel();
        self.clock.send(sender).unwrap();
        answer.blocking_recv().unwrap()
    }

    /// CPU time for a request.
    fn round(&self, ask: &Ask, pipelined: usize) -> f64 {
        let connect = |_| Client::connect(self.addr, ask);
        let mut clients: Vec<_> = (0..CONNECTIONS).map(connect).collect();
        let exchange = |clients: &mut Vec<Client>, requests| {
            let batch = ask.request.repeat(pipelined);
            for _ in 0..requests / pipelined / CONNECTIONS {
                clients.iter_mut().for_each(|client| client.stream.write_all(&batch).unwrap());
                clients.iter_mut().for_each(|client| client.receive(pipelined));
            }
        };
        exchange(&mut clients, REQUESTS / 10);
        let before = self.cpu();
        exchange(&mut clients, REQUESTS);
        (self.cpu() - before).as_secs_f64() / REQUESTS as f64
    }
}

struct Client {
    stream: TcpStream,
    /// Bytes of one answer, once known.
    len: usize,
}

impl Client {
    fn connect(addr: SocketAddr, ask: &Ask) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, len: 0 };
        client.stream.write_all(ask.request).unwrap();
        let mut got = [0; 1024];
        while !got[..client.len].ends_with(ask.answer_end) {
            client.len += client.stream.read(&mut got[client.len..]).unwrap();
        }
        client
    }

    fn receive(&mut self, answers: usize) {
        let mut got = [0; 16 * 1024];
        let mut left = self.len * answers;
        while left > 0 {
            let max = left.min(got.len());
            left -= self.stream.read(&mut got[..max]).unwrap();
        }
    }
}

/// Prints what the first server takes, in relation to each of the others.
pub(crate) fn compare(servers: &[Running], ask: &Ask) {
    for (name, pipelined) in [("one at a time", 1), ("16 pipelined", 16)] {
        let mut times = vec![Vec::new(); servers.len()];
        for _ in 0..ROUNDS {
            for (server, times) in servers.iter().zip(&mut times) {
                times.push(server.round(ask, pipelined));
            }
        }
        let (ours, others) = times.split_first().unwrap();
        for (other, times) in servers[1..].iter().zip(others) {
            let ratios = ours.iter().zip(times).map(|(ours, other)| ours / other).collect();
            let (ours, theirs) = (median(ours.clone()), median(times.clone()));
            println!(
                "{name}: {} takes {:.2} times the CPU of {} (medians; of the ratios of the rounds {:.2})",
                servers[0].name,
                ours / theirs,
                other.name,
                median(ratios),
            );
            println!("    {:.0} ns and {:.0} ns for a request", ours * 1e9, theirs * 1e9);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
