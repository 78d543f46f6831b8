//! Echoes of frames, one for each framer that has a name.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocols::frame::{
    DEFAULT_MAX_LENGTH, Endian, Framer, FramerError, Prefixed, frame_echo,
};
use crate::runner::registry::{Entry, Registry};

/// Adds them all.
pub(super) fn add_to(registry: &mut Registry) {
    let about = "sends back every netstring, such as `5:hello,`";
    registry.add(entry("netstring-echo", about, |options: Long| {
        Prefixed::netstring().with_max_length(options.max_length)
    }));
    let about = "sends back every frame whose length is the byte before it";
    registry.add(entry("int8-echo", about, |options: Int8| {
        Prefixed::int8().with_max_length(options.max_length)
    }));
    let about = "sends back every frame whose length is the two bytes before it";
    let int16 = entry("int16-echo", about, |options: Int16| {
        Prefixed::int16(options.endian).with_max_length(options.max_length)
    });
    registry.add(int16.option("endian", ENDIAN));
    let about = "sends back every frame whose length is the four bytes before it";
    let int32 = entry("int32-echo", about, |options: Int32| {
        Prefixed::int32(options.endian).with_max_length(options.max_length)
    });
    registry.add(int32.option("endian", ENDIAN));
    let about =
        "sends back every frame whose length is a varint before it, as Protocol Buffers write";
    registry.add(entry("varint-echo", about, |options: Long| {
        Prefixed::varint().with_max_length(options.max_length)
    }));
}

const ENDIAN: &str = "which byte of the length comes first: big or little";

/// Options by their names, types and defaults.
macro_rules! options {
    ($($name:ident { $($option:ident: $type:ty = $default:expr),* })*) => {$(
        #[derive(Clone, Copy, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        struct $name {
            $($option: $type),*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($option: $default),* }
            }
        }
    )*};
}

options! {
    Long { max_length: usize = DEFAULT_MAX_LENGTH }
    Int8 { max_length: usize = 255 }
    Int16 { endian: Endian = Endian::Big, max_length: usize = 65_535 }
    Int32 { endian: Endian = Endian::Big, max_length: usize = DEFAULT_MAX_LENGTH }
}

fn entry<O, F>(
    name: &'static str,
    about: &'static str,
    framer: fn(O) -> Result<F, FramerError>,
) -> Entry<O>
where
    O: Copy + Default + Serialize + DeserializeOwned + 'static,
    F: Framer + Clone,
{
    Entry::new(name, about, move |options| Ok(frame_echo(framer(options)?)))
        .option("max_length", "bytes of a frame; a longer one ends the connection")
        .limits(move |options, limits| {
            // The connection's own limit must not end a frame before `max_length` does.
            if let Ok(framer) = framer(*options) {
                limits.max_pending = limits.max_pending.max(framer.max_wire_length());
            }
        })
}
