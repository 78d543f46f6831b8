//! Who is there? A service answers questions that are sent to a multicast group, so that a client
//! finds it without knowing its address.
//!
//! Start one or more services with
//! `cargo run -p netframe-examples --example multicast_discovery -- serve printer`, each with a name;
//! it prints `listening …` and answers until Ctrl-C. Then
//! `cargo run -p netframe-examples --example multicast_discovery -- find` prints a line for each that
//! answers within a second, such as `printer at 192.0.2.7:7071`, and ends. Both take a port as one
//! more argument, which is 7071 otherwise, and after it the number of an interface; else the system
//! chooses.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::mpsc;

use netframe::{
    CloseKind, CloseReason, Datagram, DatagramProtocol, DatagramTransport, Result, Server,
    datagrams,
};

/// Of the block for use within an organisation, RFC 2365.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 70, 71);
const QUESTION: &[u8] = b"who is there?";

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the group meets.
#[derive(Clone, Copy)]
struct Place {
    port: u16,
    interface: Option<u32>,
}

impl Place {
    fn parse(args: &[&str]) -> Result<Self> {
        match *args {
            [] => Ok(Self { port: 7071, interface: None }),
            [port] => Ok(Self { port: port.parse()?, interface: None }),
            [port, interface] => {
                Ok(Self { port: port.parse()?, interface: Some(interface.parse()?) })
            }
            _ => Err("expected `[PORT [INTERFACE]]` at the end".into()),
        }
    }
}

/// Tells its name to whoever asks.
struct Service {
    name: String,
}

impl DatagramProtocol for Service {
    async fn datagram_received(
        &mut self,
        t: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        if datagram.data[..] == *QUESTION {
            t.reply(&datagram, self.name.as_bytes())?;
        }
        Ok(())
    }
}

/// Asks the group, prints the answers, and closes when there are no more.
struct Finder {
    place: Place,
    ended: mpsc::Sender<CloseReason>,
}

impl DatagramProtocol for Finder {
    async fn connection_made(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        if let Some(interface) = self.place.interface {
            t.set_multicast_interface(interface)?;
        }
        t.send_to(QUESTION, &SocketAddr::from((GROUP, self.place.port)).into())?;
        t.set_timeout(Some(PATIENCE));
        Ok(())
    }

    async fn datagram_received(
        &mut self,
        _: &mut DatagramTransport<'_>,
        datagram: Datagram,
    ) -> Result {
        println!("{} at {}", String::from_utf8_lossy(&datagram.data).escape_debug(), datagram.from);
        Ok(())
    }

    async fn timed_out(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        t.close();
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        // Only the first end counts: after an error the server would start anew.
        let _ = self.ended.try_send(reason.clone());
    }
}

#[tokio::main]
async fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match &args[..] {
        ["serve", name, place @ ..] => serve(name, Place::parse(place)?).await,
        ["find", place @ ..] => find(Place::parse(place)?).await,
        _ => Err("expected `serve NAME [PORT [INTERFACE]]` or `find [PORT [INTERFACE]]`".into()),
    }
}

async fn serve(name: &str, place: Place) -> Result {
    let mut endpoint = format!("udp://0.0.0.0:{}?multicast={GROUP}", place.port);
    if let Some(interface) = place.interface {
        endpoint += &format!("&interface={interface}");
    }
    let name = name.to_owned();
    let server = Server::bind(endpoint, datagrams(move |_| Service { name: name.clone() })).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

async fn find(place: Place) -> Result {
    let (ended, mut end) = mpsc::channel(1);
    let finder = datagrams(move |_| Finder { place, ended: ended.clone() });
    // Not connected to anybody: the answers come from addresses that are not known yet.
    let _server = Server::bind("udp://0.0.0.0:0", finder).await?;
    match end.recv().await {
        Some(reason) if reason.kind() != CloseKind::Closed => Err(reason.to_string().into()),
        _ => Ok(()),
    }
}
