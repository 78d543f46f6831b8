//! `docs/contract.md` lists the tests of the rules as they are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn the_tables_list_every_test_of_a_rule_and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("../docs/contract.md")).unwrap();
    let listed: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split('`').nth(1))
        .filter(|name| name.contains("::") && !name.contains('/'))
        .map(str::to_owned)
        .collect();
    let mut written = BTreeSet::new();
    for file in fs::read_dir(root.join("tests/contract")).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        let source = fs::read_to_string(&path).unwrap();
        let datagrams = source.contains("\non_every_datagram_transport! {");
        for line in source.lines() {
            let Some(name) = line.trim_start().strip_prefix("async fn ") else { continue };
            let name = name.split(['(', '<']).next().unwrap();
            let is_test = name.starts_with("rule") || datagrams && line.contains("(gram: Gram)");
            if is_test && !line.starts_with(' ') {
                written.insert(format!("{module}::{name}"));
            }
        }
        for name in source.lines().filter_map(|line| line.strip_prefix("fn rule")) {
            written.insert(format!("{module}::rule{}", name.split('(').next().unwrap()));
        }
    }
    let missing: Vec<_> = written.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&written).collect();
    assert!(missing.is_empty() && gone.is_empty(), "missing: {missing:#?}, gone: {gone:#?}");
}
