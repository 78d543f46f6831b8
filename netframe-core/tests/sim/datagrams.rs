//! Sessions and whole sockets, over a network that loses, doubles and delays datagrams.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{
    Addr, Client, ConnectionInfo, Datagram, DatagramProtocol, DatagramTransport, Protocol, Result,
    Server, Transport, datagrams,
};

use crate::echo::Echo;
use crate::{LONG, SEEDS, pattern};

#[test]
fn each_answer_is_one_datagram_of_its_own_peer() {
    sim::seeds(SEEDS, sessions);
}

#[test]
fn a_refusal_is_told_and_survived() {
    sim::run(1, async |net| {
        let (answers, refusals) = (Arc::default(), Arc::default());
        let asker = Whole { refusals: Arc::clone(&refusals), answers: Arc::clone(&answers) };
        let asker = std::sync::Mutex::new(Some(asker));
        let factory = datagrams(move |_: &ConnectionInfo| asker.lock().unwrap().take().unwrap());
        let client = Client::builder(net.checked(factory)).network(net.host("client"));
        let client = client.connect("udp://server:7").await.unwrap();
        client.handle().write("hello?").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(refusals.load(Ordering::SeqCst), 1);
        let echo = |_: &ConnectionInfo| Whole::default();
        let server = Server::builder(net.checked(datagrams(echo))).network(net.clone());
        let server = server.listen("udp://server:7").unwrap().bind().await.unwrap();
        assert_eq!(server.endpoint().to_string(), format!("udp://{}:7", net.ip("server")));
        client.handle().write("hello").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(answers.load(Ordering::SeqCst), 1);
        client.handle().close();
        client.closed().await;
        server.shutdown(LONG).await;
    });
}

/// Answers, unless it is an answer that it got.
#[derive(Default)]
struct Whole {
    refusals: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
}

impl DatagramProtocol for Whole {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        self.answers.fetch_add(1, Ordering::SeqCst);
        if t.info().peer() == &Addr::UNNAMED {
            t.reply(&datagram, &datagram.data)?;
        }
        Ok(())
    }

    async fn error_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        error: io::Error,
        _: Option<Addr>,
    ) -> Result {
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        self.refusals.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

const ASKED: u8 = 20;

/// Sends numbers, and checks what comes back.
struct Asker {
    mark: u8,
    next: u8,
    answers: Arc<AtomicUsize>,
    is_perfect: bool,
}

impl Protocol for Asker {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        let (handle, mark) = (t.handle(), self.mark);
        t.spawn(async move {
            for number in 0..ASKED {
                let mut question = vec![mark, number];
                question.extend(pattern(usize::from(number) * 10));
                handle.write(question).await.unwrap();
                sleep(Duration::from_millis(10)).await;
            }
        });
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let number = data[1];
        assert_eq!(data[0], self.mark, "the answer of another one");
        assert_eq!(data[2..], pattern(usize::from(number) * 10));
        if self.is_perfect {
            assert_eq!(number, self.next);
            self.next += 1;
        }
        self.answers.fetch_add(1, Ordering::SeqCst);
        data.clear();
        Ok(())
    }
}

pub(crate) async fn sessions(net: SimNetwork) {
    let mut rng = net.rng();
    let is_perfect = rng.u8(0..4) == 0;
    if !is_perfect {
        net.set_conditions(Conditions::rough());
    }
    let server = Server::builder(net.checked(|_: &ConnectionInfo| Echo)).network(net.clone());
    let server = server.listen("udp://server:7?session_idle=5s").unwrap().bind().await.unwrap();
    let (mut clients, answers) = (Vec::new(), Arc::new(AtomicUsize::new(0)));
    for mark in 0..4 {
        let answers = Arc::clone(&answers);
        let asker = move |_: &ConnectionInfo| Asker {
            mark,
            next: 0,
            answers: Arc::clone(&answers),
            is_perfect,
        };
        let client = Client::builder(net.checked(asker)).network(net.host(&format!("peer{mark}")));
        clients.push(client.connect("udp://server:7").await.unwrap());
        if rng.u8(0..8) == 0 {
            net.partition("server", "peer1");
        }
    }
    sleep(Duration::from_millis(rng.u64(500..2000))).await;
    let answers = answers.load(Ordering::SeqCst);
    if is_perfect && server.stats().live == 4 {
        assert_eq!(answers, 4 * usize::from(ASKED));
    }
    if rng.bool() {
        sleep(Duration::from_secs(10)).await;
        assert_eq!(server.stats().live, 0, "silent sessions end");
    }
    for client in clients {
        client.handle().close();
        client.closed().await;
    }
    server.shutdown(LONG).await;
}
