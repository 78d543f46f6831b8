//! The chat over TCP with two thousand members, half of whom never read.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "this is all test code")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netframe_core::Server;
use netframe_protocols::chat::{ChatOptions, chat};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

const MEMBERS: usize = 2000;
const WRITERS: usize = 20;
/// Lines that each writer says, each time when all who read have heard all others' lines.
const ROUNDS: usize = 12;
const LINE_LEN: usize = 990;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_gets_everything_whoever_does_not() {
    let started = Instant::now();
    let members = affordable(MEMBERS);
    let endpoint = "tcp://127.0.0.1:0?send_buffer=16KiB";
    let mut options = ChatOptions::default();
    options.max_backlog = 64 * 1024;
    let server = Server::bind(endpoint, chat(options).unwrap()).await.unwrap();
    let addr = server.endpoint().address().socket_addr().unwrap();

    let mut clients = Vec::new();
    for number in 0..members {
        let recv_buffer = if number < members / 2 { 64 * 1024 } else { 4096 };
        clients.push(Client::connect(addr, number, recv_buffer).await);
    }
    let mut silent = clients.split_off(members / 2);
    let round = Arc::new(Barrier::new(clients.len()));
    let mut reading = JoinSet::new();
    for mut client in clients {
        let round = Arc::clone(&round);
        reading.spawn(async move {
            client.enter().await;
            // All others come in, before or after.
            let mut said = client.others_when_entering().await;
            while said < members - 1 {
                said += usize::from(client.line().await.ends_with(" joined"));
            }
            let mut heard = Vec::new();
            let others = WRITERS - usize::from(client.number < WRITERS);
            for number in 0..ROUNDS {
                round.wait().await;
                client.say(number).await;
                for _ in 0..others {
                    let line = client.line().await;
                    assert!(line.starts_with('w'), "{line}");
                    heard.push(short(&line));
                }
            }
            (client, heard)
        });
    }
    for client in &mut silent {
        client.enter().await;
    }
    let mut readers = timeout(Duration::from_secs(60), reading.join_all()).await.unwrap();
    println!("{} readers done after {:?}", readers.len(), started.elapsed());

    readers.sort_by_key(|(client, _)| client.number);
    let all = readers[WRITERS].1.clone();
    assert_eq!(all.len(), WRITERS * ROUNDS);
    for (client, heard) in &readers {
        let own = format!("w{}: ", client.number);
        assert!(all.iter().filter(|line| !line.starts_with(&own)).eq(heard), "all in one order");
    }

    // Those that did not read missed some, and are told of each once they do.
    let mut late = JoinSet::new();
    for mut client in silent {
        let all = all.clone();
        late.spawn(async move {
            client.widen();
            let mut seen = client.others_when_entering().await;
            let (mut heard, mut missed) = (Vec::new(), 0);
            while seen + missed < members - 1 + all.len() {
                let line = client.line().await;
                if let Some(told) = line.strip_prefix("* you missed ") {
                    missed += told.split(' ').next().unwrap().parse::<usize>().unwrap();
                    continue;
                }
                seen += 1;
                if line.starts_with('w') {
                    heard.push(short(&line));
                }
            }
            assert_eq!(seen + missed, members - 1 + all.len());
            let mut rest = all.iter();
            assert!(heard.iter().all(|line| rest.any(|other| other == line)), "still in order");
            (client, missed) // if it left, the others would see that
        });
    }
    let late = timeout(Duration::from_secs(60), late.join_all()).await.unwrap();
    assert!(late.iter().all(|(_, missed)| *missed > 0));
    println!("{} missed some, all done after {:?}", late.len(), started.elapsed());
}

/// How many members the limit of open files allows, at both ends of their connections.
fn affordable(members: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 2 * members as u64 + 100;
    setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).unwrap();
    if wanted <= hard {
        return members;
    }
    println!("no more than {hard} files may be open: fewer members");
    (hard as usize - 100) / 2
}

/// The begin of a line, which says who said it, and as which of its lines.
fn short(line: &str) -> String {
    line.split('.').next().unwrap_or_default().to_owned()
}

struct Client {
    number: usize,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// With a small window, so that little is on the way to who does not read.
    async fn connect(addr: SocketAddr, number: usize, recv_buffer: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(recv_buffer).unwrap();
        let stream = socket.connect(addr).await.unwrap();
        Self { number, stream: BufReader::with_capacity(32 * 1024, stream) }
    }

    /// Takes more at once: through a small window the kernel sends a little now and then.
    fn widen(&self) {
        SockRef::from(self.stream.get_ref()).set_recv_buffer_size(256 * 1024).unwrap();
    }

    async fn enter(&mut self) {
        let name = format!("w{}\n", self.number);
        self.stream.write_all(name.as_bytes()).await.unwrap();
    }

    /// The number that the chat greets with.
    async fn others_when_entering(&mut self) -> usize {
        loop {
            let line = self.line().await;
            if let Some((_, others)) = line.split_once("* you are in lobby, with ") {
                let count = others.split(' ').next().unwrap();
                return if count == "nobody" { 0 } else { count.parse().unwrap() };
            }
        }
    }

    /// Says a line, if it is one of the writers.
    async fn say(&mut self, number: usize) {
        if self.number < WRITERS {
            let line = format!("{number}{}\n", ".".repeat(LINE_LEN));
            self.stream.write_all(line.as_bytes()).await.unwrap();
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.stream.read_line(&mut line).await.unwrap() > 0, "nobody is disconnected");
        line.pop();
        line
    }
}
