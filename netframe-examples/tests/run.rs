//! Runs each example as its header says, and looks at what it prints. On Linux, for its signals.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::yield_now;
use tokio::time::timeout;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

const ANY_PORT: &str = "tcp://127.0.0.1:0";

#[tokio::test]
async fn shout_answers_in_upper_case() {
    let mut shout = Example::run("shout", &[ANY_PORT]);
    let addr = shout.listening().await;
    assert_eq!(ask(addr, b"Hello, world!\n").await, "HELLO, WORLD!\n");
    shout.interrupt().await;
    assert_eq!(shout.rest().await, "");
}

#[tokio::test]
async fn hello_client_prints_what_hello_server_says() {
    let mut server = Example::run("hello_server", &[ANY_PORT]);
    let addr = server.listening().await;
    let client = Example::run("hello_client", &[&format!("tcp://{addr}")]);
    assert_eq!(
        client.rest().await,
        "Hello from the server!\neof by peer, 22 bytes in, 22 bytes out\n"
    );
    server.interrupt().await;
    let report = server.rest().await;
    assert!(
        report.starts_with("stopped: ") && report.ends_with(" drained, 0 aborted\n"),
        "{report}"
    );
}

#[tokio::test]
async fn reconnecting_client_survives_restarts_of_its_server() {
    let mut server = Example::run("shout", &[ANY_PORT]);
    let endpoint = format!("tcp://{}", server.listening().await);
    let mut client = Example::run("reconnecting_client", &[&endpoint, "1"]);
    for _ in 0..3 {
        client.until("connected").await;
        client.until("TICK ").await;
        server.interrupt().await;
        server.rest().await;
        client.until("lost: ").await;
        server = Example::run("shout", &[&endpoint]);
        server.listening().await;
    }
    client.until("TICK ").await;
    client.interrupt().await;
    let rest = client.rest().await;
    assert!(rest.lines().last().unwrap().starts_with("lost: shutdown by system"), "{rest}");
    server.interrupt().await;
    server.rest().await;
}

#[tokio::test]
async fn pooled_has_so_many_connections_and_ends() {
    assert_eq!(
        Example::run("pooled", &[]).rest().await,
        "100 answers over 4 connections\nno answer to `quiet`: deadline has elapsed\n5 were opened \
         in all\nclosed: 4 drained, 0 aborted\n"
    );
}

#[tokio::test]
async fn await_database_answers_in_order() {
    let mut lookup = Example::run("await_database", &[ANY_PORT]);
    let addr = lookup.listening().await;
    assert_eq!(ask(addr, b"apple\nplum\npear\n").await, "apple: 3\nplum: none\npear: 7\n");

    // Answers do not wait for the end of the questions.
    let mut peer = TcpStream::connect(addr).await.unwrap();
    peer.write_all(b"pear\nplum\n").await.unwrap();
    let mut answers = [0; "pear: 7\nplum: none\n".len()];
    timeout(PATIENCE, peer.read_exact(&mut answers)).await.unwrap().unwrap();
    assert_eq!(answers, *b"pear: 7\nplum: none\n");

    lookup.interrupt().await;
    let asked =
        ["apple", "plum", "pear", "pear", "plum"].map(|fruit| format!("asked for {fruit}\n"));
    assert_eq!(lookup.rest().await, asked.concat());
}

#[tokio::test]
async fn key_value_store_keeps_what_one_connection_sets_for_the_next() {
    let mut store = Example::run("key_value_store", &[ANY_PORT]);
    let addr = store.listening().await;
    assert_eq!(
        ask(addr, b"set sky light blue\nget sky\ndel sky\nget sky\n").await,
        "stored\nvalue light blue\ndeleted\nnone\n"
    );
    assert_eq!(
        ask(addr, b"get\nset sea green\n").await,
        "error: expected `set KEY VALUE`, `get KEY` or `del KEY`\nstored\n"
    );
    assert_eq!(ask(addr, b"get sea\n").await, "value green\n");
    store.interrupt().await;
    assert_eq!(store.rest().await, "");
}

