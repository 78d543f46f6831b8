//! Broadcast: what one connection says, all others hear, each at its own speed.
//!
//! Run it with `cargo run -p netframe-examples --example chat`; it takes another endpoint as an
//! argument. It prints `listening tcp://127.0.0.1:7007` and serves until Ctrl-C. Connect with two or
//! more `nc 127.0.0.1 7007` and type a name into each: all are shown `* alice is here`, and then the
//! others each of her lines, as `alice: hello`, and `* alice is gone`.
//!
//! A connection whose peer does not read slows nobody down. What is said waits for it in the room, up
//! to 1 MiB for all; then it misses what has waited longest. The ready `netframe::protocols::chat` is the same
//! idea with rooms, unique names, a history, and word of what was missed.

use netframe::protocols::line::{LineProtocol, LineTransport, Lines};
use netframe::{CloseReason, ConnectionInfo, Group, Member, Policy, Result, Server};

/// Somebody in the room, once the name is known.
struct Voice {
    room: Group,
    seat: Option<Seat>,
}

struct Seat {
    name: String,
    member: Member,
}

impl LineProtocol for Voice {
    async fn connection_made(&mut self, t: &mut LineTransport<'_>) -> Result {
        t.send_line("your name?")?;
        Ok(())
    }

    async fn line_received(&mut self, t: &mut LineTransport<'_>, line: &[u8]) -> Result {
        let text = String::from_utf8_lossy(line);
        // Others' terminals would obey control characters.
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        if let Some(Seat { name, member }) = &self.seat {
            member.send_to_others(format!("{name}: {text}\n"));
        } else {
            let member = self.room.join(t.handle(), Policy::DropOldest);
            self.room.try_send(format!("* {text} is here\n"));
            self.seat = Some(Seat { name: text, member });
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &CloseReason) {
        if let Some(Seat { name, member }) = &self.seat {
            member.send_to_others(format!("* {name} is gone\n"));
        }
    }
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let room = Group::default();
    let voice = move |_: &ConnectionInfo| Lines::new(Voice { room: room.clone(), seat: None });
    let server = Server::bind(endpoint, voice).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}
