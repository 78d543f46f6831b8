//! Texts that are endpoints and texts that are not, the latter with their errors.

use std::path::Path;
use std::time::Duration;

use super::*;

mod properties;

#[test]
fn accepts() {
    for &(text, canonical) in ACCEPTED {
        let endpoint: Endpoint = text.parse().unwrap_or_else(|err| panic!("{text}: {err}"));
        let canonical = if canonical.is_empty() { text } else { canonical };
        assert_eq!(endpoint.to_string(), canonical);
        assert_eq!(canonical.parse(), Ok(endpoint));
    }
}

#[test]
fn rejects() {
    let rows: Vec<&str> = REJECTED.trim().lines().collect();
    for row in rows.chunks(2) {
        assert_eq!(error(row[0]), row[1].trim());
    }
    assert!(error("").starts_with("the endpoint is empty; expected `kind://address`"));
    assert!(error(" tcp://h:1").starts_with("unknown kind ` tcp`; did you mean `tcp`?"));
    assert!(error(" ").starts_with("` ` has no kind; expected"));
    let control = "control character '\\n' at byte 9; expected printable text";
    assert_eq!(error("tcp://h:1\n"), control);
}

#[test]
fn lengths_are_bounded() {
    let too_long = |part, len, max| {
        Err(format!("the {part} is too long: {len} bytes, expected at most {max}"))
    };
    let check = |text: String| text.parse::<Endpoint>().map(drop).map_err(|err| err.to_string());
    assert_eq!(check(format!("unix:///{}", "x".repeat(106))), Ok(()));
    assert_eq!(check(format!("unix:///{}", "x".repeat(107))), too_long("path", 108, 107));
    assert_eq!(check(format!("unix:///{}", "%C3%BC".repeat(53))), Ok(()));
    assert_eq!(check(format!("unix://@{}", "x".repeat(107))), Ok(()));
    assert_eq!(check(format!("unix://@{}", "x".repeat(108))), too_long("name", 108, 107));
    assert_eq!(check(format!("mem://{}", "x".repeat(255))), Ok(()));
    assert_eq!(check(format!("mem://{}", "x".repeat(256))), too_long("name", 256, 255));
    assert_eq!(check(format!("tcp://{}x:1", "a.".repeat(126))), Ok(()));
    assert_eq!(check(format!("tcp://{}x.:1", "a.".repeat(126))), Ok(()));
    assert_eq!(check(format!("tcp://{}xx:1", "a.".repeat(126))), too_long("host", 254, 253));
    assert_eq!(check(format!("tcp://{}:1", "x".repeat(63))), Ok(()));
    assert!(check(format!("tcp://{}:1", "x".repeat(64))).is_err());
    assert_eq!(check(format!("tcp://{}h:1", "x".repeat(1015))), too_long("host", 1016, 253));
    assert_eq!(check(format!("tcp://{}h:1", "x".repeat(1016))), too_long("endpoint", 1025, 1024));
}

#[test]
fn options_have_the_defaults_they_document() {
    let tcp = *parse("tcp://h:1").tcp().unwrap();
    assert_eq!((tcp.backlog, tcp.nodelay, tcp.keepalive), (1024, true, None));
    let udp = *parse("udp://h:1").udp().unwrap();
    assert_eq!((udp.max_sessions, udp.session_idle), (10_000, Duration::from_secs(60)));
    assert_eq!(parse("unixgram:///x").unix().unwrap().mode, None);
    assert_eq!(parse("mem://n").mem().unwrap().capacity, 65_536);
    assert_eq!(parse("unix:///x?mode=0660").unix().unwrap().mode, Some(0o660));
    assert_eq!(parse("mem://n").tcp(), None);
}