#[tokio::test]
async fn framed_answers_its_client_and_ends() {
    let mut framed = Example::run("framed", &[ANY_PORT]);
    framed.listening().await;
    assert_eq!(framed.rest().await, "2+40 = 42\n7+x: not two numbers\n");
}

#[tokio::test]
async fn redis_codec_speaks_the_protocol_of_a_crate() {
    let mut redis = Example::run("redis_codec", &[ANY_PORT]);
    let addr = redis.listening().await;
    let set = b"*3\r\n$3\r\nset\r\n$3\r\nfig\r\n$1\r\n7\r\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(ask(addr, set).await, "+OK\r\n+PONG\r\n");
    let get = b"*2\r\n$3\r\nGET\r\n$3\r\nfig\r\n*2\r\n$3\r\nGET\r\n$1\r\nx\r\n*1\r\n$1\r\nx\r\n";
    let answer = "$1\r\n7\r\n$-1\r\n-ERR unknown command; there are PING, GET and SET\r\n";
    assert_eq!(ask(addr, get).await, answer);
    assert_eq!(ask(addr, b"?").await, "", "the crate's error ends the connection");
    redis.interrupt().await;
    assert_eq!(redis.rest().await, "");
}

#[tokio::test]
async fn requests_are_answered_beside_one_that_is_slow() {
    let mut shop = Example::run("requests", &[ANY_PORT]);
    shop.listening().await;
    let answers = "figs: Ok(Price { cents: 120 })\nkiwis: Ok(Unknown)\nno answer within 100ms\n";
    assert_eq!(shop.rest().await, answers);
}

#[tokio::test]
async fn expect_device_logs_in_asks_and_ends() {
    for endpoint in ["mem://device", ANY_PORT] {
        let session = Example::run("expect_device", &[endpoint]);
        assert_eq!(session.rest().await, "as eve: denied\nas ada: release 7.2, up 17 days\n");
    }
}

#[tokio::test]
async fn straight_line_plays_until_the_number_is_guessed() {
    let mut game = Example::run("straight_line", &[ANY_PORT]);
    let addr = game.listening().await;
    let guessing = timeout(PATIENCE, async {
        let mut stream = BufReader::new(TcpStream::connect(addr).await.unwrap());
        stream.write_all(b"Ada\n").await.unwrap();
        let (mut low, mut high, mut count) = (1, 100, 0);
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, "name? hello Ada, guess a number from 1 to 100\n");
        loop {
            let guess = (low + high) / 2;
            stream.write_all(format!("{guess}\n").as_bytes()).await.unwrap();
            count += 1;
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            match &*line {
                "guess? less\n" => high = guess - 1,
                "guess? more\n" => low = guess + 1,
                _ => break,
            }
        }
        assert_eq!(line, format!("guess? right, and it took {count} guesses\n"));
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the game is over");
    });
    guessing.await.unwrap();
    game.interrupt().await;
    assert_eq!(game.rest().await, "");
}

#[tokio::test]
async fn mailbox_lets_a_slow_peer_miss_what_another_is_told() {
    let mut example = Example::run("mailbox", &[ANY_PORT]);
    let addr = example.listening().await;
    let connect = async || BufReader::new(TcpStream::connect(addr).await.unwrap()).lines();
    let publishing = timeout(PATIENCE, async {
        let (mut quick, mut slow) = (connect().await, connect().await);
        let news = "news".repeat(10_000);
        let mut number = 1;
        while example.say(&news).await != "told 2, missed by 0" {
            number += 1; // they are not both there
        }
        loop {
            read_to(&mut quick, number).await;
            number += 1;
            match &*example.say(&news).await {
                "told 2, missed by 0" => {}
                "told 1, missed by 1" => break,
                other => panic!("{other}"),
            }
        }
        read_to(&mut quick, number).await;
        read_to(&mut slow, number - 1).await;
        number += 1;
        assert_eq!(example.say("last").await, "told 2, missed by 0");
        for lines in [&mut quick, &mut slow] {
            assert_eq!(lines.next_line().await.unwrap().unwrap(), format!("{number} last"));
        }
    });
    publishing.await.unwrap();
    example.interrupt().await;
    assert_eq!(example.rest().await, "");
}

