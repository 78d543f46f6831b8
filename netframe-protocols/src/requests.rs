//! Requests and answers: [`RequestServer`] answers each request by a call of an async function, and
//! [`RequestClient`] asks, from any task, over one connection that all of them share.
//!
//! Both stand on a codec ([`codec`](mod@crate::codec)), so that requests and answers are typed. How an
//! answer finds its request is the [`Order`]:
//!
//! | order | answers come | in flight at once | messages of the codec |
//! |---|---|---|---|
//! | [`InOrder`], one at a time | in the order of the requests | 1 | `Q` and `A` |
//! | [`InOrder`], pipelined | in the order of the requests | `max_in_flight` | `Q` and `A` |
//! | [`ById`], multiplexed | as they are ready, each with the id of its request | `max_in_flight` | [`Tagged`]`<Q>` and [`Tagged`]`<A>` |
//!
//! ```
//! # #[cfg(not(feature = "json"))]
//! # fn main() {}
//! # #[cfg(feature = "json")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> netframe_core::Result {
//! use netframe_core::{Client, ConnectionInfo, Server};
//! use netframe_protocols::codec::{FrameCodec, Json};
//! use netframe_protocols::frame::{Endian, Prefixed};
//! use netframe_protocols::requests::{RequestClient, RequestOptions, RequestServer, WithId};
//!
//! // Of two numbers the sum, as JSON in frames.
//! let serves = || {
//!     let format = WithId(Json::<(u64, u64), u64>::default());
//!     FrameCodec::new(Prefixed::int32(Endian::Big), format)
//! };
//! let asks = || {
//!     let format = WithId(Json::<u64, (u64, u64)>::default());
//!     FrameCodec::new(Prefixed::int32(Endian::Big), format)
//! };
//! let server = move |_: &ConnectionInfo| {
//!     RequestServer::by_id(serves(), async |(a, b)| Ok(a + b))
//! };
//! let server = Server::bind("mem://sums", server).await?;
//!
//! let (sums, connections) = RequestClient::by_id(asks, RequestOptions::default());
//! let connection = Client::connect("mem://sums", connections).await?;
//! let (three, seven) = tokio::join!(sums.call((1, 2)), sums.call((3, 4)));
//! assert_eq!((three?, seven?), (3, 7));
//! # drop(connection);
//! # server.shutdown(std::time::Duration::from_secs(9)).await;
//! # Ok(())
//! # }
//! ```

mod calls;
mod client;
mod error;
pub(crate) mod fuzz;
mod in_flight;
mod order;
mod server;

use std::num::NonZeroUsize;

pub use self::client::{RequestClient, RequestConnection, RequestConnections, RequestOptions};
pub use self::error::CallError;
pub use self::order::{ById, InOrder, Order, Tagged, WithId};
pub use self::server::RequestServer;

/// Requests in flight at once, unless said otherwise.
const DEFAULT_MAX_IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(100).expect("it is not zero");
