//! Every input that fuzzing kept is tried again, and a number of new ones made from them. See docs/fuzzing.md.

#![allow(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]

mod mutate;
mod targets;

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mutate::Mutator;
use targets::TARGETS;

/// New inputs of each target; the seed is fixed, so that every run tries the same.
const NEW: usize = 400;
/// The largest input that is kept in the repository.
const KEPT_MAX: u64 = 16 << 10;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect()
}

fn replay(target: &str) {
    let (_, body) = TARGETS.into_iter().find(|(name, _)| *name == target).unwrap();
    let kept = corpus(target);
    assert!(kept.len() >= 8, "{target} has only {} inputs", kept.len());
    let mut broken = Vec::new();
    for (file, data) in &kept {
        assert!(data.len() as u64 <= KEPT_MAX, "{} is too large to be kept", file.display());
        if catch_unwind(|| body(data)).is_err() {
            broken.push(file.display().to_string());
        }
    }
    assert!(broken.is_empty(), "{target} breaks on {}", broken.join(", "));
    let inputs: Vec<Vec<u8>> = kept.into_iter().map(|(_, data)| data).collect();
    let mut mutator = Mutator::new(&inputs);
    for number in 0..NEW {
        let data = mutator.next();
        if catch_unwind(|| body(&data)).is_err() {
            let file = std::env::temp_dir().join(format!("palier-{target}-{number}"));
            fs::write(&file, &data).unwrap();
            panic!(
                "{target} breaks on {}: copy it to fuzz/corpus/{target} once it is mended",
                file.display()
            );
        }
    }
}

/// One test for each target; the list of targets cannot grow without one.
macro_rules! replays {
    ($($name:ident),*) => {
        $(#[test] fn $name() { replay(stringify!($name)); })*

        #[test]
        fn every_target_is_replayed_and_has_a_program() {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
            let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
            let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
            for name in names {
                assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

replays!(manifests, answers, ranges, histograms, queries, statuses, frames, durations);

/// An input of any form is done with at once: nothing that comes from outside may keep a decision waiting.
#[test]
#[allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
fn no_kept_input_takes_long() {
    for (target, body) in TARGETS {
        for (file, data) in corpus(target) {
            let begun = std::time::Instant::now();
            let _ = catch_unwind(|| body(&data));
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{} takes {:?}",
                file.display(),
                begun.elapsed()
            );
        }
    }
}
