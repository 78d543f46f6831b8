//! Rule 13: a byte layer, such as TLS would be one, goes below the next protocol by the same step.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, split};

use netframe_core::bytes::BytesMut;
use netframe_core::{
    BoxFuture, CloseKind, Extensions, Io, Layer, Layered, Residue, Side, TimeoutKind,
};

use crate::probe::{Probe, done, echo, why};
use crate::world::{Net, Raw, World, limits, pattern};

on_every_transport! {
    rule13_a_layer_goes_below_the_new_protocol,
    rule13_residue_goes_into_the_layer,
    rule13_a_layer_that_holds_back_is_flushed,
    rule13_a_layer_that_fails_ends_the_connection,
    rule13_a_layer_that_panics_ends_the_connection,
    rule13_a_layer_that_waits_can_be_aborted,
    rule13_a_layer_that_waits_ends_with_its_server,
}

on_transports_with_reset! {
    rule13_resets_and_aborts_pass_through_a_layer,
}

on_paused_clock! {
    rule13_a_layer_that_waits_times_out,
}

/// A byte layer: everything is XORed with a key. It may hold back what it takes until flushed.
struct Xor {
    key: u8,
    hold: bool,
}

struct XorIo {
    below: Box<dyn Io>,
    key: u8,
    hold: bool,
    residue: BytesMut,
    held: Vec<u8>,
}

#[derive(Debug, PartialEq)]
struct Key(u8);

#[async_trait]
impl Layer for Xor {
    async fn wrap(self: Box<Self>, below: Box<dyn Io>, residue: BytesMut) -> io::Result<Layered> {
        tokio::task::yield_now().await; // as a handshake would
        let Self { key, hold } = *self;
        let io = Box::new(XorIo { below, key, hold, residue, held: Vec::new() });
        let mut extensions = Extensions::default();
        extensions.insert(Key(key));
        Ok(Layered { io, extensions })
    }
}

impl Io for XorIo {
    fn reset(&mut self) -> BoxFuture<'_, ()> {
        self.below.reset()
    }

    fn set_abort(&mut self) {
        self.below.set_abort();
    }
}

impl XorIo {
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.below).poll_write(cx, &self.held))?;
            self.held.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for XorIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.residue.is_empty() {
            ready!(Pin::new(&mut self.below).poll_read(cx, buf))?;
        } else {
            let len = self.residue.len().min(buf.remaining());
            buf.put_slice(&self.residue.split_to(len));
        }
        let key = self.key;
        buf.filled_mut()[before..].iter_mut().for_each(|byte| *byte ^= key);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for XorIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.hold || self.held.len() > 64 * 1024 {
            ready!(self.poll_held(cx))?;
        }
        let key = self.key;
        self.held.extend(data.iter().map(|byte| byte ^ key));
        if !self.hold {
            let _ = self.poll_held(cx)?;
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.below).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.below).poll_shutdown(cx)
    }
}

fn xor(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x55).collect()
}

/// At `^`, answers `go`, and puts a layer below an echo.
fn starting(layer: impl Fn() -> Box<dyn Layer> + Send + Sync + 'static, residue: Residue) -> Probe {
    let (probe, _) = Probe::new();
    upgrading(probe, layer, residue)
}

fn upgrading(
    probe: Probe,
    layer: impl Fn() -> Box<dyn Layer> + Send + Sync + 'static,
    residue: Residue,
) -> Probe {
    probe.on_data(move |t, data| {
        let _up = data.split_to(1);
        t.write(b"go");
        t.switch_layer(layer(), Arc::new(echo), residue);
        done(())
    })
}

async fn rule13_a_layer_goes_below_the_new_protocol(net: Net) {
    let (new, mut seen) = Probe::new();
    let new = new.on_data(|t, data| {
        assert_eq!(t.get::<Key>(), Some(&Key(0x55)), "what the layer published");
        t.write(&data.split());
        done(())
    });
    let (old, _) = Probe::new();
    let old = old.on_data(move |t, data| {
        assert_eq!(t.get::<Key>(), None);
        data.clear();
        t.write(b"go");
        let layer = Box::new(Xor { key: 0x55, hold: false });
        t.switch_layer(layer, Arc::new(new.clone()), Residue::Reject);
        done(())
    });
    let world = World::start(net, old).await;
    let mut client = world.connect().await;
    client.send("^").await;
    assert_eq!(client.receive(2).await, b"go", "in the clear");
    client.send(xor(b"secret")).await;
    assert_eq!(client.receive(6).await, xor(b"secret"));
    client.half_close().await;
    for event in ["made", "data secret", "eof ", "lost eof by peer"] {
        seen.expect(event).await;
    }
    world.stop().await;
}

async fn rule13_residue_goes_into_the_layer(net: Net) {
    let layer = || Box::new(Xor { key: 0x55, hold: false }) as Box<dyn Layer>;
    let world = World::start(net, starting(layer, Residue::Feed)).await;
    let mut client = world.connect().await;
    client.send([b"^", &xor(b"sent ahead")[..]].concat()).await;
    assert_eq!(client.receive(2).await, b"go");
    assert_eq!(client.receive(10).await, xor(b"sent ahead"));
    client.half_close().await;
    assert_eq!(client.receive_all().await, b"");
    world.stop().await;

    let layer = || Box::new(Xor { key: 0x55, hold: false }) as Box<dyn Layer>;
    let world = World::start(net, starting(layer, Residue::Reject)).await;
    let mut client = world.connect().await;
    client.send(b"^injected").await;
    assert_eq!(client.receive_all().await, b"go");
    drop(client);
    world.until(|stats| stats.closed(CloseKind::ProtocolError) == 1).await;
    world.stop().await;
}

