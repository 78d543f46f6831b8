//! A session with a device that was made for people: a console over Telnet, and a client that logs in
//! to it, asks two things, and leaves. `Expect` waits for the prompts, with a deadline for each.
//!
//! Run it with `cargo run -p netframe-examples --example expect_device`; it takes another endpoint as
//! an argument, such as `tcp://127.0.0.1:0`. The console is served in memory. It prints what the
//! session learns, and ends:
//!
//! ```text
//! as eve: denied
//! as ada: release 7.2, up 17 days
//! ```
//!
//! Test it with `cargo test -p netframe-examples --example expect_device`.

use std::time::Duration;

use netframe::bytes::{Buf, BytesMut};
use netframe::protocols::expect::{Expect, Pattern};
use netframe::protocols::line::LineFramer;
use netframe::protocols::telnet::{
    End, Telnet, TelnetOption, TelnetProtocol, TelnetSettings, TelnetTransport,
};
use netframe::{ConnectionInfo, ProtocolError, Result, Server};

/// The console of the device: asks who is there, then takes commands. One for each connection.
#[derive(Default)]
struct Console {
    framer: LineFramer,
    stage: Stage,
}

#[derive(Default)]
enum Stage {
    #[default]
    Login,
    Password {
        user: String,
    },
    Commands,
}

impl TelnetProtocol for Console {
    async fn connection_made(&mut self, t: &mut TelnetTransport<'_>) -> Result {
        t.write(b"netframe device\nlogin: ");
        Ok(())
    }

    /// Cuts lines out of the text. Whatever a terminal sends for Return is a LF here.
    async fn data_received(&mut self, t: &mut TelnetTransport<'_>, data: &mut BytesMut) -> Result {
        while t.wants_data()
            && let Some(len) = self.framer.find_line(data).map_err(ProtocolError::new)?
        {
            let line = data[..len].escape_ascii().to_string();
            data.advance(len + 1);
            self.answer(t, &line);
        }
        Ok(())
    }
}

impl Console {
    fn answer(&mut self, t: &mut TelnetTransport<'_>, line: &str) {
        match &self.stage {
            Stage::Login => {
                self.stage = Stage::Password { user: line.to_owned() };
                // Whoever echoes is to be this side, which does not: so no password is shown.
                t.request(End::Local, TelnetOption::ECHO, true);
                t.write(b"password: ");
            }
            Stage::Password { user } => {
                t.request(End::Local, TelnetOption::ECHO, false);
                if (&**user, line) == ("ada", "sesame") {
                    self.stage = Stage::Commands;
                    t.write(b"\nwelcome\ndevice> ");
                } else {
                    self.stage = Stage::Login;
                    t.write(b"\naccess denied\nlogin: ");
                }
            }
            Stage::Commands => match line {
                "show version" => t.write(b"netframe device, release 7.2\ndevice> "),
                "show uptime" => t.write(b"up 17 days\ndevice> "),
                "exit" => {
                    t.write(b"bye\n");
                    t.close();
                }
                _ => t.write(b"unknown command\ndevice> "),
            },
        }
    }
}

/// Logs in, and tells what the device says of itself; `None` if it lets nobody in.
async fn ask(endpoint: &str, user: &str, password: &str) -> Result<Option<String>> {
    let device = Expect::connect(endpoint).await?.telnet(TelnetSettings::client());
    let mut device = device.timeout(Duration::from_secs(5));
    device.expect("login: ").await?;
    device.send_line(user).await?;
    device.expect("password: ").await?;
    device.send_line(password).await?;
    if device.expect_any(["device> ", "denied"]).await?.index() == 1 {
        return Ok(None);
    }
    let mut told = Vec::new();
    for (command, answer) in [("show version", r"release \S+"), ("show uptime", r"up \d+ days")] {
        device.send_line(command).await?;
        let answer = device.expect(Pattern::regex(&format!("{answer}\r\n"))?).await?;
        told.push(answer.matched().trim_ascii().escape_ascii().to_string());
        device.expect("device> ").await?;
    }
    device.send_line("exit").await?;
    device.expect_eof().await?;
    Ok(Some(told.join(", ")))
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "mem://device".into());
    let console = |_: &ConnectionInfo| Telnet::server(Console::default());
    let server = Server::bind(endpoint, console).await?;
    let endpoint = server.endpoint().to_string(); // with the real port
    for (user, password) in [("eve", "guess"), ("ada", "sesame")] {
        let told = ask(&endpoint, user, password).await?;
        println!("as {user}: {}", told.as_deref().unwrap_or("denied"));
    }
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use netframe::testing::replay;

    use super::*;

    #[test]
    fn a_password_is_asked_for_without_an_echo() {
        let wire = b"ada\r\n\xff\xfd\x01sesame\r\0\xff\xfe\x01show\r\nexit\r\nshow version\r\n";
        let seen = replay(wire, || Telnet::server(Console::default())).written;
        let expected =
            b"netframe device\r\nlogin: \xff\xfb\x01password: \xff\xfc\x01\r\nwelcome\r\n\
            device> unknown command\r\ndevice> bye\r\n";
        assert_eq!(seen, expected);
    }
}
