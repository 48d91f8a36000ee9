//! The lab's own test: what the end-to-end tests take for granted.

#![allow(clippy::disallowed_methods, reason = "what is measured here is real time")]
#![allow(clippy::print_stderr, reason = "there is no harness yet that could speak")]

#[path = "mod.rs"]
mod lab;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use lab::pods::Behaviour;
use lab::{Lab, Mood, Options, Place, Target, User, eventually};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(30);

/// The manifest of an application: a Deployment of one image, and a Service.
fn app(namespace: &str, name: &str, tag: &str, replicas: u32) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: app, image: 'app:{tag}'}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: 8080}}]
"
    )
}

/// The manifest of a route that splits a host's traffic.
fn route(namespace: &str, backends: &[(&str, u32)]) -> String {
    let backends =
        backends.iter().map(|(name, weight)| format!("{{name: {name}, port: 80, weight: {weight}}}"));
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {namespace}, namespace: {namespace}}}
spec:
  parentRefs: [{{name: lab, namespace: lab}}]
  hostnames: [{namespace}.example]
  rules:
  - backendRefs: [{}]
",
        backends.collect::<Vec<_>>().join(", ")
    )
}

async fn ready(lab: &Lab, namespace: &str, name: &str, replicas: i32) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(lab.client(), namespace);
    eventually(format!("{name} has {replicas} ready pods"), WITHIN, async || {
        let status = deployments.get(name).await?.status.unwrap_or_default();
        let counts = (status.ready_replicas.unwrap_or_default(), status.replicas.unwrap_or_default());
        if counts == (replicas, replicas) { Ok(()) } else { Err(format!("ready, all: {counts:?}").into()) }
    })
    .await
}

/// Waits until a host's requests are answered by pods of all these versions. A Service is not served at once when its pods are
/// ready: its endpoints have to reach the gateway first.
async fn reachable(host: &str, versions: &[&str]) -> Result<()> {
    let http = reqwest::Client::new();
    eventually(format!("{host} answers from {versions:?}"), WITHIN, async || {
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            let answer = http.get(lab::GATEWAY_URL).header("host", host).send().await?;
            let version = answer.headers().get("x-version").ok_or(format!("{}", answer.status()))?;
            seen.insert(version.to_str()?.to_owned());
        }
        if versions.iter().all(|one| seen.contains(*one)) {
            Ok(())
        } else {
            Err(format!("only {seen:?}").into())
        }
    })
    .await
}

async fn pods(lab: &Lab, namespace: &str) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(lab.client(), namespace);
    Ok(pods.list(&ListParams::default()).await?.items)
}

fn address(pod: &Pod) -> Result<String> {
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    Ok(format!("http://{}:8080/", ip.with_context(|| format!("pod {} has no address", pod.name_any()))?))
}

fn tools_are_the_pinned_ones(lab: &Lab) -> Result<()> {
    let mut said = String::new();
    for program in ["etcd", "kube-apiserver", "kubectl", "kwok", "helm", "traefik", "prometheus"] {
        let mut command = lab.tools().command(program)?;
        command.arg(if matches!(program, "kubectl" | "helm" | "traefik") { "version" } else { "--version" });
        if program == "kubectl" {
            command.arg("--client");
        }
        let output = command.output().with_context(|| format!("cannot run {program}"))?;
        ensure!(output.status.success(), "{program} does not say its version: {output:?}");
        said += &String::from_utf8_lossy(&output.stdout);
    }
    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        ensure!(said.contains("etcd Version: 3.7.3"), "another etcd: {said}");
        ensure!(said.contains("Kubernetes v1.36.3"), "another kube-apiserver: {said}");
    }
    let server = lab.kubectl(&["version", "-o", "json"])?;
    ensure!(server.contains("serverVersion"), "no API server: {server}");
    ensure!(lab.helm(&["list", "-A", "-q"])?.is_empty(), "a new control plane has Helm releases");
    Ok(())
}

