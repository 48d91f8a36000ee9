//! Servers that fail in every way: each failure is named, no words of the server come through, and no question takes
//! longer than its deadline.

use std::time::{Duration, Instant};

use palier::adapters::prometheus::address::CheckedResolver;
use palier::adapters::prometheus::{PrometheusClient, SourceConfig};
use palier::engine::Answer;
use reqwest::dns::Resolve;

use crate::asked;
use crate::server::{Reply, Server, config, http, number};

/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(2);
/// Stands in every answer of a bad server and must never come out.
const CANARY: &str = "canary-7f3a";

/// Asks, and checks that it failed in time with these words and none of the server's.
async fn fails(config: SourceConfig, words: &str) {
    let timeout = config.timeout.as_std();
    let client = PrometheusClient::new(config).unwrap();
    let start = Instant::now();
    let answer = client.ask(&asked("up")).await;
    let took = start.elapsed();
    let Answer::Failed(reason) = answer else { panic!("{words}: {answer:?}") };
    assert!(reason.contains(words), "expected {words:?}, got {reason:?}");
    assert!(!reason.contains(CANARY) && reason.len() <= 256, "{reason}");
    assert!(took < timeout + SLACK, "{words}: took {took:?}");
}

async fn fails_on(timeout_millis: i64, words: &str, reply: impl Fn() -> Reply + Send + Sync + 'static) {
    let server = Server::start(move |_| reply()).await;
    fails(server.config(timeout_millis), words).await;
}

