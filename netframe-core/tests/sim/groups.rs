//! A group with members that are slow, die, or fall silent.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use netframe_core::bytes::BytesMut;
use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{
    ConnectionInfo, Group, Io, Limits, Member, Policy, Protocol, Result, Transport,
};

use crate::{SEEDS, serve_with};

#[test]
fn members_get_messages_in_order_whatever_becomes_of_others() {
    sim::seeds(SEEDS, chat);
}

struct Voice {
    group: Group,
    policy: Policy,
    member: Option<Member>,
}

impl Protocol for Voice {
    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.member = Some(self.group.join(t.handle(), self.policy));
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

/// Messages are of one length, and begin with their number.
const LEN: usize = 500;

const MESSAGES: u32 = 80;

fn policy(number: u64) -> Policy {
    match number % 4 {
        0 => Policy::DropOldest,
        1 => Policy::Disconnect,
        2 => Policy::DropNewest,
        _ => Policy::Block(Duration::from_secs(3)),
    }
}

pub(crate) async fn chat(net: SimNetwork) {
    let mut rng = net.rng();
    net.set_conditions(Conditions::rough());
    let mut limits = Limits::default();
    (limits.high_watermark, limits.low_watermark, limits.hard_cap) = (4096, 1024, 8192);
    limits.write_stall_timeout = Duration::from_secs(20).into();
    let mut group_limits = netframe_core::GroupLimits::default();
    group_limits.max_backlog = 20_000;
    let group = Group::new(group_limits);
    let factory = {
        let group = group.clone();
        move |info: &ConnectionInfo| {
            let number = info
                .peer()
                .name()
                .and_then(|name| name.as_bytes().get("sim://peer".len()).copied());
            let policy = policy(u64::from(number.unwrap_or_default()));
            Voice { group: group.clone(), policy, member: None }
        }
    };
    let server = serve_with(&net, "room", limits, factory).await;
    let mut peers = Vec::new();
    for number in 0..6 {
        let name = format!("peer{number}");
        let mut conditions = Conditions::rough();
        if rng.bool() {
            conditions.bandwidth = Some(rng.u64(1000..50_000));
            conditions.capacity = 2000;
        }
        net.set_link(&name, "room", conditions);
        peers.push((name.clone(), tokio::spawn(listen(net.host(&name)))));
    }
    while group.len() < 6 {
        sleep(Duration::from_millis(10)).await;
    }
    for number in 0..MESSAGES {
        let mut message = number.to_be_bytes().to_vec();
        message.resize(LEN, number as u8);
        if rng.bool() {
            group.send(message).await;
        } else {
            group.try_send(message);
        }
        if rng.bool() {
            sleep(Duration::from_millis(rng.u64(0..30))).await;
        }
        if rng.u8(0..50) == 0 {
            let name = format!("peer{}", rng.u8(0..6));
            if rng.bool() { net.reset(&name) } else { net.silence(&name) }
        }
    }
    let report = server.shutdown(Duration::from_secs(100)).await;
    net.note(format_args!("{report}, {group:?}"));
    for (_, peer) in peers {
        peer.await.unwrap();
    }
    assert!(group.is_empty());
    let stats = group.stats();
    assert_eq!(stats.backlog, 0, "nothing waits for nobody");
    assert!(stats.highest_backlog <= 20_000, "{stats:?}");
}

/// Reads until the end, or until nothing comes.
async fn listen(net: SimNetwork) {
    let mut stream = net.connect("room").await.unwrap();
    let mut next = None;
    let mut message = [0; LEN];
    while let Ok(Ok(_)) = timeout(Duration::from_secs(200), stream.read_exact(&mut message)).await {
        let number = u32::from_be_bytes(message[..4].try_into().unwrap());
        assert!(message[4..].iter().all(|byte| *byte == number as u8));
        assert!(next.is_none_or(|next| next <= number), "{number} after {next:?}");
        next = Some(number + 1);
    }
    stream.set_abort();
}
