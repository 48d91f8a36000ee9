//! The program itself: its arguments, exit statuses and output, against a small API server on the loopback interface.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use palier::api::Rollout;
use serde::Deserialize;
use serde_json::json;
use tokio::process::Command as AsyncCommand;

use crate::fixtures::rollout;

const PALIER: &str = env!("CARGO_BIN_EXE_palier");

fn palier(args: &[&str]) -> Output {
    Command::new(PALIER).args(args).env_remove("KUBECONFIG").env("HOME", "/nonexistent").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_version_names_the_api() {
    let output = palier(&["version"]);
    assert_eq!(text(&output.stdout), "palier 0.1.0 (palier.dev/v1alpha1)\n");
    assert!(output.status.success());
}

#[test]
fn the_definitions_are_documents_in_order_and_always_the_same() {
    let first = text(&palier(&["crds"]).stdout);
    assert_eq!(first, text(&palier(&["crds"]).stdout));
    let kinds: Vec<String> = first
        .split("---\n")
        .map(|document| {
            let definition: serde_json::Value = serde_saphyr::from_str(document).unwrap();
            assert_eq!(definition["apiVersion"], "apiextensions.k8s.io/v1");
            definition["spec"]["names"]["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    let wanted =
        ["Rollout", "RolloutRun", "RolloutAction", "GateTemplate", "ClusterGateTemplate", "MetricSource"];
    assert_eq!(kinds, wanted);
    let wanted = serde_json::to_value(&palier::api::crds::all()[0]).unwrap();
    let printed: serde_json::Value = serde_saphyr::from_str(first.split("---\n").next().unwrap()).unwrap();
    assert_eq!(printed, wanted, "YAML and back is the same definition");
}

#[test]
fn as_a_kubectl_plugin_it_goes_by_that_name() {
    let folder = std::env::temp_dir().join(format!("palier-plugin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let plugin = folder.join("kubectl-palier");
    symlink(PALIER, &plugin).unwrap();
    let output = Command::new(&plugin).args(["status", "--help"]).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        text(&output.stdout).contains("Usage: kubectl palier status [OPTIONS] <ROLLOUT>"),
        "{}",
        text(&output.stdout)
    );
    assert!(text(&palier(&["status", "--help"]).stdout).contains("Usage: palier status [OPTIONS] <ROLLOUT>"));
}

#[test]
fn completion_scripts_name_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&palier(&["completion", shell]).stdout);
        for word in [
            "status", "explain", "plan", "simulate", "record", "abort", "promote", "pause", "resume",
            "retry", "history", "run", "crds",
        ] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn wrong_command_lines_say_what_is_wrong() {
    for (args, said) in [
        (&["abort"][..], "<ROLLOUT>"),
        (&["status", "Shop/../x"][..], "not the name of a Rollout"),
        (&["status", "shop", "-w", "--timeout", "soon"][..], "write it like 90s, 10m"),
        (&["status", "shop", "--timeout", "5m"][..], "--watch"),
        (&["run", "--prometheus-url", "ftp://x"][..], "write it like https://prometheus.monitoring:9090"),
        (&["run", "--lease-duration", "5s"][..], "must rise"),
        (&["run", "--log-level", "lou[d"][..], "--log-level"),
        (&["run", "--concurrency", "0"][..], "1..=1024"),
    ] {
        let output = palier(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(said), "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn a_password_in_an_address_is_not_repeated() {
    let output = palier(&["run", "--prometheus-url", "http://me:hunter2@prometheus:9090"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("without user") && !said.contains("hunter2"), "{said}");
}

#[test]
fn without_a_kubeconfig_it_says_how_to_name_one() {
    let output = palier(&["status", "shop"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.starts_with("error: cannot read the kubeconfig") && said.contains("--kubeconfig"), "{said}");
    let output = palier(&["--kubeconfig", "/nonexistent/config", "status", "shop"]);
    assert!(text(&output.stderr).contains("/nonexistent/config"), "{}", text(&output.stderr));
}

/// A kubeconfig file that goes when it is dropped.
struct Kubeconfig {
    file: PathBuf,
}

impl Kubeconfig {
    fn new(name: &str, server: &str) -> Self {
        let file = std::env::temp_dir().join(format!("palier-{name}-{}", std::process::id()));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "shop"}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        Self { file }
    }

    async fn palier(&self, args: &[&str]) -> Output {
        let run = AsyncCommand::new(PALIER).args(args).env("KUBECONFIG", &self.file).output();
        tokio::time::timeout(Duration::from_secs(30), run).await.expect("it hangs").unwrap()
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

#[tokio::test]
async fn an_api_server_that_is_not_there() {
    let config = Kubeconfig::new("gone", "http://127.0.0.1:1");
    let output = config.palier(&["status", "shop"]).await;
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("cannot reach the API server at http://127.0.0.1:1: Connection refused"), "{said}");
    assert!(said.contains("Is the cluster up"), "{said}");
}

/// The versions of one Rollout: the first is what a read or a list gives, each of the others comes 50 ms after.
#[derive(Clone)]
struct Story(Vec<Rollout>);

#[derive(Deserialize)]
struct ListQuery {
    watch: Option<String>,
}

async fn read(State(story): State<Story>) -> Response {
    axum::Json(story.0[0].clone()).into_response()
}

async fn list(State(story): State<Story>, Query(query): Query<ListQuery>) -> Response {
    if query.watch.is_none() {
        let metadata = json!({"resourceVersion": "1"});
        return axum::Json(json!({"kind": "RolloutList", "metadata": metadata, "items": [story.0[0]]}))
            .into_response();
    }
    let events = futures::stream::iter(story.0.into_iter().skip(1)).then(|next| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, std::convert::Infallible>(format!("{}\n", json!({"type": "MODIFIED", "object": next})))
    });
    Body::from_stream(events.chain(futures::stream::pending())).into_response()
}

async fn tell(name: &str, states: &[&str]) -> Kubeconfig {
    let mut versions: Vec<Rollout> = states.iter().map(|state| rollout(state)).collect();
    for (index, version) in versions.iter_mut().enumerate() {
        version.metadata.resource_version = Some((index + 1).to_string());
    }
    let base = "/apis/palier.dev/v1alpha1/namespaces/shop/rollouts";
    let app = axum::Router::new()
        .route(base, get(list))
        .route(&format!("{base}/{{name}}"), get(read))
        .with_state(Story(versions));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Kubeconfig::new(name, &server)
}

#[tokio::test]
async fn watching_on_a_pipe_prints_one_line_per_change_and_ends_with_the_run() {
    let config = tell("good", &["baking", "baking", "held", "completed"]).await;
    let output = config.palier(&["status", "shop", "-w"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("Z Baking, run 7, phase 2/3 half, traffic 50%"), "{}", lines[0]);
    assert!(lines[1].contains("Z Held, run 8") && lines[2].contains("Z Completed, run 7"), "{lines:?}");
}

#[tokio::test]
async fn a_rollback_ends_with_status_1() {
    let config = tell("bad", &["rolling-back", "rolled-back"]).await;
    assert_eq!(config.palier(&["status", "shop", "-w"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn patience_ends_with_status_3() {
    let config = tell("slow", &["baking"]).await;
    let output = config.palier(&["status", "shop", "-w", "--timeout", "300ms"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_release_of_parts_is_a_tree_and_all_adds_every_detail() {
    let config = tell("parts", &["chain"]).await;
    let brief = text(&config.palier(&["status", "shop"]).await.stdout);
    assert!(brief.contains("  └─ ▶ stock") && !brief.contains("canary pods ready"), "{brief}");
    let all = text(&config.palier(&["status", "shop", "--all"]).await.stdout);
    assert!(all.contains("  └─ ▶ stock") && all.matches("canary pods ready").count() == 6, "{all}");
}

#[tokio::test]
async fn a_status_is_text_json_or_yaml() {
    let config = tell("forms", &["baking"]).await;
    let plain = text(&config.palier(&["status", "shop"]).await.stdout);
    assert!(plain.starts_with("shop/shop  ● Baking") && !plain.contains('\u{1b}'), "{plain}");
    let painted = text(&config.palier(&["status", "shop", "--color", "always"]).await.stdout);
    assert!(painted.contains("\u{1b}["), "{painted}");
    let json: Rollout =
        serde_json::from_slice(&config.palier(&["status", "shop", "-o", "json"]).await.stdout).unwrap();
    let yaml = text(&config.palier(&["status", "rollout/shop", "-o", "yaml"]).await.stdout);
    let yaml: Rollout = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(serde_json::to_value(&json).unwrap(), serde_json::to_value(&yaml).unwrap());
    assert_eq!(json.status, rollout("baking").status);
}
