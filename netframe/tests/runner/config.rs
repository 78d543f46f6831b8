//! Configuration files: what is wrong with one is told with its place, by `check` and `run` alike,
//! and a good one is served.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::program::{End, Program, ask};

/// A folder of a test's own with the file `net.toml` in it, which goes with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn with(config: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netframe-config-{}-{number}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir(&folder.0).unwrap();
        folder.write(config);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Replaces the file.
    pub(crate) fn write(&self, config: &str) {
        fs::write(self.0.join("net.toml"), config).unwrap();
    }

    /// Starts `netframe` in the folder.
    pub(crate) fn start(&self, args: &[&str]) -> Program {
        self.start_with(args, |command| command)
    }

    /// Starts `netframe` in the folder after a change of its surroundings.
    pub(crate) fn start_with(
        &self,
        args: &[&str],
        change: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Program {
        Program::start_with(args, |command| change(command.current_dir(&self.0)))
    }

    pub(crate) fn end(&self, args: &[&str]) -> End {
        self.start(args).end()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Both `check` and `run` refuse the file with this text and nothing else, and nothing is served.
#[track_caller]
fn refuses(config: &str, want: &str) {
    refuses_by(&["check", "net.toml"], config, 2, want);
}

#[track_caller]
fn refuses_by(check: &[&str], config: &str, code: i32, want: &str) {
    let folder = Folder::with(config);
    for args in [check, &["run", "net.toml"]] {
        let end = folder.end(args);
        assert_eq!(end.stderr, want, "{args:?} of:\n{config}");
        assert_eq!((end.code, &*end.stdout), (Some(code), ""), "{args:?} of:\n{config}");
    }
}

/// A file with one service of `echo` and this in its table.
fn echo(more: &str) -> String {
    format!("[[service]]\nprotocol = \"echo\"\nlisten = \"tcp://127.0.0.1:0\"\n{more}\n")
}

const LIMITS: &str = "limits: accept_rate, accept_rate_per_peer, at_limit, close_timeout, connect_timeout, \
                      hard_cap, high_watermark, idle_timeout, low_watermark, max_connections, \
                      max_connections_per_peer, max_pending, message_timeout, min_message_rate, \
                      peer_prefix_v4, peer_prefix_v6, read_rate, service_read_rate, \
                      service_write_rate, write_rate, write_stall_timeout";
const SIZES: &str = "expected bytes from 1 to 2147483647, such as `65536`, `64KiB` or `1MiB`";
const DURATIONS: &str =
    "expected a duration from 1ms to 480h, such as `500ms`, `30s`, `5m` or `1h`";

#[test]
fn what_is_no_configuration_is_refused() {
    let missing = Folder::with("");
    fs::remove_file(missing.0.join("net.toml")).unwrap();
    let want = "error: net.toml: cannot read it: No such file or directory (os error 2)\n";
    assert_eq!(missing.end(&["check", "net.toml"]).stderr, want);
    assert_eq!(missing.end(&["run", "net.toml"]).stderr, want);

    let latin = Folder::with("");
    fs::write(latin.0.join("net.toml"), b"workers = 1\n# caf\xe9\n").unwrap();
    let want = "error: net.toml:2:6: not TOML: this is not UTF-8; save the file as UTF-8\n";
    assert_eq!(latin.end(&["check", "net.toml"]).stderr, want);
    assert_eq!(latin.end(&["run", "net.toml"]).stderr, want);

    let add = "there is no service; add [[service]] with `protocol = \"echo\"` and `listen = \
               \"tcp://127.0.0.1:7007\"`";
    refuses("", &format!("error: net.toml:1:1: {add}\n"));
    refuses("# nothing\nworkers = 2\n", &format!("error: net.toml:1:1: {add}\n"));
    refuses(
        "[[service]\nprotocol = 'echo'\n",
        "error: net.toml:1:11: not TOML: unclosed array table, expected `]`\n",
    );
    refuses(
        "workers = \n",
        "error: net.toml:1:11: not TOML: string values must be quoted, expected literal string\n",
    );
    refuses(&echo("protocol = 'hello'"), "error: net.toml:4:1: not TOML: duplicate key\n");
}

#[test]
fn unknown_words_are_refused_with_a_choice() {
    refuses(
        "[[sevice]]\nprotocol = 'echo'\n",
        "error: net.toml:1:1: there is no service; add [[service]] with `protocol = \"echo\"` and \
         `listen = \"tcp://127.0.0.1:7007\"`\nerror: net.toml:1:3: unknown key `sevice`; did you \
         mean `service`? keys: limits, service, workers, drain\n",
    );
    refuses(
        &echo("lisen = 'tcp://127.0.0.1:0'"),
        "error: net.toml:4:1: unknown key of a service `lisen`; did you mean `listen`? keys: \
         protocol, listen, name, refusal, limits, options\n",
    );
    refuses(
        &echo("").replace("echo", "ehco"),
        "error: net.toml:2:12: unknown protocol `ehco`; did you mean `echo`? protocols: echo, \
         discard, line-echo, netstring-echo, int8-echo, int16-echo, int32-echo, varint-echo, \
         telnet-echo, chat, http, memcached, port-forward, socks5, hello, chargen, daytime, time, qotd\n",
    );
    refuses(
        &echo("[service.options]\nmax_length = 5"),
        "error: net.toml:5:1: unknown option `max_length` of `echo`; it has no options\n",
    );
    refuses(
        &echo("[service.options]\nmax_lenght = 5").replace("echo", "line-echo"),
        "error: net.toml:5:1: unknown option `max_lenght` of `line-echo`; did you mean \
         `max_length`? options: delimiter, max_length\n",
    );
    refuses(
        &echo("[service.limits]\nidle = '5s'"),
        &format!("error: net.toml:5:1: unknown limit `idle`; {LIMITS}\n"),
    );
    refuses(
        &echo("limits.max_conections = 5"),
        &format!(
            "error: net.toml:4:8: unknown limit `max_conections`; did you mean `max_connections`? \
             {LIMITS}\n"
        ),
    );
    refuses(
        &format!("[limits]\nidle_timeout = '5s'\n{}", echo("")),
        "error: net.toml:2:1: unknown limit of the process `idle_timeout`; limits of the process: \
         max_connections, max_queued\n",
    );
}

#[test]
fn what_is_missing_is_told() {
    refuses(
        "[[service]]\nlisten = 'tcp://127.0.0.1:0'\n",
        "error: net.toml:1:1: the service has no protocol; add `protocol = \"echo\"`, or another \
         one\n",
    );
    refuses(
        "[[service]]\nprotocol = 'echo'\n",
        "error: net.toml:1:1: the service listens nowhere; add `listen = \
         \"tcp://127.0.0.1:7007\"`\n",
    );
}

#[test]
fn values_of_the_wrong_type_are_refused() {
    refuses(
        "service = 'echo'\n",
        "error: net.toml:1:11: invalid value of `service`: expected tables, each under a heading \
         of its own: [[service]]\n",
    );
    refuses(
        "[service]\nprotocol = 'echo'\n",
        "error: net.toml:1:1: invalid value of `service`: expected tables, each under a heading \
         of its own: [[service]]\n",
    );
    refuses(
        &echo("").replace("\"echo\"", "7"),
        "error: net.toml:2:12: invalid value of `protocol`: expected the name of a protocol, as \
         text\n",
    );
    refuses(
        &echo("name = ''"),
        "error: net.toml:4:8: invalid value of `name`: expected a name, as text\n",
    );
    for value in ["7007", "[]", "{}"] {
        refuses(
            &format!("[[service]]\nprotocol = 'echo'\nlisten = {value}\n"),
            "error: net.toml:3:10: invalid value of `listen`: expected an endpoint, or a list of \
             at least one\n",
        );
    }
    refuses(
        "[[service]]\nprotocol = 'echo'\nlisten = ['tcp://127.0.0.1:0', 7]\n",
        "error: net.toml:3:32: invalid value of `listen`: expected an endpoint as text, such as \
         \"tcp://127.0.0.1:7007\"\n",
    );
    refuses(
        &echo("limits = 5"),
        "error: net.toml:4:10: invalid value of `limits`: expected a table\n",
    );
    refuses(
        &echo("options = 'lf'"),
        "error: net.toml:4:11: invalid value of `options`: expected a table\n",
    );
    refuses(
        &format!("limits = 5\n{}", echo("")),
        "error: net.toml:1:10: invalid value of `limits`: expected a table\n",
    );
}

#[test]
fn values_out_of_range_are_refused_with_what_is_expected() {
    for value in ["0", "-1", "1025", "'two'", "1.5"] {
        refuses(
            &format!("workers = {value}\n{}", echo("")),
            "error: net.toml:1:11: invalid value of `workers`: expected a whole number from 1 to \
             1024\n",
        );
    }
    for value in ["0", "30", "'never'", "'30'"] {
        refuses(
            &format!("drain = {value}\n{}", echo("")),
            &format!("error: net.toml:1:9: invalid value of `drain`: {DURATIONS}\n"),
        );
    }
    refuses(
        &format!("limits.max_connections = 0\n{}", echo("")),
        "error: net.toml:1:26: invalid value of `max_connections`: expected a whole number from 1 \
         to 2147483647\n",
    );
    refuses(
        &format!("limits.max_queued = '1GB'\n{}", echo("")),
        &format!("error: net.toml:1:21: invalid value of `max_queued`: {SIZES}\n"),
    );
    refuses(
        &echo("limits.max_connections = 0"),
        "error: net.toml:4:8: invalid value of limit `max_connections`: expected a whole number \
         from 1 to 2147483647\n",
    );
    for value in ["0", "'64K'", "-1", "true"] {
        refuses(
            &echo(&format!("limits.hard_cap = {value}")),
            &format!("error: net.toml:4:8: invalid value of limit `hard_cap`: {SIZES}\n"),
        );
    }
    for value in ["0", "'all'", "-1"] {
        refuses(
            &echo(&format!("limits.accept_rate = {value}")),
            "error: net.toml:4:8: invalid value of limit `accept_rate`: expected a whole number \
             from 1 to 2147483647, or `unlimited`\n",
        );
    }
    for value in ["0", "'1MB'", "'any'", "true"] {
        for limit in ["read_rate", "write_rate", "service_read_rate", "service_write_rate"] {
            refuses(
                &echo(&format!("limits.{limit} = {value}")),
                &format!(
                    "error: net.toml:4:8: invalid value of limit `{limit}`: {SIZES} in a second, \
                     or `unlimited`\n"
                ),
            );
        }
    }
    refuses(
        &echo("limits.peer_prefix_v6 = 129"),
        "error: net.toml:4:8: invalid value of limit `peer_prefix_v6`: expected a number of bits \
         from 0 to 128\n",
    );
    for value in ["60", "'0s'", "'soon'"] {
        refuses(
            &echo(&format!("limits.idle_timeout = {value}")),
            &format!(
                "error: net.toml:4:8: invalid value of limit `idle_timeout`: {DURATIONS}, or \
                 `never`\n"
            ),
        );
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    refuses(
        &echo("limits.low_watermark = '128KiB'"),
        "error: net.toml:4:8: `low_watermark` (131072) is above `high_watermark` (65536); lower \
         the one or raise the other\n",
    );
    refuses(
        &echo("[service.limits]\nhard_cap = 1000"),
        "error: net.toml:5:1: `high_watermark` (65536) is above `hard_cap` (1000); lower the one \
         or raise the other\n",
    );
    refuses(
        &echo("options.max_length = 0").replace("echo", "line-echo"),
        "error: net.toml:4:9: invalid value of option `max_length`: `max_length` is 0; set the \
         bytes that a line may have, such as 16384\n",
    );
    refuses(
        &echo("options.delimiter = 'cr'").replace("echo", "line-echo"),
        "error: net.toml:4:9: invalid value of option `delimiter`: unknown variant `cr`, expected \
         `lf` or `crlf`\n",
    );
    refuses(
        &echo("[service.options]\nmax_length = 2000\nmax_backlog = 2000").replace("echo", "chat"),
        "error: net.toml:4:10: the options of `chat` do not fit together: `max_backlog` (2000) is \
         less than a line may cost (2384); raise it, or lower `max_length`\n",
    );
    refuses(
        &echo("options.max_length = 100000\nlimits.max_pending = '64KiB'")
            .replace("echo", "line-echo"),
        "error: net.toml:5:8: limit `max_pending` is \"64KiB\", and `line-echo` needs \"100001\" \
         with these options; raise it, or leave it out\n",
    );
    refuses(
        &echo("limits.max_pending = '64KiB'").replace("echo", "netstring-echo"),
        "error: net.toml:4:8: limit `max_pending` is \"64KiB\", and `netstring-echo` needs \
         \"100008\" with these options; raise it, or leave it out\n",
    );
}

#[test]
fn endpoints_are_refused_with_what_would_do() {
    let listen = |endpoint: &str| echo("").replace("tcp://127.0.0.1:0", endpoint);
    refuses(
        &listen("tpc://127.0.0.1:0"),
        "error: net.toml:3:10: unknown kind `tpc`; did you mean `tcp`? kinds: tcp, udp, unix, \
         unixgram, mem, stdio, fd, systemd, sim, quic, vsock, custom\n",
    );
    refuses(
        &listen("127.0.0.1:7"),
        "error: net.toml:3:10: `127.0.0.1:7` has no kind; did you mean `tcp://127.0.0.1:7`?\n",
    );
    refuses(
        &listen("tls+tcp://127.0.0.1:0"),
        "error: net.toml:3:10: `tls+tcp://127.0.0.1:0`: the layer `tls` is not built yet\n",
    );
    refuses(
        &listen("udp://127.0.0.1:0").replace("echo", "line-echo"),
        "error: net.toml:3:10: `udp://127.0.0.1:0` carries datagrams, but the protocol needs a \
         stream; use tcp://\n",
    );
    for kind in ["udp://127.0.0.1:0", "unixgram:///tmp/netframe-shaped"] {
        refuses(
            &echo("limits.service_write_rate = '1MiB'").replace("tcp://127.0.0.1:0", kind),
            &format!(
                "error: net.toml:3:10: `{kind}` carries datagrams, and `service_write_rate` shapes \
                 streams only, as a datagram that waits would be dropped in the end; leave the \
                 limit out, or use tcp://\n"
            ),
        );
    }
    refuses(
        "[[service]]\nprotocol = 'echo'\nlisten = ['tcp://[::1]:0', 'tcp://127.0.0.1:7']\n\
         [[service]]\nprotocol = 'hello'\nlisten = 'tcp://127.0.0.1:7?nodelay=off'\n",
        "error: net.toml:6:10: `tcp://127.0.0.1:7` is listened on already in line 3; choose \
         another one\n",
    );
}

#[test]
fn what_only_the_network_can_tell_has_its_place_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    let config = format!(
        "{}[[service]]\nprotocol = 'hello'\nlisten = ['tcp://127.0.0.1:0', '{taken}']\n",
        echo("")
    );
    let want = format!(
        "error: net.toml:7:32: cannot listen on {taken}: it is in use already; end what listens \
         there, or choose another port (0 picks a free one): Address already in use (os error \
         98)\n"
    );
    refuses_by(&["check", "--bind", "net.toml"], &config, 1, &want);
    let end = Folder::with(&config).end(&["check", "net.toml"]);
    assert_eq!(end.code, Some(0), "it runs already, perhaps: {}", end.stderr);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    refuses(
        "workers = 0\n[[service]]\nprotocol = 'echo'\nlisten = ['x', 'y']\nnmae = 'z'\n",
        "error: net.toml:1:11: invalid value of `workers`: expected a whole number from 1 to 1024\n\
         error: net.toml:4:11: `x` has no kind; expected `kind://address`\n\
         error: net.toml:4:16: `y` has no kind; expected `kind://address`\n\
         error: net.toml:5:1: unknown key of a service `nmae`; did you mean `name`? keys: \
         protocol, listen, name, refusal, limits, options\n",
    );
}

#[test]
fn a_secret_is_not_shown() {
    let config = "[[service]]\nprotocol = \"socks5\"\nlisten = \"tcp://127.0.0.1:0\"\n\
        [service.options]\nusers = { ada = \"s3cret\" }\n";
    let check = Folder::with(config).end(&["check", "net.toml"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert!(check.stdout.contains("  option users = (not shown)\n"), "{}", check.stdout);
    assert!(!check.stdout.contains("s3cret"), "{}", check.stdout);
}

#[test]
fn a_good_file_is_checked_and_served() {
    let folder = Folder::with(
        "workers = 1\n\
         [[service]]\nprotocol = 'echo'\nlisten = ['tcp://127.0.0.1:0', 'tcp://127.0.0.2:0']\n\
         [service.limits]\nmax_connections = 100\nread_rate = '1MiB'\nwrite_rate = 500000\n\
         [[service]]\nname = 'lines'\nprotocol = 'line-echo'\nlisten = 'tcp://127.0.0.1:0'\n\
         options.max_length = 5\n",
    );
    let check = folder.end(&["check", "net.toml", "--drain", "5"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    for told in [
        "service echo\n  listen tcp://127.0.0.1:0\n  listen tcp://127.0.0.2:0\n",
        "  max_connections           100        file\n",
        "  max_connections           65536      default\n",
        "  accept_rate               unlimited  default\n",
        "  read_rate                 1MiB       file\n",
        "  write_rate                500000     file\n",
        "  service_read_rate         unlimited  default\n",
        "100 connections x (queue 1 MiB + pending 128 KiB + protocol ",
        "service lines (line-echo)\n",
        "  option max_length = 5\n",
        "  workers          1          file\n",
        "  drain            5s         argument\n",
        "\nmemory at worst: 72.",
    ] {
        assert!(check.stdout.contains(told), "{told}: {}", check.stdout);
    }

    let server = folder.start(&["run", "net.toml"]).listening("echo", 2).listening("lines", 1);
    for addr in &server.addrs[..2] {
        assert_eq!(ask(*addr, b"hello"), b"hello");
    }
    assert_eq!(ask(server.addrs[2], b"12345\n123456\n"), b"12345\n");
    server.signal("TERM");
    let end = server.end();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    for told in ["name=\"echo\" live=0 accepted=2 ", "name=\"lines\" live=0 accepted=1 "] {
        assert!(end.stderr.contains(told), "{told}: {}", end.stderr);
    }
}

#[test]
fn a_full_service_refuses_as_its_file_says() {
    let folder = Folder::with(
        "[[service]]\nprotocol = 'echo'\nlisten = 'tcp://127.0.0.1:0'\n\
         refusal = \"come back later\\n\"\n\
         [service.limits]\nmax_connections = 1\nat_limit = 'refuse'\n",
    );
    let server = folder.start(&["run", "net.toml"]).listening("echo", 1);
    let mut kept = server.connect();
    kept.write_all(b"hello").unwrap();
    kept.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(ask(server.addrs[0], b""), b"come back later\n");
    server.signal("TERM");
    drop(kept);
    assert!(server.end().stderr.contains("refused=\"full: 1\""));
    refuses(
        &echo("limits.at_limit = 'end'"),
        "error: net.toml:4:8: invalid value of limit `at_limit`: unknown variant `end`, expected \
         one of `wait`, `refuse`, `end-idle`\n",
    );
}

#[test]
fn what_rates_hold_back_is_reported() {
    let folder =
        Folder::with(&echo("limits.read_rate = 20000\nlimits.service_write_rate = '15KiB'"));
    let server = folder.start(&["run", "net.toml"]).listening("echo", 1);
    let question = vec![7; 25_000];
    assert_eq!(server.ask(&question), question);
    server.signal("TERM");
    let end = server.end();
    let told = end.stderr.split_once("held_back=\"reads: ").expect(&end.stderr).1;
    assert!(told.contains(", writes: "), "{}", end.stderr);
}

#[test]
fn options_that_are_good_only_together_are_good() {
    let options = "options = { max_length = 2000000, max_backlog = 10000000 }";
    let check = Folder::with(&echo(options).replace("echo", "chat")).end(&["check", "net.toml"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
}

#[test]
fn what_may_wait_for_a_session_counts_in_what_memory_allows() {
    let config = echo("limits.max_connections = 10").replace("tcp:", "udp:");
    let check = Folder::with(&config).end(&["check", "net.toml"]);
    assert!(check.stdout.contains("10 connections x (queue 1 MiB + pending 4.1 MiB + protocol "));
}

#[test]
fn the_limits_of_sessions_are_told_with_their_origin() {
    let listen = "['udp://127.0.0.1:0?max_sessions=5', 'unixgram:///x', 'tcp://127.0.0.1:0']";
    let config = echo("").replace("\"tcp://127.0.0.1:0\"", listen);
    let check = Folder::with(&config).end(&["check", "net.toml"]);
    let want = "\
        service echo\n  listen udp://127.0.0.1:0?max_sessions=5\n    max_sessions 5 (file), \
        session_idle 60s (default)\n  listen unixgram:///x\n    max_sessions 10000 (default), \
        session_idle 60s (default)\n  listen tcp://127.0.0.1:0\n  limit ";
    assert!(check.stdout.starts_with(want), "{}", check.stdout);
}

#[test]
fn what_a_protocol_opens_for_a_connection_counts_in_what_memory_allows() {
    for (protocol, options, told) in [
        ("port-forward", "{ to = 'tcp://127.0.0.1:1' }", "1.2 MiB"),
        ("port-forward", "{ to = 'udp://127.0.0.1:1' }", "5.1 MiB"),
        ("socks5", "{ open = true }", "1.2 MiB"),
        // The name of its terminal, as it came.
        ("telnet-echo", "{}", "6 KiB"),
    ] {
        let config = format!(
            "[[service]]\nprotocol = '{protocol}'\nlisten = 'tcp://127.0.0.1:0'\n\
             options = {options}\n"
        );
        let check = Folder::with(&config).end(&["check", "net.toml"]);
        assert_eq!(check.code, Some(0), "{}", check.stderr);
        let told = format!(" + protocol {told}) + shared 0 B");
        assert!(check.stdout.contains(&told), "{told}: {}", check.stdout);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn fewer_descriptors_than_connections_are_told() {
    const EXEC: &str = r#"ulimit -n 100; exec "$0" "$@""#;
    let forward = |rest: &str| echo(rest).replace("\"echo\"", "\"port-forward\"");
    for (config, max, is_told) in [
        (echo("limits.max_connections = 99"), 99, false),
        (echo("limits.max_connections = 100"), 100, true),
        (forward("limits.max_connections = 49\noptions.to = 'mem://x'"), 49, false),
        (forward("limits.max_connections = 50\noptions.to = 'mem://x'"), 50, true),
    ] {
        let folder = Folder::with(&config);
        let check =
            Program::start_by(EXEC, &["check", "net.toml"], |check| check.current_dir(&folder.0));
        let end = check.end();
        let told = "\ndescriptors: 100 here, but 100 for all connections at worst; raise ";
        assert_eq!(end.stdout.contains(told), is_told, "{max}: {}", end.stdout);
        assert_eq!(end.stdout.contains("descriptors"), is_told, "{max}: {}", end.stdout);
        assert_eq!(end.code, Some(0));
    }
}

#[test]
fn a_limit_of_the_process_counts_in_what_memory_allows() {
    let config = format!("limits = {{ max_connections = 10, max_queued = '2MiB' }}\n{}", echo(""));
    let check = Folder::with(&config).end(&["check", "net.toml"]);
    assert!(
        check.stdout.contains(
            "  max_connections  10            file\n  max_queued       2 MiB         file\n"
        ),
        "{}",
        check.stdout
    );
    assert!(check.stdout.ends_with("\nmemory at worst: 3.3 MiB\n"), "{}", check.stdout);
}
