//! A chat in lines, for two or two thousand terminals: rooms, nicknames, and a history for
//! newcomers. [`chat`](chat()) makes its factory.
//!
//! ```text
//! $ nc 127.0.0.1 7007
//! * welcome; type a nickname to come in
//! alice
//! bob: is anybody there?
//! * you are in lobby, with 1 other; /help lists the commands
//! yes!
//! * carol joined
//! carol: hello
//! ```
//!
//! # What members see
//!
//! A line that begins with a name and a colon was said by that member; `*` begins what the chat
//! tells, `!` what it could not do. Members do not see what they say themselves: they have typed it
//! already. `/nick NAME`, `/join ROOM`, `/rooms`, `/who`, `/help` and `/quit` are commands.
//!
//! Names of members and rooms have 1 to 32 characters, all of which can be seen. They are unique,
//! ASCII case aside: `Alice` and `alice` are the same, `Zoë` and `ZOË` are not.
//!
//! Texts are UTF-8. What a terminal might obey (control characters, and what changes the direction
//! of writing) is shown as `?`, and so is each invalid sequence; a CR before the LF is ignored.
//!
//! # Order and slow members
//!
//! All members of a room get its lines in the same order, and each newcomer gets each line once: in
//! the history or live. Lines for members that do not read wait, as far as [`ChatOptions`] say; who
//! misses some is told how many once it reads again. Nobody waits for a slow member.
//!
//! # Cost
//!
//! A line costs one write to each member of its room that reads, and nearly nothing for the others.
//! So does each joining and leaving: a thousand that come at once make half a million writes. One
//! member's lines are said one at a time, with the turns of other connections in between, and not
//! at all while it does not read what it is sent.

mod options;
mod room;
mod service;
mod text;

use std::sync::Arc;

use netframe_core::{CloseKind, CloseReason, ConnectionId, ConnectionInfo, Factory, Result};

use self::room::Room;
use self::service::Service;
use self::text::{Name, printable};
use crate::line::{LineError, LineFramer, LineOptions, LineProtocol, LineTransport, Lines};

pub use self::options::{ChatOptions, ChatOptionsError, ChatPolicy};

const HELP: &str = "* /nick NAME, /join ROOM, /rooms, /who, /help, /quit; any other line is said";

/// One connection of a chat. See the [module](self).
#[derive(Debug)]
pub struct Chat {
    service: Arc<Service>,
    member: Option<Member>,
}

/// A connection that has told its name.
#[derive(Debug)]
struct Member {
    id: ConnectionId,
    name: Name,
    room: Arc<Room>,
}

/// A factory of [`Chat`]; all connections it makes are in the same chat.
///
/// ```no_run
/// # async fn run() -> netframe_core::Result {
/// use netframe_core::Server;
/// use netframe_protocols::chat::{ChatOptions, chat};
///
/// let server = Server::bind("tcp://127.0.0.1:7007", chat(ChatOptions::default())?).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// An option cannot be.
pub fn chat(
    options: ChatOptions,
) -> Result<impl Factory<Protocol = Lines<Chat>>, ChatOptionsError> {
    options.validate()?;
    let lines = LineOptions { max_length: options.max_length, ..LineOptions::default() };
    let framer = LineFramer::new(lines).map_err(|_| ChatOptionsError::ZeroMaxLength)?;
    let service = Arc::new(Service::new(options));
    Ok(move |_: &ConnectionInfo| {
        let chat = Chat { service: Arc::clone(&service), member: None };
        Lines::with_framer(chat, framer.clone())
    })
}

