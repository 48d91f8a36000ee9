//! What the server sees of a question.

use palier::adapters::prometheus::{Auth, PrometheusClient, Secret, SourceConfig, SourceError};
use palier::engine::Answer;

use crate::asked;
use crate::server::{Reply, Server, config, http, number};

#[tokio::test]
async fn a_question_is_a_form_under_the_base_address() {
    let server = Server::start(|_| Reply::Bytes(number("1"))).await;
    let query = r#"sum(rate(hits{a="b&c=d+é"}[1m])) / 2"#;
    for (base, path) in [
        ("", "/api/v1/query"),
        ("/", "/api/v1/query"),
        ("/prometheus", "/prometheus/api/v1/query"),
        ("/a/b/", "/a/b/api/v1/query"),
    ] {
        let config = SourceConfig { url: format!("{}{base}", server.url), ..server.config(10_000) };
        let answer = PrometheusClient::new(config).unwrap().ask(&asked(query)).await;
        assert!(matches!(answer, Answer::Sample { value: 1.0, .. }), "{answer:?}");
        let request = server.requests().pop().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", path));
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(request.headers["accept"], "application/json");
        assert!(request.headers["user-agent"].starts_with("palier/"));
        assert_eq!(request.param("query").as_deref(), Some(query));
        assert_eq!(request.param("timeout").as_deref(), Some("10s"));
        assert_eq!(request.headers.get("authorization"), None);
    }
}

#[tokio::test]
async fn a_server_without_post_is_asked_with_get() {
    let server = Server::start(|request| {
        Reply::Bytes(if request.method == "POST" { http(405, "", "") } else { number("1") })
    })
    .await;
    let client = PrometheusClient::new(server.config(10_000)).unwrap();
    for _ in 0..2 {
        assert!(matches!(client.ask(&asked("sum(up)")).await, Answer::Sample { .. }));
    }
    let seen = server.requests();
    let methods: Vec<&str> = seen.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["POST", "GET", "GET"], "the refusal is remembered");
    assert_eq!(seen[1].param("query").as_deref(), Some("sum(up)"));
}

#[tokio::test]
async fn credentials_go_into_one_header_and_nowhere_else() {
    let server = Server::start(|_| Reply::Bytes(http(401, "", "no"))).await;
    for (auth, header) in [
        (Auth::Bearer(Secret::new("s3cr3t\n")), "Bearer s3cr3t"),
        (
            Auth::Basic { username: "ana".to_owned(), password: Secret::new("s3cr3t") },
            "Basic YW5hOnMzY3IzdA==",
        ),
    ] {
        let config = SourceConfig { auth: Some(auth), ..server.config(10_000) };
        let shown = format!("{config:?}");
        let client = PrometheusClient::new(config).unwrap();
        let answer = client.ask(&asked("up")).await;
        assert_eq!(server.requests().pop().unwrap().headers["authorization"], header);
        for text in [shown, format!("{client:?}"), format!("{answer:?}")] {
            assert!(!text.contains("s3cr3t") && !text.contains("czNjcjN0"), "{text}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_at_once() {
    let with = |auth: Auth| SourceConfig { auth: Some(auth), ..config("http://127.0.0.1:9", 1_000) };
    let basic = |username: &str| Auth::Basic { username: username.to_owned(), password: Secret::new("x") };
    for (config, error) in [
        (with(Auth::Bearer(Secret::new(""))), SourceError::Auth),
        (with(Auth::Bearer(Secret::new("a\nb"))), SourceError::Auth),
        (with(basic("")), SourceError::Auth),
        (with(basic("a:b")), SourceError::Auth),
        (config("http://127.0.0.1:9", 0), SourceError::Limits),
        (SourceConfig { max_bytes: 0, ..config("http://127.0.0.1:9", 1_000) }, SourceError::Limits),
    ] {
        assert_eq!(PrometheusClient::new(config).unwrap_err(), error);
    }
    let bundle = SourceConfig { ca_bundle: Some(b"x".to_vec()), ..config("https://127.0.0.1:9", 1_000) };
    assert!(matches!(PrometheusClient::new(bundle), Err(SourceError::Tls(_))));
    let loopback = SourceConfig { allow_loopback: false, ..config("http://127.0.0.1:9", 1_000) };
    assert!(matches!(PrometheusClient::new(loopback), Err(SourceError::Address(_))));
}
