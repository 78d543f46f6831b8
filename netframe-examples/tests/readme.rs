//! README.md shows what is in the examples.

const README: &str = include_str!("../../README.md");
const SHOUT: &str = include_str!("../examples/shout.rs");

#[test]
fn the_protocol_and_its_test_are_those_of_the_example() {
    let (header, code) = SHOUT.split_once("\n\n").unwrap();
    assert!(header.lines().all(|line| line.starts_with("//!")));
    let shown: Vec<_> = code_blocks("rust").collect();
    assert_eq!(shown.join("\n"), code);
    assert_eq!(shown[0].lines().count(), 20, "it is called twenty lines");
}

#[test]
fn its_two_commands_open_it() {
    let commands =
        "cargo run --release -- run netframe-examples/demo.toml\ncargo test --workspace\n";
    assert_eq!(code_blocks("sh").next().unwrap(), commands);
}

#[test]
fn it_names_the_oldest_rust_that_works() {
    assert!(README.contains(concat!("Rust ", env!("CARGO_PKG_RUST_VERSION"))));
}

/// The texts of the code blocks in a language, in order.
fn code_blocks(language: &str) -> impl Iterator<Item = String> {
    // Outside and inside take turns.
    README.split("```").skip(1).step_by(2).filter_map(move |block| {
        let (info, code) = block.split_once('\n')?;
        (info.split(',').next() == Some(language)).then(|| code.to_owned())
    })
}
