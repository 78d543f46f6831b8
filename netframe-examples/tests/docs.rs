//! The pages of the documentation: their links lead somewhere, the book has all of them, and their
//! Rust is compiled.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

#[test]
fn links_lead_somewhere() {
    let broken: Vec<_> = pages().iter().flat_map(|page| broken_links(page, &read(page))).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_book_has_every_page_once() {
    let summary = root().join("docs/SUMMARY.md");
    let mut entries: Vec<_> =
        links(&read(&summary)).map(|link| root().join("docs").join(link)).collect();
    entries.push(summary);
    entries.sort();
    let mut pages = Vec::new();
    add_pages(&root().join("docs"), &mut pages);
    pages.sort();
    assert_eq!(entries, pages, "docs/SUMMARY.md and the pages below docs differ");
}

#[test]
fn rust_on_every_page_is_compiled() {
    let compiled = include_str!("../src/lib.rs");
    for page in pages().iter().filter(|page| has_rust(&read(page))) {
        let path = page.strip_prefix(root()).unwrap().display();
        assert!(
            compiled.contains(&format!("\"../../{path}\"")),
            "src/lib.rs of this crate must list {path} under `pages!`"
        );
    }
}

#[test]
fn tables_of_rules_name_tests_that_exist() {
    for (page, least) in [("framing.md", 25), ("forwarding.md", 12)] {
        let tests = tests_of_protocols(&read(&root().join("docs/guide").join(page)));
        let missing: Vec<_> = tests.iter().filter(|test| !has_test(test)).collect();
        assert!(missing.is_empty(), "{page}: there is no {missing:?}");
        assert!(tests.len() >= least, "{page} names only {}", tests.len());
    }
    assert!(!has_test(&("frame".into(), "netstring".into())), "a part of a name is none");
}

/// The tests of `netframe-protocols` that a page names, as `file::test`.
fn tests_of_protocols(text: &str) -> Vec<(String, String)> {
    let code = parse(text).filter_map(|event| match event {
        Event::Code(code) => Some(code.into_string()),
        _ => None,
    });
    let is_name =
        |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let names = code.filter_map(|code| {
        let (file, test) = code.split_once("::")?;
        (is_name(file) && is_name(test)).then(|| (file.to_owned(), test.to_owned()))
    });
    names.collect()
}

fn has_test((file, test): &(String, String)) -> bool {
    ["tests", "src"].iter().any(|folder| {
        let path = root().join(format!("netframe-protocols/{folder}/{file}.rs"));
        fs::read_to_string(path).is_ok_and(|source| source.contains(&format!("fn {test}(")))
    })
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = root().join("docs/SUMMARY.md");
    let check = |text: &str| broken_links(&page, text);
    let good = "# A `heading`, and more\n[1](#a-heading-and-more) [2](contract.md#the-contract)\n\
                [3](../README.md) [4](https://example.org/none) `[5](none.md)`";
    assert_eq!(check(good), [""; 0]);
    for bad in ["none.md", "../none/", "#none", "contract.md#none", "book.toml#none"] {
        assert_eq!(check(&format!("[text]({bad})")), [format!("docs/SUMMARY.md: {bad}")]);
        assert_eq!(check(&format!("[text]\n\n[text]: {bad}")).len(), 1, "by reference: {bad}");
    }
}

#[test]
fn headings_of_one_text_are_numbered() {
    assert_eq!(anchors("# One\n## Two × one\n# One"), ["one", "two--one", "one-1"]);
}

/// Links in `text` that lead to no file, or to no heading of a page.
fn broken_links(page: &Path, text: &str) -> Vec<String> {
    let leads_nowhere = |link: &String| {
        let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
        let target =
            if path.is_empty() { page.to_owned() } else { page.with_file_name("").join(path) };
        if fragment.is_empty() {
            return !target.exists();
        }
        let is_page = target.extension().is_some_and(|extension| extension == "md");
        let headings = match path {
            "" => anchors(text),
            _ if is_page && target.exists() => anchors(&read(&target)),
            _ => Vec::new(),
        };
        !headings.iter().any(|heading| heading == fragment)
    };
    let name = page.strip_prefix(root()).unwrap_or(page).display();
    links(text).filter(leads_nowhere).map(|link| format!("{name}: {link}")).collect()
}

/// Links that stay within the repository.
fn links(text: &str) -> impl Iterator<Item = String> {
    parse(text).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. })
            if !dest_url.contains("://") && !dest_url.starts_with("mailto:") =>
        {
            Some(dest_url.into_string())
        }
        _ => None,
    })
}

/// The fragments by which the headings of a page are reached, as mdBook and GitHub make them.
fn anchors(text: &str) -> Vec<String> {
    let (mut anchors, mut heading) = (Vec::<String>::new(), None::<String>);
    for event in parse(text) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::Text(text) | Event::Code(text), Some(heading)) => heading.push_str(&text),
            (Event::End(TagEnd::Heading(_)), _) => {
                let anchor = anchor(&heading.take().unwrap_or_default());
                let numbered = |number: usize| match number {
                    0 => anchor.clone(),
                    _ => format!("{anchor}-{number}"),
                };
                anchors.push((0..).map(numbered).find(|it| !anchors.contains(it)).unwrap());
            }
            _ => {}
        }
    }
    anchors
}

fn anchor(heading: &str) -> String {
    let char = |char: char| match char {
        ' ' => Some('-'),
        '-' | '_' => Some(char),
        _ => char.is_alphanumeric().then(|| char.to_ascii_lowercase()),
    };
    heading.chars().filter_map(char).collect()
}

fn has_rust(text: &str) -> bool {
    parse(text).any(|event| match event {
        Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
            info.split([',', ' ']).next() == Some("rust")
        }
        _ => false,
    })
}

fn parse(text: &str) -> Parser<'_> {
    Parser::new_ext(text, Options::ENABLE_TABLES)
}

/// What a reader of the repository comes across.
fn pages() -> Vec<PathBuf> {
    let mut pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
        .map(|name| root().join(name))
        .to_vec();
    add_pages(&root().join("docs"), &mut pages);
    pages
}

/// Adds the pages in a folder and those below it.
fn add_pages(folder: &Path, pages: &mut Vec<PathBuf>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            add_pages(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
