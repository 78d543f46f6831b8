//! What cannot be served is refused with an error that says what is wrong and what would do, and
//! with an exit code.

use std::net::{SocketAddr, TcpListener};

use crate::program::{Program, connect};

/// `netframe` with these arguments ends with the code, and prints an error that starts so.
#[track_caller]
fn fails(args: &[&str], code: i32, error: &str) {
    let end = Program::start(args).end();
    assert_eq!(end.code, Some(code), "{args:?}: {}", end.stderr);
    assert_eq!(end.stdout, "", "{args:?}");
    assert!(end.stderr.starts_with(error), "{args:?}: {}", end.stderr);
}

/// As [`fails`], for `netframe serve`, whose exit code is 2.
#[track_caller]
fn refuses(args: &[&str], error: &str) {
    fails(&[&["serve"], args].concat(), 2, error);
}

/// An address that nothing listens on. No other test uses this IP address, so that none takes it.
fn free_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap()
}

#[test]
fn help_and_version_are_answers_and_not_errors() {
    let version = Program::start(&["--version"]).end();
    assert_eq!(version.stdout, format!("netframe {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(version.code, Some(0));

    let help = Program::start(&["serve", "--help"]).end();
    for text in [
        " echo ",
        " discard ",
        " hello ",
        " http ",
        " line-echo ",
        "delimiter=lf",
        "max_length=16384",
    ] {
        assert!(help.stdout.contains(text), "{text}: {}", help.stdout);
    }
    assert_eq!(help.code, Some(0));
}

#[test]
fn a_command_line_without_protocol_or_endpoint_is_refused() {
    fails(&[], 2, "Serves network protocols by their names, and connects to them");
    fails(&["sevre"], 2, "error: unrecognized subcommand 'sevre'\n\n  tip: a similar");
    refuses(&["echo"], "error: the following required arguments were not provided:\n  <ENDPOINT>");
    refuses(
        &["tcp://127.0.0.1:0"],
        "error: invalid value 'tcp://127.0.0.1:0' for '<PROTOCOL>': an endpoint; the protocol \
         comes before it\n",
    );
}

#[test]
fn an_unknown_protocol_is_refused_with_a_choice() {
    refuses(
        &["ehco", "tcp://127.0.0.1:0"],
        "error: invalid value 'ehco' for '<PROTOCOL>': unknown protocol `ehco`; did you mean \
         `echo`? protocols: echo, discard, line-echo, netstring-echo, int8-echo, int16-echo, \
         int32-echo, varint-echo, telnet-echo, chat, http, memcached, port-forward, socks5, hello, chargen, \
         daytime, time, qotd\n",
    );
}

#[test]
fn options_are_refused_by_name() {
    let refuses = |setting: &str, error: &str| {
        refuses(&["line-echo", "tcp://127.0.0.1:0", "--set", setting], error);
    };
    refuses(
        "delimeter=crlf",
        "error: unknown option `delimeter` of `line-echo`; did you mean `delimiter`? options: \
         delimiter, max_length\n",
    );
    refuses(
        "delimiter=cr",
        "error: invalid value of option `delimiter`: unknown variant `cr`, expected `lf` or `crlf`\n",
    );
    refuses("max_length=long", "error: invalid value of option `max_length`: invalid type: string");
    refuses("max_length=0", "error: invalid value of option `max_length`: `max_length` is 0; set");
    refuses(
        "max_length",
        "error: invalid value 'max_length' for '--set <KEY=VALUE>': expected KEY=",
    );
    refuses("=1", "error: invalid value '=1' for '--set <KEY=VALUE>': expected KEY=VALUE");
}

#[test]
fn options_of_frames_are_refused_by_name() {
    let refuses = |protocol: &str, setting: &str, error: &str| {
        refuses(&[protocol, "tcp://127.0.0.1:0", "--set", setting], error);
    };
    refuses(
        "int8-echo",
        "max_length=256",
        "error: invalid value of option `max_length`: `max_length` is 256, and the prefix takes at \
         most 255; lower it\n",
    );
    refuses(
        "netstring-echo",
        "max_length=0",
        "error: invalid value of option `max_length`: `max_length` is 0; set the bytes that a frame \
         may have, such as 100000\n",
    );
    refuses(
        "int16-echo",
        "endian=middle",
        "error: invalid value of option `endian`: unknown variant `middle`, expected `big` or \
         `little`\n",
    );
    refuses("int8-echo", "endian=big", "error: unknown option `endian` of `int8-echo`; ");
}

#[test]
fn options_of_a_cache_are_refused_by_name() {
    let refuses = |setting: &str, error: &str| {
        refuses(&["memcached", "tcp://127.0.0.1:0", "--set", setting], error);
    };
    let size = "expected bytes from 1 to 1024GiB, such as `65536`, `64KiB` or `1GiB`\n";
    for setting in ["memory=0", "memory=lots", "memory=64MB"] {
        refuses(setting, &format!("error: invalid value of option `memory`: {size}"));
    }
    refuses(
        "memory=1MiB",
        "error: invalid value of option `memory`: `memory` (1048576) is less than the largest item \
         takes (1048986); raise it, or lower `max_value`\n",
    );
    refuses(
        "max_value=2GiB",
        "error: invalid value of option `max_value`: `max_value` is 2147483648; set",
    );
    refuses("port=11211", "error: unknown option `port` of `memcached`; ");
}

#[test]
fn options_are_refused_twice_and_where_there_are_none() {
    let max_length = ["--set", "max_length=5"];
    refuses(
        &[&["line-echo", "tcp://127.0.0.1:0"], &max_length[..], &max_length[..]].concat(),
        "error: option `max_length` is set twice; expected once\n",
    );
    refuses(
        &[&["echo", "tcp://127.0.0.1:0"], &max_length[..]].concat(),
        "error: unknown option `max_length` of `echo`; it has no options\n",
    );
}

#[test]
fn numbers_and_levels_are_refused_with_what_is_expected() {
    let refuses = |option: &str, value: &str, error: &str| {
        refuses(&["echo", "tcp://127.0.0.1:0", option, value], error);
    };
    let workers = "' for '--workers <N>': expected a number from 1 to 1024\n";
    for value in ["0", "-1", "1025", "all"] {
        refuses("--workers", value, &format!("error: invalid value '{value}{workers}"));
    }
    let drain = "' for '--drain <SECONDS>': expected a number of seconds from 0 to 86400\n";
    for value in ["-1", "1s", "86401"] {
        refuses("--drain", value, &format!("error: invalid value '{value}{drain}"));
    }
    refuses(
        "--log",
        "wran",
        "error: invalid value 'wran' for '--log <LEVEL>': unknown level `wran`; did you mean \
         `warn`? levels: off, error, warn, info, debug, trace\n",
    );
}

#[test]
fn endpoints_are_refused_with_what_is_expected() {
    let refuses = |protocol: &str, endpoint: &str, error: &str| {
        refuses(&[protocol, "tcp://127.0.0.1:0", endpoint], &format!("error: {error}"));
    };
    let prefix = |endpoint: &str| format!("invalid value '{endpoint}' for '<ENDPOINT>...': ");
    for (endpoint, error) in [
        ("tpc://127.0.0.1:0", "unknown kind `tpc`; did you mean `tcp`? kinds: tcp, udp, "),
        ("127.0.0.1:7", "`127.0.0.1:7` has no kind; did you mean `tcp://127.0.0.1:7`?\n"),
        ("tcp://127.0.0.1", "`127.0.0.1` has no port; expected `host:port`"),
        ("tcp://127.0.0.1:0?nodeley=on", "unknown option `nodeley`; did you mean `nodelay`?"),
    ] {
        refuses("echo", endpoint, &(prefix(endpoint) + error));
    }
    refuses("echo", "tls+tcp://127.0.0.1:0", "`tls+tcp://127.0.0.1:0`: the layer `tls` is not ");
    refuses("line-echo", "udp://127.0.0.1:0", "`udp://127.0.0.1:0` carries datagrams, but the ");
}

#[test]
fn a_port_in_use_is_named_and_no_other_endpoint_stays_open() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    let free = free_addr();
    fails(
        &["serve", "echo", &format!("tcp://{free}"), &taken],
        1,
        &format!(
            "error: cannot listen on {taken}: it is in use already; end what listens there, or \
             choose another port (0 picks a free one): Address already in use (os error 98)\n"
        ),
    );
    assert!(connect(free).is_err(), "nothing listens there any more");
}
