//! What goes wrong in a network at random.

use std::time::Duration;

use tokio::time::sleep;

use super::SimNetwork;

impl SimNetwork {
    /// Makes trouble for some hosts that are connected to the host `server`, and returns once it has
    /// done so `times` times, at most 300 ms apart: nothing arrives between one of them and `server`
    /// for up to 5 s, its connections are reset or fall silent, or the next accept fails. What listens
    /// has the name of its host.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a host cut off if it was; [`heal`](Self::heal) ends that.
    pub async fn trouble(&self, server: &str, hosts: &[impl AsRef<str>], times: u32) {
        let mut rng = self.rng();
        for _ in 0..times {
            sleep(Duration::from_millis(rng.u64(0..300))).await;
            let Some(host) = rng.choice(hosts).map(AsRef::as_ref) else { return };
            match rng.u8(0..8) {
                0..4 => {
                    self.partition(host, server);
                    sleep(Duration::from_millis(rng.u64(0..5000))).await;
                    self.heal(host, server);
                }
                4 => self.reset(host),
                5 => self.silence(host),
                6 => self.fail_accept(server, libc::ECONNABORTED),
                _ => self.fail_accept(server, libc::EMFILE),
            }
        }
    }
}