impl LineProtocol for Chat {
    async fn connection_made(&mut self, t: &mut LineTransport<'_>) -> Result {
        t.send_line("* welcome; type a nickname to come in")?;
        Ok(())
    }

    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.strip_prefix(b"/") {
            Some(command) => self.obey(t, command)?,
            None if line.is_empty() => {}
            None => match &self.member {
                Some(member) => member.room.say(member.id, &printable(line)),
                None => self.take_name(t, line.trim_ascii())?,
            },
        }
        // A line makes work for everybody in the room: the next one has to wait its turn.
        t.pause_reading();
        t.handle().notify();
        Ok(())
    }

    async fn notified(&mut self, t: &mut LineTransport<'_>) -> Result {
        t.resume_reading();
        let Some(member) = &self.member else { return Ok(()) };
        // While its queue is long it is behind, and may miss more.
        if t.wants_data() {
            match member.room.take_missed(member.id) {
                0 => {}
                1 => t.send_line("* you missed 1 line")?,
                missed => t.send_line(format!("* you missed {missed} lines"))?,
            }
        }
        Ok(())
    }

    async fn draining(&mut self, t: &mut LineTransport<'_>) -> Result {
        // Each leaving would be told to all the others, which are leaving too.
        self.leave(true);
        // Who does not read cannot be told.
        let _ = t.handle().try_write("* the server is stopping\n");
        t.close();
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.leave(reason.kind() == CloseKind::Shutdown);
    }
}

impl Chat {
    /// Does what a command says; it is without its slash.
    fn obey(&mut self, t: &mut LineTransport<'_>, command: &[u8]) -> Result<(), LineError> {
        let end = command.iter().position(|byte| *byte == b' ').unwrap_or(command.len());
        let (command, argument) = (&command[..end], command[end..].trim_ascii());
        match (command, &mut self.member) {
            (b"help", _) => t.send_line(HELP),
            (b"quit", _) => {
                self.leave(false);
                t.send_line("* goodbye")?;
                t.close();
                Ok(())
            }
            (b"nick", _) => self.take_name(t, argument),
            (b"join", Some(member)) => member.join(&self.service, t, argument),
            (b"rooms", Some(_)) => t.send_line(format!("* rooms: {}", self.service.rooms())),
            (b"who", Some(Member { room, .. })) => {
                t.send_line(format!("* in {}: {}", room.name, room.names()))
            }
            (b"join" | b"rooms" | b"who", None) => t.send_line("! first type a nickname"),
            _ => {
                let command = printable(command);
                t.send_line(format!("! there is no command /{command}; /help lists them"))
            }
        }
    }

    /// Gives the connection a name, its first or another one.
    fn take_name(&mut self, t: &mut LineTransport<'_>, name: &[u8]) -> Result<(), LineError> {
        let Some(name) = Name::new(name) else { return refuse_name(t) };
        let before = self.member.as_ref().map(|member| &member.name);
        if before == Some(&name) {
            return t.send_line(format!("! you are {name} already"));
        }
        // The same name in another case is the member's own.
        let own = before.is_some_and(|before| before.key() == name.key());
        if !own && !self.service.take_name(&name) {
            return t.send_line(format!("! {name} is taken; try another name"));
        }
        let Some(member) = &mut self.member else {
            let (id, room) = (t.info().id(), self.service.open_lobby());
            room.enter(&mut **t, name.clone());
            self.member = Some(Member { id, name, room });
            return Ok(());
        };
        member.room.rename(member.id, name.clone());
        let before = std::mem::replace(&mut member.name, name);
        if !own {
            self.service.free_name(&before);
        }
        t.send_line(format!("* you are now {}", member.name))
    }

    /// Gives up everything that others see of this connection.
    fn leave(&mut self, quiet: bool) {
        if let Some(member) = self.member.take() {
            member.room.leave(member.id, quiet);
            self.service.close(&member.room);
            self.service.free_name(&member.name);
        }
    }
}

impl Member {
    /// Goes to another room.
    fn join(
        &mut self,
        service: &Service,
        t: &mut LineTransport<'_>,
        room: &[u8],
    ) -> Result<(), LineError> {
        let Some(room) = Name::new(room) else { return refuse_name(t) };
        if room.key() == self.room.name.key() {
            return t.send_line(format!("! you are in {} already", self.room.name));
        }
        let Some(room) = service.open(&room) else {
            return t.send_line("! there are too many rooms; /rooms lists them");
        };
        let before = std::mem::replace(&mut self.room, room);
        before.leave(self.id, false);
        service.close(&before);
        self.room.enter(&mut **t, self.name.clone());
        Ok(())
    }
}

fn refuse_name(t: &mut LineTransport<'_>) -> Result<(), LineError> {
    t.send_line("! a name has 1 to 32 characters, without spaces; try another name")
}
