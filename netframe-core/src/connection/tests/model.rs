//! The core does what its model does, whatever happens in whatever order.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::connection::model::{Op, World};

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_order_of_events(
        ops in vec(prop_oneof![8 => op().prop_map(|op| vec![op]), 1 => scene()], 0..100),
        polled in any::<bool>(),
        buffers in any::<bool>(),
        shaped in any::<bool>(),
    ) {
        World::new(polled, buffers, shaped).run(ops.into_iter().flatten());
    }
}

fn op() -> impl Strategy<Value = Op> {
    (any::<u8>(), any::<u8>()).prop_map(|(kind, arg)| Op::decode(kind, arg))
}

/// What rarely comes together by chance.
fn scene() -> impl Strategy<Value = Vec<Op>> {
    (0..9_u8, 1..150_usize, 1..150_usize).prop_map(|(scene, len, more)| {
        let done = Op::Return { leaves: 0, fails: false };
        let leave = Op::Return { leaves: more, fails: false };
        let data = [done, Op::PeerReads(500), Op::Turn, done, Op::PeerSends(len), Op::Turn];
        let then: &[Op] = match scene {
            0 => &[Op::Pause, Op::AskWantsData, Op::Resume, leave, Op::Turn],
            1 => &[Op::Pause, leave, Op::Turn, Op::Notify, Op::Turn, Op::Resume, done, Op::Turn],
            2 => &[Op::Write(len), Op::Write(more), leave, Op::Turn, Op::PeerReads(more), Op::Turn],
            3 => &[Op::Notify, done, Op::Turn, Op::PeerSends(len), Op::Notify, done, Op::Turn],
            4 => &[Op::WatchEof, Op::Await, Op::PeerSends(more), Op::PeerEnds, Op::Turn, leave],
            5 => &[Op::Write(len), Op::CloseWrite, Op::PeerEnds, leave, Op::Turn, done, Op::Turn],
            6 => &[Op::CloseWhenIdle, leave, Op::Drain, Op::Turn, done, Op::PeerEnds, Op::Turn],
            7 => &[
                Op::PeerStalls,
                Op::PeerReads(len / 2),
                Op::Write(len),
                Op::HandleWriteInFlush(more),
                leave,
                Op::Turn,
            ],
            _ => &[Op::Write(len), Op::AskWantsData, Op::Await, Op::Turn, leave, Op::Turn],
        };
        [&data[..], then].concat()
    })
}