async fn traffic_is_split_as_the_route_says(lab: &Lab) -> Result<()> {
    lab.apply(&(app("split", "stable", "v1", 4) + "---\n" + &app("split", "canary", "v2", 1))).await?;
    lab.apply(&route("split", &[("stable", 90), ("canary", 10)])).await?;
    ready(lab, "split", "stable", 4).await?;
    ready(lab, "split", "canary", 1).await?;
    reachable("split.example", &["v1", "v2"]).await?;

    let load = lab.load(Target::host("split.example", 200))?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = Timestamp::now();
    lab.apply(&route("split", &[("stable", 50), ("canary", 50)])).await?;
    eventually("the new weights are in force", Duration::from_secs(5), async || {
        let share = load.since(begun).share_of("v2");
        if share > 35.0 { Ok(()) } else { Err(format!("v2 has {share:.0} %").into()) }
    })
    .await?;
    let report = load.stop().await;

    let before = report.between(Timestamp::UNIX_EPOCH, begun);
    ensure!(before.total() > 900, "not 200 requests a second: {before}");
    ensure!((before.share_of("v2") - 10.0).abs() <= 3.0, "not 10 %: {before}");
    ensure!(report.failures().is_empty(), "{report}");
    let asked = lab.players().requests_of_image("split", "app:v2");
    ensure!(asked > 0, "the players have counted nothing");

    eventually("Prometheus has the pods' counters", Duration::from_secs(10), async || {
        let series = lab.prometheus(r#"sum(http_requests_total{namespace="split",code="200"})"#).await?;
        let counted = series.first().and_then(|one| one.pointer("/value/1")).and_then(Value::as_str);
        let counted: f64 = counted.unwrap_or("0").parse()?;
        if counted >= report.total() as f64 { Ok(()) } else { Err(format!("{counted} of {report}").into()) }
    })
    .await
}

async fn calls_are_split_as_well(lab: &Lab) -> Result<()> {
    lab.apply(&(app("calls", "stable", "v1", 1) + "---\n" + &app("calls", "canary", "v2-err100", 1))).await?;
    for service in ["stable", "canary"] {
        // Traefik speaks HTTP/2 to a backend that says so.
        let port =
            r#"{"spec": {"ports": [{"port": 80, "targetPort": 8080, "appProtocol": "kubernetes.io/h2c"}]}}"#;
        lab.kubectl(&["-n", "calls", "patch", "service", service, "-p", port])?;
        ready(lab, "calls", service, 1).await?;
    }
    lab.apply(&route("calls", &[("stable", 75), ("canary", 25)]).replace("HTTPRoute", "GRPCRoute")).await?;
    eventually("calls reach both versions", WITHIN, async || {
        let load = lab.load(Target::grpc("calls.example", "/lab.Greeter/Greet", 100))?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let report = load.stop().await;
        let canary = report.share_of("v2-err100");
        let answers = (report.lost().is_empty(), (canary - 25.0).abs() <= 3.0, report.failures().len() > 20);
        if answers == (true, true, true) { Ok(()) } else { Err(report.into()) }
    })
    .await
}

async fn images_say_how_pods_behave(lab: &Lab) -> Result<()> {
    ensure!(Behaviour::of("registry/app:v3-err5-slow100").errors == 5, "err5 is not read");
    ensure!(Behaviour::of("app:v1") == Behaviour::default(), "v1 is not healthy");
    lab.apply(&(app("moody", "bad", "v2-err50", 1) + "---\n" + &app("moody", "slow", "v3-slow200", 1)))
        .await?;
    lab.apply(&(app("moody", "never", "v4-neverready", 2) + "---\n" + &app("moody", "late", "v5-late2", 1)))
        .await?;
    lab.apply(&app("moody", "crash", "v6-crash3", 1)).await?;
    ready(lab, "moody", "bad", 1).await?;
    ready(lab, "moody", "slow", 1).await?;

    lab.apply(&route("moody", &[("bad", 1)])).await?;
    reachable("moody.example", &["v2-err50"]).await?;
    let load = lab.load(Target::host("moody.example", 100))?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let bad = load.stop().await;
    let share = 100.0 * bad.failures().len() as f64 / bad.total() as f64;
    ensure!((35.0..=65.0).contains(&share), "not half of the answers are errors: {bad}");
    ensure!(bad.lost().is_empty(), "{bad}");

    lab.apply(&route("moody", &[("slow", 1)])).await?;
    eventually("the slow pod is slow", WITHIN, async || {
        let load = lab.load(Target::host("moody.example", 20))?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let slow = load.stop().await;
        let median = slow.quantile(0.5).as_millis();
        if (160..400).contains(&median) { Ok(()) } else { Err(format!("{median} ms: {slow}").into()) }
    })
    .await?;

    ready(lab, "moody", "late", 1).await?;
    let crashed = async || {
        let status = Api::<Deployment>::namespaced(lab.client(), "moody").get("crash").await?.status;
        let left = status.and_then(|status| status.ready_replicas).unwrap_or_default();
        if left == 0 { Ok(()) } else { Err(format!("{left} ready").into()) }
    };
    eventually("the crashing pod is not ready any more", WITHIN, crashed).await?;
    let never =
        lab.kubectl(&["-n", "moody", "get", "pods", "-l", "app=never", "-o", "jsonpath={.items[*].status}"])?;
    ensure!(
        never.contains("podIP") && !never.contains("\"ready\":true"),
        "a never-ready pod is ready: {never}"
    );
    Ok(())
}

async fn deleted_pods_refuse(lab: &Lab) -> Result<()> {
    lab.apply(&app("gone", "gone", "v1", 2)).await?;
    ready(lab, "gone", "gone", 2).await?;
    let before = pods(lab, "gone").await?;
    lab.apply(&app("gone", "gone", "v1", 1)).await?;
    ready(lab, "gone", "gone", 1).await?;
    let after = pods(lab, "gone").await?;
    let kept = |pod: &&Pod| after.iter().any(|other| other.name_any() == pod.name_any());
    let (kept, gone): (Vec<_>, Vec<_>) = before.iter().partition(kept);
    let (kept, gone) =
        (address(kept.first().context("none kept")?)?, address(gone.first().context("none gone")?)?);

    // The grace first: it is not refused in the moment of its deletion.
    ensure!(reqwest::get(&gone).await.is_ok(), "a deleted pod has no grace");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let refused = lab.players().refusals().len();
    ensure!(reqwest::get(&gone).await.is_err(), "a deleted pod still answers");
    ensure!(lab.players().refusals().len() > refused, "the refusal is not counted");
    ensure!(reqwest::get(&kept).await?.status().is_success(), "the pod that was kept does not answer");
    Ok(())
}

async fn rights_are_rbac_and_the_audit_log_tells(lab: &Lab) -> Result<()> {
    lab.apply("{apiVersion: v1, kind: Namespace, metadata: {name: rights}}").await?;
    lab.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: rights}}").await?;
    let mark = lab.audit().mark();
    let robot = lab.token_for("rights", "robot").await?;
    let refused = lab.kubectl_with(&robot, &["-n", "rights", "create", "configmap", "made-by-robot"]);
    ensure!(format!("{refused:?}").contains("orbidden"), "a robot without rights: {refused:?}");
    let ana = lab.kubectl_with(&lab.kubeconfig("ana", 0), &["auth", "whoami"])?;
    ensure!(ana.contains("ana") && ana.contains("oncall"), "not ana of oncall: {ana}");

    let entries = lab.audit().since(&mark)?;
    let robots = entries.by("system:serviceaccount:rights:robot").mutations();
    let first = robots.0.first().context("the audit log has nothing of the robot")?;
    let what = (first.verb.as_str(), first.resource.as_str(), first.namespace.as_str(), first.code);
    ensure!(what == ("create", "configmaps", "rights", 403), "another request: {first:?}");
    ensure!(robots.forbidden().0.len() == 1 && robots.counts().len() == 1, "not counted once: {robots:?}");
    Ok(())
}

