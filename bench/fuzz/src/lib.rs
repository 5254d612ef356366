//! Runs a piece of code on inputs that are nearly right, in process and on the stable toolchain.
//!
//! A target is a function of bytes that must not panic. It is run on every file of its corpus, and then on mutations of them.
//! What it answers tells how far an input came: one that came where none was before is mutated on, so that the search goes
//! deeper without the compiler's help. A panic leaves its input in the corpus folder: with the mended code and the file
//! committed, it is tried first from then on.
//!
//! `ORDERLY_FUZZ_SECONDS` has each target run for that long instead of for a fixed number of executions, and
//! `ORDERLY_FUZZ_SEED` draws other inputs.

mod mutate;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// The longest input that is made, in bytes.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;

/// How many inputs are mutated on, at most.
const POOL_MAX: usize = 2_048;

/// How often the clock is looked at.
const ROUND: u64 = 256;

/// What a run came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How often the target was run.
    pub executions: u64,
    /// How many different answers it gave.
    pub answers: usize,
}

/// Runs a target on the files of a folder and on `executions` mutations of them.
///
/// # Panics
/// When the target panics; the message names the file with the input. When the folder has no files.
pub fn run<A: Hash>(corpus: &Path, executions: u64, target: impl Fn(&[u8]) -> A) -> Ran {
    let mut pool = read(corpus);
    assert!(!pool.is_empty(), "{} has no inputs to begin with", corpus.display());
    let (mut answers, mut ran) = (HashSet::new(), 0);
    for input in &pool {
        answers.insert(attempt(corpus, input, &target));
        ran += 1;
    }
    let seed = setting("ORDERLY_FUZZ_SEED").unwrap_or(1);
    let until = setting("ORDERLY_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0.. {
        let ended = match until {
            Some(until) => number % ROUND == 0 && Instant::now() >= until,
            None => number >= executions,
        };
        if ended {
            break;
        }
        let input = mutate::mutated(&pool, &mut random);
        if answers.insert(attempt(corpus, &input, &target)) && pool.len() < POOL_MAX {
            pool.push(input);
        }
        ran += 1;
    }
    Ran { executions: ran, answers: answers.len() }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}; set a number")))
}

/// The inputs of a folder, in the order of their names.
fn read(corpus: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display()));
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    files.sort();
    let read = |file: &PathBuf| std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    files.iter().map(read).collect()
}

/// The target's answer, hashed. An input with which it panics is kept.
fn attempt<A: Hash>(corpus: &Path, input: &[u8], target: impl Fn(&[u8]) -> A) -> u64 {
    match catch_unwind(AssertUnwindSafe(|| hash(&target(input)))) {
        Ok(answer) => answer,
        Err(panic) => {
            let file = corpus.join(format!("failed-{:016x}", hash(input)));
            let kept = std::fs::write(&file, input);
            assert!(kept.is_ok(), "it panicked, and the input cannot be kept in {}: {input:?}", file.display());
            // The panic's own message was printed already; this one goes where it does.
            let told = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            resume_unwind(Box::new(format!("{}: {}", file.display(), told.unwrap_or("it panicked"))))
        }
    }
}

fn hash<A: Hash + ?Sized>(answer: &A) -> u64 {
    let mut hasher = DefaultHasher::new();
    answer.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own that is removed again.
    struct Folder(PathBuf);

    impl Folder {
        fn with(name: &str, input: &[u8]) -> Self {
            let folder = std::env::temp_dir().join(format!("orderly-fuzz-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("first"), input).unwrap();
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn goes_deeper_where_answers_are_new() {
        let folder = Folder::with("deeper", b"xxxxxxxx");
        // Byte by byte: blind search would need 256^4 attempts.
        let deep = |input: &[u8]| input.iter().zip(b"deep").take_while(|(one, other)| one == other).count();
        let ran = run(&folder.0, 200_000, deep);
        assert_eq!(ran, Ran { executions: 200_001, answers: 5 });
    }

    #[test]
    fn keeps_what_panics() {
        let folder = Folder::with("keeps", b"number 1");
        let target = |input: &[u8]| assert!(!input.ends_with(b"9"), "nine");
        let panic = catch_unwind(AssertUnwindSafe(|| run(&folder.0, 100_000, target))).unwrap_err();
        let told = panic.downcast_ref::<String>().unwrap();
        let file = std::fs::read_dir(&folder.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("failed-")));
        let file = file.expect("it is kept");
        assert!(told.contains(&*file.to_string_lossy()) && told.ends_with(": nine"), "{told}");
        assert!(std::fs::read(file).unwrap().ends_with(b"9"));
    }

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let folder = Folder::with("same", b"{\"a\": [1, 2, 3]}");
        let inputs = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            let pool = read(&folder.0);
            (0..50).map(|_| mutate::mutated(&pool, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }
}
