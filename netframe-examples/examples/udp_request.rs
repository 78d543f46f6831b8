//! Questions and answers over UDP, as DNS has them: a question that gets no answer is asked again,
//! later each time, and given up in the end.
//!
//! Run it with `cargo run -p netframe-examples --example udp_request`. It starts a server that loses
//! the first datagram of every question, asks it for two names, and prints what it is told,
//! `apple: a fruit` and `gravel: unknown`. Then it asks where nobody listens, and prints
//! `no answer: ` and why.
//!
//! On the wire a question is an id of two bytes and a name, and its answer the same again, then a
//! zero byte and a text.
//! Test it with `cargo test -p netframe-examples --example udp_request`.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use netframe::{
    Addr, Client, Datagram, DatagramProtocol, DatagramTransport, Mailbox, Result, Sender, Server,
    datagrams,
};
use tokio::sync::{mpsc, oneshot};

/// How long each attempt waits for the answer.
const PATIENCE: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// Asks one server. Questions that come meanwhile wait for their turn.
struct Resolver {
    questions: Sender<Question>,
    _client: Client, // the socket closes with it
}

impl Resolver {
    async fn connect(endpoint: &str) -> Result<Self> {
        let (opened, mut mailbox) = mpsc::channel(1);
        let client = Client::connect(endpoint, datagrams(move |_| Asker::new(opened.clone())));
        let client = client.await?;
        let questions = mailbox.recv().await.ok_or("the socket closed at once")?;
        Ok(Self { questions, _client: client })
    }

    async fn ask(&self, name: &str) -> Result<String> {
        let (answer, answered) = oneshot::channel();
        self.questions.send(Question { name: name.to_owned(), answer }).await?;
        Ok(answered.await??)
    }
}

struct Question {
    name: String,
    answer: oneshot::Sender<io::Result<String>>,
}

/// A question that is being asked.
struct Asked {
    question: Question,
    id: [u8; 2],
    attempt: usize,
    /// What the network said of the attempts so far.
    error: Option<io::Error>,
}

impl Asked {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.id, self.question.name.as_bytes()].concat()
    }

    /// The text of an answer to it.
    fn text<'a>(&self, answer: &'a [u8]) -> Option<&'a [u8]> {
        answer.strip_prefix(&*self.to_bytes())?.strip_prefix(b"\0")
    }
}

/// The protocol behind a [`Resolver`].
struct Asker {
    opened: mpsc::Sender<Sender<Question>>,
    mailbox: Mailbox<Question>,
    asked: Option<Asked>,
    ids: RandomState,
    count: u64,
}

impl Asker {
    fn new(opened: mpsc::Sender<Sender<Question>>) -> Self {
        Self { opened, mailbox: Mailbox::default(), asked: None, ids: RandomState::new(), count: 0 }
    }

    /// Turns to the next question, if none is being asked.
    fn next(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        if self.asked.is_none()
            && let Some(question) = self.mailbox.pop()
        {
            self.count += 1;
            // Not to be guessed: whoever can guess it can answer in the server's name.
            let id = (self.ids.hash_one(self.count) as u16).to_be_bytes();
            self.asked = Some(Asked { question, id, attempt: 0, error: None });
            self.send(t)?;
        }
        Ok(())
    }

    /// Sends the question, or gives it up: after the last attempt, or if nobody waits any more.
    fn send(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        let Some(asked) = &self.asked else { return Ok(()) };
        match PATIENCE.get(asked.attempt) {
            Some(patience) if !asked.question.answer.is_closed() => {
                t.send(&asked.to_bytes())?;
                t.set_timeout(Some(*patience));
                Ok(())
            }
            _ => self.answer(t, Err(io::ErrorKind::TimedOut.into())),
        }
    }

    fn answer(&mut self, t: &mut DatagramTransport<'_>, answer: io::Result<String>) -> Result {
        t.set_timeout(None);
        if let Some(Asked { question, error, .. }) = self.asked.take() {
            // Who asked may have given up.
            let _ = question.answer.send(answer.map_err(|late| error.unwrap_or(late)));
        }
        self.next(t)
    }
}

impl DatagramProtocol for Asker {
    async fn connection_made(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        let room = NonZeroUsize::new(100).expect("100 is not 0");
        let (mailbox, questions) = Mailbox::new(t.handle(), room);
        self.mailbox = mailbox;
        Ok(self.opened.try_send(questions)?)
    }

