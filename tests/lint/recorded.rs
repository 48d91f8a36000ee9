//! Each recorded mistake is found, by its code and line and nothing else; good manifests have no finding; each code is
//! explained and shown.

use std::collections::BTreeSet;
use std::fs;

use palier::engine::lint::ALL;

use crate::{files, findings, root};

#[test]
fn each_recorded_mistake_is_found_and_nothing_else() {
    let (all, mut wrong) = (files("tests/lint/bad"), Vec::new());
    assert!(all.len() >= 60, "{} mistakes", all.len());
    for file in &all {
        let text = fs::read_to_string(file).unwrap();
        let wanted =
            text.lines().next().unwrap().strip_prefix("# finds: ").expect("a first line `# finds: …`");
        let found: Vec<String> = findings(file)
            .iter()
            .map(|it| format!("{} line {}", it["code"].as_str().unwrap(), it["line"]))
            .collect();
        if found != [wanted] {
            wrong.push(format!("{}: wanted {wanted}, found {:?}", file.display(), findings(file)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn twenty_mistakes_come_from_issue_trackers() {
    let sources = files("tests/lint/bad").into_iter().filter_map(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.lines().find_map(|line| line.strip_prefix("# from: ")).map(str::to_owned)
    });
    let sources: BTreeSet<String> = sources.collect();
    let is_issue = |it: &String| {
        it.split_once('#')
            .is_some_and(|(at, number)| at.matches('/').count() == 1 && number.parse::<u32>().is_ok())
    };
    assert!(sources.len() >= 20 && sources.iter().all(is_issue), "{}: {sources:?}", sources.len());
}

#[test]
fn good_manifests_have_no_finding() {
    let all: Vec<_> = files("tests/lint/good").into_iter().chain(files("examples")).collect();
    assert!(all.len() >= 20, "{} manifests", all.len());
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|file| {
            let found = findings(file);
            (!found.is_empty()).then(|| format!("{}: {found:?}", file.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_code_is_explained_and_shown() {
    let manual = fs::read_to_string(root().join("docs/lint.md")).unwrap();
    let explained: Vec<&str> =
        manual.lines().filter_map(|it| it.strip_prefix("| PAL").map(|_| &it[2..8])).collect();
    let known: Vec<&str> = ALL.iter().map(|it| it.code).collect();
    assert_eq!(explained, known, "docs/lint.md has a row for each code, in order");
    let unique: BTreeSet<&str> = known.iter().copied().collect();
    assert_eq!(unique.len(), known.len(), "a code is given twice");
    for check in ALL {
        let row = manual.lines().find(|it| it.starts_with(&format!("| {} |", check.code))).unwrap();
        assert!(row.contains(&format!("| {} |", check.severity.word())), "{row}");
    }
    let shown: BTreeSet<String> = files("tests/lint/bad")
        .iter()
        .map(|file| fs::read_to_string(file).unwrap()["# finds: ".len()..][..6].to_owned())
        .collect();
    // What only a server can show is shown by tests/lint/server.rs.
    let missing: Vec<&str> =
        known.into_iter().filter(|it| !it.starts_with("PAL7") && !shown.contains(*it)).collect();
    assert!(missing.is_empty(), "no file in tests/lint/bad shows {missing:?}");
}
