//! `port-forward` and `socks5` as a user sees them.