async fn prometheus_has_moods(lab: &Lab) -> Result<()> {
    let (moods, http) = (lab.moods(), reqwest::Client::new());
    let ask = async |name: &str| {
        let url = format!("{}/api/v1/query?query=vector(7)", moods.url(name));
        let answer = http.get(url).timeout(Duration::from_secs(1)).send().await?.error_for_status()?;
        anyhow::Ok(answer.text().await?)
    };
    for name in ["", "mine"] {
        ensure!(ask(name).await?.contains("\"7\""), "not the real Prometheus behind {:?}", moods.url(name));
    }
    moods.set("mine", Mood::Sample("NaN".into()));
    ensure!(ask("mine").await?.contains("NaN"), "not NaN");
    ensure!(ask("").await?.contains("\"7\""), "another name has the same mood");
    for mood in [Mood::Hang, Mood::Closed, Mood::Status(429), Mood::Status(500)] {
        moods.set("mine", mood.clone());
        ensure!(ask("mine").await.is_err(), "{mood:?} is answered well");
    }
    moods.set("mine", Mood::Huge);
    ensure!(ask("mine").await?.len() > 5 << 20, "not huge");
    let stub = lab.stub("namespace").await?;
    stub.set("shop", 0.25);
    let form = [("query", r#"x{namespace="shop"}"#)];
    let told = http.post(format!("{}/api/v1/query", stub.url())).form(&form).send().await?.text().await?;
    ensure!(told.contains("\"0.25\"") && stub.answers("shop").len() == 1, "the stub says {told}");
    Ok(())
}

fn parts_can_be_stopped_frozen_and_killed(lab: &Lab) -> Result<()> {
    let mut sleep = std::process::Command::new("sleep");
    sleep.arg("1000");
    lab.spawn("sleeper", sleep)?;
    lab.children().pause("sleeper")?;
    lab.children().resume("sleeper")?;
    lab.stop("sleeper")?;
    ensure!(lab.children().pid("sleeper").is_none(), "the sleeper is still known");
    lab.children().kill("prometheus")?;
    lab.restart_prometheus()?;
    lab.block_on(eventually("Prometheus is back with its data", WITHIN, async || {
        let series = lab.prometheus("count(up offset 5s)").await?;
        if series.is_empty() { Err("empty".into()) } else { Ok(()) }
    }))?;
    ensure!(lab.children().casualties().is_empty(), "{}", lab.children().casualties());
    Ok(())
}

/// The lab of most tests ends here, and another one begins in its place.
fn a_bare_lab_with_two_servers(place: &Place, lab: Lab) -> Result<()> {
    drop(lab);
    let lab = Lab::start(place, Options { api_servers: 2, nodes: 2, ..Options::bare() })?;
    lab.block_on(async {
        lab.apply(&app("bare", "app", "v1", 4)).await?;
        ready(&lab, "bare", "app", 4).await?;
        let second = lab.kubeconfig(lab::access::ADMIN, 1);
        lab.children().kill("kube-apiserver-0")?;
        let seen = lab.kubectl_with(&second, &["-n", "bare", "get", "deployment", "app", "-o", "name"])?;
        ensure!(seen.trim() == "deployment.apps/app", "the second API server says {seen}");
        lab.restart_api_server(0).await?;
        lab.kubectl(&["get", "nodes"])?;
        let usage = lab.children().usage("etcd")?;
        ensure!(
            usage.resident > 1 << 20 && usage.peak >= usage.resident && !usage.cpu.is_zero(),
            "{usage:?}"
        );
        Ok(())
    })
}

type Held = Arc<Mutex<Option<Lab>>>;

fn trials(place: &Place, held: &Held) -> Vec<Trial> {
    let report = |result: Result<()>| result.map_err(|error| Failed::from(format!("{error:#}")));
    let test = |name: &str, body: fn(&Lab) -> Result<()>| {
        let held = held.clone();
        Trial::test(name, move || {
            let lab = held.lock().unwrap_or_else(PoisonError::into_inner);
            report(body(lab.as_ref().ok_or("there is no lab")?))
        })
    };
    let (place, last) = (place.clone(), held.clone());
    vec![
        test("tools_are_the_pinned_ones", tools_are_the_pinned_ones),
        test("traffic_is_split_as_the_route_says", |lab| {
            lab.block_on(traffic_is_split_as_the_route_says(lab))
        }),
        test("calls_are_split_as_well", |lab| lab.block_on(calls_are_split_as_well(lab))),
        test("images_say_how_pods_behave", |lab| lab.block_on(images_say_how_pods_behave(lab))),
        test("deleted_pods_refuse", |lab| lab.block_on(deleted_pods_refuse(lab))),
        test("rights_are_rbac_and_the_audit_log_tells", |lab| {
            lab.block_on(rights_are_rbac_and_the_audit_log_tells(lab))
        }),
        test("prometheus_has_moods", |lab| lab.block_on(prometheus_has_moods(lab))),
        test("parts_can_be_stopped_frozen_and_killed", parts_can_be_stopped_frozen_and_killed),
        Trial::test("a_bare_lab_with_two_servers", move || {
            let lab = last.lock().unwrap_or_else(PoisonError::into_inner).take();
            report(a_bare_lab_with_two_servers(&place, lab.ok_or("there is no lab")?))
        }),
    ]
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after the other: each measures what it sees on a machine that is not busy with the others.
    arguments.test_threads = Some(1);
    let options = Options { users: vec![User::new("ana", &["oncall"])], ..Options::default() };
    let started = lab::enter(None).and_then(|place| Ok((Lab::start(&place, options)?, place)));
    match started {
        Ok((lab, place)) => {
            libtest_mimic::run(&arguments, trials(&place, &Arc::new(Mutex::new(Some(lab))))).exit_code()
        }
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
