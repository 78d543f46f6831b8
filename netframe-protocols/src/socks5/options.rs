//! [`Socks5Options`]: who may go where.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::rules::{Rule, is_private};

/// Who may go where.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Socks5Options {
    /// Users and their passwords, each of 1 to 255 bytes. Where there are none, everybody is let in.
    pub users: BTreeMap<String, String>,
    /// Where clients may go, such as `"example.org:443"`, `"*.example.org:*"` or `"*:443"`; anywhere
    /// if there are none.
    pub allow: Vec<String>,
    /// Whether it may be open: without users and without rules. Default no.
    pub open: bool,
    /// Whether clients may go to addresses of the proxy itself and of private networks. Default no.
    pub private: bool,
    /// Seconds that connecting may take. Default 10.
    pub connect_timeout: u32,
}

impl Default for Socks5Options {
    fn default() -> Self {
        let (users, allow) = (BTreeMap::new(), Vec::new());
        Self { users, allow, open: false, private: false, connect_timeout: 10 }
    }
}

/// Without the passwords.
impl fmt::Debug for Socks5Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socks5Options")
            .field("users", &self.users.keys())
            .field("allow", &self.allow)
            .field("open", &self.open)
            .field("private", &self.private)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// An option that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Socks5OptionsError {
    /// It would be an open proxy.
    #[error(
        "everybody could go everywhere; set `users`, or `allow`, or `open = true` if that is meant"
    )]
    Open,
    /// A rule is none.
    #[error(
        "`allow` has `{rule}`; expected a host and a port, such as `example.org:443` or `*:443`"
    )]
    Rule {
        /// The rule.
        rule: String,
    },
    /// A user or password is too long, or empty.
    #[error("`users` has a user or password that has not 1 to 255 bytes: that of `{user}`")]
    User {
        /// The user.
        user: String,
    },
    /// There is no time to connect.
    #[error("`connect_timeout` is 0; set it from 1 to 86400")]
    ConnectTimeout,
}

/// The options, checked.
#[derive(Debug)]
pub(super) struct Policy {
    options: Socks5Options,
    allow: Vec<Rule>,
}

impl Policy {
    pub(super) fn new(options: Socks5Options) -> Result<Self, Socks5OptionsError> {
        let fits = |text: &String| (1..=255).contains(&text.len());
        if let Some((user, _)) = options.users.iter().find(|(u, p)| !fits(u) || !fits(p)) {
            return Err(Socks5OptionsError::User { user: user.clone() });
        }
        if !(1..=86_400).contains(&options.connect_timeout) {
            return Err(Socks5OptionsError::ConnectTimeout);
        }
        let rule = |text: &String| {
            text.parse().map_err(|()| Socks5OptionsError::Rule { rule: text.clone() })
        };
        let allow = options.allow.iter().map(rule).collect::<Result<_, _>>()?;
        // Last, so that whoever sets one option that cannot be is told of that one.
        if options.users.is_empty() && options.allow.is_empty() && !options.open {
            return Err(Socks5OptionsError::Open);
        }
        Ok(Self { options, allow })
    }

    pub(super) fn has_users(&self) -> bool {
        !self.options.users.is_empty()
    }

    /// Whether this is a user with its password. How long it takes tells nothing of a password but its
    /// length.
    pub(super) fn knows(&self, user: &[u8], password: &[u8]) -> bool {
        let known = str::from_utf8(user).ok().and_then(|user| self.options.users.get(user));
        let Some(known) = known.map(|password| password.as_bytes()) else { return false };
        let differ =
            known.iter().zip(password).fold(0, |differ, (one, other)| differ | (one ^ other));
        known.len() == password.len() && differ == 0
    }

    /// Whether clients may go there, as far as a name tells.
    pub(super) fn allows(&self, host: &str, port: u16) -> bool {
        let is_ruled =
            self.allow.is_empty() || self.allow.iter().any(|rule| rule.allows(host, port));
        let ip = host.parse::<IpAddr>().ok();
        is_ruled && (self.options.private || !ip.is_some_and(is_private))
    }

    pub(super) fn allows_private(&self) -> bool {
        self.options.private
    }

    pub(super) fn connect_timeout(&self) -> u64 {
        self.options.connect_timeout.into()
    }
}
