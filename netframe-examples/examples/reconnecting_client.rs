//! A client that stays connected: it sends a line every so often, and survives restarts of the
//! server.
//!
//! Run it with `cargo run -p netframe-examples --example reconnecting_client`; it takes another
//! endpoint as an argument, and how many milliseconds lie between two lines. In another terminal
//! start the example `shout`, end it with Ctrl-C, and start it again. The client prints `connected`,
//! each answer (`TICK 1`, `TICK 2`, …), and `lost` with the reason when the server goes, until
//! Ctrl-C. The next line waits for a connection, so that none is skipped while there is none.

use std::time::Duration;

use netframe::{
    Backoff, CloseReason, ConnectionInfo, Protocol, ReconnectingClient, Result, Transport,
    bytes::BytesMut,
};
use tokio::time::{MissedTickBehavior, interval};

/// Prints what the server says, and when it comes and goes.
struct Print;

impl Protocol for Print {
    async fn connection_made(&mut self, _: &mut dyn Transport) -> Result {
        println!("connected");
        Ok(())
    }

    async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            println!("{}", data.split_to(end + 1).trim_ascii().escape_ascii());
        }
        Ok(())
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        println!("lost: {reason}");
    }
}

#[tokio::main]
async fn main() -> Result {
    let mut args = std::env::args().skip(1);
    let endpoint = args.next().unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let millis = args.next().map_or(Ok(1000), |millis| millis.parse())?;

    let mut backoff = Backoff::default();
    backoff.max = Duration::from_secs(1); // a person watches
    let client = ReconnectingClient::builder(|_: &ConnectionInfo| Print).backoff(backoff);
    let client = client.connect(endpoint)?;

    let ticks = async {
        let mut ticks = interval(Duration::from_millis(millis));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 1.. {
            ticks.tick().await;
            let connection = client.when_connected().await?;
            // It may end before the line has left, which is lost then.
            let _ = connection.write(format!("tick {number}\n")).await;
        }
        Ok(())
    };
    tokio::select! {
        ended = ticks => return ended,
        _ = tokio::signal::ctrl_c() => {}
    }
    client.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
