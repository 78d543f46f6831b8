//! Requests and answers: a shop that tells prices, and a client whose calls share one connection. What
//! they say is two enums of the program, as JSON in frames.
//!
//! Run it with `cargo run -p netframe-examples --example requests`; it takes another endpoint as an
//! argument. It prints `listening tcp://127.0.0.1:7007`, then what the client is answered, and ends:
//!
//! ```text
//! figs: Ok(Price { cents: 120 })
//! kiwis: Ok(Unknown)
//! no answer within 100ms
//! ```

use std::time::Duration;

use netframe::protocols::codec::{FrameCodec, Json};
use netframe::protocols::frame::{Endian, Int, Prefixed};
use netframe::protocols::requests::{RequestClient, RequestOptions, RequestServer, WithId};
use netframe::{Client, ConnectionInfo, Result, Server};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

#[derive(Debug, Deserialize, Serialize)]
enum Ask {
    Price { of: String },
    Inventory,
}

#[derive(Debug, Deserialize, Serialize)]
enum Answer {
    Price { cents: u32 },
    Unknown,
    Inventory { figs: u32 },
}

/// Reads messages of type `R`, and writes those of type `W`.
type Codec<R, W> = FrameCodec<Prefixed<Int>, WithId<Json<R, W>>>;

fn codec<R, W>() -> Codec<R, W>
where
    Json<R, W>: netframe::protocols::codec::Format,
{
    FrameCodec::new(Prefixed::int32(Endian::Big), WithId(Json::default()))
}

async fn answer(ask: Ask) -> Result<Answer> {
    Ok(match ask {
        Ask::Price { of } if of == "figs" => Answer::Price { cents: 120 },
        Ask::Price { .. } => Answer::Unknown,
        Ask::Inventory => {
            sleep(Duration::from_secs(5)).await; // somebody counts them
            Answer::Inventory { figs: 7 }
        }
    })
}

#[tokio::main]
async fn main() -> Result {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7007".into());
    let shop = |_: &ConnectionInfo| RequestServer::by_id(codec::<Ask, Answer>(), answer);
    let server = Server::bind(endpoint, shop).await?;
    println!("listening {}", server.endpoint());

    let (shop, connections) = RequestClient::by_id(codec::<Answer, Ask>, RequestOptions::default());
    let _connection = Client::connect(server.endpoint().clone(), connections).await?;
    let slow = shop.call_within(Duration::from_millis(100), Ask::Inventory);
    let (slow, figs, kiwis) = tokio::join!(
        slow, // the other two do not wait for it
        shop.call(Ask::Price { of: "figs".into() }),
        shop.call(Ask::Price { of: "kiwis".into() }),
    );
    println!("figs: {figs:?}\nkiwis: {kiwis:?}");
    if let Err(error) = slow {
        println!("{error}");
    }
    Ok(())
}
