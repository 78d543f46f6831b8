//! What runs a fuzz target on stable: its committed corpus as a plain test, and changes of the corpus
//! for as long as one likes.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

/// Runs every input of the corpus in `folder`.
///
/// # Panics
///
/// One of them fails, or there is none.
pub fn replay(folder: impl AsRef<Path>, target: impl Fn(&[u8])) {
    for (name, input) in read(folder.as_ref()) {
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            panic!("{name} fails: b\"{}\"", input.escape_ascii());
        }
    }
}

/// Runs random changes of the corpus for as many seconds as `FUZZ_SECONDS` says, or ten. An input that
/// fails is made small and put into the folder.
///
/// # Panics
///
/// An input fails.
pub fn explore(folder: impl AsRef<Path>, target: impl Fn(&[u8])) {
    let seconds = env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let until = Instant::now() + Duration::from_secs(seconds);
    let corpus: Vec<_> = read(folder.as_ref()).into_iter().map(|(_, input)| input).collect();
    let fails = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| target(input))).is_err();
    let (mut random, mut count) = (fastrand::Rng::new(), 0_u64);
    while Instant::now() < until {
        let input = change(&corpus, &mut random);
        count += 1;
        if fails(&input) {
            let hook = take_hook();
            set_hook(Box::new(|_| {}));
            let small = shrink(input, fails);
            set_hook(hook);
            let hash = small
                .iter()
                .fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
            let path = folder.as_ref().join(format!("failed-{hash:08x}"));
            let kept = fs::write(&path, &small)
                .map_or_else(|error| error.to_string(), |()| format!("kept as {}", path.display()));
            panic!("input {count} fails: b\"{}\" ({kept})", small.escape_ascii());
        }
    }
    let (folder, known) = (folder.as_ref().display(), corpus.len());
    println!("{folder}: {count} inputs from a corpus of {known} in {seconds} s, none fails");
}

fn read(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("the corpus is committed");
    let mut corpus: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("the folder can be read");
            let input = fs::read(entry.path()).expect("so can its files");
            (entry.file_name().to_string_lossy().into_owned(), input)
        })
        .collect();
    corpus.sort();
    assert!(!corpus.is_empty(), "{} has no input", folder.display());
    corpus
}

/// An input of the corpus, changed in some places.
fn change(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = corpus[random.usize(..corpus.len())].clone();
    for _ in 0..random.usize(1..12) {
        let at = random.usize(..=input.len());
        let end = at + random.usize(..=(input.len() - at).min(16));
        match random.u8(..7) {
            0 if at < input.len() => input[at] = random.u8(..),
            1 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            2 => input.insert(at, random.u8(..)),
            3 => drop(input.drain(at..end)),
            4 => {
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            5 => input.extend((0..random.usize(..64)).map(|_| random.u8(..))),
            _ => {
                let other = &corpus[random.usize(..corpus.len())];
                let from = random.usize(..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input.truncate(4096);
    input
}

/// Leaves out whatever does not make it pass.
fn shrink(mut input: Vec<u8>, fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut part = input.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut without = input.clone();
            without.drain(at..(at + part).min(input.len()));
            if fails(&without) {
                input = without;
            } else {
                at += part;
            }
        }
        part /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_made_small() {
        let fails = |input: &[u8]| input.contains(&b'x') && input.contains(&b'y');
        assert_eq!(shrink(b"..x......y...".to_vec(), fails), b"xy");
    }

    #[test]
    fn a_change_is_of_the_corpus() {
        let mut random = fastrand::Rng::with_seed(7);
        let corpus = [b"one".to_vec(), Vec::new()];
        let changed: Vec<_> = (0..100).map(|_| change(&corpus, &mut random)).collect();
        assert!(changed.iter().any(|input| input.starts_with(b"on")));
        assert!(changed.iter().all(|input| input.len() <= 4096));
    }
}