#[test]
fn typed_options_are_checked_like_text() {
    let tcp = |change: fn(&mut TcpOptions)| {
        let mut options = TcpOptions::default();
        change(&mut options);
        parse("tcp://h:1").with_tcp(options).map(|endpoint| endpoint.to_string())
    };
    let value = |change| match tcp(change) {
        Err(EndpointError::InvalidValue { option, found, .. }) => (option, found),
        other => panic!("{other:?}"),
    };
    assert_eq!(tcp(|o| o.nodelay = false).unwrap(), "tcp://h:1?nodelay=false");
    assert_eq!(value(|o| o.ttl = Some(0)), ("ttl", "0".to_owned()));
    assert_eq!(value(|o| o.backlog = u32::MAX), ("backlog", "4294967295".to_owned()));
    assert_eq!(value(|o| o.send_buffer = Some(0)), ("send_buffer", "0".to_owned()));
    let timeout = |o: &mut TcpOptions| o.user_timeout = Some(Duration::from_micros(1500));
    assert_eq!(value(timeout), ("user_timeout", "1.5ms".to_owned()));
    assert_eq!(value(|o| o.keepalive = Some(Duration::ZERO)), ("keepalive", "0ns".to_owned()));
    assert_eq!(value(|o| o.keepalive = Some(Duration::MAX)).0, "keepalive");

    let err = parse("tcp://h:1").with_mem(MemOptions::default()).unwrap_err();
    assert_eq!(err.to_string(), "options of `mem` do not fit an endpoint of kind `tcp`");
    assert!(parse("unixgram:///x").with_unix(UnixOptions { mode: Some(0o600) }).is_ok());
    assert!(parse("unix://@x").with_unix(UnixOptions { mode: Some(0o600) }).is_err());
}

#[test]
fn a_bound_endpoint_keeps_its_options() {
    let bound = parse("tls+tcp://localhost:0?ttl=9");
    let at = |addr: &str| bound.with_socket_addr(addr.parse().unwrap()).to_string();
    assert_eq!(at("127.0.0.1:81"), "tls+tcp://127.0.0.1:81?ttl=9");
    assert_eq!(at("[fe80::1%3]:81"), "tls+tcp://[fe80::1%3]:81?ttl=9");
    let mem = parse("mem://n");
    assert_eq!(mem.with_socket_addr("127.0.0.1:81".parse().unwrap()), mem);
}

#[test]
fn an_address_knows_its_socket_address() {
    let addr = |text| parse(text).address().socket_addr().map(|addr| addr.to_string());
    assert_eq!(addr("tcp://[fe80::1%2]:5").as_deref(), Some("[fe80::1%2]:5"));
    assert_eq!(addr("udp://0.0.0.0:0").as_deref(), Some("0.0.0.0:0"));
    assert_eq!(addr("tcp://localhost:5"), None);
}

#[test]
fn constructors_take_any_character_and_check_the_rest() {
    assert_eq!(Endpoint::new_tcp("::1", 5).unwrap(), parse("tcp://[::1]:5"));
    assert_eq!(Endpoint::new_udp("[::1]", 5).unwrap(), parse("udp://[::1]:5"));
    assert_eq!(Endpoint::new_unix(Path::new("/a?b")).unwrap().to_string(), "unix:///a%3Fb");
    assert_eq!(Endpoint::new_mem("a?b").unwrap().to_string(), "mem://a%3Fb");
    assert_eq!(Endpoint::new_custom("mine").unwrap(), parse("custom://mine"));
    assert!(Endpoint::new_mem("").is_err());
    assert!(Endpoint::new_mem("a\nb").is_err());
    assert!(Endpoint::new_tcp("a:b", 5).is_err());
    assert!(Endpoint::new(EndpointKind::Fd, Address::Fd(-1)).is_err());
    assert!(Endpoint::new(EndpointKind::Tcp, Address::None).is_err());
    // A host in the wrong variant is set right, so that equal texts mean equal endpoints.
    let host = Host::Name("FE80::1%2".to_owned());
    let endpoint = Endpoint::new(EndpointKind::Tcp, Address::Inet { host, port: 5 });
    assert_eq!(endpoint.unwrap(), parse("tcp://[fe80::1%2]:5"));
}

fn parse(text: &str) -> Endpoint {
    text.parse().unwrap()
}

#[track_caller]
fn error(text: &str) -> String {
    text.parse::<Endpoint>().expect_err(text).to_string()
}

