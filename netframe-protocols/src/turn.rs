//! How much of one delivery is handled before the other connections of a worker have their turn.

use netframe_core::Transport;

/// Messages in one turn, so that a peer with tiny ones does not keep the others of its worker waiting.
/// 64 KiB of messages with 64 bytes are still one turn.
pub(crate) const MESSAGES: usize = 1024;

/// Has what the handler leaves delivered once more, without more bytes: a delivery that was refused
/// is made up for (rule 5), and each one counts in the turn of its connection.
pub(crate) fn deliver_again(t: &mut dyn Transport) {
    t.pause_reading();
    let wanted = t.wants_data();
    debug_assert!(!wanted, "a pause refuses");
    t.resume_reading();
}
