//! Large transfers: every byte comes back, whoever is slow.

use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

use netframe_core::Limits;

use crate::probe::echo;
use crate::world::{Net, Raw, World, pattern};

on_every_transport! {
    everything_comes_back_though_the_peer_half_closes,
    everything_comes_back_to_a_slow_reader,
    many_transfers_at_once,
}

/// Sends a block many times while it reads, half-closes, and checks what comes back.
async fn transfer(client: Raw, block: &[u8], times: usize, read_len: usize) {
    let (mut reader, mut writer) = split(client);
    let sending = async {
        for _ in 0..times {
            writer.write_all(block).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    };
    let receiving = async {
        let (mut at, mut buffer) = (0, vec![0; read_len]);
        loop {
            let len = reader.read(&mut buffer).await.unwrap();
            let mut got = &buffer[..len];
            if len == 0 {
                break;
            }
            while !got.is_empty() {
                let part = got.len().min(block.len() - at % block.len());
                assert!(got[..part] == block[at % block.len()..][..part], "at byte {at}");
                (at, got) = (at + part, &got[part..]);
            }
        }
        assert_eq!(at, times * block.len());
    };
    tokio::join!(sending, receiving);
}

async fn everything_comes_back_though_the_peer_half_closes(net: Net) {
    let world = World::start(net, echo).await;
    let block = pattern((1 << 20) + 1);
    for _ in 0..3 {
        transfer(world.connect().await, &block, 64, 100_000).await;
    }
    world.stop().await;
}

async fn everything_comes_back_to_a_slow_reader(net: Net) {
    let world = World::narrow(net, Limits::default(), echo).await;
    let block = pattern(100_003);
    transfer(world.connect().await, &block, 20, 500).await;
    world.stop().await;
}

async fn many_transfers_at_once(net: Net) {
    let world = World::start(net, echo).await;
    let mut transfers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let client = world.connect().await;
        transfers.spawn(async move { transfer(client, &pattern(90_001 + n), 20, 40_000).await });
    }
    while let Some(done) = transfers.join_next().await {
        done.unwrap();
    }
    world.stop().await;
}
