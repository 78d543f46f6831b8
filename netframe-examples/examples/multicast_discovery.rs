//! Who is there? A service answers questions that are sent to a multicast group, so that a client
//! finds it without knowing its address.
//!
//! Start one or more services with
//! `cargo run -p netframe-examples --example multicast_discovery -- serve printer`, each with a name;
//! it prints `listening …` and answers until Ctrl-C. Then
//! `cargo run -p netframe-examples --example multicast_discovery -- find` prints a line for each that
//! answers within a second, such as `printer at 192.0.2.7:7071`, and ends. Both take the number of an
//! interface as one more argument; else the system chooses.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use netframe::{Datagram, DatagramProtocol, DatagramTransport, Result, Server, datagrams};

/// Of the block for use within an organisation, RFC 2365.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 70, 71);
const PORT: u16 = 7071;
const QUESTION: &[u8] = b"who is there?";

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

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
    interface: Option<u32>,
}

impl DatagramProtocol for Finder {
    async fn connection_made(&mut self, t: &mut DatagramTransport<'_>) -> Result {
        if let Some(interface) = self.interface {
            t.set_multicast_interface(interface)?;
        }
        t.send_to(QUESTION, &SocketAddr::from((GROUP, PORT)).into())?;
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
}

#[tokio::main]
async fn main() -> Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", name] => serve(name, None).await,
        ["serve", name, interface] => serve(name, Some(interface.parse()?)).await,
        ["find"] => find(None).await,
        ["find", interface] => find(Some(interface.parse()?)).await,
        _ => Err("expected `serve NAME [INTERFACE]` or `find [INTERFACE]`".into()),
    }
}

async fn serve(name: &str, interface: Option<u32>) -> Result {
    let mut endpoint = format!("udp://0.0.0.0:{PORT}?multicast={GROUP}");
    if let Some(interface) = interface {
        endpoint += &format!("&interface={interface}");
    }
    let name = name.to_owned();
    let server = Server::bind(endpoint, datagrams(move |_| Service { name: name.clone() })).await?;
    println!("listening {}", server.endpoint());
    server.run_until(tokio::signal::ctrl_c()).await;
    Ok(())
}

async fn find(interface: Option<u32>) -> Result {
    // Not connected to anybody: the answers come from addresses that are not known yet.
    let server = Server::bind("udp://0.0.0.0:0", datagrams(move |_| Finder { interface })).await?;
    server.run_until(std::future::pending::<()>()).await; // until it closes by itself
    Ok(())
}
