//! The examples' own tests, which `cargo test` would not run by itself.

macro_rules! examples {
    ($($path:literal $name:ident)*) => {$(
        #[path = $path]
        #[expect(dead_code, reason = "`main` is run by tests/run.rs")]
        mod $name;
    )*};
}

examples! {
    "../examples/await_database.rs" await_database
    "../examples/expect_device.rs" expect_device
    "../examples/framed.rs" framed
    "../examples/key_value_store.rs" key_value_store
    "../examples/mailbox.rs" mailbox
    "../examples/own_transport.rs" own_transport
    "../examples/port_forwarder.rs" port_forwarder
    "../examples/shout.rs" shout
    "../examples/straight_line.rs" straight_line
    "../examples/test_without_network.rs" test_without_network
    "../examples/udp_request.rs" udp_request
}
