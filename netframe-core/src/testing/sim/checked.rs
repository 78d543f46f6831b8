//! [`Checked`]: a protocol whose callbacks are checked, whatever network it runs on.

use bytes::{Bytes, BytesMut};

use super::SimNetwork;
use super::ledger::EndId;
use crate::addr::Addr;
use crate::close_reason::{CloseKind, CloseReason};
use crate::factory::Factory;
use crate::info::ConnectionInfo;
use crate::protocol::{Needs, Protocol, Result};
use crate::transport::Transport;

impl SimNetwork {
    /// A factory whose protocols are checked, and whose callbacks are in the trace.
    ///
    /// It is a [violation](Self::violation) if `connection_made` is not the first callback or comes
    /// twice, if `connection_lost` is not the last one or missing, if a callback comes while another
    /// one runs, if data or EOF is delivered while [`wants_data`](Transport::wants_data) is false
    /// (after a close, while reading is paused), if a leftover is not where it was at the next
    /// delivery, or if a callback panics.
    ///
    /// Of a connection of this network each byte has to be delivered once and in order, all of them
    /// before an EOF; the bytes that its [`CloseReason`] counts have to be those that the network
    /// carried; and a FIN must not leave ahead of bytes that are queued. What protocols that read by
    /// themselves ([`stream_fn`](crate::stream_fn), [`Input`](crate::Input)) were given is not known here, nor what is behind a
    /// layer.
    pub fn checked<F: Factory>(&self, factory: F) -> CheckedFactory<F> {
        CheckedFactory { factory, network: self.clone() }
    }
}

/// What [`SimNetwork::checked`] returns.
#[derive(Debug)]
pub struct CheckedFactory<F> {
    factory: F,
    network: SimNetwork,
}

impl<F: Factory> Factory for CheckedFactory<F> {
    type Protocol = Checked<F::Protocol>;

    fn build_protocol(&self, info: &ConnectionInfo) -> Option<Self::Protocol> {
        let protocol = self.factory.build_protocol(info)?;
        let label = format!("{} with {}", info.local(), info.peer());
        let mut state = self.network.world.lock();
        state.protocols += 1;
        let account = end_of(info).map(|end| {
            let ledger = state.ledger(end);
            let is_first = ledger.open();
            Account { end, is_first, skipped: ledger.unconsumed() }
        });
        drop(state);
        Some(Checked {
            protocol,
            network: self.network.clone(),
            label,
            is_datagram: info.is_datagram(),
            account,
            stage: Stage::Built,
            busy: false,
            leftover: Bytes::new(),
        })
    }
}

/// Which end of which connection this is: who connects is `sim://host#number` to both.
fn end_of(info: &ConnectionInfo) -> Option<EndId> {
    let number = |addr: &Addr| addr.name()?.strip_prefix("sim://")?.split_once('#')?.1.parse().ok();
    let ends = [info.local(), info.peer()].into_iter().enumerate();
    ends.filter_map(|(index, addr)| Some((number(addr)?, index))).next()
}

/// The account of what the network gave to this protocol's connection.
#[derive(Clone, Copy, Debug)]
struct Account {
    end: EndId,
    /// No other protocol had the connection before.
    is_first: bool,
    /// What that one left, which may have been discarded at the switch.
    skipped: usize,
}

/// A protocol whose callbacks are checked, from [`SimNetwork::checked`].
#[derive(Debug)]
pub struct Checked<P> {
    protocol: P,
    network: SimNetwork,
    label: String,
    is_datagram: bool,
    /// Of a connection of this network.
    account: Option<Account>,
    stage: Stage,
    /// A callback runs, or was dropped where it waited.
    busy: bool,
    /// What the last delivery left over.
    leftover: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Built,
    Made,
    Lost,
}

impl<P> Checked<P> {
    fn begin(&mut self, callback: &str, data: &[u8]) {
        self.network.note(format_args!("{}: {callback}, {} B", self.label, data.len()));
        if self.busy {
            self.violation(format_args!("{callback} while another callback runs"));
        }
        self.busy = true;
        let due = if callback == "connection_made" { Stage::Built } else { Stage::Made };
        if self.stage != due {
            self.violation(format_args!("{callback} when it is {:?}", self.stage));
        }
        self.stage = Stage::Made;
    }

