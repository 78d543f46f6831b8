//! What holds of every text and of every valid endpoint.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

proptest! {
    #[test]
    fn a_valid_endpoint_survives_text_and_serde(endpoint in endpoint()) {
        let text = endpoint.to_string();
        prop_assert_eq!(text.parse(), Ok(endpoint.clone()));
        prop_assert!(text.len() <= 900, "{} bytes", text.len());
        prop_assert!(!text.contains([' ', '#', '\n']), "{}", text);

        let json = serde_json::to_string(&endpoint).unwrap();
        prop_assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn any_text_in_the_letters_of_the_grammar(
        text in r"((tls|ws|TCP)\+?)?[a-z]{0,4}:?/{0,3}[\[\]a-f0-9:.@%/ ]{0,12}[?&=a-z0-9]{0,12}"
    ) {
        check(&text)?;
    }

    #[test]
    fn a_valid_text_with_a_slip(
        (text, _) in select(ACCEPTED),
        from in any::<Index>(),
        to in any::<Index>(),
        slip in "[ -~é\n]{0,2}",
    ) {
        let chars: Vec<char> = text.chars().collect();
        let (from, to) = (from.index(chars.len()), to.index(chars.len()));
        let text: String = chars[..from].iter().copied()
            .chain(slip.chars())
            .chain(chars[from.max(to)..].iter().copied())
            .collect();
        check(&text)?;
    }
}

/// What is accepted is canonical after one round, and what is suggested is accepted.
fn check(text: &str) -> Result<(), TestCaseError> {
    match text.parse::<Endpoint>() {
        Ok(endpoint) => prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint)),
        Err(err) => {
            prop_assert!(!err.to_string().contains('\n'));
            if let EndpointError::MissingKind { suggestion: Some(suggestion), .. }
            | EndpointError::MissingSlashes { suggestion: Some(suggestion), .. } = err
            {
                prop_assert!(suggestion.parse::<Endpoint>().is_ok(), "{}", suggestion);
            }
        }
    }
    Ok(())
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    use EndpointKind as Kind;
    let of = |kinds: &'static [Kind], address: BoxedStrategy<Address>| {
        (select(kinds), address)
            .prop_filter_map("invalid address", |(kind, address)| Endpoint::new(kind, address).ok())
    };
    let unix = prop_oneof![path(), name(50).prop_map(Address::Abstract)].boxed();
    let endpoint = prop_oneof![
        of(&[Kind::Tcp, Kind::Udp, Kind::Quic], inet().boxed()),
        of(&[Kind::Unix, Kind::UnixDatagram], unix),
        of(
            &[Kind::Mem, Kind::Systemd, Kind::Sim, Kind::Vsock, Kind::Custom],
            name(127).prop_map(Address::Name).boxed(),
        ),
        of(&[Kind::Fd], (0..=i32::MAX).prop_map(Address::Fd).boxed()),
        of(&[Kind::Stdio], Just(Address::None).boxed()),
    ];
    let options = (tcp_options(), udp_options(), option::of(1..=0o777_u32), size());
    let layers = proptest::sample::subsequence(LayerKind::ALL.to_vec(), 0..=3);
    (endpoint, options, layers).prop_map(|(mut endpoint, (tcp, udp, mode, capacity), layers)| {
        if !endpoint.kind().is_datagram() {
            endpoint.layers = layers;
        }
        match endpoint.options {
            Options::Tcp(_) => endpoint.with_tcp(tcp).unwrap(),
            Options::Udp(_) => endpoint.with_udp(udp).unwrap(),
            Options::Mem(_) => endpoint.with_mem(MemOptions { capacity }).unwrap(),
            Options::Unix(_) if matches!(endpoint.address(), Address::Path(_)) => {
                endpoint.with_unix(UnixOptions { mode }).unwrap()
            }
            _ => endpoint,
        }
    })
}

fn inet() -> impl Strategy<Value = Address> {
    prop_oneof![
        any::<SocketAddr>().prop_map(Address::from),
        any::<SocketAddrV6>().prop_map(|addr| Address::from(SocketAddr::V6(addr))),
        ("([a-zA-Z0-9_-]{1,20}[.]){0,10}[a-z]{1,20}[.]?", any::<u16>())
            .prop_map(|(host, port)| Address::Inet { host: Host::Name(host), port }),
    ]
}

/// Bytes that need not be UTF-8.
fn path() -> impl Strategy<Value = Address> {
    use std::os::unix::ffi::OsStringExt;

    let bytes = prop_oneof![b' '..=b'~', select(b"%?#&/".as_slice()), 0xa0..=0xff_u8];
    vec(bytes, 1..107).prop_map(|mut bytes| {
        bytes.insert(0, b'/');
        Address::Path(OsString::from_vec(bytes).into())
    })
}

fn name(max_len: usize) -> impl Strategy<Value = String> {
    vec(
        prop_oneof![prop::char::range(' ', '~'), prop::char::range('\u{a0}', '\u{7ff}')],
        1..=max_len,
    )
    .prop_map(String::from_iter)
}

fn tcp_options() -> impl Strategy<Value = TcpOptions> {
    let counts = (1..=i32::MAX as u32, option::of(1..=255_u32));
    let flags = (any::<bool>(), any::<bool>());
    let times = (option::of((1..=32_767_u64).prop_map(Duration::from_secs)), option::of(millis()));
    let sizes = (option::of(size()), option::of(size()));
    (counts, flags, times, sizes).prop_map(|(counts, flags, times, sizes)| TcpOptions {
        backlog: counts.0,
        ttl: counts.1,
        nodelay: flags.0,
        reuse_port: flags.1,
        keepalive: times.0,
        user_timeout: times.1,
        send_buffer: sizes.0,
        recv_buffer: sizes.1,
    })
}

fn udp_options() -> impl Strategy<Value = UdpOptions> {
    let sizes = (option::of(size()), option::of(size()));
    let group = option::of(prop_oneof![
        (224..=239_u8, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| IpAddr::from([a, b, c, d])),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits | 0xff << 120).into()),
    ]);
    (sizes, 1..=i32::MAX as usize, millis(), group, option::of(1..=i32::MAX as u32)).prop_map(
        |(sizes, max_sessions, session_idle, multicast, interface)| UdpOptions {
            send_buffer: sizes.0,
            recv_buffer: sizes.1,
            max_sessions,
            session_idle,
            multicast,
            interface,
        },
    )
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![1..=i32::MAX as usize, (1..1024_usize, 0..3_u32).prop_map(|(n, k)| n << (10 * k))]
}

fn millis() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..=480 * 3_600_000_u64).prop_map(Duration::from_millis),
        (1..=480_u64).prop_map(Duration::from_hours),
        (1..=9_999_u64).prop_map(Duration::from_secs),
    ]
}