/// Texts, and their canonical form where it is another one.
const ACCEPTED: &[(&str, &str)] = &[
    ("tcp://127.0.0.1:7007", ""),
    ("TCP://LocalHost:0", "tcp://localhost:0"),
    ("tcp://example.org.:080", "tcp://example.org.:80"),
    ("tcp://my_host-1:65535", ""),
    ("tcp://3d:1", ""),
    ("tcp://[::]:1", ""),
    ("tcp://[2001:DB8:0::1]:1", "tcp://[2001:db8::1]:1"),
    ("tcp://[::ffff:10.0.0.1]:1", ""),
    ("tcp://[fe80::1%2]:1", ""),
    ("tcp://[fe80::1%0]:1", "tcp://[fe80::1]:1"),
    ("tcp://h:1?nodelay=on&backlog=1024&reuse_port=off", "tcp://h:1"),
    ("tcp://h:1?nodelay=off&backlog=7", "tcp://h:1?backlog=7&nodelay=false"),
    ("tcp://h:1?keepalive=7200s&ttl=64", "tcp://h:1?keepalive=2h&ttl=64"),
    ("tcp://h:1?keepalive=90s", ""),
    (
        "tcp://h:1?send_buffer=65536&recv_buffer=3MiB",
        "tcp://h:1?send_buffer=64KiB&recv_buffer=3MiB",
    ),
    ("tcp://h:1?reuse_port=true&send_buffer=1000&user_timeout=1500ms", ""),
    ("tcp://h:1?ttl=255", ""),
    ("udp://[::1]:5353?multicast=FF02::fb", "udp://[::1]:5353?multicast=ff02::fb"),
    ("udp://h:1?max_sessions=5&session_idle=1m", "udp://h:1?max_sessions=5"),
    ("unix:///run/x.sock", ""),
    ("unix:///run/x.sock?mode=0660", "unix:///run/x.sock?mode=660"),
    ("unix:///a b#c&d%3Fe%25", "unix:///a%20b%23c%26d%3Fe%25"),
    ("unix:///grün/%c3%bc/%ff", "unix:///grün/ü/%FF"),
    ("unix://@abstract", ""),
    ("unix:///@path", ""),
    ("unixgram:///run/x.sock?mode=777", ""),
    ("mem://name", ""),
    ("mem://Name/with:any@thing?capacity=65536", "mem://Name/with:any@thing"),
    ("mem://n?capacity=1GiB", ""),
    ("stdio:", ""),
    ("stdio://", "stdio:"),
    ("tls+stdio:", ""),
    ("fd://3", ""),
    ("systemd://web", ""),
    ("sim://10.0.0.1:80", ""),
    ("custom://mine", ""),
    ("vsock://2:1024", ""),
    ("quic://h:1", ""),
    ("tls+tcp://h:1", ""),
    ("TLS+Proxy+tcp://h:1?ttl=1", "tls+proxy+tcp://h:1?ttl=1"),
    ("ws://h:1", "ws+tcp://h:1"),
    ("wss://h:1", "ws+tls+tcp://h:1"),
    ("ws+tls+unix:///x", ""),
];

/// A text in one line, its error in the next.
const REJECTED: &str = r"
127.0.0.1:7007
  `127.0.0.1:7007` has no kind; did you mean `tcp://127.0.0.1:7007`?
localhost:80?nodelay=off
  `localhost:80?nodelay=off` has no kind; did you mean `tcp://localhost:80?nodelay=off`?
[::1]:80
  `[::1]:80` has no kind; did you mean `tcp://[::1]:80`?
/run/x.sock
  `/run/x.sock` has no kind; did you mean `unix:///run/x.sock`?
@name
  `@name` has no kind; did you mean `unix://@name`?
localhost
  `localhost` has no kind; expected `kind://address`
stdio
  `stdio` has no kind; did you mean `stdio:`?
tcp
  `tcp` has no kind; expected `kind://address`
tcp:127.0.0.1:80
  `tcp:127.0.0.1:80` lacks the `//` after its kind; did you mean `tcp://127.0.0.1:80`?
tcp:/h:1
  `tcp:/h:1` lacks the `//` after its kind; did you mean `tcp://h:1`?
unix:/run/x
  `unix:/run/x` lacks the `//` after its kind; did you mean `unix:///run/x`?
tcp:80
  `tcp:80` lacks the `//` after its kind; expected `kind://address`
tpc://h:1
  unknown kind `tpc`; did you mean `tcp`? kinds: tcp, udp, unix, unixgram, mem, stdio, fd, systemd, sim, quic, vsock, custom
http://h
  unknown kind `http`; kinds: tcp, udp, unix, unixgram, mem, stdio, fd, systemd, sim, quic, vsock, custom
://h:1
  unknown kind ``; kinds: tcp, udp, unix, unixgram, mem, stdio, fd, systemd, sim, quic, vsock, custom
+tcp://h:1
  unknown layer ``; layers: ws, tls, proxy