/// Reads up to the line that begins with this number.
async fn read_to(lines: &mut Lines<BufReader<TcpStream>>, number: u32) {
    let start = format!("{number} ");
    while !lines.next_line().await.unwrap().unwrap().starts_with(&start) {}
}

#[tokio::test]
async fn chat_shows_to_each_what_the_others_say() {
    let mut chat = Example::run("chat", &[ANY_PORT]);
    let addr = chat.listening().await;
    let talking = timeout(PATIENCE, async {
        let mut alice = TcpStream::connect(addr).await.unwrap();
        expect(&mut alice, "your name?\n").await;
        alice.write_all(b"alice\n").await.unwrap();
        expect(&mut alice, "* alice is here\n").await;
        let mut bob = TcpStream::connect(addr).await.unwrap();
        bob.write_all(b"bob\r\nhello\x1b[2J\r\n").await.unwrap();
        expect(&mut bob, "your name?\n* bob is here\n").await;
        expect(&mut alice, "* bob is here\nbob: hello[2J\n").await;
        alice.write_all(b"hi\n").await.unwrap();
        alice.shutdown().await.unwrap();
        expect(&mut bob, "alice: hi\n* alice is gone\n").await;
    });
    talking.await.unwrap();
    chat.interrupt().await;
    assert_eq!(chat.rest().await, "");
}

/// Reads exactly this.
async fn expect(stream: &mut TcpStream, text: &str) {
    let mut seen = vec![0; text.len()];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&seen), text);
}

#[tokio::test]
async fn port_forwarder_passes_bytes_and_fins_on_both_ways() {
    let (mut forwarder, target) = forward_to_us().await;
    let addr = forwarder.listening().await;
    let sent = (0..=250).collect::<Vec<u8>>().repeat((64 << 20) / 251);
    let client = async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    };
    let server = async {
        let (mut stream, _) = target.accept().await.unwrap();
        let mut question = Vec::new();
        stream.read_to_end(&mut question).await.unwrap();
        stream.write_all(&question).await.unwrap();
        question
    };
    let both = timeout(PATIENCE, async { tokio::join!(client, server) });
    let (answer, question) = both.await.unwrap();
    assert!(question == sent);
    assert!(answer == sent);
    forwarder.interrupt().await;
    assert_eq!(forwarder.rest().await, "0 drained, 0 aborted\n");
}

#[tokio::test]
async fn port_forwarder_reads_no_faster_than_the_other_side() {
    const LEN: usize = 64 << 20;
    let (mut forwarder, target) = forward_to_us().await;
    let addr = forwarder.listening().await;
    let slow = TcpSocket::new_v4().unwrap();
    slow.set_recv_buffer_size(16 * 1024).unwrap();
    let client = async {
        let mut stream = slow.connect(addr).await.unwrap();
        let (mut len, mut some) = (0, [0; 4096]);
        loop {
            match stream.read(&mut some).await.unwrap() {
                0 => return len,
                more => len += more,
            }
            yield_now().await; // the server writes as much as it can meanwhile
        }
    };
    let server = async {
        let (mut stream, _) = target.accept().await.unwrap();
        stream.write_all(&vec![0; LEN]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "it ends with the client");
    };
    let both = timeout(PATIENCE, async { tokio::join!(client, server) });
    assert_eq!(both.await.unwrap().0, LEN);
    let peak_kb = forwarder.peak_memory_kb();
    assert!(peak_kb < 16 * 1024, "{peak_kb} kB");
    forwarder.interrupt().await;
    assert_eq!(forwarder.rest().await, "0 drained, 0 aborted\n");
}

