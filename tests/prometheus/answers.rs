//! What real servers answer, as recorded in `tests/fixtures/prometheus`.

use palier::adapters::prometheus::PrometheusClient;
use palier::api::{Gate, Verdict};
use palier::engine::Answer;
use palier::engine::gates::judge;

use crate::asked;
use crate::server::{Reply, Server, http};

async fn answer_to(status: u16, content_type: &str, body: &'static str) -> Answer {
    let bytes = http(status, &format!("Content-Type: {content_type}\r\n"), body);
    let server = Server::start(move |_| Reply::Bytes(bytes.clone())).await;
    PrometheusClient::new(server.config(10_000)).unwrap().ask(&asked("up")).await
}

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../fixtures/prometheus/", $name))
    };
}

#[tokio::test]
async fn numbers_are_samples() {
    for (body, expected) in [
        (recorded!("vector.json"), 1.0),
        (recorded!("scalar.json"), 1.0),
        (recorded!("plus_inf.json"), f64::INFINITY),
        (recorded!("minus_inf.json"), f64::NEG_INFINITY),
    ] {
        match answer_to(200, "application/json", body).await {
            Answer::Sample { value, sampled_at } => {
                assert_eq!(value, expected, "{body}");
                assert!(sampled_at.as_second() > 1_600_000_000 && sampled_at.as_second() < 2_500_000_000);
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    let nan = answer_to(200, "application/json", recorded!("nan.json")).await;
    assert!(matches!(nan, Answer::Sample { value, .. } if value.is_nan()), "{nan:?}");
}

#[tokio::test]
pub async fn everything_else_is_named_for_what_it_is() {
    let failed = |text: &str| Answer::Failed(text.to_owned());
    for (status, body, expected) in [
        (200, recorded!("empty.json"), Answer::Empty),
        (200, recorded!("two_series.json"), Answer::ManySeries(2)),
        (200, recorded!("matrix.json"), Answer::WrongType("a range of samples (matrix)".to_owned())),
        (200, recorded!("string.json"), Answer::WrongType("a text (string)".to_owned())),
        (
            200,
            recorded!("warnings.json"),
            Answer::Warnings("1 warning; ask the same query by hand to read them".to_owned()),
        ),
        (
            400,
            recorded!("bad_data.json"),
            failed("HTTP 400 bad_data: the server cannot evaluate the query; ask it by hand to read why"),
        ),
        (
            422,
            recorded!("execution.json"),
            failed("HTTP 422 execution: the server cannot evaluate the query; ask it by hand to read why"),
        ),
        (
            200,
            recorded!("proxy_page.html"),
            failed("the answer is a web page, not JSON: is there a proxy or a login in between?"),
        ),
    ] {
        let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
        assert_eq!(answer_to(status, kind, body).await, expected, "{body}");
    }
}

/// Issue 3, scenario 4: whichever side the limit is on, only the plain number can pass.
#[tokio::test]
async fn only_a_plain_number_can_pass() {
    let gate = |threshold: &str| -> Gate {
        let text = format!(r#"{{"name":"g","prometheus":{{"query":"up"}},"threshold":{threshold}}}"#);
        serde_json::from_str(&text).unwrap()
    };
    for threshold in [r#"{"max":1e300}"#, r#"{"min":-1e300}"#, r#"{"min":-1e300,"max":1e300}"#] {
        for (body, verdict) in [
            (recorded!("vector.json"), Verdict::Pass),
            (recorded!("scalar.json"), Verdict::Pass),
            (recorded!("empty.json"), Verdict::NoData),
            (recorded!("nan.json"), Verdict::NoData),
            (recorded!("plus_inf.json"), Verdict::NoData),
            (recorded!("minus_inf.json"), Verdict::NoData),
            (recorded!("two_series.json"), Verdict::NoData),
            (recorded!("matrix.json"), Verdict::NoData),
            (recorded!("string.json"), Verdict::NoData),
            (recorded!("warnings.json"), Verdict::NoData),
            (recorded!("bad_data.json"), Verdict::Error),
            (recorded!("proxy_page.html"), Verdict::Error),
        ] {
            let answer = answer_to(200, "application/json", body).await;
            assert_eq!(judge(&gate(threshold), &answer).verdict, verdict, "{threshold}: {body}");
        }
    }
}