tls://h:1
  unknown kind `tls`; did you mean `tls+tcp`? kinds: tcp, udp, unix, unixgram, mem, stdio, fd, systemd, sim, quic, vsock, custom
ssl+tcp://h:1
  unknown layer `ssl`; layers: ws, tls, proxy
tsl+tcp://h:1
  unknown layer `tsl`; did you mean `tls`? layers: ws, tls, proxy
tls+ws://h:1
  layers cannot be stacked as `tls+ws+tcp`; expected, from the protocol down, `ws+tls+tcp`
tls+tls+tcp://h:1
  layers cannot be stacked as `tls+tls+tcp`; expected, from the protocol down, `tls+tcp`
tls+udp://h:1
  layer `tls` needs a stream, and `udp` carries datagrams
proxy+unixgram:///x
  layer `proxy` needs a stream, and `unixgram` carries datagrams
tcp://
  invalid address ``; expected `host:port`
tcp://h
  `h` has no port; expected `host:port`, where port 0 is any free one
tcp://h:
  `h:` has no port; expected `host:port`, where port 0 is any free one
tcp://h:65536
  invalid port `65536`; expected a number from 0 to 65535
tcp://h:80/
  invalid port `80/`; expected a number from 0 to 65535
tcp://h:+1
  invalid port `+1`; expected a number from 0 to 65535
tcp://:80
  invalid host ``; expected a name or an address, such as `0.0.0.0` or `[::]` for every interface
tcp://*:80
  invalid host `*`; expected a name or an address, such as `0.0.0.0` or `[::]` for every interface
tcp://::1:80
  invalid address `::1:80`; expected brackets around an IPv6 address, as in `[::1]:7007`
tcp://::1
  invalid address `::1`; expected brackets around an IPv6 address, as in `[::1]:7007`
tcp://[::1:80
  invalid host `[::1:80`; expected a `]` at its end, as in `[::1]`
tcp://[::1]x:80
  invalid host `[::1]x`; expected a `]` at its end, as in `[::1]`
tcp://[::g]:80
  invalid host `[::g]`; expected an IPv6 address, as in `[::1]`
tcp://[fe80::1%eth0]:80
  invalid host `[fe80::1%eth0]`; expected the interface's number after `%`, not its name, as in `[fe80::1%2]`
tcp://[fe80::1%4294967296]:80
  invalid host `[fe80::1%4294967296]`; expected the interface's number after `%`, not its name, as in `[fe80::1%2]`
tcp://user@h:80
  invalid host `user@h`; expected a name of letters, digits, `-`, `_` and `.`, or an address
tcp://a..b:80
  invalid host `a..b`; expected 1 to 63 characters between dots
tcp://.:80
  invalid host `.`; expected a name or an address, such as `0.0.0.0` or `[::]` for every interface
tcp://grün:80
  invalid host `grün`; expected ASCII, which for an international name is its `xn--` form
tcp://256.1.1.1:80
  invalid host `256.1.1.1`; expected four numbers from 0 to 255 if it is an IPv4 address
tcp://127.1:80
  invalid host `127.1`; expected four numbers from 0 to 255 if it is an IPv4 address
tcp://0x7f000001:80
  invalid host `0x7f000001`; expected four numbers from 0 to 255 if it is an IPv4 address
unix://
  invalid address ``; expected an absolute path, or `@` and an abstract name
unix://run/x.sock
  invalid path `run/x.sock`; expected the absolute path of a socket, as in `unix:///run/x.sock`
unix:///run/
  invalid path `/run/`; expected the absolute path of a socket, as in `unix:///run/x.sock`
unix:///a%0Ab
  invalid path `/a%0Ab`; expected no control characters
unix:///a%00
  invalid path `/a%00`; expected no control characters
unix:///a%2
  invalid path `/a%2`; expected two hex digits after each `%`, where `%25` is a `%` itself
unix://@
  invalid name ``; expected at least one character
unix://@a%FF
  invalid name `a%FF`; expected UTF-8
unix://@x?mode=660
  invalid option `mode`; expected a path: an abstract name has no mode
unix:///x?mode=0
  invalid value `0` of option `mode`; expected octal permissions from 1 to 777, such as `660`
unix:///x?mode=1777
  invalid value `1777` of option `mode`; expected octal permissions from 1 to 777, such as `660`
