//! The protocol `http` answers as its page says, over raw sockets.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::config::Folder;
use crate::program::Program;

const ANY_PORT: &str = "tcp://127.0.0.1:0";

/// The head of an answer without its date, and its body.
fn ask(server: &Program, request: &str, fields: &str, body: &str) -> (String, String) {
    let len =
        if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{request} HTTP/1.1\r\nHost: a\r\n{fields}{len}\r\n{body}");
    split(&server.ask(request.as_bytes()))
}

#[track_caller]
fn split(answer: &[u8]) -> (String, String) {
    let answer = String::from_utf8(answer.to_vec()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let lines: Vec<_> = head.lines().filter(|line| !line.starts_with("Date: ")).collect();
    assert_eq!(lines.len() + 1, head.lines().count(), "one date: {head}");
    (lines.join("\n"), body.to_owned())
}

/// The status of an answer, as text, and its body.
fn status(server: &Program, request: &str, fields: &str) -> (String, String) {
    let (head, body) = ask(server, request, fields, "");
    (head["HTTP/1.1 ".len()..][..3].to_owned(), body)
}

/// The value of a field, whose name may be in any case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[test]
fn each_path_answers_as_its_page_says() {
    let server = Program::serve(&["http", ANY_PORT]);
    let text = "Content-Type: text/plain; charset=utf-8";
    let chunked = "Transfer-Encoding: chunked";
    for (request, head, body) in [
        ("GET /plaintext", "200 OK\nContent-Type: text/plain\nContent-Length: 13", "Hello, World!"),
        (
            "GET /json",
            "200 OK\nContent-Type: application/json\nContent-Length: 27",
            r#"{"message":"Hello, World!"}"#,
        ),
        (
            "GET http://b/plaintext?x",
            "200 OK\nContent-Type: text/plain\nContent-Length: 13",
            "Hello, World!",
        ),
        (
            "GET /stream?chunks=2&size=3",
            &format!("200 OK\n{text}\n{chunked}"),
            "3\r\n...\r\n3\r\n...\r\n0\r\n\r\n",
        ),
        ("GET /stream?chunks=0", &format!("200 OK\n{text}\n{chunked}"), "0\r\n\r\n"),
        ("GET /stream?size=0", &format!("200 OK\n{text}\n{chunked}"), "0\r\n\r\n"),
        ("GET /slow?ms=1", &format!("200 OK\n{text}\nContent-Length: 11"), "after 1 ms\n"),
        ("GET /status/204", "204 No Content", ""),
        ("GET /status/205", "205 Reset Content\nContent-Length: 0", ""),
        ("GET /status/304", "304 Not Modified", ""),
        ("GET /status/418", &format!("418 I'm a teapot\n{text}\nContent-Length: 4"), "418\n"),
        ("GET /status/599", &format!("599 \n{text}\nContent-Length: 4"), "599\n"),
        ("OPTIONS *", "204 No Content\nAllow: GET, HEAD, OPTIONS, POST", ""),
        ("OPTIONS /", "204 No Content\nAllow: GET, HEAD, OPTIONS", ""),
        ("OPTIONS /echo", "204 No Content\nAllow: HEAD, OPTIONS, POST", ""),
        (
            "GET /missing",
            &format!("404 Not Found\n{text}\nContent-Length: 29"),
            "there is nothing here; see /\n",
        ),
    ] {
        assert_eq!(
            ask(&server, request, "", ""),
            (format!("HTTP/1.1 {head}"), body.to_owned()),
            "{request}"
        );
    }
    let (head, page) = ask(&server, "GET /", "", "");
    assert_eq!(field(&head, "content-type"), Some("text/html; charset=utf-8"));
    let paths = ["/plaintext", "/json", "/echo", "/stream?", "/slow?", "/status/"];
    assert!(paths.iter().all(|path| page.contains(path)), "{page}");
}

#[test]
fn numbers_that_cannot_be_are_refused_with_what_is_expected() {
    let server = Program::serve(&["http", ANY_PORT]);
    for (path, want) in [
        ("/stream?chunks=x", "`chunks` is a whole number\n"),
        ("/stream?chunks=-1", "`chunks` is a whole number\n"),
        ("/stream?size=16777217", "`size` is a whole number up to 16777216\n"),
        ("/slow?ms=", "`ms` is a whole number up to 600000\n"),
        ("/slow?ms=600001", "`ms` is a whole number up to 600000\n"),
        ("/status/", "a status is a number from 200 to 599\n"),
        ("/status/199", "a status is a number from 200 to 599\n"),
        ("/status/600", "a status is a number from 200 to 599\n"),
        ("/status/2e2", "a status is a number from 200 to 599\n"),
    ] {
        let answer = status(&server, &format!("GET {path}"), "");
        assert_eq!(answer, ("400".to_owned(), want.to_owned()), "{path}");
    }
}

#[test]
fn every_path_knows_its_methods() {
    let server = Program::serve(&["http", ANY_PORT]);
    for path in ["/", "/plaintext", "/json", "/stream", "/slow?ms=0", "/status/200", "/echo"] {
        let allowed = if path == "/echo" { "HEAD, OPTIONS, POST" } else { "GET, HEAD, OPTIONS" };
        for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get"] {
            let (head, body) = ask(&server, &format!("{method} {path}"), "", "");
            let told = field(&head, "allow");
            match method {
                "OPTIONS" => assert!(head.starts_with("HTTP/1.1 204 "), "{path}: {head}"),
                method if allowed.split(", ").any(|other| other == method) => {
                    assert!(head.starts_with("HTTP/1.1 200 "), "{method} {path}: {head}");
                    assert_eq!(
                        (told, body.is_empty()),
                        (None, method == "HEAD" || path == "/echo")
                    );
                    continue;
                }
                _ => assert!(head.starts_with("HTTP/1.1 405 "), "{method} {path}: {head}"),
            }
            assert_eq!(told, Some(allowed), "{method} {path}");
        }
    }
    // Of an authority there is nothing to be had, whatever the method.
    let (head, _) = split(&server.ask(b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"));
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[test]
fn head_tells_what_get_would() {
    let server = Program::serve(&["http", ANY_PORT]);
    for path in ["/", "/plaintext", "/json", "/stream?chunks=3", "/slow?ms=0", "/status/404"] {
        let (get, _) = ask(&server, &format!("GET {path}"), "", "");
        assert_eq!(ask(&server, &format!("HEAD {path}"), "", ""), (get, String::new()), "{path}");
    }
}

#[test]
fn echo_answers_the_body_with_its_type() {
    let server = Program::serve(&["http", ANY_PORT]);
    let told = ask(&server, "POST /echo", "Content-Type: text/x\r\n", "some text");
    let head = "HTTP/1.1 200 OK\nContent-Type: text/x\nContent-Length: 9";
    assert_eq!(told, (head.to_owned(), "some text".to_owned()));

    let chunked = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nsome \r\n4\r\ntext\r\n0\r\n\r\n";
    let (head, body) = split(&server.ask(chunked.as_bytes()));
    let kind = "Content-Type: application/octet-stream";
    assert_eq!(head, format!("HTTP/1.1 200 OK\n{kind}\nTransfer-Encoding: chunked"));
    assert_eq!(body, "5\r\nsome \r\n4\r\ntext\r\n0\r\n\r\n");

    let asks =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let mut client = server.connect();
    client.write_all(asks.as_bytes()).unwrap();
    let mut told = [0; 25];
    client.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hiGET /status/204 HTTP/1.0\r\n\r\n").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap(); // HTTP/1.0 closes
    assert!(
        rest.starts_with("HTTP/1.1 200 ") && rest.contains("\r\n\r\nhiHTTP/1.1 204 "),
        "{rest}"
    );
}

#[test]
fn a_body_that_is_cut_off_or_malformed_is_the_fault_of_its_client() {
    let server = Program::serve(&["http", ANY_PORT]);
    let cut_off = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
    let malformed = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, body, begins) in [
        (cut_off, "", "HTTP/1.1 400 "),
        (cut_off, "abc", "HTTP/1.1 200 "), // what has come is echoed
        (malformed, "x\r\n", "HTTP/1.1 400 "),
        (malformed, "1\r\nax\r\n", "HTTP/1.1 200 "),
    ] {
        let answer = server.ask(format!("{head}{body}").as_bytes());
        assert!(answer.starts_with(begins.as_bytes()), "{body}: {}", answer.escape_ascii());
        assert!(!answer.ends_with(b"0\r\n\r\n"), "{body}: it is not whole");
    }
    server.signal("TERM");
    let end = server.end();
    assert!(end.stderr.contains(" closed=\"protocol error by peer: 4\""), "{}", end.stderr);
}

/// A folder with files to be served, and one beside it that is not.
fn files() -> Folder {
    let folder = Folder::with("");
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("a.txt"), "0123456789").unwrap();
    fs::write(root.join("sub/index.html"), "<p>sub</p>").unwrap();
    fs::write(root.join("a b%.txt"), "odd").unwrap();
    fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    folder
}

fn serve(folder: &Folder, options: &[&str]) -> Program {
    let serve = ["serve", "http", ANY_PORT, "--set", "root=root"];
    folder.start(&[&serve[..], options].concat()).listening("http", 1)
}

#[test]
fn files_are_served_with_ranges_and_conditions() {
    let folder = files();
    let server = serve(&folder, &[]);
    let (head, body) = ask(&server, "GET /a.txt", "", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\n") && body == "0123456789", "{head}");
    assert_eq!(field(&head, "content-type"), Some("text/plain"));
    assert_eq!(field(&head, "content-length"), Some("10"));
    assert_eq!(ask(&server, "HEAD /a.txt", "", ""), (head.clone(), String::new()));

    let tag = field(&head, "etag").expect(&head);
    let changed = field(&head, "last-modified").expect(&head);
    for (fields, want, body) in [
        (format!("If-None-Match: {tag}\r\n"), "304", ""),
        ("If-None-Match: \"other\"\r\n".to_owned(), "200", "0123456789"),
        (format!("If-Modified-Since: {changed}\r\n"), "304", ""),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned(), "200", "0123456789"),
        ("If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n".to_owned(), "412", ""),
        ("Range: bytes=2-4\r\n".to_owned(), "206", "234"),
        ("Range: bytes=-3\r\n".to_owned(), "206", "789"),
        ("Range: bytes=7-\r\n".to_owned(), "206", "789"),
        ("Range: bytes=10-\r\n".to_owned(), "416", ""),
        ("Range: lines=1-2\r\n".to_owned(), "416", ""),
    ] {
        let answer = status(&server, "GET /a.txt", &fields);
        assert_eq!(answer, (want.to_owned(), body.to_owned()), "{fields}");
    }
    let (head, _) = ask(&server, "GET /a.txt", "Range: bytes=2-4\r\n", "");
    assert_eq!(field(&head, "content-range"), Some("bytes 2-4/10"));

    // One connection serves on behind each of them.
    let both = "GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\n\r\n\
                GET /a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=99-\r\n\r\n\
                GET /missing HTTP/1.1\r\nHost: a\r\n\r\nGET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = String::from_utf8(server.ask(both.as_bytes())).unwrap();
    let told: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(told, ["206", "416", "404", "200"]);
}

#[test]
fn a_folder_is_its_index_or_nothing() {
    let folder = files();
    let server = serve(&folder, &[]);
    assert!(status(&server, "GET /", "").1.contains("POST /echo"), "there is no index yet");
    fs::write(folder.path().join("root/index.html"), "<p>root</p>").unwrap();
    let not_there = ("404".to_owned(), "there is no such file\n".to_owned());
    for (path, want, body) in [
        ("/", "200", "<p>root</p>"),
        ("/index.html", "200", "<p>root</p>"),
        ("/sub/", "200", "<p>sub</p>"),
        ("/sub/index.html", "200", "<p>sub</p>"),
        ("/a%20b%25.txt", "200", "odd"),
        ("/plaintext", "200", "Hello, World!"),
    ] {
        let answer = status(&server, &format!("GET {path}"), "");
        assert_eq!(answer, (want.to_owned(), body.to_owned()), "{path}");
    }
    for path in ["/empty/", "/missing", "/a.txt/", "/a.txt/x"] {
        assert_eq!(status(&server, &format!("GET {path}"), ""), not_there, "{path}");
    }
    let (head, _) = ask(&server, "GET /sub?x=1", "", "");
    assert!(head.starts_with("HTTP/1.1 307 "), "{head}");
    assert_eq!(field(&head, "location"), Some("/sub/?x=1"));
    for (request, want) in [("OPTIONS /a.txt", "204"), ("POST /a.txt", "405"), ("PUT /x", "405")] {
        let (head, _) = ask(&server, request, "", "");
        assert!(head.starts_with(&format!("HTTP/1.1 {want} ")), "{request}: {head}");
        assert_eq!(field(&head, "allow"), Some("GET, HEAD, OPTIONS"), "{request}");
    }
    let (head, _) = ask(&server, "OPTIONS *", "", "");
    assert_eq!(field(&head, "allow"), Some("GET, HEAD, OPTIONS, POST"));
}

#[test]
fn no_path_and_no_link_leads_out() {
    let folder = files();
    let root = folder.path().join("root");
    symlink(folder.path().join("secret.txt"), root.join("out.txt")).unwrap();
    symlink(folder.path(), root.join("out")).unwrap();
    symlink("a.txt", root.join("in.txt")).unwrap();
    symlink("sub", root.join("in")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    // The index of a folder is a file as any other.
    symlink(folder.path().join("secret.txt"), root.join("empty/index.html")).unwrap();
    symlink(folder.path().join("secret.txt"), root.join("index.html")).unwrap();
    let server = serve(&folder, &[]);
    for path in ["/in.txt", "/in/index.html", "/in/"] {
        assert_eq!(status(&server, &format!("GET {path}"), "").0, "200", "{path}");
    }
    for path in [
        "/out.txt",
        "/out/secret.txt",
        "/out/",
        "/out/root/a.txt/../../secret.txt",
        "/empty/",
        "/empty/index.html",
        "/index.html",
        "/loop",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/.%2E/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/sub/../../secret.txt",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/%252e%252e/secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/..%00/secret.txt",
        "/a.txt%00.html",
        "/a.txt%00",
        "//sub",
        "/%2fsub",
        "//secret.txt",
        "/./../secret.txt",
        "/%2Fetc%2Fpasswd",
        "//etc/passwd",
    ] {
        for method in ["GET", "HEAD"] {
            let (told, body) = status(&server, &format!("{method} {path}"), "");
            assert_eq!(told, "404", "{method} {path}: {body}");
        }
    }
    // Its own page, rather than what the link of the index leads to.
    assert!(status(&server, "GET /", "").1.contains("POST /echo"));
    for path in ["http://a/../secret.txt", "http://a/%2e%2e/secret.txt"] {
        assert_eq!(status(&server, &format!("GET {path}"), "").0, "404", "{path}");
    }
}

/// Becomes the program, without the right of root to read what nobody may.
#[cfg(target_os = "linux")]
const WITHOUT_RIGHTS: &str = r#"
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --bounding-set=-dac_override,-dac_read_search "$0" "$@"
    fi
    exec "$0" "$@""#;

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_read_is_not_there_and_nothing_waits_for_a_pipe() {
    let folder = files();
    let root = folder.path().join("root");
    let close = |path: &Path| fs::set_permissions(path, PermissionsExt::from_mode(0o000)).unwrap();
    close(&root.join("a.txt"));
    fs::create_dir(root.join("closed")).unwrap();
    fs::write(root.join("closed/b.txt"), "b").unwrap();
    close(&root.join("closed"));
    let made = Command::new("mkfifo").arg(root.join("pipe")).status().unwrap();
    assert!(made.success());

    let args = ["serve", "http", ANY_PORT, "--set", "root=root"];
    let server =
        Program::start_by(WITHOUT_RIGHTS, &args, |command| command.current_dir(folder.path()))
            .listening("http", 1);
    for path in ["/a.txt", "/closed/b.txt", "/closed/", "/pipe", "/sub/index.html/x"] {
        assert_eq!(status(&server, &format!("GET {path}"), "").0, "404", "{path}");
    }
    assert_eq!(status(&server, "GET /sub/", "").0, "200", "it goes on");
    server.signal("TERM");
    let end = server.end();
    fs::set_permissions(root.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
}

#[test]
fn a_long_file_is_sent_whole() {
    let folder = files();
    let long: Vec<u8> = (0..10_000_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(folder.path().join("root/long"), &long).unwrap();
    let server = serve(&folder, &[]);
    let answer = server.ask(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with(&long) && answer.len() < long.len() + 1000);
}

#[test]
fn a_root_that_is_none_is_refused_with_what_to_do() {
    let folder = files();
    let file = |root: &str| {
        format!("[[service]]\nprotocol = 'http'\nlisten = '{ANY_PORT}'\noptions.root = '{root}'\n")
    };
    for (root, why) in [
        (
            "missing",
            "`root` is `missing`, which cannot be read: No such file or directory (os error 2); \
             name a folder that is there and may be read",
        ),
        ("root/a.txt", "`root` is `root/a.txt`, which is no folder; name the folder that it is in"),
    ] {
        let serve = folder.end(&["serve", "http", ANY_PORT, "--set", &format!("root={root}")]);
        let want = format!("error: invalid value of option `root`: {why}\n");
        assert_eq!((serve.code, &*serve.stderr), (Some(2), &*want));
        folder.write(&file(root));
        for command in ["check", "run"] {
            let end = folder.end(&[command, "net.toml"]);
            let want = format!("error: net.toml:4:9: invalid value of option `root`: {why}\n");
            assert_eq!((end.code, &*end.stderr), (Some(2), &*want), "{command}");
        }
    }
    folder.write(&file("root"));
    let check = folder.end(&["check", "net.toml"]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert!(check.stdout.contains("  option root = \"root\"\n"), "{}", check.stdout);
}

#[test]
fn options_out_of_range_are_refused_with_what_is_expected() {
    for (option, why) in [
        ("max_head = 0", "`max_head`: `max_head` is 0; set it from 1 to 65535"),
        ("max_head = 65536", "`max_head`: `max_head` is 65536; set it from 1 to 65535"),
        ("max_target = 0", "`max_target`: `max_target` is 0; set it from 1 to 16384"),
        ("max_fields = 129", "`max_fields`: `max_fields` is 129; set it from 1 to 128"),
        ("head_timeout = 0", "`head_timeout`: `head_timeout` is 0; set it from 1 to 86400"),
        ("keep_alive = 86401", "`keep_alive`: `keep_alive` is 86401; set it from 1 to 86400"),
        ("keep_alive = '60s'", "`keep_alive`: invalid type: string \"60s\", expected u32"),
        ("max_unread = -1", "`max_unread`: invalid value: integer `-1`, expected usize"),
        ("root = 5", "`root`: invalid type: integer `5`, expected path string"),
    ] {
        let folder = Folder::with(&format!(
            "[[service]]\nprotocol = 'http'\nlisten = '{ANY_PORT}'\noptions.{option}\n"
        ));
        let end = folder.end(&["check", "net.toml"]);
        let want = format!("error: net.toml:4:9: invalid value of option {why}\n");
        assert_eq!((end.code, &*end.stderr), (Some(2), &*want), "{option}");
    }
    let folder = Folder::with(&format!(
        "[[service]]\nprotocol = 'http'\nlisten = '{ANY_PORT}'\noptions.head_timout = 5\n"
    ));
    let end = folder.end(&["check", "net.toml"]);
    assert_eq!(
        end.stderr,
        "error: net.toml:4:9: unknown option `head_timout` of `http`; did you mean `head_timeout`? \
         options: head_timeout, keep_alive, max_fields, max_head, max_target, max_unread, root\n"
    );
    let udp = Program::start(&["serve", "http", "udp://127.0.0.1:0"]).end();
    assert!(udp.stderr.contains("the protocol needs a stream; use tcp://"), "{}", udp.stderr);
}

#[test]
fn options_are_kept() {
    let limits = ["--set", "max_target=10", "--set", "max_head=100", "--set", "max_fields=2"];
    let timeouts = ["--set", "head_timeout=1", "--set", "keep_alive=1"];
    let server = Program::serve(&[&["http", ANY_PORT], &limits[..], &timeouts[..]].concat());
    assert_eq!(status(&server, "GET /234567890", "").0, "404");
    assert_eq!(status(&server, "GET /2345678901", "").0, "414");
    assert_eq!(status(&server, "GET /", "A: b\r\n").0, "200");
    assert_eq!(status(&server, "GET /", "A: b\r\nC: d\r\n").0, "431");
    assert_eq!(status(&server, "GET /", &format!("A: {}\r\n", "b".repeat(100))).0, "431");
    let until_closed = |bytes: &[u8]| {
        let mut client = server.connect();
        client.write_all(bytes).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(until_closed(b"GET / HT").starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    assert_eq!(until_closed(b""), "");
}
