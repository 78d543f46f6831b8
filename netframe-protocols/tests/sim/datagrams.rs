//! An echo in sessions, over a network that loses, doubles and reorders datagrams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{Client, ConnectionInfo, Protocol, Result, Server, Transport};
use netframe_protocols::echo;
use tokio::time::sleep;

use crate::{LONG, SEEDS};

#[test]
fn each_datagram_is_answered_to_its_sender_as_often_as_it_came() {
    sim::seeds(SEEDS, echoes);
}

const PEERS: u8 = 5;
const ASKED: u8 = 30;

/// How often each datagram of one peer came back.
type Answers = Arc<Mutex<[u8; ASKED as usize]>>;

struct Asker {
    mark: u8,
    answers: Answers,
    net: SimNetwork,
}

impl Asker {
    fn question(mark: u8, number: u8) -> Vec<u8> {
        let mut question = vec![mark, number];
        question.resize(2 + usize::from(number) * 40, mark ^ number);
        question
    }
}

impl Protocol for Asker {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        let (handle, mark, mut rng) = (t.handle(), self.mark, self.net.rng());
        t.spawn(async move {
            for number in 0..ASKED {
                // It may be closed meanwhile.
                let _ = handle.write(Self::question(mark, number)).await;
                sleep(Duration::from_millis(rng.u64(0..60))).await;
            }
        });
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        let answer = data.split();
        let number = answer.get(1).copied().unwrap_or(ASKED);
        if number < ASKED && answer == Self::question(self.mark, number) {
            self.answers.lock().unwrap()[usize::from(number)] += 1;
        } else {
            self.net.violation(format_args!("peer{} got {answer:?}", self.mark));
        }
        Ok(())
    }
}

pub(crate) async fn echoes(net: SimNetwork) {
    let mut rng = net.rng();
    let is_perfect = rng.u8(0..4) == 0;
    if !is_perfect {
        net.set_conditions(Conditions::random(&mut rng));
    }
    let max = if is_perfect || rng.bool() { 100 } else { 3 };
    let server = Server::builder(net.checked(echo())).network(net.clone());
    let server = server.listen(format!("udp://server:7?session_idle=20s&max_sessions={max}"));
    let server = server.unwrap().bind().await.unwrap();
    let (mut clients, names): (Vec<_>, Vec<_>) =
        (Vec::new(), (0..PEERS).map(|mark| format!("peer{mark}")).collect());
    for mark in 0..PEERS {
        let answers = Answers::default();
        let asker = {
            let (answers, net) = (Arc::clone(&answers), net.clone());
            move |_: &ConnectionInfo| Asker {
                mark,
                answers: Arc::clone(&answers),
                net: net.clone(),
            }
        };
        let host = net.host(&names[usize::from(mark)]);
        let client = Client::builder(net.checked(asker)).network(host);
        clients.push((client.connect("udp://server:7").await.unwrap(), answers));
    }
    // Of what this does, only the partitions concern datagrams.
    net.trouble("server", &names, if is_perfect { 0 } else { 5 }).await;
    for _ in 0..20 {
        assert!(server.stats().live <= max);
        sleep(Duration::from_millis(200)).await;
    }
    for (_, answers) in &clients {
        let answers = *answers.lock().unwrap();
        // Doubled on its way there, and both on their way back.
        let most = if is_perfect { 1 } else { 4 };
        assert!(answers.iter().all(|times| *times <= most), "{answers:?}");
        assert!(!is_perfect || !answers.contains(&0), "{answers:?}");
    }
    sleep(Duration::from_secs(30)).await;
    assert_eq!(server.stats().live, 0, "silent sessions end");
    for (client, _) in clients {
        client.handle().close();
        client.closed().await;
    }
    server.shutdown(LONG).await;
}