mem://
  invalid address ``; expected a name
mem://a%1
  invalid name `a%1`; expected two hex digits after each `%`, where `%25` is a `%` itself
stdio://x
  invalid address `x`; expected nothing after `stdio:`
stdio:?nodelay=on
  unknown option `nodelay`; it belongs to tcp; stdio has no options
stdio:?x=1
  unknown option `x`; stdio has no options
fd://x
  invalid address `x`; expected the number of a descriptor
fd://-1
  invalid address `-1`; expected the number of a descriptor
fd://2147483648
  invalid address `2147483648`; expected the number of a descriptor
tcp://h:1?
  invalid option ``; expected `name=value`
tcp://h:1?nodelay
  invalid option `nodelay`; expected `name=value`
tcp://h:1?=1
  unknown option ``; options of tcp: backlog, nodelay, keepalive, reuse_port, ttl, send_buffer, recv_buffer, user_timeout
tcp://h:1?ttl=1&ttl=1
  option `ttl` is given twice; expected once
tcp://h:1?nodeley=on
  unknown option `nodeley`; did you mean `nodelay`? options of tcp: backlog, nodelay, keepalive, reuse_port, ttl, send_buffer, recv_buffer, user_timeout
tcp://h:1?mode=660
  unknown option `mode`; it belongs to unix, unixgram; options of tcp: backlog, nodelay, keepalive, reuse_port, ttl, send_buffer, recv_buffer, user_timeout
tcp://h:1?max_sessions=1
  unknown option `max_sessions`; it belongs to udp; options of tcp: backlog, nodelay, keepalive, reuse_port, ttl, send_buffer, recv_buffer, user_timeout
udp://h:1?colour=red
  unknown option `colour`; options of udp: recv_buffer, send_buffer, max_sessions, session_idle, multicast, interface
tcp://h:1?nodelay=yes
  invalid value `yes` of option `nodelay`; expected `true` or `false`
tcp://h:1?backlog=0
  invalid value `0` of option `backlog`; expected a whole number from 1 to 2147483647
tcp://h:1?backlog=2147483648
  invalid value `2147483648` of option `backlog`; expected a whole number from 1 to 2147483647
tcp://h:1?ttl=0
  invalid value `0` of option `ttl`; expected a whole number from 1 to 255
tcp://h:1?ttl=256
  invalid value `256` of option `ttl`; expected a whole number from 1 to 255
tcp://h:1?keepalive=0s
  invalid value `0s` of option `keepalive`; expected whole seconds from 1s to 32767s, such as `30s`, `5m` or `1h`
tcp://h:1?keepalive=1500ms
  invalid value `1500ms` of option `keepalive`; expected whole seconds from 1s to 32767s, such as `30s`, `5m` or `1h`
tcp://h:1?keepalive=32768s
  invalid value `32768s` of option `keepalive`; expected whole seconds from 1s to 32767s, such as `30s`, `5m` or `1h`
tcp://h:1?keepalive=30
  invalid value `30` of option `keepalive`; expected whole seconds from 1s to 32767s, such as `30s`, `5m` or `1h`
tcp://h:1?keepalive=99999999999999999h
  invalid value `99999999999999999h` of option `keepalive`; expected whole seconds from 1s to 32767s, such as `30s`, `5m` or `1h`
tcp://h:1?user_timeout=481h
  invalid value `481h` of option `user_timeout`; expected a duration from 1ms to 480h, such as `500ms`, `30s`, `5m` or `1h`
tcp://h:1?send_buffer=0
  invalid value `0` of option `send_buffer`; expected bytes from 1 to 2147483647, such as `65536`, `64KiB` or `1MiB`
tcp://h:1?send_buffer=64kib
  invalid value `64kib` of option `send_buffer`; expected bytes from 1 to 2147483647, such as `65536`, `64KiB` or `1MiB`
udp://h:1?multicast=10.0.0.1
  invalid value `10.0.0.1` of option `multicast`; expected a multicast address, such as `239.1.2.3` or `ff02::1:3`
udp://h:1?session_idle=0ms
  invalid value `0ms` of option `session_idle`; expected a duration from 1ms to 480h, such as `500ms`, `30s`, `5m` or `1h`
mem://n?capacity=0
  invalid value `0` of option `capacity`; expected bytes from 1 to 2147483647, such as `65536`, `64KiB` or `1MiB`
";
