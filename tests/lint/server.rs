//! What a metric server says today and said yesterday, and what it tells of the traffic.

use std::process::Output;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
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

pub async fn serve(app: axum::Router) -> String {
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

pub async fn lint(args: &[&str]) -> Output {
    let mut run = tokio::process::Command::new(PALIER);
    run.args([&["lint", "-o", "json"][..], args].concat()).current_dir(root());
    tokio::time::timeout(std::time::Duration::from_secs(60), run.output()).await.expect("it hangs").unwrap()
}

pub fn codes(output: &Output) -> Vec<String> {
    let all: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    all.iter()
        .map(|it| format!("{} {}", it["code"].as_str().unwrap(), it["field"].as_str().unwrap()))
        .collect()
}

fn vector(value: f64) -> Value {
    json!({"resultType": "vector", "result": [{"metric": {}, "value": [1_700_000_000, value.to_string()]}]})
}

pub const GOOD: &str = "tests/lint/good/least.yaml";

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

/// A server that has series of these metrics.
async fn has(metrics: &'static [&'static str]) -> String {
    let range = move |body: String| async move {
        let query = field(&body, "query");
        assert!(
            field(&body, "start") == field(&body, "end") && query.starts_with("count by (pod) ("),
            "{query}"
        );
        let is_there = metrics.iter().any(|it| query.contains(it));
        let pod = json!({"metric": {"pod": "shop-api-5d4c-abcde"}, "values": [[1_700_000_000, "1"]]});
        let result = if is_there { vec![pod] } else { Vec::new() };
        axum::Json(json!({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    };
    serve(axum::Router::new().route("/api/v1/query_range", post(range))).await
}

#[tokio::test]
async fn a_preset_that_cannot_be_chosen_says_what_was_looked_for() {
    const AUTO: &str = "tests/lint/good/preset-chosen-by-the-cluster.yaml";
    const FIELDS: [&str; 2] =
        ["PAL705 spec.gates[errors].prometheus.preset", "PAL705 spec.gates[latency].prometheus.preset"];
    let url = has(&["traefik_"]).await;
    assert_eq!(codes(&lint(&[AUTO, "--prometheus-url", &url]).await), [""; 0]);
    for (metrics, words) in [
        (
            &[][..],
            ["istio_request_duration_milliseconds (Istio)", "traefik_service_requests_total (Traefik)"],
        ),
        (&["istio_", "http_server_"], ["Istio and OTel all have series", "set prometheus.preset"]),
    ] {
        let output = lint(&[AUTO, "--prometheus-url", &has(metrics).await]).await;
        assert_eq!(codes(&output), FIELDS);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(words.iter().all(|it| said.contains(it)), "{said}");
    }
}

/// A server that has counted for six hours: so many requests a minute by each of five pods, 2 % of them bad ones.
async fn counted(requests: u32) -> String {
    let range = move |body: String| async move {
        let number = |name: &str| field(&body, name).parse::<f64>().unwrap();
        let (start, end, step) = (number("start"), number("end"), number("step"));
        let is_bad = field(&body, "query").contains("5..");
        let minutes = ((end - start) / step) as u32;
        let series = |pod: u32| {
            let at = |minute: u32| {
                let all = minute * requests;
                // The same share of all pods, each in its own turn.
                let bad = (all + pod * 11) / 50;
                json!([start + f64::from(minute) * step, (if is_bad { bad } else { all }).to_string()])
            };
            let values: Vec<Value> = (0..=minutes).map(at).collect();
            json!({"metric": {"pod": format!("shop-api-5d4c-aaaa{pod}")}, "values": values})
        };
        let result: Vec<Value> = (0..5).map(series).collect();
        axum::Json(json!({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    };
    serve(axum::Router::new().route("/api/v1/query_range", post(range))).await
}

#[tokio::test]
async fn the_traffic_is_measured_and_says_what_a_phase_can_find() {
    // Without flags: the phases are long enough for 500 requests a second, and too short for 2.
    const SHORT: &str = "tests/lint/bad/too-short-to-see.yaml";
    let output = lint(&[SHORT, "--prometheus-url", &counted(6_000).await]).await;
    assert_eq!(codes(&output), [""; 0]);
    let output = lint(&[SHORT, "--prometheus-url", &counted(24).await]).await;
    assert_eq!(codes(&output), ["PAL401 spec.phases[pilot].bakeTime"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("10 % of 2 requests a second for 5m") && said.contains("minutes of 5 pods say"),
        "{said}"
    );
    // What is measured is known better than what a user says.
    let flags = ["--rps", "500", "--error-rate", "0.01"];
    let output = lint(&[&[SHORT, "--prometheus-url", &counted(24).await][..], &flags].concat()).await;
    assert_eq!(codes(&output), ["PAL401 spec.phases[pilot].bakeTime"]);
}

#[tokio::test]
async fn a_limit_of_counts_is_held_against_each_window() {
    const SHARE: &str = "tests/lint/good/share-of-counters.yaml";
    let url = counted(6_000).await;
    assert_eq!(codes(&lint(&[SHARE, "--prometheus-url", &url]).await), [""; 0]);
    // 2 % of the requests are bad.
    let strict = std::fs::read_to_string(root().join(SHARE)).unwrap().replace("max: 0.03", "max: 0.015");
    let file = std::env::temp_dir().join(format!("palier-lint-share-{}.yaml", std::process::id()));
    std::fs::write(&file, strict).unwrap();
    let output = lint(&[file.to_str().unwrap(), "--prometheus-url", &url]).await;
    std::fs::remove_file(&file).unwrap();
    assert_eq!(codes(&output), ["PAL703 spec.gates[errors].threshold"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("of 72 windows of 5m") && said.contains("72 would have failed; the worst had 2.00 %"),
        "{said}"
    );
}
