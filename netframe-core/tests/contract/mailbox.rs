//! [`Mailbox`](netframe_core::Mailbox): typed messages to a protocol from elsewhere.

use std::num::NonZeroUsize;

use tokio::sync::mpsc;

use netframe_core::bytes::BytesMut;
use netframe_core::{ConnectionInfo, Mailbox, Protocol, Result, Sender, Transport, TrySendError};

use crate::world::{Net, World};

on_every_transport! {
    messages_arrive_once_and_in_order,
    a_full_mailbox_gives_the_message_back,
    a_sender_waits_for_room,
    many_senders_lose_nothing,
}

on_transports_with_reset! {
    senders_learn_of_the_end,
}

/// Writes the messages it is sent, one byte each; at most `at_once` for each call.
struct Writer {
    mailbox: Mailbox<u8>,
    senders: mpsc::UnboundedSender<Sender<u8>>,
    capacity: usize,
    asleep: bool,
}

impl Protocol for Writer {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        let capacity = NonZeroUsize::new(self.capacity).unwrap();
        let (mailbox, sender) = Mailbox::new(t.handle(), capacity);
        self.mailbox = mailbox;
        self.senders.send(sender)?;
        Ok(())
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        while !self.asleep
            && let Some(message) = self.mailbox.pop()
        {
            t.write(&[message]);
        }
        Ok(())
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        self.asleep = false;
        self.notified(t).await
    }
}

async fn world(
    net: Net,
    capacity: usize,
    asleep: bool,
) -> (World, mpsc::UnboundedReceiver<Sender<u8>>) {
    let (senders, receiver) = mpsc::unbounded_channel();
    let world = World::start(net, move |_: &ConnectionInfo| Writer {
        mailbox: Mailbox::default(),
        senders: senders.clone(),
        capacity,
        asleep,
    });
    (world.await, receiver)
}

async fn messages_arrive_once_and_in_order(net: Net) {
    let (world, mut senders) = world(net, 100, false).await;
    let mut client = world.connect().await;
    let sender = senders.recv().await.unwrap();
    for n in 0..100 {
        sender.try_send(n).unwrap();
    }
    assert_eq!(client.receive(100).await, (0..100).collect::<Vec<u8>>());
    drop(client);
    world.stop().await;
}

async fn a_full_mailbox_gives_the_message_back(net: Net) {
    let (world, mut senders) = world(net, 2, true).await;
    let mut client = world.connect().await;
    let sender = senders.recv().await.unwrap();
    sender.try_send(1).unwrap();
    sender.try_send(2).unwrap();
    let full = sender.try_send(3).unwrap_err();
    assert!(matches!(full, TrySendError::Full(3)));
    client.send("wake up").await;
    assert_eq!(client.receive(2).await, [1, 2]);
    sender.try_send(full.into_message()).unwrap();
    assert_eq!(client.receive(1).await, [3]);
    drop(client);
    world.stop().await;
}

async fn a_sender_waits_for_room(net: Net) {
    let (world, mut senders) = world(net, 1, true).await;
    let mut client = world.connect().await;
    let sender = senders.recv().await.unwrap();
    sender.try_send(1).unwrap();
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(2).await }
    });
    tokio::task::yield_now().await;
    client.send("wake up").await;
    waiting.await.unwrap().unwrap();
    assert_eq!(client.receive(2).await, [1, 2]);
    drop(client);
    world.stop().await;
}

async fn many_senders_lose_nothing(net: Net) {
    let (world, mut senders) = world(net, 3, false).await;
    let mut client = world.connect().await;
    let sender = senders.recv().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..10 {
        let sender = sender.clone();
        tasks.spawn(async move {
            for _ in 0..200 {
                sender.send(n).await.unwrap();
            }
        });
    }
    let got = client.receive(2000).await;
    for n in 0..10 {
        assert_eq!(got.iter().filter(|message| **message == n).count(), 200);
    }
    while let Some(sent) = tasks.join_next().await {
        sent.unwrap();
    }
    drop(client);
    world.stop().await;
}

async fn senders_learn_of_the_end(net: Net) {
    let (world, mut senders) = world(net, 1, true).await;
    let client = world.connect().await;
    let sender = senders.recv().await.unwrap();
    sender.try_send(1).unwrap();
    assert!(!sender.is_closed());
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(2).await }
    });
    tokio::task::yield_now().await;
    client.reset();
    assert!(matches!(waiting.await.unwrap(), Err(TrySendError::Closed(2))));
    assert!(matches!(sender.try_send(3), Err(TrySendError::Closed(3))));
    assert!(sender.is_closed());
    world.stop().await;
}

#[test]
fn a_default_mailbox_has_no_messages() {
    assert_eq!(Mailbox::<u8>::default().pop(), None);
}