#[tokio::test]
async fn port_forwarder_survives_a_target_that_cannot_be_reached() {
    let nobody = TcpSocket::new_v4().unwrap(); // bound, but it does not listen
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("tcp://{}", nobody.local_addr().unwrap());
    let mut forwarder = Example::run("port_forwarder", &[ANY_PORT, &endpoint]);
    let addr = forwarder.listening().await;
    assert_eq!(ask(addr, b"is anybody there?").await, "");
    forwarder.interrupt().await;
    assert_eq!(forwarder.rest().await, "0 drained, 0 aborted\n");
}

#[tokio::test]
async fn port_forwarder_forwards_datagrams_too() {
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("udp://{}", target.local_addr().unwrap());
    let mut forwarder = Example::run("port_forwarder", &["udp://127.0.0.1:0", &endpoint]);
    let line = forwarder.stdout.next_line().await.unwrap().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.connect(line.strip_prefix("listening udp://").expect(&line)).await.unwrap();
    let talking = timeout(PATIENCE, async {
        let mut datagram = [0; 100];
        for question in ["one", "another"] {
            client.send(question.as_bytes()).await.unwrap();
            let (len, from) = target.recv_from(&mut datagram).await.unwrap();
            assert_eq!(datagram[..len], *question.as_bytes());
            target.send_to(b"answer", from).await.unwrap();
            let len = client.recv(&mut datagram).await.unwrap();
            assert_eq!(datagram[..len], *b"answer");
        }
    });
    talking.await.unwrap();
    forwarder.interrupt().await;
    assert_eq!(forwarder.rest().await, "1 drained, 0 aborted\n");
}

/// A forwarder, and the target that it connects to.
async fn forward_to_us() -> (Example, TcpListener) {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", target.local_addr().unwrap());
    (Example::run("port_forwarder", &[ANY_PORT, &endpoint]), target)
}

#[tokio::test]
async fn shoutd_serves_its_protocol_by_name() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/shoutd.toml");
    let check = Example::run("shoutd", &["check", file]).rest().await;
    assert!(check.contains("option times = 2") && check.contains("max_connections"), "{check}");
    let settings = ["serve", "shout", ANY_PORT, "--set", "times=2"];
    let mut shoutd = Example::run("shoutd", &settings);
    let line = shoutd.stdout.next_line().await.unwrap().unwrap();
    let addr = line.strip_prefix("listening shout tcp://").expect(&line).parse().unwrap();
    assert_eq!(ask(addr, b"hello\n").await, "HELLO!!\n");
    shoutd.interrupt().await;
    assert_eq!(shoutd.rest().await, "");
}

