//! What the fuzz targets call: one function per decoder, which panics if any input breaks a promise.
//! Not part of the public API.

mod chat;
mod frame;
mod line;

pub use self::chat::chat;
pub use self::frame::frame;
pub use self::line::line;
#[cfg(feature = "http")]
pub use crate::http::fuzz::{http, http_chunked, http_head};
#[cfg(feature = "memcached")]
pub use crate::memcached::fuzz::memcached_commands as memcached;
pub use crate::requests::fuzz::asked as requests;
pub use crate::socks5::fuzz::handshake as socks5;
pub use crate::telnet::fuzz::received as telnet;

/// Targets with their corpora: what is in one is run by a plain test, and random changes of it for as
/// long as `FUZZ_SECONDS` says.
#[cfg(test)]
macro_rules! targets {
    ($($(#[$cfg:meta])? $target:ident in $corpus:literal: $known:ident, $long:ident;)*) => {$(
        $(#[$cfg])?
        #[test]
        fn $known() {
            let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/", $corpus);
            netframe_core::fuzz::replay(corpus, super::$target);
        }

        $(#[$cfg])?
        #[test]
        #[ignore = "as long as `FUZZ_SECONDS` says"]
        fn $long() {
            let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/", $corpus);
            netframe_core::fuzz::explore(corpus, super::$target);
        }
    )*};
}

#[cfg(test)]
mod tests {
    targets! {
        chat in "chat": known_chats, fuzz_long_chat;
        frame in "frame": known_frames, fuzz_long_frame;
        #[cfg(feature = "http")]
        http in "http": known_http_connections, fuzz_long_http;
        #[cfg(feature = "http")]
        http_chunked in "http-chunked": known_http_chunks, fuzz_long_http_chunked;
        #[cfg(feature = "http")]
        http_head in "http-head": known_http_heads, fuzz_long_http_head;
        line in "line": known_lines, fuzz_long_line;
        #[cfg(feature = "memcached")]
        memcached in "memcached": known_memcached_connections, fuzz_long_memcached;
        requests in "requests": known_requests, fuzz_long_requests;
        socks5 in "socks5": known_socks5_handshakes, fuzz_long_socks5;
        telnet in "telnet": known_telnet, fuzz_long_telnet;
    }
}
