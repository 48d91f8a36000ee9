//! What a metric server says today and said yesterday; what a cluster does not have.

use std::fs;
use std::process::Output;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::{PALIER, root};

/// A field of the form that was posted.
fn field(body: &str, name: &str) -> String {
    let found = url::form_urlencoded::parse(body.as_bytes()).find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned()).unwrap()
}

/// What the small server says now and said yesterday, to every question.
#[derive(Clone)]
struct Says {
    now: Value,
    yesterday: Vec<f64>,
}

async fn query(State(says): State<Says>, body: String) -> Response {
    let query = field(&body, "query");
    assert!(!query.contains('$') && query.contains("shop-api-[a-z0-9]+-[a-z0-9]{5}"), "{query}");
    axum::Json(json!({"status": "success", "data": says.now})).into_response()
}

async fn range(State(says): State<Says>, body: String) -> Response {
    let moment = |name: &str| field(&body, name).parse::<f64>().unwrap();
    let start = moment("start");
    assert!((moment("end") - start - 86_400.0).abs() < 2.0, "a day");
    let values: Vec<Value> = says
        .yesterday
        .iter()
        .zip(0_u32..)
        .map(|(value, at)| json!([start + 60.0 * f64::from(at), value.to_string()]))
        .collect();
    let result = json!([{"metric": {}, "values": values}]);
    axum::Json(json!({"status": "success", "data": {"resultType": "matrix", "result": result}}))
        .into_response()
}

async fn serve(app: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn prometheus(now: Value, yesterday: Vec<f64>) -> String {
    let says = Says { now, yesterday };
    serve(
        axum::Router::new()
            .route("/api/v1/query", post(query))
            .route("/api/v1/query_range", post(range))
            .with_state(says),
    )
    .await
}

async fn lint(args: &[&str]) -> Output {
    let mut run = tokio::process::Command::new(PALIER);
    run.args([&["lint", "-o", "json"][..], args].concat()).current_dir(root());
    tokio::time::timeout(std::time::Duration::from_secs(60), run.output()).await.expect("it hangs").unwrap()
}

fn codes(output: &Output) -> Vec<String> {
    let all: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    all.iter()
        .map(|it| format!("{} {}", it["code"].as_str().unwrap(), it["field"].as_str().unwrap()))
        .collect()
}

fn vector(value: f64) -> Value {
    json!({"resultType": "vector", "result": [{"metric": {}, "value": [1_700_000_000, value.to_string()]}]})
}

const GOOD: &str = "tests/lint/good/least.yaml";

#[tokio::test]
async fn a_query_that_answers_well_and_did_yesterday_is_no_finding() {
    let url = prometheus(vector(0.001), vec![0.001, 0.002]).await;
    let output = lint(&[GOOD, "--prometheus-url", &url]).await;
    assert_eq!((output.status.code(), codes(&output)), (Some(0), vec![]));
}

#[tokio::test]
async fn a_query_that_returns_nothing_today() {
    let url = prometheus(json!({"resultType": "vector", "result": []}), vec![]).await;
    let output = lint(&[GOOD, "--prometheus-url", &url]).await;
    assert_eq!(codes(&output), ["PAL701 spec.gates[errors].prometheus.query"]);
}

#[tokio::test]
async fn a_limit_that_yesterday_would_have_failed_says_how_often() {
    let url = prometheus(vector(0.001), vec![0.001, 0.02, 0.03, 0.004]).await;
    let output = lint(&[GOOD, "--prometheus-url", &url]).await;
    assert_eq!(codes(&output), ["PAL703 spec.gates[errors].threshold"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("of 4 evaluations") && said.contains("2 would have failed") && said.contains("0.0300"),
        "{said}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_finding_and_an_error() {
    let output = lint(&[GOOD, "--prometheus-url", "http://127.0.0.1:1"]).await;
    assert_eq!(
        (output.status.code(), codes(&output)),
        (Some(1), vec!["PAL702 spec.gates[errors].prometheus.query".to_owned()])
    );
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_no_finding() {
    assert_eq!(lint(&[GOOD, "--prometheus-url", "ftp://x"]).await.status.code(), Some(2));
}

async fn object(Path((_, _, name)): Path<(String, String, String)>) -> Response {
    if name == "shop-api" {
        return axum::Json(json!({"metadata": {"name": name}})).into_response();
    }
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                        "message": "not found", "details": {"name": name}});
    (StatusCode::NOT_FOUND, axum::Json(status)).into_response()
}

#[tokio::test]
async fn what_the_cluster_does_not_have() {
    let app = axum::Router::new()
        .route("/apis/apps/v1/namespaces/{a}/{b}/{name}", get(object))
        .route("/api/v1/namespaces/{a}/{b}/{name}", get(object))
        .route("/apis/gateway.networking.k8s.io/v1/namespaces/{a}/{b}/{name}", get(object))
        .route(
            "/apis/palier.dev/v1alpha1/metricsources/default",
            get(|| async { axum::Json(json!({"metadata": {"name": "default"}})) }),
        );
    let server = serve(app).await;
    let file = std::env::temp_dir().join(format!("palier-lint-{}", std::process::id()));
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    fs::write(&file, config.to_string()).unwrap();
    let output = lint(&[GOOD, "--cluster", "--kubeconfig", file.to_str().unwrap()]).await;
    fs::remove_file(&file).unwrap();
    assert_eq!(codes(&output), ["PAL704 spec.components[api].traffic.gatewayAPI.httpRoutes[shop].name"]);
}
