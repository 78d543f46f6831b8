//! [`Checked`]: a protocol whose callbacks are checked, whatever network it runs on.

use bytes::{Bytes, BytesMut};

use super::SimNetwork;
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
        Some(Checked {
            protocol,
            network: self.network.clone(),
            label,
            is_datagram: info.is_datagram(),
            stage: Stage::Built,
            busy: false,
            leftover: Bytes::new(),
        })
    }
}

/// A protocol whose callbacks are checked, from [`SimNetwork::checked`].
#[derive(Debug)]
pub struct Checked<P> {
    protocol: P,
    network: SimNetwork,
    label: String,
    is_datagram: bool,
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
    }

    fn violation(&self, text: std::fmt::Arguments<'_>) {
        self.network.violation(format_args!("{}: {text}", self.label));
    }
}

impl<P: Protocol> Protocol for Checked<P> {
    const NEEDS: Needs = P::NEEDS;

    async fn connection_made(&mut self, t: &mut dyn Transport) -> Result {
        self.begin("connection_made", b"");
        let done = self.protocol.connection_made(t).await;
        self.busy = false;
        done
    }

    async fn data_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.begin_delivery("data_received", t, data);
        let done = self.protocol.data_received(t, data).await;
        self.leftover = Bytes::copy_from_slice(data);
        self.busy = false;
        done
    }

    async fn eof_received(&mut self, t: &mut dyn Transport, data: &mut BytesMut) -> Result {
        self.begin_delivery("eof_received", t, data);
        let done = self.protocol.eof_received(t, data).await;
        self.leftover = Bytes::new();
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
        self.protocol.connection_lost(reason);
    }
}

impl<P> Drop for Checked<P> {
    fn drop(&mut self) {
        if self.stage != Stage::Lost {
            self.violation(format_args!("no connection_lost"));
        }
    }
}