    async fn notified(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        self.next(t)
    }

    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        match self.asked.as_ref().and_then(|asked| asked.text(&datagram.data)) {
            Some(text) => self.answer(t, Ok(String::from_utf8_lossy(text).into_owned())),
            None => Ok(()), // forged, or the late answer to an earlier question
        }
    }

    /// The server may be about to start: the attempts go on, and the error is told at the end.
    async fn error_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        error: io::Error,
        _: Option<Addr>,
    ) -> Result {
        if let Some(asked) = &mut self.asked {
            asked.error = Some(error);
        }
        Ok(())
    }

    async fn timed_out(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        if let Some(asked) = &mut self.asked {
            asked.attempt += 1;
        }
        self.send(t)
    }
}

/// Answers questions, but loses the first datagram of each.
#[derive(Default)]
struct Forgetful(HashSet<Vec<u8>>);

impl DatagramProtocol for Forgetful {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        if self.0.insert(datagram.data.to_vec()) {
            return Ok(()); // a real server would keep nothing
        }
        let (_, name) = datagram.data.split_first_chunk::<2>().ok_or("no id")?;
        let text: &[u8] = if name == b"apple" { b"a fruit" } else { b"unknown" };
        Ok(t.reply(&datagram, &[&*datagram.data, b"\0", text].concat())?)
    }
}

#[tokio::main]
async fn main() -> Result {
    let server = Server::bind("udp://127.0.0.1:0", datagrams(|_| Forgetful::default())).await?;
    let endpoint = server.endpoint().to_string();
    let resolver = Resolver::connect(&endpoint).await?;
    for name in ["apple", "gravel"] {
        println!("{name}: {}", resolver.ask(name).await?);
    }
    server.shutdown(Duration::ZERO).await;
    if let Err(error) = Resolver::connect(&endpoint).await?.ask("apple").await {
        println!("no answer: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use netframe::DatagramAdapter;
    use netframe::testing::Harness;

    use super::*;

    /// Asks for "apple"; returns also what was sent.
    fn ask() -> (Harness<DatagramAdapter<Asker>>, oneshot::Receiver<io::Result<String>>, Vec<u8>) {
        let (opened, mut mailbox) = mpsc::channel(1);
        let mut asker = Harness::datagrams(DatagramAdapter(Asker::new(opened)));
        let (answer, answered) = oneshot::channel();
        let question = Question { name: "apple".to_owned(), answer };
        mailbox.try_recv().unwrap().try_send(question).unwrap();
        asker.settle();
        let sent = asker.take_sent().remove(0).data.to_vec();
        (asker, answered, sent)
    }

    #[test]
    fn a_question_is_sent_again_and_answered() {
        let (mut asker, mut answered, sent) = ask();
        assert_eq!(sent[2..], *b"apple");
        asker.time_out();
        assert_eq!(asker.take_sent()[0].data, sent);
        asker.receive(&[&*sent, b"\0a fruit"].concat());
        assert_eq!(answered.try_recv().unwrap().unwrap(), "a fruit");
        asker.time_out();
        assert!(asker.take_sent().is_empty());
    }

    #[test]
    fn an_answer_to_something_else_is_passed_over() {
        let (mut asker, mut answered, sent) = ask();
        asker.receive(&[&[!sent[0]], &sent[1..], b"\0forged"].concat());
        asker.receive(&[&sent[..2], b"pear\0of another name"].concat());
        for len in 0..=sent.len() {
            asker.receive(&sent[..len]);
        }
        assert!(answered.try_recv().is_err(), "it still waits");
        asker.receive(&[&*sent, b"\0right"].concat());
        assert_eq!(answered.try_recv().unwrap().unwrap(), "right");
    }

    #[test]
    fn a_question_that_nobody_waits_for_is_not_sent_again() {
        let (mut asker, answered, _) = ask();
        drop(answered);
        asker.time_out();
        assert!(asker.take_sent().is_empty());
    }

    #[test]
    fn it_gives_up_and_tells_why() {
        let (mut asker, mut answered, _) = ask();
        (0..PATIENCE.len()).for_each(|_| asker.time_out());
        assert_eq!(asker.take_sent().len(), PATIENCE.len() - 1);
        let error = answered.try_recv().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);

        let (mut asker, mut answered, _) = ask();
        asker.receive_error(io::ErrorKind::ConnectionRefused.into(), None);
        (0..PATIENCE.len()).for_each(|_| asker.time_out());
        let error = answered.try_recv().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