    /// As [`begin`](Self::begin), of data or the end of it.
    fn begin_delivery(&mut self, callback: &str, t: &dyn Transport, data: &[u8]) {
        self.begin(callback, data);
        if !t.wants_data() {
            self.violation(format_args!("{callback} to who wants no data"));
        }
        if !self.is_datagram && !data.starts_with(&self.leftover) {
            self.violation(format_args!("{callback} without the leftover before it"));
        }
        if let Some(wrong) = self.compare(data, callback == "eof_received") {
            self.violation(format_args!("{callback} {wrong}"));
        }
    }

    /// Compares what is delivered with what the network gave; says what is wrong.
    fn compare(&mut self, data: &[u8], is_eof: bool) -> Option<String> {
        let account = self.account.as_mut()?;
        let mut state = self.network.world.lock();
        let sent = state.ledger((account.end.0, 1 - account.end.1)).sent;
        let ledger = state.ledger(account.end);
        if !ledger.is_open() {
            return None;
        }
        let skipped = std::mem::take(&mut account.skipped);
        let is_right = |from: usize| {
            ledger.is_next(from, data) && (!is_eof || from + data.len() == ledger.unconsumed())
        };
        if !is_right(0) && skipped > 0 {
            match is_right(skipped) {
                true => ledger.consume(skipped),
                false => {
                    ledger.close(); // a layer is below, whose bytes are others
                    return None;
                }
            }
        }
        let (read, left) = (ledger.read, ledger.unconsumed());
        if !ledger.is_next(0, data) {
            Some(format!("of {} B that are not what the network gave", data.len()))
        } else if is_eof && left > data.len() {
            Some(format!("ahead of {} B that arrived", left - data.len()))
        } else if is_eof && read < sent {
            Some(format!("ahead of {} B that the peer sent", sent - read))
        } else {
            None
        }
    }

    /// A handler has returned; `offered` bytes of which `left` are left.
    fn consumed(&mut self, t: &mut dyn Transport, offered: usize, left: &[u8]) {
        if let Some(account) = &self.account {
            let reads = t.handle().shared().lock().reads_by_itself();
            let mut state = self.network.world.lock();
            let ledger = state.ledger(account.end);
            ledger.consume(offered.saturating_sub(left.len()));
            if reads || !ledger.is_next(0, left) {
                ledger.close(); // nobody tells what it took, or it has changed what is left
            }
        }
    }

    /// Compares the counts of the whole connection with those of the network.
    fn settle(&mut self, reason: &CloseReason) {
        let Some(Account { end, is_first, .. }) = self.account else { return };
        let mut state = self.network.world.lock();
        let ledger = state.ledger(end);
        let handle = ledger.handle.take();
        if reason.kind() != CloseKind::Switched {
            ledger.close();
        }
        let carried = (ledger.read, ledger.sent);
        drop(state);
        drop(handle); // without the lock, as it may be the last one
        let counted = (reason.bytes_in(), reason.bytes_out());
        if is_first && counted != carried {
            self.violation(format_args!(
                "{counted:?} B in and out, but {carried:?} by the network"
            ));
        }
    }

    fn violation(&self, text: std::fmt::Arguments<'_>) {
        self.network.violation(format_args!("{}: {text}", self.label));
    }
}