#[tokio::test]
async fn any_transport_answers_on_each() {
    let path = env::temp_dir().join(format!("netframe-any-{}.sock", std::process::id()));
    let unix = format!("unix://{}", path.display());
    let mut example = Example::run("any_transport", &[ANY_PORT, "udp://127.0.0.1:0", &unix]);
    let addr = example.listening().await;
    assert_eq!(ask(addr, b"1234").await, "tcp 4\n");
    let line = example.stdout.next_line().await.unwrap().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(line.strip_prefix("listening udp://").expect(&line)).await.unwrap();
    for _ in 0..2 {
        socket.send(b"x\n").await.unwrap();
        let mut answer = [0; 100];
        let len = timeout(PATIENCE, socket.recv(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer[..len], *b"udp 2\n");
    }
    assert_eq!(example.stdout.next_line().await.unwrap().unwrap(), format!("listening {unix}"));
    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "unix 1\n");
    example.interrupt().await;
    example.rest().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn http_hello_greets_and_counts() {
    let mut hello = Example::run("http_hello", &[ANY_PORT]);
    let addr = hello.listening().await;
    let bodies = async |requests: &str| {
        let answers = ask(addr, requests.replace('\n', "\r\n").as_bytes()).await;
        let bodies = answers.split("HTTP/1.1 ").skip(1).map(|answer| {
            let (head, body) = answer.split_once("\r\n\r\n").expect(answer);
            format!("{} {body}", &head[..3])
        });
        bodies.collect::<Vec<_>>()
    };
    let both =
        "GET /hello HTTP/1.1\nHost: a\n\nPOST /count HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody";
    assert_eq!(bodies(both).await, ["200 hello\n", "200 4 bytes\n"]);
    let chunked =
        "POST /count HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\nabc\n2\nde\n0\n\n";
    assert_eq!(bodies(chunked).await, ["200 5 bytes\n"]);
    let missing = "GET / HTTP/1.1\nHost: a\n\n";
    assert_eq!(bodies(missing).await, ["404 there are GET /hello and POST /count\n"]);
    hello.interrupt().await;
    assert_eq!(hello.rest().await, "");
}

#[tokio::test]
async fn axum_app_answers_over_tcp_and_a_unix_socket() {
    let path = env::temp_dir().join(format!("netframe-axum-{}.sock", std::process::id()));
    let unix = format!("unix://{}", path.display());
    let mut app = Example::run("axum_app", &[ANY_PORT, &unix]);
    let addr = app.listening().await;
    app.until(&format!("listening {unix}")).await;
    let question = b"GET /user/Ada HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = ask(addr, question).await;
    assert!(answer.ends_with("\r\n\r\nhello Ada, over tcp\n"), "{answer}");
    let sum = "POST /sum HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n\
               {\"numbers\":[1,2,3.5]}";
    let answer = ask(addr, sum.as_bytes()).await;
    assert!(answer.ends_with("\r\n\r\n6.5"), "{answer}");

    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream.write_all(question).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("\r\n\r\nhello Ada, over unix\n"), "{answer}");
    drop(stream);
    app.interrupt().await;
    app.rest().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn http2_websocket_speaks_both() {
    let mut example = Example::run("http2_websocket", &[ANY_PORT]);
    let addr = example.listening().await;
    let talking = timeout(PATIENCE, async {
        // RFC 6455, section 1.3, has this key and what it is accepted with.
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let open = "GET /shout HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(open.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        // A text of five bytes, masked with zeros; what comes back is not masked.
        socket.write_all(b"\x81\x85\0\0\0\0hello").await.unwrap();
        let mut answer = [0; 7];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"\x81\x05HELLO");
        socket.write_all(b"\x88\x80\0\0\0\0").await.unwrap();
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"\x88\x00", "it closes, too");

        // RFC 9113: the preface, settings, and a HEADERS frame whose fields RFC 7541 has numbers for.
        let mut socket = TcpStream::connect(addr).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        let get = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
        socket.write_all(&[&preface[..], settings, get].concat()).await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"HTTP/2.0\n") {
            assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0, "{seen:?}");
        }
    });
    talking.await.unwrap();
    example.interrupt().await;
    assert_eq!(example.rest().await, "");
}

#[tokio::test]
async fn own_transport_moves_letters_on_the_wire_and_only_there() {
    let mut server = Example::run("own_transport", &["serve", "127.0.0.1:0"]);
    let line = server.stdout.next_line().await.unwrap().unwrap();
    let addr = line.strip_prefix("listening custom://rot13/").expect(&line);
    assert_eq!(ask(addr.parse().unwrap(), b"\n").await, "Uryyb sebz gur freire!");
    let client = Example::run("own_transport", &["connect", addr]);
    assert_eq!(client.rest().await, "Hello from the server!\n");
    server.interrupt().await;
    server.rest().await;
}

