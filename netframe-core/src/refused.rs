//! What the compiler must refuse, each beside the nearest thing that it takes. Checked as doctests;
//! nothing here is compiled into the crate.

/// A handler may await, but not while it holds what must stay on one thread:
///
/// ```compile_fail
/// # use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
/// struct P;
/// impl Protocol for P {
///     async fn data_received(&mut self, t: &mut dyn Transport, _: &mut BytesMut) -> Result {
///         let local = std::rc::Rc::new(1);
///         t.drain().await?;
///         drop(local);
///         Ok(())
///     }
/// }
/// ```
///
/// ```
/// # use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
/// struct P;
/// impl Protocol for P {
///     async fn data_received(&mut self, t: &mut dyn Transport, _: &mut BytesMut) -> Result {
///         let shared = std::sync::Arc::new(1);
///         t.drain().await?;
///         drop(shared);
///         Ok(())
///     }
/// }
/// ```
pub(crate) struct NotSendAcrossAwait;

/// A lock guard must not be held across an await either:
///
/// ```compile_fail
/// # use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
/// struct P(std::sync::Mutex<u8>);
/// impl Protocol for P {
///     async fn data_received(&mut self, t: &mut dyn Transport, _: &mut BytesMut) -> Result {
///         let guard = self.0.lock().unwrap();
///         t.drain().await?;
///         drop(guard);
///         Ok(())
///     }
/// }
/// ```
///
/// ```
/// # use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
/// struct P(std::sync::Mutex<u8>);
/// impl Protocol for P {
///     async fn data_received(&mut self, t: &mut dyn Transport, _: &mut BytesMut) -> Result {
///         let value = *self.0.lock().unwrap();
///         t.drain().await?;
///         t.write(&[value]);
///         Ok(())
///     }
/// }
/// ```
pub(crate) struct GuardAcrossAwait;

/// The transport stays with its handler; another task gets a handle:
///
/// ```compile_fail
/// # use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
/// struct P;
/// impl Protocol for P {
///     async fn data_received(&mut self, t: &mut dyn Transport, _: &mut BytesMut) -> Result {
///         tokio::spawn(async move { t.write(b"later") });
///         Ok(())
///     }
/// }
/// ```
///
/// ```
/// # use netframe_core::{Protocol, Result, Transport, bytes::BytesMut};
/// struct P;
/// impl Protocol for P {
///     async fn data_received(&mut self, t: &mut dyn Transport, _: &mut BytesMut) -> Result {
///         let handle = t.handle();
///         tokio::spawn(async move { handle.write("later").await });
///         Ok(())
///     }
/// }
/// ```
pub(crate) struct TransportInATask;

/// A closure is a factory once the type of its argument is written:
///
/// ```compile_fail
/// # use netframe_core::{BoxProtocol, Server};
/// fn serve(make: fn() -> Box<dyn BoxProtocol>) {
///     let _ = Server::bind("tcp://127.0.0.1:0", move |_| make());
/// }
/// ```
///
/// ```
/// # use netframe_core::{BoxProtocol, ConnectionInfo, Server};
/// fn serve(make: fn() -> Box<dyn BoxProtocol>) {
///     let _ = Server::bind("tcp://127.0.0.1:0", move |_: &ConnectionInfo| make());
/// }
/// ```
pub(crate) struct UntypedClosure;
