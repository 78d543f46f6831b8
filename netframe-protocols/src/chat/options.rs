//! [`ChatOptions`]: what a chat keeps, and how much of it.

use netframe_core::{GroupLimits, Policy};
use serde::{Deserialize, Serialize};

use super::text::MAX_NAME_BYTES;

/// Bytes that a line may cost beside its text: the names in it, and what keeps it.
const LINE_OVERHEAD: usize = 2 * MAX_NAME_BYTES + 128;

/// Bytes that a room costs beside its lines.
const ROOM_OVERHEAD: usize = 1024;

/// Bytes that a member costs: its name twice, its places in a room and in the room's group.
const MEMBER_OVERHEAD: usize = 1024;

/// What a chat keeps, and how much of it. All is bounded, whatever members do.
///
/// ```
/// use netframe_protocols::chat::{ChatOptions, ChatPolicy};
///
/// let mut options = ChatOptions::default();
/// options.history = 0;
/// options.policy = ChatPolicy::Disconnect;
/// options.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ChatOptions {
    /// Bytes a line may have, its LF not counted, but a CR before it; at least 1. Default 1000: a
    /// long paragraph. A member that sends more is disconnected.
    ///
    /// The connection's own limit `max_pending` (64 KiB) bounds an unfinished line too: raise both
    /// for lines that come near it.
    pub max_length: usize,
    /// Lines that a room keeps for newcomers; with 0 they see nothing of what was said before.
    /// Default 50: about a screen.
    ///
    /// A newcomer's connection queues them at once: keep their bytes below its hard cap (1 MiB).
    pub history: usize,
    /// Rooms at once, the lobby among them; at least 1. Default 100. Who would open one more is
    /// told so. All but the lobby are gone with their last member.
    pub max_rooms: usize,
    /// Bytes that may wait in one room for all of its slow members, beside those in the queues of
    /// their connections; each line counts once, and 64 more than it has. Default 1 MiB: a thousand
    /// of the longest lines.
    pub max_backlog: usize,
    /// What becomes of a line for which a slow member has no room. Default `"drop-oldest"`.
    pub policy: ChatPolicy,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            max_length: 1000,
            history: 50,
            max_rooms: 100,
            max_backlog: 1024 * 1024,
            policy: ChatPolicy::default(),
        }
    }
}

impl ChatOptions {
    /// Checks the values; [`chat`](super::chat()) does so as well.
    ///
    /// # Errors
    ///
    /// The first value that cannot be.
    pub fn validate(&self) -> Result<(), ChatOptionsError> {
        if self.max_length == 0 {
            return Err(ChatOptionsError::ZeroMaxLength);
        }
        if self.max_rooms == 0 {
            return Err(ChatOptionsError::ZeroMaxRooms);
        }
        let (max_backlog, line) = (self.max_backlog, self.line());
        if max_backlog < line {
            return Err(ChatOptionsError::SmallBacklog { max_backlog, line });
        }
        Ok(())
    }

    /// Bytes that all connections together cost at worst, beside what each costs by itself: the
    /// history of every room, and what waits in it.
    ///
    /// ```
    /// # use netframe_protocols::chat::ChatOptions;
    /// let mut options = ChatOptions::default();
    /// options.max_rooms = 1;
    /// assert_eq!(options.memory(), 50 * (1000 + 384) + 1024 * 1024 + 1024);
    /// ```
    pub fn memory(&self) -> usize {
        let history = self.history.saturating_mul(self.line());
        let room = history.saturating_add(self.max_backlog).saturating_add(ROOM_OVERHEAD);
        self.max_rooms.saturating_mul(room)
    }

    /// Bytes that one member costs at worst, beside the queues of its connection: its name and its
    /// places. What waits for it in its room is in [`memory`](Self::memory), an unfinished line in
    /// the connection's `max_pending`.
    pub fn connection_memory(&self) -> usize {
        MEMBER_OVERHEAD
    }

    /// Bytes that a line costs at most.
    fn line(&self) -> usize {
        self.max_length.saturating_add(LINE_OVERHEAD)
    }

