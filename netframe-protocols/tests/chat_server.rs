//! The chat behind a real server, in memory: many members at once, on several threads.

use std::sync::Arc;
use std::time::Duration;

use netframe_core::Server;
use netframe_core::transport::mem::{MemNetwork, MemStream};
use netframe_protocols::chat::{ChatOptions, ChatPolicy, chat};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_hear_all_in_one_order_and_once() {
    const MEMBERS: usize = 100;
    const LINES: usize = 100;
    let service = Service::start(|options| options.history = 0).await;
    let mut witness = service.member("witness").await;
    let mut members = Vec::new();
    for number in 0..MEMBERS {
        members.push(service.member(&format!("m{number}")).await);
    }
    let mut talk = JoinSet::new();
    for (number, mut member) in members.into_iter().enumerate() {
        talk.spawn(async move {
            let say = async {
                for number in 0..LINES {
                    member.writer.line(&number.to_string()).await;
                }
            };
            let ((), heard) = tokio::join!(say, member.reader.hear((MEMBERS - 1) * LINES));
            (format!("m{number}: "), heard)
        });
    }
    let all = witness.reader.hear(MEMBERS * LINES).await;
    for (own, heard) in talk.join_all().await {
        let said: Vec<_> = all.iter().filter(|line| line.starts_with(&own)).collect();
        assert!(said.iter().enumerate().all(|(n, line)| **line == format!("{own}{n}")));
        assert_eq!(said.len(), LINES);
        assert!(all.iter().filter(|line| !line.starts_with(&own)).eq(&heard), "{own}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn newcomers_see_each_line_once_in_the_history_or_live() {
    const NEWCOMERS: usize = 100;
    const LINES_EACH: usize = 20;
    for history in [NEWCOMERS * LINES_EACH, 10] {
        let service = Service::start(|options| options.history = history).await;
        let mut witness = service.member("witness").await;
        // Lines are said while each newcomer comes in, by whoever gets to it.
        let to_say = Arc::new(Semaphore::new(0));
        let mut speaking = JoinSet::new();
        for number in 0..4 {
            let mut speaker = service.member(&format!("s{number}")).await;
            let to_say = Arc::clone(&to_say);
            speaking.spawn(async move {
                let say = async {
                    for number in 0.. {
                        let Ok(permit) = to_say.acquire().await else { return };
                        permit.forget();
                        speaker.writer.line(&number.to_string()).await;
                    }
                };
                tokio::join!(say, speaker.reader.hear_all());
            });
        }
        let mut hearing = JoinSet::new();
        for number in 0..NEWCOMERS {
            to_say.add_permits(LINES_EACH);
            let mut newcomer = service.connect().await;
            newcomer.writer.line(&format!("n{number}")).await;
            if number % 2 == 1 {
                newcomer.writer.line("/join elsewhere").await;
                newcomer.writer.line("/join lobby").await;
                newcomer.reader.until("* you are in elsewhere").await;
            }
            hearing.spawn(async move { newcomer.reader.hear_all().await });
        }
        let all = witness.reader.hear(NEWCOMERS * LINES_EACH).await;
        to_say.close();
        witness.writer.line(END).await;
        for heard in hearing.join_all().await {
            assert!(heard.len() >= history, "{} of {history}", heard.len());
            assert!(all.ends_with(&heard), "nothing twice, nothing left out");
        }
        speaking.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rooms_and_names_survive_a_crowd_that_comes_and_goes() {
    let service = Service::start(|options| options.max_rooms = 4).await;
    let mut crowd = JoinSet::new();
    for number in 0..20 {
        let network = service.network.clone();
        crowd.spawn(async move {
            for round in 0..20 {
                let mut member = Peer::connect(&network).await;
                let mut lines = format!("m{number}\n");
                for room in 0..5 {
                    lines += &format!("/join r{}\nhello\n/nick n{number}\n", (room + round) % 5);
                    lines += &format!("/nick m{number}\n/rooms\n/who\n");
                }
                member.writer.0.write_all(lines.as_bytes()).await.expect("the server reads");
                if round % 2 == 0 {
                    member.writer.line("/quit").await;
                    member.reader.until("* goodbye").await;
                } else {
                    member.reader.until("* rooms: ").await;
                }
                // Half of them go in the middle of their lines.
            }
        });
    }
    crowd.join_all().await;
    let mut last = service.member("last").await;
    while last.rooms().await != "* rooms: lobby (1)" {
        tokio::task::yield_now().await; // the last ones are just leaving
    }
    for number in 0..20 {
        for name in ["m", "n"] {
            last.writer.line(&format!("/nick {name}{number}")).await;
            last.reader.until(&format!("* you are now {name}{number}")).await;
        }
    }
}

#[tokio::test]
async fn a_drain_tells_everybody_and_ends() {
    let service = Service::start(|_| ()).await;
    let mut members = Vec::new();
    for number in 0..50 {
        members.push(service.member(&format!("m{number}")).await);
    }
    let mut reading = JoinSet::new();
    for mut member in members {
        reading.spawn(async move {
            let mut heard = Vec::new();
            while let Some(line) = member.reader.line().await {
                heard.push(line);
            }
            heard
        });
    }
    let report = service.server.shutdown(Duration::from_secs(10)).await;
    assert_eq!(report.aborted, 0);
    for heard in reading.join_all().await {
        let stopping = heard.last().is_some_and(|line| line == "* the server is stopping");
        assert!(stopping && !heard.iter().any(|line| line.ends_with(" left")), "{heard:?}");
    }
}

/// What the last line says.
const END: &str = "the end";

/// A chat whose members must not miss anything.
struct Service {
    server: Server,
    network: MemNetwork,
}

impl Service {
    async fn start(change: impl FnOnce(&mut ChatOptions)) -> Self {
        let mut options = ChatOptions::default();
        options.max_backlog = 1 << 30;
        options.policy = ChatPolicy::Disconnect;
        change(&mut options);
        let network = MemNetwork::new();
        let server = Server::builder(chat(options).expect("the options are valid"))
            .network(network.clone())
            .listen("mem://chat")
            .expect("the endpoint is valid");
        Self { server: server.bind().await.expect("the name is free"), network }
    }

    async fn connect(&self) -> Peer {
        Peer::connect(&self.network).await
    }

    /// Somebody in the lobby.
    async fn member(&self, name: &str) -> Peer {
        let mut peer = self.connect().await;
        peer.writer.line(name).await;
        peer.reader.until("* you are in lobby").await;
        peer
    }
}

struct Peer {
    reader: Reader,
    writer: Writer,
}

struct Reader(BufReader<ReadHalf<MemStream>>);

struct Writer(WriteHalf<MemStream>);

impl Peer {
    async fn connect(network: &MemNetwork) -> Self {
        let stream = network.connect("chat").await.expect("the server listens");
        let (reader, writer) = split(stream);
        Self { reader: Reader(BufReader::new(reader)), writer: Writer(writer) }
    }

    async fn rooms(&mut self) -> String {
        self.writer.line("/rooms").await;
        self.reader.until("* rooms: ").await
    }
}

impl Writer {
    async fn line(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).await.expect("the server reads");
    }
}

impl Reader {
    /// The next line, unless there is none.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).await.expect("nothing is reset, and all is UTF-8");
        line.pop().map(|_| line)
    }

    /// Skips lines up to one that begins so.
    async fn until(&mut self, start: &str) -> String {
        loop {
            let line = self.line().await.expect("the line comes before the end");
            if line.starts_with(start) {
                return line;
            }
        }
    }

    /// The next lines that members say.
    async fn hear(&mut self, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let line = self.line().await.expect("the line comes before the end");
            if !line.starts_with('*') {
                heard.push(line);
            }
        }
        heard
    }

    /// What members say until one says the end.
    async fn hear_all(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            match self.hear(1).await.remove(0) {
                line if line.ends_with(END) => return heard,
                line => heard.push(line),
            }
        }
    }
}
