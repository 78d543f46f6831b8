//! Typed messages from elsewhere: a thread that knows nothing of connections sends news to all of
//! them, and each turns them into bytes when it can.
//!
//! Run it with `cargo run -p netframe-examples --example mailbox`; it takes another endpoint as an
//! argument. It prints `listening tcp://127.0.0.1:7007` and serves until Ctrl-C. Connect with one or
//! more `nc 127.0.0.1 7007`, then type a line where the example runs: each of them prints it with its
//! number, such as `1 hello`, and the example `told 2, missed by 0`.
//!
//! A connection whose peer does not read stops emptying its mailbox. Then that is full, `try_send`
//! says so at once, and nobody else waits: the slow one misses news, as the numbers tell it. A sender
//! that must not lose anything would await `send`; one that wants to be rid of slow peers would
//! `abort` them by their handle.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use netframe::{
    CloseReason, ConnectionId, ConnectionInfo, Mailbox, Protocol, Result, Sender, Server,
    Transport, TrySendError, bytes::BytesMut,
};

/// Messages that may wait for one connection.
const MAILBOX_LEN: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// What is sent: any type does. This one is the same for all, and cheap to clone.
type News = Arc<Item>;

struct Item {
    number: u64,
    text: String,
}

/// Where the news goes.
#[derive(Clone, Default)]
struct Subscribers(Arc<Mutex<HashMap<ConnectionId, Sender<News>>>>);

impl Subscribers {
    fn subscriber(&self, info: &ConnectionInfo) -> Subscriber {
        Subscriber { id: info.id(), subscribers: self.clone(), mailbox: Mailbox::default() }
    }

    /// Sends to all of them, without waiting for any; returns how many took it and how many did not.
    fn publish(&self, news: &News) -> (usize, usize) {
        let (mut told, mut missed) = (0, 0);
        self.change(|senders| {
            for sender in senders.values() {
                match sender.try_send(Arc::clone(news)) {
                    Ok(()) => told += 1,
                    Err(TrySendError::Full(_)) => missed += 1,
                    Err(TrySendError::Closed(_)) => {} // its connection is just ending
                }
            }
        });
        (told, missed)
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<ConnectionId, Sender<News>>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Writes the news that it is sent.
struct Subscriber {
    id: ConnectionId,
    subscribers: Subscribers,
    mailbox: Mailbox<News>,
}

impl Protocol for Subscriber {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        let (mailbox, sender) = Mailbox::new(t.handle(), MAILBOX_LEN);
        self.mailbox = mailbox;
        self.subscribers.change(|senders| drop(senders.insert(self.id, sender)));
        Ok(())
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        while let Some(news) = self.mailbox.pop() {
            t.write(format!("{} {}\n", news.number, news.text).as_bytes());
            // While the peer does not read, this waits, and the mailbox fills.
            t.drain().await?;
        }
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear(); // nobody is asked
        Ok(())
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        self.subscribers.change(|senders| drop(senders.remove(&self.id)));
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let subscribers = Subscribers::default();
    let all = subscribers.clone();
    let server = Server::bind(endpoint, move |info: &ConnectionInfo| all.subscriber(info)).await?;
    println!("listening {}", server.endpoint());
    std::thread::spawn(move || {
        for (number, text) in (1..).zip(io::stdin().lines().map_while(Result::ok)) {
            let (told, missed) = subscribers.publish(&News::new(Item { number, text }));
            println!("told {told}, missed by {missed}");
        }
    });
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use netframe::testing::{Harness, Recorder};

    use super::*;

    #[test]
    fn news_is_written_in_order() {
        let (subscribers, mut peer) = start();
        assert_eq!(publish(&subscribers, 1), (1, 0));
        assert_eq!(publish(&subscribers, 2), (1, 0));
        peer.settle();
        assert_eq!(peer.take_written(), b"1 news\n2 news\n"[..]);
    }

    #[test]
    fn a_full_mailbox_misses_news_until_it_is_emptied() {
        let (subscribers, mut peer) = start();
        for number in 1..=16 {
            assert_eq!(publish(&subscribers, number), (1, 0));
        }
        assert_eq!(publish(&subscribers, 17), (0, 1));
        peer.settle();
        assert_eq!(publish(&subscribers, 18), (1, 0));
        peer.settle();
        assert!(peer.take_written().ends_with(b"\n16 news\n18 news\n"));
    }

    #[test]
    fn who_is_gone_is_not_told() {
        let (subscribers, mut peer) = start();
        peer.receive_eof();
        assert!(peer.reason().is_some());
        assert_eq!(publish(&subscribers, 1), (0, 0));
    }

    fn start() -> (Subscribers, Harness<Subscriber>) {
        let subscribers = Subscribers::default();
        let t = Recorder::new();
        let subscriber = subscribers.subscriber(t.info());
        (subscribers, Harness::over(subscriber, t))
    }

    fn publish(subscribers: &Subscribers, number: u64) -> (usize, usize) {
        subscribers.publish(&News::new(Item { number, text: "news".to_owned() }))
    }
}
