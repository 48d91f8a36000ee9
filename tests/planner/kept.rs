//! Scripts that failed once, made small: they are played at every change, for ever.

use std::fs;
use std::path::Path;

use crate::shapes::Kept;

#[test]
fn every_script_that_once_failed_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "json"));
    files.sort();
    assert!(!files.is_empty());
    let mut broken = Vec::new();
    for path in files {
        let kept: Kept = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        if let Err(why) = kept.play() {
            broken.push(format!("{}: {why}", path.display()));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