#[tokio::test]
async fn multicast_discovery_finds_who_is_there() {
    let interface = fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
    let lo = interface.trim();
    let free = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let port = &*free.local_addr().unwrap().port().to_string();
    drop(free);
    let mut services = Vec::new();
    for name in ["printer", "scanner"] {
        let mut service = Example::run("multicast_discovery", &["serve", name, port, lo]);
        let line = service.stdout.next_line().await.unwrap().unwrap();
        assert!(line.starts_with(&format!("listening udp://0.0.0.0:{port}?")), "{line}");
        services.push(service);
    }
    let found = Example::run("multicast_discovery", &["find", port, lo]).rest().await;
    for name in ["printer", "scanner"] {
        assert!(found.contains(&format!("{name} at 127.0.0.1:{port}\n")), "{found}");
    }
    for service in services {
        service.interrupt().await;
        service.rest().await;
    }
}

#[tokio::test]
async fn multicast_discovery_ends_at_a_wrong_interface() {
    let mut find = Example::run("multicast_discovery", &["find", "7071", "4000000000"]);
    let status = timeout(PATIENCE, find.child.wait()).await.unwrap().unwrap();
    assert!(!status.success(), "{status}");
}

#[tokio::test]
async fn udp_request_asks_again_and_gives_up() {
    let printed = Example::run("udp_request", &[]).rest().await;
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[..2], ["apple: a fruit", "gravel: unknown"]);
    assert!(lines[2].starts_with("no answer: Connection refused"), "{printed}");
    assert_eq!(lines.len(), 3, "{printed}");
}

#[tokio::test]
async fn test_without_network_prints_ok_for_each() {
    let tests = Example::run("test_without_network", &[]);
    let printed = tests.rest().await;
    assert_eq!(printed, "ok replay\nok end\nok time\nok backpressure\nok recorder\n");
}

/// A running example; it ends with the test whatever happens.
struct Example {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Example {
    fn run(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program(name));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{error}; `cargo test -p netframe-examples` builds the example `{name}`")
        });
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdout }
    }

    /// Waits until it says where it listens.
    async fn listening(&mut self) -> SocketAddr {
        let line = timeout(PATIENCE, self.stdout.next_line()).await.unwrap().unwrap().unwrap();
        line.strip_prefix("listening tcp://").expect(&line).parse().unwrap()
    }

    /// Waits until it prints a line that starts so.
    async fn until(&mut self, start: &str) {
        timeout(PATIENCE, async {
            while !self.stdout.next_line().await.unwrap().expect(start).starts_with(start) {}
        })
        .await
        .unwrap();
    }

    /// Types a line, and returns the line that it prints.
    async fn say(&mut self, line: &str) -> String {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        self.stdout.next_line().await.unwrap().unwrap()
    }

    /// The most memory that it has had at once.
    fn peak_memory_kb(&self) -> u64 {
        let pid = self.child.id().expect("it still runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Does what Ctrl-C does.
    async fn interrupt(&self) {
        let pid = self.child.id().expect("it still runs").to_string();
        // It asks for signals after it has said where it listens; before that, one kills it.
        let handled = async {
            while !handles_interrupt(&pid) {
                yield_now().await;
            }
        };
        timeout(PATIENCE, handled).await.unwrap();
        let kill = Command::new("kill").args(["-s", "INT", &pid]).status().await.unwrap();
        assert!(kill.success());
    }

    /// Waits for its end, which must be a good one; returns what it printed since the last time.
    async fn rest(mut self) -> String {
        timeout(PATIENCE, async {
            let mut rest = String::new();
            while let Some(line) = self.stdout.next_line().await.unwrap() {
                rest += &line;
                rest.push('\n');
            }
            let status = self.child.wait().await.unwrap();
            assert!(status.success(), "{status}");
            rest
        })
        .await
        .unwrap()
    }
}

/// Where cargo puts an example: beside the folder of this test.
fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples").join(name).with_extension(env::consts::EXE_EXTENSION)
}

/// Whether a process has a handler for SIGINT, which is signal 2. Only Linux shows that.
fn handles_interrupt(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (2 - 1)) != 0
}

/// Sends bytes and FIN; returns the whole answer.
async fn ask(addr: SocketAddr, question: &[u8]) -> String {
    timeout(PATIENCE, async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(question).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
    .unwrap()
}
