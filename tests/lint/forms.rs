//! The forms of the findings, kept in `golden/` (`UPDATE_GOLDEN=1` rewrites them), and the exit status.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{PALIER, palier, root, text};

/// An error, a warning and a note.
const SEVERAL: &str = "tests/lint/several.yaml";

fn check(name: &str, page: &str) {
    let file = root().join("tests/lint/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, page).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_default();
    assert!(golden == page, "{} differs (UPDATE_GOLDEN=1 rewrites it); now:\n{page}", file.display());
}

#[test]
fn every_form_looks_as_kept() {
    for (form, name) in [("text", "findings.txt"), ("json", "findings.json"), ("sarif", "findings.sarif")] {
        let output = palier(&["lint", "-o", form, SEVERAL]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        check(name, &text(&output.stdout));
    }
}

#[test]
fn the_text_of_the_planner_is_the_promised_one() {
    let output =
        palier(&["lint", "tests/lint/bad/too-short-to-see.yaml", "--rps", "2", "--error-rate", "0.01"]);
    let said = text(&output.stdout);
    for part in [
        "10 % of 2 requests a second for 5m are 60 requests",
        "with 80 % power is 1 % → ",
        "a doubling needs ",
        "up to 4.9 % possible",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// What code scanning needs of SARIF 2.1.0: versions, one run, rules with unique ids, results that point at them and into files.
#[test]
fn sarif_is_fit_for_code_scanning() {
    let output = palier(&["lint", "-o", "sarif", "tests/lint/bad"]);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&log["version"], log["runs"].as_array().unwrap().len()), (&Value::from("2.1.0"), 1));
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-2.1.0.json"));
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert!(results.len() >= 60, "{} results", results.len());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let at = &result["locations"][0]["physicalLocation"];
        assert!(
            at["region"]["startLine"].as_u64().unwrap() >= 1
                && at["region"]["startColumn"].as_u64().unwrap() >= 1
        );
        let uri = at["artifactLocation"]["uri"].as_str().unwrap();
        assert!(!uri.starts_with('/') && root().join(uri).exists(), "{uri}");
    }
}

#[test]
fn the_exit_status_says_how_bad_it_is() {
    let code = |args: &[&str]| palier(&[&["lint"][..], args].concat()).status.code();
    assert_eq!(code(&["tests/lint/good/least.yaml"]), Some(0));
    assert_eq!(code(&["tests/lint/bad/circle.yaml"]), Some(1));
    assert_eq!(code(&["tests/lint/bad/latest.yaml"]), Some(0), "a warning");
    assert_eq!(code(&["--strict", "tests/lint/bad/latest.yaml"]), Some(1));
    assert_eq!(code(&["--strict", "tests/lint/bad/status-in-git.yaml"]), Some(0), "a note");
    assert_eq!(code(&["tests/lint/nothing-here.yaml"]), Some(2));
    assert_eq!(code(&["src/api"]), Some(2), "a folder without manifests");
    assert_eq!(code(&["--rps=-1", "tests/lint/good/least.yaml"]), Some(2));
    assert_eq!(code(&[]), Some(2));
}

#[test]
fn standard_input_is_read() {
    let mut run = Command::new(PALIER)
        .args(["lint", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let manifest = fs::read(root().join("tests/lint/bad/circle.yaml")).unwrap();
    run.stdin.take().unwrap().write_all(&manifest).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.code() == Some(1) && said.starts_with("<stdin>:"), "{said}");
    assert!(!said.contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn gates_that_compare_are_told_of_the_flags() {
    let said = text(&palier(&["lint", "tests/lint/good/early-end.yaml"]).stdout);
    assert!(said.contains("nothing to mend") && said.contains("--rps and --error-rate"), "{said}");
}