async fn rule13_a_layer_that_holds_back_is_flushed(net: Net) {
    let layer = || Box::new(Xor { key: 0x55, hold: true }) as Box<dyn Layer>;
    let world = World::start(net, starting(layer, Residue::Feed)).await;
    let mut client = world.connect().await;
    client.ping_upgrade().await;
    for n in 0..10 {
        client.ping(&[n; 1000]).await;
    }
    let question = pattern(1 << 20);
    let sending = async {
        let (mut reader, mut writer) = split(client);
        let sent = async {
            writer.write_all(&question).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut answer = Vec::new();
        let (got, ()) = tokio::join!(reader.read_to_end(&mut answer), sent);
        got.unwrap();
        answer
    };
    assert!(sending.await == question, "the last bytes are flushed before the FIN");
    world.stop().await;
}

async fn rule13_resets_and_aborts_pass_through_a_layer(net: Net) {
    let (new, mut seen) = Probe::new();
    let new = new.on_data(|_, _| Box::pin(std::future::pending()));
    let (old, _) = Probe::new();
    let old = old.on_data(move |t, data| {
        data.clear();
        t.write(b"go");
        let layer = Box::new(Xor { key: 0x55, hold: false });
        t.switch_layer(layer, Arc::new(new.clone()), Residue::Reject);
        done(())
    });
    let world = World::start(net, old).await;
    for reset in [true, false] {
        let mut client = world.connect().await;
        client.ping_upgrade().await;
        let handle = seen.made().await;
        client.send(xor(b"x")).await;
        seen.expect("data x").await;
        if reset {
            client.reset();
            seen.expect("lost reset by peer").await;
        } else {
            handle.abort();
            seen.expect("lost aborted by local").await;
            client.receive_reset().await;
        }
    }
    world.stop().await;
}

impl Raw {
    async fn ping_upgrade(&mut self) {
        self.send("^").await;
        assert_eq!(self.receive(2).await, b"go");
    }
}

/// A layer whose handshake ends badly, or never.
enum Bad {
    Fails,
    Panics,
    Waits,
}

#[async_trait]
impl Layer for Bad {
    async fn wrap(self: Box<Self>, below: Box<dyn Io>, _: BytesMut) -> io::Result<Layered> {
        tokio::task::yield_now().await;
        match *self {
            Self::Fails => Err(io::Error::other("bad handshake")),
            Self::Panics => panic!("a bug in the layer"),
            Self::Waits => {
                let _below = below;
                std::future::pending().await
            }
        }
    }
}

async fn rule13_a_layer_that_fails_ends_the_connection(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, upgrading(probe, || Box::new(Bad::Fails), Residue::Feed)).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("^").await;
    let reason = handle.closed().await;
    assert_eq!(reason.kind(), CloseKind::Reset);
    assert_eq!(reason.source().unwrap().to_string(), "bad handshake");
    world.until(|stats| stats.live == 0).await;
    world.stop().await;
}

async fn rule13_a_layer_that_panics_ends_the_connection(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, upgrading(probe, || Box::new(Bad::Panics), Residue::Feed)).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.send("^").await;
    assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Panic));
    world.until(|stats| stats.live == 0).await;
    world.stop().await;
}

async fn rule13_a_layer_that_waits_can_be_aborted(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, upgrading(probe, || Box::new(Bad::Waits), Residue::Feed)).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.ping_upgrade().await;
    seen.lost().await;
    handle.abort();
    assert_eq!(why(&handle.closed().await), (Side::Local, CloseKind::Aborted));
    world.until(|stats| stats.live == 0).await;
    world.stop().await;
}

async fn rule13_a_layer_that_waits_ends_with_its_server(net: Net) {
    let (probe, mut seen) = Probe::new();
    let world = World::start(net, upgrading(probe, || Box::new(Bad::Waits), Residue::Feed)).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.ping_upgrade().await;
    seen.lost().await;
    drop(world);
    assert_eq!(why(&handle.closed().await), (Side::System, CloseKind::Shutdown));
}

async fn rule13_a_layer_that_waits_times_out(net: Net) {
    let (probe, mut seen) = Probe::new();
    let idle = limits(|l| l.idle_timeout = Duration::from_secs(10).into());
    let factory = upgrading(probe, || Box::new(Bad::Waits), Residue::Feed);
    let world = World::with_limits(net, idle, factory).await;
    let mut client = world.connect().await;
    let handle = seen.made().await;
    client.ping_upgrade().await;
    seen.lost().await;
    let ended = tokio::time::timeout(Duration::from_secs(60), handle.closed()).await;
    let idle = CloseKind::Timeout(TimeoutKind::Idle);
    assert_eq!(why(&ended.expect("it ends in time")), (Side::System, idle));
}
