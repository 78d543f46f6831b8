//! `docs/http.md` names tests that exist.

use std::fs;
use std::path::Path;

#[test]
fn the_page_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("../docs/http.md")).unwrap();
    let mut count = 0;
    for quoted in page.split('`').skip(1).step_by(2) {
        let Some((module, name)) = quoted.split_once("::") else { continue };
        let Ok(source) = fs::read_to_string(root.join(format!("tests/http/{module}.rs"))) else {
            continue;
        };
        count += 1;
        assert!(source.contains(&format!("fn {name}()")), "there is no {quoted}");
    }
    assert!(count > 40, "only {count} are named");
}
