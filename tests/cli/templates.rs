//! Files whose Rollout takes its gates from a template.

use std::process::{Command, Output};

use crate::fixtures::path;

const PALIER: &str = env!("CARGO_BIN_EXE_palier");

fn palier(args: &[&str]) -> Output {
    Command::new(PALIER).args(args).env_remove("KUBECONFIG").env("HOME", "/nonexistent").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn example() -> String {
    path("..", "../examples/gate-template.yaml").display().to_string()
}

#[test]
fn a_plan_has_the_gates_of_the_template_with_the_parameters() {
    let output = palier(&["plan", "-f", &example(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let gates = plan["components"][0]["gates"].as_array().unwrap();
    let named: Vec<(&str, &str)> =
        gates.iter().map(|it| (it["name"].as_str().unwrap(), it["limits"].as_str().unwrap())).collect();
    assert_eq!(named[0].0, "errors");
    assert!(named[0].1.contains("0.02"), "{named:?}");
    assert_eq!(named[1].0, "latency");
    assert!(named[1].1.contains("0.5"), "{named:?}");
}

#[test]
fn a_simulation_is_judged_by_the_gates_of_the_template() {
    let output = palier(&["simulate", "-f", &example(), "--worse", "errors=3", "-o", "json"]);
    let told: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    assert_eq!(told["outcome"], "RolledBack", "{}", told["message"]);
}

#[test]
fn a_file_without_the_template_says_what_is_missing_and_where_it_is_looked_for() {
    let whole = std::fs::read_to_string(example()).unwrap();
    let (_, rollout) = whole.split_once("---\n").unwrap();
    let file = std::env::temp_dir().join(format!("palier-without-template-{}.yaml", std::process::id()));
    std::fs::write(&file, rollout).unwrap();
    let output = palier(&["plan", "-f", file.to_str().unwrap()]);
    std::fs::remove_file(&file).unwrap();
    let said = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_ne!(output.status.code(), Some(0));
    assert!(said.contains("there is no ClusterGateTemplate http"), "{said}");
    assert!(said.contains("templates are looked for in the same file"), "{said}");
}