#[tokio::test]
async fn refusals_are_named_by_their_status() {
    for (status, words) in [
        (201, "HTTP 201"),
        (204, "HTTP 204"),
        (400, "HTTP 400: the server cannot evaluate the query"),
        (401, "HTTP 401: check the MetricSource's credentials"),
        (403, "HTTP 403: check the MetricSource's credentials"),
        (404, "HTTP 404: there is no Prometheus API at this address"),
        (405, "HTTP 405"),
        (422, "HTTP 422: the server cannot"),
        (429, "HTTP 429: the server is asked too often"),
        (500, "HTTP 500"),
        (502, "HTTP 502"),
        (503, "HTTP 503: the server is not ready"),
        (504, "HTTP 504"),
    ] {
        fails_on(10_000, words, move || {
            // Even a good body under a bad status is no answer.
            let body = if status == 204 { "" } else { CANARY };
            Reply::Bytes(http(status, "", body))
        })
        .await;
    }
    fails_on(10_000, "HTTP 503 timeout:", || {
        let body = format!(r#"{{"status":"error","errorType":"timeout","error":"{CANARY}"}}"#);
        Reply::Bytes(http(503, "", &body))
    })
    .await;
    fails_on(10_000, "HTTP 500 of no known class", || {
        Reply::Bytes(http(500, "", &format!(r#"{{"status":"error","errorType":"{CANARY}"}}"#)))
    })
    .await;
}

#[tokio::test]
pub async fn a_redirect_is_not_followed() {
    let target = Server::start(|_| Reply::Bytes(number("1"))).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("Location: {}/{CANARY}\r\n", target.url);
        fails_on(10_000, "redirect refused", move || Reply::Bytes(http(status, &location, ""))).await;
    }
    assert_eq!(target.requests().len(), 0);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    fails_on(500, "no answer within 500ms", || Reply::Hang).await;
    fails_on(500, "no answer within 500ms", || {
        Reply::Bytes(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{".to_vec())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_drips_is_given_up() {
    let every = Duration::from_millis(20);
    fails_on(500, "no answer within 500ms", move || Reply::Drip(b"HTTP/1.1 200 X\r\nA:".to_vec(), every))
        .await;
    fails_on(500, "no answer within 500ms", move || {
        Reply::Drip(b"HTTP/1.1 200 X\r\nContent-Length: 99999\r\n\r\n{".to_vec(), every)
    })
    .await;
    // The status of an error says enough without its body.
    fails_on(500, "HTTP 500", move || {
        Reply::Drip(b"HTTP/1.1 500 X\r\nContent-Length: 99999\r\n\r\n{".to_vec(), every)
    })
    .await;
}

#[tokio::test]
pub async fn a_large_answer_is_not_read() {
    let five_mib = 5 << 20;
    fails_on(10_000, "larger than 1048576 bytes", move || {
        Reply::Flood(format!("HTTP/1.1 200 X\r\nContent-Length: {five_mib}\r\n\r\n").into_bytes(), five_mib)
    })
    .await;
    // Of unknown length: read up to the limit.
    fails_on(10_000, "larger than 1048576 bytes", move || {
        Reply::Flood(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n".to_vec(), five_mib)
    })
    .await;
    fails_on(10_000, "larger than 1048576 bytes", move || {
        let head = format!("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{five_mib:x}\r\n");
        Reply::Flood(head.into_bytes(), five_mib)
    })
    .await;
    // One byte over, and exactly as large as allowed.
    let good = number("1");
    let length = good.len() - good.windows(4).position(|w| w == b"\r\n\r\n").unwrap() - 4;
    let server = Server::start(move |_| Reply::Bytes(good.clone())).await;
    fails(SourceConfig { max_bytes: length - 1, ..server.config(10_000) }, "larger than").await;
    let client = PrometheusClient::new(SourceConfig { max_bytes: length, ..server.config(10_000) }).unwrap();
    assert!(matches!(client.ask(&asked("up")).await, Answer::Sample { .. }));
}

#[tokio::test]
async fn an_error_with_a_large_body_keeps_its_status() {
    fails_on(10_000, "HTTP 429", || {
        Reply::Flood(b"HTTP/1.1 429 X\r\nConnection: close\r\n\r\n".to_vec(), 5 << 20)
    })
    .await;
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    for encoding in ["gzip", "br", "zstd", "deflate", CANARY] {
        fails_on(10_000, "compressed, which was not asked for", move || {
            Reply::Bytes(http(200, &format!("Content-Encoding: {encoding}\r\n"), "\u{1f}\u{8b}"))
        })
        .await;
    }
    let server = Server::start(|_| Reply::Bytes(number("1"))).await;
    PrometheusClient::new(server.config(10_000)).unwrap().ask(&asked("up")).await;
    assert_eq!(server.requests()[0].headers.get("accept-encoding"), None);
}

#[tokio::test]
async fn wrong_content_is_no_answer() {
    for (body, words) in [
        ("", "the answer is empty"),
        ("canary-7f3a", "not JSON"),
        ("<html>canary-7f3a</html>", "a web page, not JSON"),
        (r#"{"message":"canary-7f3a"}"#, "not what the Prometheus API answers"),
        (r#"{"status":"error","errorType":"canary-7f3a","error":"canary-7f3a"}"#, "reports an error"),
        (
            r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}"#,
            "not what the Prometheus API",
        ),
    ] {
        fails_on(10_000, words, move || Reply::Bytes(http(200, "Content-Type: text/html\r\n", body))).await;
    }
}

#[tokio::test]
async fn broken_connections_are_no_answers() {
    fails_on(10_000, "the connection broke", || Reply::Broken(Vec::new())).await;
    fails_on(10_000, "the connection broke", || Reply::Broken(b"SSH-2.0-canary-7f3a\r\n".to_vec())).await;
    fails_on(10_000, "the answer broke off", || {
        Reply::Broken(b"HTTP/1.1 200 X\r\nContent-Length: 999\r\n\r\n{\"status\":\"success\"".to_vec())
    })
    .await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(config(&format!("http://{closed}"), 10_000), "connection refused").await;
    fails(config("http://prometheus.invalid:9090", 10_000), "cannot be resolved").await;
}

#[tokio::test]
pub async fn a_name_is_checked_after_it_is_resolved() {
    let server = Server::start(|_| Reply::Bytes(number("1"))).await;
    let url = server.url.replace("127.0.0.1", "localhost");
    let client = PrometheusClient::new(config(&url, 10_000)).unwrap();
    assert!(matches!(client.ask(&asked("up")).await, Answer::Sample { .. }), "loopback is allowed here");
    // The address alone did not tell; what it resolves to does.
    let resolver = CheckedResolver::new(false);
    let refused = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap().to_string();
    assert!(refused.contains("localhost resolves to this machine itself"), "{refused}");
}