impl<P: Protocol> Protocol for Checked<P> {
    const NEEDS: Needs = P::NEEDS;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.begin("connection_made", b"");
        if let Some(account) = &self.account {
            let handle = t.handle();
            self.network.world.lock().ledger(account.end).handle = Some(handle);
        }
        let done = self.protocol.connection_made(t).await;
        self.busy = false;
        done
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.begin_delivery("data_received", t, data);
        let offered = data.len();
        let done = self.protocol.data_received(t, data).await;
        self.leftover = Bytes::copy_from_slice(data);
        self.consumed(t, offered, data);
        self.busy = false;
        done
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.begin_delivery("eof_received", t, data);
        let offered = data.len();
        let done = self.protocol.eof_received(t, data).await;
        self.leftover = Bytes::new();
        self.consumed(t, offered, data);
        self.busy = false;
        done
    }

    async fn notified(&mut self, t: &mut dyn Transport) -> Result {
        self.begin("notified", b"");
        let done = self.protocol.notified(t).await;
        self.busy = false;
        done
    }

    async fn timed_out(&mut self, t: &mut dyn Transport) -> Result {
        self.begin("timed_out", b"");
        let done = self.protocol.timed_out(t).await;
        self.busy = false;
        done
    }

    async fn draining(&mut self, t: &mut dyn Transport) -> Result {
        self.begin("draining", b"");
        let done = self.protocol.draining(t).await;
        self.busy = false;
        done
    }

    fn connection_lost(&mut self, reason: &CloseReason) {
        self.network.note(format_args!("{}: connection_lost, {reason}", self.label));
        if self.stage == Stage::Lost {
            self.violation(format_args!("connection_lost twice"));
        }
        if reason.kind() == CloseKind::Panic {
            self.violation(format_args!("{reason}"));
        }
        self.stage = Stage::Lost;
        self.settle(reason);
        self.protocol.connection_lost(reason);
    }
}

impl<P> Drop for Checked<P> {
    fn drop(&mut self) {
        if self.stage != Stage::Lost {
            self.violation(format_args!("no connection_lost"));
        }
        self.network.world.lock().protocols -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::endpoint::EndpointKind;
    use crate::limits::Limits;
    use crate::listener::Listen;
    use crate::testing::Recorder;
    use crate::testing::sim::{Sim, run};

    struct TakesFour;

    impl Protocol for TakesFour {
        async fn data_received(&mut self, _: &mut dyn Transport, data: &mut BytesMut) -> Result {
            drop(data.split_to(data.len().min(4)));
            Ok(())
        }
    }

    /// Delivers this after `abcdef` has arrived, by hand, and then EOF with that.
    async fn deliver(net: SimNetwork, data: &[u8], rest: &[u8]) {
        let mut listener = net.listen("sim://b".parse().unwrap(), "b").unwrap();
        let mut peer = net.host("a").connect("b").await.unwrap();
        let mut io = listener.accept().await.unwrap().into_io().unwrap();
        let (peer_addr, local) = (Addr::named("sim://a#1"), Addr::named("sim://b"));
        let info = ConnectionInfo::new(EndpointKind::Sim, peer_addr, local);
        let factory = net.checked(|_: &ConnectionInfo| TakesFour);
        let mut protocol = factory.build_protocol(&info).unwrap();
        let mut t = Recorder::with_info(info, Limits::default());
        protocol.connection_made(&mut t).await.unwrap();
        peer.write_all(b"abcdef").await.unwrap();
        peer.shutdown().await.unwrap();
        io.read_exact(&mut [0; 6]).await.unwrap();
        protocol.data_received(&mut t, &mut BytesMut::from(data)).await.unwrap();
        protocol.eof_received(&mut t, &mut BytesMut::from(rest)).await.unwrap();
        let mut core = t.facade.shared.lock();
        core.received(6);
        let (reason, _) = core.end();
        drop(core);
        protocol.connection_lost(&reason);
    }

    #[test]
    fn what_is_delivered_is_what_arrived() {
        run(1, async |net| deliver(net, b"abcdef", b"ef").await);
        run(1, async |net| deliver(net, b"abc", b"def").await);
        for (data, rest, wanted) in [
            (&b"abcdeX"[..], &b"eX"[..], "data_received of 6 B that are not what the network gave"),
            (b"bcdef", b"f", "data_received of 5 B that are not what the network gave"),
            (b"abcd", b"abcd", "eof_received of 4 B that are not what the network gave"),
            (b"abcd", b"", "eof_received ahead of 2 B that arrived"),
        ] {
            let run = || Sim::new(1).run(async |net| deliver(net, data, rest).await);
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert_eq!(text, &format!("sim://b with sim://a#1: {wanted}"));
        }
    }
}