    /// The bounds of a room's group.
    pub(super) fn group_limits(&self) -> GroupLimits {
        let mut limits = GroupLimits::default();
        limits.max_backlog = self.max_backlog;
        limits
    }
}

/// What becomes of a line for which a slow member has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChatPolicy {
    /// The lines that have waited longest are dropped: who comes back sees what is said now. The
    /// member is told how many lines it missed.
    #[default]
    DropOldest,
    /// The line is dropped, and what waits already stays. The member is told how many it missed.
    DropNewest,
    /// The member is disconnected.
    Disconnect,
}

impl From<ChatPolicy> for Policy {
    fn from(policy: ChatPolicy) -> Self {
        match policy {
            ChatPolicy::DropOldest => Self::DropOldest,
            ChatPolicy::DropNewest => Self::DropNewest,
            ChatPolicy::Disconnect => Self::Disconnect,
        }
    }
}

/// An option that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatOptionsError {
    /// Nothing could be said.
    #[error("`max_length` is 0; set the bytes that a line may have, such as 1000")]
    ZeroMaxLength,
    /// There would be no lobby.
    #[error("`max_rooms` is 0; set at least 1, for the lobby")]
    ZeroMaxRooms,
    /// A slow member could be sent nothing.
    #[error(
        "`max_backlog` ({max_backlog}) is less than a line may cost ({line}); raise it, or lower `max_length`"
    )]
    SmallBacklog {
        /// The limit.
        max_backlog: usize,
        /// What one line costs at most.
        line: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_options_are_refused() {
        assert_eq!(ChatOptions::default().validate(), Ok(()));
        let refusal = |change: fn(&mut ChatOptions)| {
            let mut options = ChatOptions::default();
            change(&mut options);
            options.validate().unwrap_err().to_string()
        };
        assert_eq!(
            refusal(|o| o.max_length = 0),
            "`max_length` is 0; set the bytes that a line may have, such as 1000"
        );
        assert_eq!(refusal(|o| o.max_rooms = 0), "`max_rooms` is 0; set at least 1, for the lobby");
        assert_eq!(
            refusal(|o| o.max_backlog = 1383),
            "`max_backlog` (1383) is less than a line may cost (1384); raise it, or lower `max_length`"
        );
        assert!(refusal(|o| o.max_length = usize::MAX).starts_with("`max_backlog` (1048576)"));
    }

    #[test]
    fn the_smallest_options_are_accepted() {
        let smallest = ChatOptions {
            max_length: 1,
            history: 0,
            max_rooms: 1,
            max_backlog: 385,
            policy: ChatPolicy::Disconnect,
        };
        assert_eq!(smallest.validate(), Ok(()));
        assert_eq!(smallest.memory(), 385 + 1024);
    }

    #[test]
    fn memory_beyond_what_can_be_counted_is_the_most_there_is() {
        let endless = ChatOptions { history: usize::MAX, ..ChatOptions::default() };
        assert_eq!(endless.memory(), usize::MAX);
    }

    #[test]
    fn configuration_is_read_by_name() {
        let text = r#"{"history":0,"policy":"drop-newest"}"#;
        let want =
            ChatOptions { history: 0, policy: ChatPolicy::DropNewest, ..ChatOptions::default() };
        assert_eq!(serde_json::from_str::<ChatOptions>(text).unwrap(), want);
        assert_eq!(
            serde_json::to_string(&ChatOptions::default()).unwrap(),
            r#"{"max_length":1000,"history":50,"max_rooms":100,"max_backlog":1048576,"policy":"drop-oldest"}"#
        );

        let refusal =
            |text: &str| serde_json::from_str::<ChatOptions>(text).unwrap_err().to_string();
        assert!(refusal(r#"{"policy":"drop"}"#).contains(
            "unknown variant `drop`, expected one of `drop-oldest`, `drop-newest`, `disconnect`"
        ));
        assert!(refusal(r#"{"rooms":1}"#).contains("unknown field `rooms`"));
    }
}
